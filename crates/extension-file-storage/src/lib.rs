//! The extension `file_storage`: what it stores survives a crash. An exporter keeps its queue in it with `sending_queue: {storage: file_storage}`.
//! Start from [`FileStorage`]; one thread of its own, the engine, does all that touches the disk.

mod config;
mod engine;
mod group;
mod meters;
mod place;
mod queue;
mod record;
mod recovery;
mod salvage;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

use std::{sync::Arc, time::Duration};

use minicol_plugin::{
    ComponentError, Entry, Extension, Factory, Flow, Scope, Stability, async_trait, storage::Storage,
};
use tokio::{
    sync::{mpsc::Receiver, oneshot},
    time::sleep,
};

pub use config::{CompactionConfig, FileStorageConfig, Fsync};
use engine::Engine;
use place::{Disk, System};
use queue::{Command, Files, Shared};
use recovery::UNCLAIMED_AFTER;

/// What the collector lists.
pub const ENTRY: Entry<dyn Extension> = Entry::of::<FileStorage>();

/// The extension, and its factory.
pub struct FileStorage {
    config: FileStorageConfig,
    shared: Arc<Shared>,
    asked: Receiver<Command>,
    disk: Arc<dyn Disk>,
    /// By then who uses a queue that an earlier life left has asked for it.
    patience: Duration,
}

impl FileStorage {
    /// Nothing is opened or made before it runs.
    pub fn new(config: FileStorageConfig) -> Self {
        let (shared, asked) = queue::shared();
        Self { config, shared, asked, disk: Arc::new(System), patience: UNCLAIMED_AFTER }
    }

    /// How often time is looked at.
    fn tick(&self) -> Duration {
        let shortest = self.config.fsync_interval.0.min(self.config.compaction.check_interval.0);
        shortest.clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

impl Factory for FileStorage {
    type Product = dyn Extension;
    type Config = FileStorageConfig;
    const TYPE: &'static str = "file_storage";
    const DESCRIPTION: &'static str = "keeps exporters' queues on disk, so that what was taken survives a crash";
    const STABILITY: Stability = Stability::Beta;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[];
    const EXAMPLE: &'static str = "directory: /var/lib/minicol/file_storage\nmax_size_mib: 1024\nfsync: always\n";
    const OFFERS_STORAGE: bool = true;

    fn build(config: FileStorageConfig, _: &Scope) -> Result<Box<dyn Extension>, ComponentError> {
        Ok(Box::new(Self::new(config)))
    }
}

#[async_trait]
impl Extension for FileStorage {
    fn storage(&self) -> Option<Arc<dyn Storage>> {
        Some(Arc::new(Files(Arc::clone(&self.shared))))
    }

    async fn run(self: Box<Self>, scope: Scope) -> Result<(), ComponentError> {
        let tick = self.tick();
        let Self { config, shared, asked, disk, patience } = *self;
        let shown = Arc::clone(&shared);
        scope.show(move || serde_json::to_value(&*shown.view()).unwrap_or_default());
        let (told, opened) = oneshot::channel();
        let (ending, mut ended) = oneshot::channel::<()>();
        let (own_scope, own_shared) = (scope.clone(), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("file_storage".to_owned())
            .spawn(move || {
                match Engine::open(config, own_scope, own_shared, disk) {
                    Ok(mut engine) => {
                        engine.patience = patience;
                        let _ = told.send(Ok(()));
                        engine.work(asked);
                    }
                    Err(error) => drop(told.send(Err(error))),
                }
                drop(ending);
            })
            .map_err(|error| ComponentError::caused("cannot start the thread that writes", error))?;
        match opened.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(ComponentError::new(error.to_string())),
            Err(_) => return Err(ComponentError::new("the thread that writes ended at once, which is a bug")),
        }
        scope.ready();
        loop {
            tokio::select! {
                biased;
                () = scope.stopping() => break,
                _ = &mut ended => return Err(ComponentError::new("the thread that writes ended, which is a bug")),
                () = sleep(tick) => shared.tick(),
            }
        }
        let _ = shared.send(Command::Close).await;
        // It is closed in any case: what was told to be durable is.
        let _ = scope.abandoned_token().run_until_cancelled(ended).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
