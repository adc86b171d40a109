//! Promise: the settings of the poller that minicol replaces become a pipeline file that runs, and all that changes on the way is told.

use minicol_tests::{Output, Program};
use serde_json::{Value, json};

use crate::common::File;

/// As Mahavishnu's own file has it, with some of its neighbours.
const SETTINGS: &str = r#"
server_name: "Mahavishnu Orchestrator"
adapters: {prefect_enabled: true}
1: a key that is no text
observability:
  otlp_endpoint: "http://backend:4317"  # OTLP endpoint for metrics/traces
session_buddy_polling:
  enabled: true
  endpoint: "http://localhost:8678/mcp"  # Session-Buddy MCP server URL
  interval_seconds: 45
  timeout_seconds: 7
  max_retries: 2
  retry_delay_seconds: 3
  circuit_breaker_threshold: 4
  metrics_to_collect:  # MCP tools to poll
    - get_activity_summary
    - get_workflow_metrics
    - get_performance_metrics
terminal: {enabled: true}
"#;

async fn import(text: &str) -> Output {
    let file = File::new(text);
    Program::run(&["import-mahavishnu", file.path()], &[]).await
}

/// What the printed file configures: it must hold, by the program's own word.
async fn configured(output: &Output) -> Value {
    assert_eq!(output.code, 0, "{}", output.stderr);
    let file = File::new(&output.stdout);
    let validated = Program::run(&["validate", "--config", file.path()], &[]).await;
    assert_eq!((validated.code, validated.stderr.as_str()), (0, ""), "{}", output.stdout);
    let printed = Program::run(&["print-config", "--format", "json", "--config", file.path()], &[]).await;
    serde_json::from_str(&printed.stdout).unwrap()
}

#[tokio::test]
async fn every_key_becomes_what_it_meant() {
    let output = import(SETTINGS).await;
    let config = configured(&output).await;
    let receiver = &config["receivers"]["session_buddy"];
    for (key, value) in [
        ("endpoint", json!("http://localhost:8678/mcp")),
        ("interval_seconds", json!(45.0)),
        ("timeout_seconds", json!(7.0)),
        // Two attempts are one retry.
        ("max_retries", json!(1)),
        ("retry_delay_seconds", json!(3.0)),
        ("circuit_breaker_threshold", json!(4)),
        ("circuit_breaker_cooldown_seconds", json!(225.0)),
        ("metrics_to_collect", json!(["get_activity_summary", "get_workflow_metrics", "get_performance_metrics"])),
    ] {
        assert_eq!(receiver[key], value, "{key}");
    }
    assert_eq!(config["exporters"]["otlp"]["endpoint"], "http://backend:4317");
    let line = |what: &str| output.stdout.lines().find(|line| line.contains(what)).unwrap_or_default().to_owned();
    assert!(line("- \"get_performance_metrics\"").contains("does not have it"), "{}", output.stdout);
    assert!(line("- get_metrics_summary").trim_start().starts_with('#'), "worth adding: {}", output.stdout);
    assert!(line("circuit_breaker_cooldown_seconds").contains("# five intervals"), "{}", output.stdout);
    assert!(output.stderr.contains("note: max_retries: was 2 attempts"), "{}", output.stderr);
}

#[tokio::test]
async fn json_is_read_too_and_what_is_absent_is_as_it_was() {
    let text = "{\n\t\"auth\": {\"enabled\": false},\n\t\"session_buddy_polling\": {\"enabled\": \"true\", \"interval_seconds\": \"60\"}\n}";
    let output = import(text).await;
    let config = configured(&output).await;
    let receiver = &config["receivers"]["session_buddy"];
    assert_eq!((&receiver["interval_seconds"], &receiver["max_retries"]), (&json!(60.0), &json!(2)));
    assert_eq!(receiver["metrics_to_collect"].as_array().map(Vec::len), Some(4), "the four that the old poller knew");
    // Off is what Mahavishnu does where the block says nothing.
    let off = import("session_buddy_polling:\n").await;
    assert!(off.stdout.contains("enabled: false"), "{}", off.stdout);
    configured(&off).await;
}

#[tokio::test]
async fn what_does_not_fit_is_told_and_made_to_fit() {
    let output = import(
        "session_buddy_polling:
  enabled: true
  endpoint: localhost:8678/mcp/tools/call
  intervall_seconds: 5
  interval_seconds: 7200
  timeout_seconds: 0
  max_retries: 0
  circuit_breaker_threshold: 1000
  metrics_to_collect: [get_liveness, liveness, 'no tool', 'get_${HOME}', get_custom]
  \"key\\nwith: a line\": 1
",
    )
    .await;
    let config = configured(&output).await;
    let receiver = &config["receivers"]["session_buddy"];
    assert_eq!(receiver["endpoint"], "http://localhost:8678/mcp");
    assert_eq!((&receiver["interval_seconds"], &receiver["timeout_seconds"]), (&json!(3600.0), &json!(10.0)));
    assert_eq!(receiver["circuit_breaker_threshold"], 100);
    assert_eq!(receiver["metrics_to_collect"], json!(["get_liveness", "get_custom"]));
    for told in [
        "`intervall_seconds` (did it mean `interval_seconds`?)",
        "was 7200",
        "was 1000",
        "was 0, which is no time: this is the old poller's default",
        "was 0 attempts, the first one counted, and minicol takes 0 to 10 after it: that is 0 after the first",
        "\"no tool\"",
        "key\\nwith: a line",
    ] {
        assert!(output.stdout.contains(told), "{told}:\n{}", output.stdout);
        assert!(output.stderr.contains(told), "{told}:\n{}", output.stderr);
    }
}

#[tokio::test]
async fn merged_keys_count_and_other_blocks_are_their_readers_affair() {
    let output = import(
        "defaults: &defaults {interval_seconds: 45, timeout_seconds: 7}
twice: {a: 1, a: 2}
twice: !tagged [{b: 1, b: 2}]
observability: {<<: {otlp_endpoint: 'http://backend:4317'}, c: 1, c: 2}
session_buddy_polling: {<<: *defaults, enabled: true, timeout_seconds: 8}
",
    )
    .await;
    let config = configured(&output).await;
    let receiver = &config["receivers"]["session_buddy"];
    assert_eq!((&receiver["interval_seconds"], &receiver["timeout_seconds"]), (&json!(45.0), &json!(8.0)));
    assert_eq!(config["exporters"]["otlp"]["endpoint"], "http://backend:4317");
    assert!(!output.stderr.contains("<<"), "{}", output.stderr);
}

#[tokio::test]
async fn a_dollar_begins_no_reference() {
    let output = import("session_buddy_polling: {enabled: true, endpoint: 'http://localhost/${HOME}/$x/mcp'}").await;
    let config = configured(&output).await;
    assert_eq!(config["receivers"]["session_buddy"]["endpoint"], "http://localhost/${HOME}/$x/mcp");
}

#[tokio::test]
async fn users_in_urls_are_left_out_and_told_nowhere() {
    let output = import(
        "session_buddy_polling: {enabled: true, endpoint: 'http://me:hunter2@buddy:8678/mcp'}\n\
         observability: {otlp_endpoint: 'https://me:hunter2@backend:4317'}",
    )
    .await;
    let config = configured(&output).await;
    assert_eq!(config["receivers"]["session_buddy"]["endpoint"], "http://buddy:8678/mcp");
    assert_eq!(config["exporters"]["otlp"]["endpoint"], "https://backend:4317");
    assert!(
        output.stderr.contains("with a user: it is left out, write it as `headers: {authorization:"),
        "{}",
        output.stderr
    );
    assert!(output.stdout.contains("but for its user: it is left out"), "{}", output.stdout);
    // One that makes no pipeline shows what it made.
    let wrong = import("session_buddy_polling: {enabled: true, endpoint: 'ftp://me:hunter2@buddy'}").await;
    assert_ne!(wrong.code, 0);
    for told in [&output.stdout, &output.stderr, &wrong.stdout, &wrong.stderr] {
        assert!(!told.contains("hunter2"), "{told}");
    }
}

/// Whatever address of OTLP Mahavishnu had, the new file sends there.
#[tokio::test]
async fn the_backends_address_chooses_the_exporter() {
    for (was, exporter, endpoint) in [
        ("http://backend:4317", "otlp", "http://backend:4317"),
        ("backend:4317", "otlp", "http://backend:4317"),
        ("grpcs://backend:4317", "otlp", "https://backend:4317"),
        ("http://backend:4318", "otlphttp", "http://backend:4318"),
        ("http://backend:4318/v1/traces", "otlphttp", "http://backend:4318"),
        ("https://backend/otlp/v1/metrics?x=1#y", "otlphttp", "https://backend/otlp"),
        ("https://backend/otlp/", "otlphttp", "https://backend/otlp"),
    ] {
        let output = import(&format!(
            "session_buddy_polling: {{enabled: true, endpoint: 'http://buddy:8678/mcp#top'}}\n\
             observability: {{otlp_endpoint: '{was}'}}"
        ))
        .await;
        let config = configured(&output).await;
        assert_eq!(config["receivers"]["session_buddy"]["endpoint"], "http://buddy:8678/mcp");
        assert_eq!(config["exporters"][exporter]["endpoint"], endpoint, "{was}");
        assert_eq!(output.stderr.contains("the exporter is otlphttp"), exporter == "otlphttp", "{}", output.stderr);
    }
}

#[tokio::test]
async fn a_file_that_says_nothing_usable_is_an_error_that_says_so() {
    for (text, told) in [
        ("session_buddy_poling: {enabled: true}", "did `session_buddy_poling` mean it?"),
        ("session_buddy_polling: [a]", "must be a map"),
        (
            "session_buddy_polling: {interval_seconds: often}",
            "`session_buddy_polling.interval_seconds` must be a number",
        ),
        ("session_buddy_polling: {endpoint: 'ftp://x'}", "ftp"),
        ("session_buddy_polling: {enabled: true, enabled: false}", "duplicate entry"),
        ("session_buddy_polling: {}\nsession_buddy_polling: {}", "stands there twice"),
        ("[session_buddy_polling]", "has no block"),
        ("a: [", "cannot be used as YAML or JSON"),
        ("session_buddy_polling: {}\n---\na: 1\n", "more than one YAML document"),
    ] {
        let output = import(text).await;
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{text}: {}", output.stderr);
        assert!(output.stderr.contains(told), "{text}: {}", output.stderr);
    }
    let output = Program::run(&["import-mahavishnu", "no/such/file.yaml"], &[]).await;
    assert!(output.code == 1 && output.stderr.contains("no/such/file.yaml cannot be read"), "{}", output.stderr);
}
