//! Promise: the program behaves on a command line as users of the collector know it.

use std::time::Duration;

use minicol_extension_simulator::SimulatorConfig;
use minicol_tests::{OtlpSink, Program, books_at_rest, free_port, http_get, simulator, wait_until};

use crate::common::{File, pipeline, pipeline_with};

const ELEVEN: [&str; 11] = [
    "session_buddy.sessions.active",
    "session_buddy.sessions.total",
    "session_buddy.workflows.completed",
    "session_buddy.workflows.failed",
    "session_buddy.workflow.duration",
    "session_buddy.checkpoints.total",
    "session_buddy.checkpoint.size",
    "session_buddy.session.duration",
    "session_buddy.performance.cpu_usage",
    "session_buddy.performance.memory_usage",
    "session_buddy.performance.response_time",
];

/// The arguments of the README's first command.
fn readme_command() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let line =
        readme.lines().find(|line| line.trim_start().starts_with("cargo run")).expect("the README has a command");
    let (_, arguments) = line.split_once(" -- ").expect("arguments after --");
    arguments.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_demo_prints_the_eleven_metrics_and_they_move() {
    let command = readme_command();
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    let program = Program::start(&arguments, &[]);
    // The simulated team works a minute in each second: within a few cycles something is counted.
    let totals = |text: &str| -> std::collections::BTreeSet<String> {
        text.lines().filter(|line| line.contains("session_buddy.checkpoints.total")).map(str::to_owned).collect()
    };
    wait_until("the eleven metrics", || ELEVEN.iter().all(|name| program.stdout().contains(name))).await;
    wait_until("moving values", || totals(&program.stdout()).len() >= 2).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[tokio::test]
async fn every_shipped_pipeline_is_valid_and_validate_is_silent() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let output = Program::run(&["validate", "--config", path.to_str().unwrap()], &[]).await;
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "", ""), "{}", path.display());
        count += 1;
    }
    assert!(count >= 3);
}

#[tokio::test]
async fn without_a_configuration_it_says_so() {
    for command in ["run", "validate", "poll", "print-config"] {
        let output = Program::run(&[command], &[]).await;
        assert_eq!(output.code, 1, "{command}");
        assert!(output.stderr.contains("at least one `--config` is needed"), "{command}: {}", output.stderr);
    }
    assert_eq!(Program::run(&["validate", "--confg", "x"], &[]).await.code, 2);
}

#[tokio::test]
async fn what_print_config_prints_is_a_configuration_and_holds_no_secret() {
    let set = ["--set", "receivers.session_buddy.headers={Authorization: Bearer hunter2}"];
    let arguments = [&["print-config", "--config", "pipelines/session-buddy.yaml"][..], &set].concat();
    let printed = Program::run(&arguments, &[]).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    assert!(printed.stdout.contains("[REDACTED]") && !printed.stdout.contains("hunter2"), "{}", printed.stdout);
    assert!(printed.stdout.contains("max_elapsed_time"), "defaults are printed: {}", printed.stdout);
    let file = File::new(&printed.stdout);
    let again = Program::run(&["print-config", "--config", file.path()], &[]).await;
    assert_eq!(again.stdout, printed.stdout, "{}", again.stderr);
    let json = Program::run(&[&arguments[..], &["--format", "json"]].concat(), &[]).await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["receivers"]["session_buddy"]["interval_seconds"], 30.0);
}

#[tokio::test]
async fn the_environment_overrides_files_and_set_overrides_the_environment() {
    let prefix = "MAHAVISHNU_SESSION_BUDDY_POLLING__";
    let (interval, retries) = (format!("{prefix}INTERVAL_SECONDS"), format!("{prefix}MAX_RETRIES"));
    let arguments = [
        "print-config",
        "--format",
        "json",
        "--config",
        "pipelines/session-buddy.yaml",
        "--set",
        "receivers.session_buddy.max_retries=7",
    ];
    let output = Program::run(&arguments, &[(&interval, "12.5"), (&retries, "1")]).await;
    let config: serde_json::Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    assert_eq!(config["receivers"]["session_buddy"]["interval_seconds"], 12.5);
    assert_eq!(config["receivers"]["session_buddy"]["max_retries"], 7);
    assert!(output.stderr.contains(&interval), "each override is told by name: {}", output.stderr);

    let wrong = Program::run(&["validate", "--config", "pipelines/session-buddy.yaml"], &[(&interval, "often")]).await;
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains(&format!("<environment variable {interval}>")), "{}", wrong.stderr);

    let nobody = "yaml:{receivers: {session_buddy/a: }, exporters: {debug: }, service: {pipelines: {observations: {receivers: [session_buddy/a], exporters: [debug]}}}}";
    let unmet = Program::run(&["validate", "--config", nobody], &[(&interval, "5")]).await;
    assert_eq!(unmet.code, 0, "{}", unmet.stderr);
    assert!(unmet.stderr.contains("warning") && unmet.stderr.contains(&interval), "{}", unmet.stderr);
}

#[tokio::test]
async fn poll_shows_what_answered_and_fails_when_nothing_did() {
    let simulator = simulator(free_port(), SimulatorConfig::default()).await;
    let exporter = format!("otlp: {{endpoint: \"http://127.0.0.1:{}\"}}", free_port());
    let file = File::new(&pipeline(&simulator.url(), &exporter));
    let output = Program::run(&["poll", "--config", file.path()], &[]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    for name in ELEVEN {
        assert!(output.stdout.contains(name), "{name} is missing:\n{}", output.stdout);
    }
    assert_eq!(simulator.calls()["get_activity_summary"], 1, "exactly one cycle");
    simulator.stop().await;
    let output = Program::run(&["poll", "--config", file.path()], &[]).await;
    assert_eq!(output.code, 1, "{}", output.stdout);
    assert!(output.stdout.contains("unavailable") || output.stdout.contains("refused"), "{}", output.stdout);
    let output = Program::run(&["poll", "--config", file.path(), "session_budy"], &[]).await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("session_budy"), "{}", output.stderr);
}

#[tokio::test]
async fn a_signal_ends_it_within_the_deadline_and_a_second_one_at_once() {
    // A target that never answers: a cycle is in flight for as long as its timeout allows.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/mcp", silent.local_addr().unwrap());
    let file = File::new(
        &pipeline(&target, "debug:")
            .replace("timeout_seconds: 2", "timeout_seconds: 300")
            .replace("interval_seconds: 1", "interval_seconds: 3600"),
    );
    for signal in ["INT", "TERM"] {
        let program = Program::start(&["run", "--config", file.path(), "--shutdown-timeout", "1s"], &[]);
        wait_until("it runs", || program.stderr().contains("everything has started")).await;
        program.signal(signal).await;
        let output = program.ended(Duration::from_secs(5)).await;
        assert_eq!(output.code, 0, "{signal}: {}", output.stderr);
    }
    let program = Program::start(&["run", "--config", file.path(), "--shutdown-timeout", "1h"], &[]);
    wait_until("it runs", || program.stderr().contains("everything has started")).await;
    program.signal("INT").await;
    wait_until("it stops", || program.stderr().contains("told to stop")).await;
    program.signal("INT").await;
    let output = program.ended(Duration::from_secs(5)).await;
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("a second signal"), "{}", output.stderr);
}

#[tokio::test]
async fn a_written_port_that_is_taken_is_an_error_and_a_default_one_a_warning() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let reader =
        format!("metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {port}}}}}}}}}]}}");
    let file = File::new(&pipeline_with("http://127.0.0.1:1/mcp", "debug:", &reader));
    let output = Program::run(&["run", "--config", file.path()], &[]).await;
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains(&format!("127.0.0.1:{port}")), "{}", output.stderr);
}

#[tokio::test]
async fn health_and_status_tell_the_truth() {
    let (health, target) = (free_port(), free_port());
    let text = pipeline(&format!("http://127.0.0.1:{target}/mcp"), "debug:")
        .replace(
            "exporters:\n",
            &format!("extensions:\n  health_check: {{endpoint: \"127.0.0.1:{health}\"}}\nexporters:\n"),
        )
        .replace("service:\n", "service:\n  extensions: [health_check]\n");
    let file = File::new(&text);
    let json = "service.telemetry.logs.encoding=json";
    let program = Program::start(&["run", "--config", file.path(), "--set", json], &[]);
    let address = format!("127.0.0.1:{health}");
    let status = async || -> serde_json::Value {
        match http_get(&address, "/status").await {
            Some((200, body)) => serde_json::from_str(&body).unwrap(),
            _ => serde_json::Value::Null,
        }
    };
    let receiver = |status: &serde_json::Value| -> serde_json::Value {
        let all = status["components"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one["id"] == "session_buddy").unwrap_or_default()
    };
    let mut seen = serde_json::Value::Null;
    for _ in 0..500 {
        seen = receiver(&status().await);
        if seen["status"] == "RecoverableError" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(seen["status"], "RecoverableError", "a dead target is told: {seen}");
    assert!(seen["details"]["poll_cycles"].is_u64(), "the poller's status is shown: {seen}");
    let (code, body) = http_get(&address, "/").await.unwrap();
    assert_eq!(code, 200, "the program itself is well: {body}");
    assert!(body.contains("Server available"), "{body}");
    let _simulator = simulator(target, SimulatorConfig::default()).await;
    for _ in 0..500 {
        seen = receiver(&status().await);
        if seen["status"] == "OK" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(seen["status"], "OK", "it recovers by itself: {seen}");
    let books = books_at_rest(&address, Duration::from_secs(30)).await;
    assert!(books.accounts.iter().any(|account| account.out > 0), "{books:?}");
    let output = program.stop().await;
    assert_eq!(output.code, 0);
}

/// The names that dashboards are built on. A change here breaks users.
#[tokio::test]
async fn the_names_of_its_own_metrics_are_frozen() {
    let sink = OtlpSink::start().await;
    let simulator = simulator(free_port(), SimulatorConfig::default()).await;
    let page = free_port();
    let telemetry = format!(
        "metrics: {{level: detailed, readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {page}}}}}}}}}]}}"
    );
    let exporter = format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc);
    let file = File::new(&pipeline_with(&simulator.url(), &exporter, &telemetry));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("two cycles", || sink.points_of("session_buddy.up").len() >= 2).await;
    let (code, text) = http_get(&format!("127.0.0.1:{page}"), "/metrics").await.unwrap();
    assert_eq!(code, 200);
    let mut names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    names.sort_unstable();
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("own_metric_names", names.join("\n"));
    });
    for must in [
        "otelcol_receiver_accepted_observations",
        "otelcol_exporter_sent_metric_points",
        "otelcol_exporter_queue_size",
        "otelcol_process_uptime",
        "session_buddy_poller_poll_cycles_total",
        "session_buddy_poller_poll_duration_seconds",
        "session_buddy_poller_circuit_breaker_state",
    ] {
        assert!(names.iter().any(|name| name.split(' ').next() == Some(must)), "{must} is missing:\n{text}");
    }
    assert_eq!(program.stop().await.code, 0);
}
