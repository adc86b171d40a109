use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use minicol_pdata::Batch;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::{
    QueueConfig, Sizer,
    queue::{Place, Queued, Refusal, size_of},
};

/// A queue in memory, bounded by what its sizer counts. What was taken out keeps its room until it is dropped, so that the bound holds
/// for everything in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    sizer: Sizer,
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    resized: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    capacity: usize,
    block: bool,
    /// Room that is taken beyond the capacity, since that was lowered: it does not come back.
    excess: usize,
    batches: VecDeque<Queued>,
    closed: bool,
}

impl Memory {
    pub(crate) fn new(config: &QueueConfig) -> Self {
        let waiting = Waiting { capacity: config.queue_size, block: config.block_on_overflow, ..Waiting::default() };
        Self {
            sizer: config.sizer,
            room: Arc::new(Semaphore::new(config.queue_size)),
            waiting: Mutex::new(waiting),
            arrived: Notify::new(),
            resized: Notify::new(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.waiting().capacity
    }

    pub(crate) fn resize(&self, config: &QueueConfig) {
        let mut waiting = self.waiting();
        let (before, after) = (waiting.capacity, config.queue_size);
        if after > before {
            let made_good = waiting.excess.min(after - before);
            waiting.excess -= made_good;
            self.room.add_permits(after - before - made_good);
        } else {
            waiting.excess += before - after - self.room.forget_permits(before - after);
        }
        (waiting.capacity, waiting.block) = (after, config.block_on_overflow);
        drop(waiting);
        self.resized.notify_waiters();
    }

    pub(crate) fn sizer(&self) -> Sizer {
        self.sizer
    }

    /// Takes a batch, after waiting for room where the configuration says so; true where it had to wait. `book` runs when it is in, before
    /// anybody can take it out.
    pub(crate) async fn push(&self, batch: Batch, book: impl FnOnce()) -> Result<bool, Refusal> {
        let size = size_of(self.sizer, &batch);
        let weight = u32::try_from(size).map_err(|_| Refusal::TooLarge(size))?;
        let mut waited = false;
        let room = loop {
            let mut resized = std::pin::pin!(self.resized.notified());
            resized.as_mut().enable();
            let (capacity, block) = {
                let waiting = self.waiting();
                (waiting.capacity, waiting.block)
            };
            if size > capacity {
                return Err(Refusal::TooLarge(size));
            }
            match Arc::clone(&self.room).try_acquire_many_owned(weight) {
                Ok(room) => break room,
                Err(TryAcquireError::Closed) => return Err(Refusal::Closed),
                Err(TryAcquireError::NoPermits) if !block => return Err(Refusal::Full),
                Err(TryAcquireError::NoPermits) => waited = true,
            }
            tokio::select! {
                biased;
                room = Arc::clone(&self.room).acquire_many_owned(weight) => break room.map_err(|_| Refusal::Closed)?,
                () = resized => {}
            }
        };
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(Refusal::Closed);
        }
        book();
        waiting.batches.push_back(Queued { batch, place: Place::Memory(room) });
        drop(waiting);
        self.arrived.notify_one();
        Ok(waited)
    }

    /// The oldest batch, after waiting for one; `None` when the queue is closed and empty.
    pub(crate) async fn pop(&self) -> Option<Queued> {
        loop {
            {
                let mut waiting = self.waiting();
                if let Some(oldest) = waiting.batches.pop_front() {
                    // One notification may stand for several batches: pass it on.
                    if !waiting.batches.is_empty() {
                        self.arrived.notify_one();
                    }
                    return Some(oldest);
                }
                if waiting.closed {
                    // The next waiting consumer shall see it, too.
                    self.arrived.notify_one();
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Gives a batch's room back, then tells how full the queue is while nobody else can.
    pub(crate) fn release(&self, mut room: OwnedSemaphorePermit, tell: impl FnOnce(usize)) {
        let mut waiting = self.waiting();
        let excess = waiting.excess.min(room.num_permits());
        if let Some(excess) = room.split(excess) {
            waiting.excess -= excess.num_permits();
            excess.forget();
        }
        drop(room);
        tell(self.size(&waiting));
        drop(waiting);
    }

    /// Tells how full the queue is while nobody else can.
    pub(crate) fn tell_size(&self, tell: impl FnOnce(usize)) {
        let waiting = self.waiting();
        tell(self.size(&waiting));
        drop(waiting);
    }

    /// Takes nothing more; what is in it can still be taken out.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.room.close();
        self.arrived.notify_one();
    }

    /// Forgets what waits.
    pub(crate) fn clear(&self) {
        self.waiting().batches.clear();
    }

    fn size(&self, waiting: &Waiting) -> usize {
        (waiting.capacity + waiting.excess).saturating_sub(self.room.available_permits())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
