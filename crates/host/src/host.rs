//! From a plan to a running program.

use std::{sync::Arc, time::Duration};

use minicol_delivery::Delivery;
use minicol_plugin::{ComponentId, ComponentKind, Environment, Next, Status, trace::Tracer};
use minicol_telemetry::{Program, Telemetry, TelemetryError};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};
use tracing::info;

use crate::{
    Plan, Running, ShutdownReport,
    arrow::End,
    books,
    graph::{self, BuiltExporter, Chain, Selection},
    life::Life,
    own,
    running::RunningExporter,
    workshop::Workshop,
};

/// Builds and starts what a [`Plan`] says.
#[derive(Clone, Debug)]
pub struct Host {
    program: Program,
    environment: Environment,
    limits: Limits,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long one receiver or extension may take to start. Default 30 s.
    pub start: Duration,
    /// How long a start that failed may take to undo what had started. Default 10 s.
    pub undo: Duration,
}

/// A start that failed. What had started has been stopped again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A component could not be made from its configuration.
    #[error("{kind} `{id}` could not be built: {why}")]
    Build {
        /// Which kind of component.
        kind: ComponentKind,
        /// Which component.
        id: ComponentId,
        /// Why, with the cure.
        why: String,
    },
    /// A component did not start.
    #[error("{kind} `{id}` could not start: {why}")]
    Start {
        /// Which kind of component.
        kind: ComponentKind,
        /// Which component.
        id: ComponentId,
        /// Why, with the cure.
        why: String,
    },
    /// The program's own telemetry did not start.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// What became of a start.
#[derive(Debug)]
pub enum Started {
    /// Everything has started.
    Running(Box<Running>),
    /// It was to stop before that; how that went.
    Stopped(ShutdownReport),
}

impl Default for Limits {
    fn default() -> Self {
        Self { start: Duration::from_secs(30), undo: Duration::from_secs(10) }
    }
}

impl Host {
    /// For `program`, with the clocks, randomness and connections that every component gets.
    pub fn new(program: Program, environment: Environment) -> Self {
        Self { program, environment, limits: Limits::default() }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Builds the whole graph and throws it away: what `minicol validate` does. Nothing starts, binds or connects.
    pub fn check(&self, plan: &Plan) -> Result<(), StartError> {
        let workshop = self.silent_workshop();
        graph::build(plan, &Selection::everything(plan), &workshop)?;
        own::check(plan, &workshop)
    }

    /// Starts extensions, then exporters, processors, and receivers last. Where one does not start, what had started is stopped again.
    pub async fn start(&self, plan: &Plan) -> Result<Running, StartError> {
        Ok(self.begin(plan, std::future::pending()).await?.0)
    }

    /// The same, unless `stop` ends first with the time that stopping may take: then what had started is stopped as a program that runs is.
    pub async fn start_unless(&self, plan: &Plan, stop: impl Future<Output = Duration>) -> Result<Started, StartError> {
        Ok(match self.begin(plan, stop).await? {
            (running, None) => Started::Running(Box::new(running)),
            (running, Some(within)) => Started::Stopped(running.shutdown(within).await),
        })
    }

    async fn begin(
        &self,
        plan: &Plan,
        stop: impl Future<Output = Duration>,
    ) -> Result<(Running, Option<Duration>), StartError> {
        for one in plan.overrides() {
            if one.fills_in {
                info!(variable = one.variable, path = %one.path, "an environment variable gives what the configuration does not");
            } else {
                info!(variable = one.variable, path = %one.path, "an environment variable overrides the configuration");
            }
        }
        let telemetry = Telemetry::new(plan.telemetry(), self.program, &self.environment);
        let workshop = Workshop::new(self.environment.clone(), telemetry.meter(), telemetry.tracer().clone());
        let built = graph::build(plan, &Selection::everything(plan), &workshop)?;
        let mut running = Running::new(workshop, telemetry);
        let ended = tokio::select! {
            biased;
            up = self.bring_up(plan, built, &mut running) => up.map(|()| None),
            within = stop => Ok(Some(within)),
        };
        let stop = match ended {
            Ok(stop) => stop,
            Err(error) => {
                running.shutdown(self.limits.undo).await;
                return Err(error);
            }
        };
        if stop.is_none() {
            running.has_started(plan);
        }
        Ok((running, stop))
    }

    async fn bring_up(&self, plan: &Plan, built: graph::Built, running: &mut Running) -> Result<(), StartError> {
        own::start(plan, running).await?;
        for (extension, governed) in built.extensions {
            let run = extension.run(governed.scope.clone());
            running.extensions.push(Life::begin(&governed, &running.workshop.events, run));
            if let Some(life) = running.extensions.last_mut() {
                started(ComponentKind::Extension, life, self.limits.start).await?;
            }
        }
        running.exporters = built.exporters.into_iter().map(|one| start_exporter(one, &running.workshop)).collect();
        for (pipeline, processors) in plan.pipelines.iter().zip(built.processors) {
            let ends = pipeline.exporters.iter().filter_map(|id| running.end(id)).collect();
            running.chains.push(graph::chain(pipeline, processors, ends, &running.workshop));
        }
        processors_are_up(&running.chains, &running.workshop);
        for (receiver, governed) in built.receivers {
            let id = governed.scope.id();
            if !plan.receivers.get(id).is_some_and(|component| component.beside.0) {
                let events = &running.workshop.events;
                events.report(ComponentKind::Receiver, id, Status::Stopped, "not started, because `enabled` is false");
                continue;
            }
            let next = graph::out_of_receiver(plan, &governed.scope, &running.chains, &running.workshop);
            let run = receiver.run(next, governed.scope.clone());
            running.receivers.push(Life::begin(&governed, &running.workshop.events, run));
        }
        for life in &mut running.receivers {
            started(ComponentKind::Receiver, life, self.limits.start).await?;
        }
        Ok(())
    }

    /// For what does not run: nothing is measured, nothing traced.
    pub(crate) fn silent_workshop(&self) -> Workshop {
        Workshop::new(self.environment.clone(), NoopMeterProvider::new().meter("minicol"), Tracer::default())
    }

    pub(crate) const fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }
}

pub(crate) async fn started(kind: ComponentKind, life: &mut Life, within: Duration) -> Result<(), StartError> {
    let id = life.id().clone();
    life.started(within).await.map_err(|why| StartError::Start { kind, id, why })
}

fn start_exporter(built: BuiltExporter, workshop: &Workshop) -> RunningExporter {
    let BuiltExporter { exporter, governed, delivery, storage, signals } = built;
    let id = governed.scope.id().clone();
    let scope = governed.scope.clone();
    let stores = storage.is_some();
    let delivery = Delivery::start_stored(Arc::clone(&exporter), delivery, &signals, scope, storage.as_ref());
    workshop.view.add_accounts(books::of_exporter(id.clone(), &signals, delivery.consumer()));
    workshop.events.report(ComponentKind::Exporter, &id, Status::Ok, "");
    let end = End { kind: ComponentKind::Exporter, id, next: Next::new(delivery.consumer()), stores };
    RunningExporter { end, delivery, abandoned: governed.abandoned }
}

fn processors_are_up(chains: &[Chain], workshop: &Workshop) {
    for stage in chains.iter().flat_map(|chain| &chain.stages) {
        let id = stage.scope().id();
        // It may have told at once that it cannot work.
        let now = workshop.events.status(ComponentKind::Processor, id);
        if now.is_none_or(|now| now.status == Status::Starting) {
            workshop.events.report(ComponentKind::Processor, id, Status::Ok, "");
        }
    }
}
