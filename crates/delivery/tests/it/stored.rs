//! A queue in a storage: what was taken outlives the process, in order, and the books say so within and across lives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use minicol_delivery::{Delivery, DeliveryConfig};
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    ComponentKind, Consumer, Exporter, Retry,
    storage::{Storage, StorageError},
    testing::{Harness, MemoryStorage},
};
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::script::{Script, Step, config, in_seconds, points, settle};

const LATER: Step = Step::Fail(Retry::Backoff, "unavailable");
const QUEUE: &str = "otlp/metrics";

fn start(harness: &Harness, script: &Arc<Script>, config: DeliveryConfig, storage: &MemoryStorage) -> Delivery {
    let scope = harness.scope(ComponentKind::Exporter, "otlp");
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    let exporter = Arc::clone(script) as Arc<dyn Exporter>;
    Delivery::start_stored(exporter, config, &[Signal::Metrics, Signal::Observations], scope, Some(&storage))
}

fn one_by_one() -> DeliveryConfig {
    config(json!({"timeout": "0", "sending_queue": {"num_consumers": 1, "storage": "s"}}))
}

/// A life that delivers nothing, into which batches of these sizes are handed.
async fn life_without_a_far_end(storage: &MemoryStorage, sizes: &[usize]) {
    let script = Script::new([Step::Hang]);
    let delivery = start(&Harness::default(), &script, one_by_one(), storage);
    for size in sizes {
        delivery.consumer().consume(points(*size)).await.unwrap();
    }
    let offered: u64 = sizes.iter().map(|size| *size as u64).sum();
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.lost, report.sent, report.counts.accepted), (0, 0, offered));
    assert!(report.counts.is_balanced() && report.counts.queued == 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_delivered_in_time_is_kept_and_the_next_life_delivers_it_oldest_first() {
    let storage = MemoryStorage::new();
    life_without_a_far_end(&storage, &[1, 2, 3]).await;
    life_without_a_far_end(&storage, &[4, 5]).await;
    assert_eq!(storage.ids(QUEUE), [0, 1, 2, 3, 4]);

    let harness = Harness::default();
    let script = Script::new([Step::Take]);
    let delivery = start(&harness, &script, one_by_one(), &storage);
    assert_eq!((delivery.counts().restored, delivery.counts().queued), (15, 15));
    delivery.consumer().consume(points(6)).await.unwrap();
    settle().await;
    assert_eq!(script.sizes(), [1, 2, 3, 4, 5, 6]);
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.counts.accepted, report.counts.restored, report.counts.sent), (6, 15, 21));
    assert_eq!((report.kept, report.counts.queued, report.counts.is_balanced()), (0, 0, true));
    assert!(storage.ids(QUEUE).is_empty());
    assert!(harness.notices().contains(&"items_restored"));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_told_with_its_number_and_is_no_loss() {
    let (harness, storage) = (Harness::default(), MemoryStorage::new());
    let script = Script::new([Step::Hang]);
    let delivery = start(&harness, &script, one_by_one(), &storage);
    for _ in 0..3 {
        delivery.consumer().consume(points(5)).await.unwrap();
    }
    settle().await;
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.kept, report.lost, report.cut), (15, 0, true));
    let told = format!("{:?}", harness.events());
    assert!(told.contains("15 metric points are kept in storage") && !told.contains("items_lost"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_of_which_a_part_was_lost_the_next_life_gets_the_rest() {
    let (storage, never) = (MemoryStorage::new(), Step::Fail(Retry::Never, "invalid"));
    let script = Script::new([never, LATER]);
    let settings = config(json!({"timeout": "0", "sending_queue": {
        "num_consumers": 1, "storage": "s", "batch": {"min_size": 1, "max_size": 5}
    }}));
    let delivery = start(&Harness::default(), &script, settings, &storage);
    delivery.consumer().consume(points(10)).await.unwrap();
    settle().await;
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.counts.failed["invalid"], report.kept), (5, 5));
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    settle().await;
    assert_eq!((delivery.counts().restored, script.sizes()), (5, vec![5]));
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_has_ended_takes_no_record_from_the_one_after_it() {
    let storage = MemoryStorage::new();
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    let consumer = delivery.consumer();
    consumer.consume(points(5)).await.unwrap();
    storage.fail(Some(StorageError::Unavailable("the disk is away".to_owned())));
    settle().await;
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.counts.sent, storage.ids(QUEUE).len()), (5, 1));
    storage.fail(None);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(storage.ids(QUEUE).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_only_once_it_is_stored() {
    let storage = MemoryStorage::new();
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    storage.fail(Some(StorageError::Unavailable("the disk is away".to_owned())));
    let refused = delivery.consumer().consume(points(5)).await.unwrap_err();
    assert_eq!((refused.reason, refused.retry), ("storage_failed", Retry::Backoff));
    assert!(refused.message.contains("the disk is away"));
    let counts = delivery.counts();
    assert_eq!((counts.accepted, counts.refused["storage_failed"], counts.is_balanced()), (0, 5, true));
    storage.fail(None);
    delivery.consumer().consume(points(5)).await.unwrap();
    settle().await;
    assert_eq!((script.taken(), delivery.counts().sent), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_not_sent_though_the_disk_had_it_and_only_a_crash_leaves_it_to_the_next_life() {
    let (storage, gate) = (MemoryStorage::new(), Arc::new(Semaphore::new(0)));
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    delivery.consumer().consume(points(1)).await.unwrap();
    storage.fail_after_storing(StorageError::Unavailable("a cable is loose".to_owned()));
    delivery.consumer().consume(points(2)).await.unwrap_err();
    storage.fail(None);
    delivery.consumer().consume(points(3)).await.unwrap();
    gate.add_permits(9);
    settle().await;
    assert_eq!(script.sizes(), [1, 3]);
    let counts = delivery.counts();
    assert_eq!((counts.accepted, counts.sent, counts.queued, counts.is_balanced()), (4, 4, 0, true));

    storage.fail_after_storing(StorageError::Unavailable("a cable is loose".to_owned()));
    delivery.consumer().consume(points(5)).await.unwrap_err();
    drop(delivery);
    assert_eq!(storage.restart(QUEUE), 5);
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    settle().await;
    assert_eq!((delivery.counts().restored, script.sizes()), (5, vec![5]));
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_life_left_in_a_storage_that_opens_late_is_booked_and_delivered_first() {
    for pushed_at_once in [false, true] {
        let storage = MemoryStorage::new();
        life_without_a_far_end(&storage, &[1, 2, 3]).await;
        storage.shut(true);
        let harness = Harness::default();
        let script = Script::new([Step::Take]);
        let delivery = start(&harness, &script, one_by_one(), &storage);
        let refused = delivery.consumer().consume(points(4)).await.unwrap_err();
        assert_eq!((refused.reason, delivery.counts().restored), ("storage_failed", 0));
        tokio::time::sleep(Duration::from_secs(60)).await;
        storage.shut(false);
        if !pushed_at_once {
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(script.sizes(), [1, 2, 3]);
        }
        delivery.consumer().consume(points(5)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(script.sizes(), [1, 2, 3, 5]);
        let counts = delivery.drain(in_seconds(1)).await.counts;
        assert_eq!((counts.accepted, counts.restored, counts.sent, counts.queued), (5, 6, 11, 0));
        assert!(counts.is_balanced() && storage.ids(QUEUE).is_empty());
        assert_eq!(harness.notices().iter().filter(|name| **name == "items_restored").count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_storage_refuses_or_makes_the_sender_wait_as_the_configuration_says() {
    let room_for_two = Some(2 * points(5).bytes() as u64);
    for block in [false, true] {
        let storage = MemoryStorage::new();
        storage.limit(room_for_two);
        let gate = Arc::new(Semaphore::new(0));
        let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
        let settings = config(json!({
            "timeout": "0", "sending_queue": {"num_consumers": 1, "storage": "s", "block_on_overflow": block},
        }));
        let delivery = start(&Harness::default(), &script, settings, &storage);
        for _ in 0..2 {
            delivery.consumer().consume(points(5)).await.unwrap();
        }
        let consumer = delivery.consumer();
        let third = tokio::spawn(async move { consumer.consume(points(5)).await });
        tokio::time::sleep(Duration::from_secs(5)).await;
        if block {
            assert!(!third.is_finished(), "it waits");
            gate.add_permits(1);
            third.await.unwrap().unwrap();
        } else {
            let refused = third.await.unwrap().unwrap_err();
            assert_eq!((refused.reason, refused.retry), ("storage_full", Retry::Backoff));
        }
        let never = delivery.consumer().consume(points(50)).await.unwrap_err();
        assert_eq!((never.reason, never.retry), ("too_large", Retry::Never));
        gate.add_permits(10);
        settle().await;
        let counts = delivery.drain(in_seconds(5)).await.counts;
        assert_eq!((counts.sent, counts.is_balanced()), (if block { 15 } else { 10 }, true));
    }
}

#[tokio::test(start_paused = true)]
async fn queue_size_bounds_what_is_stored_also_what_an_earlier_life_left() {
    let storage = MemoryStorage::new();
    life_without_a_far_end(&storage, &[1; 5]).await;
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let settings =
        config(json!({"timeout": "0", "sending_queue": {"num_consumers": 1, "storage": "s", "queue_size": 3}}));
    let delivery = start(&Harness::default(), &script, settings, &storage);
    settle().await;
    for delivered in 0..3 {
        let refused = delivery.consumer().consume(points(1)).await.unwrap_err();
        assert_eq!(refused.reason, "queue_full", "{delivered} of 5 are gone");
        gate.add_permits(1);
        settle().await;
    }
    delivery.consumer().consume(points(1)).await.unwrap();
    assert_eq!(delivery.consumer().consume(points(1)).await.unwrap_err().reason, "queue_full");
}

#[tokio::test(start_paused = true)]
async fn a_record_goes_once_its_batch_is_settled_and_not_before() {
    let storage = MemoryStorage::new();
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::gated([Step::Take, Step::Fail(Retry::Never, "invalid"), Step::Take], Some(Arc::clone(&gate)));
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    for _ in 0..3 {
        delivery.consumer().consume(points(2)).await.unwrap();
    }
    settle().await;
    for left in [vec![0, 1, 2], vec![1, 2], vec![2], vec![]] {
        assert_eq!(storage.ids(QUEUE), left);
        gate.add_permits(1);
        settle().await;
    }
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.failed["invalid"], counts.queued), (4, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn while_a_record_cannot_go_no_further_batch_is_sent_in_its_place() {
    let storage = MemoryStorage::new();
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    for _ in 0..5 {
        delivery.consumer().consume(points(1)).await.unwrap();
    }
    settle().await;
    storage.fail(Some(StorageError::Unavailable("the disk is away".to_owned())));
    gate.add_permits(5);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(script.taken(), 1, "what a crash would send again is at most what is in flight");
    storage.fail(None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((script.taken(), storage.ids(QUEUE).len()), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_that_arrived_in_part_the_next_life_sends_what_is_left() {
    let storage = MemoryStorage::new();
    let script = Script::new([Step::TakePart { items: 4, rejected: 0 }, Step::Hang]);
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    delivery.consumer().consume(points(10)).await.unwrap();
    settle().await;
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.counts.sent, report.kept, report.counts.is_balanced()), (4, 6, true));
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    settle().await;
    assert_eq!((delivery.counts().restored, script.sizes()), (6, vec![6]));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_lost_alone_and_counted() {
    let storage = MemoryStorage::new();
    life_without_a_far_end(&storage, &[1, 2, 3, 4, 5]).await;
    storage.damage(QUEUE, 1);
    storage.garble(QUEUE, 3);
    let harness = Harness::default();
    let script = Script::new([Step::Take]);
    let delivery = start(&harness, &script, one_by_one(), &storage);
    settle().await;
    assert_eq!(script.sizes(), [1, 3, 5]);
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.failed["quarantined"], counts.queued), (9, 6, 0));
    assert!(counts.is_balanced());
    assert_eq!(storage.quarantined(QUEUE), [1, 3]);
    assert_eq!(harness.notices().iter().filter(|name| **name == "items_lost").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_books_balance_though_a_record_that_cannot_be_read_is_said_to_have_other_items() {
    for said in [0, 1, 99] {
        let storage = MemoryStorage::new();
        life_without_a_far_end(&storage, &[1, 2, 3]).await;
        let script = Script::new([Step::Take]);
        let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
        storage.misjudge(QUEUE, 1, said);
        settle().await;
        let counts = delivery.counts();
        assert_eq!((counts.restored, counts.sent, counts.failed["quarantined"], counts.queued), (6, 4, 2, 0), "{said}");
        assert!(counts.is_balanced());
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_loses_everything_is_booked_and_the_queue_goes_on() {
    let storage = MemoryStorage::new();
    let gate = Arc::new(Semaphore::new(0));
    life_without_a_far_end(&storage, &[1, 1]).await;
    life_without_a_far_end(&storage, &[5; 400]).await;
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    settle().await;
    // In memory are those that are delivered next: they are not lost.
    storage.reset();
    delivery.consumer().consume(points(7)).await.unwrap();
    gate.add_permits(1_000);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counts = delivery.counts();
    assert!(counts.is_balanced(), "{counts:?}");
    assert_eq!((counts.queued, counts.sent, *script.sizes().last().unwrap()), (0, script.taken(), 7));
    assert_eq!(counts.sent + counts.lost(), 2 + 2_000 + 7);
}

#[tokio::test(start_paused = true)]
async fn what_a_storage_lost_is_not_kept_where_the_program_ends_before_anybody_asked_for_it() {
    for batch in [None, Some(json!({"min_size": 1, "max_size": 5}))] {
        let (harness, storage) = (Harness::default(), MemoryStorage::new());
        let mut written = json!({"timeout": "0", "sending_queue": {"num_consumers": 1, "storage": "s"}});
        if let Some(batch) = batch {
            written["sending_queue"]["batch"] = batch;
        }
        let delivery = start(&harness, &Script::new([Step::Hang]), config(written), &storage);
        for _ in 0..3 {
            delivery.consumer().consume(points(5)).await.unwrap();
        }
        settle().await;
        storage.reset();
        delivery.consumer().consume(points(7)).await.unwrap();
        let report = delivery.drain(in_seconds(1)).await;
        assert_eq!((report.kept, report.lost, report.counts.failed["storage_damaged"]), (7, 15, 15));
        assert!(report.counts.is_balanced() && report.counts.queued == 0);
        let told = format!("{:?}", harness.events());
        assert!(told.contains("15 metric points lost, reason storage_damaged"), "{told}");
        assert!(told.contains("7 metric points are kept in storage"), "{told}");
        let next = start(&Harness::default(), &Script::new([Step::Take]), one_by_one(), &storage);
        assert_eq!(next.counts().restored, 7);
        settle().await;
        assert_eq!((next.counts().sent, delivery.drain(in_seconds(1)).await.counts), (7, report.counts));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_batches_that_went_together_is_kept_though_the_storage_lost_the_first_of_them() {
    let storage = MemoryStorage::new();
    let script = Script::new([Step::TakePart { items: 4, rejected: 0 }, Step::Hang]);
    let settings = config(json!({"timeout": "0", "sending_queue": {
        "num_consumers": 1, "storage": "s", "batch": {"min_size": 10, "flush_timeout": "1h"}
    }}));
    let delivery = start(&Harness::default(), &script, settings, &storage);
    delivery.consumer().consume(points(5)).await.unwrap();
    settle().await;
    storage.reset();
    delivery.consumer().consume(points(9)).await.unwrap();
    settle().await;
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.counts.sent, report.kept, report.counts.lost()), (4, 10, 0));
    assert_eq!(storage.queue(QUEUE).holds().items, 10);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_in_the_storage_and_not_in_memory() {
    let storage = MemoryStorage::new();
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let settings =
        config(json!({"timeout": "0", "sending_queue": {"num_consumers": 1, "storage": "s", "queue_size": 100_000}}));
    let delivery = start(&Harness::default(), &script, settings, &storage);
    let large = points(20_000);
    let bytes = large.bytes();
    let held = |batch: &Batch| matches!(batch, Batch::Metrics(_));
    assert!(held(&large));
    for _ in 0..40 {
        delivery.consumer().consume(large.clone()).await.unwrap();
    }
    assert!(bytes * 40 > 8 << 20, "{bytes}");
    assert_eq!(storage.reads(), 0, "the oldest few are handed over in memory");
    gate.add_permits(40);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(script.taken(), 40 * 20_000);
    assert!(storage.reads() > 10, "the others were read: {}", storage.reads());
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_goes_away_is_booked_all_the_same() {
    let storage = MemoryStorage::new();
    let script = Script::new([Step::Hang]);
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    let consumer = delivery.consumer();
    let sender = tokio::spawn(async move { consumer.consume(points(3)).await });
    tokio::task::yield_now().await;
    sender.abort();
    settle().await;
    // Either it never got there, or it is in the books.
    assert_eq!(delivery.counts().accepted, 3 * storage.ids(QUEUE).len() as u64);
    assert_eq!(delivery.counts().queued, delivery.counts().accepted);
}

#[tokio::test(start_paused = true)]
async fn observations_are_queued_in_memory() {
    let storage = MemoryStorage::new();
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, one_by_one(), &storage);
    delivery.consumer().consume(crate::script::observation()).await.unwrap();
    settle().await;
    assert_eq!((script.taken(), storage.ids("otlp/observations").len()), (1, 0));
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Take),
        1 => (0_u64..9).prop_map(|rejected| Step::TakeBut { rejected, message: "some" }),
        1 => (0_usize..9).prop_map(|items| Step::TakePart { items, rejected: 0 }),
        3 => Just(LATER),
        1 => Just(Step::Fail(Retry::Never, "invalid")),
        2 => (0_u64..8_000).prop_map(|ms| Step::Slow(Duration::from_millis(ms))),
        1 => Just(Step::Hang),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Several lives, each with what befalls it; then one in which everything works.
    #[test]
    fn over_all_lives_every_item_is_accounted_for(
        lives in prop::collection::vec(
            (prop::collection::vec(step(), 1..12), prop::collection::vec((1_usize..8, 0_u64..3_000), 0..15), 0_u64..8),
            1..4,
        ),
        faults in prop::collection::vec((0_u64..20_000, 0_usize..5), 0..4),
        consumers in 1_usize..4,
        batch in crate::books::batch(),
        block in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let storage = MemoryStorage::new();
            let mut written = json!({
                "timeout": "3s",
                "retry_on_failure": {"initial_interval": "1s", "max_interval": "4s", "max_elapsed_time": "20s"},
                "sending_queue": {"queue_size": 5, "num_consumers": consumers, "storage": "s", "block_on_overflow": block},
            });
            if let Some(batch) = batch {
                written["sending_queue"]["batch"] = batch;
            }
            let settings = config(written);
            let (mut accepted, mut settled, mut kept) = (0, 0, 0);
            let (faulty, disk_fails) = (storage.clone(), faults.iter().any(|(_, fault)| *fault < 3));
            let in_use = Arc::new(AtomicBool::new(false));
            let used = Arc::clone(&in_use);
            let chaos = tokio::spawn(async move {
                for (after, fault) in faults {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    match fault {
                        0 => faulty.fail(Some(StorageError::Full("full".into()))),
                        1 => faulty.fail(Some(StorageError::Unavailable("away".into()))),
                        2 => faulty.fail_after_storing(StorageError::Unavailable("away".into())),
                        // What nobody has in its books any more is nobody's loss.
                        3 if used.load(Ordering::Relaxed) => faulty.reset(),
                        _ => {}
                    }
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    faulty.fail(None);
                }
            });
            let last = (vec![Step::Take], Vec::new(), 100);
            for (steps, batches, grace) in lives.into_iter().chain([last]) {
                let script = Script::new(steps);
                let delivery = start(&Harness::new(seed), &script, settings.clone(), &storage);
                in_use.store(true, Ordering::Relaxed);
                prop_assert_eq!(delivery.counts().restored, kept, "what was kept is restored");
                let mut senders = Vec::new();
                for (items, pause) in batches {
                    let consumer = delivery.consumer();
                    senders.push(tokio::spawn(async move { consumer.consume(points(items)).await }));
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    prop_assert!(delivery.counts().is_balanced(), "{:?}", delivery.counts());
                }
                let counts = delivery.drain(in_seconds(grace)).await.counts;
                in_use.store(false, Ordering::Relaxed);
                for sender in senders {
                    let _ = sender.await.unwrap();
                }
                settle().await;
                prop_assert!(counts.is_balanced() && counts.queued == 0, "{counts:?}");
                let counts = delivery.counts();
                (accepted, settled, kept) = (accepted + counts.accepted, settled + counts.sent + counts.lost(), counts.kept);
                // A record that a faulty storage could not let go of is there once more.
                let stored = Arc::new(storage.clone()).queue(QUEUE).holds().items;
                prop_assert!(stored >= kept, "{stored} stored, {kept} kept");
                if stored > kept {
                    prop_assert!(disk_fails, "{stored} stored, {kept} kept");
                    settled -= stored - kept;
                    kept = stored;
                }
                drop(delivery);
                // What a sender was refused may be there all the same where the process ended before the storage worked again.
                let refused = storage.restart(QUEUE);
                (accepted, kept) = (accepted + refused, kept + refused);
            }
            chaos.abort();
            prop_assert_eq!((settled, kept), (accepted, 0), "everything that was taken is settled once");
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn who_lets_go_of_a_queue_says_so_and_an_ordinary_end_does_not() {
    let (harness, storage) = (Harness::default(), MemoryStorage::new());
    let delivery = start(&harness, &Script::new([Step::Take]), one_by_one(), &storage);
    delivery.drain(in_seconds(1)).await;
    assert_eq!(storage.released(QUEUE), 0, "at the end of the program everybody goes");
    delivery.let_go();
    assert_eq!(storage.released(QUEUE), 1);
}
