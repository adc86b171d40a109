//! Arrows between components: counted, and fanned out.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{Consumer, EdgeSnapshot, Next, Rejected, Retry, async_trait, text};
use tracing::{info, warn};

use crate::meters::EdgeMeters;

/// One arrow: where it leads, and what passed it.
pub(crate) struct Arrow {
    pub(crate) edge: Arc<Edge>,
    pub(crate) to: Next,
}

/// What is known of an arrow.
pub(crate) struct Edge {
    pipeline: String,
    from: String,
    to: String,
    signal: Signal,
    accepted: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Whether it refused last while another arrow from the same place accepted.
    torn: AtomicBool,
    meters: EdgeMeters,
}

/// Every arrow out of one component: a batch reaches each that carries its signal, whatever becomes of it at the others.
pub(crate) struct Fan(Vec<Arrow>);

impl Edge {
    pub(crate) fn new(pipeline: &str, from: &str, to: &str, signal: Signal, meters: EdgeMeters) -> Arc<Self> {
        Arc::new(Self {
            pipeline: pipeline.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            signal,
            accepted: AtomicU64::new(0),
            refused: Mutex::default(),
            torn: AtomicBool::new(false),
            meters,
        })
    }

    pub(crate) fn snapshot(&self) -> EdgeSnapshot {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        EdgeSnapshot {
            pipeline: self.pipeline.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            signal: self.signal,
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: refused.iter().map(|(reason, items)| ((*reason).to_owned(), *items)).collect(),
        }
    }

    fn count(&self, items: u64, outcome: &Result<(), Rejected>) {
        match outcome {
            Ok(()) => {
                self.accepted.fetch_add(items, Ordering::Relaxed);
                self.meters.accepted(items);
            }
            Err(rejected) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(rejected.reason).or_default() +=
                    items;
                self.meters.refused(items, rejected.reason);
            }
        }
    }

    /// A batch is dropped here because another arrow took it: nobody else can say so.
    fn tell_torn(&self, outcome: &Result<(), Rejected>) {
        let torn = outcome.is_err();
        if self.torn.swap(torn, Ordering::Relaxed) == torn {
            return;
        }
        let Self { pipeline, from, to, .. } = self;
        if let Err(Rejected { reason, message, .. }) = outcome {
            let why = text::foreign(message);
            warn!(pipeline, from, to, reason, why, "batches are dropped on the way to one of several components");
        } else {
            info!(pipeline, from, to, "batches are taken again");
        }
    }
}

impl Arrow {
    async fn carry(&self, batch: Batch) -> Result<(), Rejected> {
        let items = batch.items() as u64;
        let outcome = self.to.consume(batch).await;
        self.edge.count(items, &outcome);
        outcome
    }
}

impl Fan {
    pub(crate) const fn new(arrows: Vec<Arrow>) -> Self {
        Self(arrows)
    }
}

#[async_trait]
impl Consumer for Fan {
    /// `Ok` where any took it: to offer it again would give it to that one twice. An error only where none took it.
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if batch.is_empty() {
            return Ok(());
        }
        let signal = batch.signal();
        let arrows: Vec<&Arrow> = self.0.iter().filter(|arrow| arrow.edge.signal == signal).collect();
        match arrows[..] {
            [] => Err(Rejected::permanent("no_pipeline", format!("no pipeline takes {signal} from here"))),
            [only] => only.carry(batch).await,
            _ => {
                let outcomes = join_all(arrows.iter().map(|arrow| arrow.carry(batch.clone()))).await;
                if outcomes.iter().any(Result::is_ok) {
                    arrows.iter().zip(&outcomes).for_each(|(arrow, outcome)| arrow.edge.tell_torn(outcome));
                    return Ok(());
                }
                // If offering it again may help with any, it is worth it.
                outcomes.into_iter().filter_map(Result::err).max_by_key(hope).map_or(Ok(()), Err)
            }
        }
    }
}

/// How much hope there is in offering it again, and after how long.
fn hope(rejected: &Rejected) -> (u8, Duration) {
    match rejected.retry {
        Retry::Never => (0, Duration::ZERO),
        Retry::Backoff => (1, Duration::ZERO),
        Retry::After(after) => (2, after),
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.snapshot(), f)
    }
}
