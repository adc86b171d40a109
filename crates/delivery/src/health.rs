use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use minicol_pdata::Signal;
use minicol_plugin::{ExportError, Level, Scope, Status, config::GoDuration, text};

/// Tells how an exporter does: its status when that changes, and losses by their exact number, each kind at most once a minute.
pub(crate) struct Health {
    scope: ArcSwap<Scope>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failing: Option<Failing>,
    losses: BTreeMap<(Signal, String), Loss>,
    warned: BTreeSet<String>,
    /// The host says from now on how the exporter is: stopping, then stopped.
    stopping: bool,
}

/// Since the first failed attempt after which none succeeded.
struct Failing {
    since: Duration,
    told: BTreeSet<String>,
    lost: u64,
}

#[derive(Default)]
struct Loss {
    told: Option<Duration>,
    untold: u64,
}

/// How much of an exporter's message goes on; exporters have escaped and shortened foreign text in it already.
const MESSAGE_CHARS: usize = 600;
/// The same kind of loss is told again after this, with everything that was lost meanwhile.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How many different things are remembered as told.
const MAX_TOLD: usize = 32;

impl Health {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope: ArcSwap::from_pointee(scope), state: Mutex::default() }
    }

    /// Another exporter is there: how the one before did says nothing about it.
    pub(crate) fn succeed(&self, scope: Scope) {
        let mut state = self.state();
        self.scope.store(Arc::new(scope));
        state.failing = None;
        state.warned.clear();
    }

    /// No status is reported any more; losses still are.
    pub(crate) fn stops(&self) {
        self.state().stopping = true;
    }

    /// An attempt failed: told when the exporter began to fail, and when it begins to fail in another way.
    pub(crate) fn attempt_failed(&self, error: &ExportError) {
        let mut state = self.state();
        let (now, stopping) = (self.scope.load().clock().monotonic(), state.stopping);
        let failing = state.failing.get_or_insert_with(|| Failing { since: now, told: BTreeSet::new(), lost: 0 });
        if failing.told.len() < MAX_TOLD && failing.told.insert(error.error_type.clone()) && !stopping {
            self.scope.load().report(Status::RecoverableError, text::shortened(&error.message, MESSAGE_CHARS));
        }
    }

    /// An attempt succeeded: told when the exporter had been failing.
    pub(crate) fn attempt_succeeded(&self) {
        let mut state = self.state();
        let Some(failing) = state.failing.take().filter(|_| !state.stopping) else { return };
        let whole_seconds = (self.scope.load().clock().monotonic().saturating_sub(failing.since)).as_secs();
        let after = GoDuration::from_secs(whole_seconds);
        let message = match failing.lost {
            0 => format!("delivers again after {after}; nothing was lost"),
            lost => format!("delivers again after {after}; {lost} items were lost meanwhile"),
        };
        self.scope.load().report(Status::Ok, message);
    }

    /// Items are gone for good.
    pub(crate) fn lost(&self, signal: Signal, items: u64, reason: &str, why: &str) {
        if items == 0 {
            return;
        }
        if let Some(failing) = &mut self.state().failing {
            failing.lost += items;
        }
        self.tell(signal, items, reason, Level::Error, "items_lost", |total| {
            let why = text::shortened(why, MESSAGE_CHARS);
            format!("{total} {} lost, reason {reason}: {why}", words(signal))
        });
    }

    /// Items were not taken; they stay with the sender.
    pub(crate) fn refused(&self, signal: Signal, items: u64, reason: &str, why: &str) {
        self.tell(signal, items, reason, Level::Warn, "items_refused", |total| {
            format!("{total} {} refused, reason {reason}: {why}", words(signal))
        });
    }

    /// The far end took everything and said something all the same: told when it says something new.
    pub(crate) fn warned(&self, message: &str) {
        let message = text::foreign(message);
        let mut state = self.state();
        if state.warned.len() < MAX_TOLD && state.warned.insert(message.clone()) {
            self.scope.load().notice(
                Level::Warn,
                "far_end_warns",
                format!("the far end took a batch and warned: {message}"),
            );
        }
    }

    /// An earlier life left items in the storage.
    pub(crate) fn restored(&self, signal: Signal, items: u64) {
        if items > 0 {
            let message =
                format!("{items} {} of an earlier life are in storage; they are delivered first", words(signal));
            self.scope.load().notice(Level::Info, "items_restored", message);
        }
    }

    /// Items are left in the storage at the end.
    pub(crate) fn kept(&self, signal: Signal, items: u64) {
        if items > 0 {
            let message = format!(
                "{items} {} are kept in storage; the next exporter of this id that keeps its queue there delivers them, such as after the next start",
                words(signal)
            );
            self.scope.load().notice(Level::Info, "items_kept", message);
        }
    }

    /// Tells what was lost or refused since it was told last, at the end.
    pub(crate) fn tell_the_rest(&self) {
        let losses = std::mem::take(&mut self.state().losses);
        for ((signal, reason), loss) in losses.into_iter().filter(|(_, loss)| loss.untold > 0) {
            let message = format!("{} more {} lost or refused, reason {reason}", loss.untold, words(signal));
            self.scope.load().notice(Level::Warn, "items_lost_more", message);
        }
    }

    fn tell(
        &self,
        signal: Signal,
        items: u64,
        reason: &str,
        level: Level,
        name: &'static str,
        message: impl FnOnce(u64) -> String,
    ) {
        let mut state = self.state();
        let now = self.scope.load().clock().monotonic();
        let mut key = (signal, reason.to_owned());
        if state.losses.len() >= MAX_TOLD && !state.losses.contains_key(&key) {
            "other".clone_into(&mut key.1);
        }
        let loss = state.losses.entry(key).or_default();
        loss.untold += items;
        if loss.told.is_none_or(|told| now.saturating_sub(told) >= TELL_AGAIN) {
            loss.told = Some(now);
            let total = std::mem::take(&mut loss.untold);
            self.scope.load().notice(level, name, message(total));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn words(signal: Signal) -> String {
    signal.items().replace('_', " ")
}
