//! What the page remembers of the last minutes: a snapshot has totals only, and a rate needs two of them.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use minicol_plugin::{EdgeSnapshot, Snapshot};

use crate::model::Target;

/// How far apart two samples are.
pub(crate) const STEP: Duration = Duration::from_secs(5);
/// How many samples are kept: rates are over the last minute.
const SAMPLES: usize = 13;
/// How many poll durations of one target are kept.
const POLLS: usize = 120;

/// An arrow's name: pipeline, from, to, and what it carries.
type ArrowKey = (String, String, String, &'static str);

/// Samples of the last minute, and the last polls of each target.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    polls: HashMap<String, VecDeque<Poll>>,
}

#[derive(Debug)]
struct Sample {
    /// On the monotonic clock.
    at: Duration,
    accepted: HashMap<ArrowKey, u64>,
    /// Items that were lost by then.
    lost: u64,
}

/// One poll of a target.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Poll {
    /// When it ended, in seconds since the epoch.
    ended: f64,
    seconds: f64,
}

impl History {
    /// Remembers how everything is.
    pub(crate) fn sample(&mut self, snapshot: &Snapshot, at: Duration) {
        if self.samples.back().is_none_or(|last| at.saturating_sub(last.at) >= STEP) {
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            let accepted = snapshot.books.edges.iter().map(|edge| (key(edge), edge.accepted)).collect();
            self.samples.push_back(Sample { at, accepted, lost: snapshot.books.lost() });
        }
        let targets = snapshot.components.iter().filter_map(|component| {
            let target = Target::of(component)?;
            Some((component.id.to_string(), Poll { ended: target.last_poll_time?, seconds: target.last_poll_seconds? }))
        });
        let targets: HashMap<_, _> = targets.collect();
        // What is gone is forgotten: the memory is bounded by what is there.
        self.polls.retain(|id, _| targets.contains_key(id));
        for (id, poll) in targets {
            let polls = self.polls.entry(id).or_default();
            if polls.back().is_none_or(|last| last.ended < poll.ended) {
                if polls.len() == POLLS {
                    polls.pop_front();
                }
                polls.push_back(poll);
            }
        }
    }

    /// Items a second over the last minute, or since the arrow is known; `None` while there is nothing to compare with.
    pub(crate) fn rate(&self, edge: &EdgeSnapshot, at: Duration) -> Option<f64> {
        let key = key(edge);
        let (then, accepted) = self.samples.iter().find_map(|sample| Some((sample.at, *sample.accepted.get(&key)?)))?;
        let seconds = at.checked_sub(then)?.as_secs_f64();
        // A total that went back is another arrow of the same name.
        let items = edge.accepted.checked_sub(accepted)?;
        (seconds >= 1.0).then(|| items as f64 / seconds)
    }

    /// Whether items were lost within the last minute, where `lost` is how many that are by now.
    pub(crate) fn lost_lately(&self, lost: u64) -> bool {
        self.samples.front().is_some_and(|sample| sample.lost < lost)
    }

    /// How long the last polls of a target took, in seconds, oldest first.
    pub(crate) fn polls(&self, id: &str) -> Vec<f64> {
        self.polls.get(id).into_iter().flatten().map(|poll| poll.seconds).collect()
    }
}

fn key(edge: &EdgeSnapshot) -> ArrowKey {
    (edge.pipeline.clone(), edge.from.clone(), edge.to.clone(), edge.signal.name())
}
