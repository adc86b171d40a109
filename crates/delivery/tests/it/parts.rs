//! A batch that an exporter delivers in parts: what has arrived is booked at once and never sent again, and only what is left is retried.

use std::{sync::Arc, time::Duration};

use minicol_plugin::{Consumer, Retry, testing::Harness};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::script::{Script, Step, config, in_seconds, points, settle, start, steady};

const LATER: Step = Step::Fail(Retry::Backoff, "unavailable");
const NEVER: Step = Step::Fail(Retry::Never, "invalid");

const fn part(items: usize) -> Step {
    Step::TakePart { items, rejected: 0 }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_left_is_tried_again() {
    // 4 of 10; of the parts of 3 and 3 the first fails once.
    let script = Script::new([part(4), LATER, Step::Take]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(10)).await.unwrap();
    settle().await;
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.queued, counts.is_balanced()), (4, 6, true), "booked before the rest is through");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(script.taken(), 10, "no item arrived twice");
    assert_eq!(script.attempts().len(), 4);
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.queued, counts.lost()), (10, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_whole_but_in_parts_is_tried_at_once_and_is_no_success() {
    let harness = Harness::default();
    let script = Script::new([LATER, part(0), LATER, Step::Take]);
    let delivery = start(&harness, &script, steady());
    delivery.consumer().consume(points(10)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    settle().await;
    assert_eq!((delivery.counts().queued, script.attempts().len()), (10, 3));
    assert!(!format!("{:?}", harness.events()).contains("delivers again"), "nothing has arrived yet");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((delivery.counts().sent, script.taken(), script.attempts().len()), (10, 10, 5));
}

#[tokio::test(start_paused = true)]
async fn each_part_ends_for_itself() {
    // 2 of 10, of which 1 is rejected; 4 for which nothing helps; of the 4 that are left 1; then 1, and 2.
    let script = Script::new([Step::TakePart { items: 2, rejected: 1 }, NEVER, part(1), Step::Take]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(10)).await.unwrap();
    settle().await;
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.queued), (5, 0));
    assert_eq!((counts.failed["partial_success"], counts.failed["invalid"]), (1, 4));
    assert!(counts.is_balanced());
}

/// A dead backend holds a consumer as long with a batch in parts as with one in one piece.
#[tokio::test(start_paused = true)]
async fn all_parts_share_the_time_to_try() {
    let settings = || config(json!({"retry_on_failure": {"randomization_factor": 0.0, "max_elapsed_time": "13s"}}));
    // What is left after 4 of 10 have arrived has the rest of the time.
    let script = Script::new([LATER, LATER, part(4), LATER, LATER, Step::Take]);
    let delivery = start(&Harness::default(), &script, settings());
    delivery.consumer().consume(points(10)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.failed["max_elapsed_time"], script.taken()), (4, 6, 4));
    // Two parts, and nobody there: none is tried once the time is over.
    let script = Script::new([part(0), LATER, LATER, LATER, LATER, LATER, LATER, LATER]);
    let delivery = start(&Harness::default(), &script, settings());
    delivery.consumer().consume(points(10)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(14)).await;
    let counts = delivery.counts();
    assert_eq!((counts.failed["max_elapsed_time"], counts.queued, counts.is_balanced()), (10, 0, true));
    assert_eq!(script.attempts().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn at_the_shutdown_only_what_is_left_is_dropped() {
    let gate = Arc::new(Semaphore::new(1));
    let script = Script::gated([part(4), Step::Take], Some(gate));
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(10)).await.unwrap();
    settle().await;
    let report = delivery.drain(in_seconds(5)).await;
    assert_eq!((report.counts.sent, report.counts.dropped["shutdown"], report.lost), (4, 6, 6));
    assert!(report.counts.is_balanced() && report.cut);
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_a_sender_does_not_offer_again_what_has_arrived_in_part() {
    let written = json!({"sending_queue": {"enabled": false}, "retry_on_failure": {"enabled": false}});
    let script = Script::new([part(4), LATER]);
    let delivery = start(&Harness::default(), &script, config(written.clone()));
    delivery.consumer().consume(points(10)).await.unwrap();
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.failed["unavailable"], counts.is_balanced()), (4, 6, true));
    // Nothing has arrived: the sender may offer it again.
    let delivery = start(&Harness::default(), &Script::new([LATER]), config(written.clone()));
    assert_eq!(delivery.consumer().consume(points(10)).await.unwrap_err().retry, Retry::Backoff);
    // Who stops waiting in the middle keeps what is left.
    let delivery = start(&Harness::default(), &Script::new([part(4), Step::Hang]), config(written));
    let consumer = delivery.consumer();
    assert!(tokio::time::timeout(Duration::from_secs(1), consumer.consume(points(10))).await.is_err());
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.refused["cancelled"], counts.is_balanced()), (4, 6, true));
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_gets_nowhere_is_stopped() {
    let script = Script::new([Step::TakeNothing]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(3)).await.unwrap();
    settle().await;
    assert_eq!(delivery.counts().failed["no_progress"], 3);
    assert_eq!(script.attempts().len(), 1);
}
