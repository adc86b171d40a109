//! How everything is, for extensions and whoever embeds the host.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use indexmap::IndexMap;
use minicol_pdata::Timestamp;
use minicol_plugin::{Clock, ComponentId, ComponentKind, ComponentSnapshot, HostView, Phase, Snapshot, Status};

use crate::{arrow::Edge, events::Events};

/// Tells something beside a component's status.
pub(crate) type Details = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What was built, and where to look for how it is.
pub(crate) struct View {
    clock: Arc<dyn Clock>,
    events: Arc<Events>,
    built: Mutex<Built>,
}

struct Built {
    phase: Phase,
    up_since: Timestamp,
    components: IndexMap<(ComponentKind, ComponentId), Seen>,
    edges: Vec<Arc<Edge>>,
}

#[derive(Clone, Default)]
struct Seen {
    pipelines: Vec<String>,
    details: Option<Details>,
}

impl View {
    pub(crate) fn new(clock: Arc<dyn Clock>, events: Arc<Events>) -> Arc<Self> {
        let built = Built {
            phase: Phase::Starting,
            up_since: Timestamp::UNSET,
            components: IndexMap::new(),
            edges: Vec::new(),
        };
        Arc::new(Self { clock, events, built: Mutex::new(built) })
    }

    /// A component is there; it starts.
    pub(crate) fn add(&self, kind: ComponentKind, id: &ComponentId, pipelines: Vec<String>) {
        self.built().components.entry((kind, id.clone())).or_default().pipelines = pipelines;
        self.events.report(kind, id, Status::Starting, "");
    }

    pub(crate) fn add_edge(&self, edge: &Arc<Edge>) {
        self.built().edges.push(Arc::clone(edge));
    }

    pub(crate) fn show(&self, kind: ComponentKind, id: &ComponentId, details: Details) {
        self.built().components.entry((kind, id.clone())).or_default().details = Some(details);
    }

    /// Lets go of what components show: it may hold on to them, and they to this.
    pub(crate) fn forget_details(&self) {
        self.built().components.values_mut().for_each(|seen| seen.details = None);
    }

    pub(crate) fn running(&self) {
        let now = self.clock.wall();
        let mut built = self.built();
        built.phase = Phase::Running;
        built.up_since = now;
    }

    pub(crate) fn stopping(&self) {
        self.built().phase = Phase::Stopping;
    }

    fn component(&self, kind: ComponentKind, id: ComponentId, seen: Seen) -> ComponentSnapshot {
        let now = self.events.status(kind, &id);
        // The closure is the component's: what it does wrong is not the page's fault.
        let details = seen.details.and_then(|tell| catch_unwind(AssertUnwindSafe(|| tell())).ok());
        let (status, since, message) =
            now.map_or((Status::Starting, Timestamp::UNSET, String::new()), |now| (now.status, now.since, now.message));
        ComponentSnapshot { kind, id, pipelines: seen.pipelines, status, since, message, details }
    }

    fn built(&self) -> MutexGuard<'_, Built> {
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostView for View {
    fn snapshot(&self) -> Snapshot {
        // No component's code runs while the lock is held.
        let (phase, up_since, components, edges) = {
            let built = self.built();
            (built.phase, built.up_since, built.components.clone(), built.edges.clone())
        };
        Snapshot {
            phase,
            up_since,
            now: self.clock.wall(),
            components: components.into_iter().map(|((kind, id), seen)| self.component(kind, id, seen)).collect(),
            edges: edges.iter().map(|edge| edge.snapshot()).collect(),
        }
    }
}
