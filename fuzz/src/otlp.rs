//! OTLP as it arrives: messages, and requests to the receiver.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use minicol_pdata::{Logs, Metrics, Traces};
use minicol_plugin::{
    ComponentKind,
    testing::{Harness, Sink},
};
use minicol_receiver_otlp::ENTRY;
use serde_json::json;

use crate::block_on;

pub(crate) const WORDS: &[&str] = &[
    "{\"resourceMetrics\":[",
    "\"resource\":{\"attributes\":[",
    "\"scopeMetrics\":[",
    "\"metrics\":[",
    "\"gauge\":{\"dataPoints\":[",
    "\"sum\":{",
    "\"histogram\":{",
    "\"exponentialHistogram\":{",
    "\"asInt\":\"1\"",
    "\"asDouble\":\"NaN\"",
    "\"timeUnixNano\":\"18446744073709551615\"",
    "\"bucketCounts\":[\"1\"]",
    "\"explicitBounds\":[1]",
    "\"key\":\"a\"",
    "\"value\":{\"stringValue\":\"b\"}",
    "\"kvlistValue\":{\"values\":[",
    "\"arrayValue\":{\"values\":[",
    "\"resourceLogs\":[",
    "\"resourceSpans\":[",
    "\"traceId\":\"00\"",
];

macro_rules! through {
    ($batch:expr) => {
        if let Ok(batch) = $batch {
            let (items, empty) = (batch.items(), batch.is_empty());
            assert_eq!(empty, items == 0);
            let (first, second) = batch.clone().split_at(items / 2);
            assert_eq!(first.items() + second.items(), items, "a split loses nothing");
            let json = batch.to_json();
            let _ = (batch.bytes(), batch.encode(), json);
        }
    };
}

fn look(metrics: &Metrics) {
    for metric in metrics.iter() {
        let _ = (metric.kind(), metric.resource(), metric.points().len());
    }
}

/// The signal by the first byte, then its message.
pub(crate) fn proto(input: &[u8]) {
    let Some((signal, rest)) = input.split_first() else { return };
    let message = Bytes::copy_from_slice(rest);
    match signal % 3 {
        0 => {
            through!(Metrics::decode(message.clone()));
            if let Ok(metrics) = Metrics::decode(message) {
                look(&metrics);
                let again = Metrics::decode(metrics.encode()).expect("what is encoded is decoded");
                assert_eq!(again.items(), metrics.items());
            }
        }
        1 => through!(Logs::decode(message)),
        _ => through!(Traces::decode(message)),
    }
}

/// The same in JSON.
pub(crate) fn json(input: &[u8]) {
    let Some((signal, text)) = input.split_first() else { return };
    match signal % 3 {
        0 => {
            through!(Metrics::from_json(text));
            if let Ok(metrics) = Metrics::from_json(text) {
                look(&metrics);
                let again = Metrics::decode(metrics.encode()).expect("what is encoded is decoded");
                assert_eq!(again.items(), metrics.items());
            }
        }
        1 => through!(Logs::from_json(text)),
        _ => through!(Traces::from_json(text)),
    }
}

/// A request to the receiver. The first byte says over what: transport, encoding, packing and signal.
pub(crate) fn receiver(input: &[u8]) {
    let Some((&how, body)) = input.split_first() else { return };
    block_on(async {
        let harness = Harness::default();
        let config = json!({"protocols": {"grpc": {"max_recv_msg_size_mib": 1}, "http": {"max_request_body_size": 65536}}, "max_in_flight_mib": 2});
        let config = ENTRY.decode_text(&config.to_string()).expect("a configuration");
        let receiver = config.build(&harness.scope(ComponentKind::Receiver, "otlp")).expect("a receiver");
        let (sink, before) = (Sink::new(), harness.events().len());
        let serving = tokio::spawn(receiver.run(sink.next(), harness.scope(ComponentKind::Receiver, "otlp")));
        while harness.events().len() == before {
            tokio::task::yield_now().await;
        }
        let status =
            if how & 1 == 0 { over_http(&harness, how, body).await } else { over_grpc(&harness, how, body).await };
        assert!([200, 400, 404, 413, 415, 429, 503].contains(&status), "{status}");
        serving.abort();
    });
}

const SIGNALS: [&str; 3] = ["metrics", "logs", "traces"];
const METHODS: [&str; 3] = ["metrics.v1.MetricsService", "logs.v1.LogsService", "trace.v1.TraceService"];
const PACKINGS: [&str; 4] = ["identity", "gzip", "zstd", "identity"];

async fn over_http(harness: &Harness, how: u8, body: &[u8]) -> u16 {
    let stream = harness.network.connect("localhost", 4318).await.expect("it listens");
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let kind = if how & 2 == 0 { "application/x-protobuf" } else { "application/json" };
    let request = http::Request::post(format!("/v1/{}", SIGNALS[usize::from(how >> 4) % 3]))
        .header("host", "localhost:4318")
        .header("content-type", kind)
        .header("content-encoding", PACKINGS[usize::from(how >> 2) % 4])
        .body(Full::new(Bytes::copy_from_slice(body)))
        .expect("a request");
    // One that is too long is answered, and its connection closed, before all of it was sent.
    let Ok(response) = client.send_request(request).await else { return 413 };
    let status = response.status().as_u16();
    let _ = response.into_body().collect().await;
    status
}

async fn over_grpc(harness: &Harness, how: u8, body: &[u8]) -> u16 {
    let stream = harness.network.connect("localhost", 4317).await.expect("it listens");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, connection) = handshake.await.expect("HTTP/2");
    tokio::spawn(connection);
    let method = METHODS[usize::from(how >> 4) % 3];
    let request = http::Request::post(format!("http://localhost:4317/opentelemetry.proto.collector.{method}/Export"))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", PACKINGS[usize::from(how >> 2) % 4])
        .body(Full::new(Bytes::copy_from_slice(body)))
        .expect("a request");
    let response = client.send_request(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body");
    let told = |headers: &http::HeaderMap| headers.get("grpc-status").cloned();
    let status = told(&parts.headers).or_else(|| body.trailers().and_then(told)).expect("a gRPC status");
    assert!(status.to_str().is_ok_and(|status| status.parse::<u8>().is_ok_and(|code| code <= 16)), "{status:?}");
    parts.status.as_u16()
}
