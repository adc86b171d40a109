//! Promise: the simulator stands in for a Session-Buddy, the contract's or the released one, healthy or failing, in a pipeline or alone.

use std::{net::TcpStream, time::Duration};

use minicol_extension_simulator::{Profile, SimulatorConfig};
use minicol_tests::{OtlpSink, Program, Value, free_port, http_get, simulator, wait_until};

use crate::common::File;

fn polling(endpoint: &str, exporter: &str) -> String {
    format!(
        "receivers:
  session_buddy: {{endpoint: \"{endpoint}\", interval_seconds: 1}}
processors:
  mapping: {{presets: [session_buddy]}}
exporters:
  {exporter}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics: {{receivers: [session_buddy], processors: [mapping], exporters: [{}]}}
",
        exporter.split(':').next().unwrap()
    )
}

#[tokio::test]
async fn the_released_profile_yields_what_the_release_yields() {
    let config = SimulatorConfig { profile: Profile::Release, ..SimulatorConfig::default() };
    let simulator = simulator(free_port(), config).await;
    let sink = OtlpSink::start().await;
    let file = File::new(&polling(&simulator.url(), &format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc)));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    // A process that lived for less than two seconds is none that a poller can tell from the next.
    wait_until("five cycles", || sink.points_of("process.cpu.time").len() >= 5).await;
    simulator.restart();
    let starts = || {
        let mut starts: Vec<_> = sink.points_of("process.cpu.time").iter().map(|point| point.start).collect();
        starts.dedup();
        starts
    };
    wait_until("the start of the new process", || starts().len() == 2).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("does not offer get_performance_metrics"), "{}", output.stderr);
    // The largest limit that works was found, whatever the open session.
    let durations = sink.points_of("session_buddy.session.duration");
    let counted: u64 = durations.iter().filter(|point| point.time == durations[0].time).map(count).sum();
    assert_eq!(counted, 24, "{durations:?}");
    assert!(sink.points_of("session_buddy.sessions.recorded").iter().all(|point| point.value == Value::Int(25)));
    assert!(sink.points_of("session_buddy.sessions.total").is_empty(), "nothing is invented");
    let cpu = sink.points_of("process.cpu.time");
    let started = sink.points_of("session_buddy.sessions.started");
    assert_eq!(cpu[0].start, started[0].start, "one process, one start");
    assert!(cpu.windows(2).all(|pair| pair[0].start <= pair[1].start));
}

fn count(point: &minicol_tests::Point) -> u64 {
    match point.value {
        Value::Histogram(count, ..) => count,
        _ => 0,
    }
}

#[tokio::test]
async fn alone_it_serves_until_a_signal_and_fails_as_it_is_told() {
    let port = free_port().to_string();
    let plan = "yaml:{tools: {get_liveness: {kind: json_rpc_error}}}";
    let arguments = ["simulate", "--profile", "release", "--port", &port, "--faults", plan, "--seed", "3"];
    let program = Program::start(&arguments, &[]);
    let url = format!("http://127.0.0.1:{port}/mcp");
    wait_until("it serves", || program.stdout().contains(&url)).await;
    assert_eq!(http_get(&format!("127.0.0.1:{port}"), "/healthz").await, Some((200, "{\"status\":\"ok\"}".to_owned())));
    let file = File::new(&polling(&url, "debug:"));
    let polled = Program::run(&["poll", "--config", file.path()], &[]).await;
    assert_eq!(polled.code, 0, "{}", polled.stderr);
    let line = |tool: &str| {
        polled.stdout.lines().find(|line| line.trim_start().starts_with(tool)).unwrap_or_default().to_owned()
    };
    assert!(
        line("get_liveness").contains("failed") && line("get_liveness").contains("told to fail"),
        "{}",
        polled.stdout
    );
    assert!(line("get_performance_metrics").contains("not offered"), "{}", polled.stdout);
    assert!(line("get_session_analytics").contains("answered"), "{}", polled.stdout);
    let output = program.stop().await;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_is_wrong_with_a_plan_is_told_where_it_stands() {
    let plan = "yaml:{tools: {get_livenes: {kind: hang}}, freeze: {every: 1s, for: 2s}}";
    let output = Program::run(&["simulate", "--port", "0", "--faults", plan], &[]).await;
    assert_eq!(output.code, 1, "{}", output.stdout);
    assert!(output.stderr.contains("no tool `get_livenes` in this profile"), "{}", output.stderr);
    assert!(
        output.stderr.contains("<yaml:>:1:") && output.stderr.contains("shorter than `every`"),
        "{}",
        output.stderr
    );
    let output = Program::run(&["simulate", "--faults", "yaml:{restart_every: 1h}"], &[]).await;
    assert!(output.code == 1 && output.stderr.contains("restart_every"), "{}", output.stderr);
    let output = Program::run(&["simulate", "--speed", "-1"], &[]).await;
    assert_ne!(output.code, 0);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Program::run(&["simulate", "--port", &port], &[]).await;
    assert!(
        output.code == 1 && output.stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{}",
        output.stderr
    );
}

#[tokio::test]
async fn in_chaos_breakers_open_probe_and_close() {
    let port = free_port();
    let simulator = format!("extensions.session_buddy_simulator.endpoint=127.0.0.1:{port}");
    let receiver = format!("receivers.session_buddy.endpoint=http://127.0.0.1:{port}/mcp");
    let page = free_port();
    let reader = format!(
        "service.telemetry.metrics={{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {page}}}}}}}}}]}}"
    );
    let sets = [simulator.as_str(), &receiver, &reader, "extensions.status_page.endpoint=127.0.0.1:0"];
    let mut arguments = vec!["run", "--config", "pipelines/chaos.yaml"];
    arguments.extend(sets.into_iter().flat_map(|set| ["--set", set]));
    let program = Program::start(&arguments, &[]);
    let said = |what: &str| program.stderr().contains(what);
    wait_until("a breaker to open", || said("breaker_opened")).await;
    let state = async || -> Option<String> {
        let (_, text) = http_get(&format!("127.0.0.1:{page}"), "/metrics").await?;
        let of = |line: &&str| line.contains("circuit_breaker_state{") && line.contains("get_workflow_metrics");
        text.lines().find(of).and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_owned())
    };
    assert_eq!(state().await.as_deref(), Some("1"), "the page shows it");
    wait_until("a probe that fails", || said("breaker_probed")).await;
    wait_until("it to close", || said("breaker_closed")).await;
    let mut closed = None;
    for _ in 0..100 {
        closed = state().await;
        if closed.as_deref() == Some("0") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(closed.as_deref(), Some("0"));
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("get_workflow_metrics fails for"), "the simulator says what it does");
}
