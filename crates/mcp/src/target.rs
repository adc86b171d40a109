use std::sync::Arc;

use async_trait::async_trait;
use minicol_plugin::Scope;

use crate::{CycleOutcome, CyclePlan, HttpClient, PollTarget, TargetSettings, TargetSnapshot};

/// What is known of one MCP server across cycles, and across instances of the receiver that polls it: the session, the list of tools, the
/// circuit breakers. Keep it in a slot of [`Scope::state`].
#[derive(Debug, Default)]
pub struct TargetState {}

/// One MCP server.
#[derive(Debug)]
pub struct Target {
    settings: Arc<TargetSettings>,
}

impl Target {
    /// The server at `settings.endpoint`, asked through `http`, remembered in `state`. State of another endpoint is forgotten, and a session
    /// that was made with other headers is made anew.
    pub fn new(settings: TargetSettings, http: HttpClient, state: Arc<TargetState>, scope: &Scope) -> Self {
        let _ = (http, state, scope);
        Self { settings: Arc::new(settings) }
    }

    /// How it is asked.
    pub fn settings(&self) -> &TargetSettings {
        &self.settings
    }
}

#[async_trait]
impl PollTarget for Target {
    async fn cycle(&self, _plan: &CyclePlan) -> CycleOutcome {
        CycleOutcome::default()
    }

    async fn close(&self) {}

    fn snapshot(&self) -> TargetSnapshot {
        TargetSnapshot::default()
    }
}
