//! One target and one scripted server.

use std::{sync::Arc, time::Duration};

use minicol_mcp::{
    Answer, CycleOutcome, CyclePlan, Endpoint, Failure, HttpClient, PollTarget, Target, TargetSettings, TargetState,
    ToolPlan, ToolResult,
    testing::{FaultServer, Reply},
};
use minicol_plugin::{CancellationToken, ComponentKind, Scope, net::HttpConnector, testing::Harness};
use serde_json::json;
use tokio::time::{Instant, advance};

/// The time between two cycles.
pub(crate) const INTERVAL: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) harness: Harness,
    pub(crate) server: FaultServer,
    pub(crate) state: Arc<TargetState>,
    pub(crate) target: Target,
    pub(crate) scope: Scope,
    tick: Instant,
}

impl World {
    /// A server that offers `get_a` and `get_b`, and a target with default settings.
    pub(crate) async fn new() -> Self {
        Self::with(|settings| settings).await
    }

    pub(crate) async fn with(settings: impl FnOnce(TargetSettings) -> TargetSettings) -> Self {
        let harness = Harness::default();
        let server = FaultServer::start(&*harness.network, "buddy:8678").await;
        server.tool("get_a", Reply::structured(json!({"a": 1})));
        server.tool("get_b", Reply::structured(json!({"b": 2})));
        let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
        let state = Arc::new(TargetState::default());
        let endpoint: Endpoint = server.url().parse().unwrap();
        let target = target(settings(TargetSettings::new(endpoint)), &state, &scope);
        Self { harness, server, state, target, scope, tick: Instant::now() }
    }

    /// A cycle now for `tools`, of one interval.
    pub(crate) fn plan(&self, tools: &[&str]) -> CyclePlan {
        CyclePlan {
            tick: self.tick,
            deadline: self.tick + INTERVAL,
            tools: tools.iter().map(|name| ToolPlan::named(*name)).collect(),
            cancel: CancellationToken::new(),
            insists: false,
        }
    }

    pub(crate) async fn cycle(&self, tools: &[&str]) -> CycleOutcome {
        self.target.cycle(&self.plan(tools)).await
    }

    /// Goes on to the next tick.
    pub(crate) async fn next_tick(&mut self) {
        self.tick += INTERVAL;
        let now = Instant::now();
        advance(self.tick.saturating_duration_since(now)).await;
    }
}

pub(crate) fn target(settings: TargetSettings, state: &Arc<TargetState>, scope: &Scope) -> Target {
    let http = HttpClient::new(HttpConnector::new(Arc::clone(scope.network()), None));
    Target::new(settings, http, Arc::clone(state), scope)
}

pub(crate) fn result<'a>(outcome: &'a CycleOutcome, tool: &str) -> &'a ToolResult {
    let found = outcome.tools.iter().find(|(name, _)| &**name == tool);
    &found.unwrap_or_else(|| panic!("no {tool} in {outcome:?}")).1
}

pub(crate) fn answer<'a>(outcome: &'a CycleOutcome, tool: &str) -> &'a Answer {
    match result(outcome, tool) {
        ToolResult::Answered(answer) => answer,
        other => panic!("{tool}: {other:?}"),
    }
}

pub(crate) fn failure<'a>(outcome: &'a CycleOutcome, tool: &str) -> &'a Failure {
    match result(outcome, tool) {
        ToolResult::Failed { failure, .. } => failure,
        other => panic!("{tool}: {other:?}"),
    }
}
