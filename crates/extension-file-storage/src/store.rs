//! The store itself: records, their index and the sizes of the queues, in one redb file. One change at a time, all of it or nothing.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, ErrorKind},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use minicol_plugin::{
    storage::{Held, StoredRecord},
    text,
};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition,
    backends::FileBackend,
};

use crate::record::{self, Packed, queue_key};

/// Queue and id to the record.
const RECORDS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("records");
/// Queue and id to items, payload bytes and stored bytes: what is asked of records without touching them.
const INDEX: TableDefinition<'_, (u64, u64), Sizes> = TableDefinition::new("index");
/// A queue's name to its sealed [`Row`].
const QUEUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("queues");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT: &str = "format";
/// The version of these tables.
const FORMAT_VERSION: u64 = 2;
/// What redb may keep of the file in memory, read or not yet written.
const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// How many records that cannot be read one look may find.
pub(crate) const MAX_BAD: usize = 32;
const PAGE: u64 = 4096;
/// What is larger is not kept to make records in.
const SCRATCH_BYTES: usize = 1024 * 1024;

/// Items, payload bytes, stored bytes.
type Sizes = (u64, u64, u64);

/// What a store could not do.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The disk has no room.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The disk, or the system, failed.
    #[error("{0}")]
    Io(String),
    /// The file is not what a store wrote.
    #[error("the store is damaged: {0}")]
    Broken(String),
    /// The file is right, but a later version's.
    #[error(
        "the store has format {0}, and this program knows {FORMAT_VERSION}: run the version that wrote it, or move the directory away"
    )]
    Newer(u64),
}

/// An open store.
pub(crate) struct Store {
    database: Database,
    queues: HashMap<Arc<str>, Row>,
    scratch: Vec<u8>,
}

/// What is known of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// The id of the next record.
    pub(crate) next: u64,
    pub(crate) held: Held,
    /// What its records take in the file.
    pub(crate) used: u64,
}

/// One change.
#[derive(Debug)]
pub(crate) enum Change {
    Insert {
        queue: Arc<str>,
        payload: Packed,
        items: u64,
    },
    /// Where there is such a record.
    Replace {
        queue: Arc<str>,
        id: u64,
        payload: Packed,
        items: u64,
    },
    Remove {
        queue: Arc<str>,
        id: u64,
    },
    /// What was read from there is no record.
    RemoveBad {
        queue: Arc<str>,
        id: u64,
    },
}

/// A record that is not what it was.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) id: u64,
    pub(crate) raw: Vec<u8>,
    pub(crate) why: String,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opening {
    /// Look at every page first: something went wrong that a damaged file may explain.
    pub(crate) suspicious: bool,
}

impl Store {
    /// Opens the store in `file`, or makes one in an empty file. `next` are ids that no record may have again, by queue, where this process had a
    /// store open before: a record of such an id, or a later one, was refused to its sender.
    pub(crate) fn open(
        disk: Box<dyn StorageBackend>,
        opening: Opening,
        next: Option<&HashMap<Arc<str>, u64>>,
    ) -> Result<Self, Fault> {
        guarded(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(opening.suspicious);
            let database = builder.create_with_backend(Disk(disk)).map_err(fault)?;
            let queues = prepare(&database)?;
            let mut store = Self { database, queues, scratch: Vec::new() };
            let Some(next) = next else { return Ok(store) };
            let refused = store.refused(next)?;
            if !refused.is_empty() {
                store.change(&refused, true)?;
            }
            for (queue, next) in next {
                let row = store.queues.entry(Arc::clone(queue)).or_default();
                row.next = row.next.max(*next);
            }
            Ok(store)
        })
    }

    /// Takes out what was refused to its sender, but lies there all the same: the disk had it, and failed to say so.
    fn refused(&self, next: &HashMap<Arc<str>, u64>) -> Result<Vec<Change>, Fault> {
        let reading = self.database.begin_read().map_err(fault)?;
        let index = reading.open_table(INDEX).map_err(fault)?;
        let mut refused = Vec::new();
        for queue in self.queues.keys() {
            let (key, least) = (queue_key(queue), next.get(queue).copied().unwrap_or_default());
            for row in index.range((key, least)..=(key, u64::MAX)).map_err(fault)? {
                let id = row.map_err(fault)?.0.value().1;
                refused.push(Change::Remove { queue: Arc::clone(queue), id });
            }
        }
        Ok(refused)
    }

    pub(crate) fn queues(&self) -> impl Iterator<Item = (&Arc<str>, &Row)> {
        self.queues.iter()
    }

    /// What all records take in the file, in bytes.
    pub(crate) fn used(&self) -> u64 {
        self.queues.values().map(|row| row.used).sum()
    }

    /// The oldest records of a queue after `after`, at least one, then as many as fit into `bytes`; and those of them that cannot be read, [`MAX_BAD`]
    /// at most: each costs a file, and others wait meanwhile.
    pub(crate) fn read(
        &self,
        queue: &str,
        after: Option<u64>,
        bytes: usize,
    ) -> Result<(Vec<StoredRecord>, Vec<Bad>), Fault> {
        guarded(|| {
            let mut least = after.map_or(0, |id| id.saturating_add(1));
            let (key, mut left) = (queue_key(queue), bytes as u64);
            let (mut records, mut bad) = (Vec::new(), Vec::new());
            let reading = self.database.begin_read().map_err(fault)?;
            let (index, stored) =
                (reading.open_table(INDEX).map_err(fault)?, reading.open_table(RECORDS).map_err(fault)?);
            for row in index.range((key, least)..=(key, u64::MAX)).map_err(fault)? {
                let (place, size) = row.map_err(fault)?;
                let ((_, id), (items, bytes, _)) = (place.value(), size.value());
                if id < least {
                    return Err(out_of_order());
                }
                least = id.saturating_add(1);
                if bad.len() == MAX_BAD || !records.is_empty() && bytes > left {
                    break;
                }
                left = left.saturating_sub(bytes);
                let raw = stored.get((key, id)).map_err(fault)?;
                let raw = raw.as_ref().map_or(&[][..], |raw| raw.value());
                let payload = record::read(raw, (key, id)).map_err(|why| {
                    let why = why.to_string();
                    bad.push(Bad { id, raw: raw.to_vec(), why: why.clone() });
                    why
                });
                records.push(match payload {
                    // What the checksum covers goes before what it does not.
                    Ok((items, payload)) => {
                        StoredRecord { id, items, bytes: payload.len() as u64, payload: Ok(payload) }
                    }
                    Err(why) => StoredRecord { id, items, bytes, payload: Err(why) },
                });
            }
            Ok((records, bad))
        })
    }

    /// The record as it lies there.
    pub(crate) fn raw(&self, queue: &str, id: u64) -> Result<Option<Vec<u8>>, Fault> {
        guarded(|| {
            let reading = self.database.begin_read().map_err(fault)?;
            let stored = reading.open_table(RECORDS).map_err(fault)?;
            Ok(stored.get((queue_key(queue), id)).map_err(fault)?.map(|raw| raw.value().to_vec()))
        })
    }

    /// Makes all changes or none; the id of the record that each left, if it left one. `durable` where they shall be on the disk by then.
    pub(crate) fn change(&mut self, changes: &[Change], durable: bool) -> Result<Vec<Option<u64>>, Fault> {
        let mut rows = HashMap::new();
        let left = guarded(|| {
            let mut writing = self.database.begin_write().map_err(fault)?;
            if durable {
                // So that the next start need not read the whole file, and a damaged record costs itself only.
                writing.set_quick_repair(true);
            } else {
                writing.set_durability(Durability::None).map_err(fault)?;
            }
            let left = {
                let mut tables = Tables {
                    records: writing.open_table(RECORDS).map_err(fault)?,
                    index: writing.open_table(INDEX).map_err(fault)?,
                    scratch: &mut self.scratch,
                };
                let mut left = Vec::new();
                for change in changes {
                    let queue = change.queue();
                    let row = rows.entry(Arc::clone(queue));
                    let row = row.or_insert_with(|| self.queues.get(queue).copied().unwrap_or_default());
                    left.push(match change {
                        Change::Insert { payload, items, .. } => {
                            let id = row.next;
                            tables.insert(queue, row, id, payload, *items)?;
                            Some(id)
                        }
                        Change::Replace { id, payload, items, .. } if tables.remove(queue, row, *id)? => {
                            tables.insert(queue, row, *id, payload, *items)?;
                            Some(*id)
                        }
                        Change::Replace { .. } => None,
                        Change::Remove { id, .. } => {
                            tables.remove(queue, row, *id)?;
                            None
                        }
                        Change::RemoveBad { id, .. } if tables.remove(queue, row, *id)? => None,
                        // It is listed at a place where it cannot be found.
                        Change::RemoveBad { .. } => return Err(out_of_order()),
                    });
                }
                left
            };
            {
                let mut queues = writing.open_table(QUEUES).map_err(fault)?;
                for (queue, row) in &rows {
                    queues.insert(&**queue, row.seal().as_slice()).map_err(fault)?;
                }
            }
            writing.commit().map_err(fault)?;
            Ok(left)
        });
        if self.scratch.capacity() > SCRATCH_BYTES {
            self.scratch = Vec::new();
        }
        let left = left?;
        self.queues.extend(rows);
        Ok(left)
    }

    /// Forces to the disk what was not.
    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        self.change(&[], true).map(|_| ())
    }

    /// Makes the file as small as it can be.
    pub(crate) fn compact(&mut self) -> Result<(), Fault> {
        guarded(|| self.database.compact().map(|_| ()).map_err(fault))
    }

    pub(crate) fn close(self) -> Result<(), Fault> {
        guarded(|| self.database.close().map_err(fault))
    }
}

struct Tables<'a> {
    records: Table<'a, (u64, u64), &'static [u8]>,
    index: Table<'a, (u64, u64), Sizes>,
    /// Where records are made.
    scratch: &'a mut Vec<u8>,
}

impl Tables<'_> {
    fn insert(&mut self, queue: &str, row: &mut Row, id: u64, payload: &Packed, items: u64) -> Result<(), Fault> {
        let key = (queue_key(queue), id);
        record::write(self.scratch, key, items, payload);
        self.records.insert(key, self.scratch.as_slice()).map_err(fault)?;
        let sizes = (items, payload.bytes, payload.stored());
        self.index.insert(key, sizes).map_err(fault)?;
        row.next = row.next.max(id.saturating_add(1));
        row.add(sizes);
        Ok(())
    }

    /// False where there was none.
    fn remove(&mut self, queue: &str, row: &mut Row, id: u64) -> Result<bool, Fault> {
        let key = (queue_key(queue), id);
        let listed = self.index.remove(key).map_err(fault)?.map(|listed| listed.value());
        let record = self.records.remove(key).map_err(fault)?;
        let Some(listed) = listed else { return Ok(false) };
        // No checksum covers the index: what the record says goes before it.
        row.take(record.and_then(|record| record::sizes(record.value(), key)).unwrap_or(listed));
        Ok(true)
    }
}

impl Change {
    fn queue(&self) -> &Arc<str> {
        match self {
            Self::Insert { queue, .. }
            | Self::Replace { queue, .. }
            | Self::Remove { queue, .. }
            | Self::RemoveBad { queue, .. } => queue,
        }
    }
}

impl Row {
    fn add(&mut self, (items, bytes, stored): Sizes) {
        self.held.records += 1;
        self.held.items = self.held.items.saturating_add(items);
        self.held.bytes = self.held.bytes.saturating_add(bytes);
        self.used = self.used.saturating_add(takes(stored));
    }

    fn take(&mut self, (items, bytes, stored): Sizes) {
        let records = self.held.records.saturating_sub(1);
        if records == 0 {
            // Where a size was wrong, the error ends here.
            (self.held, self.used) = (Held::default(), 0);
            return;
        }
        self.held.records = records;
        self.held.items = self.held.items.saturating_sub(items);
        self.held.bytes = self.held.bytes.saturating_sub(bytes);
        self.used = self.used.saturating_sub(takes(stored));
    }

    fn seal(&self) -> Vec<u8> {
        record::seal([self.next, self.held.records, self.held.items, self.held.bytes, self.used])
    }

    fn unseal(row: &[u8]) -> Option<Self> {
        let [next, records, items, bytes, used] = record::unseal(row)?;
        Some(Self { next, held: Held { records, items, bytes }, used })
    }
}

/// What a record of so many stored bytes takes in the file: redb gives what is larger than a page a power of two of pages.
pub(crate) fn takes(bytes: u64) -> u64 {
    /// The record's header, both keys, the index, and redb's own.
    const BESIDE: u64 = 128;
    let whole = bytes.saturating_add(BESIDE);
    if whole <= PAGE / 2 { whole } else { whole.div_ceil(PAGE).next_power_of_two() * PAGE }
}

/// Notes what each queue holds by what can be read of a store that is damaged; whether that is everything.
pub(crate) fn count(disk: Box<dyn StorageBackend>, held: &mut BTreeMap<Arc<str>, Held>) -> Result<bool, Fault> {
    guarded(|| {
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Disk(disk)).map_err(fault)?;
        let reading = database.begin_read().map_err(fault)?;
        let mut complete = true;
        for row in reading.open_table(QUEUES).map_err(fault)?.iter().map_err(fault)? {
            let (name, row) = row.map_err(fault)?;
            match Row::unseal(row.value()) {
                Some(row) => drop(held.insert(name.value().into(), row.held)),
                None => complete = false,
            }
        }
        Ok(complete)
    })
}

/// Makes the tables where they are missing, and reads what is known of each queue.
fn prepare(database: &Database) -> Result<HashMap<Arc<str>, Row>, Fault> {
    let mut rows = HashMap::new();
    let mut unreadable = Vec::new();
    let reading = database.begin_read().map_err(fault)?;
    let format = match reading.open_table(META) {
        Ok(meta) => meta.get(FORMAT).map_err(fault)?.map(|format| format.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(fault(error)),
    };
    match format {
        Some(FORMAT_VERSION) => {}
        Some(other) => return Err(Fault::Newer(other)),
        // Only what has nothing in it is new: else the format would be there.
        None if reading.open_table(RECORDS).is_ok() => {
            return Err(Fault::Broken("it does not say what format it has".to_owned()));
        }
        None => return create(database).map(|()| rows),
    }
    for row in reading.open_table(QUEUES).map_err(fault)?.iter().map_err(fault)? {
        let (name, row) = row.map_err(fault)?;
        let name: Arc<str> = name.value().into();
        match Row::unseal(row.value()) {
            Some(row) => drop(rows.insert(name, row)),
            None => unreadable.push(name),
        }
    }
    let index = reading.open_table(INDEX).map_err(fault)?;
    for name in unreadable {
        let mut row = Row::default();
        let key = queue_key(&name);
        for one in index.range((key, 0)..=(key, u64::MAX)).map_err(fault)? {
            let (place, size) = one.map_err(fault)?;
            row.next = place.value().1.saturating_add(1);
            row.add(size.value());
        }
        rows.insert(name, row);
    }
    Ok(rows)
}

fn create(database: &Database) -> Result<(), Fault> {
    let mut writing = database.begin_write().map_err(fault)?;
    writing.set_quick_repair(true);
    writing.open_table(RECORDS).map_err(fault)?;
    writing.open_table(INDEX).map_err(fault)?;
    writing.open_table(QUEUES).map_err(fault)?;
    writing.open_table(META).map_err(fault)?.insert(FORMAT, FORMAT_VERSION).map_err(fault)?;
    writing.commit().map_err(fault)
}

/// A damaged file can make redb panic: that ends the attempt, not the program.
fn guarded<T>(attempt: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(Fault::Broken(text::foreign(said.unwrap_or("it cannot be read"))))
    })
}

fn fault(error: impl Into<redb::Error>) -> Fault {
    match error.into() {
        redb::Error::Io(error) if is_full(&error) => Fault::Full(error.to_string()),
        redb::Error::Io(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            Fault::Broken(error.to_string())
        }
        error @ (redb::Error::Io(_)
        | redb::Error::PreviousIo
        | redb::Error::DatabaseClosed
        | redb::Error::DatabaseAlreadyOpen) => Fault::Io(error.to_string()),
        error => Fault::Broken(error.to_string()),
    }
}

/// What an error of the file system is.
pub(crate) fn io_fault(error: &io::Error) -> Fault {
    if is_full(error) { Fault::Full(error.to_string()) } else { Fault::Io(error.to_string()) }
}

fn out_of_order() -> Fault {
    Fault::Broken("its index is out of order".to_owned())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// The file as redb sees it.
pub(crate) fn file_backend(file: File) -> Result<Box<dyn StorageBackend>, Fault> {
    Ok(Box::new(FileBackend::new(file).map_err(fault)?))
}

/// What redb writes to, whatever it is. Nobody but the holder of the directory's lock has it open: redb needs no lock of its own.
#[derive(Debug)]
struct Disk(Box<dyn StorageBackend>);

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
