//! Doors for fuzzing: what the bytes of a record mean, and a store that is driven step by step, with no thread, and no disk to wait for.

use std::{fs::File, io, path::Path, sync::Arc};

use bytes::Bytes;
use minicol_plugin::{
    Scope,
    storage::{Held, StorageError, StoredRecord},
};
use redb::StorageBackend;
use tokio::sync::{mpsc::Receiver, oneshot};

use crate::{
    FileStorageConfig,
    engine::Engine,
    place::Disk,
    queue::{self, Command, Reply},
    record::{self, Packed, queue_key},
    store::{self, Fault},
};

/// The items and the payload of the record that lies at this place, or why these bytes are none.
pub fn read_record(bytes: &[u8], queue: &str, id: u64) -> Result<(u64, Bytes), String> {
    record::read(bytes, (queue_key(queue), id)).map_err(|malformed| malformed.to_string())
}

/// A record as it lies in the store.
pub fn write_record(queue: &str, id: u64, items: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::write(&mut bytes, (queue_key(queue), id), items, &Packed::new(Bytes::copy_from_slice(payload)));
    bytes
}

/// The five numbers of a queue's row, where its bytes are what they were.
pub fn read_row(bytes: &[u8]) -> Option<[u64; 5]> {
    record::unseal(bytes)
}

/// The engine of a storage, which does one thing at a time.
pub struct Driven {
    engine: Engine,
    _asked: Receiver<Command>,
}

impl Driven {
    /// In this directory, with whatever its file holds. Nothing is forced to the disk.
    pub fn open(directory: &Path, scope: Scope) -> Result<Self, String> {
        let config = FileStorageConfig { directory: directory.to_owned(), ..FileStorageConfig::default() };
        let (shared, asked) = queue::shared();
        let mut engine = Engine::open(config, scope, shared, Arc::new(Unforcing)).map_err(|error| error.to_string())?;
        engine.prepare();
        Ok(Self { engine, _asked: asked })
    }

    /// What `/status` says that the queue holds.
    pub fn holds(&self, queue: &str) -> Held {
        let view = self.engine.shared.view();
        let queue = view.queues.get(queue).copied().unwrap_or_default();
        Held { records: queue.records, items: queue.items, bytes: queue.bytes }
    }

    /// The id under which it is stored.
    pub fn push(&mut self, queue: &str, payload: Bytes, items: u64) -> Result<u64, StorageError> {
        let (told, mut id) = oneshot::channel();
        let payload = Packed::new(payload);
        let stored = Box::new(move |id| {
            let _ = told.send(id);
        });
        self.ask(queue, |queue, reply| Command::Push { queue, payload, items, stored, reply })?;
        id.try_recv().map_err(|_| StorageError::Closed)
    }

    /// As [`minicol_plugin::storage::StoredQueue::read`].
    pub fn read(&mut self, queue: &str, after: Option<u64>, bytes: usize) -> Result<Vec<StoredRecord>, StorageError> {
        self.ask(queue, |queue, reply| Command::Read { queue, after, bytes, reply })
    }

    /// As [`minicol_plugin::storage::StoredQueue::replace`].
    pub fn replace(&mut self, queue: &str, id: u64, payload: Bytes, items: u64) -> Result<bool, StorageError> {
        let payload = Packed::new(payload);
        self.ask(queue, |queue, reply| Command::Replace { queue, id, payload, items, reply })
    }

    /// As [`minicol_plugin::storage::StoredQueue::remove`].
    pub fn remove(&mut self, queue: &str, id: u64) -> Result<(), StorageError> {
        self.ask(queue, |queue, reply| Command::Remove { queue, id, reply })
    }

    /// As [`minicol_plugin::storage::StoredQueue::quarantine`].
    pub fn quarantine(&mut self, queue: &str, id: u64) -> Result<(), StorageError> {
        self.ask(queue, |queue, reply| Command::Quarantine { queue, id, why: "a test".to_owned(), reply })
    }

    /// The file is made as small as it can be.
    pub fn compact(&mut self) {
        self.engine.compact();
    }

    /// It ends as a program that has the time.
    pub fn close(mut self) {
        self.engine.close();
    }

    fn ask<T>(&mut self, queue: &str, command: impl FnOnce(Arc<str>, Reply<T>) -> Command) -> Result<T, StorageError> {
        let (reply, mut answer) = oneshot::channel();
        self.engine.round(vec![command(queue.into(), reply)]);
        answer.try_recv().unwrap_or(Err(StorageError::Closed))
    }
}

struct Unforcing;

impl Disk for Unforcing {
    fn open(&self, file: File) -> Result<Box<dyn StorageBackend>, Fault> {
        Ok(Box::new(Unforced(store::file_backend(file)?)))
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Unforced(Box<dyn StorageBackend>);

impl StorageBackend for Unforced {
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
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
