use std::sync::{Arc, atomic::AtomicUsize};

use futures::future::join_all;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{Rejected, Scope, storage::Storage};

use crate::{
    DeliveryConfig,
    health::Health,
    ledger::{Ledger, PARTIAL_SUCCESS, SHUTDOWN, Settlement},
    memory::Memory,
    meters::Meters,
    queue::{Lost, Place, Queue, Refusal},
    stored::{DAMAGED, Stored},
};

/// One signal on its way through one exporter: its queue, its books, its instruments. A full queue of one signal leaves the others alone.
pub(crate) struct Lane {
    pub(crate) signal: Signal,
    pub(crate) queue: Option<Queue>,
    /// How many take out of the queue.
    pub(crate) consumers: AtomicUsize,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) meters: Meters,
}

impl Lane {
    /// With a storage its queue is there, but for observations: they exist in this process only.
    pub(crate) fn new(
        signal: Signal,
        config: &DeliveryConfig,
        scope: &Scope,
        storage: Option<&Arc<dyn Storage>>,
    ) -> Self {
        let ledger = Arc::<Ledger>::default();
        let meters = Meters::new(scope.meter(), &scope.id().to_string(), signal);
        let settings = &config.sending_queue;
        let queue = settings.enabled.then(|| match storage.filter(|_| signal != Signal::Observations) {
            None => Queue::Memory(Memory::new(settings)),
            Some(storage) => {
                let store = storage.queue(&format!("{}/{signal}", scope.id()));
                Queue::Stored(Arc::new(Stored::new(store, signal, settings, Arc::clone(&ledger))))
            }
        });
        if let Some(queue) = &queue {
            meters.queue_capacity(queue.capacity());
            queue.tell_size(|size| meters.queue_size(size));
        }
        Self { signal, queue, consumers: AtomicUsize::new(0), ledger, meters }
    }

    /// Puts a batch into the queue.
    pub(crate) async fn enqueue(&self, queue: &Queue, batch: Batch, health: &Health) -> Result<(), Rejected> {
        let items = batch.items() as u64;
        let taken = match queue {
            Queue::Memory(queue) => queue.push(batch, || self.ledger.accept(items)).await,
            Queue::Stored(queue) => queue.push(&batch).await,
        };
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
            Settlement::Dropped if self.ledger.keeps() => {}
            Settlement::Dropped => self.lose(items, SHUTDOWN, why, health),
        }
    }

    /// Closes the books; how many items that left.
    pub(crate) fn close_books(&self, why: &str, health: &Health) -> u64 {
        let left = self.ledger.close();
        if !self.ledger.keeps() && left > 0 {
            self.lose(left, SHUTDOWN, why, health);
        }
        left
    }

    /// The last word on what is kept, once nobody works at the queue any more: what the storage lost meanwhile is lost.
    pub(crate) fn reckon(&self, health: &Health) {
        if let Some(Queue::Stored(queue)) = &self.queue {
            let (kept, gone) = self.ledger.reckon(queue.items(), DAMAGED);
            if gone > 0 {
                let why = "the storage lost them to a damage while they waited or were on their way";
                self.lose(gone, DAMAGED, why, health);
            }
            health.kept(self.signal, kept);
        }
    }

    /// Books what a queue had and can no longer give.
    pub(crate) fn settle_lost(&self, queue: &Queue, lost: &Lost, health: &Health) {
        let how = Settlement::Failed { reason: lost.reason.to_owned() };
        self.settle(lost.items, &how, &lost.why, health);
        queue.tell_size(|size| self.meters.queue_size(size));
    }

    /// Gives the places back of what was delivered together; of what `rest` holds, the next life is to deliver it.
    pub(crate) async fn release(&self, queue: &Queue, places: Vec<Place>, rest: Option<Rest>) {
        let mut done = places.into_iter();
        match (queue, rest) {
            // Every record is as it was.
            (Queue::Stored(_), Some(Rest::Whole)) => return,
            // It takes the place of the first that is there: a storage may have lost some. Where that fails, or the others are not gone before the
            // end, they are delivered again, not lost.
            (Queue::Stored(queue), Some(Rest::Part(rest))) => {
                while let Some(Place::Stored { id, .. }) = done.next() {
                    match queue.keep(id, &rest).await {
                        Ok(false) => {}
                        Ok(true) => break,
                        Err(_) => return,
                    }
                }
            }
            _ => {}
        }
        join_all(done.map(|place| self.give_back(queue, place))).await;
    }

    async fn give_back(&self, queue: &Queue, place: Place) {
        let tell = |size| self.meters.queue_size(size);
        match (queue, place) {
            (Queue::Memory(queue), Place::Memory(room)) => queue.release(room, tell),
            (Queue::Stored(queue), Place::Stored { id, size }) if queue.remove(id).await => queue.release(size, tell),
            _ => {}
        }
    }

    fn lose(&self, items: u64, reason: &str, why: &str, health: &Health) {
        self.meters.lost(items, reason);
        health.lost(self.signal, items, reason, why);
    }
}

/// What the end of the program left of a batch.
pub(crate) enum Rest {
    /// All of it.
    Whole,
    /// The other items have ended, sent or lost.
    Part(Batch),
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
        Refusal::StorageFull(why) => Rejected::retryable("storage_full", why),
        Refusal::StorageTooLarge(why) => Rejected::permanent("too_large", why),
        Refusal::StorageFailed(why) => Rejected::retryable("storage_failed", why),
        Refusal::Closed => stopping(),
    }
}
