//! The span of a cycle: what it was, and what became of it. The calls' own spans are below it.

use minicol_mcp::{CycleOutcome, Endpoint, ToolResult};
use minicol_plugin::{
    Scope,
    trace::{Span, Tracer},
};
use opentelemetry::{KeyValue, trace::SpanKind};

use super::engine::failures;

/// Makes the spans of one poller's cycles.
#[derive(Debug)]
pub(crate) struct CycleSpans {
    tracer: Tracer,
    name: String,
    place: [KeyValue; 3],
}

impl CycleSpans {
    pub(crate) fn new(scope: &Scope, endpoint: &Endpoint) -> Self {
        Self {
            tracer: scope.tracer().clone(),
            name: format!("poll {}", scope.id()),
            place: [
                KeyValue::new("receiver", scope.id().to_string()),
                KeyValue::new("server.address", endpoint.address().to_owned()),
                KeyValue::new("server.port", i64::from(endpoint.port())),
            ],
        }
    }

    pub(crate) fn begin(&self) -> Span {
        let span = self.tracer.span(SpanKind::Internal, || self.name.clone().into());
        span.set(|| self.place.iter().cloned());
        span
    }
}

/// Says on a cycle's span how it went. It failed where anything in it did; `error.type` is that of what failed first, in the order of the failures' list.
pub(crate) fn outcome(span: &Span, outcome: &CycleOutcome) {
    span.set(|| {
        let count = |is: fn(&ToolResult) -> bool| outcome.tools.iter().filter(|(_, result)| is(result)).count();
        let counted = |name, is| KeyValue::new(name, i64::try_from(count(is)).unwrap_or(i64::MAX));
        let mut attributes = vec![
            counted("minicol.poll.tools_answered", |result| matches!(result, ToolResult::Answered(_))),
            counted("minicol.poll.tools_failed", |result| matches!(result, ToolResult::Failed { .. })),
            counted("minicol.poll.tools_not_called", |result| {
                !matches!(result, ToolResult::Answered(_) | ToolResult::Failed { .. })
            }),
        ];
        attributes.extend(outcome.up.map(|up| KeyValue::new("minicol.poll.up", up)));
        attributes
    });
    let mut failed = failures(outcome).map(|(_, failure)| failure);
    if let Some(first) = failed.next() {
        span.fail(first.error_type(), || match failed.count() {
            0 => first.to_string(),
            more => format!("{first}; and {more} more"),
        });
    }
}
