//! How the engine opens its store, what it does when that fails, and what it looks after as time passes.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Duration,
};

use minicol_plugin::{
    Level, Status,
    storage::{Held, StorageError},
};

use crate::{
    config::MIB,
    engine::{Engine, OpenError, QUARANTINE_COSTS, State},
    place::{KEEP_BROKEN, on_disk},
    queue::{Command, QueueView, View},
    salvage::Counted,
    store::{self, Fault, Opening, Store},
};

/// A store that fails is opened anew after this.
const RETRY: Duration = Duration::from_secs(1);
/// The same kind of thing is told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// So often in a row a store may be found damaged though all its pages look right; then it is moved aside.
const DAMAGED_IN_A_ROW: u32 = 3;
/// A queue that nobody asked for by then has no user.
pub(crate) const UNCLAIMED_AFTER: Duration = Duration::from_secs(10);

impl Engine {
    /// The first attempt, which is a quick one: the program waits for it. Where it fails, the store is tried again as one that fails later is; only
    /// one that this program must not touch keeps it from starting.
    pub(crate) fn open_first(&mut self) -> Result<(), OpenError> {
        match self.open_store(Opening::default()) {
            Ok(store) => {
                self.opened(store);
                self.scope.report(Status::Ok, format!("stores in {}", self.place.directory().display()));
            }
            Err(fault @ Fault::Newer(_)) => {
                return Err(OpenError::Store(self.place.directory().display().to_string(), fault));
            }
            Err(fault) => {
                let error = self.refusal(&fault);
                self.state = State::Failed { error, retry: self.now() };
            }
        }
        Ok(())
    }

    /// Opens the store; one that cannot be opened is moved aside, and an empty one takes its place.
    pub(crate) fn open_or_move_aside(&mut self, opening: Opening) -> Result<Store, Fault> {
        let mut damage = match self.open_store(opening) {
            Err(Fault::Broken(why)) => why,
            other => return other,
        };
        if !opening.suspicious {
            // What it notes of free pages may be all that is damaged: this makes that anew.
            match self.open_store(Opening { suspicious: true }) {
                Err(Fault::Broken(why)) => damage = why,
                other => return other,
            }
        }
        self.move_aside(&damage)?;
        self.open_store(Opening::default())
    }

    /// No checksum covers what a quick look reads: that a later version wrote a store is believed only once every page is known to be right.
    fn open_store(&self, opening: Opening) -> Result<Store, Fault> {
        match self.look_into_store(opening) {
            Err(Fault::Newer(_)) if !opening.suspicious => self.look_into_store(Opening { suspicious: true }),
            other => other,
        }
    }

    fn look_into_store(&self, opening: Opening) -> Result<Store, Fault> {
        let io = |error: io::Error| store::io_fault(&error);
        let file = self.place.open_store().map_err(io)?;
        let fresh = file.metadata().map_err(io)?.len() == 0;
        let opened = self.open_in(file, opening).and_then(|store| {
            // Nobody is told that anything is stored in a file that may have no name after a power loss.
            self.place.sync_entries().map_err(io)?;
            Ok(store)
        });
        if fresh && opened.is_err() {
            // Half of a new store is no damaged one.
            let _ = self.place.open_store().and_then(|file| file.set_len(0));
        }
        opened
    }

    fn open_in(&self, file: File, opening: Opening) -> Result<Store, Fault> {
        Store::open(self.disk.open(file)?, opening, self.was_open.then_some(&self.next))
    }

    fn move_aside(&mut self, damage: &str) -> Result<(), Fault> {
        let (aside, deleted) = self.place.move_store_aside().map_err(|error| store::io_fault(&error))?;
        let counted = if self.was_open { self.shared.view().counted() } else { count(&aside) };
        let lost = if self.was_open && counted.items() > 0 {
            format!("of the {} items that it held, those are lost that are not in delivery already", counted.items())
        } else {
            counted.lost()
        };
        let mut why = format!(
            "the store was damaged ({damage}): {lost}; it was moved to {}, and an empty one takes its place; check the disk, and keep that file where its items matter: it takes {} MiB of the disk, and the last {KEEP_BROKEN} such files stay",
            aside.display(),
            fs::metadata(&aside).map_or(0, |file| on_disk(&file)).div_ceil(MIB),
        );
        for old in deleted {
            let _ = write!(why, "; {} was deleted, because only so many are kept", old.display());
        }
        self.meters.moved_aside(&counted);
        let mut view = self.shared.view();
        view.stores_moved_aside += 1;
        view.items_moved_aside += counted.items();
        for (queue, held) in counted.queues {
            let one = view.queues.entry(Arc::clone(&queue)).or_default();
            one.holds(Held::default());
            if !self.was_open || one.users == 0 {
                one.gone = one.gone + held;
            }
            self.resets.insert(queue, why.clone());
        }
        drop(view);
        self.scope.notice(Level::Error, "store_moved_aside", why);
        self.damaged = 0;
        Ok(())
    }

    pub(crate) fn opened(&mut self, store: Store) {
        for (queue, row) in store.queues() {
            self.next.insert(Arc::clone(queue), row.next);
        }
        if !self.was_open {
            let mut view = self.shared.view();
            view.opened = true;
            for (queue, row) in store.queues() {
                view.queues.entry(Arc::clone(queue)).or_default().left = row.held;
            }
            for queue in view.queues.values_mut().filter(|queue| queue.users > 0) {
                queue.left = queue.left + std::mem::take(&mut queue.gone);
            }
        }
        self.was_open = true;
        self.state = State::Open(store);
        self.show();
    }

    pub(crate) fn reopen_where_due(&mut self) {
        let State::Failed { retry, .. } = &self.state else { return };
        if self.now() < *retry {
            return;
        }
        match self.open_or_move_aside(Opening { suspicious: self.damaged > 0 }) {
            Ok(store) => {
                let late = !self.was_open;
                self.opened(store);
                if late {
                    self.works();
                }
            }
            Err(fault) => drop(self.failed(&fault)),
        }
    }

    /// The store failed: it is closed, and opened anew when it is asked for next, or a little later where that just failed, too.
    pub(crate) fn failed(&mut self, fault: &Fault) -> StorageError {
        let now = self.now();
        let was_open = matches!(self.state, State::Open(_));
        let error = self.refusal(fault);
        let retry = if was_open { now } else { now + RETRY };
        let store = std::mem::replace(&mut self.state, State::Failed { error: error.clone(), retry });
        if let State::Open(store) = store {
            self.next.extend(store.queues().map(|(queue, row)| (Arc::clone(queue), row.next)));
            // Letting go of what is damaged may panic, too.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(store)));
        }
        if let Fault::Broken(damage) = fault
            && self.damaged >= DAMAGED_IN_A_ROW
            && let Err(fault) = self.move_aside(damage)
        {
            self.tell("store_not_moved_aside", Level::Error, || fault.to_string());
        }
        error
    }

    /// Notes and tells that the store cannot be used; what those are told who ask.
    fn refusal(&mut self, fault: &Fault) -> StorageError {
        let why = format!("cannot use the store in {}: {fault}", self.config.directory.display());
        if matches!(fault, Fault::Broken(_)) {
            self.damaged += 1;
        }
        if self.shared.view().trouble.replace(why.clone()).is_none() {
            self.scope.report(Status::RecoverableError, why.clone());
        }
        if matches!(fault, Fault::Full(_)) {
            self.full_until = Some((self.now() + RETRY, why.clone()));
            return StorageError::Full(why);
        }
        StorageError::Unavailable(why)
    }

    /// A change was made.
    pub(crate) fn works(&mut self) {
        self.damaged = 0;
        if self.shared.view().trouble.take().is_some() {
            self.scope.report(Status::Ok, "stores again");
        }
    }

    /// Shows how the store is.
    pub(crate) fn show(&mut self) {
        let State::Open(store) = &self.state else { return };
        let (used, on_disk) = (store.used(), self.place.on_disk());
        let mut view = self.shared.view();
        for (queue, row) in store.queues() {
            view.queues.entry(Arc::clone(queue)).or_default().holds(row.held);
            // What an earlier store used is used up for the next one.
            self.next.insert(Arc::clone(queue), row.next);
        }
        (view.used_bytes, view.disk_bytes) = (used, on_disk);
        let records = view.queues.values().map(|queue| queue.records).sum();
        drop(view);
        self.meters.sizes(on_disk, used, records);
    }

    /// What is due as time passes.
    pub(crate) fn tick(&mut self) {
        let now = self.now();
        self.prepare();
        if self.unflushed.is_some_and(|since| now.saturating_sub(since) >= self.config.fsync_interval.0) {
            self.flush();
        }
        if now.saturating_sub(self.compaction_looked) >= self.config.compaction.check_interval.0 {
            self.compaction_looked = now;
            if self.is_rebound() {
                self.compact();
            }
        }
        self.look_for_unclaimed(now);
    }

    /// Tells which queues hold something that nobody delivers, and which are delivered again. At a start their users may still be to come.
    fn look_for_unclaimed(&mut self, now: Duration) {
        let all = now.saturating_sub(self.began) >= self.patience;
        let queues = self.shared.view().queues.clone();
        let unclaimed = |held: &QueueView| held.records > 0 && held.users == 0 && (all || held.released);
        let mut items = 0;
        for (queue, held) in queues.iter().filter(|(_, held)| unclaimed(held)) {
            items += held.items;
            if self.unclaimed.insert(Arc::clone(queue)) {
                let message = format!(
                    "{} items are stored in queue `{queue}`, but no exporter of that id keeps its queue here: they stay where they are",
                    held.items
                );
                self.scope.notice(Level::Warn, "queue_without_exporter", message);
            }
        }
        self.meters.unclaimed(items);
        let told = std::mem::take(&mut self.unclaimed);
        let (still, taken_up): (BTreeSet<_>, BTreeSet<_>) =
            told.into_iter().partition(|queue| queues.get(queue).is_some_and(unclaimed));
        self.unclaimed = still;
        for queue in taken_up {
            let message = format!("an exporter keeps queue `{queue}` again: what is stored in it is delivered");
            self.scope.notice(Level::Info, "queue_taken_up", message);
        }
    }

    fn flush(&mut self) {
        self.unflushed = None;
        let began = self.now();
        // Where it fails, what was lost is what may be lost with `fsync: interval`.
        if self.with_store(Store::flush).is_ok() {
            self.meters.committed(self.now().saturating_sub(began).as_secs_f64());
        }
    }

    fn is_rebound(&self) -> bool {
        let (State::Open(store), compaction) = (&self.state, &self.config.compaction) else { return false };
        compaction.on_rebound
            && self.place.on_disk() >= compaction.rebound_needed_threshold_mib.saturating_mul(MIB)
            && store.used() <= compaction.rebound_trigger_threshold_mib.saturating_mul(MIB)
    }

    pub(crate) fn compact(&mut self) {
        let before = self.place.on_disk();
        if self.with_store(Store::compact).is_ok() {
            self.unflushed = None;
            self.show();
            let after = self.place.on_disk();
            let message = format!("the store's file was made smaller: from {} to {} MiB", before / MIB, after / MIB);
            self.scope.notice(Level::Info, "store_compacted", message);
        }
    }

    pub(crate) fn close(&mut self) {
        if self.unflushed.is_some() {
            self.flush();
        }
        if let State::Open(store) = std::mem::replace(&mut self.state, State::Closed)
            && let Err(fault) = store.close()
        {
            self.scope.notice(Level::Warn, "store_not_closed", fault.to_string());
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.scope.clock().monotonic()
    }

    /// Tells something that may happen again and again: at once, then at most once a minute.
    pub(crate) fn tell(&mut self, name: &'static str, level: Level, message: impl FnOnce() -> String) {
        let now = self.now();
        if self.told.get(name).is_none_or(|told| now.saturating_sub(*told) >= TELL_AGAIN) {
            self.told.insert(name, now);
            self.scope.notice(level, name, message());
        }
    }
}

/// What a store held that was moved to `path`.
fn count(path: &Path) -> Counted {
    let disk = File::open(path).map_err(|error| store::io_fault(&error)).and_then(store::file_backend);
    disk.map(Counted::of).unwrap_or_default()
}

impl View {
    /// What the store holds as it was shown last.
    fn counted(&self) -> Counted {
        let queues = self.queues.iter().filter(|(_, queue)| queue.records > 0);
        Counted { queues: queues.map(|(name, queue)| (Arc::clone(name), queue.held())).collect(), complete: true }
    }
}

impl Command {
    /// How much it brings, or how much as it costs.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Push { payload, .. } | Self::Replace { payload, .. } => payload.stored(),
            Self::Quarantine { .. } => QUARANTINE_COSTS,
            _ => 0,
        }
    }
}
