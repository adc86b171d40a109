//! The poller's own metrics, in the program's telemetry.

use std::sync::{Arc, Weak};

use minicol_mcp::{CycleOutcome, Failure, PollTarget, ToolResult};
use minicol_plugin::Scope;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram},
};

/// Cycles last from milliseconds to minutes: the buckets of MCP client durations, which `mcp.client.operation.duration` has as well.
const BUCKETS: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

#[derive(Debug)]
pub(crate) struct Instruments {
    receiver: KeyValue,
    scraper: [KeyValue; 2],
    scraped: Counter<u64>,
    errored: Counter<u64>,
    cycles: Counter<u64>,
    errors: Counter<u64>,
    lost: Counter<u64>,
    duration: Histogram<f64>,
}

impl Instruments {
    /// The breakers are read from `target` whenever somebody looks, as long as it is there.
    pub(crate) fn new(scope: &Scope, target: &Arc<dyn PollTarget>) -> Self {
        let meter = scope.meter();
        let receiver = KeyValue::new("receiver", scope.id().to_string());
        observe_breakers(scope, receiver.clone(), Arc::downgrade(target));
        // The names that users of the collector know from its scrapers.
        let scraper = [receiver.clone(), KeyValue::new("scraper", scope.id().component_type().to_owned())];
        Self {
            scraped: meter
                .u64_counter("otelcol_scraper_scraped_observations")
                .with_unit("{observation}")
                .with_description("Tools that answered")
                .build(),
            errored: meter
                .u64_counter("otelcol_scraper_errored_observations")
                .with_unit("{observation}")
                .with_description("Tools that were to answer and did not: the call or its set-up failed")
                .build(),
            scraper,
            cycles: meter
                .u64_counter("session_buddy_poller.poll_cycles_total")
                .with_unit("{cycle}")
                .with_description("Poll cycles that ended, whatever they brought")
                .build(),
            errors: meter
                .u64_counter("session_buddy_poller.poll_errors_total")
                .with_unit("{error}")
                .with_description("Failed calls, by tool, and failed set-ups, without a tool")
                .build(),
            lost: meter
                .u64_counter("session_buddy_poller.lost_observations_total")
                .with_unit("{observation}")
                .with_description("Observations that the next component did not take, by reason")
                .build(),
            duration: meter
                .f64_histogram("session_buddy_poller.poll_duration_seconds")
                .with_unit("s")
                .with_description("How long a poll cycle took")
                .with_boundaries(BUCKETS.to_vec())
                .build(),
            receiver,
        }
    }

    pub(crate) fn cycle(&self, outcome: &CycleOutcome, seconds: f64) {
        let count =
            |counts: fn(&ToolResult) -> bool| outcome.tools.iter().filter(|(_, result)| counts(result)).count() as u64;
        self.scraped.add(count(|result| matches!(result, ToolResult::Answered(_))), &self.scraper);
        let failed = |result: &ToolResult| matches!(result, ToolResult::Failed { .. } | ToolResult::SetupFailed);
        self.errored.add(count(failed), &self.scraper);
        let attributes = [self.receiver.clone()];
        self.cycles.add(1, &attributes);
        self.duration.record(seconds, &attributes);
    }

    pub(crate) fn lost(&self, observations: u64, reason: &'static str) {
        self.lost.add(observations, &[KeyValue::new("reason", reason), self.receiver.clone()]);
    }

    pub(crate) fn failed(&self, tool: Option<&Arc<str>>, failure: &Failure) {
        let mut attributes =
            vec![KeyValue::new("error.type", failure.error_type().into_owned()), self.receiver.clone()];
        if let Some(tool) = tool {
            attributes.push(KeyValue::new("tool", Arc::clone(tool)));
        }
        self.errors.add(1, &attributes);
    }
}

/// A tool without a breaker has no series. The gauge of a poller that is gone tells nothing.
fn observe_breakers(scope: &Scope, receiver: KeyValue, target: Weak<dyn PollTarget>) {
    scope
        .meter()
        .u64_observable_gauge("session_buddy_poller.circuit_breaker_state")
        .with_description("Circuit breaker of a tool: 0 closed, 1 open or probing")
        .with_callback(move |observer| {
            let Some(target) = target.upgrade() else { return };
            for (tool, breaker) in target.snapshot().breakers {
                observer.observe(breaker.state.as_gauge(), &[receiver.clone(), KeyValue::new("tool", tool)]);
            }
        })
        .build();
}
