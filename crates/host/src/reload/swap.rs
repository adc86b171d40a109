//! The moment in which the new takes the place of the old. Nothing here waits.

use std::sync::Arc;

use minicol_plugin::{ComponentId, ComponentKind, Status};

use super::{Core, Diff, prepare::Prepared, reason, retire::Retiring};
use crate::{
    Plan,
    gone::InUse,
    graph::{self, BuiltExporter, Chain, ExtensionNode, Graph, ReceiverNode},
    host::exporter_node,
    workshop::Governed,
};

impl Core {
    /// Points everything to the new; what is old is to be ended.
    pub(super) fn swap(&self, graph: &mut Graph, plan: &Plan, diff: &Diff, prepared: Prepared) -> Retiring {
        let Prepared { extensions, storages, exporters, mut processors, receivers } = prepared;
        let mut retiring = Retiring::new(in_use(graph));
        let mut risen: Vec<Governed> = Vec::new();
        self.workshop.handover.pass();
        self.workshop.view.redacts_by(plan.redactor());
        graph.storages = storages;

        for built in exporters {
            risen.push(built.governed.clone());
            self.swap_exporter(graph, plan, built, &mut retiring);
        }
        let gone: Vec<ComponentId> =
            graph.exporters.keys().filter(|id| plan.signals_to(id).is_empty()).cloned().collect();
        for id in gone {
            retiring.exporters.extend(graph.exporters.shift_remove(&id).map(|node| (id, node, false)));
        }
        for (id, node) in &mut graph.exporters {
            if !diff.held.contains(&(ComponentKind::Exporter, id.clone())) {
                node.written = plan.written(ComponentKind::Exporter, id);
            }
            let storage = plan.exporters.get(id).and_then(|component| component.beside.storage());
            let storage = storage.and_then(|name| graph.storages.get(&name.parse().ok()?));
            node.delivery.also_take(&plan.signals_to(id), storage);
        }

        let mut before = std::mem::take(&mut graph.chains);
        for (index, pipeline) in plan.pipelines.iter().enumerate() {
            let old = before.iter().position(|chain| chain.pipeline.id == pipeline.id).map(|at| before.remove(at));
            let mut chain = Chain { pipeline: pipeline.clone(), stages: Vec::new() };
            for (at, id) in pipeline.processors.iter().enumerate() {
                let place = graph::place(pipeline, at);
                let there = old.as_ref().and_then(|old| old.stage(id, &place)).map(|(stage, _)| Arc::clone(stage));
                let new = processors.remove(&(index, id.clone()));
                risen.extend(new.as_ref().map(|(_, governed)| governed.clone()));
                let stage = match (there, new) {
                    (Some(stage), None) => stage,
                    (Some(stage), Some(new)) => {
                        let worker = stage.replace(new);
                        retiring.workers.push((Arc::clone(&stage), worker));
                        stage
                    }
                    (None, Some(new)) => graph::stage(new, place, &self.workshop),
                    // The difference says to build what is not there.
                    (None, None) => continue,
                };
                chain.stages.push((stage, plan.written(ComponentKind::Processor, id)));
            }
            let gone = old.into_iter().flat_map(|old| old.stages).map(|(stage, _)| stage);
            retiring.stages.extend(gone.filter(|stage| !chain.stages.iter().any(|(one, _)| Arc::ptr_eq(one, stage))));
            graph.chains.push(chain);
        }
        retiring.stages.extend(before.into_iter().flat_map(|chain| chain.stages).map(|(stage, _)| stage));

        self.swap_receivers(graph, plan, &mut retiring);
        graph.wire(&self.workshop);
        for (life, outlet) in receivers {
            let id = life.governed.scope.id().clone();
            risen.push(life.governed.clone());
            if let Some(node) = graph.receivers.get_mut(&id) {
                outlet.lead_to(node.out.clone());
                let old = node.life.replace(life);
                retiring.receivers.extend(old.map(|old| (old, reason(true))));
            }
        }

        let old = std::mem::take(&mut graph.extensions);
        let (mut old, mut new): (Vec<_>, Vec<_>) = (old.into_iter().map(Some).collect(), extensions);
        for id in &plan.started_extensions {
            let there = old.iter_mut().find(|node| node.as_ref().is_some_and(|node| node.id == *id));
            let there = there.and_then(Option::take);
            let written = plan.written(ComponentKind::Extension, id);
            let next = new.iter().position(|life| life.governed.scope.id() == id).map(|at| new.remove(at));
            if let Some(life) = next {
                risen.push(life.governed.clone());
                retiring.extensions.extend(there.map(|there| (there.life, reason(true))));
                graph.extensions.push(ExtensionNode { id: id.clone(), written, life });
            } else if let Some(mut there) = there {
                if !diff.held.contains(&(ComponentKind::Extension, id.clone())) {
                    there.written = written;
                }
                graph.extensions.push(there);
            }
        }
        retiring.extensions.extend(old.into_iter().flatten().map(|node| (node.life, reason(false))));

        self.speak(graph, plan, &retiring, &risen);
        retiring.now = Some(in_use(graph));
        retiring
    }

    fn swap_exporter(&self, graph: &mut Graph, plan: &Plan, built: BuiltExporter, retiring: &mut Retiring) {
        let id = built.governed.scope.id().clone();
        let written = plan.written(ComponentKind::Exporter, &id);
        match graph.exporters.get_mut(&id) {
            Some(node) if node.delivery.can_take_on(&built.delivery) => {
                let BuiltExporter { exporter, governed, delivery, storage, signals } = built;
                node.governed.tell_to_stop(reason(true));
                let scope = governed.scope.clone();
                let before = node.delivery.take_on(exporter, delivery, &signals, scope, storage.as_ref());
                (node.governed, node.written) = (governed, written);
                retiring.predecessors.push((id, before));
            }
            Some(node) => {
                // Its queue is kept elsewhere from now on. What is in the old one goes out as it would have.
                let mut new = exporter_node(built, written, &self.workshop);
                node.door.lead_to(new.delivery.consumer());
                (new.door, new.entry) = (Arc::clone(&node.door), node.entry.clone());
                let old = std::mem::replace(node, new);
                retiring.exporters.push((id, old, true));
            }
            None => drop(graph.exporters.insert(id, exporter_node(built, written, &self.workshop))),
        }
    }

    /// Every receiver that the plan uses has its place; one that ended or is not enabled any more is stopped.
    fn swap_receivers(&self, graph: &mut Graph, plan: &Plan, retiring: &mut Retiring) {
        let mut before = std::mem::take(&mut graph.receivers);
        for (id, component) in plan.receivers.iter().filter(|(id, _)| plan.uses_receiver(id)) {
            let there = before.shift_remove(id);
            let mut node = there.unwrap_or_else(|| ReceiverNode::new(plan, id, &self.workshop));
            node.written = plan.written(ComponentKind::Receiver, id);
            if !component.beside.0 {
                retiring.receivers.extend(node.life.take().map(|life| (life, reason(false))));
            }
            graph.receivers.insert(id.clone(), node);
        }
        for (id, mut node) in before {
            // Its arrows stay as they are: they lead to what runs, and to what ends after it.
            retiring.receivers.extend(node.life.take().map(|life| (life, reason(false))));
            retiring.nodes.push((id, node));
        }
    }

    /// Whoever is new speaks for its component, and whoever is old no longer.
    fn speak(&self, graph: &Graph, plan: &Plan, retiring: &Retiring, risen: &[Governed]) {
        let view = &self.workshop.view;
        for (life, why) in retiring.receivers.iter().chain(&retiring.extensions) {
            if *why == reason(true) {
                life.governed.voice.fall_silent();
            }
        }
        retiring.workers.iter().for_each(|(_, worker)| worker.governed.voice.fall_silent());
        let ended = retiring.receivers.iter().chain(&retiring.extensions).filter(|(life, _)| life.has_ended());
        let ended: Vec<_> = ended.map(|(life, _)| (life.governed.scope.kind(), life.governed.scope.id())).collect();
        for governed in risen {
            let (kind, id) = (governed.scope.kind(), governed.scope.id());
            let stands = governed.voice.carries_on() && !ended.contains(&(kind, id));
            if !(stands && self.workshop.events.is_at_work(kind, id)) {
                view.add(kind, id, plan.pipelines_of(kind, id));
            }
        }
        for (kind, id) in view.components() {
            view.belongs_to(kind, &id, plan.pipelines_of(kind, &id));
        }
        risen.iter().for_each(Governed::go_live);
        for governed in risen {
            governed.is_up(&self.workshop.events);
        }
        for id in graph.receivers.iter().filter(|(_, node)| node.life.is_none()).map(|(id, _)| id) {
            view.belongs_to(ComponentKind::Receiver, id, plan.pipelines_of(ComponentKind::Receiver, id));
            if self.workshop.events.status(ComponentKind::Receiver, id).is_none() {
                let why = "not started, because `enabled` is false";
                self.workshop.events.report(ComponentKind::Receiver, id, Status::Stopped, why);
            }
        }
    }
}

/// What is there, by name.
fn in_use(graph: &Graph) -> InUse {
    let receivers = graph.receivers.keys().map(|id| (ComponentKind::Receiver, id.clone()));
    let stages = graph.chains.iter().flat_map(|chain| &chain.stages);
    let processors = stages.map(|(stage, _)| (ComponentKind::Processor, stage.id.clone()));
    let exporters = graph.exporters.keys().map(|id| (ComponentKind::Exporter, id.clone()));
    let extensions = graph.extensions.iter().map(|node| (ComponentKind::Extension, node.id.clone()));
    InUse {
        components: receivers.chain(processors).chain(exporters).chain(extensions).collect(),
        pipelines: graph.chains.iter().map(|chain| chain.pipeline.id.clone()).collect(),
        arrows: graph.arrows.names(),
    }
}
