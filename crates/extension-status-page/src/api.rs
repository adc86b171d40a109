//! What is told under `/api/v1`: written by the page, and read by whoever asks it, such as `minicol status`. Fields may be added; what does not know
//! them passes them over.

use std::collections::BTreeMap;

use minicol_pdata::Signal;
use minicol_plugin::{Action, ComponentKind, Phase, Reasons, ReloadStatus, Status, sum};
use serde::{Deserialize, Serialize};

/// The program as a whole: `/api/v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Where it is in its life.
    pub phase: Phase,
    /// How it is.
    pub mood: Mood,
    /// One or two sentences: everything works, or what does not.
    pub summary: String,
    /// Since when it runs, in seconds since the epoch; `None` while it starts.
    pub up_since: Option<f64>,
    /// Now, in seconds since the epoch.
    pub now: f64,
    /// Items that were accepted and are gone, since the program's start.
    #[serde(default)]
    pub lost: u64,
    /// Those of them within the last minute.
    #[serde(default)]
    pub lost_lately: u64,
    /// When items were last seen to be lost, in seconds since the epoch.
    #[serde(default)]
    pub last_lost: Option<f64>,
    /// Whether what became of every item is known.
    #[serde(default = "yes")]
    pub balanced: bool,
    /// What is wrong, the worst first.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// The reloads since the start.
    #[serde(default)]
    pub reload: ReloadStatus,
}

/// A component that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// Which kind of component.
    pub kind: ComponentKind,
    /// Which component.
    pub id: String,
    /// Where it stands on the page.
    pub anchor: String,
    /// How it is.
    pub mood: Mood,
    /// Since when, in seconds since the epoch; `None` where it is not known.
    #[serde(default)]
    pub since: Option<f64>,
    /// Why.
    pub message: String,
}

/// One pipeline, as a chain from its receivers to its exporters: `/api/v1/pipelines`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its id.
    pub name: String,
    /// Every node once: receivers, processors in their order, exporters.
    pub nodes: Vec<Node>,
    /// What passes between them.
    pub arrows: Vec<Arrow>,
}

/// A component in a pipeline, or an extension: `/api/v1/extensions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Which kind of component.
    pub kind: ComponentKind,
    /// Which component.
    pub id: String,
    /// Where it stands on the page.
    #[serde(default)]
    pub anchor: String,
    /// How it is, in the collector's words.
    pub status: Status,
    /// How it is.
    pub mood: Mood,
    /// In seconds since the epoch; `None` where it is not known.
    pub since: Option<f64>,
    /// Why.
    #[serde(default)]
    pub message: String,
    /// Items that it has and has not passed on.
    #[serde(default)]
    pub queued: u64,
    /// Items that it did not take, by reason.
    #[serde(default)]
    pub refused: Reasons,
    /// Items that it took, tried to pass on, and lost, by reason.
    #[serde(default)]
    pub failed: Reasons,
    /// Items that it took and lost without a last try, by reason.
    #[serde(default)]
    pub dropped: Reasons,
    /// Those of the refused within the last minute.
    #[serde(default)]
    pub refused_lately: u64,
    /// Those of the failed and dropped within the last minute.
    #[serde(default)]
    pub lost_lately: u64,
    /// What it tells beside its status, each a word and a value.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// What can be asked of it now; nothing where actions are off.
    #[serde(default)]
    pub actions: Vec<Action>,
}

/// What passes from one component to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrow {
    /// The pipeline it belongs to.
    #[serde(default)]
    pub pipeline: String,
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// Where it stands on the page.
    #[serde(default)]
    pub anchor: String,
    /// What it carries.
    pub signal: Signal,
    /// How it is: what was lost or refused long ago is told, and is no trouble now.
    #[serde(default)]
    pub mood: Mood,
    /// Items that passed since the start.
    #[serde(default)]
    pub accepted: u64,
    /// Items that were not taken, by reason.
    #[serde(default)]
    pub refused: Reasons,
    /// Those of them within the last minute.
    #[serde(default)]
    pub refused_lately: u64,
    /// Items for which the far end has not answered yet.
    #[serde(default)]
    pub waiting: u64,
    /// Those of the refused that are gone for good here.
    #[serde(default)]
    pub lost: u64,
    /// Those of the lost within the last minute.
    #[serde(default)]
    pub lost_lately: u64,
    /// Items a second over the last minute.
    pub rate: Option<f64>,
}

/// A target that is polled: `/api/v1/targets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The receiver that polls it.
    pub id: String,
    /// Where it stands on the page.
    #[serde(default)]
    pub anchor: String,
    /// How it is.
    pub mood: Mood,
    /// What the receiver tells of it.
    #[serde(flatten)]
    pub target: Target,
    /// What can be asked of its receiver now; nothing where actions are off.
    #[serde(default)]
    pub actions: Vec<Action>,
}

/// What a component that polls a target shows beside its status. Moments are in seconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// Where it is, without secrets.
    pub endpoint: String,
    /// Name and version of the server, where it ever told.
    pub server: Option<String>,
    /// Whether it is polled at its interval.
    pub running: bool,
    /// Whether an operator told its receiver to rest.
    pub paused: bool,
    /// Whether it answered when it was last tried; `None` before.
    pub up: Option<bool>,
    /// Since when that is so.
    pub up_changed: Option<f64>,
    /// Polls that ended.
    pub poll_cycles: u64,
    /// Failed calls and set-ups.
    pub errors: u64,
    /// Ticks that passed without a poll.
    pub missed_ticks: u64,
    /// When the last poll ended.
    pub last_poll_time: Option<f64>,
    /// How long it took, in seconds.
    pub last_poll_seconds: Option<f64>,
    /// How long the last polls took, in seconds, oldest first.
    pub polls: Vec<f64>,
    /// The last failure.
    pub last_error: Option<LastError>,
    /// What became of each tool.
    pub tools: BTreeMap<String, Tool>,
    /// The circuit breaker of each tool that has one.
    pub breakers: BTreeMap<String, Breaker>,
}

/// One tool of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tool {
    /// What became of it in the last cycle: `answered`, `not_offered`, `failed`, `breaker_open`.
    pub outcome: String,
    /// When it last answered.
    pub last_answer: Option<f64>,
    /// How long its last call took, in seconds.
    pub last_seconds: Option<f64>,
    /// Its last failure.
    pub last_error: Option<LastError>,
}

/// A failure, in the server's own words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastError {
    /// When.
    pub at: f64,
    /// The tool; `None` where the set-up failed.
    pub tool: Option<String>,
    /// The kind of failure, as the attribute `error.type` names it.
    pub error_type: String,
    /// Target, step, cause and cure.
    pub message: String,
}

/// A circuit breaker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaker {
    /// `closed`, `open`, `probing`.
    pub state: String,
    /// Failures in a row.
    pub failures: u64,
    /// Until when no call goes out; the first poll from then on tries it.
    pub open_until: Option<f64>,
}

/// An event, for a person: `/api/v1/events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// When it was told, in seconds since the epoch.
    pub at: f64,
    /// Which kind of component; `None` where it happened to the program as a whole.
    #[serde(default)]
    pub kind: Option<ComponentKind>,
    /// Which component, or `minicol`.
    pub id: String,
    /// How bad it is.
    pub mood: Mood,
    /// The new status, or the notice's name.
    pub what: String,
    /// Why.
    pub message: String,
}

/// How something is told from across the room. Never by colour alone: each has a sign and a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mood {
    /// As it should be.
    #[default]
    Good,
    /// Not at work: it starts, stops or has stopped.
    Idle,
    /// An operator told it to rest.
    Paused,
    /// Something it needs is down, or items are being lost.
    Warn,
    /// It does not work.
    Bad,
}

impl Mood {
    /// One character.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Idle => "○",
            Self::Paused => "‖",
            Self::Warn => "▲",
            Self::Bad => "✗",
        }
    }

    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

impl Node {
    /// Everything that it took and that is gone, since the start.
    pub fn lost(&self) -> u64 {
        sum(&self.failed) + sum(&self.dropped)
    }
}

impl Target {
    /// Whether a tool's failure tells something that the target's own does not: where that is down, each tool fails in the same way.
    pub fn tells_more(&self, tool: &Tool) -> bool {
        let kind = |error: &Option<LastError>| error.as_ref().map(|error| error.error_type.clone());
        tool.outcome != "answered" && (self.up != Some(false) || kind(&self.last_error) != kind(&tool.last_error))
    }

    /// The circuit breaker of a tool, where it is not closed.
    pub fn open_breaker(&self, tool: &str) -> Option<&Breaker> {
        self.breakers.get(tool).filter(|breaker| breaker.state != "closed")
    }
}

const fn yes() -> bool {
    true
}
