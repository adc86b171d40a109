//! Promise: what the target says arrives at the backend with exact values, whatever breaks on either side and comes back.

use std::{collections::BTreeMap, time::Duration};

use minicol_extension_simulator::{Faults, Model, SimulatorConfig};
use minicol_plugin::config::GoDuration;
use minicol_tests::{OtlpSink, Point, Program, Value, breaches, free_port, repeated, simulator, wait_until};

use crate::common::{File, pipeline};

fn still() -> SimulatorConfig {
    SimulatorConfig { seed: 42, speed: 0.0, ..SimulatorConfig::default() }
}

/// What the simulator answers that does not move, by metric.
fn expected() -> BTreeMap<&'static str, Value> {
    let mut model = Model::new(42);
    model.advance(4.0 * 3600.0);
    let (activity, workflows) = (model.activity_summary(), model.workflow_metrics());
    let (sessions, performance) = (model.session_analytics(), model.performance_metrics());
    let int = |value: &serde_json::Value| Value::Int(value.as_i64().unwrap());
    let double = |value: &serde_json::Value| Value::Double(value.as_f64().unwrap());
    BTreeMap::from([
        ("session_buddy.sessions.active", int(&activity["active_sessions"])),
        ("session_buddy.sessions.total", int(&activity["total_sessions"])),
        ("session_buddy.workflows.completed", int(&workflows["workflows_completed"])),
        ("session_buddy.workflows.failed", int(&workflows["workflows_failed"])),
        ("session_buddy.checkpoints.total", int(&sessions["total_checkpoints"])),
        ("session_buddy.performance.cpu_usage", double(&performance["cpu_usage"])),
        ("session_buddy.performance.memory_usage", double(&performance["memory_usage"])),
        ("session_buddy.performance.response_time", double(&performance["response_time"])),
        ("session_buddy.up", Value::Int(1)),
    ])
}

/// Unit and kind of each of the contract's metrics.
const CONTRACT: [(&str, &str, &str); 11] = [
    ("session_buddy.sessions.active", "gauge", "{session}"),
    ("session_buddy.sessions.total", "counter", "{session}"),
    ("session_buddy.workflows.completed", "counter", "{workflow}"),
    ("session_buddy.workflows.failed", "counter", "{workflow}"),
    ("session_buddy.workflow.duration", "histogram", "s"),
    ("session_buddy.checkpoints.total", "counter", "{checkpoint}"),
    ("session_buddy.checkpoint.size", "histogram", "By"),
    ("session_buddy.session.duration", "histogram", "s"),
    ("session_buddy.performance.cpu_usage", "gauge", "%"),
    ("session_buddy.performance.memory_usage", "gauge", "MBy"),
    ("session_buddy.performance.response_time", "gauge", "ms"),
];

async fn arrives_exactly(sink: &OtlpSink, exporter: &str) {
    let simulator = simulator(free_port(), still()).await;
    let file = File::new(&pipeline(&simulator.url(), exporter));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("three cycles", || sink.points_of("session_buddy.up").len() >= 3).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    for (name, value) in expected() {
        let points = sink.points_of(name);
        assert!(points.iter().all(|point| point.value == value), "{name} is {value:?}, but {points:?} arrived");
    }
    for (name, kind, unit) in CONTRACT {
        let points = sink.points_of(name);
        assert!(points.len() >= 3, "{name}: every live series has a point per cycle, but {points:?} arrived");
        assert!(points.iter().all(|point| point.kind == kind && point.unit == unit), "{name}: {:?}", points[0]);
        if kind != "gauge" {
            assert!(points.iter().all(|point| point.start == points[0].start), "{name}: one life has one start");
        }
    }
    // An average that does not change is observed once, however often it is told.
    for name in ["session_buddy.workflow.duration", "session_buddy.checkpoint.size", "session_buddy.session.duration"] {
        let counts = sink.points_of(name).iter().all(|point| matches!(point.value, Value::Histogram(1, Some(_), _)));
        assert!(counts, "{name}: {:?}", sink.points_of(name));
    }
    check_model(&sink.points());
}

/// What holds for every point of a cumulative stream, whatever happened.
fn check_model(points: &[Point]) {
    assert_eq!(breaches(points), Vec::<String>::new());
    assert_eq!(repeated(points), 0);
}

#[tokio::test]
async fn exact_values_arrive_over_grpc() {
    let sink = OtlpSink::start().await;
    arrives_exactly(&sink, &format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc)).await;
}

#[tokio::test]
async fn exact_values_arrive_over_http() {
    let sink = OtlpSink::start().await;
    arrives_exactly(&sink, &format!("otlphttp: {{endpoint: \"http://{}\"}}", sink.http)).await;
}

#[tokio::test]
async fn a_server_that_is_killed_in_mid_cycle_and_comes_back_is_told_as_it_was() {
    let sink = OtlpSink::start().await;
    let port = free_port();
    // Slow enough that the kill hits calls in flight.
    let faults = Faults { latency: GoDuration::from_millis(400), ..Faults::default() };
    let slow = SimulatorConfig { faults, ..still() };
    let first = simulator(port, slow.clone()).await;
    let file = File::new(&pipeline(&first.url(), &format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc)));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    let ups = || sink.points_of("session_buddy.up").into_iter().map(|point| point.value).collect::<Vec<_>>();
    wait_until("two cycles", || ups().len() >= 2).await;
    // Cycles begin each second and take 0.4 s: now one is in flight, whenever this is.
    let asked = first.calls().values().sum::<u64>();
    wait_until("a cycle in flight", || first.calls().values().sum::<u64>() > asked).await;
    drop(first);
    wait_until("the target to be down", || ups().last() == Some(&Value::Int(0))).await;
    let total = |sink: &OtlpSink| sink.points_of("session_buddy.sessions.total");
    wait_until("its series to end", || total(&sink).last().is_some_and(|point| point.value == Value::NoRecordedValue))
        .await;
    let second = simulator(port, slow).await;
    second.restart();
    wait_until("the target to be up", || ups().last() == Some(&Value::Int(1))).await;
    wait_until("its totals", || matches!(total(&sink).last().map(|p| p.value.clone()), Some(Value::Int(_)))).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "a target that was down is no failure of the program: {}", output.stderr);
    check_model(&sink.points());
    let (first, last) = (total(&sink)[0].clone(), total(&sink).last().unwrap().clone());
    assert!(last.start > first.start, "the new process's totals have a start of their own: {first:?} {last:?}");
    let told = output.stderr.matches("RecoverableError").count();
    assert!((1..=2).contains(&told), "said once per change, but {told} times:\n{}", output.stderr);
}

#[tokio::test]
async fn a_backend_that_is_killed_and_comes_back_misses_nothing() {
    let sink = OtlpSink::start().await;
    let simulator = simulator(free_port(), SimulatorConfig { seed: 42, ..SimulatorConfig::default() }).await;
    let exporter = format!(
        "otlp: {{endpoint: \"http://{}\", retry_on_failure: {{initial_interval: 100ms, max_interval: 200ms}}, sending_queue: {{num_consumers: 1}}}}",
        sink.grpc
    );
    let file = File::new(&pipeline(&simulator.url(), &exporter));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    let arrived = |sink: &OtlpSink| sink.points_of("session_buddy.up").len();
    wait_until("two cycles", || arrived(&sink) >= 2).await;
    let kept = sink.kill();
    let before = simulator.calls()["get_activity_summary"];
    wait_until("three cycles without a backend", || simulator.calls()["get_activity_summary"] >= before + 3).await;
    let sink = OtlpSink::restarted(kept).await;
    wait_until("cycles after the outage", || simulator.calls()["get_activity_summary"] >= before + 5).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let cycles = usize::try_from(simulator.calls()["get_activity_summary"]).unwrap();
    assert!(arrived(&sink) >= cycles, "{cycles} cycles were polled, {} arrived:\n{}", arrived(&sink), output.stderr);
    // A batch whose acknowledgement was lost may come twice; never is one missing.
    let mut stamps: Vec<_> = sink.points_of("session_buddy.sessions.total").iter().map(|point| point.time).collect();
    stamps.sort_unstable();
    stamps.dedup();
    assert_eq!(stamps.len(), cycles, "one point per cycle");
    let gaps: Vec<_> = stamps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let longest = Duration::from_nanos(gaps.into_iter().max().unwrap());
    assert!(longest < Duration::from_millis(1900), "no cycle is missing, but {longest:?} lie between two points");
}

#[tokio::test]
async fn what_cannot_be_delivered_before_the_deadline_is_counted_and_named() {
    let simulator = simulator(free_port(), still()).await;
    let nobody = format!("otlp: {{endpoint: \"http://127.0.0.1:{}\"}}", free_port());
    let file = File::new(&pipeline(&simulator.url(), &nobody));
    let program = Program::start(&["run", "--config", file.path(), "--shutdown-timeout", "2s"], &[]);
    wait_until("two cycles", || simulator.calls().get("get_activity_summary").is_some_and(|calls| *calls >= 2)).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "a backend that was down is no failure of the program: {}", output.stderr);
    let lost: Vec<_> = output.stderr.lines().filter(|line| line.contains("lost_while_stopping=")).collect();
    let number = lost
        .last()
        .and_then(|line| line.split("lost_while_stopping=").nth(1))
        .and_then(|rest| rest.split_whitespace().next());
    let number: u64 = number.expect("the last lines tell the loss").parse().expect("a number");
    assert!(number > 0, "{}", output.stderr);
    assert!(output.stderr.contains("connection refused"), "why is told, too: {}", output.stderr);
}

#[tokio::test]
async fn what_one_exporter_lost_while_another_had_it_stands_in_the_last_lines_by_its_number() {
    let port = free_port();
    let _simulator = simulator(port, still()).await;
    let exporters = "debug: {verbosity: basic}\n  otlp/dead: {endpoint: \"http://127.0.0.1:9\", sending_queue: {enabled: false}, retry_on_failure: {enabled: false}}";
    let text = pipeline(&format!("http://127.0.0.1:{port}/mcp"), exporters)
        .replace("exporters: [debug]", "exporters: [debug, otlp/dead]");
    let file = File::new(&text);
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("a loss", || program.stderr().contains("is dropped, reason")).await;
    let output = program.stop().await;
    let line = output.stderr.lines().find(|line| line.contains("what others took was lost here"));
    let line = line.unwrap_or_else(|| panic!("{}", output.stderr));
    let number = |key: &str| -> u64 {
        let value = line.split(&format!(" {key}=")).nth(1).and_then(|rest| rest.split_whitespace().next());
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{key}: {line}"))
    };
    assert!(line.contains("to=\"otlp/dead\"") || line.contains("to=otlp/dead"), "{line}");
    assert_eq!((number("lost"), number("accepted")), (number("offered"), 0), "{line}");
}
