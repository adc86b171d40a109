//! The life of a component that runs: a receiver, an extension.

use std::{any::Any, error::Error, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use minicol_plugin::{CancellationToken, ComponentError, ComponentId, ComponentKind, Status, config::GoDuration, text};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::{events::Events, workshop::Governed};

/// A component in a task of its own. Dropping it aborts the task.
pub(crate) struct Life {
    kind: ComponentKind,
    id: ComponentId,
    events: Arc<Events>,
    stopping: CancellationToken,
    abandoned: CancellationToken,
    ready: CancellationToken,
    task: AbortOnDropHandle<Result<(), String>>,
}

/// What a component that was told to drop everything gets to do so.
const GRACE: Duration = Duration::from_millis(250);

impl Life {
    /// Spawns `run`. An end that nobody asked for is reported as the component's status.
    pub(crate) fn begin(
        governed: &Governed,
        events: &Arc<Events>,
        run: impl Future<Output = Result<(), ComponentError>> + Send + 'static,
    ) -> Self {
        let (kind, id) = (governed.scope.kind(), governed.scope.id().clone());
        let (stopping, hub, own_id) = (governed.stopping.clone(), Arc::clone(events), id.clone());
        let task = tokio::spawn(async move {
            let (end, panicked) = match AssertUnwindSafe(run).catch_unwind().await {
                Ok(end) => (end.map_err(|error| with_causes(&error)), false),
                Err(panic) => (Err(panic_message(panic.as_ref())), true),
            };
            match &end {
                // A bug is told whenever it shows.
                Err(why) if panicked || !stopping.is_cancelled() => {
                    hub.report(kind, &own_id, Status::PermanentError, why);
                }
                Ok(()) if !stopping.is_cancelled() => hub.report(kind, &own_id, Status::Stopped, "ended by itself"),
                _ => {}
            }
            end
        });
        Self {
            kind,
            id,
            events: Arc::clone(events),
            stopping: governed.stopping.clone(),
            abandoned: governed.abandoned.clone(),
            ready: governed.ready.clone(),
            task: AbortOnDropHandle::new(task),
        }
    }

    pub(crate) fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Waits until the component has started.
    pub(crate) async fn started(&mut self, within: Duration) -> Result<(), String> {
        tokio::select! {
            biased;
            () = self.ready.cancelled() => {}
            end = &mut self.task => return end.unwrap_or_else(|error| Err(error.to_string())),
            () = sleep(within) => return Err(format!("did not become ready within {}", GoDuration(within))),
        }
        // It may have told already how it is.
        if self.events.status(self.kind, &self.id).is_none_or(|now| now.status == Status::Starting) {
            self.events.report(self.kind, &self.id, Status::Ok, "");
        }
        Ok(())
    }

    /// Tells the component to stop, waits for it until `until`, then tells it to drop what it does, then aborts it.
    pub(crate) async fn stop(mut self, until: Instant) -> Result<(), String> {
        if self.task.is_finished() {
            // How it ended has been told when it did.
            return Ok(());
        }
        self.events.report(self.kind, &self.id, Status::Stopping, "");
        self.stopping.cancel();
        let end = if let Ok(end) = timeout_at(until, &mut self.task).await {
            end
        } else {
            self.abandoned.cancel();
            match timeout(GRACE, &mut self.task).await {
                Ok(end) => end,
                Err(_) => Ok(Err("did not stop in time and was aborted".to_owned())),
            }
        };
        let end = end.unwrap_or_else(|error| Err(error.to_string()));
        let told = end.as_ref().err().cloned().unwrap_or_default();
        self.events.report(self.kind, &self.id, Status::Stopped, told);
        end.map_err(|why| format!("{} `{}` {why}", self.kind, self.id))
    }
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

/// What a panic said, for a person.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked, which is a bug: {}", text::foreign(said.unwrap_or("without a message")))
}
