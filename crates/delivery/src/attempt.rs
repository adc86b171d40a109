use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use minicol_pdata::Batch;
use minicol_plugin::{Delivered, ExportError, Retry, text};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{backoff::Waits, delivery::Shared, lane::Lane, ledger::Settlement};

/// How a batch ended, and why, for a person.
pub(crate) struct Outcome {
    pub(crate) settlement: Settlement,
    pub(crate) why: String,
    /// Whether offering the batch again may help its sender.
    pub(crate) retry: Retry,
}

/// The longest wait that a timer is set for; a retry later than that is as good as never.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Shared {
    /// Delivers one batch, with its retries, until it is settled or the shutdown abandons it.
    pub(crate) async fn deliver(&self, lane: &Lane, batch: &Batch) -> Outcome {
        tokio::select! {
            biased;
            () = self.abandon.cancelled() => Outcome::dropped("the program ended while they were on their way"),
            outcome = self.try_until_settled(lane, batch) => outcome,
        }
    }

    async fn try_until_settled(&self, lane: &Lane, batch: &Batch) -> Outcome {
        let retry = &self.config.retry_on_failure;
        let mut waits = Waits::new(retry, self.scope.random().clone());
        let began = Instant::now();
        loop {
            let error = match self.attempt(lane, batch.clone()).await {
                Ok(delivered) => {
                    self.health.attempt_succeeded();
                    return self.sent(delivered);
                }
                Err(error) => error,
            };
            self.health.attempt_failed(&error);
            let asked = match error.retry {
                Retry::Never => return Outcome::failed(error.error_type.clone(), &error),
                Retry::Backoff => None,
                Retry::After(asked) => Some(asked),
            };
            if !retry.enabled {
                return Outcome::failed(error.error_type.clone(), &error);
            }
            let wait = waits.next(asked);
            let longest = retry.max_elapsed_time.0;
            if !longest.is_zero() && began.elapsed().saturating_add(wait) > longest {
                return Outcome::failed("max_elapsed_time".to_owned(), &error);
            }
            if !self.pause(wait, asked.is_some()).await {
                return Outcome::dropped(&format!(
                    "the next attempt would come after the shutdown's deadline; the last said: {error}"
                ));
            }
        }
    }

    fn sent(&self, delivered: Delivered) -> Outcome {
        let message = text::foreign(&delivered.message.unwrap_or_default());
        if delivered.rejected == 0 && !message.is_empty() {
            self.health.warned(&message);
        }
        let why = if message.is_empty() { "the far end refused them and gave no reason".to_owned() } else { message };
        Outcome { settlement: Settlement::Sent { rejected: delivered.rejected }, why, retry: Retry::Never }
    }

    /// One attempt: within the timeout, and a panic is an error.
    async fn attempt(&self, lane: &Lane, batch: Batch) -> Result<Delivered, ExportError> {
        let began = self.scope.clock().monotonic();
        let limit = self.config.timeout.0;
        let guarded = AssertUnwindSafe(async { self.exporter.export(batch).await }).catch_unwind();
        let caught = if limit.is_zero() { Ok(guarded.await) } else { timeout(limit, guarded).await };
        let result = match caught {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(ExportError::permanent(
                "panic",
                format!("the exporter panicked, which is a bug in minicol: {}", panic_text(panic.as_ref())),
            )),
            Err(_) => Err(ExportError::retryable(
                "timeout",
                format!("no answer within {} (the exporter's `timeout`)", self.config.timeout),
            )),
        };
        let took = self.scope.clock().monotonic().saturating_sub(began);
        lane.meters.attempt(took.as_secs_f64(), result.as_ref().err().map(|error| error.error_type.as_str()));
        result
    }

    /// Waits for a retry; false where, in a shutdown, it would come after the deadline. A shutdown that begins meanwhile cuts a wait of our own
    /// choosing short: the far end may be back, and this is the last chance. One that the far end `asked` for is kept.
    async fn pause(&self, wait: Duration, asked: bool) -> bool {
        let until = Instant::now() + wait.min(FAR);
        let already_draining = self.draining.is_cancelled();
        tokio::select! {
            biased;
            () = self.draining.cancelled() => {
                if !already_draining && !asked {
                    return true;
                }
                if self.deadline.get().is_some_and(|deadline| until > *deadline) {
                    return false;
                }
                sleep_until(until).await;
                true
            }
            () = sleep_until(until) => true,
        }
    }
}

impl Outcome {
    fn failed(reason: String, error: &ExportError) -> Self {
        Self { settlement: Settlement::Failed { reason }, why: error.message.clone(), retry: error.retry }
    }

    fn dropped(why: &str) -> Self {
        Self { settlement: Settlement::Dropped, why: why.to_owned(), retry: Retry::Backoff }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text::foreign(said.unwrap_or("it said nothing"))
}
