use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use minicol_pdata::{Batch, Logs, Metrics, Signal, Traces};
use minicol_plugin::storage::{Held, StorageError, StoredQueue, StoredRecord};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, futures::Notified},
    time::{sleep, timeout},
};

use crate::{
    QueueConfig, Sizer,
    ledger::Ledger,
    queue::{Lost, Place, Popped, Queued, Refusal, size_of},
};

/// A queue in a storage. What is stored is not in memory, but for a bounded number of bytes that are delivered next. Its size, in what its sizer
/// counts, is that of everything stored, what is in delivery included; a record goes when its batch is settled.
pub(crate) struct Stored {
    store: Arc<dyn StoredQueue>,
    signal: Signal,
    sizer: Sizer,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    /// Something can be taken out.
    arrived: Notify,
    /// There may be room in the queue.
    room: Notify,
    /// A record went: there may be room in the storage.
    freed: Notify,
    /// One reads at a time, so that records come out in order.
    reading: AsyncMutex<()>,
}

#[derive(Default)]
struct State {
    capacity: usize,
    block: bool,
    size: usize,
    /// Everything up to here was taken out or is `ready`.
    cursor: Option<u64>,
    /// Batches in memory, oldest first.
    ready: VecDeque<Queued>,
    ready_bytes: usize,
    /// What is stored behind the cursor.
    waiting: Held,
    /// What an earlier life left is known, and booked.
    known: bool,
    /// How many items that were, until it is told.
    restored: u64,
    closed: bool,
    /// The books are closed.
    over: bool,
}

/// The room of a batch on its way into the storage.
struct Reservation {
    queue: Arc<Stored>,
    size: usize,
    kept: bool,
}

struct Reserved {
    room: Reservation,
    waited: bool,
}

/// What of the queue is in memory at most, in bytes as OTLP encodes them, batches in delivery not included.
const READY_BYTES: usize = 4 * 1024 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 1024 * 1024;
/// A storage that has no room, or fails, is asked again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// The reasons for which what was stored is lost.
pub(crate) const QUARANTINED: &str = "quarantined";
pub(crate) const DAMAGED: &str = "storage_damaged";

impl Stored {
    /// What an earlier life left in the queue is booked as restored, as soon as the storage knows it.
    pub(crate) fn new(store: Arc<dyn StoredQueue>, signal: Signal, config: &QueueConfig, ledger: Arc<Ledger>) -> Self {
        ledger.keep();
        let (capacity, block) = (config.queue_size, config.block_on_overflow);
        let state = State { capacity, block, ..State::default() };
        let queue = Self {
            store,
            signal,
            sizer: config.sizer,
            ledger,
            state: Mutex::new(state),
            arrived: Notify::new(),
            room: Notify::new(),
            freed: Notify::new(),
            reading: AsyncMutex::default(),
        };
        queue.restore(&mut queue.state());
        queue
    }

    /// Takes on what an earlier life left, once that is known.
    fn restore(&self, state: &mut State) {
        if state.known {
            return;
        }
        let Some(left) = self.store.left() else { return };
        self.ledger.restore(left.items);
        state.known = true;
        state.restored = left.items;
        state.size += size_of_held(self.sizer, left);
        state.waiting = state.waiting + left;
    }

    pub(crate) fn capacity(&self) -> usize {
        self.state().capacity
    }

    pub(crate) fn resize(&self, config: &QueueConfig) {
        let mut state = self.state();
        (state.capacity, state.block) = (config.queue_size, config.block_on_overflow);
        drop(state);
        self.room.notify_waiters();
        self.freed.notify_waiters();
    }

    pub(crate) fn sizer(&self) -> Sizer {
        self.sizer
    }

    /// Stores a batch, after waiting for room where the configuration says so; true where it had to wait. Once this returns, the batch is durable.
    /// It is booked before anybody can take it out, also where the sender does not wait for the answer.
    pub(crate) async fn push(self: &Arc<Self>, batch: &Batch) -> Result<bool, Refusal> {
        let size = size_of(self.sizer, batch);
        let (payload, mut waited) = (encode(batch), false);
        loop {
            let (capacity, block) = {
                let state = self.state();
                (state.capacity, state.block)
            };
            if size > capacity {
                return Err(Refusal::TooLarge(size));
            }
            let reserved = self.room_for(size).await?;
            waited |= reserved.waited;
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let (room, handed) = (reserved.room, batch.clone());
            let stored = Box::new(move |id| room.filled(id, handed));
            match self.store.push(payload.clone(), batch.items() as u64, stored).await {
                Ok(()) => return Ok(waited),
                Err(StorageError::Full(_)) if block => waited = true,
                Err(StorageError::Full(why)) => return Err(Refusal::StorageFull(why)),
                Err(StorageError::TooLarge(why)) => return Err(Refusal::StorageTooLarge(why)),
                Err(StorageError::Closed) => return Err(Refusal::Closed),
                Err(StorageError::Unavailable(why) | StorageError::Reset(why)) => {
                    return Err(Refusal::StorageFailed(why));
                }
            }
            // A disk may get room without anybody here knowing.
            tokio::select! {
                biased;
                () = freed => {}
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// The oldest batch, after waiting for one; `None` when the queue is closed and empty.
    pub(crate) async fn pop(&self) -> Option<Popped> {
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            if let Some(oldest) = self.take_ready() {
                return Some(Popped::Batch(oldest));
            }
            let (waiting, restored, known, closed) = {
                let mut state = self.state();
                self.restore(&mut state);
                (state.waiting.records, std::mem::take(&mut state.restored), state.known, state.closed)
            };
            if restored > 0 {
                // What was restored waits for the others, too.
                self.arrived.notify_one();
                return Some(Popped::Restored(restored));
            }
            if waiting == 0 && closed {
                // The next waiting consumer shall see it, too.
                self.arrived.notify_one();
                return None;
            }
            if waiting == 0 {
                let arrived: std::pin::Pin<&mut Notified<'_>> = arrived;
                if known {
                    arrived.await;
                } else {
                    let _ = timeout(AGAIN, arrived).await;
                }
                continue;
            }
            let reading = self.reading.lock().await;
            if !self.is_drained() {
                continue;
            }
            let lost = self.read().await;
            drop(reading);
            if lost.is_some() {
                self.arrived.notify_one();
                return lost;
            }
        }
    }

    /// The batch is settled: its record goes, however often that has to be tried until the end. False where it is left to the next life.
    pub(crate) async fn remove(&self, id: u64) -> bool {
        loop {
            match self.store.remove(id).await {
                Ok(()) => return true,
                Err(StorageError::Closed) => return false,
                Err(_) => sleep(AGAIN).await,
            }
            // What is there now is the next life's, which may have begun in this process.
            if self.state().over {
                return false;
            }
        }
    }

    /// Of the batch this is left: so much of it is delivered in the next life. False where there is no such record any more. Where it fails, the whole
    /// batch is delivered again.
    pub(crate) async fn keep(&self, id: u64, rest: &Batch) -> Result<bool, StorageError> {
        self.store.replace(id, encode(rest), rest.items() as u64).await
    }

    /// The items that are in the storage.
    pub(crate) fn items(&self) -> u64 {
        self.store.holds().items
    }

    /// Gives a settled batch's room back, then tells how full the queue is.
    pub(crate) fn release(&self, size: usize, tell: impl FnOnce(usize)) {
        let mut state = self.state();
        state.size = state.size.saturating_sub(size);
        tell(state.size);
        drop(state);
        self.room.notify_waiters();
        self.freed.notify_waiters();
    }

    pub(crate) fn tell_size(&self, tell: impl FnOnce(usize)) {
        tell(self.state().size);
    }

    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
        self.room.notify_waiters();
        self.freed.notify_waiters();
    }

    /// Its exporter is gone, and the program goes on.
    pub(crate) fn let_go(&self) {
        self.store.release();
    }

    /// The end: what is in memory is in the storage, too, and nothing there is changed any more.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.over = true;
        state.ready.clear();
        state.waiting = Held::default();
    }

    /// Room for a batch of this size, after waiting for it where the configuration says so.
    async fn room_for(self: &Arc<Self>, size: usize) -> Result<Reserved, Refusal> {
        let mut waited = false;
        loop {
            let mut changed = std::pin::pin!(self.room.notified());
            changed.as_mut().enable();
            match self.reserve(size)? {
                Some(room) => return Ok(Reserved { room, waited }),
                None if !self.state().block => return Err(Refusal::Full),
                None => changed.await,
            }
            waited = true;
        }
    }

    /// The same without waiting; `None` where there is none now.
    fn reserve(self: &Arc<Self>, size: usize) -> Result<Option<Reservation>, Refusal> {
        let mut state = self.state();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if size > state.capacity {
            return Err(Refusal::TooLarge(size));
        }
        if size > state.capacity.saturating_sub(state.size) {
            return Ok(None);
        }
        state.size += size;
        Ok(Some(Reservation { queue: Arc::clone(self), size, kept: false }))
    }

    fn take_ready(&self) -> Option<Queued> {
        let mut state = self.state();
        let oldest = state.ready.pop_front()?;
        state.ready_bytes = state.ready_bytes.saturating_sub(oldest.batch.bytes());
        // One notification may stand for several batches: pass it on.
        if !state.ready.is_empty() || state.waiting.records > 0 {
            self.arrived.notify_one();
        }
        Some(oldest)
    }

    /// True where nothing is ready, and something is stored.
    fn is_drained(&self) -> bool {
        let state = self.state();
        state.ready.is_empty() && state.waiting.records > 0
    }

    /// Reads what is delivered next. What could not be read is lost.
    async fn read(&self) -> Option<Popped> {
        let (cursor, waiting) = {
            let state = self.state();
            (state.cursor, state.waiting)
        };
        match self.store.read(cursor, READ_BYTES).await {
            Ok(records) if records.is_empty() => {
                self.lose(waiting, "the storage no longer has what it had, which its damage may explain".to_owned())
            }
            Ok(records) => self.ready(records).await,
            Err(StorageError::Reset(why)) => {
                let (held, waiting) = (self.store.holds(), self.state().waiting);
                let gone = Held {
                    records: waiting.records.saturating_sub(held.records),
                    items: waiting.items.saturating_sub(held.items),
                    bytes: waiting.bytes.saturating_sub(held.bytes),
                };
                self.lose(gone, why)
            }
            Err(StorageError::Closed) => {
                self.clear();
                None
            }
            Err(_) => {
                // The extension tells why.
                sleep(AGAIN).await;
                None
            }
        }
    }

    /// What waited is gone.
    fn lose(&self, gone: Held, why: String) -> Option<Popped> {
        let mut state = self.state();
        state.waiting = less(state.waiting, gone);
        state.size = state.size.saturating_sub(size_of_held(self.sizer, gone));
        drop(state);
        self.room.notify_waiters();
        (gone.items > 0).then_some(Popped::Lost(Lost { items: gone.items, reason: DAMAGED, why }))
    }

    /// Makes batches of records.
    async fn ready(&self, records: Vec<StoredRecord>) -> Option<Popped> {
        let (mut read, mut bad, mut why) = (Held::default(), Held::default(), None);
        let (mut batches, mut cursor) = (Vec::new(), None);
        for StoredRecord { id, items, bytes, payload } in records {
            let one = Held { records: 1, items, bytes };
            cursor = Some(id);
            let decoded = match payload {
                Ok(payload) => self.decode(payload),
                Err(why) => Err((false, why)),
            };
            match decoded {
                Ok(batch) => {
                    let size = size_of(self.sizer, &batch);
                    read = read + one;
                    batches.push(Queued { batch, place: Place::Stored { id, size } });
                }
                Err((whole, told)) => {
                    if whole {
                        // Where it fails, the next life finds it again.
                        let _ = self.store.quarantine(id, &told).await;
                    }
                    bad = bad + one;
                    why.get_or_insert(told);
                }
            }
        }
        let mut state = self.state();
        state.cursor = cursor.or(state.cursor);
        let mut lost = less(state.waiting, read);
        state.waiting = less(lost, bad);
        if state.waiting.records == 0 {
            // The sizes of what cannot be read may be wrong as well: here the sum is known again.
            state.waiting = Held::default();
        }
        lost = less(lost, state.waiting);
        state.ready_bytes += batches.iter().map(|one| one.batch.bytes()).sum::<usize>();
        state.ready.extend(batches);
        state.size = state.size.saturating_sub(size_of_held(self.sizer, lost));
        drop(state);
        let why = why.unwrap_or_else(|| "the storage said that it held more than it had".to_owned());
        (lost.items > 0).then_some(Popped::Lost(Lost { items: lost.items, reason: QUARANTINED, why }))
    }

    /// An error tells whether the storage holds the record for good: it is whole, but no batch.
    fn decode(&self, payload: Bytes) -> Result<Batch, (bool, String)> {
        let decoded = match self.signal {
            Signal::Metrics => Metrics::decode(payload).map(Batch::Metrics),
            Signal::Logs => Logs::decode(payload).map(Batch::Logs),
            Signal::Traces => Traces::decode(payload).map(Batch::Traces),
            Signal::Observations => return Err((true, "observations are not stored".to_owned())),
        };
        decoded.map_err(|error| (true, error.to_string()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// The batch is durable under this id.
    fn filled(mut self, id: u64, batch: Batch) {
        self.kept = true;
        let queue = Arc::clone(&self.queue);
        let (items, bytes) = (batch.items() as u64, batch.bytes());
        let mut state = queue.state();
        // What was there before goes first.
        queue.restore(&mut state);
        queue.ledger.accept(items);
        if state.waiting.records == 0 && state.ready_bytes + bytes <= READY_BYTES {
            state.cursor = Some(id);
            state.ready_bytes += bytes;
            state.ready.push_back(Queued { batch, place: Place::Stored { id, size: self.size } });
        } else {
            state.waiting = state.waiting + Held { records: 1, items, bytes: bytes as u64 };
        }
        drop(state);
        queue.arrived.notify_one();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            let mut state = self.queue.state();
            state.size = state.size.saturating_sub(self.size);
            drop(state);
            self.queue.room.notify_waiters();
        }
    }
}

/// As the exporter sends it: the bytes are made once.
fn encode(batch: &Batch) -> Bytes {
    match batch {
        Batch::Metrics(batch) => batch.encode(),
        Batch::Logs(batch) => batch.encode(),
        Batch::Traces(batch) => batch.encode(),
        Batch::Observations(_) => Bytes::new(),
    }
}

fn size_of_held(sizer: Sizer, held: Held) -> usize {
    let size = match sizer {
        Sizer::Requests => held.records,
        Sizer::Items => held.items,
        Sizer::Bytes => held.bytes,
    };
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn less(one: Held, other: Held) -> Held {
    Held {
        records: one.records.saturating_sub(other.records),
        items: one.items.saturating_sub(other.items),
        bytes: one.bytes.saturating_sub(other.bytes),
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("signal", &self.signal).field("size", &self.state().size).finish_non_exhaustive()
    }
}
