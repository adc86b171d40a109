//! The life of a component that runs: a receiver, an extension.

use std::{any::Any, error::Error, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use minicol_plugin::{ComponentError, Status, StopReason, config::GoDuration, text};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{deadline::Deadline, workshop::Governed};

/// An instance of a component in a task of its own. Dropping it aborts the task.
pub(crate) struct Life {
    pub(crate) governed: Governed,
    task: AbortOnDropHandle<Result<(), String>>,
}

/// What a component that was told to drop everything gets to do so.
const GRACE: Duration = Duration::from_millis(250);

impl Life {
    /// Spawns `run`. An end that nobody asked for is reported as the component's status.
    pub(crate) fn begin(
        governed: &Governed,
        run: impl Future<Output = Result<(), ComponentError>> + Send + 'static,
    ) -> Self {
        let (stopping, voice) = (governed.stopping.clone(), governed.voice.clone());
        let task = tokio::spawn(async move {
            let (end, panicked) = match AssertUnwindSafe(run).catch_unwind().await {
                Ok(end) => (end.map_err(|error| with_causes(&error)), false),
                Err(panic) => (Err(panic_message(panic.as_ref())), true),
            };
            match &end {
                // A bug is told whenever it shows.
                Err(why) if panicked || !stopping.is_cancelled() => voice.report(Status::PermanentError, why),
                Ok(()) if !stopping.is_cancelled() => voice.report(Status::Stopped, "ended by itself"),
                _ => {}
            }
            end
        });
        Self { governed: governed.clone(), task: AbortOnDropHandle::new(task) }
    }

    /// Whether it has ended, which nobody asked for if nobody did.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until the component has started.
    pub(crate) async fn started(&mut self, within: Duration) -> Result<(), String> {
        tokio::select! {
            biased;
            () = self.governed.ready.cancelled() => Ok(()),
            end = &mut self.task => end.unwrap_or_else(|error| Err(error.to_string())),
            () = sleep(within) => Err(format!("did not become ready within {}", GoDuration(within))),
        }
    }

    /// Tells the component to stop, waits for it until `deadline`, then tells it to drop what it does, then aborts it.
    pub(crate) async fn stop(mut self, reason: StopReason, deadline: Deadline) -> Result<(), String> {
        let voice = self.governed.voice.clone();
        if self.task.is_finished() {
            // How it ended has been told when it did.
            return Ok(());
        }
        voice.report(Status::Stopping, "");
        self.governed.tell_to_stop(reason);
        let end = tokio::select! {
            biased;
            end = &mut self.task => end,
            () = deadline.passed() => {
                self.governed.abandoned.cancel();
                match timeout(GRACE, &mut self.task).await {
                    Ok(end) => end,
                    Err(_) => Ok(Err("did not stop in time and was aborted".to_owned())),
                }
            }
        };
        let end = end.unwrap_or_else(|error| Err(error.to_string()));
        let told = end.as_ref().err().cloned().unwrap_or_default();
        voice.report(Status::Stopped, told);
        let scope = &self.governed.scope;
        end.map_err(|why| format!("{} `{}` {why}", scope.kind(), scope.id()))
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
