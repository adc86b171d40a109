use std::{any::Any, collections::VecDeque, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use minicol_pdata::Batch;
use minicol_plugin::{Delivered, ExportError, Retry, text};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{backoff::Waits, current::Current, delivery::Shared, lane::Lane, ledger::Settlement};

/// How a batch, or a part of one, ended, and why, for a person.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) settlement: Settlement,
    pub(crate) why: String,
    /// Whether offering the batch again may help its sender.
    pub(crate) retry: Retry,
    /// The time for retries is over, for all of the batch.
    out_of_time: bool,
    /// What of it has not ended.
    rest: Vec<Batch>,
}

/// What is not settled of a batch in delivery. It begins as the whole batch; an exporter may deliver it in parts.
pub(crate) struct Unsettled {
    parts: VecDeque<Batch>,
    /// The far end has some of it.
    arrived: bool,
    /// Some of it has ended, and is in the books as sent or lost.
    begun: bool,
    /// Its sender waits, and nothing of it is taken on before it has arrived: what is lost is booked when that is known.
    waited_for: bool,
    lost: Vec<(u64, Outcome)>,
    /// What the shutdown left of it.
    left: Vec<Batch>,
}

/// The longest wait that a timer is set for; a retry later than that is as good as never.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Shared {
    /// Delivers one batch, with its retries, until all of it is settled and booked, or the shutdown abandons it. How its last part ended.
    pub(crate) async fn deliver(&self, lane: &Lane, batch: &mut Unsettled) -> Outcome {
        tokio::select! {
            biased;
            () = self.abandon.cancelled() => {
                let left = batch.give_up();
                self.settle(lane, batch, left, Outcome::dropped("the program ended while they were on their way"))
            }
            outcome = self.deliver_parts(lane, batch) => outcome,
        }
    }

    /// Each part has attempts of its own, and is booked when it is settled. The time for retries is the batch's.
    async fn deliver_parts(&self, lane: &Lane, batch: &mut Unsettled) -> Outcome {
        let began = Instant::now();
        loop {
            let Some(part) = batch.parts.front() else { return Outcome::nothing() };
            let mut outcome = self.try_until_settled(lane, part, began).await;
            let rest = std::mem::take(&mut outcome.rest);
            let settled = match outcome.settlement {
                // The other parts would come too late as well.
                Settlement::Dropped => batch.give_up(),
                Settlement::Failed { .. } if outcome.out_of_time => batch.take(),
                Settlement::Failed { .. } | Settlement::Sent { .. } => batch.settle_first(rest),
            };
            batch.arrived |= settled > 0 && matches!(outcome.settlement, Settlement::Sent { .. });
            batch.begun |= settled > 0 && !matches!(outcome.settlement, Settlement::Dropped);
            let outcome = self.settle(lane, batch, settled, outcome);
            if batch.parts.is_empty() {
                return outcome;
            }
        }
    }

    /// Books how a part ended, or keeps it until it is known whether that is a loss.
    fn settle(&self, lane: &Lane, batch: &mut Unsettled, items: u64, outcome: Outcome) -> Outcome {
        match outcome.settlement {
            Settlement::Sent { .. } if batch.waited_for => self.book(lane, items, &outcome),
            Settlement::Failed { .. } | Settlement::Dropped if batch.waited_for => {
                batch.lost.push((items, outcome.clone()));
            }
            _ => lane.settle(items, &outcome.settlement, &outcome.why, &self.health),
        }
        outcome
    }

    /// Takes a part on that its sender waited for, and books how it ended.
    pub(crate) fn book(&self, lane: &Lane, items: u64, outcome: &Outcome) {
        lane.ledger.accept(items);
        lane.settle(items, &outcome.settlement, &outcome.why, &self.health);
    }

    async fn try_until_settled(&self, lane: &Lane, batch: &Batch, began: Instant) -> Outcome {
        let mut waits: Option<(Waits, Arc<Current>)> = None;
        loop {
            let (result, through) = self.attempt(lane, batch.clone()).await;
            let error = match result {
                Ok(delivered) if gets_nowhere(batch, &delivered.rest) => {
                    return Outcome::failed("no_progress".to_owned(), &stuck());
                }
                Ok(delivered) => {
                    if items(&delivered.rest) < batch.items() as u64 {
                        self.health.attempt_succeeded();
                    }
                    return self.sent(delivered);
                }
                Err(error) => error,
            };
            if !through.superseded.is_cancelled() {
                self.health.attempt_failed(&error);
            }
            let asked = match error.retry {
                Retry::Never => return Outcome::failed(error.error_type.clone(), &error),
                Retry::Backoff => None,
                Retry::After(asked) => Some(asked),
            };
            let retry = &through.config.retry_on_failure;
            if !retry.enabled {
                return Outcome::failed(error.error_type.clone(), &error);
            }
            let (waits, _) = match &mut waits {
                Some(pair) if Arc::ptr_eq(&pair.1, &through) => pair,
                none => none.insert((Waits::new(retry, through.scope.random().clone()), Arc::clone(&through))),
            };
            let wait = waits.next(asked);
            let longest = retry.max_elapsed_time.0;
            if !longest.is_zero() && began.elapsed().saturating_add(wait) > longest {
                return Outcome { out_of_time: true, ..Outcome::failed("max_elapsed_time".to_owned(), &error) };
            }
            if !self.pause(wait, asked.is_some(), &through).await {
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
        let settlement = Settlement::Sent { rejected: delivered.rejected };
        Outcome { settlement, why, rest: delivered.rest, ..Outcome::nothing() }
    }

    /// One attempt: within the timeout, and a panic is an error. With what it went through.
    async fn attempt(&self, lane: &Lane, batch: Batch) -> (Result<Delivered, ExportError>, Arc<Current>) {
        let (through, _in_use) = self.in_use();
        let began = through.scope.clock().monotonic();
        let configured = through.config.timeout_of(lane.signal);
        let limit = configured.0;
        let guarded = AssertUnwindSafe(async { through.exporter.export(batch).await }).catch_unwind();
        let caught = if limit.is_zero() { Ok(guarded.await) } else { timeout(limit, guarded).await };
        let result = match caught {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(ExportError::permanent(
                "panic",
                format!("the exporter panicked, which is a bug in minicol: {}", panic_text(panic.as_ref())),
            )),
            Err(_) => Err(ExportError::retryable(
                "timeout",
                format!("no answer within {configured} (the exporter's `timeout`)"),
            )),
        };
        let took = through.scope.clock().monotonic().saturating_sub(began);
        lane.meters.attempt(took.as_secs_f64(), result.as_ref().err().map(|error| error.error_type.as_str()));
        (result, through)
    }

    /// Waits for a retry; false where, in a shutdown, it would come after the deadline. A shutdown that begins meanwhile cuts a wait of our own
    /// choosing short: the far end may be back, and this is the last chance. One that the far end `asked` for is kept. Where another exporter
    /// took the place of the one that failed, there is nothing to wait for.
    async fn pause(&self, wait: Duration, asked: bool, through: &Current) -> bool {
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
            () = through.superseded.cancelled() => true,
            () = sleep_until(until) => true,
        }
    }
}

impl Outcome {
    fn failed(reason: String, error: &ExportError) -> Self {
        let settlement = Settlement::Failed { reason };
        Self { settlement, why: error.message.clone(), retry: error.retry, ..Self::nothing() }
    }

    fn dropped(why: &str) -> Self {
        Self { settlement: Settlement::Dropped, why: why.to_owned(), retry: Retry::Backoff, ..Self::nothing() }
    }

    fn nothing() -> Self {
        let settlement = Settlement::Sent { rejected: 0 };
        Self { settlement, why: String::new(), retry: Retry::Never, out_of_time: false, rest: Vec::new() }
    }
}

impl Unsettled {
    /// One that was taken on, and is delivered in these parts, each with attempts of its own.
    pub(crate) fn in_parts(parts: VecDeque<Batch>) -> Self {
        Self { parts, arrived: false, begun: false, waited_for: false, lost: Vec::new(), left: Vec::new() }
    }

    /// One that was taken on.
    pub(crate) fn queued(batch: Batch) -> Self {
        Self::in_parts([batch].into())
    }

    /// One whose sender waits.
    pub(crate) fn waited_for(batch: Batch) -> Self {
        Self { waited_for: true, ..Self::queued(batch) }
    }

    /// Whether the far end has some of it.
    pub(crate) fn arrived(&self) -> bool {
        self.arrived
    }

    /// Whether some of it has ended, sent or lost.
    pub(crate) fn begun(&self) -> bool {
        self.begun
    }

    /// What ended otherwise, and is not booked.
    pub(crate) fn take_lost(&mut self) -> Vec<(u64, Outcome)> {
        std::mem::take(&mut self.lost)
    }

    /// What the shutdown left of it, as one batch.
    pub(crate) fn take_left(&mut self) -> Option<Batch> {
        self.left.drain(..).reduce(Batch::joined)
    }

    /// Nothing of it is tried any more; how many items that leaves.
    fn give_up(&mut self) -> u64 {
        let items = self.parts.iter().map(|part| part.items() as u64).sum();
        self.left.extend(self.parts.drain(..));
        items
    }

    /// How many items that is; nothing is left.
    pub(crate) fn take(&mut self) -> u64 {
        self.parts.drain(..).map(|part| part.items() as u64).sum()
    }

    /// The first part is settled but for `rest`; how many items that settles.
    fn settle_first(&mut self, rest: Vec<Batch>) -> u64 {
        let settled = self.parts.pop_front().map_or(0, |part| part.items() as u64);
        let left = items(&rest);
        rest.into_iter().rev().filter(|part| !part.is_empty()).for_each(|part| self.parts.push_front(part));
        settled.saturating_sub(left)
    }
}

fn items(parts: &[Batch]) -> u64 {
    parts.iter().map(|part| part.items() as u64).sum()
}

/// Whether what is left is no smaller: then there would be no end.
fn gets_nowhere(batch: &Batch, rest: &[Batch]) -> bool {
    let (all, left) = (batch.items() as u64, items(rest));
    left > all || (left == all && rest.iter().filter(|part| !part.is_empty()).count() < 2)
}

fn stuck() -> ExportError {
    ExportError::permanent("no_progress", "the exporter delivered nothing and did not fail, which is a bug in minicol")
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text::foreign(said.unwrap_or("it said nothing"))
}
