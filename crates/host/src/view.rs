//! How everything is, for extensions and whoever embeds the host.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use indexmap::IndexMap;
use minicol_pdata::{Signal, Timestamp};
use minicol_plugin::{
    Account, Actions, Books, Clock, ComponentId, ComponentKind, ComponentSnapshot, EdgeName, Event, HostView, Offer,
    Performing, Phase, Redactor, Reload, ReloadStatus, Reloading, Setting, Snapshot, Status, Tap, place_among,
};

use crate::{
    actions::{self, Offering},
    arrow::{Edge, End},
    events::Events,
    gone::{Gone, add_up},
    packed::Packed,
    reload::Reloader,
};

/// Tells something beside a component's status.
pub(crate) type Details = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;
/// Reads the books of one component.
type Accounts = Arc<dyn Fn() -> Vec<Account> + Send + Sync>;
/// Whose books they are: a component's, of a processor those in one pipeline and place.
pub(crate) type Owner = (ComponentKind, ComponentId, String);

/// What was built, and where to look for how it is.
pub(crate) struct View {
    clock: Arc<dyn Clock>,
    events: Arc<Events>,
    built: Mutex<Built>,
    reloader: OnceLock<Reloader>,
    /// What there was and is no more, since the first reload.
    gone: ArcSwapOption<Gone>,
    redactor: ArcSwap<Redactor>,
}

struct Built {
    phase: Phase,
    up_since: Timestamp,
    /// When the configuration was last found to hold.
    holds_since: Timestamp,
    components: IndexMap<(ComponentKind, ComponentId), Seen>,
    /// Every arrow that there ever was.
    edges: Vec<Arc<Edge>>,
    accounts: IndexMap<Owner, Accounts>,
    /// The books of components that are gone.
    closed: Vec<Account>,
    reloads: ReloadStatus,
    settings: Packed,
}

#[derive(Clone, Default)]
struct Seen {
    pipelines: Vec<String>,
    details: Option<Details>,
    offering: Offering,
}

impl View {
    pub(crate) fn new(clock: Arc<dyn Clock>, events: Arc<Events>) -> Arc<Self> {
        let built = Built {
            phase: Phase::Starting,
            up_since: Timestamp::UNSET,
            holds_since: clock.wall(),
            components: IndexMap::new(),
            edges: Vec::new(),
            accounts: IndexMap::new(),
            closed: Vec::new(),
            reloads: ReloadStatus::default(),
            settings: Packed::default(),
        };
        let gone = ArcSwapOption::empty();
        Arc::new(Self {
            clock,
            events,
            built: Mutex::new(built),
            reloader: OnceLock::new(),
            gone,
            redactor: ArcSwap::default(),
        })
    }

    /// A component is there; it starts.
    pub(crate) fn add(&self, kind: ComponentKind, id: &ComponentId, pipelines: Vec<String>) {
        self.belongs_to(kind, id, pipelines);
        self.events.report(kind, id, Status::Starting, "");
    }

    /// The pipelines that name a component.
    pub(crate) fn belongs_to(&self, kind: ComponentKind, id: &ComponentId, pipelines: Vec<String>) {
        self.built().components.entry((kind, id.clone())).or_default().pipelines = pipelines;
    }

    /// A component is gone.
    pub(crate) fn remove(&self, kind: ComponentKind, id: &ComponentId) {
        let seen = self.built().components.shift_remove(&(kind, id.clone()));
        self.events.forget(kind, id);
        // Nothing of a component runs while the lock is held.
        drop(seen);
    }

    /// The arrow between these, as it was where there was one; whether there was.
    pub(crate) fn edge(&self, pipeline: &str, from: &str, to: &End, signal: Signal) -> (Arc<Edge>, bool) {
        let mut built = self.built();
        if let Some(edge) = built.edges.iter().find(|edge| edge.is_between(pipeline, from, to, signal)) {
            return (Arc::clone(edge), true);
        }
        let edge = Edge::new(pipeline, from, to, signal, Arc::clone(&self.events));
        built.edges.push(Arc::clone(&edge));
        (edge, false)
    }

    pub(crate) fn add_accounts(&self, owner: Owner, accounts: impl Fn() -> Vec<Account> + Send + Sync + 'static) {
        self.built().accounts.insert(owner, Arc::new(accounts));
    }

    /// Nothing changes in these books any more.
    pub(crate) fn close_accounts(&self, owner: &Owner) {
        let accounts = self.built().accounts.get(owner).cloned();
        let Some(accounts) = accounts else { return };
        let last = accounts();
        let mut built = self.built();
        built.accounts.shift_remove(owner);
        built.closed.extend(last);
        built.closed = add_up(std::mem::take(&mut built.closed));
        drop(built);
        drop(accounts);
    }

    /// What became of every item.
    pub(crate) fn books(&self) -> Books {
        let (edges, accounts, closed) = {
            let built = self.built();
            (built.edges.clone(), built.accounts.values().cloned().collect::<Vec<_>>(), built.closed.clone())
        };
        let edges = edges.iter().map(|edge| edge.snapshot()).collect();
        if closed.is_empty() {
            return Books { edges, accounts: accounts.iter().flat_map(|tell| tell()).collect() };
        }
        Books { edges, accounts: add_up(accounts.iter().flat_map(|tell| tell()).chain(closed)) }
    }

    pub(crate) fn show(&self, kind: ComponentKind, id: &ComponentId, details: Details) {
        self.built().components.entry((kind, id.clone())).or_default().details = Some(details);
    }

    pub(crate) fn offer(&self, kind: ComponentKind, id: &ComponentId, actions: Arc<dyn Actions>) {
        let before = self.built().components.entry((kind, id.clone())).or_default().offering.replace(Some(actions));
        // Nothing of a component runs while the lock is held.
        drop(before);
    }

    /// Lets go of what components show and of their books: these may hold on to them, and they to this.
    pub(crate) fn forget_components(&self) {
        let mut built = self.built();
        let seen: Vec<_> =
            built.components.values_mut().map(|seen| (seen.details.take(), seen.offering.replace(None))).collect();
        let accounts = std::mem::take(&mut built.accounts);
        drop(built);
        drop(seen);
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

    /// From now on a reload can be asked for.
    pub(crate) fn reloads_by(&self, reloader: Reloader) {
        // The first one stays: there is one program.
        let _ = self.reloader.set(reloader);
    }

    /// A reload is over.
    pub(crate) fn reloaded(&self, reload: Reload) {
        let mut built = self.built();
        *built.reloads.outcomes.entry(reload.outcome).or_default() += 1;
        if reload.outcome.is_success() {
            built.holds_since = reload.at;
        }
        built.reloads.last = Some(reload);
    }

    /// This is the configuration that runs.
    pub(crate) fn configured(&self, settings: &[Setting]) {
        let packed = Packed::of(settings);
        self.built().settings = packed;
    }

    pub(crate) fn reloads(&self) -> ReloadStatus {
        self.built().reloads.clone()
    }

    pub(crate) fn holds_since(&self) -> Timestamp {
        self.built().holds_since
    }

    /// What the configuration that runs knows as a secret.
    pub(crate) fn redacts_by(&self, redactor: Arc<Redactor>) {
        self.redactor.store(redactor);
    }

    /// What there was and is no more.
    pub(crate) fn set_gone(&self, gone: Gone) {
        self.gone.store(Some(Arc::new(gone)));
    }

    pub(crate) fn gone(&self) -> Option<Arc<Gone>> {
        self.gone.load_full()
    }

    /// Every component that is there.
    pub(crate) fn components(&self) -> Vec<(ComponentKind, ComponentId)> {
        self.built().components.keys().cloned().collect()
    }

    fn component(&self, kind: ComponentKind, id: ComponentId, seen: Seen) -> ComponentSnapshot {
        let now = self.events.status(kind, &id);
        // The closure is the component's: what it does wrong is not the page's fault.
        let details = seen.details.and_then(|tell| catch_unwind(AssertUnwindSafe(|| tell())).ok());
        let (status, since, message) =
            now.map_or((Status::Starting, Timestamp::UNSET, String::new()), |now| (now.status, now.since, now.message));
        ComponentSnapshot { kind, id, pipelines: seen.pipelines, status, since, message, details }
    }

    /// The arrows that are there.
    fn drawn(&self) -> Vec<Arc<Edge>> {
        self.built().edges.iter().filter(|edge| edge.is_drawn()).cloned().collect()
    }

    fn built(&self) -> MutexGuard<'_, Built> {
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostView for View {
    fn place(&self, kind: ComponentKind, id: &ComponentId) -> Option<(usize, usize)> {
        place_among(self.built().components.keys().map(|(kind, id)| (*kind, id)), kind, id)
    }

    fn events(&self) -> Vec<Event> {
        self.events.recent()
    }

    fn snapshot(&self) -> Snapshot {
        // No component's code runs while the lock is held.
        let (phase, up_since, components, reload) = {
            let built = self.built();
            (built.phase, built.up_since, built.components.clone(), built.reloads.clone())
        };
        Snapshot {
            phase,
            up_since,
            now: self.clock.wall(),
            reload,
            components: components.into_iter().map(|((kind, id), seen)| self.component(kind, id, seen)).collect(),
            books: self.books(),
        }
    }

    fn edges(&self) -> Vec<EdgeName> {
        self.drawn().iter().map(|edge| edge.edge_name()).collect()
    }

    fn redactor(&self) -> Arc<Redactor> {
        self.redactor.load_full()
    }

    fn tap(&self, edge: &EdgeName) -> Option<Tap> {
        self.drawn().iter().find(|one| one.edge_name() == *edge).map(|edge| edge.tap())
    }

    fn settings(&self) -> Arc<[Setting]> {
        let packed = self.built().settings.clone();
        packed.settings().into()
    }

    fn actions(&self) -> Vec<Offer> {
        let components = self.built().components.clone();
        let offers = |((kind, id), seen): ((ComponentKind, ComponentId), Seen)| {
            let actions = seen.offering.offered().into_iter();
            actions.map(move |action| Offer { kind, id: id.clone(), action })
        };
        components.into_iter().flat_map(offers).collect()
    }

    fn perform(&self, kind: ComponentKind, id: &ComponentId, name: &str, subject: Option<&str>) -> Performing {
        let seen = self.built().components.get(&(kind, id.clone())).cloned().unwrap_or_default();
        actions::perform(&seen.offering, (kind, id), (name, subject), &self.events)
    }

    fn reload(&self) -> Option<Reloading> {
        let reloader = self.reloader.get()?.clone();
        let request = reloader.ask();
        Some(Box::pin(async move { reloader.answer(request).await }))
    }
}
