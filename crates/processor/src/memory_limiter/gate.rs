//! How much may be in flight when the process takes more than it shall, and what is told of refusals.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use minicol_plugin::{Scope, Status};

use super::Limits;

/// Why a batch was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is larger than the soft limit: this is its size.
    TooLarge(u64),
    /// What is in flight would pass the soft limit.
    Soft,
    /// With what is being received, it would pass the hard limit.
    Received,
    /// The process takes more than the hard limit.
    Hard,
}

/// Remembers from one look at memory to the next.
pub(crate) struct Gate {
    ceiling: AtomicU64,
    state: Mutex<State>,
    scope: Scope,
}

#[derive(Default)]
struct State {
    /// Resident memory when the newest was shed last, as long as it is above the hard limit.
    shed_at: Option<u64>,
    /// Items refused since it was told that it refuses.
    refusing: Option<u64>,
    /// Of these, since the last look.
    lately: u64,
    all: u64,
}

/// No ceiling.
const OPEN: u64 = u64::MAX;

impl Gate {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { ceiling: AtomicU64::new(OPEN), state: Mutex::default(), scope }
    }

    /// What may be in flight while the process is above the hard limit.
    pub(crate) fn ceiling(&self) -> u64 {
        self.ceiling.load(Ordering::Relaxed)
    }

    /// Judges the process's memory. Above the hard limit and growing, a quarter less than now may be in flight: the newest is shed. Above it and
    /// not growing, a little more than before may be: what is free of it is used again, whatever the allocator keeps.
    pub(crate) fn look(&self, resident: Option<u64>, in_flight: u64, limits: Limits) {
        let mut state = self.state();
        let above = resident.filter(|resident| *resident > limits.hard);
        let (ceiling, shed_at) = match (above, state.shed_at) {
            (None, _) => (OPEN, None),
            (Some(now), Some(before)) if now <= before.saturating_add(before / 100) => {
                (self.ceiling().min(limits.soft).saturating_add(limits.soft / 50), Some(before))
            }
            (Some(now), _) => (in_flight / 4 * 3, Some(now)),
        };
        self.ceiling.store(ceiling, Ordering::Relaxed);
        state.shed_at = shed_at;
        // It takes again when nothing was refused for the whole time between two looks.
        if std::mem::take(&mut state.lately) == 0
            && let Some(refused) = state.refusing.take()
        {
            self.scope.report(Status::Ok, format!("takes everything again; {refused} items were refused meanwhile"));
        }
    }

    /// Counts a refusal, and tells it where it is the first.
    pub(crate) fn refused(&self, items: u64, why: &str) {
        let mut state = self.state();
        state.all += items;
        state.lately += items;
        if let Some(refused) = &mut state.refusing {
            *refused += items;
            return;
        }
        state.refusing = Some(items);
        self.scope.report(Status::RecoverableError, format!("refuses what comes: {why}"));
    }

    pub(crate) fn all_refused(&self) -> u64 {
        self.state().all
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
