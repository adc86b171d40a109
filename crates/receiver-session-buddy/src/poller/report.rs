//! What a cycle brought, as observations.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use minicol_mcp::{Answer, CycleOutcome, Failure, ToolResult};
use minicol_pdata::{Arrival, Cut, Observation, Observations, Outcome, POLL_REPORT, PollReport, Source, ToolOutcome};
use serde_json::{Value, json};

use super::wording;
use crate::{analytics::Coverage, config::SESSION_ANALYTICS};

/// A cycle that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) at: Arrival,
    pub(crate) took: Duration,
    pub(crate) missed_ticks: u64,
}

/// The poll's own report. `up` is the value that stands after this cycle.
pub(crate) fn report(outcome: &CycleOutcome, up: Option<bool>, ended: Ended) -> PollReport {
    PollReport {
        up: up.map(u8::from),
        duration_seconds: ended.took.as_secs_f64(),
        missed_ticks: ended.missed_ticks,
        setup_error: outcome.setup.as_ref().map(|failure| {
            let message = format!("{}: {}", failure.step(), failure.cause());
            ToolOutcome { message: Some(message), ..failed(failure) }
        }),
        tools: tools(outcome),
    }
}

fn tools(outcome: &CycleOutcome) -> BTreeMap<String, ToolOutcome> {
    let told = |result: &ToolResult| match result {
        ToolResult::Answered(answer) => {
            ToolOutcome { duration_seconds: Some(answer.took.as_secs_f64()), ..ToolOutcome::of(Outcome::Answered) }
        }
        ToolResult::NotOffered => ToolOutcome::of(Outcome::NotOffered),
        ToolResult::Failed { failure, took } => ToolOutcome {
            message: Some(failure.cause().to_string()),
            duration_seconds: Some(took.as_secs_f64()),
            ..failed(failure)
        },
        // Why is told once, under `setup_error`.
        ToolResult::SetupFailed => outcome.setup.as_ref().map_or(ToolOutcome::of(Outcome::Failed), failed),
        ToolResult::BreakerOpen => ToolOutcome::of(Outcome::BreakerOpen),
        ToolResult::Resting { failure, left } => {
            ToolOutcome { message: Some(wording::resting(failure, *left)), ..failed(failure) }
        }
    };
    outcome.tools.iter().map(|(tool, result)| (tool.to_string(), told(result))).collect()
}

fn failed(failure: &Failure) -> ToolOutcome {
    ToolOutcome { error_type: Some(failure.error_type().into_owned()), ..ToolOutcome::of(Outcome::Failed) }
}

/// One observation per answered tool, in the plan's order, then the report. `limit` is the configured one of `get_session_analytics`.
pub(crate) fn observations(
    outcome: CycleOutcome,
    report: &PollReport,
    ended: Ended,
    source: &Arc<Source>,
    limit: Option<u64>,
) -> Observations {
    let mut list: Vec<_> = outcome
        .tools
        .into_iter()
        .filter_map(|(tool, result)| match result {
            ToolResult::Answered(answer) => Some(observation(tool, answer, source, limit)),
            _ => None,
        })
        .collect();
    list.push(about_poll(Arc::new(report.to_document()), ended.at, ended.took, source));
    list.into()
}

/// In the place of a cycle while polling is paused: a report that knows nothing. What the tools told last ends where it is mapped, as it does
/// when they are silent; nothing is frozen, and nothing is said to be down.
pub(crate) fn paused(at: Arrival, source: &Arc<Source>) -> Observations {
    let document = json!({
        "paused": true, "up": null, "duration_seconds": null, "missed_ticks": 0, "setup_error": null, "tools": {},
    });
    vec![about_poll(Arc::new(document), at, Duration::ZERO, source)].into()
}

fn about_poll(document: Arc<Value>, arrival: Arrival, took: Duration, source: &Arc<Source>) -> Observation {
    Observation {
        source: Arc::clone(source),
        tool: POLL_REPORT.into(),
        arguments: None,
        arrival,
        took,
        document,
        cut: None,
    }
}

fn observation(tool: Arc<str>, answer: Answer, source: &Arc<Source>, limit: Option<u64>) -> Observation {
    let cut = cut(&tool, &answer, limit);
    Observation {
        source: Arc::clone(source),
        tool,
        arguments: (!answer.arguments.is_empty()).then(|| Arc::new(answer.arguments)),
        arrival: answer.arrival,
        took: answer.took,
        document: Arc::new(answer.document),
        cut,
    }
}

/// How many sessions the answer holds and how many there are; `None` for other tools, and where it does not say.
pub(crate) fn coverage(tool: &str, answer: &Answer) -> Option<Coverage> {
    if tool == SESSION_ANALYTICS { Coverage::of(&answer.document) } else { None }
}

/// Set where the configured limit, not one that the search lowered, leaves sessions out.
pub(crate) fn cut(tool: &str, answer: &Answer, limit: Option<u64>) -> Option<Cut> {
    coverage(tool, answer)?.cut(sent_limit(answer, limit))
}

/// The configured limit, where a limit was sent at all.
fn sent_limit(answer: &Answer, configured: Option<u64>) -> Option<u64> {
    answer.arguments.get("limit").and(configured)
}
