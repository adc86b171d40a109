//! The target's own metrics, by the semantic conventions for MCP.

use std::{borrow::Cow, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{Histogram, Meter},
};

use crate::{Endpoint, Step};

/// The buckets that the semantic conventions advise, in seconds.
const BOUNDARIES: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Measures `mcp.client.operation.duration`: one point per attempt of one request.
#[derive(Clone, Debug)]
pub(crate) struct Operations {
    duration: Histogram<f64>,
    place: [KeyValue; 3],
}

impl Operations {
    pub(crate) fn new(meter: &Meter, endpoint: &Endpoint) -> Self {
        let duration = meter.f64_histogram("mcp.client.operation.duration").with_unit("s");
        Self {
            duration: duration
                .with_description("How long one attempt of one MCP request took")
                .with_boundaries(BOUNDARIES.to_vec())
                .build(),
            place: [
                KeyValue::new("server.address", endpoint.host().to_owned()),
                KeyValue::new("server.port", i64::from(endpoint.port())),
                KeyValue::new("network.transport", "tcp"),
            ],
        }
    }

    pub(crate) fn record(
        &self,
        step: &Step,
        duration: Duration,
        error_type: Option<Cow<'static, str>>,
        protocol_version: Option<&str>,
    ) {
        let mut attributes = self.place.to_vec();
        let method = match step {
            Step::Initialize => "initialize",
            Step::ListTools => "tools/list",
            Step::Ping => "ping",
            Step::Call(tool) => {
                attributes.push(KeyValue::new("gen_ai.tool.name", tool.clone()));
                "tools/call"
            }
        };
        attributes.push(KeyValue::new("mcp.method.name", method));
        attributes.extend(error_type.map(|error| KeyValue::new("error.type", error)));
        attributes.extend(protocol_version.map(|version| KeyValue::new("mcp.protocol.version", version.to_owned())));
        self.duration.record(duration.as_secs_f64(), &attributes);
    }
}
