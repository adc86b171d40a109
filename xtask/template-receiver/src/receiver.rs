//! When it polls, what it emits, and how it ends.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use minicol_pdata::{
    Arrival, Observation, Observations, Outcome, POLL_REPORT, PollReport, Resource, Signal, Source, ToolOutcome,
};
use minicol_plugin::{ComponentError, Factory, Flow, Next, Receiver, Scope, Stability, Status, Ticks, async_trait};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::{
    MySourceConfig,
    client::{Client, Failure},
};

/// The receiver `my_source`, and its factory.
pub struct MySourceReceiver {
    client: Client,
    source: Arc<Source>,
}

impl Factory for MySourceReceiver {
    type Product = dyn Receiver;
    type Config = MySourceConfig;
    const TYPE: &'static str = "my_source";
    const DESCRIPTION: &'static str = "polls a JSON document over HTTP and emits it as an observation";
    const STABILITY: Stability = Stability::Development;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[Flow::from_receiver(Signal::Observations)];
    const EXAMPLE: &'static str = include_str!("../examples/my_source.yaml");
    const TRANSPORT: Option<&'static str> = Some("http");

    fn build(config: MySourceConfig, scope: &Scope) -> Result<Box<dyn Receiver>, ComponentError> {
        let client = Client::new(&config, scope)?;
        let (host, port) = client.address();
        // What a backend knows the target by. It stays the same over restarts, and tells two receivers of one target apart.
        let resource = Resource::new()
            .with("service.name", Self::TYPE)
            .with("service.instance.id", format!("{}/{}", scope.network().host_name(), scope.id()))
            .with("server.address", host)
            .with("server.port", i64::from(port));
        let source = Source { resource, receiver: scope.id().to_string(), interval: config.interval.0 };
        Ok(Box::new(Self { client, source: Arc::new(source) }))
    }
}

#[async_trait]
impl Receiver for MySourceReceiver {
    async fn run(self: Box<Self>, next: Next, scope: Scope) -> Result<(), ComponentError> {
        scope.ready();
        tokio::select! {
            biased;
            () = scope.stopping() => return Ok(()),
            () = scope.live() => {}
        }
        let mut ticks = Ticks::new(Instant::now(), self.source.interval);
        loop {
            tokio::select! {
                biased;
                () = scope.stopping() => return Ok(()),
                () = sleep_until(ticks.next()) => {}
            }
            let missed = ticks.take(Instant::now()).missed;
            // A poll that is under way when it is told to stop may end, but not after the deadline.
            tokio::select! {
                biased;
                () = scope.abandoned() => return Ok(()),
                () = self.poll(missed, &next, &scope) => {}
            }
        }
    }

    async fn poll_once(self: Box<Self>, next: Next, scope: Scope) -> Result<bool, ComponentError> {
        self.poll(0, &next, &scope).await;
        Ok(true)
    }
}

impl MySourceReceiver {
    /// Gets the document and hands it on. Failures are told by status and report; the next poll tries again.
    async fn poll(&self, missed_ticks: u64, next: &Next, scope: &Scope) {
        let began = scope.now();
        let fetched = self.client.fetch().await;
        let arrival = scope.now();
        let took = arrival.monotonic.saturating_sub(began.monotonic);
        let (status, told) = match &fetched {
            Ok(_) => (Status::Ok, format!("{} answers", self.client.shown())),
            Err(failure) => (Status::RecoverableError, failure.message.clone()),
        };
        let handed_on = next.consume(self.observations(fetched, missed_ticks, arrival, took).into()).await;
        // The host tells a status only where it, or its message, has changed.
        match handed_on {
            Ok(()) => scope.report(status, told),
            Err(rejected) => scope.report(Status::RecoverableError, format!("what was polled is lost: {rejected}")),
        }
    }

    /// The document, where there is one, then the report: it tells what did not come, too, so that series end and do not freeze.
    fn observations(
        &self,
        fetched: Result<Value, Failure>,
        missed_ticks: u64,
        arrival: Arrival,
        took: Duration,
    ) -> Observations {
        let observation = |tool: &str, document| Observation {
            source: Arc::clone(&self.source),
            tool: tool.into(),
            arguments: None,
            arrival,
            took,
            document: Arc::new(document),
            cut: None,
        };
        let (up, outcome, document) = match fetched {
            Ok(document) => (1, ToolOutcome::of(Outcome::Answered), Some(document)),
            Err(Failure { error_type, message }) => {
                let (error_type, message) = (Some(error_type.to_owned()), Some(message));
                (0, ToolOutcome { error_type, message, ..ToolOutcome::of(Outcome::Failed) }, None)
            }
        };
        let seconds = took.as_secs_f64();
        let outcome = ToolOutcome { duration_seconds: Some(seconds), ..outcome };
        let report = PollReport {
            up: Some(up),
            duration_seconds: seconds,
            missed_ticks,
            setup_error: None,
            tools: BTreeMap::from([(Self::TYPE.to_owned(), outcome)]),
        };
        let report = observation(POLL_REPORT, report.to_document());
        document
            .map(|document| observation(Self::TYPE, document))
            .into_iter()
            .chain([report])
            .collect::<Vec<_>>()
            .into()
    }
}
