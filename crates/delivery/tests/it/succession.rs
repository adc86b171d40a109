//! Another exporter takes the place of the one that was there: what is queued stays, and nothing goes out twice.

use std::{sync::Arc, time::Duration};

use minicol_delivery::{Delivery, DeliveryConfig, Predecessor};
use minicol_pdata::Signal;
use minicol_plugin::{
    ComponentKind, Consumer, Exporter, Retry, Status,
    storage::Storage,
    testing::{Harness, MemoryStorage},
};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::script::{Script, Step, config, in_seconds, points, settle, start, steady};

const LATER: Step = Step::Fail(Retry::Backoff, "unavailable");

fn succeed(harness: &Harness, delivery: &Delivery, script: &Arc<Script>, config: DeliveryConfig) -> Predecessor {
    let scope = harness.scope(ComponentKind::Exporter, "otlp");
    delivery.take_on(Arc::clone(script) as Arc<dyn Exporter>, config, &[Signal::Metrics], scope, None)
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_next_attempt_goes_to_the_new_exporter_at_once() {
    let harness = Harness::default();
    let (old, new) = (Script::new([LATER]), Script::new([Step::Take]));
    let delivery = start(&harness, &old, steady());
    for size in [1, 2, 3] {
        delivery.consumer().consume(points(size)).await.unwrap();
    }
    settle().await;
    let tried = old.attempts().len();
    let before = succeed(&harness, &delivery, &new, steady());
    settle().await;
    assert_eq!((new.taken(), old.attempts().len()), (6, tried));
    before.end(in_seconds(1)).await.unwrap();
    assert_eq!((*old.shutdown.lock().unwrap(), *new.shutdown.lock().unwrap()), (1, 0));
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.counts.sent, report.counts.lost(), *new.shutdown.lock().unwrap()), (6, 0, 1));
    let last = harness.events().into_iter().rev().find_map(|event| match event {
        minicol_plugin::Event::Status(change) => Some(change.status),
        _ => None,
    });
    assert_eq!(last, Some(Status::RecoverableError), "how the new one is, the host says");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_in_flight_ends_as_it_began_and_its_exporter_is_shut_down_after_it() {
    let harness = Harness::default();
    let (old, new) = (Script::new([Step::Slow(Duration::from_secs(3))]), Script::new([Step::Take]));
    let delivery = start(&harness, &old, steady());
    delivery.consumer().consume(points(4)).await.unwrap();
    settle().await;
    let before = succeed(&harness, &delivery, &new, steady());
    delivery.consumer().consume(points(5)).await.unwrap();
    settle().await;
    assert_eq!((old.taken(), new.taken()), (0, 5));
    let began = tokio::time::Instant::now();
    before.end(in_seconds(10)).await.unwrap();
    assert_eq!((began.elapsed(), old.taken(), new.taken()), (Duration::from_secs(3), 4, 5));
    assert!(delivery.counts().is_balanced() && delivery.counts().sent == 9);
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_who_waits_is_told_what_the_new_exporter_says() {
    let harness = Harness::default();
    let unqueued = || config(json!({"sending_queue": {"enabled": false}}));
    let (old, new) = (Script::new([LATER]), Script::new([Step::Take]));
    let delivery = start(&harness, &old, unqueued());
    let consumer = delivery.consumer();
    let waits = tokio::spawn(async move { consumer.consume(points(2)).await });
    settle().await;
    succeed(&harness, &delivery, &new, unqueued()).end(in_seconds(1)).await.unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!((delivery.counts().sent, new.taken()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn the_queue_grows_and_shrinks_and_never_loses_its_count() {
    let harness = Harness::default();
    let sized = |size: usize, consumers: usize| {
        let queue =
            json!({"queue_size": size, "num_consumers": consumers, "sizer": "items", "block_on_overflow": true});
        config(json!({"timeout": "0s", "sending_queue": queue}))
    };
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let delivery = start(&harness, &script, sized(10, 1));
    for _ in 0..5 {
        delivery.consumer().consume(points(2)).await.unwrap();
    }
    let consumer = delivery.consumer();
    let waits = tokio::spawn(async move { consumer.consume(points(7)).await });
    settle().await;
    assert!(!waits.is_finished(), "it is full");
    // It is smaller than what waits for room, and than what it holds.
    let _ = succeed(&harness, &delivery, &script, sized(6, 2));
    let refused = waits.await.unwrap().unwrap_err();
    assert_eq!(refused.reason, "too_large");
    gate.add_permits(3);
    settle().await;
    assert_eq!(delivery.counts().queued, 4);
    let consumer = delivery.consumer();
    assert!(consumer.consume(points(2)).await.is_ok(), "there is room for two now");
    let waits = tokio::spawn(async move { consumer.consume(points(4)).await });
    settle().await;
    assert!(!waits.is_finished(), "and for no more");
    let _ = succeed(&harness, &delivery, &script, sized(10, 1));
    settle().await;
    waits.await.unwrap().unwrap();
    gate.add_permits(100);
    settle().await;
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.queued, counts.refused["too_large"]), (16, 0, 7));
    assert!(counts.is_balanced());
}

#[tokio::test(start_paused = true)]
async fn two_that_would_use_one_queue_of_a_storage_are_told_apart() {
    let stored = |more: &str| {
        let queue: serde_json::Value = serde_json::from_str(&format!("{{\"storage\": \"s\"{more}}}")).unwrap();
        config(json!({"sending_queue": queue}))
    };
    let (exporter, scope) = (Script::new([Step::Take]), Harness::default().scope(ComponentKind::Exporter, "otlp"));
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    let delivery = Delivery::start_stored(exporter, stored(""), &[Signal::Metrics], scope, Some(&storage));
    for (more, shares) in [
        (", \"queue_size\": 5", false),
        (", \"enabled\": false", false),
        (", \"storage\": \"other\"", false),
        (", \"sizer\": \"bytes\"", true),
        (", \"batch\": {}", true),
    ] {
        assert_eq!(delivery.would_share_its_queue(&stored(more)), shares, "{more}");
    }
    let in_memory = start(&Harness::default(), &Script::new([Step::Take]), steady());
    assert!(!in_memory.would_share_its_queue(&config(json!({"sending_queue": {"sizer": "bytes"}}))));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_to_be_elsewhere_cannot_be_taken_on() {
    let delivery = start(&Harness::default(), &Script::new([Step::Take]), steady());
    for (other, can) in [
        (json!({"timeout": "1s", "retry_on_failure": {"enabled": false}}), true),
        (json!({"sending_queue": {"queue_size": 5, "num_consumers": 1, "block_on_overflow": true}}), true),
        (json!({"sending_queue": {"enabled": false}}), false),
        (json!({"sending_queue": {"storage": "s"}}), false),
        (json!({"sending_queue": {"sizer": "bytes"}}), false),
    ] {
        assert_eq!(delivery.can_take_on(&config(other.clone())), can, "{other}");
    }
}
