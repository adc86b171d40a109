//! One pipeline without its receivers and exporters: what is given to it in their place, and what comes of that. What `minicol test` does.

use std::collections::HashMap;

use indexmap::IndexMap;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{ComponentId, EdgeName, Event, HostView, Next, Polls, Rejected, Tap};
use tokio::time::timeout;

use crate::{
    Host, Plan, StartError,
    arrow::End,
    graph::{self, Built, Chain, Draft, ReceiverNode, Selection},
    poll::{Capture, FLUSH_WITHIN, chains},
    workshop::Workshop,
};

/// A pipeline whose processors are at work. Its receivers give what they are told to, and its exporters are one place that keeps everything.
pub struct Replay {
    chains: Vec<(Chain, Vec<End>)>,
    capture: Capture,
    receivers: IndexMap<ComponentId, Replayed>,
    workshop: Workshop,
}

struct Replayed {
    polls: Option<Polls>,
    out: Next,
}

impl Plan {
    /// The ids of the pipelines, in the order in which they were written.
    pub fn pipeline_ids(&self) -> Vec<&str> {
        self.pipelines.iter().map(|pipeline| &*pipeline.id).collect()
    }

    /// What a pipeline gives to its exporters.
    pub fn delivers(&self, pipeline: &str) -> Option<Signal> {
        let found = self.pipelines.iter().find(|one| one.id == pipeline)?;
        Some(found.carries.last().copied().unwrap_or(Signal::Metrics))
    }
}

impl Host {
    /// Builds a pipeline, with the clock that this host has. Nothing listens or connects. `None` where there is no such pipeline.
    pub fn replay(&self, plan: &Plan, pipeline: &str) -> Result<Option<Replay>, StartError> {
        let Some(index) = plan.pipelines.iter().position(|one| one.id == pipeline) else { return Ok(None) };
        let named = &plan.pipelines[index];
        let selection = Selection {
            extensions: Vec::new(),
            exporters: Vec::new(),
            processors: vec![(index, named.processors.clone())],
            receivers: named.receivers.clone(),
        };
        let workshop = self.silent_workshop();
        let built = graph::build(plan, &selection, &HashMap::new(), &workshop)?;
        built.announce(plan, &workshop);
        let Built { processors, receivers, .. } = built;
        let (chains, captures) = chains(plan, &selection, processors, &workshop);
        let led: Vec<(&Chain, Vec<End>)> = chains.iter().map(|(chain, ends)| (chain, ends.clone())).collect();
        let mut arrows = Draft::first(&workshop);
        for (chain, ends) in &led {
            chain.wire(ends, &mut arrows);
        }
        let receivers = receivers.into_iter().map(|(receiver, governed)| {
            let id = governed.scope.id().clone();
            let node = ReceiverNode::new(plan, &id, &workshop);
            node.wire(&id, &led, &mut arrows);
            let polls = receiver.polls(&governed.scope);
            (id, Replayed { polls, out: node.out })
        });
        let receivers = receivers.collect();
        let capture = captures.into_iter().next().unwrap_or_default();
        Ok(Some(Replay { chains, capture, receivers, workshop }))
    }
}

impl Replay {
    /// The receivers of the pipeline, in their order.
    pub fn receivers(&self) -> impl Iterator<Item = &ComponentId> {
        self.receivers.keys()
    }

    /// What a receiver polls, where it does.
    pub fn polls(&self, receiver: &ComponentId) -> Option<&Polls> {
        self.receivers.get(receiver)?.polls.as_ref()
    }

    /// Gives a batch to the pipeline in a receiver's place.
    pub async fn give(&self, receiver: &ComponentId, batch: Batch) -> Result<(), Rejected> {
        match self.receivers.get(receiver) {
            Some(receiver) => receiver.out.consume(batch).await,
            None => Err(Rejected::permanent("no_pipeline", format!("the pipeline has no receiver `{receiver}`"))),
        }
    }

    /// How many items that were given so far no processor was asked to read, where one makes another signal of them: a tool that no rule is for.
    pub fn unused(&self) -> u64 {
        let stages = self.chains.iter().flat_map(|(chain, _)| &chain.stages);
        stages.filter_map(|(stage, _)| stage.account().converted).map(|made| made.unused).sum()
    }

    /// What the exporters would have been given since the last call.
    pub fn take(&self) -> Vec<Batch> {
        self.capture.take()
    }

    /// Has the processors pass on what they still hold.
    pub async fn flush(&self) -> Result<(), Rejected> {
        for (stage, _) in self.chains.iter().flat_map(|(chain, _)| &chain.stages) {
            let late =
                || Rejected::retryable("timeout", format!("processor `{}` did not pass on what it holds", stage.id));
            timeout(FLUSH_WITHIN, stage.flush_now()).await.unwrap_or_else(|_| Err(late()))?;
        }
        Ok(())
    }

    /// Looks at what passes an arrow from now on. `None` where it is not there.
    pub fn tap(&self, edge: &EdgeName) -> Option<Tap> {
        self.workshop.view.tap(edge)
    }

    /// The arrows of the pipeline.
    pub fn edges(&self) -> Vec<EdgeName> {
        self.workshop.view.edges()
    }

    /// What the components told meanwhile, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.workshop.events.recent()
    }
}
