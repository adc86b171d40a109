//! What components are built with: scopes, instruments, and the tokens that govern their lives.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use minicol_plugin::{
    CancellationToken, ComponentId, ComponentKind, Environment, HostView, Scope, ScopeParts, StateStore, trace::Tracer,
};
use opentelemetry::metrics::Meter;

use crate::{books, events::Events, fork::Forks, meters::Instruments, view::View};

/// Makes scopes. One lives as long as what was built with it.
pub(crate) struct Workshop {
    pub(crate) environment: Environment,
    pub(crate) events: Arc<Events>,
    pub(crate) view: Arc<View>,
    pub(crate) instruments: Instruments,
    pub(crate) meter: Meter,
    pub(crate) tracer: Tracer,
    pub(crate) forks: Forks,
    state: StateStore,
    /// A processor has an instance per pipeline, each with a state of its own.
    states_of_pipelines: Mutex<HashMap<String, StateStore>>,
}

/// A component's scope, and the tokens by which the host governs it.
pub(crate) struct Governed {
    pub(crate) scope: Scope,
    pub(crate) stopping: CancellationToken,
    pub(crate) abandoned: CancellationToken,
    pub(crate) ready: CancellationToken,
}

impl Workshop {
    pub(crate) fn new(environment: Environment, meter: Meter, tracer: Tracer) -> Self {
        let events = Events::new(Arc::clone(&environment.clock));
        let view = View::new(Arc::clone(&environment.clock), Arc::clone(&events));
        books::measure(&meter, &view);
        Self {
            environment,
            events,
            view,
            instruments: Instruments::new(&meter),
            meter,
            tracer,
            forks: Forks::default(),
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

    fn governed(&self, kind: ComponentKind, id: &ComponentId, state: StateStore) -> Governed {
        let (stopping, abandoned, ready) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let (view, shown) = (Arc::clone(&self.view), id.clone());
        let scope = Scope::new(ScopeParts {
            kind,
            id: id.clone(),
            stopping: stopping.clone(),
            abandoned: abandoned.clone(),
            ready: ready.clone(),
            environment: self.environment.clone(),
            state,
            events: Arc::clone(&self.events) as _,
            meter: self.meter.clone(),
            tracer: self.tracer.clone(),
            host: Arc::clone(&self.view) as Arc<dyn HostView>,
            details: Arc::new(move |details| view.show(kind, &shown, details)),
        });
        Governed { scope, stopping, abandoned, ready }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        self.view.forget_components();
    }
}
