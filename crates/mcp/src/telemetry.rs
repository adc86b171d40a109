//! The target's own metric and spans, by the semantic conventions for MCP.

use std::{borrow::Cow, sync::Arc, time::Duration};

use minicol_plugin::{
    Scope, sort,
    text::foreign,
    trace::{Span, Tracer},
};
use opentelemetry::{KeyValue, metrics::Histogram, trace::SpanKind};

use crate::{Cause, Endpoint, Step, session::Session};

/// The buckets that the semantic conventions advise, in seconds.
const BOUNDARIES: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Measures `mcp.client.operation.duration`, and makes client spans: one point and one span per attempt of one request.
#[derive(Clone, Debug)]
pub(crate) struct Operations {
    duration: Histogram<f64>,
    place: [KeyValue; 3],
    tracer: Tracer,
}

impl Operations {
    pub(crate) fn new(scope: &Scope, endpoint: &Endpoint) -> Self {
        let duration = scope.meter().f64_histogram("mcp.client.operation.duration").with_unit("s");
        Self {
            duration: duration
                .with_description("How long one attempt of one MCP request took")
                .with_boundaries(BOUNDARIES.to_vec())
                .build(),
            place: [
                KeyValue::new("server.address", endpoint.address().to_owned()),
                KeyValue::new("server.port", i64::from(endpoint.port())),
                KeyValue::new("network.transport", "tcp"),
            ],
            tracer: scope.tracer().clone(),
        }
    }

    /// One attempt of one request.
    pub(crate) fn record(
        &self,
        step: &Step,
        duration: Duration,
        failure: Option<&Cause>,
        protocol_version: Option<&str>,
    ) {
        let tool = if let Step::Call(tool) = step { Some(tool) } else { None };
        self.record_method(method(step), tool, duration, failure, protocol_version);
    }

    /// The same of any message.
    pub(crate) fn record_method(
        &self,
        method: &'static str,
        tool: Option<&Arc<str>>,
        duration: Duration,
        failure: Option<&Cause>,
        protocol_version: Option<&str>,
    ) {
        let mut attributes = self.place.to_vec();
        attributes.push(protocol());
        if let Some(tool) = tool {
            attributes.push(execute_tool());
            attributes.push(KeyValue::new("gen_ai.tool.name", Arc::clone(tool)));
        }
        attributes.push(KeyValue::new("mcp.method.name", method));
        if let Some(cause) = failure {
            attributes.push(KeyValue::new("error.type", cause.error_type()));
            // A code that a server makes up would make a series of its own.
            attributes.extend(cause.reserved_code().map(status_code));
        }
        attributes.extend(protocol_version.map(|version| KeyValue::new("mcp.protocol.version", version.to_owned())));
        sort(&mut attributes);
        self.duration.record(duration.as_secs_f64(), &attributes);
    }

    /// The span of one attempt on a session, below the current one.
    pub(crate) fn span_of_step(&self, step: &Step, session: Option<&Session>) -> Span {
        let span = self.span(|| match step {
            Step::Call(tool) => format!("tools/call {tool}").into(),
            _ => method(step).into(),
        });
        span.set(|| {
            let mut attributes = vec![KeyValue::new("mcp.method.name", method(step))];
            if let Step::Call(tool) = step {
                attributes.push(execute_tool());
                attributes.push(KeyValue::new("gen_ai.tool.name", Arc::clone(tool)));
            }
            if let Some(session) = session {
                attributes.push(KeyValue::new("mcp.protocol.version", session.protocol_version.clone()));
                attributes.extend(session.id().map(|id| KeyValue::new("mcp.session.id", foreign(id))));
            }
            attributes
        });
        span
    }

    /// A client span with what all of them have.
    pub(crate) fn span(&self, name: impl FnOnce() -> Cow<'static, str>) -> Span {
        let span = self.tracer.span(SpanKind::Client, name);
        span.set(|| self.place.iter().cloned().chain([protocol()]));
        span
    }
}

/// Marks an attempt's span as failed.
pub(crate) fn failed(span: &Span, cause: &Cause) {
    if let Cause::Rpc { code, .. } = cause {
        span.set(|| [status_code(*code)]);
    }
    span.fail(cause.error_type(), || match cause {
        Cause::Rpc { message, .. } if !message.is_empty() => message.clone(),
        cause => cause.to_string(),
    });
}

fn protocol() -> KeyValue {
    KeyValue::new("network.protocol.name", "http")
}

fn execute_tool() -> KeyValue {
    KeyValue::new("gen_ai.operation.name", "execute_tool")
}

fn status_code(code: i32) -> KeyValue {
    KeyValue::new("rpc.response.status_code", code.to_string())
}

const fn method(step: &Step) -> &'static str {
    match step {
        Step::Initialize => "initialize",
        Step::ListTools => "tools/list",
        Step::Ping => "ping",
        Step::Call(_) => "tools/call",
    }
}
