//! What the page remembers of the last minute: a snapshot has totals only, and a rate needs two of them.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use minicol_plugin::{Account, ComponentKind, EdgeSnapshot, Snapshot, sum};

/// How far apart two samples are.
pub(crate) const STEP: Duration = Duration::from_secs(5);
/// How many samples are kept: what is recent is of the last minute.
const SAMPLES: usize = 13;

/// Samples of the last minute.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    /// How many items were lost when it was last looked, and when they were last seen to be more, in seconds since the epoch.
    lost: Option<u64>,
    last_lost: Option<f64>,
}

#[derive(Debug)]
struct Sample {
    /// On the monotonic clock.
    at: Duration,
    totals: HashMap<Key, Totals>,
    /// Items that were lost by then, everywhere together.
    lost: u64,
}

/// What is counted.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Pipeline, from, to, and what it carries.
    Arrow(String, String, String, &'static str),
    /// Kind, id, of a processor its pipeline, and what it takes.
    Component(ComponentKind, String, Option<String>, &'static str),
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    accepted: u64,
    refused: u64,
    lost: u64,
}

/// What became of items within the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lately {
    pub(crate) refused: u64,
    pub(crate) lost: u64,
}

impl History {
    /// Remembers how everything is.
    pub(crate) fn sample(&mut self, snapshot: &Snapshot, at: Duration) {
        let lost = snapshot.books.lost();
        if self.lost.replace(lost).is_some_and(|before| before < lost) {
            self.last_lost = Some(snapshot.now.as_seconds());
        }
        if self.samples.back().is_some_and(|last| at.saturating_sub(last.at) < STEP) {
            return;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        let arrows = snapshot.books.edges.iter().map(|edge| (key(edge), Totals::at(edge)));
        let components = snapshot.books.accounts.iter().map(|account| (key_of(account), Totals::of(account)));
        self.samples.push_back(Sample { at, totals: arrows.chain(components).collect(), lost });
    }

    /// Items a second over the last minute, or since the arrow is known; `None` while there is nothing to compare with.
    pub(crate) fn rate(&self, edge: &EdgeSnapshot, at: Duration) -> Option<f64> {
        let key = key(edge);
        let (then, totals) = self.samples.iter().find_map(|sample| Some((sample.at, sample.totals.get(&key)?)))?;
        let seconds = at.checked_sub(then)?.as_secs_f64();
        // A total that went back is another arrow of the same name.
        let items = edge.accepted.checked_sub(totals.accepted)?;
        (seconds >= 1.0).then(|| items as f64 / seconds)
    }

    /// What was refused and lost at an arrow within the last minute.
    pub(crate) fn at(&self, edge: &EdgeSnapshot) -> Lately {
        self.lately(&key(edge), Totals::at(edge))
    }

    /// What a component refused and lost within the last minute.
    pub(crate) fn of(&self, account: &Account) -> Lately {
        self.lately(&key_of(account), Totals::of(account))
    }

    /// How many items were lost within the last minute, where `lost` are by now.
    pub(crate) fn lost_lately(&self, lost: u64) -> u64 {
        self.samples.front().map_or(0, |sample| lost.saturating_sub(sample.lost))
    }

    /// When items were last seen to be lost, in seconds since the epoch; `None` where none were since the page is there.
    pub(crate) fn last_lost(&self) -> Option<f64> {
        self.last_lost
    }

    fn lately(&self, key: &Key, now: Totals) -> Lately {
        let Some(oldest) = self.samples.front() else { return Lately::default() };
        // What was not there a minute ago has all that it has from then on.
        let then = oldest.totals.get(key).copied().unwrap_or_default();
        let since = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        Lately { refused: since(now.refused, then.refused), lost: since(now.lost, then.lost) }
    }
}

impl Totals {
    fn at(edge: &EdgeSnapshot) -> Self {
        Self { accepted: edge.accepted, refused: sum(&edge.refused), lost: edge.lost }
    }

    fn of(account: &Account) -> Self {
        Self { accepted: account.taken, refused: sum(&account.refused), lost: account.lost() }
    }
}

fn key(edge: &EdgeSnapshot) -> Key {
    Key::Arrow(edge.pipeline.clone(), edge.from.clone(), edge.to.clone(), edge.signal.name())
}

fn key_of(account: &Account) -> Key {
    let Account { kind, component, pipeline, signal, .. } = account;
    Key::Component(*kind, component.to_string(), pipeline.clone(), signal.name())
}
