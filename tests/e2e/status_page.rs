//! Promise: the page in the browser shows what `/status` says, and turns with its target.

use std::time::Duration;

use minicol_tests::{Program, free_port, http_get, wait_until};
use serde_json::{Value, json};

use crate::common::File;

/// What is at a path of one of the program's pages, as JSON.
async fn json_at(port: u16, path: &str) -> Value {
    let (status, body) = http_get(&format!("127.0.0.1:{port}"), path).await.expect("it answers");
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// What `minicol status` tells of the page at a port.
async fn minicol_status(port: u16, more: &[&str]) -> minicol_tests::Output {
    let endpoint = format!("127.0.0.1:{port}");
    Program::run(&[&["status", "--endpoint", &endpoint], more].concat(), &[]).await
}

/// Waits until the only target is `up`, and gives its card.
async fn target(port: u16, up: bool) -> Value {
    for _ in 0..600 {
        let card = json_at(port, "/api/v1/targets").await[0].clone();
        if card["up"] == json!(up) {
            return card;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the target did not turn");
}

#[tokio::test]
async fn the_page_shows_what_status_says_and_turns_with_the_target() {
    let [simulator, health, page] = std::array::from_fn(|_| free_port());
    let simulated = Program::start(&["simulate", "--port", &simulator.to_string()], &[]);
    wait_until("the simulator", || std::net::TcpStream::connect(("127.0.0.1", simulator)).is_ok()).await;
    let poller = format!(
        "endpoint: 'http://127.0.0.1:{simulator}/mcp', interval_seconds: 1, timeout_seconds: 1, max_retries: 0"
    );
    let file = File::new(&format!(
        "receivers: {{session_buddy: {{{poller}, metrics_to_collect: [activity_summary, workflow_metrics]}}}}
processors: {{mapping: {{presets: [session_buddy]}}}}
exporters: {{debug: {{verbosity: basic}}}}
extensions: {{health_check: {{endpoint: '127.0.0.1:{health}'}}, status_page: {{endpoint: '127.0.0.1:{page}'}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  extensions: [health_check, status_page]
  pipelines: {{metrics: {{receivers: [session_buddy], processors: [mapping], exporters: [debug]}}}}
"
    ));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("it runs", || program.stderr().contains("everything has started")).await;

    let up = target(page, true).await;
    assert_eq!(up["tools"]["get_activity_summary"]["outcome"], "answered");
    assert!(up["last_poll_seconds"].as_f64().is_some_and(|seconds| seconds < 60.0), "{up}");
    let status = json_at(health, "/status").await;
    let pipelines = json_at(page, "/api/v1/pipelines").await;
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| format!("{} {}", one["kind"], one["id"])).collect()
    };
    let nodes = ids(&pipelines[0]["nodes"]);
    assert_eq!(nodes.len(), 3);
    let known = ids(&status["components"]);
    assert!(nodes.iter().all(|node| known.contains(node)), "{nodes:?} {known:?}");
    assert_eq!(pipelines[0]["arrows"].as_array().unwrap().len(), status["edges"].as_array().unwrap().len());
    let (code, html) = http_get(&format!("127.0.0.1:{page}"), "/").await.unwrap();
    let told = minicol_status(page, &[]).await;
    assert!(told.code == 0 && told.stdout.contains("✓ session_buddy  up for"), "{} {}", told.stdout, told.stderr);
    let machine: Value = serde_json::from_str(&minicol_status(page, &["--format", "json"]).await.stdout).unwrap();
    assert_eq!(machine["program"]["mood"], "good");
    assert!(code == 200 && html.contains("Everything works.") && html.contains("get_workflow_metrics"), "{html}");

    simulated.stop().await;
    let down = target(page, false).await;
    assert!(down["last_error"]["message"].as_str().unwrap().contains("127.0.0.1"), "{down}");
    assert!(down["up_changed"].as_f64() > up["up_changed"].as_f64(), "{down}");
    let program_now = json_at(page, "/api/v1/status").await;
    assert_ne!(program_now["mood"], "good", "{program_now}");
    let told = minicol_status(page, &[]).await;
    assert!(told.code == 1 && told.stdout.starts_with("✗ session_buddy is down."), "{} {}", told.stdout, told.stderr);
    let events = json_at(page, "/api/v1/events").await;
    assert!(events[0]["at"].as_f64() >= events[1]["at"].as_f64(), "newest first");
    for (interval, outcome) in [("interval_seconds: 2", "success"), ("interval_seconds: none", "invalid")] {
        let text = std::fs::read_to_string(file.path()).unwrap();
        std::fs::write(
            file.path(),
            text.replace("interval_seconds: 1", interval).replace("interval_seconds: 2", interval),
        )
        .unwrap();
        program.signal("HUP").await;
        for _ in 0..600 {
            if json_at(page, "/api/v1/status").await["reload"]["outcomes"][outcome] == json!(1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let events = json_at(page, "/api/v1/events").await;
    let events: Vec<_> = events.as_array().unwrap().iter().collect();
    assert!(events.is_sorted_by(|one, next| one["at"].as_f64() >= next["at"].as_f64()), "newest first: {events:#?}");
    let reloads: Vec<_> = events.iter().filter(|event| event["kind"] == Value::Null).collect();
    let told = |nth: usize| (reloads[nth]["what"].as_str().unwrap(), reloads[nth]["message"].as_str().unwrap());
    assert_eq!((reloads.len(), &reloads[0]["id"], &reloads[0]["mood"]), (2, &json!("minicol"), &json!("warn")));
    assert!(
        told(0).0 == "config_reload_failed" && told(0).1.starts_with(&format!("{}:1:", file.path())),
        "{:?}",
        told(0)
    );
    assert_eq!(told(1), ("config_reloaded", "replaced: receiver session_buddy; 4 kept"));
    let configuration = json_at(page, "/api/v1/configuration").await;
    let endpoint =
        configuration.as_array().unwrap().iter().find(|one| one["path"] == "extensions::status_page::endpoint");
    let place = endpoint.unwrap()["place"].as_str().unwrap().to_owned();
    assert!(place.starts_with(&format!("{}:4:", file.path())), "{place}");
    let output = program.stop().await;
    let nobody = minicol_status(page, &[]).await;
    assert!(nobody.code == 2 && nobody.stderr.contains("does minicol run there"), "{}", nobody.stderr);
    let nowhere = Program::run(&["status", "--endpoint", "https://127.0.0.1"], &[]).await;
    assert!(nowhere.code == 2 && nowhere.stderr.contains("speaks http only"), "{}", nowhere.stderr);
    assert_eq!(output.code, 0, "{}", output.stderr);
}
