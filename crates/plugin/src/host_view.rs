use minicol_pdata::Timestamp;
use serde::Serialize;

use crate::{Books, ComponentId, ComponentKind, Status, status::seconds};

/// What an extension may see of the program it serves.
pub trait HostView: Send + Sync {
    /// How everything is now.
    fn snapshot(&self) -> Snapshot;

    /// Which one `id` is among the components of its kind and type, from 0, and how many these are; `None` where it was not built. Cheaper
    /// than a snapshot.
    fn place(&self, kind: ComponentKind, id: &ComponentId) -> Option<(usize, usize)> {
        place_among(self.snapshot().components.iter().map(|one| (one.kind, &one.id)), kind, id)
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
