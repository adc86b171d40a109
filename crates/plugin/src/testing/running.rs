//! Components that run as the host would run them.

use std::{future::Future, time::Duration};

use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Harness, Sink};
use crate::{ComponentError, Entry, Extension, Product, Receiver};

/// How long a component may take to start, and to end when it is told to, on the test's clock.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// A receiver or an extension that has said that it is ready. Dropped, it is broken off.
pub struct Running {
    /// What it runs in.
    pub harness: Harness,
    /// What a receiver hands on.
    pub sink: Sink,
    task: JoinHandle<Result<(), ComponentError>>,
}

impl Harness {
    /// Builds a receiver from the YAML of its body, runs it, and waits until it is ready. An error is a start that failed.
    ///
    /// # Panics
    /// Where the configuration does not hold, or it is not ready within ten seconds of the test's clock.
    pub async fn run_receiver(&self, entry: &Entry<dyn Receiver>, yaml: &str) -> Result<Running, ComponentError> {
        let (receiver, sink) = (self.build(entry, yaml), Sink::new());
        let next = sink.next();
        self.run(entry, sink, |scope| receiver.run(next, scope)).await
    }

    /// The same of an extension.
    ///
    /// # Panics
    /// Where the configuration does not hold, or it is not ready within ten seconds of the test's clock.
    pub async fn run_extension(&self, entry: &Entry<dyn Extension>, yaml: &str) -> Result<Running, ComponentError> {
        let extension = self.build(entry, yaml);
        self.run(entry, Sink::new(), |scope| extension.run(scope)).await
    }

    async fn run<P, F>(
        &self,
        entry: &Entry<P>,
        sink: Sink,
        begin: impl FnOnce(crate::Scope) -> F,
    ) -> Result<Running, ComponentError>
    where
        P: Product + ?Sized,
        F: Future<Output = Result<(), ComponentError>> + Send + 'static,
    {
        let (ready, scope) = self.scope_with_ready(P::KIND, entry.component_type);
        let running = Running { harness: self.clone(), sink, task: tokio::spawn(begin(scope)) };
        let Ok(result) = timeout(SOON, started(ready, running)).await else {
            panic!("{} has not said within {SOON:?} that it is ready", entry.component_type);
        };
        result
    }
}

async fn started(ready: CancellationToken, mut running: Running) -> Result<Running, ComponentError> {
    tokio::select! {
        biased;
        () = ready.cancelled() => Ok(running),
        ended = &mut running.task => match ended {
            Ok(Ok(())) => panic!("it ended before it was ready, and without an error"),
            Ok(Err(error)) => Err(error),
            Err(error) => panic!("it was broken off: {error}"),
        },
    }
}

impl Running {
    /// Tells it to stop, and waits until it has: what is in flight may end by itself.
    ///
    /// # Panics
    /// Where it goes on for more than ten seconds of the test's clock.
    pub async fn stop(self) -> Result<(), ComponentError> {
        self.harness.stopping.cancel();
        self.ended("told to stop").await
    }

    /// Tells it to stop and to drop what is in flight, as at the deadline of a shutdown.
    ///
    /// # Panics
    /// Where it goes on for more than ten seconds of the test's clock.
    pub async fn abandon(self) -> Result<(), ComponentError> {
        self.harness.stopping.cancel();
        self.harness.abandoned.cancel();
        self.ended("told to drop what is in flight").await
    }

    /// Whether it has ended by itself.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    async fn ended(mut self, told: &str) -> Result<(), ComponentError> {
        let Ok(ended) = timeout(SOON, &mut self.task).await else {
            panic!("it was {told}, and goes on after {SOON:?}");
        };
        ended.unwrap_or_else(|error| panic!("it was {told}, and was broken off: {error}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
