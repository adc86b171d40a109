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

#[cfg(test)]
mod tests {
    use minicol_pdata::{Attributes, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint, Timestamp};
    use minicol_plugin::testing::{Harness, Sink};
    use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};

    use super::*;
    use crate::meters::Instruments;

    fn fan(signal: Signal, sinks: &[&Sink]) -> Fan {
        let instruments = Instruments::new(&NoopMeterProvider::new().meter("test"));
        let events = Events::new(Harness::default().environment().clock);
        let arrow = |sink: &&Sink| {
            let to = End { kind: ComponentKind::Exporter, id: "sink".parse().unwrap(), next: sink.next() };
            let edge = Edge::new("p", "here", &to, signal, instruments.edge("p", "here", "sink"), Arc::clone(&events));
            Arrow { edge, to: to.next }
        };
        Fan::new(sinks.iter().map(arrow).collect())
    }

    fn metrics() -> Batch {
        let (start, time) = (Timestamp::UNSET, Timestamp::from_nanos(1));
        let mut builder = MetricsBuilder::new();
        let descriptor =
            MetricDescriptor { name: "m".into(), description: "".into(), unit: "".into(), kind: MetricKind::Gauge };
        let point = NumberPoint { start, time, value: Some(Number::Int(1)) };
        builder.metric(&descriptor).number(&Attributes::new(), &point);
        builder.build().into()
    }

    #[tokio::test]
    async fn where_nobody_takes_it_the_sender_is_told_the_most_hopeful_refusal() {
        let sinks = [Sink::new(), Sink::new(), Sink::new()];
        let after = Duration::from_secs(3);
        sinks[0].refuse(Some(Rejected::permanent("invalid", "never")));
        sinks[1].refuse(Some(Rejected::retry_after("busy", after, "later")));
        sinks[2].refuse(Some(Rejected::retryable("queue_full", "soon")));
        let fan = fan(Signal::Metrics, &[&sinks[0], &sinks[1], &sinks[2]]);
        let refused = fan.consume(metrics()).await.unwrap_err();
        assert_eq!((refused.retry, refused.reason), (Retry::After(after), "busy"));
        assert_eq!(fan.0[1].edge.snapshot().refused.get("busy"), Some(&1));
    }

    #[tokio::test]
    async fn what_one_took_is_not_offered_again() {
        let sinks = [Sink::new(), Sink::new()];
        sinks[0].refuse(Some(Rejected::retryable("queue_full", "soon")));
        let fan = fan(Signal::Metrics, &[&sinks[0], &sinks[1]]);
        assert!(fan.consume(metrics()).await.is_ok());
        assert_eq!((sinks[0].batches().len(), sinks[1].batches().len()), (0, 1));
    }

    #[tokio::test]
    async fn a_signal_that_no_arrow_carries_is_refused_and_an_empty_batch_goes_nowhere() {
        let sink = Sink::new();
        let fan = fan(Signal::Logs, &[&sink]);
        assert_eq!(fan.consume(metrics()).await.unwrap_err().reason, "no_pipeline");
        assert!(fan.consume(Batch::Metrics(minicol_pdata::Metrics::default())).await.is_ok());
        assert!(sink.batches().is_empty());
    }
}
