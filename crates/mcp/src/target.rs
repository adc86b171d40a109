use std::{
    fmt,
    sync::{Arc, Once},
};

use async_trait::async_trait;
use futures::future::join_all;
use minicol_plugin::Scope;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::{
    Class, CycleOutcome, CyclePlan, Failure, HttpClient, PollTarget, TargetSettings, TargetSnapshot, TargetState,
    ToolResult, Undeclared,
    auth::HeaderFiles,
    breaker::Admission,
    cycle::Cycle,
    document::says_unknown_tool,
    engine::Engine,
    rest::Resting,
    stack::{self, Call, Stack, Stopped},
    state::Wanted,
    telemetry::Operations,
    transport::{Server, breathe},
};

/// One MCP server, asked in cycles: [`PollTarget::cycle`] makes sure of a session and the list of tools, then calls every wanted tool that
/// is offered, all at once, each through one stack of policies.
pub struct Target {
    core: Arc<Engine>,
    stack: Stack,
    /// Another may ask the server until this one does.
    adopted: Once,
}

impl Target {
    /// The server at `settings.endpoint`, asked through `http`, remembered in `state`. With the first cycle, state of another endpoint is forgotten,
    /// and a session that was made with other headers is made anew. Clocks, randomness and instruments are those of `scope`.
    pub fn new(settings: TargetSettings, http: HttpClient, state: Arc<TargetState>, scope: &Scope) -> Self {
        let server = Arc::new(Server {
            http,
            endpoint: settings.endpoint.clone(),
            headers: settings.headers.clone(),
            header_files: HeaderFiles::new(&settings.header_files, scope.clock()),
            authorize: settings.authorize.clone(),
            max_response_bytes: settings.max_response_bytes,
            clock: Arc::clone(scope.clock()),
        });
        let core = Arc::new(Engine {
            operations: Operations::new(scope, &settings.endpoint),
            settings,
            server,
            state,
            clock: Arc::clone(scope.clock()),
            random: Arc::clone(scope.random()),
        });
        Self { stack: stack::build(&core), core, adopted: Once::new() }
    }

    /// How it is asked.
    pub fn settings(&self) -> &TargetSettings {
        &self.core.settings
    }

    /// Which tools are wanted, by what is known now.
    fn wanted(&self, plan: &CyclePlan) -> Vec<Wanted> {
        self.core.state.lock().resolve(plan, self.core.breaker_rules())
    }

    /// Where all breakers are open, a session that did not answer last is not trusted: the set-up goes first, and once.
    fn begin(&self, plan: &CyclePlan, wanted: &[Wanted]) -> Cycle {
        let mut known = self.core.state.lock();
        let all_open = known.breakers.all_open();
        if all_open && known.session.as_ref().is_some_and(|session| !session.last_replied()) {
            known.session = None;
        }
        let calls_tools = wanted.iter().any(|wanted| wanted.admission.is_some());
        Cycle::new(plan, Arc::clone(&self.core.settings.name), !all_open, calls_tools)
    }

    async fn call(&self, wanted: &Wanted, cycle: &Arc<Cycle>) -> (Arc<str>, ToolResult) {
        let Wanted { name, plan, admission, .. } = wanted;
        let name = Arc::clone(name);
        if admission.is_none() || wanted.resting.is_some() {
            return not_called(wanted);
        }
        // A tool's own way of asking sees only what will be sent.
        let arguments = match &self.core.state.lock().catalog {
            Some(catalog) => catalog.split(&name, &plan.arguments).0,
            None => plan.arguments.clone(),
        };
        let call = Call {
            tool: Arc::clone(&name),
            arguments,
            timeout: plan.timeout.unwrap_or(self.core.settings.timeout),
            ask: plan.ask.clone(),
            cycle: Arc::clone(cycle),
            probe: false,
            session: None,
        };
        let started = Instant::now();
        let result = match self.stack.clone().oneshot(call).await {
            Ok(answer) => ToolResult::Answered(answer),
            Err(Stopped::BreakerOpen) => ToolResult::BreakerOpen,
            Err(Stopped::Failed(failure)) if failure.class() == Class::NotOffered => ToolResult::NotOffered,
            Err(Stopped::Failed(failure)) => ToolResult::Failed { failure, took: started.elapsed() },
        };
        (name, result)
    }

    /// A server that says that it does not know a tool has another list by now: asks for it, once, and calls those tools not offered that
    /// are not in it. Where that fails, the next cycle's set-up asks.
    async fn check_list(&self, cycle: &Cycle, results: &mut [(Arc<str>, ToolResult)]) {
        self.core.state.lock().stale = true;
        let Some(session) = self.core.held_session() else { return };
        let listed = self.core.list_tools(&session, cycle);
        if cycle.bounded(listed, |cause| cause.at(&cycle.target, &crate::Step::ListTools)).await.is_err() {
            return;
        }
        let known = self.core.state.lock();
        for (name, result) in results {
            let unknown = matches!(result, ToolResult::Failed { failure, .. } if says_unknown_tool(failure.cause()));
            if unknown && !known.offers(name) {
                *result = ToolResult::NotOffered;
            }
        }
    }

    fn outcome(&self, wanted: &[Wanted], up: Option<bool>, setup: Option<Failure>) -> CycleOutcome {
        let known = self.core.state.lock();
        let undeclared = known.catalog.as_ref().map(|catalog| {
            let of = |wanted: &Wanted| catalog.split(&wanted.name, &wanted.plan.arguments).1;
            let undeclared =
                wanted.iter().map(|wanted| Undeclared { tool: wanted.name.clone(), arguments: of(wanted) });
            undeclared.filter(|undeclared| !undeclared.arguments.is_empty()).collect()
        });
        CycleOutcome {
            up,
            setup,
            tools: Vec::new(),
            offered: known.catalog.as_ref().map(|catalog| Arc::clone(catalog.offered())),
            missing: known.missing().to_vec(),
            undeclared: undeclared.unwrap_or_default(),
        }
    }
}

#[async_trait]
impl PollTarget for Target {
    async fn cycle(&self, plan: &CyclePlan) -> CycleOutcome {
        self.adopted.call_once(|| self.core.state.adopt(&self.core.settings));
        let wanted = self.wanted(plan);
        let idle = |wanted: &Wanted| wanted.admission.is_none() || wanted.is_left_alone();
        if wanted.iter().any(Wanted::is_left_alone) && wanted.iter().all(idle) {
            let tools = wanted.iter().map(not_called).collect();
            return CycleOutcome { tools, ..self.outcome(&wanted, None, None) };
        }
        let cycle = Arc::new(self.begin(plan, &wanted));
        if let Err(failure) = self.core.set_up(&cycle).await {
            let tools = wanted.iter().map(not_called).collect();
            if failure.class().policy().counts_for_breaker {
                self.core.state.lock().breakers.set_up_failed(plan.tick, self.core.breaker_rules());
            }
            return CycleOutcome { tools, ..self.outcome(&self.wanted(plan), up(&cycle), Some(failure)) };
        }
        // The set-up may have brought another list.
        let mut wanted = self.wanted(plan);
        let mut tools = join_all(wanted.iter().map(|wanted| self.call(wanted, &cycle))).await;
        breathe().await;
        if cycle.doubts_list() {
            self.check_list(&cycle, &mut tools).await;
        }
        if cycle.doubts_list() || cycle.remade_session() {
            wanted = self.wanted(plan);
        }
        CycleOutcome { tools, ..self.outcome(&wanted, up(&cycle), cycle.set_up_failure()) }
    }

    async fn close(&self) {
        let session = self.core.state.lock().session.take();
        if let Some(session) = session {
            session.close().await;
        }
    }

    fn close_breaker(&self, tool: &str) -> bool {
        self.core.state.lock().breakers.close(tool)
    }

    fn snapshot(&self) -> TargetSnapshot {
        let (cooldown, wall, now) = (self.core.settings.breaker_cooldown, self.core.clock.wall(), Instant::now());
        self.core.state.snapshot(|opened| {
            let passed = now.saturating_duration_since(opened);
            wall + cooldown.saturating_sub(passed) - passed.saturating_sub(cooldown)
        })
    }
}

/// What becomes of a tool in a cycle whose set-up failed, or in which nothing is due.
fn not_called(wanted: &Wanted) -> (Arc<str>, ToolResult) {
    let result = match wanted.admission {
        None => ToolResult::NotOffered,
        Some(Admission::Refused) => ToolResult::BreakerOpen,
        Some(Admission::Call | Admission::Probe) => match wanted.resting.clone() {
            Some(Resting { failure, left }) => ToolResult::Resting { failure, left },
            None => ToolResult::SetupFailed,
        },
    };
    (Arc::clone(&wanted.name), result)
}

/// A cycle that was cancelled before it heard anything says nothing about the target.
fn up(cycle: &Cycle) -> Option<bool> {
    if cycle.spoke() { Some(true) } else { (!cycle.cancel.is_cancelled()).then_some(false) }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("settings", &self.core.settings).finish_non_exhaustive()
    }
}
