//! A processor in its place between two arrows, and what stands where arrows begin.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use minicol_pdata::Batch;
use minicol_plugin::{Consumer, Next, Processor, Rejected, Scope, Status, async_trait};

use crate::{
    arrow::Fan,
    life::panic_message,
    meters::{ProcessorMeter, ReceiverMeters},
};

/// A processor and the arrow out of it. A panic in it costs the batch, not the program.
pub(crate) struct Stage {
    processor: Box<dyn Processor>,
    next: Next,
    scope: Scope,
    incoming: ProcessorMeter,
}

/// The end of the arrows into a stage.
pub(crate) struct StageEntry(pub(crate) Arc<Stage>);

/// Where the arrows out of a processor begin.
pub(crate) struct ProcessorOut {
    pub(crate) fan: Fan,
    pub(crate) outgoing: ProcessorMeter,
}

/// Where the arrows out of a receiver begin.
pub(crate) struct ReceiverOut {
    pub(crate) fan: Fan,
    pub(crate) received: ReceiverMeters,
}

impl Stage {
    pub(crate) fn new(processor: Box<dyn Processor>, next: Next, scope: Scope, incoming: ProcessorMeter) -> Arc<Self> {
        Arc::new(Self { processor, next, scope, incoming })
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
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
        stage.incoming.count(batch.signal(), batch.items() as u64);
        let process = AssertUnwindSafe(async { stage.processor.process(batch, &stage.next).await });
        process.catch_unwind().await.unwrap_or_else(|panic| Err(stage.panicked(&*panic)))
    }
}

#[async_trait]
impl Consumer for ProcessorOut {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.outgoing.count(batch.signal(), batch.items() as u64);
        self.fan.consume(batch).await
    }
}

#[async_trait]
impl Consumer for ReceiverOut {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let (signal, items) = (batch.signal(), batch.items() as u64);
        let outcome = self.fan.consume(batch).await;
        self.received.count(signal, items, outcome.is_ok());
        outcome
    }
}
