use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use minicol_pdata::{Batch, Source};

use crate::{Converted, Next, Rejected, Scope, storage::Storage};

/// Gathers telemetry until its scope is told to stop.
#[async_trait]
pub trait Receiver: Send {
    /// Runs until [`Scope::stopping`]. Calls [`Scope::ready`] once it has started; an error before that is a failed start. What is
    /// in flight when it is told to stop may go on until [`Scope::abandoned`].
    async fn run(self: Box<Self>, next: Next, scope: Scope) -> Result<(), ComponentError>;

    /// Gathers once and returns: what `minicol poll` does. `Ok(false)` where this receiver does not poll.
    async fn poll_once(self: Box<Self>, _next: Next, _scope: Scope) -> Result<bool, ComponentError> {
        Ok(false)
    }

    /// What it polls, for who answers in the target's place: a test of a pipeline. Nothing is connected. `None` where it does not poll.
    fn polls(&self, _scope: &Scope) -> Option<Polls> {
        None
    }
}

/// What a receiver polls.
#[derive(Clone, Debug, PartialEq)]
pub struct Polls {
    /// Under which resource its observations come.
    pub source: Arc<Source>,
    /// The tools that it wants, in their order.
    pub tools: Vec<Arc<str>>,
}

/// Middleware: passes on what it makes of each batch. May be called from several tasks at once.
#[async_trait]
pub trait Processor: Send + Sync {
    /// Takes one batch; `Ok` means that responsibility for it has passed on.
    async fn process(&self, batch: Batch, next: &Next) -> Result<(), Rejected>;

    /// Of one that makes another signal of what it takes: what became of every item of which [`Processor::process`] said `Ok`, since it was made.
    /// It must count this where it works on the items, so that one that it loses shows in the books.
    fn converted(&self) -> Option<Converted> {
        None
    }

    /// Passes on what it still holds, before it is dropped.
    async fn flush(&self, _next: &Next) -> Result<(), Rejected> {
        Ok(())
    }
}

/// Delivers one batch, once. Queue, retry, timeout and counting are the host's, the same for every exporter.
#[async_trait]
pub trait Exporter: Send + Sync {
    /// Delivers, or says whether trying again may help. May be called from several tasks at once. An error means that nothing of the batch
    /// has arrived. Where the batch has to go in parts, the exporter hands them back as [`Delivered::rest`].
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError>;

    /// Lets go of connections and files, after the last batch.
    async fn shutdown(&self) -> Result<(), ComponentError> {
        Ok(())
    }
}

/// Delivers a batch and all parts it falls into, each once; the first that fails ends it. For who has no queue and no books, such as a push of
/// what comes again anyway.
pub async fn export_all(exporter: &dyn Exporter, batch: Batch) -> Result<Delivered, ExportError> {
    let (mut left, mut all) = (vec![batch], Delivered::default());
    while let Some(part) = left.pop() {
        let delivered = exporter.export(part).await?;
        all.rejected += delivered.rejected;
        all.message = delivered.message.or(all.message);
        left.extend(delivered.rest.into_iter().rev());
    }
    Ok(all)
}

/// Serves the program itself: a health page, a storage, a simulator.
#[async_trait]
pub trait Extension: Send {
    /// What it stores queues in, where it does ([`crate::Factory::OFFERS_STORAGE`]). Asked once, before it runs; used after it is ready.
    fn storage(&self) -> Option<Arc<dyn Storage>> {
        None
    }

    /// Runs until [`Scope::stopping`]. Calls [`Scope::ready`] once it serves; an error before that is a failed start.
    async fn run(self: Box<Self>, scope: Scope) -> Result<(), ComponentError>;
}

/// A delivery that the far end took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivered {
    /// Items that the far end refused all the same (OTLP partial success).
    pub rejected: u64,
    /// What of the batch is still to be delivered, in order; all of it, in two parts or more, where the far end takes none of that size. What is
    /// not in here is settled: it is counted now, and never sent again. Each part is delivered like a batch of its own.
    pub rest: Vec<Batch>,
    /// Why, in its words; a message without rejected items is a warning.
    pub message: Option<String>,
}

/// Whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It cannot.
    Never,
    /// After the sender's own backoff.
    Backoff,
    /// Not before this has passed: the far end asked for it. The longer of this and the backoff is waited.
    After(Duration),
}

/// A delivery that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExportError {
    /// Whether trying again may help.
    pub retry: Retry,
    /// The kind of failure, short and from a small set, as a metric's `error.type` names it.
    pub error_type: String,
    /// Why, with target and cure.
    pub message: String,
}

/// A component that could not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ComponentError {
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ExportError {
    /// Trying again may help.
    pub fn retryable(error_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self { retry: Retry::Backoff, error_type: error_type.into(), message: message.into() }
    }

    /// Trying again cannot help.
    pub fn permanent(error_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self { retry: Retry::Never, error_type: error_type.into(), message: message.into() }
    }
}

impl ComponentError {
    /// In the user's words, with the cure.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// The same with what caused it.
    pub fn caused(message: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { message: message.into(), source: Some(source.into()) }
    }
}
