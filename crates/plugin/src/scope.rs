use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

use minicol_pdata::Arrival;
use opentelemetry::metrics::Meter;
use tokio_util::sync::CancellationToken;

use crate::{
    Actions, Clock, ComponentId, ComponentKind, Environment, Event, EventSink, HostView, Level, Notice, Random,
    StateStore, Status, StatusChange, net::Network, trace::Tracer,
};

/// Reads what a component tells beside its status.
type Details = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// A component's window to the outside. Clones are the same window.
#[derive(Clone)]
pub struct Scope(Arc<ScopeParts>);

/// Why an instance of a component is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Another instance of the same id goes on in its place, with what is kept in [`Scope::state`]: leave to it what it needs, such as a session.
    Replaced,
    /// The component left the configuration: nobody goes on.
    Removed,
    /// The program ends.
    Shutdown,
}

/// What the host (or a test) puts into a [`Scope`].
pub struct ScopeParts {
    /// Which kind of component.
    pub kind: ComponentKind,
    /// Which component.
    pub id: ComponentId,
    /// Cancelled when the component shall begin nothing new and end.
    pub stopping: CancellationToken,
    /// Cancelled when the component shall drop what is in flight.
    pub abandoned: CancellationToken,
    /// Cancelled by the component when it has started.
    pub ready: CancellationToken,
    /// Cancelled when the component is part of what runs.
    pub live: CancellationToken,
    /// Set before `stopping` is cancelled.
    pub stop: Arc<OnceLock<StopReason>>,
    /// Clocks, randomness, connections.
    pub environment: Environment,
    /// State that outlives instances.
    pub state: StateStore,
    /// Where status changes and notices go.
    pub events: Arc<dyn EventSink>,
    /// Instruments of the component's own.
    pub meter: Meter,
    /// Spans of the component's own.
    pub tracer: Tracer,
    /// The program, for extensions.
    pub host: Arc<dyn HostView>,
    /// Takes what the component tells beside its status.
    pub details: Arc<dyn Fn(Details) + Send + Sync>,
    /// Takes what the component can be asked to do.
    pub actions: Arc<dyn Fn(Arc<dyn Actions>) + Send + Sync>,
}

impl Scope {
    /// From its parts.
    pub fn new(parts: ScopeParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The component's id.
    pub fn id(&self) -> &ComponentId {
        &self.0.id
    }

    /// The component's kind.
    pub fn kind(&self) -> ComponentKind {
        self.0.kind
    }

    /// Waits until the component shall begin nothing new and end.
    pub async fn stopping(&self) {
        self.0.stopping.cancelled().await;
    }

    /// Cancelled when the component shall begin nothing new and end.
    pub fn stopping_token(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Why it shall end. Ask once it is told to stop.
    pub fn stop_reason(&self) -> StopReason {
        self.0.stop.get().copied().unwrap_or(StopReason::Shutdown)
    }

    /// Waits until the component is part of what runs. A reload starts new instances beside those that run, and stops them again where one of them
    /// cannot start: who acts on its own accord (polls, sends) waits for this after [`Scope::ready`]. Who only listens need not.
    pub async fn live(&self) {
        self.0.live.cancelled().await;
    }

    /// Waits until the component shall drop what is in flight: the deadline of the shutdown is near.
    pub async fn abandoned(&self) {
        self.0.abandoned.cancelled().await;
    }

    /// Cancelled when the component shall drop what is in flight.
    pub fn abandoned_token(&self) -> &CancellationToken {
        &self.0.abandoned
    }

    /// Says that the component has started: what it binds is bound.
    pub fn ready(&self) {
        self.0.ready.cancel();
    }

    /// The clocks.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.environment.clock
    }

    /// Both clocks, read together.
    pub fn now(&self) -> Arrival {
        self.0.environment.clock.now()
    }

    /// Randomness.
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.0.environment.random
    }

    /// How connections are made and taken.
    pub fn network(&self) -> &Arc<dyn Network> {
        &self.0.environment.network
    }

    /// The environment as a whole, for a library that needs all of it.
    pub fn environment(&self) -> &Environment {
        &self.0.environment
    }

    /// Instruments of the component's own, in the program's telemetry.
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// Spans of the component's own, in the program's telemetry.
    pub fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    /// The program, for extensions.
    pub fn host(&self) -> &Arc<dyn HostView> {
        &self.0.host
    }

    /// State under this component's id and `key` that outlives the instance; made by `init` the first time.
    pub fn state<T: Any + Send + Sync>(&self, key: &str, init: impl FnOnce() -> T) -> Arc<T> {
        self.0.state.slot(&format!("{}:{}", self.0.kind, self.0.id), key, init)
    }

    /// State that all components of the program share under `key`, such as an HTTP client with its connections; made by `init` the first
    /// time. Name the key after the crate that owns the type.
    pub fn shared<T: Any + Send + Sync>(&self, key: &str, init: impl FnOnce() -> T) -> Arc<T> {
        self.0.state.slot("", key, init)
    }

    /// Reports the component's status. The host tells it when status or message changed.
    pub fn report(&self, status: Status, message: impl Into<String>) {
        self.report_as(status, status.level(), message);
    }

    /// The same, told as loud as the component says.
    pub fn report_as(&self, status: Status, level: Level, message: impl Into<String>) {
        let at = self.0.environment.clock.wall();
        self.0.events.emit(Event::Status(StatusChange {
            kind: self.0.kind,
            component: self.0.id.clone(),
            status,
            since: at,
            at,
            level,
            message: message.into(),
        }));
    }

    /// What was told last of the component's status holds for this instance too, if it takes another's place, until it reports itself: it keeps what the
    /// other learnt of the same far end. Said before [`Scope::ready`]. Who does not say it is told as one that works once it runs.
    pub fn carries_on(&self) {
        self.0.events.carry_on();
    }

    /// Tells something worth telling once. The component decides when it has changed.
    pub fn notice(&self, level: Level, name: &'static str, message: impl Into<String>) {
        self.0.events.emit(Event::Notice(Notice {
            kind: self.0.kind,
            component: self.0.id.clone(),
            at: self.0.environment.clock.wall(),
            level,
            name,
            message: message.into(),
        }));
    }

    /// Shows what `details` returns beside the component's status on `/status`.
    pub fn show(&self, details: impl Fn() -> serde_json::Value + Send + Sync + 'static) {
        (self.0.details)(Arc::new(details));
    }

    /// Lets an operator ask the component to do what `actions` offers: on the status page, and by its API. What it holds lives as long as the
    /// component is shown: let it hold on to the component weakly.
    pub fn offer(&self, actions: impl Actions + 'static) {
        (self.0.actions)(Arc::new(actions));
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({} {})", self.0.kind, self.0.id)
    }
}
