//! What is refused is told as OTLP wants it.

use std::{collections::BTreeMap, time::Duration};

use minicol_plugin::{Rejected, net::MemoryNetwork};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics},
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tonic_types::StatusExt;

use crate::bench::{GRPC, HTTP, PROTOBUF, framed, gzip, requests, run, run_in, zstd};

const JSON: (&str, &str) = ("content-type", "application/json");

/// What a pipeline says; gRPC's code, HTTP's status; how long the sender is asked to wait, in gRPC and in HTTP.
type Row = (Rejected, Code, u16, Option<(Duration, &'static str)>);

fn table() -> Vec<Row> {
    let (second, long) = (Duration::from_secs(1), Duration::from_millis(7500));
    vec![
        (Rejected::permanent("invalid", "why"), Code::InvalidArgument, 400, None),
        (Rejected::permanent("no_pipeline", "why"), Code::Unimplemented, 404, None),
        (Rejected::retryable("shutdown", "why"), Code::Unavailable, 503, None),
        (Rejected::retry_after("busy", long, "why"), Code::Unavailable, 503, Some((long, "8"))),
        (Rejected::retryable("queue_full", "why"), Code::ResourceExhausted, 429, Some((second, "1"))),
        (Rejected::retry_after("memory", long, "why"), Code::ResourceExhausted, 429, Some((long, "8"))),
    ]
}

#[tokio::test]
async fn what_the_pipeline_refuses_is_told_over_both_transports() {
    let receiver = run("").await;
    let (message, json) = &requests()[0];
    for (rejected, code, status, after) in table() {
        receiver.sink.refuse(Some(rejected.clone()));
        let told = receiver.call(GRPC[0], &[], framed(0, message)).await.grpc();
        assert_eq!((told.code(), told.message()), (code, "why"));
        let asked = told.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(asked, after.map(|(delay, _)| delay), "{rejected:?}");
        for (kind, body) in [(PROTOBUF, message), (JSON, json)] {
            let told = receiver.post(HTTP[0], &[kind], body.clone()).await;
            assert_eq!((told.status.as_u16(), told.header("content-type")), (status, Some(kind.1)));
            assert_eq!(told.header("retry-after"), after.map(|(_, seconds)| seconds), "{rejected:?}");
            let (number, said) = if kind == JSON {
                let body: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
                (body["code"].as_i64().unwrap(), body["message"].as_str().unwrap().to_owned())
            } else {
                let body = tonic_types::pb::Status::decode(told.body.clone()).unwrap();
                (i64::from(body.code), body.message)
            };
            assert_eq!((number, said.as_str()), (code as i64, "why"));
        }
    }
    receiver.sink.refuse(None);
    assert_eq!(receiver.post(HTTP[0], &[PROTOBUF], message.clone()).await.status, 200, "and then it is taken");
}

#[tokio::test]
async fn what_is_no_otlp_is_refused_for_good() {
    let receiver = run("").await;
    let garbage = b"\xff\xff\xff";
    for (headers, body, code) in [
        (&[][..], framed(0, garbage), Code::InvalidArgument),
        (&[("grpc-encoding", "gzip")], framed(1, garbage), Code::InvalidArgument),
        (&[("grpc-encoding", "zstd")], framed(1, garbage), Code::InvalidArgument),
        (&[("grpc-encoding", "snappy")], framed(1, garbage), Code::Unimplemented),
        (&[], vec![0, 0, 0, 0, 9], Code::InvalidArgument),
        (&[], Vec::new(), Code::InvalidArgument),
    ] {
        let told = receiver.call(GRPC[0], headers, body).await;
        assert_eq!(told.grpc().code(), code, "{told:?}");
        assert_eq!(told.header("grpc-accept-encoding"), Some("gzip,zstd,identity"));
    }
    assert_eq!(
        receiver.call("/grpc.health.v1.Health/Check", &[], framed(0, b"")).await.grpc().code(),
        Code::Unimplemented
    );
    assert_eq!(receiver.call(GRPC[0], &[("content-type", "text/plain")], "").await.status, 415);
    for (path, headers, body, status) in [
        (HTTP[0], &[PROTOBUF][..], &garbage[..], 400),
        (HTTP[0], &[JSON], garbage, 400),
        (HTTP[0], &[JSON], b"{\"resourceMetrics\": 3}", 400),
        (HTTP[0], &[PROTOBUF, ("content-encoding", "gzip")], garbage, 400),
        (HTTP[0], &[PROTOBUF, ("content-encoding", "br")], garbage, 415),
        (HTTP[0], &[("content-type", "text/plain")], garbage, 415),
        (HTTP[0], &[], garbage, 415),
        ("/v1/metrics/", &[PROTOBUF], garbage, 404),
        ("/", &[PROTOBUF], garbage, 404),
    ] {
        assert_eq!(receiver.post(path, headers, body).await.status, status, "{path} {headers:?}");
    }
    let told = receiver.request("GET", HTTP[0], &[], "").await;
    assert_eq!((told.status.as_u16(), told.header("allow")), (405, Some("POST")));
    assert!(receiver.sink.take().is_empty());
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_packed_or_not() {
    let receiver = run("protocols: {grpc: {max_recv_msg_size_mib: 1}, http: {max_request_body_size: 1048576}}").await;
    let large = vec![0; (1 << 20) + 1];
    for (headers, body) in [
        (&[][..], framed(0, &large)),
        (&[("grpc-encoding", "gzip")], framed(1, &gzip(&large))),
        (&[("grpc-encoding", "zstd")], framed(1, &zstd(&large))),
    ] {
        let told = receiver.call(GRPC[0], headers, body).await.grpc();
        assert_eq!(told.code(), Code::ResourceExhausted, "{told}");
        assert!(told.message().contains("larger than the 1048576 bytes"), "{told}");
        assert!(told.get_details_retry_info().is_none(), "the same again would fare the same");
    }
    for (headers, body) in [
        (&[PROTOBUF][..], large.clone()),
        (&[PROTOBUF, ("content-encoding", "gzip")], gzip(&large)),
        (&[PROTOBUF, ("content-encoding", "zstd")], zstd(&large)),
    ] {
        assert_eq!(receiver.post(HTTP[0], headers, body).await.status, 413, "{headers:?}");
    }
}

#[tokio::test]
async fn what_is_beyond_the_memory_of_all_requests_shall_come_again() {
    let receiver = run(
        "{max_in_flight_mib: 1, protocols: {grpc: {max_recv_msg_size_mib: 1}, http: {max_request_body_size: 1048576}}}",
    )
    .await;
    // As it arrived, and unpacked, it is more than 1 MiB; alone it is less.
    let random = minicol_plugin::SeededRandom::from_seed(1);
    let plain: Vec<u8> = (0..125_000).flat_map(|_| minicol_plugin::Random::next_u64(&random).to_be_bytes()).collect();
    let told = receiver.post(HTTP[0], &[PROTOBUF, ("content-encoding", "gzip")], gzip(&plain)).await;
    assert_eq!((told.status.as_u16(), told.header("retry-after")), (429, Some("1")));
    let told = receiver.call(GRPC[0], &[("grpc-encoding", "gzip")], framed(1, &gzip(&plain))).await.grpc();
    assert_eq!(told.code(), Code::ResourceExhausted);
    assert!(told.get_details_retry_info().is_some());
    // What those held is free again.
    let (message, _) = &requests()[0];
    assert_eq!(receiver.post(HTTP[0], &[PROTOBUF], message.clone()).await.status, 200);
}

/// Each of them costs a decoder that is made ready anew, and none of them bites a bound on bytes.
#[tokio::test]
async fn a_body_of_very_many_members_that_hold_nothing_is_refused() {
    let receiver = run("").await;
    for (name, packed) in [("gzip", gzip(b"").repeat(300_000)), ("zstd", zstd(b"").repeat(300_000))] {
        let told = receiver.post(HTTP[0], &[PROTOBUF, ("content-encoding", name)], packed.clone()).await;
        assert_eq!(told.status, 400, "{name}: {told:?}");
        let told = receiver.call(GRPC[0], &[("grpc-encoding", name)], framed(1, &packed)).await.grpc();
        assert_eq!(told.code(), Code::InvalidArgument, "{name}");
        assert!(told.message().contains("more than one gzip member or zstd frame"), "{}", told.message());
    }
}

/// A frame says how much memory it takes to unpack it; a few bytes could ask for all there is.
#[tokio::test]
async fn a_zstd_frame_that_asks_for_too_much_memory_is_refused() {
    use std::io::Write;
    let receiver = run("").await;
    let packed = |window: u32| {
        let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window).unwrap();
        encoder.write_all(&requests()[0].0).unwrap();
        encoder.finish().unwrap()
    };
    for (window, status) in [(23, 200), (24, 400), (27, 400)] {
        let told = receiver.post(HTTP[0], &[PROTOBUF, ("content-encoding", "zstd")], packed(window)).await;
        assert_eq!(told.status, status, "a window of 2^{window} bytes: {told:?}");
    }
}

#[tokio::test]
async fn a_head_beyond_its_bound_is_refused() {
    let receiver = run("").await;
    let (message, _) = &requests()[0];
    for (length, status) in [(60 * 1024, 200), (65 * 1024, 431)] {
        let value = "x".repeat(length);
        let told = receiver.post(HTTP[0], &[PROTOBUF, ("x-long", &value)], message.clone()).await;
        assert_eq!(told.status, status, "HTTP/1, {length}");
    }
    for (length, status) in [(8 * 1024, 200), (17 * 1024, 431)] {
        let value = "x".repeat(length);
        let told = receiver.call(GRPC[0], &[("x-long", &value)], framed(0, message)).await;
        assert_eq!(told.status, status, "HTTP/2, {length}");
    }
}

/// The one beyond the bound is served once another has gone.
#[tokio::test(start_paused = true)]
async fn connections_beyond_their_bound_wait() {
    let receiver = run("protocols: {http: {max_connections: 1}}").await;
    let first = receiver.connect(4318).await;
    let (message, _) = &requests()[0];
    let waiting = receiver.post(HTTP[0], &[PROTOBUF], message.clone());
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_secs(5), &mut waiting).await.is_err(), "it waits");
    drop(first);
    assert_eq!(waiting.await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_is_given_up() {
    let receiver = run("protocols: {http: {read_timeout: 5s}}").await;
    let mut stream = receiver.connect(4318).await;
    let head = "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert_eq!(began.elapsed().as_secs(), 5);
}

/// Every reason, and how often; of one transport.
fn refused(provider: &SdkMeterProvider, exporter: &InMemoryMetricExporter, transport: &str) -> BTreeMap<String, u64> {
    exporter.reset();
    provider.force_flush().unwrap();
    let collected = exporter.get_finished_metrics().unwrap();
    let metrics = collected.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
    let mut found = BTreeMap::new();
    for metric in metrics.filter(|metric| metric.name() == "minicol_otlp_receiver_refused_requests") {
        let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { panic!("{metric:?}") };
        for point in sum.data_points() {
            let of = |key: &str| point.attributes().find(|one| one.key.as_str() == key).unwrap().value.to_string();
            if of("transport") == transport {
                found.insert(of("reason"), point.value());
            }
        }
    }
    found
}

/// Each bound of the receiver counts when it bites, under its own reason.
#[tokio::test(start_paused = true)]
async fn each_request_that_is_refused_is_counted_under_its_reason() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let mut harness = minicol_plugin::testing::Harness::default();
    harness.meter = provider.meter("test");
    let yaml = "{max_in_flight_mib: 1, protocols: {grpc: {max_recv_msg_size_mib: 1}, http: {max_request_body_size: 1048576, read_timeout: 5s}}}";
    let receiver = run_in(harness, yaml).await;
    let garbage = b"\xff\xff\xff";
    let large = vec![0; (1 << 20) + 1];
    let random = minicol_plugin::SeededRandom::from_seed(1);
    let plain: Vec<u8> = (0..125_000).flat_map(|_| minicol_plugin::Random::next_u64(&random).to_be_bytes()).collect();
    let (deep, packed) = ("[".repeat(200), [PROTOBUF, ("content-encoding", "gzip")]);

    for (headers, body, status) in [
        (&[PROTOBUF][..], garbage.to_vec(), 400),
        (&[JSON], deep.into_bytes(), 400),
        (&packed, garbage.to_vec(), 400),
        (&[PROTOBUF], large.clone(), 413),
        (&packed, gzip(&plain), 429),
    ] {
        assert_eq!(receiver.post(HTTP[0], headers, body).await.status, status, "{headers:?}");
    }
    let mut stream = receiver.connect(4318).await;
    let head = "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 12]).await.unwrap();
    let expected = [("exhausted", 1), ("invalid", 3), ("too_large", 1), ("too_slow", 1)];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(reason, times)| (reason.to_owned(), times)).collect();
    assert_eq!(refused(&provider, &exporter, "http"), expected);

    receiver.call(GRPC[0], &[], framed(0, garbage)).await;
    receiver.call(GRPC[0], &[], framed(0, &large)).await;
    receiver.call(GRPC[0], &[("grpc-encoding", "gzip")], framed(1, &gzip(&plain))).await;
    // What a pipeline refuses for now counts as what is beyond the memory.
    receiver.sink.refuse(Some(Rejected::retryable("queue_full", "full")));
    receiver.call(GRPC[0], &[], framed(0, &requests()[0].0)).await;
    let expected = [("exhausted", 2), ("invalid", 1), ("too_large", 1)];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(reason, times)| (reason.to_owned(), times)).collect();
    assert_eq!(refused(&provider, &exporter, "grpc"), expected);
}

#[tokio::test]
async fn on_the_loopback_only_loopback_names_are_answered() {
    let receiver = run("").await;
    let (message, _) = &requests()[0];
    let told = receiver.post(HTTP[0], &[PROTOBUF, ("host", "evil.example")], message.clone()).await;
    assert_eq!(told.status, 403);
    let told = receiver.post(HTTP[0], &[PROTOBUF, ("origin", "http://evil.example")], message.clone()).await;
    assert_eq!(told.status, 403);
    assert!(receiver.sink.take().is_empty());
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_the_cure() {
    let network = MemoryNetwork::new();
    let _taken = minicol_plugin::net::Network::listen(&network, "localhost:4318").await.unwrap();
    let mut harness = minicol_plugin::testing::Harness::default();
    harness.network = std::sync::Arc::new(network);
    let error = harness.run_receiver(&minicol_receiver_otlp::ENTRY, "").await.err().unwrap();
    assert!(error.to_string().starts_with("cannot listen on localhost:4318; another program"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_of_grpc_is_asked_and_closed_when_it_does_not_answer() {
    for (keepalive, asked, closed) in [("{}", 60, 80), ("{server_parameters: {time: 5s, timeout: 2s}}", 5, 7)] {
        let receiver = run(&format!("protocols: {{grpc: {{keepalive: {keepalive}}}}}")).await;
        let mut stream = receiver.connect(4317).await;
        let began = tokio::time::Instant::now();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut pinged = None;
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            if head[3] == 6 {
                pinged.get_or_insert(began.elapsed().as_secs());
            }
        }
        assert_eq!((pinged, began.elapsed().as_secs()), (Some(asked), closed), "{keepalive}");
    }
}
