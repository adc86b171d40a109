//! A processor in its place between two arrows, and what stands where arrows begin.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    Account, Consumer, Converted, Next, Processor, Reasons, Rejected, Scope, Status, async_trait, sum,
};

use crate::{
    arrow::Fan,
    gate::{Gate, Passed},
    life::panic_message,
    meters::{ProcessorMeter, ReceiverMeters},
};

/// A processor and the arrow out of it. A panic in it costs the batch, not the program.
pub(crate) struct Stage {
    processor: Box<dyn Processor>,
    next: Next,
    scope: Scope,
    incoming: ProcessorMeter,
    place: Place,
    entered: Gate,
    left: Arc<Gate>,
    /// What it held when it could not pass that on.
    dropped: Mutex<Reasons>,
}

/// Where a processor stands.
pub(crate) struct Place {
    pub(crate) pipeline: String,
    pub(crate) takes: Signal,
    pub(crate) emits: Signal,
}

/// The end of the arrows into a stage.
pub(crate) struct StageEntry(pub(crate) Arc<Stage>);

/// Where the arrows out of a processor begin.
pub(crate) struct ProcessorOut {
    pub(crate) fan: Fan,
    pub(crate) outgoing: ProcessorMeter,
    pub(crate) left: Arc<Gate>,
}

/// Where the arrows out of a receiver begin.
pub(crate) struct ReceiverOut {
    pub(crate) fan: Fan,
    pub(crate) received: ReceiverMeters,
    pub(crate) given: Arc<Given>,
}

/// What a receiver gave, by signal.
pub(crate) struct Given(BTreeMap<Signal, Gate>);

/// Why items were dropped that a processor held and could not pass on at the end.
const FLUSH_FAILED: &str = "flush_failed";

impl Stage {
    pub(crate) fn new(
        processor: Box<dyn Processor>,
        (next, left): (Next, Arc<Gate>),
        scope: Scope,
        incoming: ProcessorMeter,
        place: Place,
    ) -> Arc<Self> {
        let (entered, dropped) = (Gate::default(), Mutex::default());
        Arc::new(Self { processor, next, scope, incoming, place, entered, left, dropped })
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Its books. What a processor took and did not pass on or convert, it still has; one that makes another signal and does not say what became of
    /// that is believed.
    pub(crate) fn account(&self) -> Account {
        let Place { pipeline, takes, emits } = &self.place;
        let converts = takes != emits;
        // In this order: what has left had entered before.
        let out = self.left.passed().taken;
        let converted = converts.then(|| self.processor.converted()).flatten();
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
            ..account(&self.scope, *takes, &entered)
        }
    }

    /// Nothing more is passed on: what it still has is lost.
    pub(crate) fn give_up(&self) {
        let left = self.account().queued;
        if left > 0 {
            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
            *dropped.entry(FLUSH_FAILED.to_owned()).or_default() += left;
        }
    }

    /// Passes on what the processor still holds.
    pub(crate) async fn flush(&self) -> Result<(), Rejected> {
        let flush = AssertUnwindSafe(async { self.processor.flush(&self.next).await });
        flush.catch_unwind().await.unwrap_or_else(|panic| Err(self.panicked(&*panic)))
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> Rejected {
        let why = panic_message(panic);
        self.scope.report(Status::PermanentError, why.clone());
        Rejected::permanent("panic", format!("processor `{}` {why}", self.scope.id()))
    }
}

#[async_trait]
impl Consumer for StageEntry {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let stage = &self.0;
        let items = batch.items() as u64;
        stage.incoming.count(batch.signal(), items);
        let process = AssertUnwindSafe(async { stage.processor.process(batch, &stage.next).await });
        let caught = process.catch_unwind().map(|end| end.unwrap_or_else(|panic| Err(stage.panicked(&*panic))));
        stage.entered.pass(items, caught, |_| ()).await
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

    /// The books of the receiver whose scope this is. What it gave and was taken has left it.
    pub(crate) fn accounts(&self, scope: &Scope) -> Vec<Account> {
        let of = |(signal, gate): (&Signal, &Gate)| {
            let passed = gate.passed();
            Account { out: passed.taken, ..account(scope, *signal, &passed) }
        };
        self.0.iter().map(of).collect()
    }
}

fn account(scope: &Scope, signal: Signal, entered: &Passed) -> Account {
    Account {
        kind: scope.kind(),
        component: scope.id().clone(),
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
