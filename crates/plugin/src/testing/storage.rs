//! A storage in memory that does what a test tells it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::storage::{Held, OnStored, Storage, StorageError, StoredQueue, StoredRecord};

/// A storage in memory. Clones are the same one: what is in it outlives who uses it.
#[derive(Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    queues: BTreeMap<String, Queue>,
    fault: Option<StorageError>,
    keeps_refused: bool,
    shut: bool,
    limit: Option<u64>,
    takes: Duration,
    reads: usize,
}

#[derive(Default)]
struct Queue {
    next: u64,
    records: BTreeMap<u64, (u64, Result<Bytes, String>, u64)>,
    /// Refused, but on the disk until it works again.
    refused: BTreeMap<u64, (u64, Bytes)>,
    quarantined: Vec<u64>,
    reset: bool,
    released: usize,
}

struct Handle {
    name: String,
    storage: MemoryStorage,
    left: Mutex<Option<Held>>,
}

impl MemoryStorage {
    /// Nothing stored.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on everything fails so; `None` works again.
    pub fn fail(&self, with: Option<StorageError>) {
        let mut stored = self.stored();
        (stored.fault, stored.keeps_refused) = (with, false);
    }

    /// From now on everything fails so, but what is pushed is on the disk by then: a process that ends before the storage works again leaves it there.
    pub fn fail_after_storing(&self, with: StorageError) {
        let mut stored = self.stored();
        (stored.fault, stored.keeps_refused) = (Some(with), true);
    }

    /// From now on it is as one that could not be opened yet, for users who come anew; then it is opened.
    pub fn shut(&self, shut: bool) {
        self.stored().shut = shut;
    }

    /// The process ended, and the storage works: the items that were refused, but are there.
    pub fn restart(&self, queue: &str) -> u64 {
        let mut stored = self.stored();
        (stored.fault, stored.keeps_refused) = (None, false);
        let Some(queue) = stored.queues.get_mut(queue) else { return 0 };
        let refused = std::mem::take(&mut queue.refused);
        let items = refused.values().map(|(items, _)| items).sum();
        queue.records.extend(refused.into_iter().map(|(id, (items, payload))| {
            let bytes = payload.len() as u64;
            (id, (items, Ok(payload), bytes))
        }));
        items
    }

    /// From now on it is full where so many bytes of payload are in it.
    pub fn limit(&self, bytes: Option<u64>) {
        self.stored().limit = bytes;
    }

    /// From now on each record takes so long until it is stored.
    pub fn slow(&self, takes: Duration) {
        self.stored().takes = takes;
    }

    /// Damages a record.
    pub fn damage(&self, queue: &str, id: u64) {
        if let Some(record) = self.stored().queues.get_mut(queue).and_then(|queue| queue.records.get_mut(&id)) {
            record.1 = Err("a test damaged it".to_owned());
        }
    }

    /// Damages a record so that also the items that it is said to have are wrong.
    pub fn misjudge(&self, queue: &str, id: u64, items: u64) {
        self.damage(queue, id);
        if let Some(record) = self.stored().queues.get_mut(queue).and_then(|queue| queue.records.get_mut(&id)) {
            record.0 = items;
        }
    }

    /// Puts bytes of no meaning into a record, with a checksum that fits.
    pub fn garble(&self, queue: &str, id: u64) {
        if let Some(record) = self.stored().queues.get_mut(queue).and_then(|queue| queue.records.get_mut(&id)) {
            record.1 = Ok(Bytes::from_static(b"\xff\xff"));
        }
    }

    /// Loses everything, and says so.
    pub fn reset(&self) {
        for queue in self.stored().queues.values_mut() {
            queue.records.clear();
            queue.reset = true;
        }
    }

    /// The ids that are in a queue.
    pub fn ids(&self, queue: &str) -> Vec<u64> {
        self.stored().queues.get(queue).map(|queue| queue.records.keys().copied().collect()).unwrap_or_default()
    }

    /// The ids that were put aside by their user, or were found damaged.
    pub fn quarantined(&self, queue: &str) -> Vec<u64> {
        self.stored().queues.get(queue).map(|queue| queue.quarantined.clone()).unwrap_or_default()
    }

    /// How often a user of a queue said that it will not use it any more.
    pub fn released(&self, queue: &str) -> usize {
        self.stored().queues.get(queue).map_or(0, |queue| queue.released)
    }

    /// How often it was read from.
    pub fn reads(&self) -> usize {
        self.stored().reads
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn queue(&self, name: &str) -> Arc<dyn StoredQueue> {
        Arc::new(Handle { name: name.to_owned(), storage: self.clone(), left: Mutex::default() })
    }
}

impl Stored {
    fn queue(&mut self, name: &str) -> Result<&mut Queue, StorageError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.shut {
            return Err(StorageError::Unavailable("a test has not opened it yet".to_owned()));
        }
        let queue = self.queues.entry(name.to_owned()).or_default();
        queue.refused.clear();
        Ok(queue)
    }

    fn holds(&self, name: &str) -> Held {
        let records = self.queues.get(name).into_iter().flat_map(|queue| queue.records.values());
        records.fold(Held::default(), |held, (items, _, bytes)| Held {
            records: held.records + 1,
            items: held.items + items,
            bytes: held.bytes + bytes,
        })
    }

    fn bytes(&self) -> u64 {
        self.queues.values().flat_map(|queue| queue.records.values()).map(|record| record.2).sum()
    }
}

impl Handle {
    fn known(&self) -> MutexGuard<'_, Option<Held>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_left(&self, stored: &Stored) -> Option<Held> {
        let mut known = self.known();
        if known.is_none() && !stored.shut {
            *known = Some(stored.holds(&self.name));
        }
        *known
    }
}

#[async_trait]
impl StoredQueue for Handle {
    fn holds(&self) -> Held {
        self.storage.stored().holds(&self.name)
    }

    fn left(&self) -> Option<Held> {
        // Asked by whoever is told that something was stored, too: then it is known, and the storage is not locked again.
        let known = *self.known();
        known.or_else(|| self.find_left(&self.storage.stored()))
    }

    fn release(&self) {
        self.storage.stored().queues.entry(self.name.clone()).or_default().released += 1;
    }

    async fn push(&self, payload: Bytes, items: u64, stored: OnStored) -> Result<(), StorageError> {
        // A disk takes its time: others run meanwhile.
        let takes = self.storage.stored().takes;
        if takes.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(takes).await;
        }
        let mut all = self.storage.stored();
        self.find_left(&all);
        let (bytes, limit) = (payload.len() as u64, all.limit);
        if limit.is_some_and(|limit| bytes > limit) {
            return Err(StorageError::TooLarge("a test's limit".to_owned()));
        }
        if limit.is_some_and(|limit| all.bytes() + bytes > limit) {
            return Err(StorageError::Full("a test's limit".to_owned()));
        }
        if all.keeps_refused {
            let queue = all.queues.entry(self.name.clone()).or_default();
            queue.refused.insert(queue.next, (items, payload.clone()));
            queue.next += 1;
        }
        let queue = all.queue(&self.name)?;
        let id = queue.next;
        queue.next += 1;
        queue.records.insert(id, (items, Ok(payload), bytes));
        stored(id);
        Ok(())
    }

    async fn read(&self, after: Option<u64>, bytes: usize) -> Result<Vec<StoredRecord>, StorageError> {
        tokio::task::yield_now().await;
        let mut all = self.storage.stored();
        all.reads += 1;
        let queue = all.queue(&self.name)?;
        if std::mem::take(&mut queue.reset) {
            return Err(StorageError::Reset("a test lost it".to_owned()));
        }
        let (mut found, mut left) = (Vec::new(), bytes as u64);
        for (id, (items, payload, bytes)) in queue.records.range(after.map_or(0, |id| id + 1)..) {
            if !found.is_empty() && *bytes > left {
                break;
            }
            left = left.saturating_sub(*bytes);
            found.push(StoredRecord { id: *id, items: *items, bytes: *bytes, payload: payload.clone() });
        }
        for bad in found.iter().filter(|record| record.payload.is_err()) {
            queue.records.remove(&bad.id);
            queue.quarantined.push(bad.id);
        }
        Ok(found)
    }

    async fn replace(&self, id: u64, payload: Bytes, items: u64) -> Result<bool, StorageError> {
        let mut all = self.storage.stored();
        let Some(record) = all.queue(&self.name)?.records.get_mut(&id) else { return Ok(false) };
        *record = (items, Ok(payload.clone()), payload.len() as u64);
        Ok(true)
    }

    async fn remove(&self, id: u64) -> Result<(), StorageError> {
        tokio::task::yield_now().await;
        self.storage.stored().queue(&self.name)?.records.remove(&id);
        Ok(())
    }

    async fn quarantine(&self, id: u64, _: &str) -> Result<(), StorageError> {
        let mut all = self.storage.stored();
        let queue = all.queue(&self.name)?;
        queue.records.remove(&id);
        queue.quarantined.push(id);
        Ok(())
    }
}
