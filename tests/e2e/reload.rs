//! Promise: SIGHUP and `--watch` make a changed file what runs, without losing a point or restarting what did not change; a file that does not hold
//! changes nothing and is told with its line.

use std::{fs, path::Path, time::Duration};

use minicol_extension_simulator::SimulatorConfig;
use minicol_tests::{
    OtlpSink, Program, books_at_rest, breaches, free_port, http_get, repeated, simulator, unbalanced_totals, wait_until,
};
use serde_json::Value;

use crate::common::{File, pipeline_with};

/// What the file says: where points go, where `/status` stands, and where the own metrics are.
fn text(target: &str, sink: &OtlpSink, health: u16, page: u16) -> String {
    let exporter = format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc);
    let telemetry = format!(
        "logs: {{encoding: json}}, metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {page}}}}}}}}}]}}"
    );
    pipeline_with(target, &exporter, &telemetry).replace(
        "service:",
        &format!(
            "extensions: {{health_check: {{endpoint: \"127.0.0.1:{health}\"}}}}\nservice:\n  extensions: [health_check]"
        ),
    )
}

fn reloads(program: &Program) -> usize {
    program.stderr().matches("the configuration is reloaded").count()
}

async fn status(health: u16) -> Value {
    let (_, body) = http_get(&format!("127.0.0.1:{health}"), "/status").await.expect("the health page answers");
    serde_json::from_str(&body).expect("JSON")
}

#[tokio::test]
async fn sighup_makes_a_changed_file_what_runs() {
    let buddy = simulator(0, SimulatorConfig::default()).await;
    let (first, second) = (OtlpSink::start().await, OtlpSink::start().await);
    let (health, page) = (free_port(), free_port());
    let file = File::new(&text(&buddy.url(), &first, health, page));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("points at the first", || first.points_of("session_buddy.up").len() >= 2).await;

    fs::write(file.path(), text(&buddy.url(), &second, health, page)).unwrap();
    program.signal("HUP").await;
    wait_until("points at the second", || second.points_of("session_buddy.up").len() >= 2).await;
    let at_first = first.points().len();
    let told = status(health).await;
    assert_eq!(told["reload"]["last"]["outcome"], "success", "{told}");
    assert_eq!(told["reload"]["last"]["replaced"], serde_json::json!(["exporter otlp"]), "{told}");

    // The third line is wrong.
    let good = text(&buddy.url(), &second, health, page);
    fs::write(file.path(), good.replace("    endpoint:", "    endpoit:")).unwrap();
    program.signal("HUP").await;
    wait_until("what is wrong", || program.stderr().contains("the configuration does not hold")).await;
    let place = format!("{}:3:5", file.path());
    assert!(program.stderr().contains(&place), "{}", program.stderr());
    let told = status(health).await;
    assert_eq!(told["reload"]["last"]["outcome"], "invalid", "{told}");
    assert!(told["reload"]["last"]["errors"][0].as_str().unwrap().starts_with(&place), "{told}");
    let (_, metrics) = http_get(&format!("127.0.0.1:{page}"), "/metrics").await.unwrap();
    for line in ["minicol_config_last_reload_successful 0", "minicol_config_reload_total{outcome=\"invalid\"} 1"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let before = second.points_of("session_buddy.up").len();
    wait_until("it goes on", || second.points_of("session_buddy.up").len() >= before + 2).await;

    fs::write(file.path(), good.replace("interval_seconds: 1", "interval_seconds: 2")).unwrap();
    program.signal("HUP").await;
    wait_until("it recovers", || reloads(&program) == 2).await;
    let (_, metrics) = http_get(&format!("127.0.0.1:{page}"), "/metrics").await.unwrap();
    assert!(metrics.contains("minicol_config_last_reload_successful 1"), "{metrics}");
    let before = second.points_of("session_buddy.up").len();
    wait_until("it polls on", || second.points_of("session_buddy.up").len() >= before + 2).await;
    books_at_rest(&format!("127.0.0.1:{health}"), Duration::from_secs(60)).await;

    let output = program.stop().await;
    assert_eq!((output.code, unbalanced_totals(&output.stderr)), (0, Vec::new()), "{}", output.stderr);
    assert_eq!(first.points().len(), at_first, "nothing goes to the first any more");
    let points = [first.points(), second.points()].concat();
    assert_eq!((breaches(&points), repeated(&points)), (Vec::<String>::new(), 0));
    let total = "session_buddy.checkpoints.total";
    let starts: std::collections::BTreeSet<u64> =
        points.iter().filter(|point| point.name == total).map(|point| point.start).collect();
    assert_eq!(starts.len(), 1, "the counter goes on over all reloads");
}

#[tokio::test]
async fn with_watch_a_change_is_enough_however_it_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (health, sink) = (free_port(), free_port());
    let pipeline = |port: u16| {
        format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}}}\n\
             exporters: {{debug: }}\nextensions: {{health_check: {{endpoint: \"127.0.0.1:{health}\"}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  extensions: [health_check]\n  \
             pipelines: {{metrics: {{receivers: [otlp], exporters: [debug]}}}}\n"
        )
    };
    let level = |level: &str| format!("service: {{telemetry: {{logs: {{level: {level}}}}}}}\n");
    // As Kubernetes mounts it: the file leads through a folder that is a link.
    for (name, text) in [("..1", level("info")), ("..2", level("debug"))] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("level.yaml"), text).unwrap();
    }
    std::os::unix::fs::symlink("..1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/level.yaml", at("level.yaml")).unwrap();
    fs::write(at("pipeline.yaml"), pipeline(sink)).unwrap();
    let path = |name: &str| at(name).to_str().unwrap().to_owned();
    let program =
        Program::start(&["run", "--watch", "--config", &path("pipeline.yaml"), "--config", &path("level.yaml")], &[]);
    wait_until("it runs", || program.stderr().contains("everything has started")).await;
    let listens = async |port: u16| http_get(&format!("127.0.0.1:{port}"), "/").await.is_some();
    assert!(listens(sink).await);

    // In place.
    let other = free_port();
    fs::write(at("pipeline.yaml"), pipeline(other)).unwrap();
    wait_until("the first reload", || reloads(&program) == 1).await;
    assert!(listens(other).await);

    // As an editor saves: another file takes its place.
    fs::write(at(".pipeline.yaml.new"), pipeline(sink)).unwrap();
    fs::rename(at(".pipeline.yaml.new"), at("pipeline.yaml")).unwrap();
    wait_until("the second reload", || reloads(&program) == 2).await;
    assert!(listens(sink).await);

    // As Kubernetes changes a ConfigMap.
    std::os::unix::fs::symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    wait_until("the third reload", || reloads(&program) == 3).await;
    assert!(!program.stderr().contains("takes effect when minicol is started again"), "{}", program.stderr());
    let told = status(health).await;
    assert_eq!(told["reload"]["last"]["outcome"], "success", "the level is taken on: {told}");

    // A file that is gone is told, and the program goes on.
    fs::remove_file(at("pipeline.yaml")).unwrap();
    wait_until("what is wrong", || program.stderr().contains("there is no such file")).await;
    assert!(listens(sink).await && Path::new(&path("level.yaml")).exists());
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("DEBUG component stops"), "the level is in force: {}", output.stderr);
}

/// What the page says that needs a restart.
fn needs_a_restart() -> Vec<String> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reload.md")).unwrap();
    let section = page.split("## What needs a restart").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed = section.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next());
    let mut listed: Vec<String> = listed.map(str::to_owned).collect();
    listed.sort();
    listed
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_is_what_the_page_lists() {
    let folder = tempfile::tempdir().unwrap();
    let storage = folder.path().join("queue").display().to_string();
    let text = |telemetry: &str, storage_options: &str| {
        format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:0\"}}}}}}}}\n\
             exporters: {{debug: {{sending_queue: {{enabled: true, storage: file_storage}}}}}}\n\
             extensions: {{file_storage: {{directory: \"{storage}\"{storage_options}}}}}\n\
             service:\n  telemetry: {{{telemetry}}}\n  extensions: [file_storage]\n  \
             pipelines: {{metrics: {{receivers: [otlp], exporters: [debug]}}}}\n"
        )
    };
    let first = "logs: {encoding: console}, metrics: {level: none}";
    let file = File::new(&text(first, ""));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("it runs", || program.stderr().contains("everything has started")).await;
    let push = "processors: [{batch: {exporter: {otlp: {protocol: grpc, endpoint: \"http://127.0.0.1:9\"}}}}]";
    let changes = [
        ("service.telemetry.logs.encoding", "logs: {encoding: json}, metrics: {level: none}".to_owned(), ""),
        ("service.telemetry.metrics", "logs: {encoding: console}, metrics: {level: basic}".to_owned(), ""),
        ("service.telemetry.resource", format!("{first}, resource: {{a: b}}"), ""),
        ("service.telemetry.traces", format!("{first}, traces: {{{push}}}"), ""),
        ("options of an extension", first.to_owned(), ", max_size_mib: 100"),
    ];
    let mut names = Vec::new();
    for (nth, (name, telemetry, storage_options)) in changes.iter().enumerate() {
        fs::write(file.path(), text(telemetry, storage_options)).unwrap();
        program.signal("HUP").await;
        wait_until("the reload", || reloads(&program) == nth + 1).await;
        let said = if storage_options.is_empty() { name } else { "extension `file_storage`" };
        let line = program
            .stderr()
            .lines()
            .find(|line| line.contains("takes effect when minicol is started again") && line.contains(said))
            .map(str::to_owned);
        assert!(line.is_some(), "{name}: {}", program.stderr());
        names.extend(storage_options.is_empty().then(|| (*name).to_owned()));
    }
    names.sort();
    assert_eq!(needs_a_restart(), names);
    fs::write(file.path(), text(first, "").replace("storage: file_storage", "storage: file_storage, sizer: bytes"))
        .unwrap();
    // Each time: what runs still differs from the file.
    for nth in 1..=2 {
        program.signal("HUP").await;
        wait_until("the reload", || reloads(&program) == changes.len() + nth).await;
        let said = "exporter `debug`: `sizer` or `batch` of a queue in a storage has changed";
        assert_eq!(program.stderr().matches(said).count(), nth);
    }
    assert_eq!(program.stop().await.code, 0);
}
