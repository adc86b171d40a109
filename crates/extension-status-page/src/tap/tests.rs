use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, body::Incoming, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use minicol_pdata::{Logs, Signal, Timestamp};
use minicol_plugin::{
    Books, ComponentKind, EdgeSnapshot, Extension, Phase, Reasons, ReloadStatus, Snapshot, testing::Harness,
};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics, SumDataPoint},
};

use super::*;
use crate::{StatusPage, StatusPageConfig};

fn edge() -> EdgeName {
    EdgeName { pipeline: "logs".into(), from: "otlp".into(), to: "debug".into(), signal: Signal::Logs }
}

fn logs(records: usize, body: &str) -> Batch {
    let record = json!({ "body": { "stringValue": body } });
    let request = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": vec![record; records] }] }] });
    Logs::from_json(request.to_string().as_bytes()).unwrap().into()
}

/// A status page of a program with one arrow.
async fn page(config: StatusPageConfig) -> Harness {
    page_of(Harness::default(), config).await
}

async fn page_of(harness: Harness, config: StatusPageConfig) -> Harness {
    let EdgeName { pipeline, from, to, signal } = edge();
    let edge = EdgeSnapshot {
        pipeline,
        from,
        to,
        to_kind: ComponentKind::Exporter,
        signal,
        offered: 0,
        accepted: 0,
        refused: Reasons::new(),
        waiting: 0,
        lost: 0,
        partial: false,
    };
    let books = Books { edges: vec![edge], accounts: Vec::new() };
    let (up_since, now) = (Timestamp::from_nanos(1), Timestamp::from_nanos(2));
    let reload = ReloadStatus::default();
    harness.set_snapshot(Snapshot { phase: Phase::Running, up_since, now, reload, components: Vec::new(), books });
    let (ready, scope) = harness.scope_with_ready(ComponentKind::Extension, "status_page");
    tokio::spawn(Box::new(StatusPage { config }).run(scope));
    ready.cancelled().await;
    harness
}

async fn asked(harness: &Harness, query: &str) -> Response<Incoming> {
    let stream = harness.network.connect("localhost", 55_679).await.expect("it listens");
    let (mut client, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let path = format!("/api/v1/tap{query}");
    let request = Request::get(path).header("host", "localhost:55679").body(Empty::<Bytes>::new()).unwrap();
    client.send_request(request).await.unwrap()
}

async fn next(response: &mut Response<Incoming>) -> Value {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.extend(response.frame().await.expect("a line").unwrap().into_data().unwrap());
    }
    serde_json::from_slice(&line).unwrap()
}

const LOOK: &str = "?edge=otlp-%3Edebug";

#[tokio::test(start_paused = true)]
async fn what_passes_is_shown_so_often_as_was_asked_and_the_rest_is_counted() {
    let harness = page(StatusPageConfig::default()).await;
    assert!(!harness.is_tapped(&edge()));
    let mut look = asked(&harness, &format!("{LOOK}&rate=1")).await;
    harness.pass(&edge(), &logs(2, "a"), Err("queue_full"));
    let told = next(&mut look).await;
    assert_eq!((&told["items"], &told["outcome"], &told["skipped"]), (&json!(2), &json!("queue_full"), &json!(0)));
    assert_eq!(told["text"], "logs: 2 log records\n  no time  -  a\n  no time  -  a\n");
    harness.pass(&edge(), &logs(3, "b"), Ok(()));
    assert_eq!(next(&mut look).await, json!({ "skipped": 3 }));
    harness.pass(&edge(), &logs(MAX_ITEMS + 7, "c"), Ok(()));
    assert_eq!(next(&mut look).await["skipped"], 7, "of one batch no more than so many are shown");
    harness.remove_edge(&edge());
    assert_eq!(next(&mut look).await["end"], "the arrow is gone: a reload took it away");
    assert!(look.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_line_is_no_longer_than_it_may_be() {
    let harness = page(StatusPageConfig::default()).await;
    let mut look = asked(&harness, &format!("{LOOK}&format=json&rate=20")).await;
    harness.pass(&edge(), &logs(8, &"x".repeat(MAX_BYTES / 5)), Ok(()));
    let told = next(&mut look).await;
    let records = told["batch"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().len();
    assert_eq!((records, &told["skipped"]), (4, &json!(4)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    harness.pass(&edge(), &logs(1, &"x".repeat(MAX_BYTES)), Ok(()));
    let told = next(&mut look).await;
    assert!(told["text"].as_str().unwrap().starts_with("what passed is larger than"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn only_so_many_look_and_who_looks_away_makes_room() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let refused = || {
        exporter.reset();
        provider.force_flush().unwrap();
        let all = exporter.get_finished_metrics().unwrap();
        let mut metrics = all.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
        let metric = metrics.find(|metric| metric.name() == "minicol_status_page_refused_taps").expect("the counter");
        let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { panic!("{metric:?}") };
        sum.data_points().map(SumDataPoint::value).sum::<u64>()
    };
    let mut harness = Harness::default();
    harness.meter = provider.meter("test");
    let harness = page_of(harness, StatusPageConfig::default()).await;
    let mut looks = Vec::new();
    for _ in 0..MAX_TAPS {
        looks.push(asked(&harness, LOOK).await);
    }
    assert_eq!(refused(), 0);
    assert_eq!(asked(&harness, LOOK).await.status(), 429);
    assert_eq!(refused(), 1);
    looks.clear();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !harness.is_tapped(&edge()) {
            break;
        }
    }
    assert!(!harness.is_tapped(&edge()), "nobody looks any more");
    assert_eq!(asked(&harness, LOOK).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn other_machines_may_look_only_where_that_was_said() {
    let open = |tap: Option<bool>| serde_json::from_value(json!({ "endpoint": "0.0.0.0:55679", "tap": tap })).unwrap();
    for (tap, status) in [(None, 403), (Some(true), 200), (Some(false), 403)] {
        let harness = page(open(tap)).await;
        let stream = harness.network.connect("0.0.0.0", 55_679).await.expect("it listens");
        let (mut client, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/api/v1/tap").header("host", "here").body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(client.send_request(request).await.unwrap().status(), status, "{tap:?}");
    }
}
