//! The queues as their users see them: every call is a command for the engine's thread.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use minicol_plugin::{
    async_trait,
    storage::{Held, OnStored, Storage, StorageError, StoredQueue, StoredRecord},
};
use serde::{Serialize, Serializer};
use tokio::sync::{mpsc, oneshot};

use crate::record::Packed;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StorageError>>;

/// What the engine can be asked for.
pub(crate) enum Command {
    Push {
        queue: Arc<str>,
        payload: Packed,
        items: u64,
        stored: OnStored,
        reply: Reply<()>,
    },
    Read {
        queue: Arc<str>,
        after: Option<u64>,
        bytes: usize,
        reply: Reply<Vec<StoredRecord>>,
    },
    Replace {
        queue: Arc<str>,
        id: u64,
        payload: Packed,
        items: u64,
        reply: Reply<bool>,
    },
    Remove {
        queue: Arc<str>,
        id: u64,
        reply: Reply<()>,
    },
    Quarantine {
        queue: Arc<str>,
        id: u64,
        why: String,
        reply: Reply<()>,
    },
    /// Time has passed.
    Tick,
    /// Nothing more comes.
    Close,
}

/// What the engine and those who ask share.
pub(crate) struct Shared {
    commands: mpsc::Sender<Command>,
    view: Mutex<View>,
}

/// How the store is, as `/status` shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct View {
    pub(crate) directory: String,
    pub(crate) limit_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) quarantined_records: u64,
    pub(crate) stores_moved_aside: u64,
    /// Items that were in them, as far as that is known.
    pub(crate) items_moved_aside: u64,
    /// Why nothing can be stored now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
    /// A store was open in this life: what an earlier one left is known.
    #[serde(skip)]
    pub(crate) opened: bool,
    pub(crate) queues: BTreeMap<Arc<str>, QueueView>,
}

/// One queue in it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct QueueView {
    pub(crate) records: u64,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    /// Whether it has a user.
    #[serde(rename = "in_use", serialize_with = "is_any")]
    pub(crate) users: u32,
    /// Whether its last user has let go of it.
    #[serde(skip)]
    pub(crate) released: bool,
    /// What was in it when the store was opened first.
    #[serde(skip)]
    pub(crate) left: Held,
    /// What a store held of it that was found damaged while it had no user, or before any was open: its next user takes that on, and learns that it is lost.
    #[serde(skip)]
    pub(crate) gone: Held,
}

/// How many calls may wait for the engine; further ones wait to be one of them.
const COMMANDS: usize = 1024;

pub(crate) fn shared() -> (Arc<Shared>, mpsc::Receiver<Command>) {
    let (commands, asked) = mpsc::channel(COMMANDS);
    (Arc::new(Shared { commands, view: Mutex::default() }), asked)
}

impl Shared {
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), StorageError> {
        self.commands.send(command).await.map_err(|_| StorageError::Closed)
    }

    /// Not where so much is to do that time will be looked at anyway, soon.
    pub(crate) fn tick(&self) {
        let _ = self.commands.try_send(Command::Tick);
    }
}

impl QueueView {
    pub(crate) fn holds(&mut self, held: Held) {
        (self.records, self.items, self.bytes) = (held.records, held.items, held.bytes);
    }

    pub(crate) fn held(&self) -> Held {
        Held { records: self.records, items: self.items, bytes: self.bytes }
    }
}

/// `/status` tells whether there is one, not how many.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "that is how serde calls it")]
fn is_any<S: Serializer>(users: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(*users > 0)
}

/// What the extension offers.
pub(crate) struct Files(pub(crate) Arc<Shared>);

struct Queue {
    name: Arc<str>,
    shared: Arc<Shared>,
    /// What was in it when its user came, where the store was open by then.
    left: Option<Held>,
}

impl Storage for Files {
    fn queue(&self, name: &str) -> Arc<dyn StoredQueue> {
        let name: Arc<str> = name.into();
        let mut view = self.0.view();
        let opened = view.opened;
        let queue = view.queues.entry(Arc::clone(&name)).or_default();
        queue.users += 1;
        let left = opened.then(|| queue.held() + std::mem::take(&mut queue.gone));
        drop(view);
        Arc::new(Queue { name, shared: Arc::clone(&self.0), left })
    }
}

impl Queue {
    async fn ask<T>(&self, command: impl FnOnce(Arc<str>, Reply<T>) -> Command) -> Result<T, StorageError> {
        let (reply, answer) = oneshot::channel();
        self.shared.send(command(Arc::clone(&self.name), reply)).await?;
        answer.await.unwrap_or(Err(StorageError::Closed))
    }
}

#[async_trait]
impl StoredQueue for Queue {
    fn holds(&self) -> Held {
        self.shared.view().queues.get(&self.name).map(QueueView::held).unwrap_or_default()
    }

    fn left(&self) -> Option<Held> {
        if self.left.is_some() {
            return self.left;
        }
        let view = self.shared.view();
        view.opened.then(|| view.queues.get(&self.name).map(|queue| queue.left).unwrap_or_default())
    }

    fn release(&self) {
        if let Some(queue) = self.shared.view().queues.get_mut(&self.name) {
            queue.users = queue.users.saturating_sub(1);
            queue.released = true;
        }
        self.shared.tick();
    }

    async fn push(&self, payload: Bytes, items: u64, stored: OnStored) -> Result<(), StorageError> {
        let payload = Packed::new(payload);
        self.ask(|queue, reply| Command::Push { queue, payload, items, stored, reply }).await
    }

    async fn read(&self, after: Option<u64>, bytes: usize) -> Result<Vec<StoredRecord>, StorageError> {
        self.ask(|queue, reply| Command::Read { queue, after, bytes, reply }).await
    }

    async fn replace(&self, id: u64, payload: Bytes, items: u64) -> Result<bool, StorageError> {
        let payload = Packed::new(payload);
        self.ask(|queue, reply| Command::Replace { queue, id, payload, items, reply }).await
    }

    async fn remove(&self, id: u64) -> Result<(), StorageError> {
        self.ask(|queue, reply| Command::Remove { queue, id, reply }).await
    }

    async fn quarantine(&self, id: u64, why: &str) -> Result<(), StorageError> {
        self.ask(|queue, reply| Command::Quarantine { queue, id, why: why.to_owned(), reply }).await
    }
}
