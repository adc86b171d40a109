use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use minicol_plugin::{CancellationToken, ComponentError, Exporter, Scope};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::{DeliveryConfig, attempt::panic_text, delivery::Shared};

/// One exporter and how batches are delivered through it. A delivery has one at a time.
pub(crate) struct Current {
    pub(crate) exporter: Arc<dyn Exporter>,
    pub(crate) config: DeliveryConfig,
    pub(crate) scope: Scope,
    /// Attempts in flight.
    attempts: TaskTracker,
    /// Cancelled when another has taken its place.
    pub(crate) superseded: CancellationToken,
}

/// An exporter that another has taken the place of.
#[must_use = "it holds connections until it is ended"]
pub struct Predecessor(pub(crate) Arc<Current>);

impl Current {
    pub(crate) fn new(exporter: Arc<dyn Exporter>, config: DeliveryConfig, scope: Scope) -> Self {
        Self { exporter, config, scope, attempts: TaskTracker::new(), superseded: CancellationToken::new() }
    }

    /// Even after the deadline the exporter gets one chance to do what needs no waiting.
    pub(crate) async fn shut_down(&self, deadline: Instant) -> Result<(), ComponentError> {
        let shutdown = AssertUnwindSafe(async { self.exporter.shutdown().await }).catch_unwind();
        match timeout_at(deadline, shutdown).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(ComponentError::new(format!("it panicked: {}", panic_text(panic.as_ref())))),
            Err(_) => Err(ComponentError::new("it did not shut down before the deadline")),
        }
    }
}

impl Shared {
    /// What an attempt goes through. Its exporter is not shut down before the token is dropped.
    pub(crate) fn in_use(&self) -> (Arc<Current>, TaskTrackerToken) {
        loop {
            let current = self.current.load_full();
            let attempt = current.attempts.token();
            // Whoever took its place before the token was there does not wait for it.
            if Arc::ptr_eq(&current, &self.current.load()) {
                return (current, attempt);
            }
        }
    }
}

impl Predecessor {
    /// Waits for the attempts in flight, until `deadline` at most, then shuts the exporter down.
    pub async fn end(self, deadline: Instant) -> Result<(), ComponentError> {
        let Self(current) = self;
        current.attempts.close();
        let _ = timeout_at(deadline, current.attempts.wait()).await;
        current.shut_down(deadline).await
    }
}

impl std::fmt::Debug for Predecessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Predecessor({})", self.0.scope.id())
    }
}
