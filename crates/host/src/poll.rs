//! One cycle of each polling receiver, mapped, nothing exported: what `minicol poll` does.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    ComponentId, ComponentKind, Consumer, EdgeSnapshot, Event, HostView, Next, Receiver, Rejected, StatusChange,
    StopReason, async_trait,
};
use tokio::time::{Instant, timeout};

use crate::{
    Host, Plan, StartError,
    arrow::End,
    deadline::Deadline,
    graph::{self, Built, Chain, Draft, ReceiverNode, Selection},
    host::started,
    life::{Life, panic_message, with_causes},
    workshop::{Governed, Workshop},
};

/// What a poll brought.
#[derive(Debug)]
pub struct PollOutcome {
    /// Each receiver that was asked for, in the order in which they were written.
    pub receivers: Vec<PolledReceiver>,
    /// Each pipeline that names one of them.
    pub pipelines: Vec<PolledPipeline>,
    /// What the components told meanwhile, oldest first.
    pub events: Vec<Event>,
    /// What passed between them, and what was refused.
    pub edges: Vec<EdgeSnapshot>,
}

/// What became of one receiver.
#[derive(Debug)]
pub struct PolledReceiver {
    /// Which receiver.
    pub id: ComponentId,
    /// How it went.
    pub result: PollResult,
    /// What it emitted: observations, the cycle's report among them.
    pub batches: Vec<Batch>,
}

/// How polling one receiver went. A target that is down is `Polled` all the same: its report says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollResult {
    /// One cycle is through.
    Polled,
    /// This receiver does not poll.
    NotPolling,
    /// `enabled` is false: it was not asked.
    Disabled,
    /// The cycle broke off.
    Failed(String),
}

/// What the exporters of one pipeline would have been given.
#[derive(Debug)]
pub struct PolledPipeline {
    /// The pipeline's id.
    pub id: String,
    /// What its exporters take.
    pub signal: Signal,
    /// What they would have been given.
    pub batches: Vec<Batch>,
}

/// A poll that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// No receiver of that id takes part.
    #[error("no pipeline names a receiver `{asked}`; {known}")]
    Unknown {
        /// What was asked for.
        asked: String,
        /// Those that there are.
        known: String,
    },
    /// A component could not be built, or a simulator did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Keeps what it is given.
#[derive(Clone, Default)]
pub(crate) struct Capture(Arc<Mutex<Vec<Batch>>>);

/// Keeps what it is given, and passes it on.
struct Tee {
    capture: Capture,
    next: Next,
}

/// How long a processor gets to pass on what it holds.
pub(crate) const FLUSH_WITHIN: Duration = Duration::from_secs(5);
/// How long a simulator gets to stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

impl Host {
    /// Polls `receiver`, or every receiver that polls, once. Of the extensions, only the simulators that the service lists are started.
    pub async fn poll(&self, plan: &Plan, receiver: Option<&str>) -> Result<PollOutcome, PollError> {
        let receivers = chosen(plan, receiver)?;
        let names_one = |index: &usize| plan.pipelines[*index].receivers.iter().any(|id| receivers.contains(id));
        let serves = |id: &&ComponentId| plan.extensions.get(*id).is_some_and(|component| component.entry.serves_poll);
        let selection = Selection {
            extensions: plan.started_extensions.iter().filter(serves).cloned().collect(),
            processors: (0..plan.pipelines.len())
                .filter(names_one)
                .map(|index| (index, plan.pipelines[index].processors.clone()))
                .collect(),
            receivers,
            exporters: Vec::new(),
        };
        let workshop = self.silent_workshop();
        let built = graph::build(plan, &selection, &HashMap::new(), &workshop)?;
        built.announce(plan, &workshop);
        let Built { extensions, processors, receivers, .. } = built;

        let mut simulators = Vec::new();
        for (extension, governed) in extensions {
            let mut life = Life::begin(&governed, extension.run(governed.scope.clone()));
            started(&mut life, self.limits().start).await?;
            governed.is_up(&workshop.events);
            simulators.push(life);
        }
        let (chains, captures) = chains(plan, &selection, processors, &workshop);
        let mut arrows = Draft::first(&workshop);
        let led: Vec<(&Chain, Vec<End>)> = chains.iter().map(|(chain, ends)| (chain, ends.clone())).collect();
        for (chain, ends) in &led {
            chain.wire(ends, &mut arrows);
        }
        let nodes: Vec<ReceiverNode> = receivers
            .iter()
            .map(|(_, governed)| {
                let node = ReceiverNode::new(plan, governed.scope.id(), &workshop);
                node.wire(governed.scope.id(), &led, &mut arrows);
                node
            })
            .collect();
        let cycles = receivers.into_iter().zip(&nodes);
        let polled =
            join_all(cycles.map(|((receiver, governed), node)| cycle(plan, receiver, governed, &node.out))).await;
        for (stage, _) in chains.iter().flat_map(|(chain, _)| &chain.stages) {
            // There is no second cycle, and what is refused stands in the counts of the arrows.
            let _ = timeout(FLUSH_WITHIN, stage.flush_now()).await;
        }
        for life in simulators.into_iter().rev() {
            let _ = life.stop(StopReason::Shutdown, Deadline::at(Instant::now() + STOP_WITHIN)).await;
        }
        let pipelines = selection.processors.iter().zip(captures).map(|((index, _), capture)| {
            let pipeline = &plan.pipelines[*index];
            let signal = pipeline.carries.last().copied().unwrap_or(Signal::Metrics);
            PolledPipeline { id: pipeline.id.clone(), signal, batches: capture.take() }
        });
        Ok(PollOutcome {
            receivers: polled,
            pipelines: pipelines.collect(),
            events: workshop.events.recent(),
            edges: workshop.view.snapshot().books.edges,
        })
    }
}

/// The receivers that are asked for.
fn chosen(plan: &Plan, asked: Option<&str>) -> Result<Vec<ComponentId>, PollError> {
    let used: Vec<ComponentId> = plan.receivers.keys().filter(|id| plan.uses_receiver(id)).cloned().collect();
    let Some(asked) = asked else { return Ok(used) };
    let found = used.iter().find(|id| id.to_string() == asked);
    found.map(|id| vec![id.clone()]).ok_or_else(|| {
        let names: Vec<String> = used.iter().map(ToString::to_string).collect();
        let known = match minicol_config::nearest(asked, &names) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are: {}", names.join(", ")),
        };
        PollError::Unknown { asked: minicol_plugin::text::foreign(asked), known }
    })
}

/// The selected pipelines, each ending where its batches are kept.
pub(crate) fn chains(
    plan: &Plan,
    selection: &Selection,
    processors: Vec<Vec<(Box<dyn minicol_plugin::Processor>, Governed)>>,
    workshop: &Workshop,
) -> (Vec<(Chain, Vec<End>)>, Vec<Capture>) {
    let chain = |((index, _), processors): (&(usize, _), _)| {
        let capture = Capture::default();
        let pipeline = &plan.pipelines[*index];
        // In the place of all of them.
        let end = pipeline.exporters.first().map(|id| End {
            kind: ComponentKind::Exporter,
            id: id.clone(),
            next: Next::new(capture.clone()),
            stores: false,
        });
        ((graph::chain(plan, pipeline, processors, workshop), end.into_iter().collect()), capture)
    };
    selection.processors.iter().zip(processors).map(chain).unzip()
}

async fn cycle(plan: &Plan, receiver: Box<dyn Receiver>, governed: Governed, out: &Next) -> PolledReceiver {
    let id = governed.scope.id().clone();
    if !plan.receivers.get(&id).is_some_and(|component| component.beside.0) {
        return PolledReceiver { id, result: PollResult::Disabled, batches: Vec::new() };
    }
    let capture = Capture::default();
    let next = Next::new(Tee { capture: capture.clone(), next: out.clone() });
    let poll = AssertUnwindSafe(receiver.poll_once(next, governed.scope.clone())).catch_unwind();
    let result = match poll.await {
        Ok(Ok(true)) => PollResult::Polled,
        Ok(Ok(false)) => PollResult::NotPolling,
        Ok(Err(error)) => PollResult::Failed(with_causes(&error)),
        Err(panic) => PollResult::Failed(panic_message(&*panic)),
    };
    PolledReceiver { id, result, batches: capture.take() }
}

impl PollOutcome {
    /// The last thing that a component said of how it is.
    pub fn status(&self, kind: ComponentKind, id: &ComponentId) -> Option<&StatusChange> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Status(change) if change.kind == kind && change.component == *id => Some(change),
            _ => None,
        })
    }
}

impl Capture {
    pub(crate) fn take(&self) -> Vec<Batch> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Consumer for Capture {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        Ok(())
    }
}

#[async_trait]
impl Consumer for Tee {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.capture.consume(batch.clone()).await?;
        self.next.consume(batch).await
    }
}
