//! Servers to poll. The scripted one remembers every value that it told, so that none can be invented; of the extension's simulator the model is
//! reckoned again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use minicol_extension_simulator::{FaultKind, Faults, Model, Simulator, SimulatorConfig, ToolFault, Window};
use minicol_mcp::testing::{FaultServer, Reply};
use minicol_plugin::{Environment, config::GoDuration};
use minicol_tests::Chance;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::scenario::{TargetKind, TargetPlan};

/// A server to poll. It can be killed and started again; its totals begin at 0 then.
pub(crate) struct Buddy {
    environment: Environment,
    began: Instant,
    serves: Serves,
}

enum Serves {
    Scripted { server: FaultServer, truth: Arc<Mutex<Truth>> },
    Simulator { config: Box<SimulatorConfig>, running: Mutex<Option<Simulator>>, lives: Mutex<Vec<Life>> },
}

/// What a scripted server is, and every value that it told: by metric, when, in nanoseconds on the wall clock.
#[derive(Default)]
struct Truth {
    totals: [u64; 4],
    told: BTreeMap<&'static str, Vec<(u64, f64)>>,
}

/// One life of a simulated process: since when, and how far its model had moved by then.
#[derive(Clone, Copy)]
struct Life {
    since: Duration,
    head_start: f64,
}

const TOOLS: [&str; 4] =
    ["get_activity_summary", "get_workflow_metrics", "get_session_analytics", "get_performance_metrics"];

impl Buddy {
    pub(crate) async fn start(environment: &Environment, plan: &TargetPlan, seed: u64) -> Self {
        let serves = match plan.kind {
            TargetKind::Scripted => scripted(environment, plan, seed).await,
            TargetKind::Simulator => simulated(plan, seed),
        };
        let buddy = Self { environment: environment.clone(), began: Instant::now(), serves };
        if matches!(buddy.serves, Serves::Simulator { .. }) {
            buddy.start_again().await;
        }
        buddy
    }

    pub(crate) async fn start_again(&self) {
        match &self.serves {
            Serves::Scripted { server, truth } => {
                lock(truth).totals = [0; 4];
                server.start_again(&*self.environment.network).await;
            }
            Serves::Simulator { config, running, lives } => {
                let simulator =
                    Simulator::start(config.as_ref().clone(), &self.environment).await.expect("the address is free");
                *lock(running) = Some(simulator);
                lock(lives).extend(lives_of(config, self.began.elapsed()));
            }
        }
    }

    pub(crate) fn kill(&self) {
        match &self.serves {
            Serves::Scripted { server, .. } => server.stop(),
            Serves::Simulator { running, .. } => drop(lock(running).take()),
        }
    }

    /// At the end: lets go of what holds on to itself.
    pub(crate) fn end(&self) {
        self.kill();
        if let Serves::Scripted { server, .. } = &self.serves {
            server.guard(|_| None);
            for tool in &TOOLS {
                server.remove_tool(tool);
            }
        }
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        match &self.serves {
            Serves::Scripted { server, .. } => server.kinds().len() as u64,
            Serves::Simulator { running, .. } => {
                lock(running).as_ref().map_or(0, |simulator| simulator.calls().values().sum())
            }
        }
    }

    /// How many sessions it has made.
    pub(crate) fn sessions(&self) -> usize {
        match &self.serves {
            Serves::Scripted { server, .. } => server.count("initialize"),
            Serves::Simulator { .. } => 0,
        }
    }

    /// Whether this server told `value` of `metric` between `from` and `until` (nanoseconds on the wall clock; `start` is when the simulation
    /// began); true of metrics that it does not tell.
    pub(crate) fn told(&self, metric: &str, value: f64, from: u64, until: u64, start: u64) -> bool {
        match &self.serves {
            Serves::Scripted { truth, .. } => {
                let truth = lock(truth);
                let Some(told) = truth.told.get(metric) else { return !metric_of_totals(metric) };
                told.iter().any(|(at, one)| (from..=until).contains(at) && (one - value).abs() < 1e-9)
            }
            Serves::Simulator { config, lives, .. } => {
                let since = |nanos: u64| Duration::from_nanos(nanos.saturating_sub(start));
                simulator_told(config, &lock(lives), metric, value, since(from), since(until))
            }
        }
    }
}

fn metric_of_totals(metric: &str) -> bool {
    TOTALS.iter().any(|(name, _, _)| *name == metric)
}

async fn scripted(environment: &Environment, plan: &TargetPlan, seed: u64) -> Serves {
    let server = FaultServer::start(&*environment.network, &plan.address).await;
    let truth = Arc::new(Mutex::new(Truth::default()));
    let nth_request = Mutex::new(0);
    let (name, trouble, forgetting) = (plan.address.clone(), plan.trouble, server.clone());
    server.guard(move |seen| {
        let nth = {
            let mut nth = lock(&nth_request);
            *nth += 1;
            *nth
        };
        let chance = Chance::of(seed, &format!("{name} {}", seen.kind()), nth);
        chance.share(trouble).then(|| fault(&chance, &forgetting))
    });
    for tool in TOOLS {
        server.tool_with_schema(tool, json!({"type": "object", "additionalProperties": true}), |_| Reply::status(500));
        let (clock, truth, name) = (Arc::clone(&environment.clock), Arc::clone(&truth), plan.address.clone());
        let nth_call = Mutex::new(0);
        let wild = plan.trouble > 0.0;
        server.always_with(&format!("tools/call {tool}"), move |seen| {
            let nth = {
                let mut nth = lock(&nth_call);
                *nth += 1;
                *nth
            };
            let chance = Chance::of(seed, &format!("{name} answers {tool}"), nth);
            let document = lock(&truth).tell(tool, clock.wall().as_nanos(), &chance, wild);
            // Calls go out side by side: their answers come back in any order.
            answer(&chance, document, &seen.id(), wild).after(chance.millis(1, 400))
        });
    }
    Serves::Scripted { server, truth }
}

/// What goes wrong with one request.
fn fault(chance: &Chance, server: &FaultServer) -> Reply {
    let seconds = chance.pick(&["0", "1", "3", "100"]);
    match chance.below(14) {
        0 => Reply::status(503).header("retry-after", seconds),
        1 => Reply::status(429).header("retry-after", seconds),
        2 => Reply::status(chance.pick(&[500, 502, 504])),
        3 => Reply::status(chance.pick(&[400, 401, 403])),
        4 | 5 => {
            server.forget_sessions();
            Reply::transport_error(404, "Session not found")
        }
        6 => Reply::hang(),
        7 => Reply::cut(),
        8 => Reply::events().chunk("event: message\r\ndata: {\"jsonrpc\":").then_cut(),
        9 => Reply::events().chunk("event: message\r\n").then_hang(),
        10 => Reply::json("{\"jsonrpc\":\"2.0\",\"id\":"),
        11 => Reply::tool_error("told to fail"),
        12 => Reply::error(-32603, "told to fail"),
        _ => Reply::raw("no HTTP at all\r\n\r\n"),
    }
}

/// The document as a reply: whole, twice, after that to another request, or in drips.
fn answer(chance: &Chance, document: Value, id: &Value, wild: bool) -> Reply {
    if !wild || chance.share(0.6) {
        return Reply::structured(document);
    }
    let result = json!({"content": [{"type": "text", "text": document.to_string()}], "structuredContent": document});
    let event = |id: &Value| {
        format!("event: message\r\ndata: {}\r\n\r\n", json!({"jsonrpc": "2.0", "id": id, "result": result}))
    };
    let whole = event(id);
    match chance.below(3) {
        0 => Reply::events().chunk(whole.clone()).chunk(whole),
        1 => Reply::events().chunk(": still there\r\n\r\n").chunk(whole).chunk(event(&json!("of nobody"))),
        _ => {
            let (one, other) = whole.split_at(chance.below(whole.len()));
            Reply::events().chunk(one.to_owned()).wait(chance.millis(1, 900)).chunk(other.to_owned())
        }
    }
}

impl Truth {
    /// What the tool answers now. It is remembered also where the answer gets lost.
    fn tell(&mut self, tool: &str, at: u64, chance: &Chance, wild: bool) -> Value {
        for total in &mut self.totals {
            *total += chance.below(4) as u64;
        }
        let [sessions, completed, failed, checkpoints] = self.totals;
        let number = |high: f64| (chance.between(0.0, high) * 1e6).round() / 1e6;
        let mut document = match tool {
            "get_activity_summary" => {
                json!({"active_sessions": chance.below(1_000_000), "total_sessions": sessions, "recent_activity": []})
            }
            "get_workflow_metrics" => {
                json!({"workflows_completed": completed, "workflows_failed": failed, "avg_duration": number(900.0)})
            }
            "get_session_analytics" => {
                json!({"total_checkpoints": checkpoints, "avg_checkpoint_size": number(5e4), "session_duration": number(5e3)})
            }
            _ => json!({"cpu_usage": number(100.0), "memory_usage": number(4e3), "response_time": number(50.0)}),
        };
        if wild && chance.share(0.1) {
            // One member has no value this time.
            let members: Vec<String> = document.as_object().unwrap().keys().cloned().collect();
            document[&members[chance.below(members.len())]] = Value::Null;
        }
        for (member, metric) in METRICS {
            if let Some(value) = document.get(member).and_then(Value::as_f64) {
                self.told.entry(metric).or_default().push((at, value));
            }
        }
        document
    }
}

const METRICS: [(&str, &str); 8] = [
    ("active_sessions", "session_buddy.sessions.active"),
    ("total_sessions", "session_buddy.sessions.total"),
    ("workflows_completed", "session_buddy.workflows.completed"),
    ("workflows_failed", "session_buddy.workflows.failed"),
    ("total_checkpoints", "session_buddy.checkpoints.total"),
    ("cpu_usage", "session_buddy.performance.cpu_usage"),
    ("memory_usage", "session_buddy.performance.memory_usage"),
    ("response_time", "session_buddy.performance.response_time"),
];

/// What a tool answers out of a model.
type Document = fn(&Model) -> Value;

/// Totals of the simulator's model, with the document and the member that hold them.
const TOTALS: [(&str, Document, &str); 4] = [
    ("session_buddy.sessions.total", Model::activity_summary, "total_sessions"),
    ("session_buddy.workflows.completed", Model::workflow_metrics, "workflows_completed"),
    ("session_buddy.workflows.failed", Model::workflow_metrics, "workflows_failed"),
    ("session_buddy.checkpoints.total", Model::session_analytics, "total_checkpoints"),
];

/// How far the model of a simulator that has just been started has moved, in seconds.
const HEAD_START: f64 = 4.0 * 3600.0;

fn simulated(plan: &TargetPlan, seed: u64) -> Serves {
    let chance = Chance::of(seed, &plan.address, 0);
    let mut faults = Faults { latency: GoDuration(chance.millis(1, 50)), ..Faults::default() };
    faults.jitter = GoDuration(chance.millis(1, 300));
    if plan.trouble > 0.0 {
        let window = |share: f64| {
            if !chance.share(share) {
                return Window::default();
            }
            let every = chance.millis(8_000, 40_000);
            Window { every: GoDuration(every), lasting: GoDuration(chance.millis(1, 7_000)) }
        };
        faults.restart = window(0.4);
        faults.freeze = window(0.3);
        if chance.share(0.4) {
            faults.lose_sessions_every = GoDuration(chance.millis(2_000, 20_000));
        }
        let kind = chance.pick(&[
            FaultKind::IsError,
            FaultKind::SuccessFalse,
            FaultKind::JsonRpcError,
            FaultKind::Garbage,
            FaultKind::Cut,
            FaultKind::Hang,
            FaultKind::Unavailable,
            FaultKind::Slow,
        ]);
        let fault = ToolFault { kind, rate: plan.trouble, delay: GoDuration::from_secs(3), ..ToolFault::default() };
        faults.tools.insert(chance.pick(&["*", TOOLS[0], TOOLS[1]]).to_owned(), fault);
    }
    let config = SimulatorConfig {
        endpoint: plan.address.clone(),
        seed: chance.next(),
        speed: chance.pick(&[60.0, 600.0]),
        faults,
        ..SimulatorConfig::default()
    };
    Serves::Simulator { config: Box::new(config), running: Mutex::default(), lives: Mutex::default() }
}

/// The lives of a simulator that starts at `since`, for as long as a simulation lasts.
fn lives_of(config: &SimulatorConfig, since: Duration) -> Vec<Life> {
    let mut lives = vec![Life { since, head_start: HEAD_START }];
    let every = config.faults.restart.every.0;
    if !every.is_zero() {
        lives.extend((1..40).map(|nth| Life { since: since + every * nth, head_start: 0.0 }));
    }
    lives
}

fn simulator_told(
    config: &SimulatorConfig,
    lives: &[Life],
    metric: &str,
    value: f64,
    from: Duration,
    until: Duration,
) -> bool {
    let Some((_, document, member)) = TOTALS.iter().find(|(name, _, _)| *name == metric) else { return true };
    let total = |life: &Life, at: Duration| {
        let mut model = Model::new(config.seed);
        model.advance(life.head_start + at.saturating_sub(life.since).as_secs_f64() * config.speed);
        document(&model)[member].as_f64().unwrap()
    };
    lives
        .iter()
        .filter(|life| life.since <= until)
        .any(|life| (total(life, from)..=total(life, until)).contains(&value))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
