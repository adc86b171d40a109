use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Arc};

use minicol_pdata::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ActionError, Books, ComponentId, ComponentKind, EdgeName, Event, Offer, Performing, Redactor, Status, Tap,
    status::{of_seconds, seconds},
};

/// What an extension may see of the program it serves.
pub trait HostView: Send + Sync {
    /// How everything is now.
    fn snapshot(&self) -> Snapshot;

    /// The last status changes and notices, oldest first; a bounded number.
    fn events(&self) -> Vec<Event>;

    /// Which one `id` is among the components of its kind and type, from 0, and how many these are; `None` where it was not built. Cheaper
    /// than a snapshot.
    fn place(&self, kind: ComponentKind, id: &ComponentId) -> Option<(usize, usize)> {
        place_among(self.snapshot().components.iter().map(|one| (one.kind, &one.id)), kind, id)
    }

    /// The arrows that are there now, in the order in which the books list them.
    fn edges(&self) -> Vec<EdgeName> {
        Vec::new()
    }

    /// Looks at what passes an arrow from now on, also over reloads that leave it. `None` where it is not there.
    fn tap(&self, edge: &EdgeName) -> Option<Tap> {
        let _ = edge;
        None
    }

    /// Takes out of what is shown of telemetry what the configuration knows as a secret.
    fn redactor(&self) -> Arc<Redactor> {
        Arc::default()
    }

    /// Asks for a reload of the configuration; the future tells how it went, and need not be awaited for it to happen. `None` where this program
    /// cannot reload. An extension that awaits it must go on serving its own [`crate::Scope::stopping`]: the reload may replace it.
    fn reload(&self) -> Option<Reloading> {
        None
    }

    /// The configuration that runs: every value, in the order of the file, secrets redacted.
    fn settings(&self) -> Arc<[Setting]> {
        Arc::default()
    }

    /// What components can be asked to do now, in the order in which they were built.
    fn actions(&self) -> Vec<Offer> {
        Vec::new()
    }

    /// Asks a component for one of its actions; the future tells how it went, and need not be awaited for it to happen. How it went is a notice of
    /// the component, too.
    fn perform(&self, _kind: ComponentKind, _id: &ComponentId, _name: &str, _subject: Option<&str>) -> Performing {
        Box::pin(std::future::ready(Err(ActionError::NotOffered)))
    }
}

/// One value of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Where in the configuration: `receivers::session_buddy::interval_seconds`.
    pub path: String,
    /// The value; a secret is `[REDACTED]`.
    pub value: serde_json::Value,
    /// Where it was written, as `FILE:LINE:COLUMN`; `None` for a default.
    pub place: Option<String>,
}

/// A reload that was asked for.
pub type Reloading = Pin<Box<dyn Future<Output = Reload> + Send>>;

/// How a reload went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReloadOutcome {
    /// The new configuration runs.
    Success,
    /// The new configuration is the one that runs.
    Unchanged,
    /// The new configuration does not hold. The old one goes on.
    Invalid,
    /// A component of the new configuration could not be built or started. The old one goes on.
    Failed,
    /// The program ends: nothing was done.
    Ignored,
}

/// One reload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    /// When it was done, on the wall clock, in seconds since the epoch.
    #[serde(serialize_with = "seconds", deserialize_with = "of_seconds")]
    pub at: Timestamp,
    /// How it went.
    pub outcome: ReloadOutcome,
    /// Everything that is wrong with the new configuration, each with its place: `FILE:LINE:COLUMN: what`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What the user should know although it went well, such as what changes at the next start only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What it did to which component.
    #[serde(flatten)]
    pub changes: ReloadChanges,
}

/// What a reload did to which component; a component is named `KIND ID`, a processor with its pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadChanges {
    /// Those that run on untouched.
    pub kept: usize,
    /// Those that a new instance took the place of.
    pub replaced: Vec<String>,
    /// Those that were not there before.
    pub added: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// Pipelines that came, went, or lead elsewhere.
    pub pipelines: Vec<String>,
}

impl Reload {
    /// How it went, in a line: the first error with its place, or what it changed.
    pub fn in_words(&self) -> String {
        if let Some(error) = first_of(&self.errors) {
            return error;
        }
        let ReloadChanges { kept, replaced, added, removed, pipelines } = &self.changes;
        let named =
            [("replaced", replaced), ("added", added), ("removed", removed), ("pipelines that changed", pipelines)];
        let named = named.into_iter().filter(|(_, names)| !names.is_empty());
        let mut all: Vec<String> = named.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
        all.push(match self.outcome {
            ReloadOutcome::Success => format!("{kept} kept"),
            outcome => outcome.name().to_owned(),
        });
        all.extend(first_of(&self.warnings).map(|warning| format!("warning: {warning}")));
        all.join("; ")
    }
}

fn first_of(told: &[String]) -> Option<String> {
    let (first, others) = told.split_first()?;
    Some(if others.is_empty() { first.clone() } else { format!("{first} (and {} more)", others.len()) })
}

impl ReloadChanges {
    /// Whether everything is as it was.
    pub fn is_empty(&self) -> bool {
        let Self { kept: _, replaced, added, removed, pipelines } = self;
        [replaced, added, removed, pipelines].into_iter().all(Vec::is_empty)
    }
}

/// The reloads since the program's start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// How many ended how.
    pub outcomes: BTreeMap<ReloadOutcome, u64>,
    /// The last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Reload>,
}

impl ReloadOutcome {
    /// As `/status` and a metric's `outcome` name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Unchanged => "unchanged",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }

    /// Whether what was wanted runs now.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Success | Self::Unchanged)
    }
}

impl fmt::Display for ReloadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// [`HostView::place`], from every component in the order in which they were built.
pub fn place_among<'a>(
    components: impl Iterator<Item = (ComponentKind, &'a ComponentId)>,
    kind: ComponentKind,
    id: &ComponentId,
) -> Option<(usize, usize)> {
    let (mut place, mut count) = (None, 0);
    for (other_kind, other) in components {
        if other_kind == kind && other.component_type() == id.component_type() {
            if other == id {
                place = Some(count);
            }
            count += 1;
        }
    }
    place.map(|place| (place, count))
}

/// Where the program is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The reloads so far.
    pub reload: ReloadStatus,
    /// Every component that was built.
    pub components: Vec<ComponentSnapshot>,
    /// What became of every item.
    #[serde(flatten)]
    pub books: Books,
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
