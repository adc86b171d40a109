//! The data model of a poller: a state machine that turns what a source says into the points that a backend sees. Start from
//! [`SeriesStore::apply`]. `docs/timelines.md` shows each case of a series' life, and is run as a test.
//!
//! No clock is read here: every time comes from the [`Arrival`] of an answer.

mod accumulate;
mod clock;
mod exponential;
mod histogram;
mod life;
mod memory;
mod metric;
mod source;
mod teller;
#[cfg(test)]
mod tests;

use std::time::Duration;

use indexmap::IndexMap;
use minicol_pdata::{Arrival, MetricsBuilder, Resource};

use self::source::SourceState;
use crate::sample::{Cycle, Instrument, Limits, Tally};

/// The series of every source. It lives in a slot that outlives the processor: a reload changes limits and instruments, and what is known stays.
#[derive(Debug)]
pub(crate) struct SeriesStore {
    limits: Limits,
    /// When minicol began to watch: before everything that it accumulates.
    began: Arrival,
    sources: IndexMap<Resource, SourceState>,
    /// When sources that are gone are looked for next.
    next_sweep: Duration,
    live: usize,
}

impl SeriesStore {
    /// Nothing known yet; `began` is now.
    pub(crate) fn new(limits: Limits, began: Arrival) -> Self {
        Self { limits, began, sources: IndexMap::new(), next_sweep: Duration::ZERO, live: 0 }
    }

    /// What a reload made of the limits. Lower ones hold for what comes: no series is dropped for them.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes in everything that one source said in one cycle, and writes the points that follow to `out`, under the resource that was
    /// opened there last. Metrics come in the order of `instruments`. A metric is known by its name: the instruments may be others at each call.
    pub(crate) fn apply(&mut self, cycle: Cycle, instruments: &[Instrument], out: &mut MetricsBuilder) -> Tally {
        let mut tally = Tally::default();
        self.sweep(cycle.now, &mut tally);
        let began = self.began.wall;
        let known = self.sources.get_index_of(&cycle.source.resource);
        let source = match known.and_then(|at| self.sources.get_index_mut(at)) {
            Some((_, source)) => source,
            None => self.sources.entry(cycle.source.resource.clone()).or_insert_with(|| SourceState::new(began)),
        };
        let before = source.live;
        source.apply(cycle, instruments, self.limits, out, &mut tally);
        self.live = self.live.saturating_sub(before) + source.live;
        tally.live = self.live;
        tally
    }

    #[cfg(test)]
    fn largest(&self) -> [usize; 4] {
        self.sources.values().map(SourceState::largest).fold([0; 4], |a, b| std::array::from_fn(|at| a[at].max(b[at])))
    }

    /// Forgets sources that nothing was heard of for as long as their series are remembered. One that comes back is new.
    fn sweep(&mut self, now: Arrival, tally: &mut Tally) {
        if now.monotonic < self.next_sweep {
            return;
        }
        self.next_sweep = now.monotonic.saturating_add(self.limits.expiry / 4);
        let mut gone = 0;
        self.sources.retain(|_, source| {
            let keep = now.monotonic.saturating_sub(source.heard) <= source.remembered;
            if !keep {
                gone += source.live;
            }
            keep
        });
        if gone > 0 {
            // What comes back must not overlap what it was.
            self.began = now;
            self.live = self.live.saturating_sub(gone);
            tally.expired += gone as u64;
        }
    }
}
