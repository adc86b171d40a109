use std::sync::Arc;

use minicol_pdata::Batch;
use tokio::sync::OwnedSemaphorePermit;

use crate::{QueueConfig, Sizer, memory::Memory, stored::Stored};

/// Where batches wait: in memory, or in what an extension stores.
pub(crate) enum Queue {
    Memory(Memory),
    Stored(Arc<Stored>),
}

/// A batch and the place it takes until it is settled.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) batch: Batch,
    pub(crate) place: Place,
}

/// The place of a batch in its queue.
#[derive(Debug)]
pub(crate) enum Place {
    Memory(OwnedSemaphorePermit),
    /// The id of its record, and its size in what the sizer counts.
    Stored {
        id: u64,
        size: usize,
    },
}

/// What comes out of a queue.
pub(crate) enum Popped {
    Batch(Queued),
    /// Items that an earlier life left were found in the storage; told once.
    Restored(u64),
    Lost(Lost),
}

/// What was stored and can no longer be had.
pub(crate) struct Lost {
    pub(crate) items: u64,
    pub(crate) reason: &'static str,
    pub(crate) why: String,
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No room now.
    Full,
    /// It never fits: this is its size.
    TooLarge(usize),
    /// The storage has no room for it now.
    StorageFull(String),
    /// It never fits the storage.
    StorageTooLarge(String),
    /// The storage fails now.
    StorageFailed(String),
    /// The program is stopping.
    Closed,
}

impl Queue {
    pub(crate) fn capacity(&self) -> usize {
        match self {
            Self::Memory(queue) => queue.capacity(),
            Self::Stored(queue) => queue.capacity(),
        }
    }

    pub(crate) fn sizer(&self) -> Sizer {
        match self {
            Self::Memory(queue) => queue.sizer(),
            Self::Stored(queue) => queue.sizer(),
        }
    }

    /// Holds as much as `settings` say from now on; what it holds beyond that stays.
    pub(crate) fn resize(&self, settings: &QueueConfig) {
        match self {
            Self::Memory(queue) => queue.resize(settings),
            Self::Stored(queue) => queue.resize(settings),
        }
    }

    /// The oldest batch, after waiting for one; `None` when the queue is closed and empty.
    pub(crate) async fn pop(&self) -> Option<Popped> {
        match self {
            Self::Memory(queue) => queue.pop().await.map(Popped::Batch),
            Self::Stored(queue) => queue.pop().await,
        }
    }

    /// Tells how full the queue is while nobody else can.
    pub(crate) fn tell_size(&self, tell: impl FnOnce(usize)) {
        match self {
            Self::Memory(queue) => queue.tell_size(tell),
            Self::Stored(queue) => queue.tell_size(tell),
        }
    }

    /// Takes nothing more; what is in it can still be taken out.
    pub(crate) fn close(&self) {
        match self {
            Self::Memory(queue) => queue.close(),
            Self::Stored(queue) => queue.close(),
        }
    }

    /// Whoever delivered from it is gone, and the program goes on.
    pub(crate) fn let_go(&self) {
        if let Self::Stored(queue) = self {
            queue.let_go();
        }
    }

    /// Forgets what waits in memory.
    pub(crate) fn clear(&self) {
        match self {
            Self::Memory(queue) => queue.clear(),
            Self::Stored(queue) => queue.clear(),
        }
    }
}

/// What a batch takes of a queue.
pub(crate) fn size_of(sizer: Sizer, batch: &Batch) -> usize {
    let size = match sizer {
        Sizer::Requests => 1,
        Sizer::Items => batch.items(),
        Sizer::Bytes => batch.bytes(),
    };
    size.max(1)
}
