//! How everything is, for extensions and whoever embeds the host.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use indexmap::IndexMap;
use minicol_pdata::Timestamp;
use minicol_plugin::{
    Account, Books, Clock, ComponentId, ComponentKind, ComponentSnapshot, HostView, Phase, Snapshot, Status,
    place_among,
};

use crate::{arrow::Edge, events::Events};

/// Tells something beside a component's status.
pub(crate) type Details = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;
/// Reads the books of one component.
type Accounts = Arc<dyn Fn() -> Vec<Account> + Send + Sync>;

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
    accounts: Vec<Accounts>,
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
            accounts: Vec::new(),
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

    pub(crate) fn add_accounts(&self, accounts: impl Fn() -> Vec<Account> + Send + Sync + 'static) {
        self.built().accounts.push(Arc::new(accounts));
    }

    /// What became of every item.
    pub(crate) fn books(&self) -> Books {
        let (edges, accounts) = {
            let built = self.built();
            (built.edges.clone(), built.accounts.clone())
        };
        Books {
            edges: edges.iter().map(|edge| edge.snapshot()).collect(),
            accounts: accounts.iter().flat_map(|tell| tell()).collect(),
        }
    }

    pub(crate) fn show(&self, kind: ComponentKind, id: &ComponentId, details: Details) {
        self.built().components.entry((kind, id.clone())).or_default().details = Some(details);
    }

    /// Lets go of what components show and of their books: these may hold on to them, and they to this.
    pub(crate) fn forget_components(&self) {
        let mut built = self.built();
        built.components.values_mut().for_each(|seen| seen.details = None);
        let accounts = std::mem::take(&mut built.accounts);
        drop(built);
        // What was the last to hold a component drops it; nothing of a component runs while the lock is held.
        drop(accounts);
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
    fn place(&self, kind: ComponentKind, id: &ComponentId) -> Option<(usize, usize)> {
        place_among(self.built().components.keys().map(|(kind, id)| (*kind, id)), kind, id)
    }

    fn snapshot(&self) -> Snapshot {
        // No component's code runs while the lock is held.
        let (phase, up_since, components) = {
            let built = self.built();
            (built.phase, built.up_since, built.components.clone())
        };
        Snapshot {
            phase,
            up_since,
            now: self.clock.wall(),
            components: components.into_iter().map(|((kind, id), seen)| self.component(kind, id, seen)).collect(),
            books: self.books(),
        }
    }
}
