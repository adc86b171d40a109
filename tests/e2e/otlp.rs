//! Promise: what comes in by OTLP goes out by OTLP as what it was, through the real program over real sockets; and an independent peer, Python's own
//! Protobuf classes, reads in it field by field what was sent.

use std::{io::Write, path::Path, process::Stdio};

use minicol_tests::{Program, free_port, wait_until};
use tokio::{process::Command, sync::OnceCell};

use crate::common::{File, post};

/// Whether the peer can be run: what it needs is installed once. Where it cannot be, that is said.
async fn is_installed() -> bool {
    static INSTALLED: OnceCell<bool> = OnceCell::const_new();
    let install = async || {
        let output = run(&[]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(77) {
            assert!(output.status.success(), "{said}");
            return true;
        }
        assert!(std::env::var_os("MINICOL_OTLP_PEER").is_none(), "the peer is required, but: {said}");
        // Past the captured output of a test: what was not tested is seen.
        let told = "skipped: no Python with grpcio and opentelemetry-proto was found, or could be installed\n";
        let _ = std::io::stderr().write_all(told.as_bytes());
        false
    };
    *INSTALLED.get_or_init(install).await
}

/// Runs the peer; whether it was content, and what it said.
async fn peer(arguments: &[String]) -> (bool, String) {
    let output = run(arguments).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

async fn run(arguments: &[String]) -> std::process::Output {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut command = Command::new(format!("{root}/tests/interop/otlp-peer.sh"));
    command.args(arguments).current_dir(root).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.expect("a shell")
}

fn relay(grpc_in: u16, http_in: u16, exporter: &str) -> File {
    File::new(&format!(
        "receivers:
  otlp: {{protocols: {{grpc: {{endpoint: \"127.0.0.1:{grpc_in}\"}}, http: {{endpoint: \"127.0.0.1:{http_in}\"}}}}}}
exporters:
  {exporter}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics: {{receivers: [otlp], exporters: [{id}]}}
    logs: {{receivers: [otlp], exporters: [{id}]}}
    traces: {{receivers: [otlp], exporters: [{id}]}}
",
        id = exporter.split(':').next().unwrap()
    ))
}

#[tokio::test]
async fn an_independent_peer_reads_field_by_field_what_was_sent() {
    if !is_installed().await {
        return;
    }
    for exporter in ["otlp", "otlphttp", "otlphttp/json"] {
        let (grpc_in, http_in, out) = (free_port(), free_port(), free_port());
        let more = if exporter == "otlphttp/json" { ", encoding: json" } else { "" };
        let file = relay(grpc_in, http_in, &format!("{exporter}: {{endpoint: \"http://127.0.0.1:{out}\"{more}}}"));
        let program = Program::start(&["run", "--config", file.path()], &[]);
        wait_until("it serves", || program.stderr().contains("serves grpc on")).await;
        let ports = [grpc_in, http_in, out].map(|port| port.to_string());
        let arguments = ["relay".to_owned()].into_iter().chain(ports).chain([exporter.to_owned()]);
        let (equal, said) = peer(&arguments.collect::<Vec<_>>()).await;
        let output = program.stop().await;
        assert!(equal, "{exporter}: {said}\n{}", output.stderr);
        assert_eq!(output.code, 0, "{}", output.stderr);
        println!("{exporter}: {said}");
    }
}

/// What minicol makes of answers, in every kind of point: whole numbers and doubles, totals and deltas, both histograms with negative values, and points
/// that end a series.
const MADE: &str = r#"
extensions:
  session_buddy_simulator:
    endpoint: "127.0.0.1:SIMULATOR"
    faults: {tools: {get_performance_metrics: {kind: is_error, every: 6s, for: 3s}}}
receivers:
  session_buddy:
    endpoint: "http://127.0.0.1:SIMULATOR/mcp"
    interval_seconds: 1
    circuit_breaker_threshold: 100
    metrics_to_collect: [activity_summary, workflow_metrics, performance_metrics]
processors:
  mapping:
    rules:
      - tool: get_activity_summary
        attributes: {team: "a b", n: 3}
        metrics:
          - {name: made.level, type: gauge, value: $.active_sessions, unit: "{session}", description: Sessions now}
          - {name: made.balance, type: updowncounter, value: $.active_sessions}
      - tool: get_workflow_metrics
        metrics:
          - {name: made.total, type: counter, value: $.workflows_completed}
          - {name: made.rise, type: counter, temporality: delta, value: $.workflows_completed}
          - {name: made.average, type: gauge, value: $.avg_duration, unit: s}
      - tool: get_performance_metrics
        metrics:
          - {name: made.load, type: gauge, value: $.cpu_usage, unit: "%"}
          - {name: made.response, type: histogram, value: $.response_time, unit: ms, boundaries: [1, 10, 100.5]}
          - {name: made.drop, type: histogram, temporality: delta, value: $.response_time, scale: -1, boundaries: [-100, -1]}
          - {name: made.spread, type: exponential_histogram, value: $.response_time, max_size: 8}
          - {name: made.fall, type: exponential_histogram, temporality: delta, value: $.cpu_usage, scale: -1}
exporters:
  debug: {verbosity: detailed}
  otlp: {endpoint: "http://127.0.0.1:GRPC"}
  otlphttp: {endpoint: "http://127.0.0.1:PROTO"}
  otlphttp/json: {endpoint: "http://127.0.0.1:JSON", encoding: json}
service:
  extensions: [session_buddy_simulator]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [session_buddy], processors: [mapping], exporters: [debug, otlp, otlphttp, otlphttp/json]}
"#;

/// Promise: a peer that is not minicol's reads in what minicol makes itself what minicol's own `debug` says of it, over both transports and in both encodings.
#[tokio::test]
async fn an_independent_peer_reads_what_minicol_makes() {
    const BATCHES: usize = 9;
    if !is_installed().await {
        return;
    }
    let ports = ["SIMULATOR", "GRPC", "PROTO", "JSON"].map(|name| (name, free_port()));
    let file =
        File::new(&ports.iter().fold(MADE.to_owned(), |text, (name, port)| text.replace(name, &port.to_string())));
    let arguments =
        |exporter: &str, port: u16| ["print".to_owned(), port.to_string(), exporter.to_owned(), BATCHES.to_string()];
    let all = ["otlp", "otlphttp", "otlphttp/json"].into_iter().zip(&ports[1..]);
    let all: Vec<_> = all.map(|(exporter, (_, port))| arguments(exporter, *port)).collect();
    let peers = futures::future::join_all(all.iter().map(|arguments| peer(arguments)));
    // An exporter tries again until its peer listens.
    let program = Program::start(&["run", "--config", file.path()], &[]);
    let told = peers.await;
    let output = program.stop().await;
    let printed = &output.stdout;
    for (arguments, (fine, said)) in all.iter().zip(told) {
        assert!(fine, "{arguments:?}: {said}\n{}", output.stderr);
        let blocks: Vec<_> = said.split("=====\n").filter(|block| block.starts_with("metrics: ")).collect();
        assert_eq!(blocks.len(), BATCHES);
        for block in blocks {
            assert!(printed.contains(block), "{arguments:?} read\n{block}\nbut minicol made\n{printed}");
        }
        for seen in [
            "type: gauge",
            "type: updowncounter (cumulative)",
            "type: counter (cumulative)",
            "type: counter (delta)",
            "type: histogram (cumulative)",
            "type: histogram (delta)",
            "type: exponential_histogram (cumulative)",
            "type: exponential_histogram (delta)",
            "(double)",
            "point {n=3 team=a b}",
            "sum: not told",
            "flags: no recorded value",
        ] {
            assert!(said.contains(seen), "{arguments:?} never read `{seen}`:\n{said}");
        }
    }
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[tokio::test]
async fn a_relay_takes_json_and_tells_what_it_cannot_take() {
    let (grpc_in, http_in) = (free_port(), free_port());
    let file = relay(grpc_in, http_in, "debug: {verbosity: normal}");
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("it serves", || program.stderr().contains("serves grpc on")).await;
    let point = r#"{"asInt":"7","timeUnixNano":"1767225600000000000"}"#;
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"relayed.metric","gauge":{{"dataPoints":[{point}]}}}}]}}]}}]}}"#
    );
    assert_eq!(post(http_in, "/v1/metrics", "{").await.0, 400);
    assert_eq!(post(http_in, "/v1/metrics", &body).await, (200, "{}".to_owned()));
    wait_until("the point to come out", || program.stdout().contains("relayed.metric")).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[tokio::test]
async fn the_relay_of_the_pipelines_folder_is_valid() {
    let output = Program::run(&["validate", "--config", "pipelines/otlp-relay.yaml"], &[]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/otlp-relay.yaml")).exists());
}
