//! What a poller tells of itself.

use std::{collections::BTreeMap, sync::Arc};

use minicol_mcp::{BreakerSnapshot, Failure, TargetSnapshot};
use minicol_pdata::Timestamp;
use serde::{Serialize, Serializer};

/// How a poller is; beside its component's status on `/status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PollerStatus {
    /// Whether it polls at its interval.
    pub running: bool,
    /// The target, without the query of its URL.
    pub endpoint: String,
    /// Name and version of the server, where a session was ever made.
    pub server: Option<String>,
    /// Whether the target spoke valid MCP in the last cycle that tried it; `None` before the first.
    pub up: Option<bool>,
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
    /// The last failure of a call or a set-up.
    pub last_error: Option<LastError>,
    /// The circuit breaker of each wanted tool that is not known as missing.
    pub breakers: BTreeMap<Arc<str>, BreakerSnapshot>,
    /// The wanted tools that the server offers, sorted; empty while no list is known.
    pub offered: Vec<Arc<str>>,
    /// The wanted tools that the server does not offer, in the configuration's order.
    pub missing: Vec<Arc<str>>,
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
    pub(crate) last_error: Option<LastError>,
    /// The tools of the last cycle, by the names that they were resolved to.
    pub(crate) tools: Vec<Arc<str>>,
}

impl Tally {
    pub(crate) fn missed(&mut self, ticks: u64) {
        self.missed_ticks += ticks;
        self.unreported_ticks += ticks;
    }

    pub(crate) fn failed(&mut self, tool: Option<&Arc<str>>, failure: &Failure, at: Timestamp) {
        self.errors += 1;
        self.last_error = Some(LastError {
            at,
            tool: tool.cloned(),
            error_type: failure.error_type().into_owned(),
            message: failure.to_string(),
        });
    }

    pub(crate) fn status(self, endpoint: String, up: Option<bool>, target: TargetSnapshot) -> PollerStatus {
        let listed = target.offered.unwrap_or_default();
        let mut offered: Vec<_> = self.tools.into_iter().filter(|tool| listed.contains(tool)).collect();
        offered.sort();
        PollerStatus {
            running: self.running,
            endpoint,
            server: target.server,
            up,
            poll_cycles: self.poll_cycles,
            errors: self.errors,
            missed_ticks: self.missed_ticks,
            refused_batches: self.refused_batches,
            last_poll_time: self.last_poll_time,
            last_error: self.last_error,
            breakers: target.breakers,
            offered,
            missing: target.missing,
        }
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
