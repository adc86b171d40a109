//! Promise: `minicol doctor` finds what keeps a pipeline from working, by the components' own way there, and says what to do; it shows no secret.

use std::{fs, time::Duration};

use axum::{Json, Router, http::StatusCode, routing::any};
use minicol_extension_simulator::{Profile, SimulatorConfig};
use minicol_tests::{OtlpSink, Program, free_port, simulator, wait_until};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{
    certificates::{authority, certificate},
    common::{File, pipeline},
};

/// What `doctor` found of one pipeline.
struct Found {
    code: i32,
    report: Value,
}

impl Found {
    async fn of(file: &str) -> Self {
        let file = File::new(file);
        let output = Program::run(&["doctor", "--config", file.path(), "--format", "json"], &[]).await;
        let report = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stderr));
        Self { code: output.code, report }
    }

    /// Verdict and detail of one step of a component of this kind.
    fn step(&self, kind: &str, step: &str) -> (&str, &str) {
        let components = self.report["components"].as_array().unwrap();
        let one = components.iter().find(|one| one["kind"] == kind).unwrap();
        let checks = one["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["step"] == step);
        let check = check.unwrap_or_else(|| panic!("no step `{step}` in {checks:?}"));
        (check["verdict"].as_str().unwrap(), check["detail"].as_str().unwrap())
    }

    /// One step failed, and says so with these words; what is behind it was not looked at.
    fn failed_at(&self, kind: &str, step: &str, words: &str) {
        assert_eq!((self.code, &self.report["ok"]), (1, &Value::Bool(false)), "{:#}", self.report);
        let (verdict, detail) = self.step(kind, step);
        assert!(verdict == "failed" && detail.contains(words), "{step}: {detail}");
        let all =
            self.report["components"].as_array().unwrap().iter().flat_map(|one| one["checks"].as_array().unwrap());
        let failed: Vec<_> = all.filter(|check| check["verdict"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{failed:?}");
    }
}

/// Answers everything with one status and text.
async fn web_server(status: StatusCode, text: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().fallback(any(move || async move { (status, text) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

/// An MCP server that is no Session-Buddy.
async fn another_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let answer = |body: String| async move {
        let asked: Value = serde_json::from_str(&body).unwrap_or_default();
        let result = match asked["method"].as_str() {
            Some("initialize") => serde_json::json!({
                "protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "weather", "version": "1"},
            }),
            Some("tools/list") => {
                serde_json::json!({"tools": [{"name": "forecast", "inputSchema": {"type": "object"}}]})
            }
            _ => return (StatusCode::ACCEPTED, Json(Value::Null)),
        };
        (StatusCode::OK, Json(serde_json::json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})))
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    url
}

async fn buddy() -> (minicol_extension_simulator::Simulator, String) {
    let simulator = simulator(0, SimulatorConfig::default()).await;
    let url = simulator.url();
    (simulator, url)
}

#[tokio::test]
async fn all_is_well_and_a_person_reads_it() {
    let (_simulator, url) = buddy().await;
    let sink = OtlpSink::start().await;
    for exporter in [
        format!("otlp: {{endpoint: \"http://{}\", headers: {{x-api-key: hunter2}}}}", sink.grpc),
        format!("otlphttp: {{endpoint: \"http://{}\", headers: {{x-api-key: hunter2}}}}", sink.http),
    ] {
        let file = File::new(&pipeline(&url, &exporter));
        let output = Program::run(&["doctor", "--config", file.path()], &[]).await;
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
        for line in ["  ✓ MCP handshake", "  ✓ tools", "4 of 4", "  ✓ empty export, metrics", "everything is reachable"]
        {
            assert!(output.stdout.contains(line), "{line}:\n{}", output.stdout);
        }
        assert!(!output.stdout.contains('✗') && !(output.stdout + &output.stderr).contains("hunter2"));
    }
    assert_eq!(sink.points(), [], "nothing is delivered");
    assert!(
        sink.headers().iter().any(|(name, value)| name == "x-api-key" && value == "hunter2"),
        "its own headers go along"
    );
}

#[tokio::test]
async fn a_wrong_port_and_a_wrong_name_are_told_where_they_are() {
    let (_simulator, url) = buddy().await;
    let port = free_port();
    let wrong = Found::of(&pipeline(&url, &format!("otlp: {{endpoint: \"http://127.0.0.1:{port}\"}}"))).await;
    wrong.failed_at("exporter", "connect", "nothing listens there");
    assert_eq!(wrong.step("exporter", "empty export, metrics"), ("skipped", "not reached"));
    assert_eq!(wrong.step("receiver", "tools").0, "passed", "one does not keep the other from being looked at");
    let nowhere = Found::of(&pipeline("http://minicol-nowhere.invalid:1/mcp", "debug: ")).await;
    nowhere.failed_at("receiver", "name", "does not resolve");
    assert_eq!(nowhere.step("receiver", "MCP handshake"), ("skipped", "not reached"));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_told_and_so_is_plain_text() {
    let folder = TempDir::new().unwrap();
    let ours = authority(folder.path(), "ours");
    certificate(folder.path(), &ours, "misnamed", "elsewhere.example", false);
    let (path, port) = (folder.path().display(), free_port());
    let server = File::new(&format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"localhost:{port}\", tls: {{cert_file: {path}/misnamed.crt, key_file: {path}/misnamed.key}}}}}}}}}}
exporters: {{debug: }}
service: {{telemetry: {{metrics: {{level: none}}}}, pipelines: {{metrics: {{receivers: [otlp], exporters: [debug]}}}}}}
"
    ));
    let server = (Program::start(&["run", "--config", server.path()], &[]), server);
    wait_until("the server", || server.0.stderr().contains("everything has started")).await;
    let ca = format!("tls: {{ca_file: {path}/ours.pem}}");
    let (_simulator, url) = buddy().await;
    let exporter = format!("otlphttp: {{endpoint: \"https://localhost:{port}\", {ca}}}");
    let found = Found::of(&pipeline(&url, &exporter)).await;
    found.failed_at("exporter", "TLS", "another name");
    let target = pipeline(&format!("https://localhost:{port}/mcp"), "debug: ");
    let found = Found::of(&target.replace("    interval_seconds", &format!("    {ca}\n    interval_seconds"))).await;
    found.failed_at("receiver", "TLS", "name");
    assert_eq!(found.step("receiver", "connect").0, "passed");
    // The simulator speaks plain text.
    let plain = pipeline(&url.replace("http://", "https://"), "debug: ");
    let found = Found::of(&plain.replace("    interval_seconds", &format!("    {ca}\n    interval_seconds"))).await;
    found.failed_at("receiver", "TLS", "the server does not speak TLS: for plain text write http://");
    // With the right name all of TLS is well, and the next step is told.
    let named = ca.replace("tls: {", "tls: {server_name_override: elsewhere.example, ");
    let exporter = format!("otlphttp: {{endpoint: \"https://localhost:{port}\", {named}}}");
    let found = Found::of(&pipeline(&url, &exporter)).await;
    assert_eq!((found.code, found.step("exporter", "TLS").0), (0, "passed"), "{:#}", found.report);
}

#[tokio::test]
async fn a_web_server_that_is_no_mcp_server_is_told() {
    for (status, text) in [(StatusCode::NOT_FOUND, "no such page"), (StatusCode::OK, "<html>welcome</html>")] {
        let port = web_server(status, text).await;
        let found = Found::of(&pipeline(&format!("http://127.0.0.1:{port}/mcp"), "debug: ")).await;
        found.failed_at("receiver", "MCP handshake", "MCP server");
        assert_eq!(found.step("receiver", "connect").0, "passed");
        assert_eq!(found.step("receiver", "tools").0, "skipped");
    }
}

#[tokio::test]
async fn a_tool_that_is_not_offered_is_named() {
    let (_simulator, url) = buddy().await;
    let file = pipeline(&url, "debug: ").replace("[activity_summary,", "[liveness, activity_summary,");
    let found = Found::of(&file).await;
    found.failed_at("receiver", "tools", "4 of 5 that are wanted are offered; missing: `get_liveness`");
    assert_eq!(found.step("receiver", "MCP handshake").0, "passed");
}

#[tokio::test]
async fn of_the_tools_that_are_wanted_by_default_some_are_enough() {
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/session-buddy.yaml")).unwrap();
    let sink = OtlpSink::start().await;
    let shipped = |url: &str| {
        let file = file.replace("http://localhost:8678/mcp", url);
        file.replace("http://localhost:4317", &format!("http://{}", sink.grpc))
    };
    for (profile, told) in [
        (Profile::Contract, "4 of 7 that are wanted are offered; not offered, and not polled: `get_metrics_summary`"),
        (
            Profile::Release,
            "6 of 7 that are wanted are offered; not offered, and not polled: `get_performance_metrics`",
        ),
    ] {
        let simulator = simulator(0, SimulatorConfig { profile, ..SimulatorConfig::default() }).await;
        let found = Found::of(&shipped(&simulator.url())).await;
        assert_eq!((found.code, &found.report["ok"]), (0, &Value::Bool(true)), "{:#}", found.report);
        let (verdict, detail) = found.step("receiver", "tools");
        assert!(verdict == "passed" && detail.starts_with(told), "{detail}");
        // Who names them means them.
        let named = shipped(&simulator.url()).replace(
            "  session_buddy:\n",
            "  session_buddy:\n    metrics_to_collect: [activity_summary, performance_metrics, liveness]\n",
        );
        let found = Found::of(&named).await;
        found.failed_at("receiver", "tools", "Take them out of metrics_to_collect");
    }
    Found::of(&shipped(&another_server().await)).await.failed_at(
        "receiver",
        "tools",
        "0 of 7 that are wanted are offered",
    );
}

#[tokio::test]
async fn a_backend_that_refuses_is_told_with_its_words() {
    let (_simulator, url) = buddy().await;
    let port = web_server(StatusCode::UNAUTHORIZED, "who are you?").await;
    let exporter = format!("otlphttp: {{endpoint: \"http://127.0.0.1:{port}\", headers: {{x-api-key: hunter2}}}}");
    let found = Found::of(&pipeline(&url, &exporter)).await;
    found.failed_at("exporter", "empty export, metrics", "401");
    assert!(!found.report.to_string().contains("hunter2"));
}

#[tokio::test]
async fn what_is_switched_off_is_not_looked_at_and_a_token_file_that_is_missing_is_told() {
    let off = pipeline("http://127.0.0.1:1/mcp", "debug: ")
        .replace("    interval_seconds", "    enabled: false\n    interval_seconds");
    let found = Found::of(&off).await;
    assert_eq!((found.code, found.step("receiver", "enabled").0), (0, "skipped"));
    let (_simulator, url) = buddy().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token");
    let with_token = pipeline(&url, "debug: ")
        .replace("    interval_seconds", &format!("    bearer_token_file: {}\n    interval_seconds", file.display()));
    Found::of(&with_token).await.failed_at("receiver", "credentials", "bearer_token_file");
    fs::write(&file, "hunter2").unwrap();
    let found = Found::of(&with_token).await;
    assert!(found.code == 0 && !found.report.to_string().contains("hunter2"), "{:#}", found.report);
}

#[tokio::test]
async fn a_server_that_never_answers_is_told_at_the_limit_and_ctrl_c_ends_it_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let file = File::new(&pipeline(&target, "debug: ").replace("timeout_seconds: 2", "timeout_seconds: 100"));
    let arguments = ["doctor", "--config", file.path(), "--timeout", "1s"];
    let output = Program::run(&arguments, &[]).await;
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stdout.contains("✓ connect") && output.stdout.contains("none within 1s"), "{}", output.stdout);
    let stuck = Program::start(&["doctor", "--config", file.path(), "--timeout", "10m"], &[]);
    // Its signal handler stands before it connects; the first second may go by before that.
    tokio::time::sleep(Duration::from_secs(2)).await;
    stuck.signal("INT").await;
    let output = stuck.ended(Duration::from_secs(30)).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("SIGINT: ended before everything was looked at"), "{}", output.stderr);
}
