//! A processor in its place between two arrows, and what stands where arrows begin.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use futures::FutureExt;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    Account, CancellationToken, ComponentId, ComponentKind, Consumer, Converted, Next, Processor, Reasons, Rejected,
    Status, StopReason, async_trait, sum,
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::{
    arrow::{End, Fan},
    deadline::Deadline,
    gate::{Gate, Passed},
    life::panic_message,
    meters::{ProcessorMeter, ReceiverMeters},
    view::Owner,
    workshop::Governed,
};

/// A processor's place in a pipeline and the arrow out of it. Processors may take each other's place there. A panic in one costs the batch, not the
/// program.
pub(crate) struct Stage {
    pub(crate) id: ComponentId,
    worker: ArcSwap<Worker>,
    /// Pointed to where batches go once the arrows are drawn.
    pub(crate) next: Next,
    /// Leads here.
    pub(crate) entry: Next,
    incoming: ProcessorMeter,
    outgoing: ProcessorMeter,
    pub(crate) place: Place,
    entered: Gate,
    left: Arc<Gate>,
    /// What it held when it could not pass that on.
    dropped: Mutex<Reasons>,
    /// Processors that others took the place of: what they converted still counts.
    before: Mutex<Before>,
}

#[derive(Default)]
struct Before {
    finished: Converted,
    working: Vec<Arc<Worker>>,
}

/// One processor at work.
pub(crate) struct Worker {
    processor: Box<dyn Processor>,
    pub(crate) governed: Governed,
    /// Batches that are in it.
    inside: TaskTracker,
    /// Cancelled when the one before has passed on all that it had: no batch overtakes another.
    after: Option<CancellationToken>,
    done: CancellationToken,
}

/// Where a processor stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pipeline: String,
    pub(crate) takes: Signal,
    pub(crate) emits: Signal,
}

/// The end of the arrows into a stage.
struct StageEntry(std::sync::Weak<Stage>);

/// Where the arrows out of a processor begin.
struct ProcessorOut {
    fan: Fan,
    outgoing: ProcessorMeter,
    left: Arc<Gate>,
}

/// What an arrow leads to before it is drawn.
pub(crate) struct Nowhere;

/// Where the arrows out of a receiver begin.
pub(crate) struct ReceiverOut {
    pub(crate) fan: Fan,
    pub(crate) received: Arc<ReceiverMeters>,
    pub(crate) given: Arc<Given>,
}

/// What a receiver gave, by signal.
pub(crate) struct Given(BTreeMap<Signal, Gate>);

/// Why items were dropped that a processor held and could not pass on at the end.
const FLUSH_FAILED: &str = "flush_failed";

impl Stage {
    pub(crate) fn new(
        processor: (Box<dyn Processor>, Governed),
        place: Place,
        (incoming, outgoing): (ProcessorMeter, ProcessorMeter),
    ) -> Arc<Self> {
        let id = processor.1.scope.id().clone();
        Arc::new_cyclic(|stage| Self {
            id,
            worker: ArcSwap::from_pointee(Worker::new(processor, None)),
            next: Next::new(Nowhere),
            entry: Next::new(StageEntry(stage.clone())),
            incoming,
            outgoing,
            place,
            entered: Gate::default(),
            left: Arc::default(),
            dropped: Mutex::default(),
            before: Mutex::default(),
        })
    }

    /// What became of the items that were made another signal of, by all processors that stood here; none where the one that does now does not say.
    fn converted(&self) -> Option<Converted> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.worker.load().processor.converted()?;
        let working = before.working.iter().filter_map(|worker| worker.processor.converted());
        for one in working.chain([before.finished]) {
            all.converted += one.converted;
            all.unused += one.unused;
        }
        Some(all)
    }

    /// What arrows to it lead to; `stores` where a queue on disk comes behind it.
    pub(crate) fn end(&self, stores: bool) -> End {
        End { kind: ComponentKind::Processor, id: self.id.clone(), next: self.entry.clone(), stores }
    }

    /// Whose books these are.
    pub(crate) fn owner(&self) -> Owner {
        let Place { pipeline, takes, emits } = &self.place;
        (ComponentKind::Processor, self.id.clone(), format!("{pipeline} {takes} {emits}"))
    }

    pub(crate) fn worker(&self) -> Arc<Worker> {
        self.worker.load_full()
    }

    /// Draws the arrows out of it.
    pub(crate) fn point_to(&self, fan: Fan) {
        self.next.point_to(ProcessorOut { fan, outgoing: self.outgoing.clone(), left: Arc::clone(&self.left) });
    }

    /// Another processor takes the place of the one that is there, which is to be finished.
    pub(crate) fn replace(&self, processor: (Box<dyn Processor>, Governed)) -> Arc<Worker> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let after = self.worker.load().done.clone();
        let old = self.worker.swap(Arc::new(Worker::new(processor, Some(after))));
        before.working.push(Arc::clone(&old));
        old
    }

    /// What a processor converted whose place another took is added up.
    fn is_finished(&self, worker: &Worker) {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = before.working.iter().position(|one| std::ptr::eq(&raw const **one, worker)) else { return };
        let made = before.working.swap_remove(at).processor.converted().unwrap_or_default();
        before.finished.converted += made.converted;
        before.finished.unused += made.unused;
    }

    /// The processor that is there, and what keeps it from being finished.
    fn enter(&self) -> (Arc<Worker>, TaskTrackerToken) {
        loop {
            let worker = self.worker.load_full();
            let inside = worker.inside.token();
            // Whoever took its place before the token was there does not wait for it.
            if Arc::ptr_eq(&worker, &self.worker.load()) {
                return (worker, inside);
            }
        }
    }

    /// Waits until a processor has let go of every batch, then lets it pass on what it still holds. What it cannot is lost.
    pub(crate) async fn finish(&self, worker: &Worker, reason: StopReason, deadline: &Deadline) -> Result<(), String> {
        let voice = &worker.governed.voice;
        if reason != StopReason::Replaced {
            voice.report(Status::Stopping, "");
        }
        worker.governed.tell_to_stop(reason);
        worker.inside.close();
        if reason != StopReason::Shutdown {
            deadline.cut(worker.inside.wait()).await;
        }
        let why = match deadline.cut(self.flush(worker)).await {
            Some(Ok(())) => None,
            Some(Err(rejected)) => Some(rejected.message),
            None => Some("it did not pass on in time what it still held".to_owned()),
        };
        if why.is_some() {
            self.give_up();
        }
        self.is_finished(worker);
        worker.done.cancel();
        why.map_or(Ok(()), |why| {
            let what =
                format!("processor `{}` in pipeline `{}` could not be flushed: {why}", self.id, self.place.pipeline);
            Err(what)
        })
    }

    /// Its books. What a processor took and did not pass on or convert, it still has; one that makes another signal and does not say what became of
    /// that is believed.
    pub(crate) fn account(&self) -> Account {
        let Place { pipeline, takes, emits } = &self.place;
        let converts = takes != emits;
        // In this order: what has left had entered before.
        let out = self.left.passed().taken;
        let converted = converts.then(|| self.converted()).flatten();
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let entered = self.entered.passed();
        let gone = match converted {
            _ if !converts => out,
            Some(Converted { converted, unused }) => converted + unused,
            None => entered.taken,
        };
        Account {
            pipeline: Some(pipeline.clone()),
            emits: converts.then_some(*emits),
            out,
            converted,
            queued: entered.taken.saturating_sub(gone + sum(&dropped)),
            dropped,
            ..account(ComponentKind::Processor, &self.id, *takes, &entered)
        }
    }

    /// Nothing more is passed on: what it still has is lost.
    fn give_up(&self) {
        let left = self.account().queued;
        if left > 0 {
            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
            *dropped.entry(FLUSH_FAILED.to_owned()).or_default() += left;
        }
    }

    /// Passes on what the processor that is there still holds.
    pub(crate) async fn flush_now(&self) -> Result<(), Rejected> {
        self.flush(&self.worker.load_full()).await
    }

    async fn flush(&self, worker: &Worker) -> Result<(), Rejected> {
        let flush = AssertUnwindSafe(async { worker.processor.flush(&self.next).await });
        flush.catch_unwind().await.unwrap_or_else(|panic| Err(self.panicked(worker, &*panic)))
    }

    fn panicked(&self, worker: &Worker, panic: &(dyn std::any::Any + Send)) -> Rejected {
        let why = panic_message(panic);
        worker.governed.voice.report(Status::PermanentError, why.clone());
        Rejected::permanent("panic", format!("processor `{}` {why}", self.id))
    }
}

impl Worker {
    fn new((processor, governed): (Box<dyn Processor>, Governed), after: Option<CancellationToken>) -> Self {
        Self { processor, governed, inside: TaskTracker::new(), after, done: CancellationToken::new() }
    }
}

#[async_trait]
impl Consumer for StageEntry {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        // Who has an arrow to it may live longer than the pipeline.
        let Some(stage) = self.0.upgrade() else {
            return Err(Rejected::permanent("no_pipeline", "the pipeline is gone"));
        };
        let items = batch.items() as u64;
        stage.incoming.count(batch.signal(), items);
        let (worker, _inside) = stage.enter();
        let process = AssertUnwindSafe(async {
            if let Some(after) = &worker.after {
                after.cancelled().await;
            }
            worker.processor.process(batch, &stage.next).await
        });
        let caught =
            process.catch_unwind().map(|end| end.unwrap_or_else(|panic| Err(stage.panicked(&worker, &*panic))));
        stage.entered.pass(items, caught, |_| ()).await
    }
}

#[async_trait]
impl Consumer for Nowhere {
    async fn consume(&self, _: Batch) -> Result<(), Rejected> {
        Err(Rejected::retryable("not_started", "the pipeline has not started"))
    }
}

#[async_trait]
impl Consumer for ProcessorOut {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let items = batch.items() as u64;
        self.outgoing.count(batch.signal(), items);
        self.left.pass(items, self.fan.consume(batch), |_| ()).await
    }
}

#[async_trait]
impl Consumer for ReceiverOut {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let (signal, items) = (batch.signal(), batch.items() as u64);
        let consume = self.fan.consume(batch);
        // A signal that it does not say it gives has no arrow either.
        let Some(gate) = self.given.0.get(&signal) else { return consume.await };
        gate.pass(items, consume, |end| self.received.count(signal, items, end.is_ok())).await
    }

    /// On every arrow, too: each is offered all that a receiver gives.
    fn passed_over(&self, signal: Signal, items: u64, reason: &'static str) {
        let Some(gate) = self.given.0.get(&signal) else { return };
        self.fan.passed_over(signal, items, reason);
        gate.refuse(items, reason);
        self.received.count(signal, items, false);
    }
}

impl Given {
    pub(crate) fn new(signals: &[Signal]) -> Self {
        Self(signals.iter().map(|signal| (*signal, Gate::default())).collect())
    }

    /// The books of the receiver of this id. What it gave and was taken has left it.
    pub(crate) fn accounts(&self, id: &ComponentId) -> Vec<Account> {
        let of = |(signal, gate): (&Signal, &Gate)| {
            let passed = gate.passed();
            Account { out: passed.taken, ..account(ComponentKind::Receiver, id, *signal, &passed) }
        };
        self.0.iter().map(of).collect()
    }
}

fn account(kind: ComponentKind, id: &ComponentId, signal: Signal, entered: &Passed) -> Account {
    Account {
        kind,
        component: id.clone(),
        pipeline: None,
        signal,
        emits: None,
        offered: entered.offered,
        taken: entered.taken,
        out: 0,
        converted: None,
        failed: Reasons::new(),
        dropped: Reasons::new(),
        queued: 0,
        restored: 0,
        kept: 0,
        refused: entered.refused(),
        waiting: entered.waiting,
    }
}
