//! Promise: `minicol tap` shows what passes an arrow of a running program, before and after a processor, without secrets; where looking is off, or
//! too many look, it says so.

use std::time::Duration;

use minicol_tests::{Program, free_port, wait_until};
use serde_json::Value;

use crate::common::{File, post};

struct World {
    _program: Program,
    _file: File,
    page: String,
    otlp: u16,
}

/// A program that is sent logs, and polls a simulated Session-Buddy that it runs itself.
async fn world(options: &str) -> World {
    let [simulator, page, otlp] = std::array::from_fn(|_| free_port());
    let file = File::new(&format!(
        "receivers:
  session_buddy:
    endpoint: 'http://127.0.0.1:{simulator}/mcp'
    interval_seconds: 1
    headers: {{X-Team-Token: hunter2-of-the-file}}
    metrics_to_collect: [workflow_metrics]
  otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{otlp}'}}}}}}
processors: {{mapping: {{presets: [session_buddy]}}}}
exporters: {{debug: }}
extensions:
  session_buddy_simulator: {{endpoint: '127.0.0.1:{simulator}'}}
  status_page: {{endpoint: '127.0.0.1:{page}'{options}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  extensions: [session_buddy_simulator, status_page]
  pipelines:
    metrics: {{receivers: [session_buddy], processors: [mapping], exporters: [debug]}}
    logs: {{receivers: [otlp], exporters: [debug]}}
"
    ));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("it runs", || program.stderr().contains("everything has started")).await;
    World { _program: program, _file: file, page: format!("http://127.0.0.1:{page}"), otlp }
}

#[tokio::test]
async fn both_sides_of_a_processor_are_shown_as_text_and_as_json() {
    let world = world("").await;
    let tap = async |more: &[&str]| {
        let arguments: Vec<&str> = ["tap", "--endpoint", &world.page].iter().chain(more).copied().collect();
        let output = Program::run(&arguments, &[]).await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stdout
    };
    let listed = tap(&[]).await;
    for told in
        ["session_buddy->mapping  observations in pipeline metrics\n", "mapping->debug  metrics in pipeline metrics\n"]
    {
        assert!(listed.contains(told), "{listed}");
    }
    let before = tap(&["session_buddy -> mapping", "--count", "1"]).await;
    assert!(before.contains("get_workflow_metrics") && before.contains("workflows_completed"), "{before}");
    let after = tap(&["metrics:mapping->debug", "--count", "1"]).await;
    assert!(after.contains("session_buddy.workflows.completed  counter"), "{after}");
    let json = tap(&["mapping->debug", "--count", "2", "--format", "json"]).await;
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line["resourceMetrics"].is_array()), "{json}");
}

#[tokio::test]
async fn secrets_are_not_shown_and_what_is_left_out_is_told() {
    let world = world("").await;
    let looks =
        Program::start(&["tap", "otlp->debug", "--endpoint", &world.page, "--rate", "0.2", "--count", "2"], &[]);
    let record = |body: &str| {
        format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"stringValue":"{body}"}},"attributes":[{{"key":"session.token","value":{{"stringValue":"of-the-name"}}}}]}}]}}]}}]}}"#
        )
    };
    // Until somebody looks.
    while !looks.stdout().contains("[REDACTED]") {
        post(world.otlp, "/v1/logs", &record("it is hunter2-of-the-file, Bearer of-the-word")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // More than are shown.
    for _ in 0..5 {
        post(world.otlp, "/v1/logs", &record("too soon")).await;
    }
    wait_until("what was left out", || looks.stderr().contains("items were not shown")).await;
    while !looks.stdout().contains("second") {
        post(world.otlp, "/v1/logs", &record("the second")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let shown = looks.ended(Duration::from_secs(30)).await.stdout;
    assert!(!shown.contains("hunter2") && !shown.contains("of-the-name") && !shown.contains("of-the-word"), "{shown}");
    assert!(
        shown.contains("it is [REDACTED], Bearer [REDACTED]") && shown.contains("session.token=[REDACTED]"),
        "{shown}"
    );
}

#[tokio::test]
async fn who_may_not_look_is_told_why() {
    let shut = world(", tap: false").await;
    let output = Program::run(&["tap", "--endpoint", &shut.page], &[]).await;
    assert!(output.code == 1 && output.stderr.contains("set `tap: true` in status_page"), "{}", output.stderr);
    let open = world("").await;
    let output = Program::run(&["tap", "mapping->nowhere", "--endpoint", &open.page], &[]).await;
    assert!(output.code == 1 && output.stderr.contains("there is no such arrow; there are: "), "{}", output.stderr);
    let output = Program::run(&["tap", "otlp->debug", "--rate", "1000", "--endpoint", &open.page], &[]).await;
    assert!(output.code == 1 && output.stderr.contains("rate must be above 0 and at most 20"), "{}", output.stderr);
    let output = Program::run(&["tap", "--endpoint", "http://127.0.0.1:1"], &[]).await;
    assert!(
        output.code == 1 && output.stderr.contains("does minicol run there, with the extension status_page?"),
        "{}",
        output.stderr
    );
}
