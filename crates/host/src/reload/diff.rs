//! What a new configuration changes.

use std::fmt::Display;

use indexmap::IndexSet;
use minicol_plugin::{ComponentId, ComponentKind, ReloadChanges};

use crate::{
    Plan,
    graph::{self, Graph, Selection},
};

/// What has to be built, and what becomes of what runs.
#[derive(Default)]
pub(super) struct Diff {
    pub(super) changes: ReloadChanges,
    pub(super) warnings: Vec<String>,
    pub(super) build: Selection,
    /// Instances that are to end: what they listen on is free for others.
    pub(super) leaving: Vec<u64>,
    /// What runs on as it is, whatever is written.
    pub(super) held: IndexSet<(ComponentKind, ComponentId)>,
}

impl Diff {
    /// A component is the same where what is written of it is.
    pub(super) fn between(graph: &Graph, plan: &Plan) -> Self {
        let mut diff = Self::default();
        diff.extensions(graph, plan);
        diff.exporters(graph, plan);
        diff.processors(graph, plan);
        diff.receivers(graph, plan);
        diff.pipelines(graph, plan);
        diff
    }

    fn extensions(&mut self, graph: &Graph, plan: &Plan) {
        for id in &plan.started_extensions {
            let written = plan.written(ComponentKind::Extension, id);
            match graph.extensions.iter().find(|node| node.id == *id) {
                None => self.add(ComponentKind::Extension, id),
                Some(node) if node.written.means_the_same(&written) => {
                    self.changes.kept += 1;
                    continue;
                }
                Some(_) if plan.extensions.get(id).is_some_and(|component| component.entry.offers_storage) => {
                    self.changes.kept += 1;
                    self.held.insert((ComponentKind::Extension, id.clone()));
                    self.warnings.push(format!(
                        "extension `{id}` has changed, and queues are kept in it: that takes effect when minicol is started again"
                    ));
                    continue;
                }
                Some(node) => {
                    self.leaving.push(node.life.governed.number);
                    self.replace(ComponentKind::Extension, id);
                }
            }
            self.build.extensions.push(id.clone());
        }
        for node in graph.extensions.iter().filter(|node| !plan.started_extensions.contains(&node.id)) {
            self.leaving.push(node.life.governed.number);
            self.remove(ComponentKind::Extension, &node.id);
        }
    }

    fn exporters(&mut self, graph: &Graph, plan: &Plan) {
        for (id, component) in plan.exporters.iter().filter(|(id, _)| !plan.signals_to(id).is_empty()) {
            match graph.exporters.get(id) {
                Some(node) if node.written.means_the_same(&component.written) => {
                    self.changes.kept += 1;
                    continue;
                }
                Some(node) if node.delivery.would_share_its_queue(&component.beside) => {
                    self.changes.kept += 1;
                    self.held.insert((ComponentKind::Exporter, id.clone()));
                    self.warnings.push(format!(
                        "exporter `{id}`: `sizer` or `batch` of a queue in a storage has changed: that takes effect when minicol is started again, \
                         and until then the exporter runs on as it was"
                    ));
                    continue;
                }
                Some(_) => self.replace(ComponentKind::Exporter, id),
                None => self.add(ComponentKind::Exporter, id),
            }
            self.build.exporters.push(id.clone());
        }
        for id in graph.exporters.keys().filter(|id| plan.signals_to(id).is_empty()) {
            self.remove(ComponentKind::Exporter, id);
        }
    }

    fn processors(&mut self, graph: &Graph, plan: &Plan) {
        for (index, pipeline) in plan.pipelines.iter().enumerate() {
            let chain = graph.chains.iter().find(|chain| chain.pipeline.id == pipeline.id);
            let mut build = Vec::new();
            for (at, id) in pipeline.processors.iter().enumerate() {
                let name = in_pipeline(id, &pipeline.id);
                let written = plan.written(ComponentKind::Processor, id);
                match chain.and_then(|chain| chain.stage(id, &graph::place(pipeline, at))) {
                    Some((_, before)) if before.means_the_same(&written) => {
                        self.changes.kept += 1;
                        continue;
                    }
                    Some(_) => self.replace(ComponentKind::Processor, &name),
                    None => self.add(ComponentKind::Processor, &name),
                }
                build.push(id.clone());
            }
            if !build.is_empty() {
                self.build.processors.push((index, build));
            }
        }
        for chain in &graph.chains {
            let pipeline = plan.pipelines.iter().find(|pipeline| pipeline.id == chain.pipeline.id);
            for (stage, _) in &chain.stages {
                let stays = pipeline.is_some_and(|pipeline| graph::has_stage(pipeline, stage));
                if !stays {
                    self.remove(ComponentKind::Processor, &in_pipeline(&stage.id, &chain.pipeline.id));
                }
            }
        }
    }

    fn receivers(&mut self, graph: &Graph, plan: &Plan) {
        for (id, component) in plan.receivers.iter().filter(|(id, _)| plan.uses_receiver(id)) {
            let node = graph.receivers.get(id);
            let runs = node.and_then(|node| node.life.as_ref());
            match (node, runs) {
                (Some(node), _) if node.written.means_the_same(&component.written) => {
                    self.changes.kept += 1;
                    continue;
                }
                (_, Some(life)) => {
                    self.leaving.push(life.governed.number);
                    if component.beside.0 {
                        self.replace(ComponentKind::Receiver, id);
                    } else {
                        self.remove(ComponentKind::Receiver, id);
                    }
                }
                (_, None) if component.beside.0 => self.add(ComponentKind::Receiver, id),
                (_, None) => {}
            }
            // One that is not enabled is built, too: it must hold.
            self.build.receivers.push(id.clone());
        }
        for (id, node) in graph.receivers.iter().filter(|(id, _)| !plan.uses_receiver(id)) {
            self.leaving.extend(node.life.as_ref().map(|life| life.governed.number));
            self.remove(ComponentKind::Receiver, id);
        }
    }

    fn pipelines(&mut self, graph: &Graph, plan: &Plan) {
        let before = |id: &str| graph.chains.iter().map(|chain| &chain.pipeline).find(|one| one.id == id);
        let after = |id: &str| plan.pipelines.iter().find(|one| one.id == id);
        let changed = plan.pipelines.iter().filter(|one| before(&one.id) != Some(*one));
        let gone = graph.chains.iter().map(|chain| &chain.pipeline).filter(|one| after(&one.id).is_none());
        self.changes.pipelines = changed.chain(gone).map(|one| one.id.clone()).collect();
    }

    fn add(&mut self, kind: ComponentKind, what: &dyn Display) {
        self.changes.added.push(format!("{kind} {what}"));
    }

    fn replace(&mut self, kind: ComponentKind, what: &dyn Display) {
        self.changes.replaced.push(format!("{kind} {what}"));
    }

    fn remove(&mut self, kind: ComponentKind, what: &dyn Display) {
        self.changes.removed.push(format!("{kind} {what}"));
    }
}

fn in_pipeline(id: &ComponentId, pipeline: &str) -> String {
    format!("{id} in {pipeline}")
}
