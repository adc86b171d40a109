//! The outside, for a poller that runs without a host.

use std::sync::Arc;

use minicol_plugin::{
    Books, CancellationToken, Clock, ComponentId, ComponentKind, Environment, Event, EventSink, HostView, Level,
    Notice, Phase, ReloadStatus, Scope, ScopeParts, SeededRandom, Snapshot, StateStore, StatusChange, SystemClock,
    net::SystemNetwork, trace::Tracer,
};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};

/// Tells what happens through `tracing`.
struct Log;

/// There is no host to look at.
struct NoHost(Arc<dyn Clock>);

/// A scope over this machine's clocks and network.
pub(super) fn scope(id: ComponentId) -> Scope {
    let environment = Environment {
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SeededRandom::from_machine()),
        network: Arc::new(SystemNetwork),
    };
    let live = CancellationToken::new();
    live.cancel();
    Scope::new(ScopeParts {
        kind: ComponentKind::Receiver,
        id,
        stopping: CancellationToken::new(),
        abandoned: CancellationToken::new(),
        ready: CancellationToken::new(),
        live,
        stop: Arc::default(),
        state: StateStore::new(),
        events: Arc::new(Log),
        meter: NoopMeterProvider::new().meter("session_buddy"),
        tracer: Tracer::default(),
        host: Arc::new(NoHost(Arc::clone(&environment.clock))),
        details: Arc::new(drop),
        actions: Arc::new(drop),
        environment,
    })
}

impl EventSink for Log {
    fn emit(&self, event: Event) {
        match event {
            Event::Status(StatusChange { component, status, level, message, .. }) => match level {
                Level::Debug => tracing::debug!(receiver = %component, %status, reason = message, "status changed"),
                Level::Info => tracing::info!(receiver = %component, %status, reason = message, "status changed"),
                Level::Warn => tracing::warn!(receiver = %component, %status, reason = message, "status changed"),
                Level::Error => tracing::error!(receiver = %component, %status, reason = message, "status changed"),
            },
            Event::Notice(Notice { component, level, name, message, .. }) => match level {
                Level::Debug => tracing::debug!(receiver = %component, name, reason = message, "noticed"),
                Level::Info => tracing::info!(receiver = %component, name, reason = message, "noticed"),
                Level::Warn => tracing::warn!(receiver = %component, name, reason = message, "noticed"),
                Level::Error => tracing::error!(receiver = %component, name, reason = message, "noticed"),
            },
            // There is no program around it.
            Event::Program(_) => {}
        }
    }
}

impl HostView for NoHost {
    fn snapshot(&self) -> Snapshot {
        let now = self.0.wall();
        Snapshot {
            phase: Phase::Running,
            up_since: now,
            now,
            reload: ReloadStatus::default(),
            components: Vec::new(),
            books: Books::default(),
        }
    }

    fn events(&self) -> Vec<Event> {
        Vec::new()
    }
}
