//! What is told, and that each change is told once.

use std::time::Duration;

use minicol_plugin::{Consumer, Event, Retry, Status, testing::Harness};
use serde_json::json;

use crate::script::{Script, Step, config, in_seconds, points, settle, start, steady};

const LATER: Step = Step::Fail(Retry::Backoff, "unavailable");

fn statuses(harness: &Harness) -> Vec<(Status, String)> {
    let changes = harness.events().into_iter().filter_map(|event| match event {
        Event::Status(change) => Some((change.status, change.message)),
        _ => None,
    });
    changes.collect()
}

fn notices(harness: &Harness) -> Vec<String> {
    let notices = harness.events().into_iter().filter_map(|event| match event {
        Event::Notice(notice) => Some(format!("{}: {}", notice.name, notice.message)),
        _ => None,
    });
    notices.collect()
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_begins_to_fail_and_recovers_says_each_once() {
    let harness = Harness::default();
    let script = Script::new([LATER, LATER, Step::Fail(Retry::Backoff, "timeout"), LATER, Step::Take]);
    let delivery = start(&harness, &script, steady());
    delivery.consumer().consume(points(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    delivery.consumer().consume(points(1)).await.unwrap();
    settle().await;
    let told = statuses(&harness);
    assert_eq!(
        told,
        [
            (Status::RecoverableError, "the far end says unavailable".to_owned()),
            (Status::RecoverableError, "the far end says timeout".to_owned()),
            (Status::Ok, "delivers again after 40s; nothing was lost".to_owned()),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn losses_are_told_by_their_exact_number_at_most_once_a_minute() {
    let harness = Harness::default();
    let script = Script::new([Step::Fail(Retry::Never, "invalid")]);
    let delivery = start(&harness, &script, steady());
    for _ in 0..90 {
        delivery.consumer().consume(points(2)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    delivery.drain(in_seconds(1)).await;
    let told = notices(&harness);
    assert_eq!(
        told,
        [
            "items_lost: 2 metric points lost, reason invalid: the far end says invalid",
            "items_lost: 120 metric points lost, reason invalid: the far end says invalid",
            "items_lost_more: 58 more metric points lost or refused, reason invalid",
        ]
    );
    assert_eq!(delivery.counts().failed["invalid"], 180);
    assert_eq!(statuses(&harness).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_very_many_kinds_of_loss_some_are_told_by_name_and_all_are_counted() {
    let harness = Harness::default();
    let kind = |number: usize| Step::Fail(Retry::Never, format!("kind-{number}").leak());
    let script = Script::new((0..40).map(kind).chain([kind(0)]));
    let delivery = start(&harness, &script, steady());
    for _ in 0..41 {
        delivery.consumer().consume(points(2)).await.unwrap();
        settle().await;
    }
    delivery.drain(in_seconds(1)).await;
    let told = notices(&harness);
    let first = |name: &str| told.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!(first("items_lost: "), 33, "32 by name, and the first of all others: {told:#?}");
    assert!(
        told.contains(&"items_lost_more: 14 more metric points lost or refused, reason other".to_owned()),
        "{told:#?}"
    );
    assert!(
        told.contains(&"items_lost_more: 2 more metric points lost or refused, reason kind-0".to_owned()),
        "{told:#?}"
    );
    assert_eq!((delivery.counts().lost(), delivery.counts().failed["other"]), (82, 16));
}

#[tokio::test(start_paused = true)]
async fn a_very_long_message_of_an_exporter_is_cut() {
    let harness = Harness::default();
    let script = Script::new([Step::Fail(Retry::Never, "x".repeat(5_000).leak())]);
    let delivery = start(&harness, &script, steady());
    delivery.consumer().consume(points(1)).await.unwrap();
    settle().await;
    let told = statuses(&harness);
    assert!(told[0].1.chars().count() <= 601 && told[0].1.ends_with('…'), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_recovery_says_what_was_lost_meanwhile() {
    let harness = Harness::default();
    let script = Script::new([Step::Fail(Retry::Never, "invalid"), Step::Take]);
    let delivery = start(&harness, &script, steady());
    delivery.consumer().consume(points(3)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    delivery.consumer().consume(points(3)).await.unwrap();
    settle().await;
    assert_eq!(statuses(&harness)[1].1, "delivers again after 30s; 3 items were lost meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_warning_of_the_far_end_is_told_when_it_is_new_and_escaped() {
    let harness = Harness::default();
    let script = Script::new([Step::Warn("old\u{1b}[2J api"), Step::Warn("old\u{1b}[2J api"), Step::Warn("other")]);
    let delivery = start(&harness, &script, steady());
    for _ in 0..3 {
        delivery.consumer().consume(points(1)).await.unwrap();
        settle().await;
    }
    let told = notices(&harness);
    assert!(told.len() == 2 && told[0].contains(r"old\u{1b}[2J api") && told[1].contains("other"), "{told:?}");
    assert_eq!(delivery.counts().sent, 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_once_until_a_minute_has_passed() {
    let harness = Harness::default();
    let script = Script::new([Step::Hang]);
    let delivery = start(&harness, &script, config(json!({"timeout": "0", "sending_queue": {"queue_size": 1}})));
    for _ in 0..10 {
        let _ = delivery.consumer().consume(points(2)).await;
        settle().await;
    }
    let told = notices(&harness);
    assert!(
        told.len() == 1 && told[0].starts_with("items_refused: 2 metric points refused, reason queue_full"),
        "{told:?}"
    );
    assert_eq!(delivery.counts().refused["queue_full"], 18);
}

#[tokio::test(start_paused = true)]
async fn while_it_drains_no_status_is_reported_but_losses_are_told() {
    let harness = Harness::default();
    let script = Script::new([LATER, Step::Take]);
    let delivery = start(&harness, &script, config(json!({"sending_queue": {"num_consumers": 1}})));
    delivery.consumer().consume(points(2)).await.unwrap();
    delivery.consumer().consume(points(3)).await.unwrap();
    let report = delivery.drain(in_seconds(1)).await;
    assert_eq!((report.sent, report.lost), (3, 2));
    assert_eq!(statuses(&harness), []);
    let told = notices(&harness);
    assert!(told.len() == 1 && told[0].starts_with("items_lost: 2 metric points lost, reason shutdown"), "{told:?}");
}
