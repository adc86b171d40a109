//! What stands around the program, and what goes wrong with it.

use std::{fmt::Write, time::Duration};

use minicol_extension_simulator::{FaultKind, Faults, Simulator, SimulatorConfig, ToolFault, Window};
use minicol_plugin::{
    config::GoDuration,
    net::{NetworkFaults, SystemNetwork},
};
use minicol_tests::{Chance, FaultyBackend, FaultyProxy, breaches, free_port, simulator};
use tokio::time::sleep;

use crate::minicol::{Books, Minicol};

pub(crate) struct World {
    chance: Chance,
    targets: Vec<Target>,
    backends: Vec<Backend>,
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
        Self { chance: Chance::of(seed, "soak", 0), targets, backends }
    }

    /// The pipeline file, its service section last and open.
    pub(crate) fn configuration(&self) -> String {
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
                 retry_on_failure: {{initial_interval: 100ms, max_interval: 2s, max_elapsed_time: 20s}}, sending_queue: {{queue_size: 50}}}}",
                one.exporter, one.proxy.address
            );
        }
        format!(
            "receivers:\n{receivers}processors: {{mapping: {{presets: [session_buddy]}}}}\nexporters:\n{exporters}service:\n  pipelines:\n    \
             metrics: {{receivers: [{}], processors: [mapping], exporters: [otlp, otlphttp]}}\n",
            ids.join(", ")
        )
    }

    /// Something else goes wrong, or no more; what.
    pub(crate) async fn turn(&mut self, minicol: &Minicol) -> String {
        self.backends.iter_mut().for_each(Backend::count);
        let chance = Chance::of(self.chance.next(), "turn", 0);
        if chance.share(0.03) {
            minicol.freeze().await;
            sleep(chance.millis(100, 3_000)).await;
            minicol.thaw().await;
            return "minicol was frozen".to_owned();
        }
        if chance.share(0.5) {
            let nth = chance.below(self.targets.len());
            return format!("target {nth} {}", self.targets[nth].turn(nth as u64, &chance).await);
        }
        let nth = chance.below(self.backends.len());
        let what = self.backends[nth].turn(&chance).await;
        format!("backend {} {what}", self.backends[nth].exporter)
    }

    /// Nothing goes wrong from now on, and nobody is polled.
    pub(crate) async fn calm(&mut self) {
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
