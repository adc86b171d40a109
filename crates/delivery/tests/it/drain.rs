//! The drain at shutdown: what is still sent, what is lost, and that the numbers are exact.

use std::time::Duration;

use minicol_plugin::{Consumer, Retry, testing::Harness};
use serde_json::json;
use tokio::time::Instant;

use crate::script::{Script, Step, config, in_seconds, points, settle, start, steady};

const LATER: Step = Step::Fail(Retry::Backoff, "unavailable");

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_sent_before_the_drain_ends() {
    let script = Script::new([Step::Slow(Duration::from_millis(100))]);
    let delivery = start(&Harness::default(), &script, config(json!({"sending_queue": {"num_consumers": 2}})));
    for _ in 0..10 {
        delivery.consumer().consume(points(3)).await.unwrap();
    }
    let report = delivery.drain(in_seconds(10)).await;
    assert_eq!((report.sent, report.lost, report.cut), (30, 0, false));
    assert!(report.counts.is_balanced() && report.counts.queued == 0);
    assert_eq!((script.taken(), *script.shutdown.lock().unwrap()), (30, 1));
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_everything_left_is_dropped_and_counted() {
    let script = Script::new([Step::Take, Step::Hang]);
    let settings = config(json!({"timeout": "0", "sending_queue": {"num_consumers": 2}}));
    let delivery = start(&Harness::default(), &script, settings);
    for items in 1..=5 {
        delivery.consumer().consume(points(items)).await.unwrap();
    }
    settle().await;
    let began = Instant::now();
    let report = delivery.drain(in_seconds(3)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    // 1 was sent before; 2 and 3 hung; 4 and 5 were never tried.
    assert_eq!((report.sent, report.lost, report.cut), (0, 14, true));
    assert_eq!((report.counts.accepted, report.counts.sent, report.counts.dropped["shutdown"]), (15, 1, 14));
    assert!(report.counts.is_balanced());
    assert_eq!(delivery.drain(in_seconds(3)).await.lost, 0, "the second drain finds nothing");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_retry_is_tried_at_once_when_the_drain_begins() {
    let script = Script::new([LATER, Step::Take]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(4)).await.unwrap();
    settle().await;
    let began = Instant::now();
    let report = delivery.drain(in_seconds(3)).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "the far end is back, and nobody waits");
    assert_eq!((report.sent, report.lost), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_beyond_the_deadline_is_not_begun_and_not_waited_for() {
    let script = Script::new([LATER]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(4)).await.unwrap();
    settle().await;
    let began = Instant::now();
    let report = delivery.drain(in_seconds(3)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    // One attempt before, and the one at the drain's beginning.
    assert_eq!((script.attempts().len(), report.counts.dropped["shutdown"], report.cut), (2, 4, false));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_far_end_asked_for_is_kept() {
    let asked = Step::Fail(Retry::After(Duration::from_secs(4)), "throttled");
    for (deadline, sent) in [(3, 0), (5, 4)] {
        let script = Script::new([asked.clone(), Step::Take]);
        let delivery =
            start(&Harness::default(), &script, config(json!({"retry_on_failure": {"initial_interval": "1s"}})));
        delivery.consumer().consume(points(4)).await.unwrap();
        settle().await;
        let report = delivery.drain(in_seconds(deadline)).await;
        assert_eq!((report.sent, report.lost), (sent, 4 - sent), "{deadline} s to drain");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_before_the_deadline_is_made() {
    let script = Script::new([LATER, LATER, Step::Take]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(4)).await.unwrap();
    settle().await;
    let report = delivery.drain(in_seconds(20)).await;
    assert_eq!((report.sent, report.lost), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_dead_far_end_is_tried_once_more() {
    let script = Script::new([LATER, LATER, LATER, Step::Take]);
    let delivery = start(&Harness::default(), &script, config(json!({"sending_queue": {"num_consumers": 1}})));
    for _ in 0..3 {
        delivery.consumer().consume(points(2)).await.unwrap();
    }
    settle().await;
    let report = delivery.drain(in_seconds(1)).await;
    // The first had a retry pending and fails again; the second fails; the third finds the far end back.
    assert_eq!((report.sent, report.lost, script.attempts().len()), (2, 4, 4));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_once_the_drain_has_begun() {
    for enabled in [true, false] {
        let script = Script::new([Step::Take]);
        let delivery = start(&Harness::default(), &script, config(json!({"sending_queue": {"enabled": enabled}})));
        delivery.drain(in_seconds(1)).await;
        let refused = delivery.consumer().consume(points(2)).await.unwrap_err();
        assert_eq!(refused.reason, "shutdown");
        assert_eq!(delivery.counts().refused["shutdown"], 2);
        assert!(script.attempts().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_the_delivery_in_flight_is_waited_for_and_then_cut() {
    for (takes, left) in [(2, 0), (20, 3)] {
        let script = Script::new([Step::Slow(Duration::from_secs(takes))]);
        let settings = config(json!({"timeout": "0", "sending_queue": {"enabled": false}}));
        let delivery = start(&Harness::default(), &script, settings);
        let consumer = delivery.consumer();
        let sender = tokio::spawn(async move { consumer.consume(points(3)).await });
        settle().await;
        let report = delivery.drain(in_seconds(5)).await;
        // What was cut stays with its sender, who learns of it.
        assert_eq!((report.lost, report.counts.sent), (0, 3 - left));
        assert!(report.counts.is_balanced());
        assert_eq!(
            sender.await.unwrap().map_err(|refused| refused.reason),
            if left == 0 { Ok(()) } else { Err("shutdown") }
        );
        assert_eq!(delivery.counts().refused.get("shutdown").copied().unwrap_or_default(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_scope_ends_the_drain_at_once() {
    let harness = Harness::default();
    let script = Script::new([Step::Hang]);
    let delivery = start(&harness, &script, config(json!({"timeout": "0"})));
    delivery.consumer().consume(points(3)).await.unwrap();
    settle().await;
    harness.abandoned.cancel();
    let began = Instant::now();
    let report = delivery.drain(in_seconds(100)).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!((report.lost, report.cut), (3, true));
}

#[tokio::test(start_paused = true)]
async fn dropping_it_without_a_drain_ends_its_tasks() {
    let script = Script::new([Step::Hang]);
    let delivery = start(&Harness::default(), &script, config(json!({"timeout": "0"})));
    let consumer = delivery.consumer();
    consumer.consume(points(1)).await.unwrap();
    settle().await;
    drop(delivery);
    settle().await;
    assert_eq!(consumer.consume(points(1)).await.unwrap_err().reason, "shutdown");
    drop(consumer);
    settle().await;
    assert_eq!(std::sync::Arc::strong_count(&script), 1, "no task holds the exporter any more");
}
