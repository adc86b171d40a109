//! What a poller promises, with a target that answers as it is told, under a paused clock.

mod said;
mod schedule;
mod steering;
mod succession;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use minicol_mcp::{
    Answer, BreakerSnapshot, BreakerState, Cause, CycleOutcome, CyclePlan, Failure, PollTarget, Step, TargetSnapshot,
    ToolResult,
};
use minicol_pdata::{Arrival, Batch, Observations, PollReport};
use minicol_plugin::{
    ComponentKind, Event, Next, Status, async_trait,
    testing::{Harness, Sink},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::SessionBuddyPoller;
use crate::SessionBuddyConfig;

/// A target that brings what it is told, after as long as it is told; cut and cancelled as a plan says.
#[derive(Default)]
struct Scripted {
    script: Mutex<VecDeque<(Duration, CycleOutcome)>>,
    breakers: Mutex<BTreeMap<Arc<str>, BreakerSnapshot>>,
    begun: Mutex<Vec<(Instant, CyclePlan)>>,
    closed: Mutex<u32>,
}

impl Scripted {
    /// The next cycle takes `seconds` and brings `outcome`. Without a script a cycle brings one answer at once.
    fn then(&self, seconds: u64, outcome: CycleOutcome) {
        self.script.lock().unwrap().push_back((Duration::from_secs(seconds), outcome));
    }

    /// When cycles began, in seconds since `origin`.
    fn begun(&self, origin: Instant) -> Vec<u64> {
        self.begun.lock().unwrap().iter().map(|(at, _)| at.duration_since(origin).as_secs()).collect()
    }

    fn breaker(&self, tool: &str, state: Option<BreakerState>) {
        let mut breakers = self.breakers.lock().unwrap();
        match state {
            Some(state) => drop(breakers.insert(tool.into(), BreakerSnapshot { state, failures: 5, open_until: None })),
            None => drop(breakers.remove(tool)),
        }
    }
}

#[async_trait]
impl PollTarget for Scripted {
    async fn cycle(&self, plan: &CyclePlan) -> CycleOutcome {
        self.begun.lock().unwrap().push((Instant::now(), plan.clone()));
        let scripted = self.script.lock().unwrap().pop_front();
        let (takes, outcome) = scripted.unwrap_or_else(|| (Duration::ZERO, answers(&[("get_liveness", json!({}))])));
        let all_end = |cause: Cause| CycleOutcome {
            up: Some(false),
            tools: vec![("get_liveness".into(), failed("get_liveness", cause))],
            ..CycleOutcome::default()
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(takes) => outcome,
            () = plan.cancel.cancelled() => all_end(Cause::Cancelled),
            () = tokio::time::sleep_until(plan.deadline) => all_end(Cause::CutAtCycleEnd),
        }
    }

    async fn close(&self) {
        *self.closed.lock().unwrap() += 1;
    }

    fn close_breaker(&self, tool: &str) -> bool {
        let closed = BreakerSnapshot { state: BreakerState::Closed, failures: 0, open_until: None };
        let before = self.breakers.lock().unwrap().insert(tool.into(), closed);
        before.is_some_and(|before| before.state != BreakerState::Closed)
    }

    fn snapshot(&self) -> TargetSnapshot {
        TargetSnapshot { breakers: self.breakers.lock().unwrap().clone(), ..TargetSnapshot::default() }
    }
}

/// A poller of a scripted target, and what it is seen by.
struct Stage {
    target: Arc<Scripted>,
    harness: Harness,
    sink: Sink,
    origin: Instant,
    poller: SessionBuddyPoller,
}

impl Stage {
    fn new(config: Value) -> Self {
        Self::with(config, &Harness::default())
    }

    fn with(config: Value, harness: &Harness) -> Self {
        let sink = Sink::new();
        Self::handing_to(config, harness, sink.next(), sink)
    }

    fn handing_to(config: Value, harness: &Harness, next: Next, sink: Sink) -> Self {
        let target = Arc::new(Scripted::default());
        let config: SessionBuddyConfig = serde_json::from_value(config).unwrap();
        let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
        let shared = Arc::clone(&target) as Arc<dyn PollTarget>;
        let poller = SessionBuddyPoller::with_target(&config, shared, next, scope).unwrap();
        Self { target, harness: harness.clone(), sink, origin: Instant::now(), poller }
    }

    /// Starts, and lets `seconds` pass.
    async fn run_for(&self, seconds: u64) {
        self.poller.start().unwrap();
        self.pass(seconds).await;
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn begun(&self) -> Vec<u64> {
        self.target.begun(self.origin)
    }

    fn observations(&self) -> Vec<Observations> {
        let observations = |batch: &Batch| match batch {
            Batch::Observations(list) => list.clone(),
            other => panic!("{other:?}"),
        };
        self.sink.batches().iter().map(observations).collect()
    }

    fn reports(&self) -> Vec<PollReport> {
        self.observations().iter().map(|list| list.iter().last().unwrap().report().unwrap()).collect()
    }

    /// Notices as `name: message`, and status changes as `STATUS: message`, in order.
    fn said(&self) -> Vec<String> {
        let told = |event: &Event| match event {
            Event::Status(change) => format!("{}: {}", change.status, change.message),
            Event::Notice(notice) => format!("{}: {}", notice.name, notice.message),
            Event::Program(notice) => panic!("{notice:?}"),
        };
        self.harness.events().iter().map(told).collect()
    }
}

fn answer(document: Value, arguments: &Value) -> ToolResult {
    let arguments = arguments.as_object().cloned().unwrap();
    let arrival = Arrival::default();
    ToolResult::Answered(Answer { document, arguments, arrival, took: Duration::from_millis(250) })
}

fn failed(tool: &str, cause: Cause) -> ToolResult {
    ToolResult::Failed { failure: failure(tool, cause), took: Duration::from_secs(2) }
}

/// A tool that the server asked to leave alone for `seconds`, `left` of which are left.
fn resting(tool: &str, seconds: u64, left: Duration) -> ToolResult {
    let retry_after = Some(Duration::from_secs(seconds));
    ToolResult::Resting { failure: failure(tool, Cause::Throttled { status: 429, retry_after }), left }
}

fn failure(tool: &str, cause: Cause) -> Failure {
    Failure::new("http://localhost:8678/mcp", Step::Call(tool.into()), cause)
}

fn outcome(tools: Vec<(&str, ToolResult)>) -> CycleOutcome {
    let tools: Vec<(Arc<str>, ToolResult)> = tools.into_iter().map(|(tool, result)| (tool.into(), result)).collect();
    let offered: Vec<_> = tools.iter().map(|(tool, _)| Arc::clone(tool)).collect();
    CycleOutcome { up: Some(true), tools, offered: Some(offered.into()), ..CycleOutcome::default() }
}

fn answers(tools: &[(&str, Value)]) -> CycleOutcome {
    outcome(tools.iter().map(|(tool, document)| (*tool, answer(document.clone(), &json!({})))).collect())
}

fn down() -> CycleOutcome {
    let refused = Cause::Unreachable("connection refused".to_owned());
    CycleOutcome {
        up: Some(false),
        setup: Some(Failure::new("http://localhost:8678/mcp", Step::Initialize, refused)),
        tools: vec![("get_liveness".into(), ToolResult::SetupFailed)],
        ..CycleOutcome::default()
    }
}
