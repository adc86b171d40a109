//! The page on the network: where it listens, and what happens where it cannot.

use std::time::Duration;

use minicol_plugin::testing::Harness;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::support::{ask, start, telemetry};

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: localhost:8888\r\nConnection: close\r\n\r\n";

fn page(host: &str, port: u16) -> serde_json::Value {
    json!({"metrics": {"readers": [{"pull": {"exporter": {"prometheus": {"host": host, "port": port}}}}]}})
}

#[tokio::test(start_paused = true)]
async fn by_default_the_page_is_on_localhost_8888() {
    let harness = Harness::default();
    let mut telemetry = telemetry(&harness, json!({}));
    start(&mut telemetry).await.unwrap();
    assert_eq!(telemetry.pages().collect::<Vec<_>>(), ["localhost:8888"]);
    let answer = ask(&harness, "localhost", 8888, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("\notelcol_process_uptime "), "{answer}");
    assert!(telemetry.shutdown(Instant::now() + Duration::from_secs(1)).await.is_empty());
    assert!(harness.network.connect("localhost", 8888).await.is_err(), "nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_name_is_turned_away() {
    let harness = Harness::default();
    let mut telemetry = telemetry(&harness, json!({}));
    start(&mut telemetry).await.unwrap();
    let request = GET.replace("localhost:8888", "rebound.example:8888");
    let answer = ask(&harness, "localhost", 8888, &request).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("otelcol"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_default_port_that_is_taken_is_no_error() {
    let harness = Harness::default();
    let _taken = harness.network.listen("localhost:8888").await.unwrap();
    let mut telemetry = telemetry(&harness, json!({}));
    start(&mut telemetry).await.unwrap();
    assert_eq!(telemetry.pages().count(), 0);
    assert!(telemetry.page().contains("otelcol_process_uptime"), "it measures all the same");
}

#[tokio::test(start_paused = true)]
async fn a_written_port_that_is_taken_is_an_error_that_names_it() {
    let harness = Harness::default();
    let _taken = harness.network.listen("localhost:8888").await.unwrap();
    let mut telemetry = telemetry(&harness, page("localhost", 8888));
    let error = start(&mut telemetry).await.unwrap_err().to_string();
    assert!(error.contains("localhost:8888") && error.contains("service.telemetry.metrics.readers"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn level_none_has_no_page() {
    let harness = Harness::default();
    let mut telemetry = telemetry(&harness, json!({"metrics": {"level": "none"}}));
    start(&mut telemetry).await.unwrap();
    assert_eq!((telemetry.pages().count(), telemetry.page().contains("otelcol")), (0, false));
    assert!(harness.network.connect("localhost", 8888).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed_and_too_many_wait() {
    let harness = Harness::default();
    let mut telemetry = telemetry(&harness, page("localhost", 9000));
    start(&mut telemetry).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(harness.network.connect("localhost", 9000).await.unwrap());
    }
    let mut late = harness.network.connect("localhost", 9000).await.unwrap();
    late.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let early = tokio::time::timeout(Duration::from_secs(10), late.read_exact(&mut answer)).await;
    assert!(early.is_err(), "all places are taken");
    // The silent ones lose their places after half a minute.
    tokio::time::timeout(Duration::from_secs(60), late.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
}

#[tokio::test(start_paused = true)]
async fn an_endless_head_is_cut() {
    let harness = Harness::default();
    let mut telemetry = telemetry(&harness, page("localhost", 9000));
    start(&mut telemetry).await.unwrap();
    let endless = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(2_000_000));
    let answer = ask(&harness, "localhost", 9000, &endless).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
}
