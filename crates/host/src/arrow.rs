//! Arrows between components: counted, and fanned out.

#[cfg(feature = "testing")]
mod line;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    ComponentId, ComponentKind, Consumer, EdgeName, EdgeSnapshot, Level, Next, Rejected, Retry, Tap, Taps, async_trait,
    text,
};

#[cfg(feature = "testing")]
pub use line::Line;

use crate::{
    events::Events,
    fork::{Forks, Pace},
    gate::Gate,
};

/// One arrow: where it leads, and what passed it.
pub(crate) struct Arrow {
    pub(crate) edge: Arc<Edge>,
    pub(crate) to: Next,
    /// It leads to a queue on disk, at once or at last: what it takes is stored.
    pub(crate) stores: bool,
    pub(crate) pace: Pace,
}

/// What an arrow leads to.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) kind: ComponentKind,
    pub(crate) id: ComponentId,
    pub(crate) next: Next,
    /// What it takes is in a queue on disk, there or further on.
    pub(crate) stores: bool,
}

/// What is known of an arrow.
pub(crate) struct Edge {
    pipeline: String,
    from: String,
    kind: ComponentKind,
    to: ComponentId,
    signal: Signal,
    gate: Gate,
    taps: Taps,
    /// It is there now.
    drawn: AtomicBool,
    /// A reload made or removed it.
    partial: AtomicBool,
    torn: Mutex<Torn>,
    events: Arc<Events>,
}

/// Items that were dropped because another arrow from the same place took the batch.
#[derive(Default)]
struct Torn {
    all: u64,
    /// Since it began; nothing while it takes.
    now: Option<u64>,
}

/// Every arrow out of one component: a batch reaches each that carries its signal, whatever becomes of it at the others.
pub(crate) struct Fan {
    arrows: Vec<Arc<Arrow>>,
    forks: Forks,
}

impl Edge {
    pub(crate) fn new(pipeline: &str, from: &str, to: &End, signal: Signal, events: Arc<Events>) -> Arc<Self> {
        Arc::new(Self {
            pipeline: pipeline.to_owned(),
            from: from.to_owned(),
            kind: to.kind,
            to: to.id.clone(),
            signal,
            gate: Gate::default(),
            taps: Taps::default(),
            drawn: AtomicBool::new(true),
            partial: AtomicBool::new(false),
            torn: Mutex::default(),
            events,
        })
    }

    /// Whether this is the arrow between these.
    pub(crate) fn is_between(&self, pipeline: &str, from: &str, to: &End, signal: Signal) -> bool {
        (&*self.pipeline, &*self.from, self.kind, &self.to, self.signal) == (pipeline, from, to.kind, &to.id, signal)
    }

    /// Pipeline, from, to.
    pub(crate) fn names(&self) -> (String, String, String) {
        (self.pipeline.clone(), self.from.clone(), self.to.to_string())
    }

    pub(crate) fn edge_name(&self) -> EdgeName {
        let Self { pipeline, from, to, signal, .. } = self;
        EdgeName { pipeline: pipeline.clone(), from: from.clone(), to: to.to_string(), signal: *signal }
    }

    pub(crate) fn is_drawn(&self) -> bool {
        self.drawn.load(Ordering::Relaxed)
    }

    /// It is there, or not any more: who looked at it is told.
    pub(crate) fn set_drawn(&self, drawn: bool) {
        self.drawn.store(drawn, Ordering::Relaxed);
        if !drawn {
            self.taps.close();
        }
    }

    pub(crate) fn tap(&self) -> Tap {
        self.taps.open()
    }

    /// It is not there for everything that the place where it begins gives.
    pub(crate) fn is_partial(&self) {
        self.partial.store(true, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> EdgeSnapshot {
        // In this order, so that no more is lost than was refused.
        let lost = lock(&self.torn).all;
        let passed = self.gate.passed();
        EdgeSnapshot {
            pipeline: self.pipeline.clone(),
            from: self.from.clone(),
            to: self.to.to_string(),
            to_kind: self.kind,
            signal: self.signal,
            offered: passed.offered,
            accepted: passed.taken,
            refused: passed.refused(),
            waiting: passed.waiting,
            lost,
            partial: self.partial.load(Ordering::Relaxed),
        }
    }

    /// A batch is dropped here because another arrow took it: nobody else can say so. Told when it begins and when it is over.
    pub(crate) fn tell_torn(&self, items: u64, outcome: &Result<(), Rejected>) {
        let Self { pipeline, from, kind, to, .. } = self;
        let mut torn = lock(&self.torn);
        if outcome.is_err() {
            torn.all += items;
        }
        match (outcome, &mut torn.now) {
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
                torn.now = None;
            }
            (Ok(()), None) => {}
        }
    }
}

impl Arrow {
    pub(crate) fn new(edge: Arc<Edge>, to: &End) -> Self {
        Self { edge, to: to.next.clone(), stores: to.stores, pace: Pace::default() }
    }

    pub(crate) async fn carry(&self, batch: Batch) -> Result<(), Rejected> {
        // Boxed, so that what waits here is hardly larger for it.
        let watched = if self.edge.taps.is_open() { self.edge.taps.watch(&batch).map(Box::new) } else { None };
        let outcome = self.edge.gate.pass(batch.items() as u64, self.to.consume(batch), |_| ()).await;
        if let Some(watched) = watched {
            watched.passed(outcome.as_ref().copied().map_err(|rejected| rejected.reason));
        }
        outcome
    }

    /// Does not even offer it: the far end is at work on one before. Who looks at the arrow sees it all the same.
    pub(crate) fn busy(&self, batch: &Batch) -> Rejected {
        let rejected = Rejected::retryable("busy", "it has not answered yet for what it was offered before");
        self.edge.gate.refuse(batch.items() as u64, rejected.reason);
        if let Some(watched) = self.edge.taps.is_open().then(|| self.edge.taps.watch(batch)).flatten() {
            watched.passed(Err(rejected.reason));
        }
        rejected
    }
}

impl Fan {
    pub(crate) fn new(arrows: Vec<Arc<Arrow>>, forks: Forks) -> Self {
        Self { arrows, forks }
    }
}

#[async_trait]
impl Consumer for Fan {
    /// `Ok` where any took it: to offer it again would give it to that one twice. An error only where none took it, or one that stores did not:
    /// better twice than lost.
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if batch.is_empty() {
            return Ok(());
        }
        let signal = batch.signal();
        let arrows: Vec<&Arc<Arrow>> = self.arrows.iter().filter(|arrow| arrow.edge.signal == signal).collect();
        match arrows[..] {
            [] => Err(Rejected::permanent("no_pipeline", format!("no pipeline takes {signal} from here"))),
            [only] => only.carry(batch).await,
            _ => {
                let Err(refusals) = self.forks.carry(&arrows, batch).await else { return Ok(()) };
                // If offering it again may help with any, it is worth it.
                refusals.into_iter().max_by_key(hope).map_or(Ok(()), Err)
            }
        }
    }

    fn passed_over(&self, signal: Signal, items: u64, reason: &'static str) {
        for arrow in self.arrows.iter().filter(|arrow| arrow.edge.signal == signal) {
            arrow.edge.gate.refuse(items, reason);
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
    use tokio::sync::Semaphore;

    use super::*;

    fn fan(signal: Signal, sinks: &[&Sink]) -> Fan {
        let events = Events::new(Harness::default().environment().clock);
        let arrow = |sink: &&Sink| {
            let id = "sink".parse().unwrap();
            let to = End { kind: ComponentKind::Exporter, id, next: sink.next(), stores: false };
            let edge = Edge::new("p", "here", &to, signal, Arc::clone(&events));
            Arc::new(Arrow::new(edge, &to))
        };
        Fan::new(sinks.iter().map(arrow).collect(), Forks::default())
    }

    /// Takes what `takes` has permits for.
    struct Slow(Arc<Semaphore>);

    #[async_trait]
    impl Consumer for Slow {
        async fn consume(&self, _: Batch) -> Result<(), Rejected> {
            self.0.acquire().await.unwrap().forget();
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn senders_that_wait_for_a_disk_wait_side_by_side_and_none_is_told_that_it_is_busy() {
        let (events, disk) = (Events::new(Harness::default().environment().clock), Arc::new(Semaphore::new(0)));
        let arrow = |id: &str, next: Next, stores: bool| {
            let to = End { kind: ComponentKind::Exporter, id: id.parse().unwrap(), next, stores };
            Arc::new(Arrow::new(Edge::new("p", "here", &to, Signal::Metrics, Arc::clone(&events)), &to))
        };
        let memory = Sink::new();
        let arrows =
            vec![arrow("memory", memory.next(), false), arrow("disk", Next::new(Slow(Arc::clone(&disk))), true)];
        let fan = Arc::new(Fan::new(arrows, Forks::default()));
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let fan = Arc::clone(&fan);
                tokio::spawn(async move { fan.consume(metrics()).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(senders.iter().all(|sender| !sender.is_finished()), "nobody is told that what is not stored is taken");
        assert_eq!(memory.batches().len(), 3);
        disk.add_permits(3);
        for sender in senders {
            sender.await.unwrap().unwrap();
        }
        let stored = fan.arrows[1].edge.snapshot();
        assert_eq!((stored.accepted, stored.refused.len(), stored.lost), (3, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_at_a_busy_arrow_sees_what_it_is_not_even_offered() {
        let (sink, never) = (Sink::new(), Arc::new(Semaphore::new(0)));
        let mut fan = fan(Signal::Metrics, &[&sink, &sink]);
        Arc::get_mut(&mut fan.arrows[0]).unwrap().to = Next::new(Slow(Arc::clone(&never)));
        let mut tap = fan.arrows[0].edge.tap();
        fan.consume(metrics()).await.unwrap();
        fan.consume(metrics()).await.unwrap();
        assert_eq!(tap.next().await.unwrap().outcome, Err("busy"), "the second, while the first is on its way");
        never.add_permits(1);
        assert_eq!(tap.next().await.unwrap().outcome, Ok(()));
        assert_eq!(sink.batches().len(), 2);
    }

    #[tokio::test]
    async fn what_a_disk_refuses_is_not_taken_and_the_other_arrows_say_nothing_of_a_loss() {
        let sinks = [Sink::new(), Sink::new(), Sink::new()];
        let mut fan = fan(Signal::Metrics, &[&sinks[0], &sinks[1], &sinks[2]]);
        Arc::get_mut(&mut fan.arrows[1]).unwrap().stores = true;
        sinks[0].refuse(Some(Rejected::permanent("invalid", "never")));
        sinks[1].refuse(Some(Rejected::retryable("storage_full", "no room")));
        let refused = fan.consume(metrics()).await.unwrap_err();
        assert_eq!((refused.retry, refused.reason), (Retry::Backoff, "storage_full"));
        assert_eq!(sinks[2].batches().len(), 1, "it reaches whoever takes it");
        assert!(fan.arrows.iter().all(|arrow| arrow.edge.snapshot().lost == 0), "its sender still has it");
        sinks[1].refuse(None);
        assert!(fan.consume(metrics()).await.is_ok(), "a disk that takes it is enough");
        assert_eq!(fan.arrows[0].edge.snapshot().lost, 1);
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
        assert_eq!(fan.arrows[1].edge.snapshot().refused.get("busy"), Some(&1));
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
