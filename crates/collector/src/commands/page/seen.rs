//! What the status page tells, as far as a terminal shows it. What a newer minicol tells beside it is passed over.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How a program is.
#[derive(Debug, Deserialize)]
pub(super) struct Seen {
    pub(super) program: Program,
    pub(super) pipelines: Vec<Pipeline>,
    pub(super) targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Program {
    pub(super) phase: String,
    pub(super) mood: Mood,
    pub(super) summary: String,
    pub(super) up_since: Option<f64>,
    pub(super) now: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pipeline {
    pub(super) name: String,
    pub(super) nodes: Vec<Node>,
    pub(super) arrows: Vec<Arrow>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) mood: Mood,
    pub(super) status: String,
    pub(super) since: Option<f64>,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) queued: u64,
    #[serde(default)]
    pub(super) refused: BTreeMap<String, u64>,
    #[serde(default)]
    pub(super) failed: BTreeMap<String, u64>,
    #[serde(default)]
    pub(super) dropped: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) signal: String,
    pub(super) rate: Option<f64>,
    #[serde(default)]
    pub(super) waiting: u64,
    #[serde(default)]
    pub(super) lost: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Target {
    pub(super) id: String,
    pub(super) mood: Mood,
    pub(super) endpoint: String,
    #[serde(default)]
    pub(super) paused: bool,
    pub(super) up: Option<bool>,
    pub(super) up_changed: Option<f64>,
    pub(super) poll_cycles: u64,
    pub(super) errors: u64,
    pub(super) missed_ticks: u64,
    pub(super) last_poll_time: Option<f64>,
    pub(super) last_poll_seconds: Option<f64>,
    pub(super) last_error: Option<LastError>,
    #[serde(default)]
    pub(super) tools: BTreeMap<String, Tool>,
    #[serde(default)]
    pub(super) breakers: BTreeMap<String, Breaker>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LastError {
    pub(super) at: f64,
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tool {
    pub(super) outcome: String,
    pub(super) last_answer: Option<f64>,
    pub(super) last_seconds: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Breaker {
    pub(super) state: String,
}

/// How something is told from across the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mood {
    Good,
    Idle,
    Paused,
    Warn,
    Bad,
}

impl Mood {
    pub(super) const fn sign(self) -> char {
        match self {
            Self::Good => '✓',
            Self::Idle => '○',
            Self::Paused => '‖',
            Self::Warn => '▲',
            Self::Bad => '✗',
        }
    }
}

impl Seen {
    /// Nothing is wrong. What an operator paused is as wanted.
    pub(super) fn is_well(&self) -> bool {
        self.program.phase == "running" && !matches!(self.program.mood, Mood::Warn | Mood::Bad)
    }
}
