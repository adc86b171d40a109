//! Promise: no more is in flight than the soft limit, whoever holds it; a refusal asks to come again, and ends when the peak is over, whatever
//! the allocator keeps.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use minicol_pdata::{
    Attributes, MetricDescriptor, MetricKind, Metrics, MetricsBuilder, Number, NumberPoint, Timestamp,
};
use minicol_plugin::{
    ComponentKind, Event, Retry,
    testing::{Harness, Sink},
};

use super::*;

const MIB: u64 = 1 << 20;

/// A process that takes as much as it is told.
#[derive(Clone, Default)]
struct Fake(Arc<AtomicU64>);

impl Memory for Fake {
    fn total(&self) -> Option<u64> {
        Some(64 * MIB)
    }

    fn resident(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }
}

/// A batch that takes about one MiB.
fn mib_of_metrics() -> Batch {
    let mut builder = MetricsBuilder::new();
    let descriptor =
        MetricDescriptor { name: "m".into(), description: "".into(), unit: "".into(), kind: MetricKind::Gauge };
    let mut metric = builder.metric(&descriptor);
    let attributes = Attributes::new().with("text", "x".repeat(1 << 20).as_str());
    metric.number(
        &attributes,
        &NumberPoint { start: Timestamp::UNSET, time: Timestamp::UNSET, value: Some(Number::Int(1)) },
    );
    builder.build().into()
}

fn limiter(harness: &Harness, resident: &Fake, config: MemoryLimiterConfig) -> MemoryLimiter {
    MemoryLimiter::new(&config, Box::new(resident.clone()), &harness.scope(ComponentKind::Processor, "memory_limiter"))
        .unwrap()
}

/// Ten MiB may be in flight.
fn ten_mib() -> MemoryLimiterConfig {
    MemoryLimiterConfig { limit_mib: 20, spike_limit_mib: 10, ..MemoryLimiterConfig::default() }
}

fn statuses(harness: &Harness) -> Vec<String> {
    let told = |event: &Event| match event {
        Event::Status(change) => Some(format!("{}: {}", change.status, change.message)),
        _ => None,
    };
    harness.events().iter().filter_map(told).collect()
}

async fn fill(limiter: &MemoryLimiter, next: &Next) -> (usize, Rejected) {
    let batch = mib_of_metrics();
    for taken in 0..1_000 {
        if let Err(rejected) = limiter.process(batch.clone(), next).await {
            return (taken, rejected);
        }
    }
    panic!("there is no limit");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_anywhere_counts_until_its_last_part_is_gone() {
    let harness = Harness::default();
    let limiter = limiter(&harness, &Fake::default(), ten_mib());
    let sink = Sink::new();
    let (taken, rejected) = fill(&limiter, &sink.next()).await;
    assert_eq!(taken, 9, "a little is needed beside the text");
    assert_eq!((rejected.reason, rejected.retry), ("memory", Retry::After(Duration::from_secs(1))));
    assert_eq!(rejected.message, "9 MiB are in flight, the soft limit is 10 MiB: come again later");
    // Whoever holds a part of one holds its room.
    let mut held = sink.take();
    let part = match held.pop() {
        Some(Batch::Metrics(last)) => last.split_at(1).0,
        other => panic!("{other:?}"),
    };
    drop(held);
    assert_eq!(fill(&limiter, &sink.next()).await.0, 8);
    drop((sink.take(), part));
    assert_eq!(fill(&limiter, &sink.next()).await.0, 9);
}

/// Requests that are being received are outside of what is in flight, and inside of the hard limit.
#[tokio::test(start_paused = true)]
async fn what_is_being_received_and_what_is_in_flight_stay_under_the_hard_limit_together() {
    let harness = Harness::default();
    let limiter = limiter(&harness, &Fake::default(), ten_mib());
    let shared = SharedMemory::of(&harness.scope(ComponentKind::Receiver, "otlp"));
    let sink = Sink::new();
    assert_eq!(fill(&limiter, &sink.next()).await.0, 9);
    let mut receiving = shared.holder();
    assert!(receiving.grow(10 * MIB) && !receiving.grow(MIB), "20 MiB is the hard limit");
    sink.take();
    assert!(receiving.grow(8 * MIB));
    let (taken, rejected) = fill(&limiter, &sink.next()).await;
    assert_eq!((taken, rejected.reason, rejected.retry), (1, "memory", Retry::After(Duration::from_secs(1))));
    assert!(rejected.message.contains("in flight or being received, the hard limit is 20 MiB"), "{rejected}");
    drop(receiving);
    assert_eq!(fill(&limiter, &sink.next()).await.0, 8);
    drop(limiter);
    assert!(shared.holder().grow(1 << 40), "without a limiter there is no limit");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_the_process_cannot_have_is_lowered_and_told() {
    let harness = Harness::default();
    let config = MemoryLimiterConfig { limit_mib: 64, ..MemoryLimiterConfig::default() };
    let limiter = limiter(&harness, &Fake::default(), config);
    assert_eq!(limiter.watch.limits.hard / MIB, 57, "a tenth below what there is");
    assert_eq!(harness.notices(), ["memory_limit_lowered"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_next_one_refuses_takes_no_room_and_keeps_its_reason() {
    let harness = Harness::default();
    let limiter = limiter(&harness, &Fake::default(), ten_mib());
    let sink = Sink::new();
    sink.refuse(Some(Rejected::retryable("queue_full", "full")));
    for _ in 0..100 {
        assert_eq!(limiter.process(mib_of_metrics(), &sink.next()).await.unwrap_err().reason, "queue_full");
    }
    assert_eq!(limiter.watch.account.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_limiters_of_a_program_count_together_and_a_batch_counts_once() {
    let harness = Harness::default();
    let (first, second) =
        (limiter(&harness, &Fake::default(), ten_mib()), limiter(&harness, &Fake::default(), ten_mib()));
    let sink = Sink::new();
    for _ in 0..4 {
        first.process(mib_of_metrics(), &sink.next()).await.unwrap();
        for batch in sink.take() {
            second.process(batch, &sink.next()).await.unwrap();
        }
        std::mem::forget(sink.take());
    }
    assert_eq!(first.watch.account.in_flight() / MIB, 4, "through both of them, each counts once");
    assert_eq!(fill(&second, &sink.next()).await.0, 5);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_can_never_fit_is_refused_for_good() {
    let harness = Harness::default();
    let config = MemoryLimiterConfig { limit_percentage: 1, ..MemoryLimiterConfig::default() };
    let limiter = limiter(&harness, &Fake::default(), config);
    let rejected = limiter.process(mib_of_metrics(), &Sink::new().next()).await.unwrap_err();
    assert_eq!((rejected.reason, rejected.retry), ("too_large", Retry::Never));
}

#[tokio::test(start_paused = true)]
async fn refusing_is_told_when_it_begins_and_when_it_is_over() {
    let harness = Harness::default();
    let limiter = limiter(&harness, &Fake::default(), ten_mib());
    let sink = Sink::new();
    fill(&limiter, &sink.next()).await;
    limiter.process(mib_of_metrics(), &sink.next()).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(statuses(&harness).len(), 1, "it may go on: the last refusal is not long ago");
    sink.take();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = statuses(&harness);
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("RecoverableError: refuses what comes: 9 MiB are in flight"), "{told:?}");
    assert_eq!(told[1], "OK: takes everything again; 2 items were refused meanwhile");
    assert_eq!(harness.details().unwrap()["refused_items"], 2);
}

#[tokio::test(start_paused = true)]
async fn above_the_hard_limit_the_newest_is_shed_and_after_the_peak_all_is_taken_again() {
    let (harness, resident) = (Harness::default(), Fake::default());
    let limiter = limiter(&harness, &resident, ten_mib());
    let sink = Sink::new();
    for _ in 0..4 {
        limiter.process(mib_of_metrics(), &sink.next()).await.unwrap();
    }
    resident.0.store(30 * MIB, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let rejected = limiter.process(mib_of_metrics(), &sink.next()).await.unwrap_err();
    assert!(rejected.message.contains("memory is near the hard limit of 20 MiB"), "{rejected}");
    // Most of what was in flight is gone, and its pages are used again.
    std::mem::forget(sink.take().pop());
    assert_eq!(fill(&limiter, &sink.next()).await.0, 2);
    sink.take();
    // The peak is over, and the allocator gives its pages back.
    resident.0.store(15 * MIB, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fill(&limiter, &sink.next()).await.0, 8);
}

/// A refusal by resident memory alone could stick for ever.
#[tokio::test(start_paused = true)]
async fn where_the_allocator_keeps_its_pages_for_ever_everything_is_taken_again_all_the_same() {
    let (harness, resident) = (Harness::default(), Fake::default());
    let limiter = limiter(&harness, &resident, ten_mib());
    let sink = Sink::new();
    limiter.process(mib_of_metrics(), &sink.next()).await.unwrap();
    sink.take();
    resident.0.store(30 * MIB, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(fill(&limiter, &sink.next()).await.0, 1, "never nothing");
    sink.take();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fill(&limiter, &sink.next()).await.0, 9);
    // It grows again: the newest is shed at once.
    sink.take();
    resident.0.store(40 * MIB, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fill(&limiter, &sink.next()).await.0, 1);
}

/// A process whose memory is what it needs for itself, what is in flight and a tenth more; pages stay with it, or go back.
struct Modelled {
    own: u64,
    account: Arc<Account>,
    keeps: bool,
    peak: AtomicU64,
}

impl Memory for Arc<Modelled> {
    fn total(&self) -> Option<u64> {
        None
    }

    fn resident(&self) -> Option<u64> {
        let now = self.own + self.account.in_flight() / 10 * 11;
        let peak = self.peak.fetch_max(now, Ordering::Relaxed).max(now);
        Some(if self.keeps { peak } else { now })
    }
}

/// The program itself takes much, so that the soft limit alone lets the process pass the hard one.
#[tokio::test(start_paused = true)]
async fn under_full_load_with_a_backend_that_is_gone_the_process_stays_below_the_hard_limit_and_recovers() {
    for (own, keeps) in [(10, false), (10, true), (100, false), (100, true), (160, true)] {
        let harness = Harness::default();
        let scope = harness.scope(ComponentKind::Processor, "memory_limiter");
        let account = scope.shared("minicol_processor.memory_in_flight", Account::default);
        let memory = Arc::new(Modelled { own: own * MIB, account, keeps, peak: AtomicU64::new(0) });
        let config = MemoryLimiterConfig { limit_mib: 256, ..MemoryLimiterConfig::default() };
        let limiter = MemoryLimiter::new(&config, Box::new(Arc::clone(&memory)), &scope).unwrap();
        let sink = Sink::new();
        let (mut taken, mut refused, batch) = (0, 0, mib_of_metrics());
        // Five minutes of senders that come again at once, five times as much as there is room for in each second.
        for _ in 0..600 {
            for _ in 0..100 {
                match limiter.process(batch.clone(), &sink.next()).await {
                    Ok(()) => taken += 1,
                    Err(_) => refused += 1,
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let resident = memory.resident().unwrap() / MIB;
            assert!(resident < 256, "{resident} MiB with {own} of its own, pages kept: {keeps}, after {taken} batches");
        }
        assert!(refused > 50_000 && taken >= 50, "{taken} {refused}, {own} of its own, pages kept: {keeps}");
        // It is back, and takes all there is. What the limits leave beside the program's own is taken again.
        sink.take();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let (again, _) = fill(&limiter, &sink.next()).await;
        assert!(again >= taken * 9 / 10, "{again} of {taken}, {own} of its own, pages kept: {keeps}");
        assert!(memory.resident().unwrap() < 256 * MIB);
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_owner() {
    let harness = Harness::default();
    let limiter = limiter(&harness, &Fake::default(), ten_mib());
    limiter.process(Metrics::default().into(), &Sink::new().next()).await.unwrap();
    let watch = Arc::downgrade(&limiter.watch);
    drop(limiter);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(watch.upgrade().is_none());
}
