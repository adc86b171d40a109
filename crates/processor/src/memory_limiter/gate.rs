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
    /// As long as the process is above the guard: what it may take without being taken to grow.
    level: Option<u64>,
    /// The most that was in flight since then.
    held: u64,
    /// Items refused since it was told that it refuses.
    refusing: Option<u64>,
    /// Of these, since the last look.
    lately: u64,
    all: u64,
}

/// Why memory is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It is time.
    Timed,
    /// Much has come since.
    Taken,
}

/// No ceiling.
const OPEN: u64 = u64::MAX;

impl Gate {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { ceiling: AtomicU64::new(OPEN), state: Mutex::default(), scope }
    }

    /// What may be in flight while the process comes near the hard limit.
    pub(crate) fn ceiling(&self) -> u64 {
        self.ceiling.load(Ordering::Relaxed)
    }

    /// Judges the process's memory. Near the hard limit and growing, a quarter less than now may be in flight: the newest is shed. Near it and not
    /// growing, a little more than before may be: what is free of it is used again, whatever the allocator keeps.
    pub(crate) fn look(&self, why: Look, resident: Option<u64>, in_flight: u64, limits: Limits) {
        let mut state = self.state();
        let near = resident.filter(|resident| *resident > limits.guard());
        state.held = if near.is_some() { state.held.max(in_flight) } else { 0 };
        match (near, state.level) {
            (None, _) => {
                state.level = None;
                self.ceiling.store(OPEN, Ordering::Relaxed);
            }
            (Some(now), Some(level)) if now <= level.saturating_add(limits.tolerance()) => {
                if why == Look::Timed {
                    let ceiling = self.ceiling().min(limits.soft).saturating_add(limits.soft / 50);
                    self.ceiling.store(ceiling, Ordering::Relaxed);
                }
            }
            (Some(now), level) => {
                // The level rises only where much of what was in flight is gone, and the allocator keeps its pages all the same. Else what is held
                // would let in a little more at every look, for ever.
                if level.is_none() || in_flight <= state.held / 2 {
                    state.level = Some(now);
                    state.held = in_flight;
                }
                self.ceiling.store(in_flight / 4 * 3, Ordering::Relaxed);
            }
        }
        if why == Look::Taken {
            return;
        }
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
