//! Promise: whatever a target does, the poller tells it as it was, goes on with the others, finds it again, and loses nothing of what it was told.

use std::time::Duration;

use minicol_extension_simulator::{FaultKind, Faults, Simulator, SimulatorConfig, ToolFault, Window};
use minicol_plugin::{config::GoDuration, net::NetworkFaults};
use minicol_tests::{
    FaultyProxy, OtlpSink, Program, Value, books_at_rest, breaches, free_port, repeated, simulator, unbalanced_totals,
    wait_until,
};

use crate::common::{File, account, status};

/// Pollers of `targets` (names and URLs), every second, in front of a backend.
struct Poller {
    program: Program,
    health: String,
    sink: OtlpSink,
    _file: File,
}

impl Poller {
    async fn start(targets: &[(&str, String)]) -> Self {
        let (sink, health) = (OtlpSink::start().await, format!("127.0.0.1:{}", free_port()));
        let receiver = |(name, url): &(&str, String)| {
            format!(
                "  session_buddy/{name}: {{endpoint: \"{url}\", interval_seconds: 1, timeout_seconds: 0.8, max_retries: 0, circuit_breaker_threshold: 100, \
                 metrics_to_collect: [activity_summary, workflow_metrics, session_analytics, performance_metrics], \
                 resource_attributes: {{target: {name}}}}}"
            )
        };
        let receivers: Vec<_> = targets.iter().map(receiver).collect();
        let ids: Vec<_> = targets.iter().map(|(name, _)| format!("session_buddy/{name}")).collect();
        let file = File::new(&format!(
            "receivers:
{}
processors: {{mapping: {{presets: [session_buddy]}}}}
exporters: {{otlp: {{endpoint: \"http://{}\"}}}}
extensions: {{health_check: {{endpoint: \"{health}\"}}}}
service:
  telemetry: {{logs: {{encoding: json}}, metrics: {{level: none}}}}
  extensions: [health_check]
  pipelines: {{metrics: {{receivers: [{}], processors: [mapping], exporters: [otlp]}}}}
",
            receivers.join("\n"),
            sink.grpc,
            ids.join(", ")
        ));
        let program = Program::start(&["run", "--config", file.path()], &[]);
        wait_until("it runs", || program.stderr().contains("everything has started")).await;
        Self { program, health, sink, _file: file }
    }

    /// The values of one metric of one target, oldest first.
    fn of(&self, target: &str, metric: &str) -> Vec<Value> {
        let points = self.sink.points_of(metric).into_iter();
        points
            .filter(|one| one.resource.get("target").is_some_and(|name| name == target))
            .map(|one| one.value)
            .collect()
    }

    /// Whether the latest that is known of a target is that it is up, and that all of its tools answer.
    fn is_well(&self, target: &str) -> bool {
        let tools = self.of(target, "session_buddy.tool.up");
        let up = self.of(target, "session_buddy.up").last() == Some(&Value::Int(1));
        up && tools.len() >= 4 && tools[tools.len() - 4..].iter().all(|value| *value == Value::Int(1))
    }

    /// The books balance, at rest and in the last lines of the log, and the points keep to the data model.
    async fn end(self) {
        let books = books_at_rest(&self.health, Duration::from_secs(60)).await;
        assert_eq!(account(&books, "otlp").lost(), 0, "{books:?}");
        let output = self.program.stop().await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(unbalanced_totals(&output.stderr), Vec::<String>::new());
        let points = self.sink.points();
        assert_eq!((breaches(&points), repeated(&points)), (Vec::new(), 0));
    }
}

async fn target(faults: Faults) -> Simulator {
    simulator(free_port(), SimulatorConfig { speed: 0.0, faults, ..SimulatorConfig::default() }).await
}

/// Every call of every tool fails so.
fn all(kind: FaultKind) -> Faults {
    let fault = ToolFault { kind, delay: GoDuration::from_secs(3), ..ToolFault::default() };
    Faults { tools: [("*".to_owned(), fault)].into(), ..Faults::default() }
}

#[tokio::test]
async fn each_way_to_fail_is_told_leaves_the_others_alone_and_ends_when_it_ends() {
    let kinds = [
        FaultKind::IsError,
        FaultKind::SuccessFalse,
        FaultKind::JsonRpcError,
        FaultKind::Garbage,
        FaultKind::Cut,
        FaultKind::Hang,
        FaultKind::Unavailable,
        FaultKind::Slow,
    ];
    let mut simulators = vec![target(Faults::default()).await];
    for kind in kinds {
        simulators.push(target(all(kind)).await);
    }
    let names: Vec<&str> = ["well"].into_iter().chain(kinds.map(FaultKind::name)).collect();
    let targets: Vec<_> = names.iter().copied().zip(simulators.iter().map(Simulator::url)).collect();
    let poller = Poller::start(&targets).await;
    let failing = |name: &str| poller.of(name, "session_buddy.tool.up").len() >= 8;
    wait_until("two cycles of each", || names.iter().all(|name| failing(name))).await;
    assert!(poller.is_well("well"), "{:?}", poller.of("well", "session_buddy.tool.up"));
    for name in &names[1..] {
        let tools = poller.of(name, "session_buddy.tool.up");
        assert!(tools.iter().all(|value| *value == Value::Int(0)), "{name}: {tools:?}");
        assert_eq!(poller.of(name, "session_buddy.sessions.total"), Vec::<Value>::new(), "{name}: nothing is invented");
        let (status, message) = status(&poller.health, &format!("session_buddy/{name}")).await;
        assert_eq!(status, "RecoverableError", "{name}: {message}");
        assert!(message.contains("get_activity_summary") || message.contains("tools"), "{name}: {message}");
    }
    for one in &simulators {
        one.set_faults(Faults::default());
    }
    wait_until("all to be well", || names.iter().all(|name| poller.is_well(name))).await;
    for name in &names {
        assert_eq!(status(&poller.health, &format!("session_buddy/{name}")).await.0, "OK", "{name}");
    }
    poller.end().await;
}

#[tokio::test]
async fn sessions_that_are_lost_freezes_and_restarts_leave_no_false_count() {
    let every = |seconds| GoDuration::from_secs(seconds);
    let window = Window { every: every(5), lasting: every(2) };
    let forgetful = target(Faults { lose_sessions_every: every(2), ..Faults::default() }).await;
    let freezing = target(Faults { freeze: window, ..Faults::default() }).await;
    let restarting = target(Faults { restart: window, ..Faults::default() }).await;
    let simulators = [("forgetful", forgetful), ("freezing", freezing), ("restarting", restarting)];
    let targets: Vec<_> = simulators.iter().map(|(name, one)| (*name, one.url())).collect();
    let poller = Poller::start(&targets).await;
    // Long enough for each to fail and to come back twice.
    wait_until("twelve cycles", || simulators.iter().all(|(name, _)| poller.of(name, "session_buddy.up").len() >= 12))
        .await;
    let ups = |name: &str| poller.of(name, "session_buddy.up");
    assert!(ups("forgetful").iter().all(|up| *up == Value::Int(1)), "a lost session is made anew in the same cycle");
    assert!(simulators[0].1.initialized() >= 2, "there was a session to lose, and it was lost");
    assert!(ups("freezing").contains(&Value::Int(0)) && ups("restarting").contains(&Value::Int(0)));
    for (_, one) in &simulators {
        one.set_faults(Faults::default());
    }
    wait_until("all to be well", || simulators.iter().all(|(name, _)| poller.is_well(name))).await;
    poller.end().await;
}

#[tokio::test]
async fn connections_that_are_reset_or_fall_silent_in_mid_reply_are_told_and_made_anew() {
    let (reset, silent) = (target(Faults::default()).await, target(Faults::default()).await);
    let proxies = [FaultyProxy::start(reset.address(), 1).await, FaultyProxy::start(silent.address(), 2).await];
    let bad = NetworkFaults { within: 3_000, piece: 200, ..NetworkFaults::default() };
    proxies[0].set(NetworkFaults { reset: 1.0, ..bad.clone() });
    proxies[1].set(NetworkFaults { frozen: 1.0, ..bad });
    let url = |nth: usize| format!("http://{}/mcp", proxies[nth].address);
    let poller = Poller::start(&[("reset", url(0)), ("silent", url(1))]).await;
    wait_until("five breaks each", || proxies.iter().all(|proxy| proxy.struck() >= 5)).await;
    for proxy in &proxies {
        proxy.set(NetworkFaults::default());
    }
    wait_until("both to be well", || ["reset", "silent"].iter().all(|name| poller.is_well(name))).await;
    poller.end().await;
}

#[tokio::test]
async fn a_target_whose_name_does_not_resolve_is_down_and_the_others_are_not() {
    let well = target(Faults::default()).await;
    let nowhere = "http://no-such-host.invalid:8678/mcp".to_owned();
    let poller = Poller::start(&[("nowhere", nowhere), ("well", well.url())]).await;
    wait_until("two cycles of each", || {
        poller.of("nowhere", "session_buddy.up").len() >= 2 && poller.of("well", "session_buddy.up").len() >= 2
    })
    .await;
    assert!(poller.of("nowhere", "session_buddy.up").iter().all(|up| *up == Value::Int(0)));
    assert!(poller.is_well("well"));
    let (status, message) = status(&poller.health, "session_buddy/nowhere").await;
    assert!(status == "RecoverableError" && message.contains("no-such-host.invalid"), "{status}: {message}");
    poller.end().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_that_is_frozen_is_down_until_it_thaws() {
    let port = free_port().to_string();
    let server = Program::start(&["simulate", "--port", &port], &[]);
    wait_until("it serves", || server.stdout().contains("serves")).await;
    let poller = Poller::start(&[("frozen", format!("http://127.0.0.1:{port}/mcp"))]).await;
    wait_until("it to be well", || poller.is_well("frozen")).await;
    server.signal("STOP").await;
    let last = |metric: &str| poller.of("frozen", metric).last().cloned();
    wait_until("it to be down", || last("session_buddy.up") == Some(Value::Int(0))).await;
    wait_until("its series to end", || last("session_buddy.sessions.total") == Some(Value::NoRecordedValue)).await;
    let (said, message) = status(&poller.health, "session_buddy/frozen").await;
    assert!(said == "RecoverableError", "{said}: {message}");
    server.signal("CONT").await;
    wait_until("it to be well again", || poller.is_well("frozen")).await;
    wait_until("its totals", || matches!(last("session_buddy.sessions.total"), Some(Value::Int(_)))).await;
    poller.end().await;
    drop(server);
}
