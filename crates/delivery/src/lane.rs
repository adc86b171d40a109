use minicol_pdata::{Batch, Signal};
use minicol_plugin::{Rejected, Scope};

use crate::{
    DeliveryConfig,
    health::Health,
    ledger::{Ledger, PARTIAL_SUCCESS, SHUTDOWN, Settlement},
    meters::Meters,
    queue::{Queue, Queued, Refusal},
};

/// One signal on its way through one exporter: its queue, its books, its instruments. A full queue of one signal leaves the others alone.
pub(crate) struct Lane {
    pub(crate) signal: Signal,
    pub(crate) queue: Option<Queue>,
    pub(crate) ledger: Ledger,
    pub(crate) meters: Meters,
}

impl Lane {
    pub(crate) fn new(signal: Signal, config: &DeliveryConfig, scope: &Scope) -> Self {
        let meters = Meters::new(scope.meter(), &scope.id().to_string(), signal);
        let queue = config.sending_queue.enabled.then(|| Queue::new(&config.sending_queue));
        if let Some(queue) = &queue {
            meters.queue_capacity(queue.capacity());
            queue.tell_size(|size| meters.queue_size(size));
        }
        Self { signal, queue, ledger: Ledger::default(), meters }
    }

    /// Puts a batch into the queue.
    pub(crate) async fn enqueue(&self, queue: &Queue, batch: Batch, health: &Health) -> Result<(), Rejected> {
        let items = batch.items() as u64;
        let taken = queue.push(batch, || self.ledger.accept(items)).await;
        queue.tell_size(|size| self.meters.queue_size(size));
        match taken {
            Ok(waited) => {
                if waited {
                    self.meters.waited();
                }
                Ok(())
            }
            Err(refusal) => {
                let rejected = rejected(refusal, queue);
                self.refuse(items, &rejected, health);
                Err(rejected)
            }
        }
    }

    /// Counts and tells that a batch was not taken.
    pub(crate) fn refuse(&self, items: u64, rejected: &Rejected, health: &Health) {
        self.ledger.refuse(items, rejected.reason);
        self.meters.refused(items);
        health.refused(self.signal, items, rejected.reason, &rejected.message);
    }

    /// Counts and tells that a batch was tried while its sender waited, and not delivered.
    pub(crate) fn hand_back(&self, items: u64, rejected: &Rejected, health: &Health) {
        self.ledger.refuse(items, rejected.reason);
        self.meters.send_failed(items);
        health.refused(self.signal, items, rejected.reason, &rejected.message);
    }

    /// Counts how a batch ended, unless the closing of the books did; then tells what was lost and why.
    pub(crate) fn settle(&self, items: u64, how: &Settlement, why: &str, health: &Health) {
        if !self.ledger.settle(items, how) {
            return;
        }
        match how {
            Settlement::Sent { rejected } => {
                let rejected = items.min(*rejected);
                self.meters.sent(items - rejected);
                if rejected > 0 {
                    self.lose(rejected, PARTIAL_SUCCESS, why, health);
                }
            }
            Settlement::Failed { reason } => self.lose(items, reason, why, health),
            Settlement::Dropped => self.lose(items, SHUTDOWN, why, health),
        }
    }

    /// Closes the books; how many items that made lost.
    pub(crate) fn close_books(&self, why: &str, health: &Health) -> u64 {
        let left = self.ledger.close();
        if left > 0 {
            self.lose(left, SHUTDOWN, why, health);
        }
        left
    }

    /// Gives the room of a settled batch back.
    pub(crate) fn release(&self, queue: &Queue, done: Queued) {
        queue.release(done, |size| self.meters.queue_size(size));
    }

    fn lose(&self, items: u64, reason: &str, why: &str, health: &Health) {
        self.meters.lost(items, reason);
        health.lost(self.signal, items, reason, why);
    }
}

/// A batch that comes when the program is stopping.
pub(crate) fn stopping() -> Rejected {
    Rejected::retryable(SHUTDOWN, "the exporter is stopping")
}

fn rejected(refusal: Refusal, queue: &Queue) -> Rejected {
    let (capacity, sizer) = (queue.capacity(), queue.sizer());
    match refusal {
        Refusal::Full => Rejected::retryable(
            "queue_full",
            format!(
                "the sending queue is full ({capacity} {sizer}): the far end is down or too slow, or raise sending_queue.queue_size"
            ),
        ),
        Refusal::TooLarge(size) => Rejected::permanent(
            "too_large",
            format!(
                "a batch of {size} {sizer} never fits the sending queue ({capacity}): raise sending_queue.queue_size"
            ),
        ),
        Refusal::Closed => stopping(),
    }
}
