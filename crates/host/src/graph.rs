//! From a plan to components, and from components to a graph.

use std::{collections::HashMap, sync::Arc};

use indexmap::IndexMap;
use minicol_config::Node;
use minicol_delivery::{Delivery, DeliveryConfig};
use minicol_pdata::Signal;
use minicol_plugin::{
    ComponentError, ComponentId, ComponentKind, Exporter, Extension, Next, Processor, Receiver, storage::Storage,
};

use crate::{
    Plan, StartError,
    arrow::{Arrow, End, Fan},
    door::Door,
    life::{Life, with_causes},
    meters::ReceiverMeters,
    plan::Pipeline,
    stage::{Given, Nowhere, Place, ReceiverOut, Stage},
    workshop::{Governed, Workshop},
};

/// Which part of a plan is built.
#[derive(Default)]
pub(crate) struct Selection {
    pub(crate) extensions: Vec<ComponentId>,
    pub(crate) exporters: Vec<ComponentId>,
    /// Of which pipelines, by index, and which processors of each.
    pub(crate) processors: Vec<(usize, Vec<ComponentId>)>,
    pub(crate) receivers: Vec<ComponentId>,
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

/// What runs. Fields are dropped in this order: in the direction in which the data flows.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) receivers: IndexMap<ComponentId, ReceiverNode>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) exporters: IndexMap<ComponentId, ExporterNode>,
    /// In the order in which they were started.
    pub(crate) extensions: Vec<ExtensionNode>,
    pub(crate) storages: HashMap<ComponentId, Arc<dyn Storage>>,
    pub(crate) arrows: Arrows,
}

/// A receiver's place. Instances take each other's there.
pub(crate) struct ReceiverNode {
    pub(crate) written: Node,
    /// None where it is not enabled.
    pub(crate) life: Option<Life>,
    /// What every instance gives its batches to.
    pub(crate) out: Next,
    pub(crate) given: Arc<Given>,
    received: Arc<ReceiverMeters>,
}

/// The inside of one pipeline.
pub(crate) struct Chain {
    pub(crate) pipeline: Pipeline,
    /// From the first to the last, each with what was written.
    pub(crate) stages: Vec<(Arc<Stage>, Node)>,
}

/// An exporter's place, with what stands around it.
pub(crate) struct ExporterNode {
    pub(crate) written: Node,
    pub(crate) governed: Governed,
    pub(crate) delivery: Delivery,
    /// What it takes is in a queue on disk.
    pub(crate) stores: bool,
    /// Tells the books of two deliveries apart.
    pub(crate) books: u64,
    pub(crate) door: Arc<Door>,
    /// What the arrows of every pipeline lead to.
    pub(crate) entry: Next,
}

pub(crate) struct ExtensionNode {
    pub(crate) id: ComponentId,
    pub(crate) written: Node,
    pub(crate) life: Life,
}

/// Every arrow that is there, so that one that stays is the same after a reload.
#[derive(Default)]
pub(crate) struct Arrows {
    drawn: Vec<Arc<Arrow>>,
    /// They were drawn once: what is new from now on was not there from the start.
    later: bool,
}

impl Selection {
    /// Everything that a running program has.
    pub(crate) fn everything(plan: &Plan) -> Self {
        let pipelines = plan.pipelines.iter().enumerate();
        Self {
            extensions: plan.started_extensions.clone(),
            exporters: plan.exporters.keys().filter(|id| !plan.signals_to(id).is_empty()).cloned().collect(),
            processors: pipelines.map(|(index, pipeline)| (index, pipeline.processors.clone())).collect(),
            receivers: plan.receivers.keys().filter(|id| plan.uses_receiver(id)).cloned().collect(),
        }
    }
}

/// Builds every selected component; `storages` are there already. Nothing starts.
pub(crate) fn build(
    plan: &Plan,
    selection: &Selection,
    storages: &HashMap<ComponentId, Arc<dyn Storage>>,
    workshop: &Workshop,
) -> Result<Built, StartError> {
    let mut built = Built {
        extensions: Vec::new(),
        storages: storages.clone(),
        exporters: Vec::new(),
        processors: Vec::new(),
        receivers: Vec::new(),
    };
    for (id, component) in plan.extensions.iter().filter(|(id, _)| selection.extensions.contains(id)) {
        let governed = workshop.scope(ComponentKind::Extension, id);
        let extension = component.config.build(&governed.scope).map_err(failed(ComponentKind::Extension, id))?;
        built.storages.extend(extension.storage().map(|storage| (id.clone(), storage)));
        built.extensions.push((extension, governed));
    }
    // In the order in which the service lists them: one may build upon another.
    built.extensions.sort_by_key(|(_, governed)| selection.extensions.iter().position(|id| id == governed.scope.id()));
    for (id, component) in plan.exporters.iter().filter(|(id, _)| selection.exporters.contains(id)) {
        let governed = workshop.scope(ComponentKind::Exporter, id);
        let exporter = component.config.build(&governed.scope).map_err(failed(ComponentKind::Exporter, id))?;
        let delivery = component.beside.clone();
        let storage = storage(&delivery, &built.storages).map_err(failed(ComponentKind::Exporter, id))?;
        let signals = plan.signals_to(id);
        built.exporters.push(BuiltExporter { exporter: exporter.into(), governed, delivery, storage, signals });
    }
    for (index, ids) in &selection.processors {
        let Some(pipeline) = plan.pipelines.get(*index) else { continue };
        let processors = ids.iter().map(|id| processor(plan, pipeline, id, workshop));
        built.processors.push(processors.collect::<Result<_, _>>()?);
    }
    for (id, component) in plan.receivers.iter().filter(|(id, _)| selection.receivers.contains(id)) {
        let governed = workshop.scope(ComponentKind::Receiver, id);
        let receiver = component.config.build(&governed.scope).map_err(failed(ComponentKind::Receiver, id))?;
        built.receivers.push((receiver, governed));
    }
    Ok(built)
}

impl Built {
    /// Tells that every component of it is there and starts, and lets each be heard.
    pub(crate) fn announce(&self, plan: &Plan, workshop: &Workshop) {
        let by_file = |governed: &&Governed| plan.extensions.get_index_of(governed.scope.id());
        let mut extensions: Vec<&Governed> = self.extensions.iter().map(|(_, governed)| governed).collect();
        extensions.sort_by_key(by_file);
        let exporters = self.exporters.iter().map(|one| &one.governed);
        let processors = self.processors.iter().flatten().map(|(_, governed)| governed);
        let receivers = self.receivers.iter().map(|(_, governed)| governed);
        let all: Vec<&Governed> = extensions.into_iter().chain(exporters).chain(processors).chain(receivers).collect();
        for governed in &all {
            let (kind, id) = (governed.scope.kind(), governed.scope.id());
            workshop.view.add(kind, id, plan.pipelines_of(kind, id));
        }
        all.into_iter().for_each(Governed::go_live);
    }
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
    let processor = component.config.build(&governed.scope).map_err(failed(ComponentKind::Processor, id))?;
    Ok((processor, governed))
}

fn failed(kind: ComponentKind, id: &ComponentId) -> impl FnOnce(ComponentError) -> StartError {
    let id = id.clone();
    move |error| StartError::Build { kind, id, why: with_causes(&error) }
}

/// The place of a processor in a pipeline: what it takes and gives there.
pub(crate) fn place(pipeline: &Pipeline, index: usize) -> Place {
    let signal = |at: usize| pipeline.carries.get(at).copied().unwrap_or(Signal::Metrics);
    Place { pipeline: pipeline.id.clone(), takes: signal(index), emits: signal(index + 1) }
}

/// A new stage, its books open.
pub(crate) fn stage(processor: (Box<dyn Processor>, Governed), place: Place, workshop: &Workshop) -> Arc<Stage> {
    let name = processor.1.scope.id().to_string();
    let meters = (workshop.instruments.incoming(&name), workshop.instruments.outgoing(&name));
    let stage = Stage::new(processor, place, meters);
    let books = Arc::clone(&stage);
    workshop.view.add_accounts(stage.owner(), move || vec![books.account()]);
    stage
}

/// A pipeline all of whose processors are new.
pub(crate) fn chain(
    plan: &Plan,
    pipeline: &Pipeline,
    processors: Vec<(Box<dyn Processor>, Governed)>,
    workshop: &Workshop,
) -> Chain {
    let stages = processors.into_iter().enumerate().map(|(index, processor)| {
        let written = plan.written(ComponentKind::Processor, processor.1.scope.id());
        (stage(processor, place(pipeline, index), workshop), written)
    });
    Chain { pipeline: pipeline.clone(), stages: stages.collect() }
}

impl Chain {
    /// The stage of a processor, where it is in this place, and what was written of it.
    pub(crate) fn stage(&self, id: &ComponentId, place: &Place) -> Option<&(Arc<Stage>, Node)> {
        self.stages.iter().find(|(stage, _)| stage.id == *id && stage.place == *place)
    }

    /// What the arrows from its receivers lead to, where its exporters' are `ends`.
    fn entry(&self, ends: &[End]) -> Vec<End> {
        let stores = ends.iter().any(|end| end.stores);
        self.stages.first().map_or_else(|| ends.to_vec(), |(stage, _)| vec![stage.end(stores)])
    }

    /// What its receivers give it.
    fn carries(&self) -> Signal {
        self.pipeline.carries.first().copied().unwrap_or(Signal::Metrics)
    }

    /// Draws every arrow inside of it.
    pub(crate) fn wire(&self, ends: &[End], arrows: &mut Draft<'_>) {
        let (mut ahead, stores) = (ends.to_vec(), ends.iter().any(|end| end.stores));
        for (stage, _) in self.stages.iter().rev() {
            let drawn = arrows.draw(&self.pipeline.id, &stage.id.to_string(), stage.place.emits, &ahead);
            stage.point_to(Fan::new(drawn, arrows.workshop.forks.clone()));
            ahead = vec![stage.end(stores)];
        }
    }
}

impl ReceiverNode {
    pub(crate) fn new(plan: &Plan, id: &ComponentId, workshop: &Workshop) -> Self {
        let entry = plan.receivers.get(id).map(|component| component.entry);
        let emits: Vec<Signal> =
            entry.into_iter().flat_map(|entry| entry.flows).filter_map(|flow| flow.emits).collect();
        let transport = entry.and_then(|entry| entry.transport);
        let received = Arc::new(workshop.instruments.receiver(&id.to_string(), transport, &emits));
        let given = Arc::new(Given::new(&emits));
        let (books, owner) = (Arc::clone(&given), id.clone());
        workshop.view.add_accounts(receiver_owner(id), move || books.accounts(&owner));
        let written = plan.written(ComponentKind::Receiver, id);
        Self { written, life: None, out: Next::new(Nowhere), given, received }
    }

    /// Draws the arrows out of it: to every chain whose pipeline names it.
    pub(crate) fn wire(&self, id: &ComponentId, chains: &[(&Chain, Vec<End>)], arrows: &mut Draft<'_>) {
        let name = id.to_string();
        let named = chains.iter().filter(|(chain, _)| chain.pipeline.receivers.contains(id));
        let mut drawn = Vec::new();
        for (chain, ends) in named {
            drawn.extend(arrows.draw(&chain.pipeline.id, &name, chain.carries(), &chain.entry(ends)));
        }
        let fan = Fan::new(drawn, arrows.workshop.forks.clone());
        let (received, given) = (Arc::clone(&self.received), Arc::clone(&self.given));
        self.out.point_to(ReceiverOut { fan, received, given });
    }
}

/// Whose books those of a receiver are.
pub(crate) fn receiver_owner(id: &ComponentId) -> (ComponentKind, ComponentId, String) {
    (ComponentKind::Receiver, id.clone(), String::new())
}

impl Graph {
    /// Draws every arrow; those that are not wanted any more are gone.
    pub(crate) fn wire(&mut self, workshop: &Workshop) {
        let mut draft = Draft { before: std::mem::take(&mut self.arrows), drawn: Vec::new(), workshop };
        let end = |id: &ComponentId| self.exporters.get(id).map(|node| node.end(id));
        let ends = |chain: &Chain| chain.pipeline.exporters.iter().filter_map(end).collect::<Vec<End>>();
        let chains: Vec<(&Chain, Vec<End>)> = self.chains.iter().map(|chain| (chain, ends(chain))).collect();
        for (chain, ends) in &chains {
            chain.wire(ends, &mut draft);
        }
        for (id, node) in &self.receivers {
            node.wire(id, &chains, &mut draft);
        }
        self.arrows = draft.done();
    }
}

/// Whether a pipeline has a place for this stage.
pub(crate) fn has_stage(pipeline: &Pipeline, stage: &Stage) -> bool {
    let mut ids = pipeline.processors.iter().enumerate();
    ids.any(|(at, id)| *id == stage.id && place(pipeline, at) == stage.place)
}

impl ExporterNode {
    /// Whose books these are: a delivery's that may be another before the exporter is.
    pub(crate) fn owner(&self, id: &ComponentId) -> (ComponentKind, ComponentId, String) {
        (ComponentKind::Exporter, id.clone(), self.books.to_string())
    }

    pub(crate) fn end(&self, id: &ComponentId) -> End {
        End { kind: ComponentKind::Exporter, id: id.clone(), next: self.entry.clone(), stores: self.stores }
    }
}

/// Arrows that are being drawn.
pub(crate) struct Draft<'a> {
    before: Arrows,
    drawn: Vec<Arc<Arrow>>,
    pub(crate) workshop: &'a Workshop,
}

impl<'a> Draft<'a> {
    /// The first arrows of a program.
    pub(crate) fn first(workshop: &'a Workshop) -> Self {
        Self { before: Arrows::default(), drawn: Vec::new(), workshop }
    }

    fn draw(&mut self, pipeline: &str, from: &str, signal: Signal, ends: &[End]) -> Vec<Arc<Arrow>> {
        let drawn: Vec<Arc<Arrow>> = ends.iter().map(|end| self.arrow(pipeline, from, signal, end)).collect();
        self.drawn.extend(drawn.iter().cloned());
        drawn
    }

    /// The one that is there, or a new one that goes on with the books of one that was.
    fn arrow(&self, pipeline: &str, from: &str, signal: Signal, end: &End) -> Arc<Arrow> {
        let is_this = |arrow: &&Arc<Arrow>| arrow.edge.is_between(pipeline, from, end, signal);
        let there = self.before.drawn.iter().find(is_this);
        if let Some(arrow) = there.filter(|arrow| arrow.to.is(&end.next) && arrow.stores == end.stores) {
            return Arc::clone(arrow);
        }
        let (edge, _) = self.workshop.view.edge(pipeline, from, end, signal);
        edge.set_drawn(true);
        if self.before.later && there.is_none() {
            edge.is_partial();
        }
        Arc::new(Arrow::new(edge, end))
    }

    pub(crate) fn done(self) -> Arrows {
        let gone = |arrow: &&Arc<Arrow>| !self.drawn.iter().any(|one| Arc::ptr_eq(&one.edge, &arrow.edge));
        for arrow in self.before.drawn.iter().filter(gone) {
            arrow.edge.is_partial();
            arrow.edge.set_drawn(false);
        }
        Arrows { drawn: self.drawn, later: true }
    }
}

impl Arrows {
    /// Pipeline, from, to of each.
    pub(crate) fn names(&self) -> Vec<(String, String, String)> {
        self.drawn.iter().map(|arrow| arrow.edge.names()).collect()
    }
}
