use std::sync::Arc;

use crate::{
    PollerError, SessionBuddyConfig, SessionBuddyPoller, config::with_get, diagnose::diagnose, source::source,
};
use minicol_pdata::Signal;
use minicol_plugin::{
    Checkup, ComponentError, Diagnosis, EnvironmentOverrides, Factory, Flow, Next, Polls, Receiver, Scope, Stability,
    async_trait,
};

/// The receiver `session_buddy` for the collector's list of components.
#[derive(Debug)]
pub struct SessionBuddyFactory;

impl Factory for SessionBuddyFactory {
    type Product = dyn Receiver;
    type Config = SessionBuddyConfig;
    const TYPE: &'static str = "session_buddy";
    const DESCRIPTION: &'static str = "polls a Session-Buddy over MCP and emits what it answers as observations";
    const STABILITY: Stability = Stability::Alpha;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[Flow::from_receiver(Signal::Observations)];
    const EXAMPLE: &'static str = include_str!("example.yaml");
    const ENVIRONMENT: Option<EnvironmentOverrides> =
        Some(EnvironmentOverrides { prefix: "MAHAVISHNU_SESSION_BUDDY_POLLING__", id: "session_buddy" });
    const TRANSPORT: Option<&'static str> = Some("http");

    fn build(config: SessionBuddyConfig, _: &Scope) -> Result<Box<dyn Receiver>, ComponentError> {
        Ok(Box::new(SessionBuddyReceiver(config)))
    }

    fn diagnose(config: SessionBuddyConfig, checkup: Checkup) -> Option<Diagnosis> {
        Some(Box::pin(diagnose(config, checkup)))
    }
}

/// A thin wrapper around the poller.
struct SessionBuddyReceiver(SessionBuddyConfig);

#[async_trait]
impl Receiver for SessionBuddyReceiver {
    async fn run(self: Box<Self>, next: Next, scope: Scope) -> Result<(), ComponentError> {
        let poller = SessionBuddyPoller::new(&self.0, next, scope.clone())?;
        scope.ready();
        tokio::select! {
            biased;
            () = scope.live() => poller.run().await,
            () = scope.stopping() => {}
        }
        Ok(())
    }

    async fn poll_once(self: Box<Self>, next: Next, scope: Scope) -> Result<bool, ComponentError> {
        let poller = SessionBuddyPoller::new(&self.0, next, scope)?;
        let result = poller.poll_once().await;
        poller.close().await;
        result?;
        Ok(true)
    }

    fn polls(&self, scope: &Scope) -> Option<Polls> {
        let source = source(&self.0, &self.0.endpoint.parse().ok()?, scope);
        let tools = self.0.metrics_to_collect.iter().map(|tool| Arc::from(&*with_get(tool))).collect();
        Some(Polls { source, tools })
    }
}

impl From<PollerError> for ComponentError {
    fn from(error: PollerError) -> Self {
        Self::new(error.to_string())
    }
}
