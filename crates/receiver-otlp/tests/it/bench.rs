//! A receiver as the host would run it, and a client of its own making.

use std::{io::Write, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use minicol_pdata::{Batch, Logs, Metrics, Traces};
use minicol_plugin::{
    ComponentError,
    net::BoxIo,
    testing::{self, Harness, Sink},
};
use minicol_receiver_otlp::ENTRY;
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;

/// A receiver that runs.
pub(crate) struct Running {
    pub(crate) harness: Harness,
    pub(crate) sink: Sink,
    task: testing::Running,
}

/// What a request was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) const GRPC: [&str; 3] = [
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
];
pub(crate) const HTTP: [&str; 3] = ["/v1/metrics", "/v1/logs", "/v1/traces"];
pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// Runs a receiver from the YAML of its body until it serves.
pub(crate) async fn run(yaml: &str) -> Running {
    run_in(Harness::default(), yaml).await
}

/// The same in a harness that is there.
pub(crate) async fn run_in(harness: Harness, yaml: &str) -> Running {
    let task = harness.run_receiver(&ENTRY, yaml).await.expect("it starts");
    Running { harness, sink: task.sink.clone(), task }
}

impl Running {
    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(self) -> Result<(), ComponentError> {
        self.task.stop().await
    }

    pub(crate) async fn connect(&self, port: u16) -> BoxIo {
        self.harness
            .network
            .connect("127.0.0.1", port)
            .await
            .or(self.harness.network.connect("localhost", port).await)
            .unwrap()
    }

    /// Posts to the port of OTLP over HTTP, with one connection.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.request("POST", path, headers, body).await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let stream = TokioIo::new(self.connect(4318).await);
        let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:4318");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = client.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        answer(response).await
    }

    /// Calls gRPC with a framed message.
    pub(crate) async fn call(&self, path: &str, headers: &[(&str, &str)], framed: impl Into<Bytes>) -> Answer {
        call(self.connect(4317).await, path, headers, framed).await
    }
}

/// Calls gRPC over a connection.
pub(crate) async fn call(stream: BoxIo, path: &str, headers: &[(&str, &str)], framed: impl Into<Bytes>) -> Answer {
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://localhost:4317{path}"));
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client.send_request(request.body(Full::new(framed.into())).unwrap()).await.unwrap();
    answer(response).await
}

async fn answer(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let mut headers = parts.headers;
    headers.extend(body.trailers().cloned().unwrap_or_default());
    Answer { status: parts.status, headers, body: body.to_bytes() }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The gRPC status: a code and a message.
    pub(crate) fn grpc(&self) -> tonic::Status {
        tonic::Status::from_header_map(&self.headers).expect("a gRPC status")
    }
}

pub(crate) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut framed = vec![flag];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 0).unwrap()
}

fn attributes() -> Vec<KeyValue> {
    let value = Some(AnyValue { value: Some(Value::StringValue("v".into())) });
    vec![KeyValue { key: "k".into(), value, ..KeyValue::default() }]
}

/// One request of each signal, in Protobuf and in JSON.
pub(crate) fn requests() -> [(Vec<u8>, Vec<u8>); 3] {
    let point = NumberDataPoint {
        attributes: attributes(),
        time_unix_nano: 1_767_225_600_000_000_001,
        value: Some(number_data_point::Value::AsInt(i64::MAX)),
        ..NumberDataPoint::default()
    };
    let metric = Metric {
        name: "up".into(),
        data: Some(Data::Gauge(Gauge { data_points: vec![point; 2] })),
        ..Metric::default()
    };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    let metrics = ExportMetricsServiceRequest { resource_metrics: vec![resource] };
    let record =
        LogRecord { time_unix_nano: 7, trace_id: vec![9; 16], attributes: attributes(), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    };
    let span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: "s".into(), ..Span::default() };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let traces = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }],
    };
    [
        (metrics.encode_to_vec(), serde_json::to_vec(&metrics).unwrap()),
        (logs.encode_to_vec(), serde_json::to_vec(&logs).unwrap()),
        (traces.encode_to_vec(), serde_json::to_vec(&traces).unwrap()),
    ]
}

/// The batch that a request of [`requests`] must become.
pub(crate) fn batch(signal: usize, message: &[u8]) -> Batch {
    let bytes = Bytes::copy_from_slice(message);
    match signal {
        0 => Metrics::decode(bytes).unwrap().into(),
        1 => Logs::decode(bytes).unwrap().into(),
        _ => Traces::decode(bytes).unwrap().into(),
    }
}

pub(crate) fn encoded(batch: &Batch) -> Bytes {
    match batch {
        Batch::Metrics(batch) => batch.encode(),
        Batch::Logs(batch) => batch.encode(),
        Batch::Traces(batch) => batch.encode(),
        Batch::Observations(_) => panic!("observations are no OTLP"),
    }
}

/// Takes nothing until it is told to.
#[derive(Clone, Default)]
pub(crate) struct Gate(pub(crate) Arc<tokio::sync::Notify>);

#[minicol_plugin::async_trait]
impl minicol_plugin::Consumer for Gate {
    async fn consume(&self, _: Batch) -> Result<(), minicol_plugin::Rejected> {
        self.0.notified().await;
        Ok(())
    }
}
