//! A simulated Session-Buddy: a real MCP server that keeps the contract (four tools and their fields) over a believable, seeded, moving model
//! of sessions, workflows and checkpoints, or that answers as the released server 0.23.0 was recorded; and that fails by a seeded plan. As the
//! extension `session_buddy_simulator` it feeds a demo; as a library it serves tests. Start from [`Simulator::start`].

mod asked;
mod config;
mod contract;
mod faults;
mod model;
mod plan;
mod release;
mod reply;
mod server;
mod sessions;

use std::sync::Arc;

use minicol_plugin::{
    ComponentError, Entry, Environment, Extension, Factory, Flow, Level, Scope, Stability, async_trait,
    net::{listen, serve_while_it_runs},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use config::{Profile, SimulatorConfig};
pub use faults::{FaultKind, Faults, ToolFault, Window};
pub use model::Model;

use server::Shared;

/// What the collector lists.
pub const ENTRY: Entry<dyn Extension> = Entry::of::<SimulatorExtension>();

/// Takes what is worth telling: a name that stays, and a sentence for a person.
pub type Tell = Arc<dyn Fn(&'static str, String) + Send + Sync>;

/// A simulated Session-Buddy that serves. Dropping it kills it.
#[derive(Debug)]
pub struct Simulator {
    address: String,
    shared: Arc<Shared>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Simulator {
    /// Binds and serves. Clock, randomness and network come from `environment`; the model's and the faults' chance comes from the configured seed.
    pub async fn start(config: SimulatorConfig, environment: &Environment) -> Result<Self, ComponentError> {
        Self::start_telling(config, environment, Arc::new(|_, _| ())).await
    }

    /// The same, and tells what it does by its plan of faults: that it restarts, freezes, that a tool begins to fail.
    pub async fn start_telling(
        config: SimulatorConfig,
        environment: &Environment,
        tell: Tell,
    ) -> Result<Self, ComponentError> {
        let listener = listen(&*environment.network, &config.endpoint).await?;
        let address = listener.local_address();
        let shared = Arc::new(Shared::new(config, environment.clone(), tell));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self { address, shared, stop, serving })
    }

    /// Where it listens, as `address:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where a poller reaches it.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Restarts the simulated process: totals begin at 0 again, and its sessions are unknown (404) from now on.
    pub fn restart(&self) {
        self.shared.restart(self.shared.now());
    }

    /// Follows another plan of faults, which begins now.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.set_faults(faults);
    }

    /// How often each tool was called so far, in a session that held.
    pub fn calls(&self) -> std::collections::BTreeMap<String, u64> {
        self.shared.calls()
    }

    /// How often it was asked to begin a session so far.
    pub fn initialized(&self) -> u64 {
        self.shared.initialized()
    }

    /// Ends: takes no more requests, and cuts those that wait.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.shared.end_sessions();
        // A task of ours that panicked has nothing left to stop.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.end_sessions();
        self.serving.abort();
    }
}

/// The extension, and its factory.
#[derive(Debug)]
pub struct SimulatorExtension {
    config: SimulatorConfig,
}

impl Factory for SimulatorExtension {
    type Product = dyn Extension;
    type Config = SimulatorConfig;
    const TYPE: &'static str = "session_buddy_simulator";
    const DESCRIPTION: &'static str = "serves a simulated Session-Buddy, to see and to test without a real one";
    const STABILITY: Stability = Stability::Beta;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[];
    const EXAMPLE: &'static str = include_str!("example.yaml");
    const SERVES_POLL: bool = true;

    fn build(config: SimulatorConfig, _: &Scope) -> Result<Box<dyn Extension>, ComponentError> {
        Ok(Box::new(Self { config }))
    }
}

#[async_trait]
impl Extension for SimulatorExtension {
    async fn run(self: Box<Self>, scope: Scope) -> Result<(), ComponentError> {
        let (teller, profile) = (scope.clone(), self.config.profile);
        let tell: Tell = Arc::new(move |name, message| teller.notice(Level::Info, name, message));
        let simulator = Simulator::start_telling(self.config, scope.environment(), tell).await?;
        let what = format!("a simulated Session-Buddy ({}) serves {}", profile.name(), simulator.url());
        scope.notice(Level::Info, "simulator_serves", what);
        let address = simulator.address().to_owned();
        // At the deadline the simulator is dropped, which closes what is open.
        let serving = async {
            scope.stopping().await;
            simulator.stop().await;
        };
        serve_while_it_runs(&scope, &address, "", serving).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
