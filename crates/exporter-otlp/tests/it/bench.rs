//! An exporter as the host would build it, and batches to deliver.

use std::{sync::Arc, time::Duration};

use minicol_exporter_otlp::{OTLP, OTLP_HTTP};
use minicol_pdata::{
    Attributes, Batch, Logs, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint, Timestamp, Traces,
};
use minicol_plugin::{ExportError, Exporter, net::SystemNetwork, testing::Harness};
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;

/// Over the network inside the process.
pub(crate) fn in_memory() -> Harness {
    Harness::default()
}

/// Over loopback.
pub(crate) fn over_sockets() -> Harness {
    let mut harness = Harness::default();
    harness.network = Arc::new(SystemNetwork);
    harness
}

/// `otlp` from the YAML of its body.
pub(crate) fn otlp(harness: &Harness, yaml: &str) -> Box<dyn Exporter> {
    harness.build(&OTLP, yaml)
}

/// `otlphttp` from the YAML of its body.
pub(crate) fn otlphttp(harness: &Harness, yaml: &str) -> Box<dyn Exporter> {
    harness.build(&OTLP_HTTP, yaml)
}

/// One gauge with as many points as are asked for.
pub(crate) fn metrics(points: i64) -> Batch {
    let mut builder = MetricsBuilder::new();
    builder.resource(&Attributes::new().with("service.name", "session-buddy"), "mapping", "1");
    let descriptor =
        MetricDescriptor { name: "up".into(), description: "d".into(), unit: "1".into(), kind: MetricKind::Gauge };
    let mut writer = builder.metric(&descriptor);
    let time = Timestamp::from_nanos(1_767_225_600_000_000_000) + Duration::from_secs(1);
    for point in 0..points {
        let value = NumberPoint { start: Timestamp::UNSET, time, value: Some(Number::Int(point)) };
        writer.number(&Attributes::new().with("point", point), &value);
    }
    builder.build().into()
}

/// Two log records.
pub(crate) fn logs() -> Batch {
    let scope = ScopeLogs { log_records: vec![LogRecord::default(); 2], ..ScopeLogs::default() };
    let resource = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    Logs::decode(ExportLogsServiceRequest { resource_logs: vec![resource] }.encode_to_vec().into())
        .expect("logs")
        .into()
}

/// One span.
pub(crate) fn traces() -> Batch {
    let scope = ScopeSpans { spans: vec![Span::default()], ..ScopeSpans::default() };
    let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![resource] };
    Traces::decode(request.encode_to_vec().into()).expect("traces").into()
}

/// The bytes that must arrive.
pub(crate) fn encoded(batch: &Batch) -> bytes::Bytes {
    match batch {
        Batch::Metrics(batch) => batch.encode(),
        Batch::Logs(batch) => batch.encode(),
        Batch::Traces(batch) => batch.encode(),
        Batch::Observations(_) => panic!("observations are no OTLP"),
    }
}

/// An error in a line: `Backoff connect: message`.
pub(crate) fn told(error: &ExportError) -> String {
    format!("{:?} {}: {}", error.retry, error.error_type, error.message)
}
