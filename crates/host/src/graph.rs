//! From a plan to components, and from components to a graph.

use std::{collections::HashMap, sync::Arc};

use minicol_delivery::DeliveryConfig;
use minicol_pdata::Signal;
use minicol_plugin::{
    ComponentError, ComponentId, ComponentKind, Exporter, Extension, Next, Processor, Receiver, Scope, storage::Storage,
};

use crate::{
    Plan, StartError,
    arrow::{Arrow, Edge, End, Fan},
    gate::Gate,
    life::with_causes,
    plan::Pipeline,
    stage::{Given, Place, ProcessorOut, ReceiverOut, Stage, StageEntry},
    workshop::{Governed, Workshop},
};

/// Which part of a plan is built.
pub(crate) struct Selection {
    pub(crate) extensions: Vec<ComponentId>,
    pub(crate) receivers: Vec<ComponentId>,
    /// Indices of pipelines.
    pub(crate) pipelines: Vec<usize>,
    /// Whether their exporters are built, too.
    pub(crate) exporters: bool,
}

/// Components that have not started.
pub(crate) struct Built {
    pub(crate) extensions: Vec<(Box<dyn Extension>, Governed)>,
    /// What the extensions store queues in.
    pub(crate) storages: HashMap<ComponentId, Arc<dyn Storage>>,
    pub(crate) exporters: Vec<BuiltExporter>,
    /// By pipeline, in the order of the selection.
    pub(crate) processors: Vec<Vec<(Box<dyn Processor>, Governed)>>,
    pub(crate) receivers: Vec<(Box<dyn Receiver>, Governed)>,
}

pub(crate) struct BuiltExporter {
    pub(crate) exporter: Arc<dyn Exporter>,
    pub(crate) governed: Governed,
    pub(crate) delivery: DeliveryConfig,
    /// What its queues are kept in.
    pub(crate) storage: Option<Arc<dyn Storage>>,
    /// What its pipelines give it.
    pub(crate) signals: Vec<Signal>,
}

/// The inside of one pipeline.
pub(crate) struct Chain {
    pub(crate) pipeline: String,
    /// What the arrows from the receivers lead to, and what they carry.
    entry: Vec<End>,
    carries: Signal,
    /// From the first to the last.
    pub(crate) stages: Vec<Arc<Stage>>,
}

impl Selection {
    /// Everything that a running program has.
    pub(crate) fn everything(plan: &Plan) -> Self {
        Self {
            extensions: plan.started_extensions.clone(),
            receivers: plan.receivers.keys().filter(|id| plan.uses_receiver(id)).cloned().collect(),
            pipelines: (0..plan.pipelines.len()).collect(),
            exporters: true,
        }
    }
}

/// Builds every selected component. Nothing starts.
pub(crate) fn build(plan: &Plan, selection: &Selection, workshop: &Workshop) -> Result<Built, StartError> {
    let pipelines: Vec<&Pipeline> = selection.pipelines.iter().filter_map(|index| plan.pipelines.get(*index)).collect();
    let mut built = Built {
        extensions: Vec::new(),
        storages: HashMap::new(),
        exporters: Vec::new(),
        processors: Vec::new(),
        receivers: Vec::new(),
    };
    for (id, component) in plan.extensions.iter().filter(|(id, _)| selection.extensions.contains(id)) {
        let governed = workshop.scope(ComponentKind::Extension, id);
        workshop.view.add(ComponentKind::Extension, id, Vec::new());
        let extension = component.config.build(&governed.scope).map_err(failed(ComponentKind::Extension, id))?;
        built.storages.extend(extension.storage().map(|storage| (id.clone(), storage)));
        built.extensions.push((extension, governed));
    }
    // In the order in which the service lists them: one may build upon another.
    built.extensions.sort_by_key(|(_, governed)| selection.extensions.iter().position(|id| id == governed.scope.id()));
    for (id, component) in plan.exporters.iter().filter(|_| selection.exporters) {
        let users = pipelines.iter().filter(|pipeline| pipeline.exporters.contains(id));
        let signals: Vec<Signal> = users.filter_map(|pipeline| pipeline.carries.last().copied()).collect();
        if signals.is_empty() {
            continue;
        }
        let governed = workshop.scope(ComponentKind::Exporter, id);
        workshop.view.add(ComponentKind::Exporter, id, plan.pipelines_of(ComponentKind::Exporter, id));
        let exporter = component.config.build(&governed.scope).map_err(failed(ComponentKind::Exporter, id))?;
        let delivery = component.beside.clone();
        let storage = storage(&delivery, &built.storages).map_err(failed(ComponentKind::Exporter, id))?;
        built.exporters.push(BuiltExporter { exporter: exporter.into(), governed, delivery, storage, signals });
    }
    for pipeline in &pipelines {
        let processors = pipeline.processors.iter().map(|id| processor(plan, pipeline, id, workshop));
        built.processors.push(processors.collect::<Result<_, _>>()?);
    }
    for (id, component) in plan.receivers.iter().filter(|(id, _)| selection.receivers.contains(id)) {
        let governed = workshop.scope(ComponentKind::Receiver, id);
        workshop.view.add(ComponentKind::Receiver, id, plan.pipelines_of(ComponentKind::Receiver, id));
        let receiver = component.config.build(&governed.scope).map_err(failed(ComponentKind::Receiver, id))?;
        built.receivers.push((receiver, governed));
    }
    Ok(built)
}

/// What the queues of an exporter are kept in, where they are.
fn storage(
    delivery: &DeliveryConfig,
    storages: &HashMap<ComponentId, Arc<dyn Storage>>,
) -> Result<Option<Arc<dyn Storage>>, ComponentError> {
    let Some(named) = delivery.storage() else { return Ok(None) };
    let found = named.parse().ok().and_then(|id: ComponentId| storages.get(&id));
    found.cloned().map(Some).ok_or_else(|| ComponentError::new(format!("there is no storage `{named}`")))
}

fn processor(
    plan: &Plan,
    pipeline: &Pipeline,
    id: &ComponentId,
    workshop: &Workshop,
) -> Result<(Box<dyn Processor>, Governed), StartError> {
    let unknown =
        || StartError::Build { kind: ComponentKind::Processor, id: id.clone(), why: "it is not configured".to_owned() };
    let component = plan.processors.get(id).ok_or_else(unknown)?;
    let governed = workshop.processor_scope(id, &pipeline.id);
    workshop.view.add(ComponentKind::Processor, id, plan.pipelines_of(ComponentKind::Processor, id));
    let processor = component.config.build(&governed.scope).map_err(failed(ComponentKind::Processor, id))?;
    Ok((processor, governed))
}

fn failed(kind: ComponentKind, id: &ComponentId) -> impl FnOnce(ComponentError) -> StartError {
    let id = id.clone();
    move |error| StartError::Build { kind, id, why: with_causes(&error) }
}

/// Chains the processors of a pipeline, from `ends` backwards.
pub(crate) fn chain(
    pipeline: &Pipeline,
    processors: Vec<(Box<dyn Processor>, Governed)>,
    ends: Vec<End>,
    workshop: &Workshop,
) -> Chain {
    let mut ahead = ends;
    let mut stages = Vec::new();
    let mut carries = pipeline.carries.iter().rev().copied();
    let mut signal = carries.next().unwrap_or(Signal::Metrics);
    for (processor, governed) in processors.into_iter().rev() {
        let id = governed.scope.id().clone();
        let name = id.to_string();
        let fan = Fan::new(arrows(&pipeline.id, &name, signal, &ahead, workshop), workshop.forks.clone());
        let (left, emits) = (Arc::new(Gate::default()), signal);
        signal = carries.next().unwrap_or(signal);
        let outgoing = workshop.instruments.outgoing(&name);
        let next = Next::new(ProcessorOut { fan, outgoing, left: Arc::clone(&left) });
        let place = Place { pipeline: pipeline.id.clone(), takes: signal, emits };
        let stage = Stage::new(processor, (next, left), governed.scope, workshop.instruments.incoming(&name), place);
        let books = Arc::clone(&stage);
        workshop.view.add_accounts(move || vec![books.account()]);
        let entry = Next::new(StageEntry(Arc::clone(&stage)));
        let stores = ahead.iter().any(|end| end.stores);
        ahead = vec![End { kind: ComponentKind::Processor, id, next: entry, stores }];
        stages.push(stage);
    }
    stages.reverse();
    Chain { pipeline: pipeline.id.clone(), entry: ahead, carries: signal, stages }
}

/// The arrow out of a receiver: to every chain whose pipeline names it.
pub(crate) fn out_of_receiver(plan: &Plan, scope: &Scope, chains: &[Chain], workshop: &Workshop) -> Next {
    let id = scope.id();
    let name = id.to_string();
    let names_it =
        |chain: &&Chain| plan.pipelines.iter().any(|one| one.id == chain.pipeline && one.receivers.contains(id));
    let from_here = |chain: &Chain| arrows(&chain.pipeline, &name, chain.carries, &chain.entry, workshop).into_iter();
    let fan = Fan::new(chains.iter().filter(names_it).flat_map(from_here).collect(), workshop.forks.clone());
    let entry = plan.receivers.get(id).map(|component| component.entry);
    let emits: Vec<Signal> = entry.into_iter().flat_map(|entry| entry.flows).filter_map(|flow| flow.emits).collect();
    let transport = entry.and_then(|entry| entry.transport);
    let received = workshop.instruments.receiver(&name, transport, &emits);
    let given = Arc::new(Given::new(&emits));
    let (books, scope) = (Arc::clone(&given), scope.clone());
    workshop.view.add_accounts(move || books.accounts(&scope));
    Next::new(ReceiverOut { fan, received, given })
}

fn arrows(pipeline: &str, from: &str, signal: Signal, ends: &[End], workshop: &Workshop) -> Vec<Arrow> {
    let arrow = |end: &End| {
        let edge = Edge::new(pipeline, from, end, signal, Arc::clone(&workshop.events));
        workshop.view.add_edge(&edge);
        Arrow::new(edge, end)
    };
    ends.iter().map(arrow).collect()
}
