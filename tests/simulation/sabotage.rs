//! Bugs that are planted on purpose, to see that the simulation's checks find each of them: a check that finds nothing may be dead.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use minicol_pdata::{Batch, Metrics};
use minicol_plugin::{
    ComponentError, Delivered, Entry, ExportError, Exporter, Factory, Flow, Next, Processor, Rejected, Scope,
    Stability, async_trait,
    config::NoConfig,
    storage::{Held, OnStored, Storage, StorageError, StoredQueue, StoredRecord},
    testing::MemoryStorage,
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{NumberDataPoint, metric::Data, number_data_point::Value},
};
use prost::Message;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// An exporter says of each third batch that it is delivered, and delivers it not.
    SaysSentAndSendsNot,
    /// An exporter delivers each second batch twice.
    SendsTwice,
    /// A processor says that it has passed on each second batch, and has not.
    SwallowsBatches,
    /// A counter falls.
    CounterFalls,
    /// A series' start goes back.
    StartGoesBack,
    /// A gauge's value is one that no target told.
    InventsValues,
    /// A cycle is told to have begun before the one before it had ended.
    CyclesOverlap,
    /// A component panics.
    Panics,
    /// A batch that a queue on disk took is not on disk.
    AcknowledgesTooEarly,
    /// The shutdown takes longer than it may.
    EndsLate,
    /// A task goes on after the end.
    LeavesATask,
    /// Somebody is asked after the end.
    AsksAfterTheEnd,
}

/// Each of them, and what the complaint about it says.
pub(crate) const ALL: [(Sabotage, &str); 12] = [
    (Sabotage::SaysSentAndSendsNot, "were sent, but"),
    (Sabotage::SendsTwice, "requests came again, with"),
    (Sabotage::SwallowsBatches, "cycles were due and nothing went wrong, but"),
    (Sabotage::CounterFalls, "fell under one start"),
    (Sabotage::StartGoesBack, "the start went back"),
    (Sabotage::InventsValues, "never told by its target"),
    (Sabotage::CyclesOverlap, "overlap: one ended at"),
    (Sabotage::Panics, "it panicked"),
    (Sabotage::AcknowledgesTooEarly, "were acknowledged and never arrived"),
    (Sabotage::EndsLate, "the shutdown took"),
    (Sabotage::LeavesATask, "tasks are left"),
    (Sabotage::AsksAfterTheEnd, "requests came after minicol had ended"),
];

thread_local! {
    static PLANTED: Cell<Option<Sabotage>> = const { Cell::new(None) };
    /// The disk of this simulation.
    static DISK: RefCell<MemoryStorage> = RefCell::new(MemoryStorage::new());
}

/// From now on this bug is there, on this thread; with an empty disk.
pub(crate) fn plant(bug: Option<Sabotage>) {
    PLANTED.set(bug);
    DISK.set(MemoryStorage::new());
}

pub(crate) fn is_planted(bug: Sabotage) -> bool {
    PLANTED.get() == Some(bug)
}

/// The disk, which outlives every life of minicol.
pub(crate) fn disk() -> MemoryStorage {
    DISK.with_borrow(Clone::clone)
}

/// What a queue on disk is made over: the disk, or one that forgets.
pub(crate) fn storage() -> Arc<dyn Storage> {
    if is_planted(Sabotage::AcknowledgesTooEarly) { Arc::new(Forgetful(disk())) } else { Arc::new(disk()) }
}

/// An exporter in whose way a bug can stand.
pub(crate) struct Bent<F>(PhantomData<F>);

struct BentExporter {
    real: Box<dyn Exporter>,
    nth: AtomicUsize,
}

impl<F: Factory<Product = dyn Exporter>> Factory for Bent<F> {
    type Product = dyn Exporter;
    type Config = F::Config;
    const TYPE: &'static str = F::TYPE;
    const DESCRIPTION: &'static str = F::DESCRIPTION;
    const STABILITY: Stability = F::STABILITY;
    const VERSION: &'static str = F::VERSION;
    const FLOWS: &'static [Flow] = F::FLOWS;
    const EXAMPLE: &'static str = F::EXAMPLE;

    fn build(config: Self::Config, scope: &Scope) -> Result<Box<dyn Exporter>, ComponentError> {
        Ok(Box::new(BentExporter { real: F::build(config, scope)?, nth: AtomicUsize::new(0) }))
    }
}

pub(crate) const EXPORTERS: &[Entry<dyn Exporter>] =
    &[Entry::of::<Bent<minicol_exporter_otlp::OtlpGrpc>>(), Entry::of::<Bent<minicol_exporter_otlp::OtlpHttp>>()];

#[async_trait]
impl Exporter for BentExporter {
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError> {
        let nth = self.nth.fetch_add(1, Ordering::Relaxed);
        if is_planted(Sabotage::SaysSentAndSendsNot) && nth % 3 == 2 {
            return Ok(Delivered::default());
        }
        if is_planted(Sabotage::SendsTwice) && nth % 2 == 1 {
            self.real.export(batch.clone()).await?;
        }
        self.real.export(batch).await
    }

    async fn shutdown(&self) -> Result<(), ComponentError> {
        self.real.shutdown().await
    }
}

/// A processor behind the mapping that bends what it passes on.
pub(crate) struct Bend;

struct Bending(AtomicUsize);

impl Factory for Bend {
    type Product = dyn Processor;
    type Config = NoConfig;
    const TYPE: &'static str = "bend";
    const DESCRIPTION: &'static str = "plants bugs";
    const STABILITY: Stability = Stability::Development;
    const VERSION: &'static str = "0";
    const FLOWS: &'static [Flow] = &[Flow::through(minicol_pdata::Signal::Metrics, minicol_pdata::Signal::Metrics)];
    const EXAMPLE: &'static str = "";

    fn build(_: NoConfig, _: &Scope) -> Result<Box<dyn Processor>, ComponentError> {
        Ok(Box::new(Bending(AtomicUsize::new(0))))
    }
}

#[async_trait]
impl Processor for Bending {
    async fn process(&self, batch: Batch, next: &Next) -> Result<(), Rejected> {
        let odd = self.0.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        if odd && is_planted(Sabotage::SwallowsBatches) {
            return Ok(());
        }
        assert!(!(odd && is_planted(Sabotage::Panics)), "a planted panic");
        let Batch::Metrics(metrics) = batch else { return next.consume(batch).await };
        let bent = if odd { bent(metrics.encode()) } else { metrics };
        next.consume(bent.into()).await
    }
}

/// The same metrics with the planted bug in them.
fn bent(encoded: Bytes) -> Metrics {
    let mut request = ExportMetricsServiceRequest::decode(encoded).expect("metrics");
    let scopes = request.resource_metrics.iter_mut().flat_map(|one| &mut one.scope_metrics);
    for metric in scopes.flat_map(|scope| &mut scope.metrics) {
        let duration = metric.name == "session_buddy.poll.duration";
        match &mut metric.data {
            Some(Data::Sum(sum)) if sum.is_monotonic => sum.data_points.iter_mut().for_each(bend_sum),
            Some(Data::Gauge(gauge)) => gauge.data_points.iter_mut().for_each(|point| bend_gauge(point, duration)),
            _ => {}
        }
    }
    Metrics::decode(request.encode_to_vec().into()).expect("metrics")
}

fn bend_sum(point: &mut NumberDataPoint) {
    if is_planted(Sabotage::StartGoesBack) {
        point.start_time_unix_nano -= 1_000_000_000_000;
    }
    if is_planted(Sabotage::CounterFalls) {
        scale(point, 0.5);
    }
}

fn bend_gauge(point: &mut NumberDataPoint, duration: bool) {
    if is_planted(Sabotage::CyclesOverlap) && duration {
        point.value = Some(Value::AsDouble(1_000.0));
    }
    if is_planted(Sabotage::InventsValues) {
        scale(point, 3.7);
    }
}

#[allow(clippy::cast_possible_truncation)]
fn scale(point: &mut NumberDataPoint, by: f64) {
    point.value = match point.value {
        Some(Value::AsDouble(value)) => Some(Value::AsDouble(value * by)),
        Some(Value::AsInt(value)) => Some(Value::AsInt((value as f64 * by) as i64)),
        None => None,
    };
}

/// A storage whose records are gone as soon as they are stored.
struct Forgetful(MemoryStorage);

struct ForgetfulQueue(Arc<dyn StoredQueue>);

impl Storage for Forgetful {
    fn queue(&self, name: &str) -> Arc<dyn StoredQueue> {
        Arc::new(ForgetfulQueue(self.0.queue(name)))
    }
}

#[async_trait]
impl StoredQueue for ForgetfulQueue {
    fn holds(&self) -> Held {
        self.0.holds()
    }

    fn left(&self) -> Option<Held> {
        self.0.left()
    }

    fn release(&self) {
        self.0.release();
    }

    async fn push(&self, payload: Bytes, items: u64, stored: OnStored) -> Result<(), StorageError> {
        let id = Arc::new(AtomicUsize::new(usize::MAX));
        let seen = Arc::clone(&id);
        let told: OnStored = Box::new(move |id| {
            seen.store(usize::try_from(id).expect("a small id"), Ordering::Relaxed);
            stored(id);
        });
        self.0.push(payload, items, told).await?;
        match id.load(Ordering::Relaxed) {
            usize::MAX => Ok(()),
            id => self.0.remove(id as u64).await,
        }
    }

    async fn read(&self, after: Option<u64>, bytes: usize) -> Result<Vec<StoredRecord>, StorageError> {
        self.0.read(after, bytes).await
    }

    async fn replace(&self, id: u64, payload: Bytes, items: u64) -> Result<bool, StorageError> {
        self.0.replace(id, payload, items).await
    }

    async fn remove(&self, id: u64) -> Result<(), StorageError> {
        self.0.remove(id).await
    }

    async fn quarantine(&self, id: u64, why: &str) -> Result<(), StorageError> {
        self.0.quarantine(id, why).await
    }
}
