//! From a plan to a running program.

use std::{collections::HashMap, sync::Arc, time::Duration};

use minicol_config::Node;
use minicol_delivery::Delivery;
use minicol_plugin::{ComponentId, ComponentKind, Environment, Next, Status, trace::Tracer};
use minicol_telemetry::{Program, Telemetry, TelemetryError};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};
use tokio::time::Instant;
use tracing::info;

use crate::{
    Plan, Running, ShutdownReport, books,
    door::{Door, DoorEntry},
    graph::{self, Built, BuiltExporter, Chain, ExporterNode, ExtensionNode, Graph, ReceiverNode, Selection},
    life::Life,
    own,
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
    /// How long what a reload replaced or removed may take to end. Default 10 s.
    pub drain: Duration,
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
        Self { start: Duration::from_secs(30), undo: Duration::from_secs(10), drain: Duration::from_secs(10) }
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
        graph::build(plan, &Selection::everything(plan), &HashMap::new(), &workshop)?;
        own::check(plan, &workshop)
    }

    /// Starts extensions, then exporters, processors, and receivers last. Where one does not start, what had started is stopped again.
    pub async fn start(&self, plan: &Plan) -> Result<Running, StartError> {
        Ok(self.begin(plan, std::future::pending()).await?.0)
    }

    /// The same, unless `stop` ends first, with when that was asked for and the time that stopping may take: then what had started is stopped as a program that runs is.
    pub async fn start_unless(
        &self,
        plan: &Plan,
        stop: impl Future<Output = (Instant, Duration)>,
    ) -> Result<Started, StartError> {
        Ok(match self.begin(plan, stop).await? {
            (running, None) => Started::Running(Box::new(running)),
            (running, Some((asked, within))) => Started::Stopped(running.shutdown_since(asked, within).await),
        })
    }

    async fn begin(
        &self,
        plan: &Plan,
        stop: impl Future<Output = (Instant, Duration)>,
    ) -> Result<(Running, Option<(Instant, Duration)>), StartError> {
        for one in plan.overrides() {
            if one.fills_in {
                info!(variable = one.variable, path = %one.path, "an environment variable gives what the configuration does not");
            } else {
                info!(variable = one.variable, path = %one.path, "an environment variable overrides the configuration");
            }
        }
        let mut telemetry = Telemetry::new(plan.telemetry(), self.program, plan.components(), &self.environment);
        let workshop = Workshop::new(self.environment.clone(), telemetry.meter(), telemetry.tracer().clone());
        workshop.view.redacts_by(plan.redactor());
        let built = graph::build(plan, &Selection::everything(plan), &HashMap::new(), &workshop)?;
        built.announce(plan, &workshop);
        workshop.view.configured(&plan.settings());
        let mut graph = Graph::default();
        let ended = tokio::select! {
            biased;
            up = self.bring_up(plan, built, &mut graph, &workshop, &mut telemetry) => up.map(|()| None),
            asked = stop => Ok(Some(asked)),
        };
        let running = Running::new(self.clone(), graph, workshop, telemetry, plan.telemetry().clone());
        let stop = match ended {
            Ok(stop) => stop,
            Err(error) => {
                running.shutdown(self.limits.undo).await;
                return Err(error);
            }
        };
        if stop.is_none() {
            running.has_started(plan).await;
        }
        Ok((running, stop))
    }

    async fn bring_up(
        &self,
        plan: &Plan,
        built: Built,
        graph: &mut Graph,
        workshop: &Workshop,
        telemetry: &mut Telemetry,
    ) -> Result<(), StartError> {
        own::start(plan, workshop, telemetry).await?;
        for (extension, governed) in built.extensions {
            let (id, run) = (governed.scope.id().clone(), extension.run(governed.scope.clone()));
            let written = plan.written(ComponentKind::Extension, &id);
            graph.extensions.push(ExtensionNode { id, written, life: Life::begin(&governed, run) });
            if let Some(node) = graph.extensions.last_mut() {
                started(&mut node.life, self.limits.start).await?;
                governed.is_up(&workshop.events);
            }
        }
        graph.storages = built.storages;
        for exporter in built.exporters {
            let id = exporter.governed.scope.id().clone();
            let written = plan.written(ComponentKind::Exporter, &id);
            graph.exporters.insert(id, exporter_node(exporter, written, workshop));
        }
        let chains = plan.pipelines.iter().zip(built.processors);
        graph.chains =
            chains.map(|(pipeline, processors)| graph::chain(plan, pipeline, processors, workshop)).collect();
        processors_are_up(&graph.chains, workshop);
        for (receiver, governed) in built.receivers {
            let id = governed.scope.id().clone();
            let mut node = ReceiverNode::new(plan, &id, workshop);
            if plan.receivers.get(&id).is_some_and(|component| component.beside.0) {
                node.life = Some(Life::begin(&governed, receiver.run(node.out.clone(), governed.scope.clone())));
            } else {
                governed.voice.report(Status::Stopped, "not started, because `enabled` is false");
            }
            graph.receivers.insert(id, node);
        }
        // Nothing runs before the next time that this waits.
        graph.wire(workshop);
        for life in graph.receivers.values_mut().filter_map(|node| node.life.as_mut()) {
            started(life, self.limits.start).await?;
            life.governed.is_up(&workshop.events);
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

pub(crate) async fn started(life: &mut Life, within: Duration) -> Result<(), StartError> {
    let (kind, id) = (life.governed.scope.kind(), life.governed.scope.id().clone());
    life.started(within).await.map_err(|why| StartError::Start { kind, id, why })
}

/// Puts a queue and all that belongs to it before an exporter.
pub(crate) fn exporter_node(built: BuiltExporter, written: Node, workshop: &Workshop) -> ExporterNode {
    let BuiltExporter { exporter, governed, delivery, storage, signals } = built;
    let id = governed.scope.id().clone();
    let scope = governed.scope.clone();
    let stores = storage.is_some();
    let delivery = Delivery::start_stored(Arc::clone(&exporter), delivery, &signals, scope, storage.as_ref());
    if governed.is_live() {
        governed.voice.report(Status::Ok, "");
    }
    let door = Door::new(delivery.consumer());
    let entry = Next::new(DoorEntry(Arc::clone(&door)));
    let books = governed.number;
    let node = ExporterNode { written, governed, delivery, stores, books, door, entry };
    workshop.view.add_accounts(node.owner(&id), books::of_exporter(id, node.delivery.consumer()));
    node
}

fn processors_are_up(chains: &[Chain], workshop: &Workshop) {
    // It may have told at once that it cannot work.
    let stages = chains.iter().flat_map(|chain| &chain.stages);
    stages.for_each(|(stage, _)| stage.worker().governed.is_up(&workshop.events));
}
