//! What was stored is there, whatever happens to the process, the disk or the file.

mod damage;
mod disk;
mod full;
mod lives;
mod power;
mod reference;
mod users;

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use bytes::Bytes;
use minicol_plugin::{
    ComponentError, ComponentKind, Extension,
    storage::{Storage, StorageError, StoredQueue, StoredRecord},
    testing::Harness,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinHandle;

use crate::{FileStorage, FileStorageConfig};
use disk::{Disk, Gate};

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
            extension.disk = Arc::new(disk);
        }
        Self::of(extension, harness).await
    }

    async fn of(extension: FileStorage, harness: Harness) -> Result<Self, String> {
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
