//! The queue: back-pressure, refusal, its bounds, and that one far end does not slow another.

use std::{sync::Arc, time::Duration};

use minicol_plugin::{Consumer, Retry, testing::Harness};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::script::{Script, Step, config, in_seconds, observation, points, settle, start};

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_says_that_trying_again_may_help() {
    let script = Script::new([Step::Hang]);
    let settings = config(json!({"timeout": "0", "sending_queue": {"queue_size": 2, "num_consumers": 1}}));
    let delivery = start(&Harness::default(), &script, settings);
    let consumer = delivery.consumer();
    for _ in 0..2 {
        consumer.consume(points(3)).await.unwrap();
        settle().await;
    }
    let refused = consumer.consume(points(3)).await.unwrap_err();
    assert_eq!((refused.reason, refused.retry), ("queue_full", Retry::Backoff));
    assert!(refused.message.contains("2 requests"), "{}", refused.message);
    let counts = delivery.counts();
    assert_eq!((counts.accepted, counts.queued, counts.refused["queue_full"]), (6, 6, 3));
}

#[tokio::test(start_paused = true)]
async fn with_block_on_overflow_the_sender_waits_for_room() {
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::gated([Step::Take], Some(Arc::clone(&gate)));
    let settings = config(json!({
        "timeout": "0", "sending_queue": {"queue_size": 1, "num_consumers": 1, "block_on_overflow": true},
    }));
    let delivery = start(&Harness::default(), &script, settings);
    let consumer = delivery.consumer();
    consumer.consume(points(1)).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.consume(points(2)).await });
    settle().await;
    assert!(!waiting.is_finished());
    gate.add_permits(1);
    waiting.await.unwrap().unwrap();
    assert_eq!(delivery.counts().accepted, 3);
    assert!(delivery.counts().refused.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_waits_for_room_is_told_when_the_program_stops() {
    let script = Script::new([Step::Hang]);
    let settings = config(json!({
        "timeout": "0", "sending_queue": {"queue_size": 1, "num_consumers": 1, "block_on_overflow": true},
    }));
    let delivery = start(&Harness::default(), &script, settings);
    delivery.consumer().consume(points(1)).await.unwrap();
    let consumer = delivery.consumer();
    let waiting = tokio::spawn(async move { consumer.consume(points(2)).await });
    settle().await;
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!(waiting.await.unwrap().unwrap_err().reason, "shutdown");
    assert_eq!((report.lost, report.counts.refused["shutdown"]), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_sizer_decides_what_is_counted() {
    let bytes = points(5).bytes();
    for (sizer, queue_size, fits) in [("items", 10, 2), ("requests", 3, 3), ("bytes", 2 * bytes - 1, 1)] {
        let script = Script::new([Step::Hang]);
        let settings = config(json!({"timeout": "0", "sending_queue": {"queue_size": queue_size, "sizer": sizer}}));
        let delivery = start(&Harness::default(), &script, settings);
        let consumer = delivery.consumer();
        let mut taken = 0;
        while consumer.consume(points(5)).await.is_ok() {
            taken += 1;
        }
        assert_eq!(taken, fits, "{sizer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_can_never_fit_is_refused_for_good() {
    let script = Script::new([Step::Take]);
    let settings = config(json!({"sending_queue": {"queue_size": 4, "sizer": "items", "block_on_overflow": true}}));
    let delivery = start(&Harness::default(), &script, settings);
    let refused = delivery.consumer().consume(points(5)).await.unwrap_err();
    assert_eq!((refused.reason, refused.retry), ("too_large", Retry::Never));
    assert_eq!(delivery.counts().refused["too_large"], 5);
}

#[tokio::test(start_paused = true)]
async fn consumers_deliver_at_the_same_time() {
    let script = Script::new([Step::Slow(Duration::from_secs(1))]);
    let delivery = start(&Harness::default(), &script, config(json!({"sending_queue": {"num_consumers": 3}})));
    let consumer = delivery.consumer();
    for _ in 0..6 {
        consumer.consume(points(1)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(script.taken(), 6);
    let attempts = script.attempts();
    assert!(attempts[2] < 0.1 && (0.9..1.1).contains(&attempts[3]), "{attempts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_of_one_signal_leaves_the_other_alone() {
    let script = Script::new([Step::Hang, Step::Take]);
    let settings = config(json!({"timeout": "0", "sending_queue": {"queue_size": 1}}));
    let delivery = start(&Harness::default(), &script, settings);
    let consumer = delivery.consumer();
    consumer.consume(points(1)).await.unwrap();
    settle().await;
    assert!(consumer.consume(points(1)).await.is_err());
    consumer.consume(observation()).await.unwrap();
    settle().await;
    assert_eq!(delivery.counts_of(minicol_pdata::Signal::Observations).sent, 1);
    assert_eq!(delivery.counts_of(minicol_pdata::Signal::Metrics).queued, 1);
}

#[tokio::test(start_paused = true)]
async fn one_dead_far_end_does_not_slow_another() {
    let harness = Harness::default();
    let (dead, alive) = (Script::new([Step::Hang]), Script::new([Step::Take]));
    let settings = || config(json!({"sending_queue": {"queue_size": 2, "num_consumers": 1}}));
    let (first, second) = (start(&harness, &dead, settings()), start(&harness, &alive, settings()));
    let (to_dead, to_alive) = (first.consumer(), second.consumer());
    let began = tokio::time::Instant::now();
    for _ in 0..100 {
        let _ = to_dead.consume(points(1)).await;
        to_alive.consume(points(1)).await.unwrap();
        settle().await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!((dead.taken(), alive.taken()), (0, 100));
    assert_eq!(first.counts().refused["queue_full"], 98);
}

#[tokio::test(start_paused = true)]
async fn an_empty_batch_and_a_signal_that_was_not_set_up() {
    let script = Script::new([Step::Take]);
    let delivery = start(&Harness::default(), &script, config(json!({})));
    delivery.consumer().consume(points(0)).await.unwrap();
    let strange = delivery.consumer().consume(minicol_pdata::Logs::default().into()).await;
    assert!(strange.is_ok(), "there is nothing in it");
    settle().await;
    assert!(script.attempts().is_empty());
}
