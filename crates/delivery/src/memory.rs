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
    capacity: usize,
    sizer: Sizer,
    block: bool,
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Queued>,
    closed: bool,
}

impl Memory {
    pub(crate) fn new(config: &QueueConfig) -> Self {
        Self {
            capacity: config.queue_size,
            sizer: config.sizer,
            block: config.block_on_overflow,
            room: Arc::new(Semaphore::new(config.queue_size)),
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn sizer(&self) -> Sizer {
        self.sizer
    }

    /// Takes a batch, after waiting for room where the configuration says so; true where it had to wait. `book` runs when it is in, before
    /// anybody can take it out.
    pub(crate) async fn push(&self, batch: Batch, book: impl FnOnce()) -> Result<bool, Refusal> {
        let size = size_of(self.sizer, &batch);
        let weight = u32::try_from(size).map_err(|_| Refusal::TooLarge(size))?;
        if size > self.capacity {
            return Err(Refusal::TooLarge(size));
        }
        let (room, waited) = match Arc::clone(&self.room).try_acquire_many_owned(weight) {
            Ok(room) => (room, false),
            Err(TryAcquireError::Closed) => return Err(Refusal::Closed),
            Err(TryAcquireError::NoPermits) if !self.block => return Err(Refusal::Full),
            Err(TryAcquireError::NoPermits) => {
                let room = Arc::clone(&self.room).acquire_many_owned(weight).await;
                (room.map_err(|_| Refusal::Closed)?, true)
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
    pub(crate) fn release(&self, room: OwnedSemaphorePermit, tell: impl FnOnce(usize)) {
        let waiting = self.waiting();
        drop(room);
        tell(self.size());
        drop(waiting);
    }

    /// Tells how full the queue is while nobody else can.
    pub(crate) fn tell_size(&self, tell: impl FnOnce(usize)) {
        let waiting = self.waiting();
        tell(self.size());
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

    fn size(&self) -> usize {
        self.capacity.saturating_sub(self.room.available_permits())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
