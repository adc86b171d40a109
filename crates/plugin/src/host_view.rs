use std::collections::BTreeMap;

use minicol_pdata::{Signal, Timestamp};
use serde::Serialize;

use crate::{ComponentId, ComponentKind, Status, status::seconds};

/// What an extension may see of the program it serves.
pub trait HostView: Send + Sync {
    /// How everything is now.
    fn snapshot(&self) -> Snapshot;
}

/// Where the program is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not everything has started.
    Starting,
    /// Everything has started.
    Running,
    /// It was told to stop.
    Stopping,
}

/// How everything is.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Where the program is in its life.
    pub phase: Phase,
    /// Since when it runs, on the wall clock, in seconds since the epoch; unset (0) while it starts.
    #[serde(serialize_with = "seconds")]
    pub up_since: Timestamp,
    /// Now, on the wall clock, in seconds since the epoch.
    #[serde(serialize_with = "seconds")]
    pub now: Timestamp,
    /// Every component that was built.
    pub components: Vec<ComponentSnapshot>,
    /// Every arrow.
    pub edges: Vec<EdgeSnapshot>,
}

/// How one component is.
#[derive(Clone, Debug, Serialize)]
pub struct ComponentSnapshot {
    /// Which kind of component.
    pub kind: ComponentKind,
    /// Which component.
    pub id: ComponentId,
    /// The pipelines that name it.
    pub pipelines: Vec<String>,
    /// How it is.
    pub status: Status,
    /// Since when, in seconds since the epoch.
    #[serde(serialize_with = "seconds")]
    pub since: Timestamp,
    /// Why, for a person.
    pub message: String,
    /// What the component itself tells beside it, such as a poller's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

/// What passed one arrow since the program's start, in items.
#[derive(Clone, Debug, Serialize)]
pub struct EdgeSnapshot {
    /// The pipeline it belongs to.
    pub pipeline: String,
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// What it carries.
    pub signal: Signal,
    /// Items that were taken.
    pub accepted: u64,
    /// Items that were not taken, by reason.
    pub refused: BTreeMap<String, u64>,
}
