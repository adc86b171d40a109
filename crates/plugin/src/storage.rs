//! Queues that outlive the process. An extension offers a [`Storage`] ([`crate::Extension::storage`]), the host hands it to the queue before an
//! exporter whose configuration names that extension, and neither knows the other.

use std::{ops::Add, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

/// What an extension offers: queues by name, once the extension is ready.
pub trait Storage: Send + Sync {
    /// The queue of this name, with what an earlier life left in it. Asking for it makes nothing; a name belongs to one user at a time.
    fn queue(&self, name: &str) -> Arc<dyn StoredQueue>;
}

/// One queue of records, oldest first. A record is bytes of the user's own; ids rise in the order in which records were stored, whatever the clocks do.
#[async_trait]
pub trait StoredQueue: Send + Sync {
    /// What it holds.
    fn holds(&self) -> Held;

    /// What whoever used it before left in it, in an earlier life or in this one; that does not change any more. `None` as long as nobody knows, because the storage could not be opened yet.
    /// It is known before anything can be stored.
    fn left(&self) -> Option<Held>;

    /// Nobody uses it any more by this handle, while the storage goes on. What is in it stays, and its next user gets it; as long as there is none, the storage tells.
    fn release(&self);

    /// Stores a record at the end. `stored` is called with the record's id once it is durable, in the order of the ids and before a
    /// [`StoredQueue::read`] can see it, also where nobody waits for this future any more; it must not block. Where the record is not
    /// stored, `stored` is dropped uncalled, and no `read` of this life finds it: where a disk failed when it had the record already, only a crash
    /// before the storage could take it out again leaves it to the next life.
    async fn push(&self, payload: Bytes, items: u64, stored: OnStored) -> Result<(), StorageError>;

    /// The oldest records whose id is larger than `after` (with `None`: the oldest of all): at least one where there is one, then as many as
    /// fit into `bytes`.
    async fn read(&self, after: Option<u64>, bytes: usize) -> Result<Vec<StoredRecord>, StorageError>;

    /// Puts another payload into a record's place: what of it is still to be done. True once that is durable, false where there was no such record.
    async fn replace(&self, id: u64, payload: Bytes, items: u64) -> Result<bool, StorageError>;

    /// Forgets a record; `Ok` once that is durable, and where there was none.
    async fn remove(&self, id: u64) -> Result<(), StorageError>;

    /// Puts a record aside that its user cannot read: it leaves the queue, and a person can look at it.
    async fn quarantine(&self, id: u64, why: &str) -> Result<(), StorageError>;
}

/// Called with the id of a record that is durable.
pub type OnStored = Box<dyn FnOnce(u64) + Send>;

/// The size of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many records.
    pub records: u64,
    /// The items in them, as their user counted them.
    pub items: u64,
    /// The bytes of their payloads.
    pub bytes: u64,
}

impl Add for Held {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { records: self.records + more.records, items: self.items + more.items, bytes: self.bytes + more.bytes }
    }
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the order.
    pub id: u64,
    /// The items in it.
    pub items: u64,
    /// The bytes of its payload as it was stored.
    pub bytes: u64,
    /// What was stored, or why it can no longer be had: then the storage has put it aside.
    pub payload: Result<Bytes, String>,
}

/// What a storage could not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// There is no room now: a limit is reached, or the disk is full. It goes by itself when there is room.
    #[error("{0}")]
    Full(String),
    /// The record alone is larger than everything that may be stored.
    #[error("{0}")]
    TooLarge(String),
    /// The storage fails now; it tries to recover by itself.
    #[error("{0}")]
    Unavailable(String),
    /// Everything that the queue held is gone from it (it was moved aside): told once to each queue, by `read`.
    #[error("{0}")]
    Reset(String),
    /// The storage is closed: the program ends.
    #[error("the storage is closed")]
    Closed,
}
