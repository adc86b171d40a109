//! What was stored is there, whatever happens to the process, the disk or the file.

mod damage;
mod full;
mod lives;
mod reference;

use std::{
    fs::File,
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use minicol_plugin::{
    ComponentError, ComponentKind, Extension,
    storage::{Storage, StorageError, StoredQueue, StoredRecord},
    testing::Harness,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use redb::StorageBackend;
use tokio::task::JoinHandle;

use crate::{FileStorage, FileStorageConfig, store};

/// One life of the extension.
struct Life {
    storage: Arc<dyn Storage>,
    harness: Harness,
    task: JoinHandle<Result<(), ComponentError>>,
}

impl Life {
    async fn begin(config: FileStorageConfig) -> Self {
        Self::try_begin(config, None, Harness::default()).await.expect("it starts")
    }

    async fn on(config: FileStorageConfig, disk: &Disk) -> Self {
        Self::try_begin(config, Some(disk), Harness::default()).await.expect("it starts")
    }

    async fn try_begin(config: FileStorageConfig, disk: Option<&Disk>, harness: Harness) -> Result<Self, String> {
        let mut extension = FileStorage::new(config);
        if let Some(disk) = disk.cloned() {
            let openings = AtomicU64::new(0);
            extension.disk = Arc::new(move |file: File| {
                if let Some(Gate::SecondOpening(gate)) = &disk.gate
                    && openings.fetch_add(1, SeqCst) == 1
                {
                    gate.wait();
                }
                Ok(Box::new(Watched { inner: store::file_backend(file)?, disk: disk.clone() }))
            });
        }
        let extension: Box<dyn Extension> = Box::new(extension);
        let storage = extension.storage().unwrap();
        let (ready, scope) = harness.scope_with_ready(ComponentKind::Extension, "file_storage");
        let mut task = tokio::spawn(extension.run(scope));
        tokio::select! {
            () = ready.cancelled() => Ok(Self { storage, harness, task }),
            end = &mut task => Err(end.unwrap().unwrap_err().to_string()),
        }
    }

    /// It stops as the host makes it stop.
    async fn end(self) {
        self.harness.stopping.cancel();
        self.task.await.unwrap().unwrap();
    }

    fn queue(&self, name: &str) -> Arc<dyn StoredQueue> {
        self.storage.queue(name)
    }
}

/// A disk with limits, which counts.
#[derive(Clone, Debug)]
struct Disk {
    /// Bytes beyond this place of the file find no room.
    size: Arc<AtomicU64>,
    sick: Arc<AtomicBool>,
    unreadable: Arc<AtomicBool>,
    /// Fails with the sync of this number, counted from the first, and ever after.
    sick_from: Arc<AtomicU64>,
    syncs: Arc<AtomicU64>,
    gate: Option<Gate>,
    passed: Arc<AtomicBool>,
}

/// Where the disk waits until the test lets it pass.
#[derive(Clone, Debug)]
enum Gate {
    SecondOpening(Arc<Barrier>),
    /// The first time that the file becomes shorter.
    Shrinking(Arc<Barrier>),
}

#[derive(Debug)]
struct Watched {
    inner: Box<dyn StorageBackend>,
    disk: Disk,
}

impl Disk {
    fn new() -> Self {
        Self {
            size: Arc::new(AtomicU64::new(u64::MAX)),
            sick: Arc::default(),
            unreadable: Arc::default(),
            sick_from: Arc::new(AtomicU64::new(u64::MAX)),
            syncs: Arc::default(),
            gate: None,
            passed: Arc::default(),
        }
    }

    /// Waits until the disk is at its gate, and lets it pass.
    fn pass(&self) {
        if let Some(Gate::SecondOpening(gate) | Gate::Shrinking(gate)) = &self.gate {
            gate.wait();
        }
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.disk.unreadable.load(SeqCst) {
            return Err(io::Error::other("a cable is loose"));
        }
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        if let Some(Gate::Shrinking(gate)) = &self.disk.gate
            && len < self.inner.len()?
            && !self.disk.passed.swap(true, SeqCst)
        {
            gate.wait();
        }
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        let sync = self.disk.syncs.fetch_add(1, SeqCst);
        if self.disk.sick.load(SeqCst) || sync >= self.disk.sick_from.load(SeqCst) {
            return Err(io::Error::other("a cable is loose"));
        }
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset + data.len() as u64 > self.disk.size.load(SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

/// A directory that only its owner can use.
fn own_folder() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o700)).tempdir().unwrap()
}

fn config(directory: &Path) -> FileStorageConfig {
    FileStorageConfig { directory: directory.to_owned(), ..FileStorageConfig::default() }
}

/// Different for every number, `length` bytes long, and nothing that could be made smaller.
fn payload(number: u64, length: usize) -> Bytes {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(length.max(8), 0);
    StdRng::seed_from_u64(number).fill(&mut bytes[8..]);
    bytes.truncate(length);
    bytes.into()
}

/// As different, but most of it is said again and again.
fn text(number: u64, length: usize) -> Bytes {
    format!("batch {number} has points; ").bytes().cycle().take(length).collect()
}

async fn push(queue: &Arc<dyn StoredQueue>, payload: Bytes) -> Result<(), StorageError> {
    queue.push(payload, 1, Box::new(|_| ())).await
}

/// Everything in a queue, oldest first.
async fn all(queue: &Arc<dyn StoredQueue>) -> Vec<StoredRecord> {
    let mut found: Vec<StoredRecord> = Vec::new();
    loop {
        let more = queue.read(found.last().map(|last| last.id), 100_000).await.unwrap();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}
