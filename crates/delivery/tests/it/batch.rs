//! `sending_queue.batch`: what waits in the queue is sent together.

use std::{sync::Arc, time::Duration};

use minicol_delivery::Delivery;
use minicol_pdata::Signal;
use minicol_plugin::{
    ComponentKind, Consumer, Exporter, Retry,
    storage::Storage,
    testing::{Harness, MemoryStorage},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::script::{Script, Step, config, in_seconds, observation, points, settle, start};

fn gathering(batch: &Value) -> minicol_delivery::DeliveryConfig {
    config(json!({"timeout": "0", "sending_queue": {"num_consumers": 1, "batch": batch}}))
}

async fn offer(delivery: &Delivery, sizes: &[usize]) {
    for size in sizes {
        delivery.consumer().consume(points(*size)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_sent_together_once_it_is_enough() {
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, gathering(&json!({"min_size": 10, "flush_timeout": "1h"})));
    offer(&delivery, &[4, 4]).await;
    settle().await;
    assert!(script.sizes().is_empty());
    assert_eq!(delivery.counts().queued, 8);
    offer(&delivery, &[4, 10, 3]).await;
    settle().await;
    assert_eq!(script.sizes(), [12, 10]);
    assert_eq!((delivery.counts().queued, delivery.counts().sent), (3, 22));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_enough_is_sent_when_the_first_of_it_has_waited_for_so_long() {
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, gathering(&json!({"flush_timeout": "5s"})));
    for _ in 0..4 {
        offer(&delivery, &[1]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    // The first three by 5 s, the fourth 5 s after it came.
    assert_eq!(script.sizes(), [3, 1]);
    let attempts = script.attempts();
    assert!((5.0..5.1).contains(&attempts[0]) && (11.0..11.1).contains(&attempts[1]), "{attempts:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_larger_than_allowed_is_sent() {
    for (written, sizes) in [
        (json!({"min_size": 10, "max_size": 10}), vec![9, 8, 8]),
        (json!({"min_size": 0, "max_size": 10}), vec![9, 8, 8]),
        (json!({"min_size": 20, "max_size": 20}), vec![13, 12]),
    ] {
        let script = Script::new([Step::Take]);
        let delivery = start(&Harness::default(), &script, gathering(&written));
        offer(&delivery, &[25]).await;
        settle().await;
        assert_eq!(script.sizes(), sizes, "{written}");
    }
    let bytes = points(10).bytes();
    let script = Script::new([Step::Take]);
    let written = json!({"sizer": "bytes", "min_size": 1, "max_size": bytes});
    let delivery = start(&Harness::default(), &script, gathering(&written));
    offer(&delivery, &[25]).await;
    settle().await;
    let sizes = script.sizes();
    assert!(sizes.iter().sum::<u64>() == 25 && sizes.iter().all(|size| *size <= 10), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_is_lost_alone() {
    let script = Script::new([Step::Take, Step::Fail(Retry::Never, "invalid"), Step::Take]);
    let delivery = start(&Harness::default(), &script, gathering(&json!({"min_size": 10, "max_size": 10})));
    offer(&delivery, &[30]).await;
    settle().await;
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.failed["invalid"], counts.queued), (20, 10, 0));
}

#[tokio::test(start_paused = true)]
async fn while_all_consumers_are_busy_nothing_leaves_the_queue_and_then_it_goes_out_together() {
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let delivery = start(&Harness::default(), &script, gathering(&json!({"min_size": 4, "flush_timeout": "1s"})));
    for _ in 0..12 {
        offer(&delivery, &[1]).await;
        settle().await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(script.attempts().len(), 1);
    gate.add_permits(9);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(script.sizes(), [4, 4, 4]);
}

#[tokio::test(start_paused = true)]
async fn as_many_are_delivered_at_once_as_there_are_consumers() {
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let written = json!({"timeout": "0", "sending_queue": {"num_consumers": 3, "batch": {"min_size": 2}}});
    let delivery = start(&Harness::default(), &script, config(written));
    offer(&delivery, &[1; 20]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(script.attempts().len(), 3);
    gate.add_permits(100);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((script.taken(), delivery.counts().queued), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_gathered_keeps_its_place_in_the_queue() {
    let script = Script::new([Step::Take]);
    let written = json!({
        "timeout": "0", "sending_queue": {"queue_size": 3, "num_consumers": 1, "batch": {"flush_timeout": "10s"}},
    });
    let delivery = start(&Harness::default(), &script, config(written));
    offer(&delivery, &[1, 1, 1]).await;
    settle().await;
    assert_eq!(delivery.consumer().consume(points(1)).await.unwrap_err().reason, "queue_full");
    tokio::time::sleep(Duration::from_secs(11)).await;
    offer(&delivery, &[1, 1, 1]).await;
    assert_eq!(script.sizes(), [3]);
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_what_was_gathered_is_sent_at_once() {
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, gathering(&json!({"flush_timeout": "1h"})));
    offer(&delivery, &[2, 3]).await;
    delivery.consumer().consume(observation()).await.unwrap();
    delivery.consumer().consume(observation()).await.unwrap();
    settle().await;
    offer(&delivery, &[4]).await;
    let began = tokio::time::Instant::now();
    let report = delivery.drain(in_seconds(5)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!((report.sent, report.lost, report.cut), (11, 0, false));
    let mut sizes = script.sizes();
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 9]);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_was_gathered_is_dropped_and_counted() {
    let script = Script::new([Step::Hang]);
    let delivery = start(&Harness::default(), &script, gathering(&json!({"min_size": 2})));
    offer(&delivery, &[2, 3, 1]).await;
    settle().await;
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.sent, report.lost, report.cut, report.counts.dropped["shutdown"]), (0, 6, true, 6));
    assert!(report.counts.is_balanced());
}

fn stored(script: &Arc<Script>, storage: &MemoryStorage, batch: &Value) -> Delivery {
    let written = json!({"timeout": "0", "sending_queue": {"num_consumers": 1, "storage": "s", "batch": batch}});
    let scope = Harness::default().scope(ComponentKind::Exporter, "otlp");
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    let exporter = Arc::clone(script) as Arc<dyn Exporter>;
    Delivery::start_stored(exporter, config(written), &[Signal::Metrics], scope, Some(&storage))
}

#[tokio::test(start_paused = true)]
async fn a_stored_batch_goes_once_all_that_it_was_sent_with_is_settled() {
    let storage = MemoryStorage::new();
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let delivery = stored(&script, &storage, &json!({"min_size": 6, "max_size": 6, "flush_timeout": "1s"}));
    offer(&delivery, &[4, 5, 1]).await;
    gate.add_permits(1);
    settle().await;
    assert_eq!((script.sizes(), storage.ids("otlp/metrics").len()), (vec![5], 3), "9 go in two parts");
    gate.add_permits(9);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((script.sizes(), storage.ids("otlp/metrics").len()), (vec![5, 4, 1], 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_shutdown_leaves_of_a_part_is_all_that_the_next_life_delivers() {
    let storage = MemoryStorage::new();
    let script = Script::new([Step::Take, Step::Hang]);
    let delivery = stored(&script, &storage, &json!({"min_size": 5, "max_size": 5}));
    offer(&delivery, &[4, 5]).await;
    settle().await;
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.counts.sent, report.kept, report.lost), (5, 4, 0));
    assert_eq!(storage.ids("otlp/metrics"), [0], "what is left of both is in the place of the first");

    let script = Script::new([Step::Take]);
    let delivery = stored(&script, &storage, &json!({"min_size": 5}));
    assert_eq!(delivery.counts().restored, 4);
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.sent, script.sizes()), (4, vec![4]));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_lost_alone_and_the_others_are_sent_together() {
    let storage = MemoryStorage::new();
    let delivery = stored(&Script::new([Step::Hang]), &storage, &json!({"flush_timeout": "1h"}));
    offer(&delivery, &[1, 2, 3]).await;
    delivery.drain(tokio::time::Instant::now()).await;
    storage.damage("otlp/metrics", 1);
    let script = Script::new([Step::Take]);
    let delivery = stored(&script, &storage, &json!({}));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counts = delivery.counts();
    assert_eq!((script.sizes(), counts.failed["quarantined"], counts.queued), (vec![4], 2, 0));
}
