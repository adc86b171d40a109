//! Promise: what comes in by OTLP goes out by OTLP as what it was, through the real program over real sockets; and an independent peer, Python's own
//! Protobuf classes, reads in it field by field what was sent.

use std::{path::Path, process::Stdio};

use minicol_tests::{Program, free_port, wait_until};
use tokio::process::Command;

use crate::common::{File, post};

/// The peer sends to one port of minicol and receives from it on another, and prints what it compared.
async fn peer(arguments: &[String]) -> Option<(bool, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new(format!("{root}/tests/interop/otlp-peer.sh"))
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("a shell");
    if output.status.code() == Some(77) {
        return None;
    }
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
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
    for exporter in ["otlp", "otlphttp", "otlphttp/json"] {
        let (grpc_in, http_in, out) = (free_port(), free_port(), free_port());
        let more = if exporter == "otlphttp/json" { ", encoding: json" } else { "" };
        let file = relay(grpc_in, http_in, &format!("{exporter}: {{endpoint: \"http://127.0.0.1:{out}\"{more}}}"));
        let program = Program::start(&["run", "--config", file.path()], &[]);
        wait_until("it serves", || program.stderr().contains("serves grpc on")).await;
        let arguments = [grpc_in, http_in, out].map(|port| port.to_string()).into_iter().chain([exporter.to_owned()]);
        let told = peer(&arguments.collect::<Vec<_>>()).await;
        let output = program.stop().await;
        let Some((equal, said)) = told else {
            println!("skipped: no Python with grpcio and opentelemetry-proto was found, or could be installed");
            return;
        };
        assert!(equal, "{exporter}: {said}\n{}", output.stderr);
        assert_eq!(output.code, 0, "{}", output.stderr);
        println!("{exporter}: {said}");
    }
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
