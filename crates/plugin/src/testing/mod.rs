#![doc = include_str!("testing.md")]

pub mod check;
mod configured;
pub mod golden;
mod running;
mod server;
mod sink;
mod storage;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use minicol_pdata::{Batch, Timestamp};
use opentelemetry::metrics::{Meter, MeterProvider, noop::NoopMeterProvider};
use tokio_util::sync::CancellationToken;

use crate::{
    ActionError, Actions, Books, ComponentId, ComponentKind, EdgeName, EdgeSnapshot, Environment, Event, EventSink,
    HostView, Offer, Performing, Phase, ReloadStatus, Scope, ScopeParts, SeededRandom, SimulatedClock, Snapshot,
    StateStore, Status, StopReason, Tap, Taps,
    net::{MemoryNetwork, Network},
    trace::Tracer,
};

pub use configured::{printed, problems};
pub use running::Running;
pub use server::{Answer, TestServer};
pub use sink::Sink;
pub use storage::MemoryStorage;

/// Who offered actions last.
type Offered = Option<(ComponentKind, ComponentId, Arc<dyn Actions>)>;
type DetailsFn = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// Builds scopes for tests, and shows what the component did with them.
#[derive(Clone)]
pub struct Harness {
    /// The clock of every scope; [`SimulatedClock::step`] sets its wall clock.
    pub clock: Arc<SimulatedClock>,
    /// The network of every scope.
    pub network: Arc<dyn Network>,
    /// The state of every scope: use one harness for two instances to see what outlives an instance.
    pub state: StateStore,
    /// Told to components to stop.
    pub stopping: CancellationToken,
    /// Told to components to drop what is in flight.
    pub abandoned: CancellationToken,
    /// Told to components when they run; a test that starts two beside each other puts a new one here.
    pub live: CancellationToken,
    /// Why components are told to stop; a shutdown where nothing is set.
    pub stop: Arc<OnceLock<StopReason>>,
    /// Instruments.
    pub meter: Meter,
    /// Spans; off unless a test sets it.
    pub tracer: Tracer,
    seed: u64,
    events: Arc<Mutex<Vec<Event>>>,
    carried_on: Arc<AtomicBool>,
    details: Arc<Mutex<Option<DetailsFn>>>,
    actions: Arc<Mutex<Offered>>,
    snapshot: Arc<Mutex<Snapshot>>,
    taps: Arc<Mutex<BTreeMap<EdgeName, Taps>>>,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Harness {
    /// What the wall clock says at first: 2026-01-01T00:00:00Z.
    pub const START: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

    /// A harness whose randomness comes from `seed`. The wall clock says 2026-01-01T00:00:00Z.
    pub fn new(seed: u64) -> Self {
        let start = Self::START;
        Self {
            clock: Arc::new(SimulatedClock::starting_at(start)),
            network: Arc::new(MemoryNetwork::new()),
            state: StateStore::new(),
            stopping: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            live: cancelled(),
            stop: Arc::default(),
            meter: NoopMeterProvider::new().meter("test"),
            tracer: Tracer::default(),
            seed,
            events: Arc::default(),
            carried_on: Arc::default(),
            details: Arc::default(),
            actions: Arc::default(),
            snapshot: Arc::new(Mutex::new(Snapshot {
                phase: Phase::Running,
                up_since: start,
                now: start,
                reload: ReloadStatus::default(),
                components: Vec::new(),
                books: Books::default(),
            })),
            taps: Arc::default(),
        }
    }

    /// The environment that every scope gets.
    pub fn environment(&self) -> Environment {
        Environment {
            clock: self.clock.clone(),
            random: Arc::new(SeededRandom::from_seed(self.seed)),
            network: self.network.clone(),
        }
    }

    /// A scope for the component `id`; panics where `id` is none.
    ///
    /// # Panics
    /// Where `id` is no component id.
    pub fn scope(&self, kind: ComponentKind, id: &str) -> Scope {
        self.scope_with_ready(kind, id).1
    }

    /// The same, and what the component cancels when it has started.
    ///
    /// # Panics
    /// Where `id` is no component id.
    #[allow(clippy::expect_used)] // a test's own mistake
    pub fn scope_with_ready(&self, kind: ComponentKind, id: &str) -> (CancellationToken, Scope) {
        let (details, actions) = (Arc::clone(&self.details), Arc::clone(&self.actions));
        let ready = CancellationToken::new();
        let own = id.parse::<ComponentId>().expect("a component id");
        let of = own.clone();
        let scope = Scope::new(ScopeParts {
            kind,
            id: own,
            stopping: self.stopping.clone(),
            abandoned: self.abandoned.clone(),
            ready: ready.clone(),
            live: self.live.clone(),
            stop: Arc::clone(&self.stop),
            environment: self.environment(),
            state: self.state.clone(),
            events: Arc::new(self.clone()),
            meter: self.meter.clone(),
            tracer: self.tracer.clone(),
            host: Arc::new(self.clone()),
            details: Arc::new(move |show| *lock(&details) = Some(show)),
            actions: Arc::new(move |offers| *lock(&actions) = Some((kind, of.clone(), offers))),
        });
        (ready, scope)
    }

    /// Every event so far, oldest first.
    pub fn events(&self) -> Vec<Event> {
        lock(&self.events).clone()
    }

    /// Whether a component said that how the one before it was holds for it, too.
    pub fn carried_on(&self) -> bool {
        self.carried_on.load(Ordering::Relaxed)
    }

    /// The names of the notices so far.
    pub fn notices(&self) -> Vec<&'static str> {
        self.events().iter().filter_map(|e| if let Event::Notice(n) = e { Some(n.name) } else { None }).collect()
    }

    /// Every status that was reported, oldest first, with its message; the same again is left out, as the host leaves it out.
    pub fn statuses(&self) -> Vec<(Status, String)> {
        let reported = |event: &Event| match event {
            Event::Status(change) => Some((change.status, change.message.clone())),
            _ => None,
        };
        let mut all: Vec<_> = self.events().iter().filter_map(reported).collect();
        all.dedup();
        all
    }

    /// What the component shows beside its status.
    pub fn details(&self) -> Option<serde_json::Value> {
        let show = lock(&self.details).clone();
        show.map(|show| show())
    }

    /// What extensions see of the host. Its arrows are those of the books in it.
    pub fn set_snapshot(&self, snapshot: Snapshot) {
        *lock(&self.snapshot) = snapshot;
    }

    /// A batch passes an arrow, or is refused: whoever taps it sees that.
    pub fn pass(&self, edge: &EdgeName, batch: &Batch, outcome: Result<(), &'static str>) {
        let taps = self.taps(edge);
        if let Some(watched) = taps.is_open().then(|| taps.watch(batch)).flatten() {
            watched.passed(outcome);
        }
    }

    /// An arrow is gone, to whoever taps it.
    pub fn remove_edge(&self, edge: &EdgeName) {
        lock(&self.snapshot).books.edges.retain(|one| one.edge() != *edge);
        self.taps(edge).close();
    }

    /// Whether anybody taps an arrow.
    pub fn is_tapped(&self, edge: &EdgeName) -> bool {
        self.taps(edge).is_open()
    }

    fn taps(&self, edge: &EdgeName) -> Taps {
        lock(&self.taps).entry(edge.clone()).or_default().clone()
    }
}

impl EventSink for Harness {
    fn emit(&self, event: Event) {
        lock(&self.events).push(event);
    }

    fn carry_on(&self) {
        self.carried_on.store(true, Ordering::Relaxed);
    }
}

impl HostView for Harness {
    fn snapshot(&self) -> Snapshot {
        lock(&self.snapshot).clone()
    }

    fn events(&self) -> Vec<Event> {
        self.events()
    }

    fn edges(&self) -> Vec<EdgeName> {
        lock(&self.snapshot).books.edges.iter().map(EdgeSnapshot::edge).collect()
    }

    fn tap(&self, edge: &EdgeName) -> Option<Tap> {
        self.edges().contains(edge).then(|| self.taps(edge).open())
    }

    fn actions(&self) -> Vec<Offer> {
        let offered = lock(&self.actions).clone();
        let of = |(kind, id, actions): (_, ComponentId, Arc<dyn Actions>)| {
            let offers = actions.offered().into_iter();
            offers.map(|action| Offer { kind, id: id.clone(), action }).collect()
        };
        offered.map(of).unwrap_or_default()
    }

    /// At once, and of the component that offered actions last.
    fn perform(&self, kind: ComponentKind, id: &ComponentId, name: &str, subject: Option<&str>) -> Performing {
        let offered = lock(&self.actions).clone();
        let actions =
            offered.filter(|(its_kind, its_id, _)| (*its_kind, its_id) == (kind, id)).map(|(.., actions)| actions);
        let (name, subject) = (name.to_owned(), subject.map(str::to_owned));
        Box::pin(async move {
            let actions = actions.ok_or(ActionError::NotOffered)?;
            actions.perform(&name, subject.as_deref()).await.map_err(ActionError::Failed)
        })
    }
}

fn cancelled() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
