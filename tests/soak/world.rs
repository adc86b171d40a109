//! What stands around the program, and what goes wrong with it.

use std::{
    fmt::Write,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use futures::future::join3;

use minicol_extension_simulator::{FaultKind, Faults, Simulator, SimulatorConfig, ToolFault, Window};
use minicol_plugin::{
    config::GoDuration,
    net::{NetworkFaults, SystemNetwork},
};
use minicol_tests::{
    Chance, FaultyBackend, FaultyProxy, breaches,
    durability::{Sender, batch},
    free_port, simulator,
};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::minicol::{Books, Minicol};

pub(crate) struct World {
    chance: Chance,
    targets: Vec<Target>,
    backends: Vec<Backend>,
    /// Where the program takes OTLP over HTTP.
    otlp: u16,
    sending: Option<JoinHandle<Sent>>,
    sent: Sent,
}

/// What applications sent, and what of it was taken, in requests.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    all: u64,
    taken: u64,
}

/// A simulated Session-Buddy behind a network that fails.
struct Target {
    port: u16,
    proxy: FaultyProxy,
    running: Option<Simulator>,
}

/// A backend behind a network that fails.
struct Backend {
    exporter: &'static str,
    server: FaultyBackend,
    proxy: FaultyProxy,
    dead: bool,
    /// Points that it holds, or held and had counted.
    stored: u64,
    wrong: Vec<String>,
}

const TARGETS: usize = 4;
/// Applications send nothing more.
static QUIET: AtomicBool = AtomicBool::new(false);

impl World {
    pub(crate) async fn start(seed: u64) -> Self {
        let mut targets = Vec::new();
        for nth in 0..TARGETS as u64 {
            let port = free_port();
            let running = Some(simulator(port, config(nth)).await);
            let proxy = FaultyProxy::start(&format!("127.0.0.1:{port}"), seed ^ nth).await;
            targets.push(Target { port, proxy, running });
        }
        let mut backends = Vec::new();
        for exporter in ["otlp", "otlphttp"] {
            let address = format!("127.0.0.1:{}", free_port());
            let server = FaultyBackend::start(&SystemNetwork, &address, seed, 0.0).await;
            let proxy = FaultyProxy::start(&address, seed).await;
            backends.push(Backend { exporter, server, proxy, dead: false, stored: 0, wrong: Vec::new() });
        }
        Self {
            chance: Chance::of(seed, "soak", 0),
            targets,
            backends,
            otlp: free_port(),
            sending: None,
            sent: Sent::default(),
        }
    }

    /// The pipeline file, its service section last and open; what is stored is in `folder`.
    pub(crate) fn configuration(&self, folder: &Path) -> String {
        let (mut receivers, mut exporters, mut ids) = (String::new(), String::new(), Vec::new());
        for (nth, target) in self.targets.iter().enumerate() {
            let _ = writeln!(
                receivers,
                "  session_buddy/{nth}: {{endpoint: \"http://{}/mcp\", interval_seconds: 1, timeout_seconds: 0.7, max_retries: 1, \
                 retry_delay_seconds: 0.1, discovery_interval_seconds: 5, \
                 metrics_to_collect: [activity_summary, workflow_metrics, session_analytics, performance_metrics]}}",
                target.proxy.address
            );
            ids.push(format!("session_buddy/{nth}"));
        }
        for one in &self.backends {
            let _ = writeln!(
                exporters,
                "  {}: {{endpoint: \"http://{}\", timeout: 1s, \
                 retry_on_failure: {{initial_interval: 100ms, max_interval: 2s, max_elapsed_time: 20s}}, sending_queue: {{queue_size: 50{}}}}}",
                one.exporter,
                one.proxy.address,
                if one.exporter == "otlp" { ", storage: file_storage" } else { "" }
            );
        }
        format!(
            "receivers:
{receivers}  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{}\"}}}}}}
processors: {{mapping: {{presets: [session_buddy]}}, memory_limiter: {{limit_mib: 512}}}}
exporters:
{exporters}  debug: {{verbosity: basic}}
extensions: {{file_storage: {{directory: \"{}\", max_size_mib: 256}}}}
service:
  extensions: [file_storage]
  pipelines:
    metrics: {{receivers: [{}], processors: [memory_limiter, mapping], exporters: [otlp, otlphttp]}}
    metrics/otlp: {{receivers: [otlp], processors: [memory_limiter], exporters: [otlp, otlphttp]}}
    logs: {{receivers: [otlp], processors: [memory_limiter], exporters: [debug]}}
    traces: {{receivers: [otlp], processors: [memory_limiter], exporters: [debug]}}
",
            self.otlp,
            folder.join("stored").display(),
            ids.join(", ")
        )
    }

    /// From now on applications send metrics, logs and traces, whatever becomes of the program.
    pub(crate) fn send(&mut self) {
        let sender = Sender::new(self.otlp);
        self.sending = Some(tokio::spawn(async move {
            let (mut sent, mut ticks) = (Sent::default(), interval(Duration::from_millis(100)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if QUIET.load(Relaxed) {
                    return sent;
                }
                let number = sent.all / 3;
                let name = json!(format!("request {number}"));
                let logs =
                    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": name}}]}]}]});
                let (trace, span) = (format!("{:032x}", number + 1), format!("{:016x}", number + 1));
                let span = json!({"traceId": trace, "spanId": span, "name": name});
                let traces = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
                // Whatever is being done to the program, nobody waits for ever.
                let all = timeout(
                    Duration::from_secs(5),
                    join3(
                        sender.send(batch(number, 1)),
                        sender.send_json("logs", &logs),
                        sender.send_json("traces", &traces),
                    ),
                );
                sent.all += 3;
                let taken = all.await.map_or([false; 3], Into::into);
                sent.taken += taken.into_iter().filter(|taken| *taken).count() as u64;
            }
        }));
    }

    /// Something else goes wrong, or no more; what.
    pub(crate) async fn turn(&mut self, minicol: &mut Minicol) -> anyhow::Result<String> {
        self.backends.iter_mut().for_each(Backend::count);
        let chance = Chance::of(self.chance.next(), "turn", 0);
        if chance.share(0.1) && minicol.may_be_killed() {
            minicol.kill_and_start_again().await?;
            return Ok("minicol was killed (SIGKILL) and started again".to_owned());
        }
        if chance.share(0.03) {
            minicol.freeze().await;
            sleep(chance.millis(100, 3_000)).await;
            minicol.thaw().await;
            return Ok("minicol was frozen".to_owned());
        }
        if chance.share(0.5) {
            let nth = chance.below(self.targets.len());
            return Ok(format!("target {nth} {}", self.targets[nth].turn(nth as u64, &chance).await));
        }
        let nth = chance.below(self.backends.len());
        let what = self.backends[nth].turn(&chance).await;
        Ok(format!("backend {} {what}", self.backends[nth].exporter))
    }

    /// Nothing goes wrong from now on, nobody is polled, and nothing is sent.
    pub(crate) async fn calm(&mut self) {
        QUIET.store(true, Relaxed);
        if let Some(sending) = self.sending.take() {
            self.sent = sending.await.expect("the sender ends");
        }
        for target in &mut self.targets {
            target.running = None;
            target.proxy.set(NetworkFaults::default());
        }
        for one in &mut self.backends {
            one.server.trouble(0.0);
            one.proxy.set(NetworkFaults::default());
            if std::mem::take(&mut one.dead) {
                one.server.start_again(&SystemNetwork).await;
            }
        }
    }

    /// What does not agree with the books at the end.
    pub(crate) fn wrong(&mut self, books: &Books) -> Vec<String> {
        let mut wrong = Vec::new();
        let Sent { all, taken } = self.sent;
        println!("applications: {all} requests of metrics, logs and traces, {taken} taken");
        if taken < all / 2 {
            wrong.push(format!("of {all} requests only {taken} were taken"));
        }
        for one in &mut self.backends {
            one.count();
            let (sent, stored) = (books.0[one.exporter].sent, one.stored);
            println!("{}: {sent} sent, {stored} stored, {} connections suffered", one.exporter, one.proxy.struck());
            if stored < sent {
                wrong.push(format!("{}: {sent} were sent, but {stored} are stored", one.exporter));
            }
            wrong.append(&mut one.wrong);
        }
        wrong
    }
}

fn config(nth: u64) -> SimulatorConfig {
    SimulatorConfig { seed: nth, ..SimulatorConfig::default() }
}

impl Target {
    async fn turn(&mut self, nth: u64, chance: &Chance) -> &'static str {
        let Some(running) = self.running.take() else {
            self.running = Some(simulator(self.port, config(nth)).await);
            return "is there again";
        };
        match chance.below(6) {
            0 => return "was killed",
            1 => running.restart(),
            2 => {
                self.proxy.set(faults(chance));
                self.running = Some(running);
                return "is reached badly";
            }
            3 => {
                let kinds = [
                    FaultKind::IsError,
                    FaultKind::JsonRpcError,
                    FaultKind::Garbage,
                    FaultKind::Cut,
                    FaultKind::Hang,
                    FaultKind::Unavailable,
                ];
                let fault = ToolFault { kind: chance.pick(&kinds), rate: 0.4, ..ToolFault::default() };
                running.set_faults(Faults { tools: [("*".to_owned(), fault)].into(), ..Faults::default() });
            }
            4 => {
                let freeze = Window { every: GoDuration::from_secs(8), lasting: GoDuration::from_secs(3) };
                let lose_sessions_every = GoDuration::from_secs(5);
                running.set_faults(Faults { freeze, lose_sessions_every, ..Faults::default() });
            }
            _ => {
                self.proxy.set(NetworkFaults::default());
                running.set_faults(Faults::default());
                self.running = Some(running);
                return "is well";
            }
        }
        self.running = Some(running);
        "fails otherwise"
    }
}

impl Backend {
    async fn turn(&mut self, chance: &Chance) -> &'static str {
        if self.dead {
            self.server.start_again(&SystemNetwork).await;
            self.dead = false;
            return "is there again";
        }
        match chance.below(6) {
            0 => {
                self.server.kill();
                self.dead = true;
                "was killed"
            }
            1 | 2 => {
                self.server.trouble(chance.pick(&[0.1, 0.3, 0.8]));
                "fails otherwise"
            }
            3 => {
                self.proxy.set(faults(chance));
                "is reached badly"
            }
            _ => {
                self.server.trouble(0.0);
                self.proxy.set(NetworkFaults::default());
                "is well"
            }
        }
    }

    /// Takes what came off the backend, so that only the program's memory grows, if any does.
    fn count(&mut self) {
        let points: Vec<_> = self.server.take().into_iter().flat_map(|one| one.points).collect();
        self.stored += points.len() as u64;
        self.wrong.extend(breaches(&points));
        self.wrong.truncate(20);
    }
}

fn faults(chance: &Chance) -> NetworkFaults {
    NetworkFaults {
        latency: Duration::from_millis(chance.pick(&[0, 5, 200])),
        piece: chance.pick(&[0, 100]),
        refused: chance.pick(&[0.0, 0.3]),
        reset: chance.pick(&[0.0, 0.3]),
        frozen: chance.pick(&[0.0, 0.3]),
        within: chance.pick(&[300, 20_000]),
        ..NetworkFaults::default()
    }
}
