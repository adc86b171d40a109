//! Arrows between components: counted, and fanned out.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    ComponentId, ComponentKind, Consumer, EdgeSnapshot, Level, Next, Rejected, Retry, async_trait, text,
};

use crate::{events::Events, meters::EdgeMeters};

/// One arrow: where it leads, and what passed it.
pub(crate) struct Arrow {
    pub(crate) edge: Arc<Edge>,
    pub(crate) to: Next,
}

/// What an arrow leads to.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) kind: ComponentKind,
    pub(crate) id: ComponentId,
    pub(crate) next: Next,
}

/// What is known of an arrow.
pub(crate) struct Edge {
    pipeline: String,
    from: String,
    kind: ComponentKind,
    to: ComponentId,
    signal: Signal,
    accepted: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Items that were dropped since it began to refuse what another arrow from the same place takes.
    torn: Mutex<Option<u64>>,
    meters: EdgeMeters,
    events: Arc<Events>,
}

/// Every arrow out of one component: a batch reaches each that carries its signal, whatever becomes of it at the others.
pub(crate) struct Fan(Vec<Arrow>);

impl Edge {
    pub(crate) fn new(
        pipeline: &str,
        from: &str,
        to: &End,
        signal: Signal,
        meters: EdgeMeters,
        events: Arc<Events>,
    ) -> Arc<Self> {
        Arc::new(Self {
            pipeline: pipeline.to_owned(),
            from: from.to_owned(),
            kind: to.kind,
            to: to.id.clone(),
            signal,
            accepted: AtomicU64::new(0),
            refused: Mutex::default(),
            torn: Mutex::default(),
            meters,
            events,
        })
    }

    pub(crate) fn snapshot(&self) -> EdgeSnapshot {
        let refused = lock(&self.refused);
        EdgeSnapshot {
            pipeline: self.pipeline.clone(),
            from: self.from.clone(),
            to: self.to.to_string(),
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
                *lock(&self.refused).entry(rejected.reason).or_default() += items;
                self.meters.refused(items, rejected.reason);
            }
        }
    }

    /// A batch is dropped here because another arrow took it: nobody else can say so. Told when it begins and when it is over.
    fn tell_torn(&self, items: u64, outcome: &Result<(), Rejected>) {
        let Self { pipeline, from, kind, to, .. } = self;
        let mut torn = lock(&self.torn);
        match (outcome, &mut *torn) {
            (Err(_), Some(dropped)) => *dropped += items,
            (Err(Rejected { reason, message, .. }), none) => {
                *none = Some(items);
                let why = text::foreign(message);
                let what = format!("what `{from}` gives in pipeline `{pipeline}` is dropped, reason {reason}: {why}");
                self.events.notice(*kind, to, Level::Warn, "batches_dropped", what);
            }
            (Ok(()), Some(dropped)) => {
                let what = format!("takes from `{from}` in pipeline `{pipeline}` again; {dropped} items were dropped");
                self.events.notice(*kind, to, Level::Info, "batches_taken_again", what);
                *torn = None;
            }
            (Ok(()), None) => {}
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
                    let items = batch.items() as u64;
                    arrows.iter().zip(&outcomes).for_each(|(arrow, outcome)| arrow.edge.tell_torn(items, outcome));
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.snapshot(), f)
    }
}
