//! What a poller tells of itself.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use minicol_mcp::{BreakerSnapshot, CycleOutcome, Failure, TargetSnapshot, ToolResult};
use minicol_pdata::{Outcome, Timestamp};
use serde::{Serialize, Serializer};

/// How a poller is; beside its component's status on `/status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PollerStatus {
    /// Whether it polls at its interval.
    pub running: bool,
    /// Whether an operator told it to rest. It asks nobody until it is resumed.
    pub paused: bool,
    /// The target, without the query of its URL.
    pub endpoint: String,
    /// Name and version of the server, where a session was ever made.
    pub server: Option<String>,
    /// Whether the target spoke valid MCP in the last cycle that tried it; `None` before the first.
    pub up: Option<bool>,
    /// Since when `up` is what it is, in seconds since the epoch; `None` before the first cycle that tried the target.
    #[serde(serialize_with = "seconds")]
    pub up_changed: Option<Timestamp>,
    /// Cycles that ended.
    pub poll_cycles: u64,
    /// Failed calls and failed set-ups.
    pub errors: u64,
    /// Ticks that passed without a cycle.
    pub missed_ticks: u64,
    /// Cycles whose observations the next component did not take; they are lost.
    pub refused_batches: u64,
    /// When the last cycle ended, in seconds since the epoch.
    #[serde(serialize_with = "seconds")]
    pub last_poll_time: Option<Timestamp>,
    /// How long the last cycle took, in seconds.
    pub last_poll_seconds: Option<f64>,
    /// How long the last cycles took, in seconds to the microsecond, oldest first; at most 120.
    pub polls: VecDeque<f64>,
    /// The last failure of a call or a set-up.
    pub last_error: Option<LastError>,
    /// Each tool wanted in the last cycle.
    pub tools: BTreeMap<Arc<str>, ToolStatus>,
    /// The circuit breaker of each wanted tool that is not known as missing.
    pub breakers: BTreeMap<Arc<str>, BreakerSnapshot>,
    /// The wanted tools that the server offers, sorted; empty while no list is known.
    pub offered: Vec<Arc<str>>,
    /// The wanted tools that the server does not offer, in the configuration's order.
    pub missing: Vec<Arc<str>>,
}

/// How one tool answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ToolStatus {
    /// What became of it in the last cycle.
    pub outcome: Outcome,
    /// When it last answered, in seconds since the epoch.
    #[serde(serialize_with = "seconds")]
    pub last_answer: Option<Timestamp>,
    /// How long its last call took, answered or not, in seconds.
    pub last_seconds: Option<f64>,
    /// Its last failure.
    pub last_error: Option<LastError>,
}

/// A failure that was met.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastError {
    /// When, in seconds since the epoch.
    #[serde(serialize_with = "seconds_of")]
    pub at: Timestamp,
    /// The tool; `None` where the set-up failed.
    pub tool: Option<Arc<str>>,
    /// The kind of failure, as the attribute `error.type` names it.
    pub error_type: String,
    /// Target, step, cause and cure.
    pub message: String,
}

/// Whether a target spoke valid MCP when it was last tried, and since when that is so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    is: Option<bool>,
    since: Option<Timestamp>,
}

/// Of so many cycles it is remembered how long they took.
const POLLS: usize = 120;

/// What a poller counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) running: bool,
    pub(crate) poll_cycles: u64,
    pub(crate) errors: u64,
    pub(crate) missed_ticks: u64,
    /// Those of them that no report has told yet.
    pub(crate) unreported_ticks: u64,
    pub(crate) refused_batches: u64,
    pub(crate) last_poll_time: Option<Timestamp>,
    pub(crate) last_poll_seconds: Option<f64>,
    pub(crate) polls: VecDeque<f64>,
    pub(crate) last_error: Option<LastError>,
    /// The tools of the last cycle, by the names that they were resolved to.
    pub(crate) tools: BTreeMap<Arc<str>, ToolStatus>,
}

impl Tally {
    pub(crate) fn missed(&mut self, ticks: u64) {
        self.missed_ticks += ticks;
        self.unreported_ticks += ticks;
    }

    /// A cycle has ended.
    pub(crate) fn polled(&mut self, at: Timestamp, took: Duration) {
        self.poll_cycles += 1;
        (self.last_poll_time, self.last_poll_seconds) = (Some(at), Some(took.as_secs_f64()));
        if self.polls.len() == POLLS {
            self.polls.pop_front();
        }
        self.polls.push_back((took.as_secs_f64() * 1e6).round() / 1e6);
    }

    pub(crate) fn failed(&mut self, tool: Option<&Arc<str>>, failure: &Failure, at: Timestamp) {
        self.errors += 1;
        self.last_error = Some(LastError::of(tool, failure, at));
    }

    /// What became of each tool in a cycle that has ended. A tool that is no longer wanted is forgotten.
    pub(crate) fn answered(&mut self, outcome: &CycleOutcome, at: Timestamp) {
        let mut known = std::mem::take(&mut self.tools);
        for (tool, result) in &outcome.tools {
            let before = known.remove(tool);
            self.tools.insert(Arc::clone(tool), ToolStatus::after(before, tool, result, at));
        }
    }

    pub(crate) fn status(self, endpoint: String, paused: bool, up: Standing, target: TargetSnapshot) -> PollerStatus {
        let listed = target.offered.unwrap_or_default();
        PollerStatus {
            offered: self.tools.keys().filter(|tool| listed.contains(tool)).cloned().collect(),
            running: self.running && !paused,
            paused,
            endpoint,
            server: target.server,
            up: up.is,
            up_changed: up.since,
            poll_cycles: self.poll_cycles,
            errors: self.errors,
            missed_ticks: self.missed_ticks,
            refused_batches: self.refused_batches,
            last_poll_time: self.last_poll_time,
            last_poll_seconds: self.last_poll_seconds,
            polls: self.polls,
            last_error: self.last_error,
            tools: self.tools,
            breakers: target.breakers,
            missing: target.missing,
        }
    }
}

impl Standing {
    /// The last value stands where nothing was tried.
    pub(crate) fn tried(&mut self, up: Option<bool>, at: Timestamp) -> Option<bool> {
        if up.is_some() && up != self.is {
            *self = Self { is: up, since: Some(at) };
        }
        self.is
    }
}

impl ToolStatus {
    fn after(before: Option<Self>, tool: &Arc<str>, result: &ToolResult, at: Timestamp) -> Self {
        let (last_answer, last_seconds, last_error) =
            before.map_or((None, None, None), |before| (before.last_answer, before.last_seconds, before.last_error));
        let stays = |outcome| Self { outcome, last_answer, last_seconds, last_error: last_error.clone() };
        match result {
            ToolResult::Answered(answer) => Self {
                last_answer: Some(answer.arrival.wall),
                last_seconds: Some(answer.took.as_secs_f64()),
                ..stays(Outcome::Answered)
            },
            ToolResult::Failed { failure, took } => Self {
                last_seconds: Some(took.as_secs_f64()),
                last_error: Some(LastError::of(Some(tool), failure, at)),
                ..stays(Outcome::Failed)
            },
            ToolResult::NotOffered => stays(Outcome::NotOffered),
            ToolResult::SetupFailed | ToolResult::Resting { .. } => stays(Outcome::Failed),
            ToolResult::BreakerOpen => stays(Outcome::BreakerOpen),
        }
    }
}

impl LastError {
    fn of(tool: Option<&Arc<str>>, failure: &Failure, at: Timestamp) -> Self {
        Self { at, tool: tool.cloned(), error_type: failure.error_type().into_owned(), message: failure.to_string() }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, clippy::ref_option)] // serde's signature
fn seconds<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(Timestamp::as_seconds).serialize(serializer)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn seconds_of<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    at.as_seconds().serialize(serializer)
}
