//! What components are built with: scopes, instruments, and the tokens that govern their lives.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use minicol_plugin::{
    CancellationToken, ComponentId, ComponentKind, Environment, EventSink, HostView, Scope, ScopeParts, StateStore,
    Status, StopReason, trace::Tracer,
};
use opentelemetry::metrics::Meter;

use crate::{
    books,
    events::Events,
    fork::Forks,
    handover::{Handover, OwnNetwork},
    meters::{self, Instruments},
    view::View,
    voice::Voice,
};

/// Makes scopes. One lives as long as the program: graphs are built with it one after the other, and what their components keep outlives them.
pub(crate) struct Workshop {
    pub(crate) environment: Environment,
    pub(crate) events: Arc<Events>,
    pub(crate) view: Arc<View>,
    pub(crate) instruments: Instruments,
    pub(crate) meter: Meter,
    pub(crate) tracer: Tracer,
    pub(crate) forks: Forks,
    pub(crate) handover: Arc<Handover>,
    instances: AtomicU64,
    state: StateStore,
    /// A processor has an instance per pipeline, each with a state of its own.
    states_of_pipelines: Mutex<HashMap<String, StateStore>>,
}

/// The scope of one instance of a component, and that by which the host governs it.
#[derive(Clone)]
pub(crate) struct Governed {
    pub(crate) scope: Scope,
    pub(crate) stopping: CancellationToken,
    pub(crate) abandoned: CancellationToken,
    pub(crate) ready: CancellationToken,
    pub(crate) voice: Arc<Voice>,
    /// No two instances share one.
    pub(crate) number: u64,
    live: CancellationToken,
    stop: Arc<OnceLock<StopReason>>,
}

impl Governed {
    /// It is part of what runs.
    pub(crate) fn go_live(&self) {
        self.voice.rise();
        self.live.cancel();
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.is_cancelled()
    }

    /// Waits until it is part of what runs.
    pub(crate) fn live(&self) -> &CancellationToken {
        &self.live
    }

    /// Tells it to stop; the first reason counts.
    pub(crate) fn tell_to_stop(&self, reason: StopReason) {
        let _ = self.stop.set(reason);
        if reason == StopReason::Replaced {
            self.voice.fall_silent();
        }
        self.stopping.cancel();
    }

    /// Reports that it works, where it has not said itself how it is.
    pub(crate) fn is_up(&self, events: &Events) {
        let now = events.status(self.scope.kind(), self.scope.id());
        if now.is_none_or(|now| now.status == Status::Starting) {
            self.voice.report(Status::Ok, "");
        }
    }
}

impl Workshop {
    pub(crate) fn new(environment: Environment, meter: Meter, tracer: Tracer) -> Self {
        let events = Events::new(Arc::clone(&environment.clock));
        let view = View::new(Arc::clone(&environment.clock), Arc::clone(&events));
        books::measure(&meter, &view);
        meters::reloads(&meter, &view);
        Self {
            environment,
            events,
            view,
            instruments: Instruments::new(&meter),
            meter,
            tracer,
            forks: Forks::default(),
            handover: Arc::default(),
            instances: AtomicU64::new(0),
            state: StateStore::new(),
            states_of_pipelines: Mutex::default(),
        }
    }

    /// For a component of which there is one instance.
    pub(crate) fn scope(&self, kind: ComponentKind, id: &ComponentId) -> Governed {
        self.governed(kind, id, self.state.clone())
    }

    /// For the instance of a processor in one pipeline.
    pub(crate) fn processor_scope(&self, id: &ComponentId, pipeline: &str) -> Governed {
        let mut states = self.states_of_pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.entry(pipeline.to_owned()).or_default().clone();
        drop(states);
        self.governed(ComponentKind::Processor, id, state)
    }

    /// A component is gone: what it kept is forgotten.
    pub(crate) fn forget(&self, kind: ComponentKind, id: &ComponentId) {
        self.state.forget(&owner(kind, id));
    }

    /// The same for a processor in one pipeline.
    pub(crate) fn forget_in_pipeline(&self, id: &ComponentId, pipeline: &str) {
        let states = self.states_of_pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.get(pipeline) {
            state.forget(&owner(ComponentKind::Processor, id));
        }
    }

    fn governed(&self, kind: ComponentKind, id: &ComponentId, state: StateStore) -> Governed {
        let token = CancellationToken::new;
        let (stopping, abandoned, ready, live) = (token(), token(), token(), token());
        let stop = Arc::default();
        let number = self.instances.fetch_add(1, Ordering::Relaxed);
        let voice = Arc::new(Voice::new(kind, id.clone(), Arc::clone(&self.events), Arc::clone(&self.view)));
        let network =
            OwnNetwork { inner: Arc::clone(&self.environment.network), handover: Arc::clone(&self.handover), number };
        let (shows, offers) = (Arc::clone(&voice), Arc::clone(&voice));
        let scope = Scope::new(ScopeParts {
            kind,
            id: id.clone(),
            stopping: stopping.clone(),
            abandoned: abandoned.clone(),
            ready: ready.clone(),
            live: live.clone(),
            stop: Arc::clone(&stop),
            environment: Environment { network: Arc::new(network), ..self.environment.clone() },
            state,
            events: Arc::clone(&voice) as Arc<dyn EventSink>,
            meter: self.meter.clone(),
            tracer: self.tracer.clone(),
            host: Arc::clone(&self.view) as Arc<dyn HostView>,
            details: Arc::new(move |details| shows.show(details)),
            actions: Arc::new(move |actions| offers.offer(actions)),
        });
        Governed { scope, stopping, abandoned, ready, voice, number, live, stop }
    }
}

/// As [`Scope::state`] names the owner of a slot.
fn owner(kind: ComponentKind, id: &ComponentId) -> String {
    format!("{kind}:{id}")
}

impl Drop for Workshop {
    fn drop(&mut self) {
        self.view.forget_components();
    }
}
