//! Promise: whatever a reload changes, and however often, no point is lost or comes twice, no series begins anew that had no reason to, no cycle is
//! skipped, and the books balance over the program's whole life.
//!
//! Two hundred reloads under load, drawn from a seed: mapping rules, exporters' endpoints and queues, intervals, the receiver that everything passes,
//! pipelines that come and go, and files that do not hold. `MINICOL_SEED=7` runs one seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use minicol_config::{Problems, Request};
use minicol_host::{ConfigSource, Host, Plan};
use minicol_plugin::{
    Environment, ReloadOutcome, SeededRandom, SimulatedClock,
    net::{MemoryNetwork, Network, NetworkFaults},
};
use minicol_tests::{Chance, FaultyBackend, Point, Value, breaches, repeated};
use tokio::time::{Instant, sleep};

use crate::{
    buddy::Buddy,
    scenario::{RELAY, TargetKind, TargetPlan},
    world::{PROGRAM, REGISTRY, START},
};

const RELOADS: u64 = 200;
const TARGETS: usize = 4;
/// How long a cycle may take that another instance waits for, and what the network adds.
const SLACK: Duration = Duration::from_millis(250);

/// What the file says at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    intervals: [u64; TARGETS],
    /// Of the receiver that everything passes.
    max_in_flight: u32,
    /// Which backend, and how the queue before it is.
    backend: usize,
    queue: u32,
    /// A rule that there is beside the preset: none, or with which description.
    rule: Option<u32>,
    /// A pipeline beside the others, from this target.
    beside: Option<usize>,
    wrong: bool,
    /// Whether anything is polled.
    polls: bool,
}

/// The file, and when which interval of a target was in force.
#[derive(Clone)]
struct File(Arc<Mutex<Written>>);

impl ConfigSource for File {
    fn load(&self) -> Result<Plan, Problems> {
        load(&self.0.lock().unwrap().text())
    }
}

fn load(text: &str) -> Result<Plan, Problems> {
    let environment = minicol_config::Environment::default();
    Plan::load(Request { configs: vec![format!("yaml:{text}")], environment, ..Request::default() }, REGISTRY)
}

impl Written {
    fn first() -> Self {
        Self {
            intervals: [1, 2, 3, 5],
            max_in_flight: 64,
            backend: 0,
            queue: 100,
            rule: None,
            beside: None,
            wrong: false,
            polls: true,
        }
    }

    /// Changes one thing, or a few.
    fn edit(&mut self, chance: &Chance) {
        self.wrong = false;
        for _ in 0..=chance.below(2) {
            match chance.below(8) {
                0 | 1 => self.intervals[chance.below(TARGETS)] = chance.pick(&[1, 2, 3, 5]),
                2 => self.max_in_flight = chance.pick(&[32, 64, 128]),
                3 => self.backend = 1 - self.backend,
                4 => self.queue = chance.pick(&[50, 100, 200]),
                5 => self.rule = chance.pick(&[None, Some(1), Some(2)]),
                6 => self.beside = chance.pick(&[None, Some(0), Some(3)]),
                _ => self.wrong = true,
            }
        }
    }

    fn text(&self) -> String {
        let mut receivers = String::new();
        for (nth, interval) in self.intervals.iter().enumerate() {
            let _ = writeln!(
                receivers,
                "  session_buddy/{nth}: {{enabled: {}, endpoint: \"http://buddy{nth}:8678/mcp\", interval_seconds: {interval}, timeout_seconds: 0.5, \
                 metrics_to_collect: [activity_summary, workflow_metrics, session_analytics, performance_metrics]}}",
                self.polls
            );
        }
        let rule = self.rule.map_or_else(String::new, |words| {
            format!(
                ", rules: [{{tool: get_performance_metrics, metrics: [{{name: beside.cpu, type: gauge, value: $.cpu_usage, unit: '1', description: words {words}}}]}}]"
            )
        });
        let beside = self.beside.map_or_else(String::new, |nth| {
            format!("    metrics/beside: {{receivers: [session_buddy/{nth}], processors: [mapping], exporters: [otlphttp/beside]}}\n")
        });
        let polled: Vec<_> = (0..TARGETS).map(|nth| format!("session_buddy/{nth}")).collect();
        format!(
            "receivers:\n{receivers}  otlp: {{protocols: {{grpc: {{endpoint: \"{RELAY}\"}}}}, max_in_flight_mib: {}}}\n\
             processors: {{mapping: {{presets: [session_buddy]{rule}}}}}\n\
             exporters:\n  otlp/hop: {{endpoint: \"http://{RELAY}\", retry_on_failure: {{initial_interval: 100ms}}}}\n  \
             otlp: {{endpoint: \"http://backend{}:4317\", sending_queue: {{queue_size: {}}}}}\n  \
             otlphttp/beside: {{endpoint: \"http://backend2:4318\"}}\n\
             service:\n  telemetry: {{metrics: {{level: detailed, readers: []}}}}\n  pipelines:\n    \
             metrics/hop: {{receivers: [{}], processors: [mapping], exporters: [otlp/hop]}}\n    \
             metrics: {{receivers: [otlp], exporters: [otlp]}}\n{beside}{}",
            self.max_in_flight,
            self.backend,
            self.queue,
            polled.join(", "),
            if self.wrong { "connectors: {nothing: }\n" } else { "" },
        )
    }
}

/// What was in force since when.
type History = Vec<(Duration, Written)>;

async fn live(seed: u64) -> Vec<String> {
    let memory: Arc<dyn Network> = Arc::new(MemoryNetwork::new());
    let clock = Arc::new(SimulatedClock::starting_at(START));
    let environment =
        Environment { clock, random: Arc::new(SeededRandom::from_seed(seed)), network: Arc::clone(&memory) };
    let mut buddies = Vec::new();
    for nth in 0..TARGETS {
        let address = format!("buddy{nth}:8678");
        let network = NetworkFaults::default();
        let plan = TargetPlan { address, kind: TargetKind::Scripted, trouble: 0.0, network, deaths: Vec::new() };
        buddies.push(Buddy::start(&environment, &plan, seed).await);
    }
    let mut backends = Vec::new();
    for nth in 0..3 {
        backends.push(FaultyBackend::start(&*memory, &format!("backend{nth}:{}", 4317 + nth / 2), seed, 0.0).await);
    }
    let began = Instant::now();
    let file = File(Arc::new(Mutex::new(Written::first())));
    let plan = load(&Written::first().text()).unwrap_or_else(|problems| panic!("{problems}"));
    let mut running = Host::new(PROGRAM, environment.clone()).start(&plan).await.unwrap();
    let reloader = running.reload_from(file.clone());
    let mut history: History = vec![(Duration::ZERO, Written::first())];
    let mut wrong = Vec::new();
    for nth in 0..RELOADS {
        let chance = Chance::of(seed, "reload", nth);
        sleep(chance.millis(5, 1_500)).await;
        let before = file.0.lock().unwrap().clone();
        let mut after = before.clone();
        after.edit(&chance);
        after.clone_into(&mut file.0.lock().unwrap());
        let reload = reloader.reload().await;
        let good = history.last().map(|(_, written)| written.clone()).unwrap();
        let expected = if after.wrong {
            ReloadOutcome::Invalid
        } else if after == good {
            ReloadOutcome::Unchanged
        } else {
            ReloadOutcome::Success
        };
        if reload.outcome != expected {
            wrong.push(format!("reload {nth}: {expected} was expected: {reload:?}"));
        }
        if !after.wrong {
            history.push((began.elapsed(), after));
        }
        wrong.extend(running.books().check().err().map(|unbalanced| format!("after reload {nth}: {unbalanced}")));
    }
    sleep(Duration::from_secs(6)).await;
    wrong.extend(running.books().check_at_rest().err().map(|unbalanced| format!("at rest: {unbalanced}")));
    let page = running.telemetry().page();
    for line in page.lines().filter(|line| line.contains("missed") || line.contains("breaker_opened")) {
        if !line.starts_with('#') && !line.ends_with(" 0") {
            wrong.push(line.to_owned());
        }
    }
    let refused: Vec<_> = running.books().edges.into_iter().filter(|edge| !edge.refused.is_empty()).collect();
    wrong.extend(refused.iter().map(|edge| format!("refused: {edge:?}")));
    let sessions: Vec<usize> = buddies.iter().map(Buddy::sessions).collect();
    if sessions.iter().any(|count| *count != 1) {
        wrong.push(format!("sessions were made anew: {sessions:?}"));
    }
    // Nothing is on its way when it ends: what a relay has sent to itself it could not take any more.
    *file.0.lock().unwrap() = Written { polls: false, wrong: false, ..history.last().unwrap().1.clone() };
    let reload = reloader.reload().await;
    wrong.extend((reload.changes.removed.len() != TARGETS).then(|| format!("the pollers were to stop: {reload:?}")));
    sleep(Duration::from_secs(6)).await;
    let report = running.shutdown(Duration::from_secs(20)).await;
    wrong.extend(report.errors.iter().chain(&report.broken).cloned());
    wrong.extend(report.books.check_at_end().err().map(|unbalanced| format!("at the end: {unbalanced}")));
    if report.books.lost() > 0 {
        wrong.push(format!("lost: {:?}", report.books));
    }
    let points = |backends: &[FaultyBackend]| -> Vec<Point> {
        backends.iter().flat_map(FaultyBackend::received).flat_map(|one| one.points).collect()
    };
    wrong.extend(judge(&points(&backends[..2]), &history));
    wrong.extend(breaches(&points(&backends[2..])));
    wrong.extend((repeated(&points(&backends[2..])) > 0).then(|| "points came twice beside".to_owned()));
    if points(&backends[..1]).is_empty() || points(&backends[1..2]).is_empty() || points(&backends[2..]).is_empty() {
        wrong.push("nothing came to one of the backends: this proves nothing".to_owned());
    }
    buddies.iter().for_each(Buddy::end);
    wrong
}

/// Of what passed the pipelines that were always there.
fn judge(points: &[Point], history: &History) -> Vec<String> {
    let mut wrong = breaches(points);
    let twice = repeated(points);
    wrong.extend((twice > 0).then(|| format!("{twice} points came twice")));
    let mut starts: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    for point in points.iter().filter(|point| point.kind != "gauge") {
        starts.entry((&point.name, &point.attributes, &point.resource)).or_default().insert(point.start);
    }
    for ((name, _, resource), starts) in starts.iter().filter(|(_, starts)| starts.len() > 1) {
        wrong.push(format!("{name} of {} began {} times", resource["server.address"], starts.len()));
    }
    for nth in 0..TARGETS {
        let cycles: BTreeSet<Duration> = points
            .iter()
            .filter(|point| {
                point.name == "session_buddy.poll.duration" && point.resource["server.address"] == format!("buddy{nth}")
            })
            .map(|point| Duration::from_nanos(point.time - START.as_nanos()).saturating_sub(took(point)))
            .collect();
        let cycles: Vec<Duration> = cycles.into_iter().collect();
        for pair in cycles.windows(2) {
            // A cycle is due an interval after the one before; where a reload makes that shorter, from then on, or at once.
            let in_force: Vec<_> =
                history.iter().map(|(since, one)| (*since, Duration::from_secs(one.intervals[nth]))).collect();
            let mut due = Duration::MAX;
            for (at, (since, interval)) in in_force.iter().enumerate() {
                let until = in_force.get(at + 1).map_or(Duration::MAX, |(next, _)| *next);
                if until < pair[0] {
                    continue;
                }
                let candidate = (pair[0] + *interval).max(*since);
                if candidate <= until {
                    due = candidate;
                    break;
                }
            }
            if pair[1] > due + SLACK || pair[1] + SLACK < due {
                wrong.push(format!(
                    "buddy{nth}: a cycle was due at {due:?}, after {:?}, and came at {:?}",
                    pair[0], pair[1]
                ));
            }
        }
        if cycles.len() < 20 {
            wrong.push(format!("buddy{nth}: only {} cycles", cycles.len()));
        }
    }
    wrong
}

fn took(point: &Point) -> Duration {
    match point.value {
        Value::Double(seconds) => Duration::from_secs_f64(seconds),
        _ => Duration::ZERO,
    }
}

#[test]
fn two_hundred_reloads_under_load_lose_double_restart_and_skip_nothing() {
    let seeds = match std::env::var("MINICOL_SEED") {
        Ok(seed) => vec![seed.parse().expect("a whole number")],
        Err(_) => vec![1, 2, 3],
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let wrong = runtime.block_on(live(seed));
        assert!(
            wrong.is_empty(),
            "seed {seed}: {} things are wrong:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(30)].join("\n")
        );
    }
}
