//! The one thread that touches the disk. It takes whatever waits, answers the reads, and makes all changes in one transaction: many waiters, one fsync.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use minicol_plugin::{
    Level, Scope,
    storage::{StorageError, StoredRecord},
};
use tokio::sync::mpsc::Receiver;

use crate::{
    FileStorageConfig,
    config::Fsync,
    group::Group,
    meters::Meters,
    place::{Disk, Place, PlaceError},
    queue::{Command, Shared},
    recovery::UNCLAIMED_AFTER,
    store::{Bad, Fault, MAX_BAD, Store},
};

/// The store, and all that is done so that it goes on.
pub(crate) struct Engine {
    pub(crate) place: Place,
    pub(crate) config: FileStorageConfig,
    pub(crate) scope: Scope,
    pub(crate) meters: Meters,
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) state: State,
    /// Ids that no record may have again, also in a store that takes another's place. Whoever was told of a record was told a smaller one.
    pub(crate) next: HashMap<Arc<str>, u64>,
    /// A store was open in this life.
    pub(crate) was_open: bool,
    /// `compaction.on_start` is still to be done.
    pub(crate) compaction_due: bool,
    /// Queues whose users have not been told yet that what they held is gone.
    pub(crate) resets: HashMap<Arc<str>, String>,
    /// Since the last change that was not forced to the disk.
    pub(crate) unflushed: Option<Duration>,
    /// The disk was full: until then nothing is written that could wait.
    pub(crate) full_until: Option<(Duration, String)>,
    pub(crate) compaction_looked: Duration,
    pub(crate) told: HashMap<&'static str, Duration>,
    /// How often in a row the store was found damaged.
    pub(crate) damaged: u32,
    pub(crate) began: Duration,
    /// So long after that a queue without a user may only be waiting for it.
    pub(crate) patience: Duration,
    /// Queues that hold something and have no user, which was told.
    pub(crate) unclaimed: BTreeSet<Arc<str>>,
}

pub(crate) enum State {
    Open(Store),
    /// Tried again from then on.
    Failed {
        error: StorageError,
        retry: Duration,
    },
    Closed,
}

/// Why the extension does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot open the store in {0}: {1}")]
    Store(String, Fault),
}

/// How much one round may change, in commands and payload bytes as they are stored.
const ROUND_COMMANDS: usize = 512;
const ROUND_BYTES: u64 = 16 * 1024 * 1024;
/// A record that is put aside counts as so much: it is written and forced to the disk by itself.
pub(crate) const QUARANTINE_COSTS: u64 = ROUND_BYTES / MAX_BAD as u64;

impl Engine {
    pub(crate) fn open(
        config: FileStorageConfig,
        scope: Scope,
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let place = Place::take(&config.directory, Arc::clone(&disk))?;
        let meters = Meters::new(scope.meter(), &scope.id().to_string());
        meters.limit(config.limit());
        {
            let mut view = shared.view();
            view.directory = config.directory.display().to_string();
            view.limit_bytes = config.limit();
        }
        let began = scope.clock().monotonic();
        let mut engine = Self {
            place,
            scope,
            meters,
            shared,
            disk,
            state: State::Closed,
            next: HashMap::new(),
            was_open: false,
            compaction_due: config.compaction.on_start,
            config,
            resets: HashMap::new(),
            unflushed: None,
            full_until: None,
            compaction_looked: began,
            told: HashMap::new(),
            damaged: 0,
            began,
            patience: UNCLAIMED_AFTER,
            unclaimed: BTreeSet::new(),
        };
        engine.open_first()?;
        for open in engine.place.close_to_others() {
            engine.scope.notice(Level::Warn, "storage_open_to_others", open);
        }
        Ok(engine)
    }

    /// What takes its time, and nobody who starts shall wait for: the check of a store that may be damaged, and compaction.
    pub(crate) fn prepare(&mut self) {
        self.reopen_where_due();
        if self.compaction_due && matches!(self.state, State::Open(_)) {
            self.compaction_due = false;
            self.compact();
        }
    }

    /// Works until it is told to close, or nobody can ask any more.
    pub(crate) fn work(mut self, mut asked: Receiver<Command>) {
        self.prepare();
        while let Some(first) = asked.blocking_recv() {
            let mut bytes = first.bytes();
            let mut round = vec![first];
            while round.len() < ROUND_COMMANDS && bytes < ROUND_BYTES {
                let Ok(more) = asked.try_recv() else { break };
                bytes += more.bytes();
                round.push(more);
            }
            if self.round(round) {
                break;
            }
        }
        asked.close();
        self.close();
    }

    /// Does what was asked for; true where nothing more comes.
    pub(crate) fn round(&mut self, commands: Vec<Command>) -> bool {
        let mut group = Group::default();
        let mut closing = false;
        for command in commands {
            match command {
                Command::Tick => self.tick(),
                Command::Close => closing = true,
                Command::Read { queue, after, bytes, reply } => {
                    let found = self.read(&queue, after, bytes, &mut group);
                    let _ = reply.send(found);
                }
                Command::Quarantine { queue, id, why, reply } => {
                    self.put_aside(&queue, id, &why);
                    group.remove(queue, id, reply);
                }
                Command::Replace { queue, id, payload, items, reply } => {
                    group.replace(queue, id, payload, items, reply);
                }
                Command::Remove { queue, id, reply } => group.remove(queue, id, reply),
                Command::Push { queue, payload, items, stored, reply } => {
                    match self.has_room(payload.stored(), &mut group) {
                        Ok(()) => group.push(queue, payload, items, stored, reply),
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
            }
        }
        if let Err(error) = self.place.sync_quarantine() {
            self.tell("quarantine_not_forced", Level::Warn, || {
                format!("what was put into quarantine may be gone after a power loss: {error}")
            });
        }
        self.change(group);
        closing
    }

    fn read(
        &mut self,
        queue: &Arc<str>,
        after: Option<u64>,
        bytes: usize,
        group: &mut Group,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        let found = self.with_store(|store| store.read(queue, after, bytes));
        if let Some(why) = self.resets.remove(queue) {
            return Err(StorageError::Reset(why));
        }
        let (records, bad) = found?;
        for Bad { id, raw, why } in bad {
            self.quarantine(queue, id, &raw, &why);
            group.remove_bad(Arc::clone(queue), id);
        }
        Ok(records)
    }

    /// Puts a record aside that its user cannot read.
    fn put_aside(&mut self, queue: &Arc<str>, id: u64, why: &str) {
        // Where it cannot be read, its removal fails, too, and is asked for again.
        if let Ok(raw) = self.with_store(|store| store.raw(queue, id)) {
            self.quarantine(queue, id, raw.as_deref().unwrap_or_default(), why);
        }
    }

    fn quarantine(&mut self, queue: &str, id: u64, raw: &[u8], why: &str) {
        self.meters.quarantined();
        self.shared.view().quarantined_records += 1;
        let kept = match self.place.quarantine(queue, id, raw) {
            Ok(Some(path)) => format!("it is in {}", path.display()),
            Ok(None) => "it is not kept, because so much is in quarantine already".to_owned(),
            Err(error) => format!("it is not kept: {error}"),
        };
        self.tell("record_quarantined", Level::Error, || {
            format!("record {id} of queue `{queue}` cannot be read and was left out: {why}; {kept}")
        });
    }

    /// Whether a payload of so many bytes may be stored now.
    fn has_room(&mut self, bytes: u64, group: &mut Group) -> Result<(), StorageError> {
        if let Some((until, why)) = &self.full_until
            && self.now() < *until
        {
            return Err(StorageError::Full(why.clone()));
        }
        let used = self.with_store(|store| Ok(store.used()))?;
        let outcome = group.room(used, self.config.limit(), &self.place).take(bytes);
        if let Err(StorageError::Full(why)) = &outcome {
            self.tell("storage_full", Level::Warn, || why.clone());
        }
        outcome
    }

    /// Makes the changes, and tells those who wait for them.
    fn change(&mut self, group: Group) {
        let (changes, waiters) = group.into_parts();
        if changes.is_empty() {
            return;
        }
        let durable = self.config.fsync == Fsync::Always;
        let began = self.now();
        let left = match self.with_store(|store| store.change(&changes, durable)) {
            Ok(left) => left,
            Err(error) => return waiters.into_iter().for_each(|waiter| waiter.failed(&error)),
        };
        let ended = self.now();
        self.meters.committed(ended.saturating_sub(began).as_secs_f64());
        if !durable {
            self.unflushed.get_or_insert(ended);
        }
        self.works();
        self.show();
        for (waiter, left) in waiters.into_iter().zip(left) {
            waiter.done(left);
        }
    }

    /// Asks the store, opened anew where it failed and it is time.
    pub(crate) fn with_store<T>(
        &mut self,
        ask: impl FnOnce(&mut Store) -> Result<T, Fault>,
    ) -> Result<T, StorageError> {
        self.reopen_where_due();
        let asked = match &mut self.state {
            State::Open(store) => ask(store),
            State::Failed { error, .. } => return Err(error.clone()),
            State::Closed => return Err(StorageError::Closed),
        };
        asked.map_err(|fault| self.failed(&fault))
    }
}
