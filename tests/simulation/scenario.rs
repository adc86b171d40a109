//! What a seed stands for: who is there, how minicol is configured, and what goes wrong when.

use std::{fmt::Write, time::Duration};

use minicol_plugin::net::{NetworkFaults, Outage, OutageKind};

use minicol_tests::Chance;

use crate::{intake::INTAKE, sabotage::Sabotage};

/// Everything of one simulation, drawn from its seed.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// Nothing goes wrong: then nothing may be lost or come twice.
    pub(crate) calm: bool,
    pub(crate) interval: Duration,
    pub(crate) targets: Vec<TargetPlan>,
    pub(crate) exporters: Vec<ExporterPlan>,
    /// What is polled goes through a second pipeline of the same program, by OTLP, before it reaches the backend.
    pub(crate) relay: bool,
    /// Other programs send logs and traces, which a queue on disk takes.
    pub(crate) intake: Option<IntakePlan>,
    /// A bug that is planted, to see that it is found.
    pub(crate) planted: Option<Sabotage>,
    /// Lives of minicol, one after the other.
    pub(crate) runs: Vec<Run>,
    /// When the wall clock is set, and by how many seconds.
    pub(crate) steps: Vec<(Duration, f64)>,
}

#[derive(Debug)]
pub(crate) struct TargetPlan {
    pub(crate) address: String,
    pub(crate) kind: TargetKind,
    /// The share of requests that go wrong.
    pub(crate) trouble: f64,
    pub(crate) network: NetworkFaults,
    /// When it is killed, and when it is there again.
    pub(crate) deaths: Vec<(Duration, Duration)>,
}

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetKind {
    /// The scripted one, which remembers every value that it ever told.
    Scripted,
    /// The extension's: a real MCP server over a model that can be reckoned again.
    Simulator,
}

#[derive(Debug)]
pub(crate) struct ExporterPlan {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) settings: String,
    pub(crate) consumers: u64,
    pub(crate) trouble: f64,
    pub(crate) network: NetworkFaults,
    pub(crate) deaths: Vec<(Duration, Duration)>,
}

/// What is sent by others, where it goes, and what goes wrong there.
#[derive(Debug)]
pub(crate) struct IntakePlan {
    pub(crate) senders: usize,
    pub(crate) exporter: ExporterPlan,
    /// The disk fails and is full now and then.
    pub(crate) bad_disk: bool,
    /// The process takes much memory now and then.
    pub(crate) hungry: bool,
}

/// One life of minicol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// It ends without a shutdown, as by SIGKILL.
    pub(crate) crashes: bool,
    /// Nothing goes wrong any more where logs and traces go: all that was acknowledged arrives.
    pub(crate) mended: bool,
    pub(crate) lasting: Duration,
    pub(crate) shutdown: Duration,
    /// The shutdown is broken off after this, as by a second signal.
    pub(crate) cancelled: Option<Duration>,
}

/// Where the relay's receiver listens.
pub(crate) const RELAY: &str = "relay:4317";

impl Scenario {
    pub(crate) fn of(seed: u64, planted: Option<Sabotage>) -> Self {
        let chance = Chance::of(seed, "scenario", 0);
        let calm = seed.is_multiple_of(16);
        let interval = Duration::from_secs(chance.pick(&[3, 5, 10]));
        let cycles = 2 + chance.below(4);
        let lives = if chance.share(0.25) { 2 } else { 1 };
        let lasting = interval * u32::try_from(cycles).unwrap() / lives;
        let mut runs: Vec<_> = (0..lives).map(|_| Run::of(&chance, calm, lasting)).collect();
        let relay = chance.share(0.2);
        let targets = (0..=chance.below(3)).map(|nth| TargetPlan::of(seed, nth, calm, lasting * lives)).collect();
        let exporters =
            (0..=chance.below(2)).map(|nth| ExporterPlan::of(seed, nth, calm, relay, lasting * lives)).collect();
        // A program that begins anew cannot know that the clock was set back meanwhile.
        let intake = IntakePlan::of(seed, calm, lasting * lives);
        if intake.is_some() && !calm {
            let crashes = Chance::of(seed, "crashes", 0);
            for run in &mut runs {
                run.crashes = crashes.share(0.5);
            }
            let (lasting, shutdown) = (Duration::from_secs(18), Duration::from_secs(60));
            runs.push(Run { lasting, shutdown, cancelled: None, crashes: false, mended: true });
        }
        let steps = if !calm && runs.len() == 1 && chance.share(0.15) {
            vec![(chance.millis(1000, 20_000), chance.between(-4.0, 4.0))]
        } else {
            Vec::new()
        };
        Self { seed, calm, interval, targets, exporters, relay, intake, planted, runs, steps }
    }

    /// The pipeline file.
    pub(crate) fn configuration(&self) -> String {
        let mut receivers = String::new();
        let polling = Chance::of(self.seed, "polling", 0);
        for (nth, target) in self.targets.iter().enumerate() {
            let _ = writeln!(
                receivers,
                "  session_buddy/{nth}: {{endpoint: \"http://{}/mcp\", interval_seconds: {}, timeout_seconds: {}, max_retries: {}, \
                 retry_delay_seconds: {}, circuit_breaker_threshold: {}, \
                 metrics_to_collect: [activity_summary, workflow_metrics, session_analytics, performance_metrics]}}",
                target.address,
                self.interval.as_secs(),
                polling.pick(&[0.5, 2.0, 5.0]),
                polling.below(3),
                polling.pick(&[0.2, 1.0]),
                polling.pick(&[1, 3, 5]),
            );
        }
        let (mut exporters, mut ids) = (String::new(), Vec::new());
        for one in &self.exporters {
            let _ = writeln!(exporters, "  {}: {{endpoint: \"http://{}\", {}}}", one.id, one.address, one.settings);
            ids.push(one.id.as_str());
        }
        let polled: Vec<_> = (0..self.targets.len()).map(|nth| format!("session_buddy/{nth}")).collect();
        let (polled, ids) = (polled.join(", "), ids.join(", "));
        let mut pipelines = String::new();
        let mapping = if self.planted.is_some() { "mapping, bend" } else { "mapping" };
        if self.relay {
            let _ = writeln!(receivers, "  otlp: {{protocols: {{grpc: {{endpoint: \"{RELAY}\"}}}}}}");
            let _ = writeln!(exporters, "  otlp/hop: {{endpoint: \"http://{RELAY}\", {}}}", delivery(&polling).0);
            let _ = writeln!(
                pipelines,
                "    metrics/hop: {{receivers: [{polled}], processors: [{mapping}], exporters: [otlp/hop]}}"
            );
            let _ = writeln!(pipelines, "    metrics: {{receivers: [otlp], exporters: [{ids}]}}");
        } else {
            let _ = writeln!(
                pipelines,
                "    metrics: {{receivers: [{polled}], processors: [{mapping}], exporters: [{ids}]}}"
            );
        }
        let mut extensions = "spy";
        if let Some(intake) = &self.intake {
            extensions = "spy, disk";
            let (host, port) = INTAKE;
            let one = &intake.exporter;
            let _ = writeln!(receivers, "  otlp/intake: {{protocols: {{http: {{endpoint: \"{host}:{port}\"}}}}}}");
            let _ = writeln!(exporters, "  {}: {{endpoint: \"http://{}\", {}}}", one.id, one.address, one.settings);
            for signal in ["logs", "traces"] {
                let _ = writeln!(
                    pipelines,
                    "    {signal}: {{receivers: [otlp/intake], processors: [memory_limiter], exporters: [{}]}}",
                    one.id
                );
            }
        }
        let bend = if self.planted.is_some() { ", bend: " } else { "" };
        format!(
            "receivers:\n{receivers}processors: {{mapping: {{presets: [session_buddy]}}, memory_limiter: {{limit_mib: 1}}{bend}}}\n\
             exporters:\n{exporters}extensions: {{spy: , disk: }}\nservice:\n  telemetry: {{metrics: {{level: none}}}}\n  \
             extensions: [{extensions}]\n  pipelines:\n{pipelines}"
        )
    }
}

impl Run {
    fn of(chance: &Chance, calm: bool, lasting: Duration) -> Self {
        if calm {
            let shutdown = Duration::from_secs(30);
            return Self { lasting, shutdown, cancelled: None, crashes: false, mended: false };
        }
        let shutdown = chance.pick(&[Duration::from_millis(500), Duration::from_secs(4), Duration::from_secs(20)]);
        let cancelled = chance.share(0.15).then(|| shutdown.mul_f64(chance.between(0.0, 0.9)));
        Self { lasting: lasting + chance.millis(0, 2000), shutdown, cancelled, crashes: false, mended: false }
    }
}

impl TargetPlan {
    fn of(seed: u64, nth: usize, calm: bool, lasting: Duration) -> Self {
        let chance = Chance::of(seed, "target", nth as u64);
        Self {
            address: format!("buddy{nth}:8678"),
            kind: if chance.share(0.3) { TargetKind::Simulator } else { TargetKind::Scripted },
            trouble: if calm { 0.0 } else { chance.pick(&[0.0, 0.05, 0.2, 0.5]) },
            network: network(&chance, calm, lasting),
            deaths: deaths(&chance, calm, lasting),
        }
    }
}

impl ExporterPlan {
    fn of(seed: u64, nth: usize, calm: bool, relay: bool, lasting: Duration) -> Self {
        let chance = Chance::of(seed, "exporter", nth as u64);
        let kind = chance.pick(&["otlp", "otlphttp"]);
        let (settings, consumers) = if calm { (String::new(), 10) } else { delivery(&chance) };
        let compression = chance.pick(&["none", "none", "gzip"]);
        let settings = format!("compression: {compression}{}{settings}", if calm { "" } else { ", " });
        // A relay's sender has its own troubles.
        let trouble = if calm { 0.0 } else { chance.pick(&[0.0, 0.1, 0.3, 0.7]) } * if relay { 0.5 } else { 1.0 };
        Self {
            id: format!("{kind}/{nth}"),
            address: format!("backend{nth}:4317"),
            settings,
            consumers,
            trouble,
            network: network(&chance, calm, lasting),
            deaths: deaths(&chance, calm, lasting),
        }
    }
}

impl IntakePlan {
    fn of(seed: u64, calm: bool, lasting: Duration) -> Option<Self> {
        let chance = Chance::of(seed, "intake", 0);
        if !chance.share(0.15) {
            return None;
        }
        let consumers = chance.pick(&[1, 3]);
        let settings = format!(
            "compression: none, timeout: {}, retry_on_failure: {{initial_interval: {}, max_interval: 2s, max_elapsed_time: 0s}}, \
             sending_queue: {{storage: disk, num_consumers: {consumers}, queue_size: {}, block_on_overflow: {}}}",
            chance.pick(&["1s", "5s"]),
            chance.pick(&["100ms", "1s"]),
            if calm { 1_000 } else { chance.pick(&[2, 20, 1_000]) },
            chance.share(0.3),
        );
        let exporter = ExporterPlan {
            id: format!("{}/kept", chance.pick(&["otlp", "otlphttp"])),
            address: "keeper:4317".to_owned(),
            settings,
            consumers,
            trouble: if calm { 0.0 } else { chance.pick(&[0.1, 0.4, 0.8]) },
            network: network(&chance, calm, lasting),
            deaths: deaths(&chance, calm, lasting),
        };
        let senders = 1 + chance.below(3);
        Some(Self { senders, exporter, bad_disk: !calm && chance.share(0.4), hungry: !calm && chance.share(0.5) })
    }
}

/// Queue, retry and timeout of an exporter; how many consumers there are.
fn delivery(chance: &Chance) -> (String, u64) {
    let (consumers, queued) = (chance.pick(&[1, 2, 10]), chance.share(0.85));
    let settings = format!(
        "timeout: {}, retry_on_failure: {{enabled: {}, initial_interval: {}, max_interval: 5s, max_elapsed_time: {}}}, \
         sending_queue: {{enabled: {queued}, num_consumers: {consumers}, queue_size: {}, block_on_overflow: {}}}",
        chance.pick(&["500ms", "2s", "5s"]),
        chance.share(0.9),
        chance.pick(&["100ms", "1s", "5s"]),
        chance.pick(&["5s", "20s", "0s"]),
        chance.pick(&[1, 3, 100]),
        chance.share(0.3),
    );
    (settings, consumers)
}

fn network(chance: &Chance, calm: bool, lasting: Duration) -> NetworkFaults {
    let latency = chance.pick(&[0, 5, 50]);
    let mut faults = NetworkFaults { latency: Duration::from_millis(latency), ..NetworkFaults::default() };
    if calm || chance.share(0.4) {
        return faults;
    }
    faults.piece = chance.pick(&[0, 0, 64, 1024]);
    faults.within = chance.pick(&[200, 3_000, 20_000]);
    faults.refused = chance.pick(&[0.0, 0.2]);
    faults.unanswered = chance.pick(&[0.0, 0.1]);
    faults.reset = chance.pick(&[0.0, 0.3]);
    faults.frozen = chance.pick(&[0.0, 0.2]);
    if chance.share(0.3) {
        let (from, until) = window(chance, lasting);
        let kind = chance.pick(&[OutageKind::Refused, OutageKind::Frozen]);
        faults.outages.push(Outage { from, until, kind });
    }
    faults
}

fn deaths(chance: &Chance, calm: bool, lasting: Duration) -> Vec<(Duration, Duration)> {
    if !calm && chance.share(0.3) { vec![window(chance, lasting)] } else { Vec::new() }
}

/// A time within the simulation; it may outlast it.
fn window(chance: &Chance, lasting: Duration) -> (Duration, Duration) {
    let from = chance.millis(500, u64::try_from(lasting.as_millis()).unwrap());
    (from, from + chance.millis(200, 15_000))
}
