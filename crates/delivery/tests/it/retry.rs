//! Retries: when the next attempt comes, when there is none, and what ends an attempt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use minicol_delivery::Delivery;
use minicol_pdata::Signal;
use minicol_plugin::{
    CancellationToken, ComponentKind, Consumer, Environment, Event, EventSink, Exporter, Random, Retry, Scope,
    ScopeParts, Status, testing::Harness,
};
use serde_json::json;

use crate::script::{Script, Step, config, points, settle, start, steady};

const LATER: Step = Step::Fail(Retry::Backoff, "unavailable");

#[tokio::test(start_paused = true)]
async fn waits_grow_and_the_batch_arrives_in_the_end() {
    let script = Script::new([LATER, LATER, LATER, Step::Take]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(4)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let attempts = script.attempts();
    for (at, expected) in attempts.iter().zip([0.0, 5.0, 12.5, 23.75]) {
        assert!((at - expected).abs() < 0.01, "{attempts:?}");
    }
    assert_eq!((script.taken(), delivery.counts().sent, attempts.len()), (4, 4, 4));
}

#[tokio::test(start_paused = true)]
async fn waits_are_spread_within_the_factor() {
    let mut firsts = Vec::new();
    for seed in 0..100 {
        let script = Script::new([LATER, Step::Take]);
        let delivery = start(&Harness::new(seed), &script, config(json!({})));
        delivery.consumer().consume(points(1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        firsts.push(script.attempts()[1]);
    }
    let (least, most) = firsts.iter().fold((f64::MAX, 0.0_f64), |(a, b), one| (a.min(*one), b.max(*one)));
    assert!(least >= 2.5 && most <= 7.51 && most - least > 3.0, "{least} {most}");
}

#[tokio::test(start_paused = true)]
async fn the_longer_of_the_backoff_and_what_the_far_end_asked_for_is_waited() {
    let asked = |seconds| Step::Fail(Retry::After(Duration::from_secs(seconds)), "unavailable");
    let script = Script::new([asked(20), asked(1), Step::Take]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let attempts = script.attempts();
    assert!((attempts[1] - 20.0).abs() < 0.01 && (attempts[2] - 27.5).abs() < 0.01, "{attempts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_given_up_when_the_next_attempt_would_come_too_late() {
    let script = Script::new([LATER]);
    let settings = config(json!({"retry_on_failure": {"randomization_factor": 0.0, "max_elapsed_time": "20s"}}));
    let delivery = start(&Harness::default(), &script, settings);
    delivery.consumer().consume(points(7)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(13)).await;
    settle().await;
    // 0, 5 and 12.5 s; the next would come at 23.75 s.
    assert_eq!(script.attempts().len(), 3);
    let counts = delivery.counts();
    assert_eq!((counts.failed["max_elapsed_time"], counts.queued), (7, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_asked_for_beyond_the_limit_gives_up_at_once() {
    let script = Script::new([Step::Fail(Retry::After(Duration::MAX), "unavailable")]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(1)).await.unwrap();
    settle().await;
    assert_eq!(delivery.counts().failed["max_elapsed_time"], 1);
}

#[tokio::test(start_paused = true)]
async fn zero_max_elapsed_time_is_for_ever() {
    let script = Script::new([LATER]);
    let settings = config(json!({"retry_on_failure": {"max_elapsed_time": "0"}}));
    let delivery = start(&Harness::default(), &script, settings);
    delivery.consumer().consume(points(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let attempts = script.attempts().len();
    assert!(attempts > 86_400 / 46 && delivery.counts().queued == 1, "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_tried_again_and_is_counted_by_its_kind() {
    let script = Script::new([Step::Fail(Retry::Never, "invalid_argument"), Step::Take]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(3)).await.unwrap();
    delivery.consumer().consume(points(2)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let counts = delivery.counts();
    assert_eq!((counts.failed["invalid_argument"], counts.sent, script.attempts().len()), (3, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn with_retries_off_a_failure_is_final() {
    let script = Script::new([LATER]);
    let delivery = start(&Harness::default(), &script, config(json!({"retry_on_failure": {"enabled": false}})));
    delivery.consumer().consume(points(3)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((delivery.counts().failed["unavailable"], script.attempts().len()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_own_timeout() {
    let script = Script::new([Step::Hang, Step::Hang, Step::Take]);
    let delivery = start(&Harness::default(), &script, steady());
    delivery.consumer().consume(points(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let attempts = script.attempts();
    // 5 s of waiting for an answer, then 5 s and 7.5 s until the next attempt.
    assert!((attempts[1] - 10.0).abs() < 0.01 && (attempts[2] - 22.5).abs() < 0.01, "{attempts:?}");
    assert_eq!(delivery.counts().sent, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_loses_its_batch_and_nothing_else() {
    let script = Script::new([Step::Panic, Step::Take]);
    let harness = Harness::default();
    let settings = config(json!({"sending_queue": {"num_consumers": 1}}));
    let delivery = start(&harness, &script, settings);
    delivery.consumer().consume(points(3)).await.unwrap();
    delivery.consumer().consume(points(2)).await.unwrap();
    settle().await;
    let counts = delivery.counts();
    assert_eq!((counts.failed["panic"], counts.sent), (3, 2));
    assert!(format!("{:?}", harness.events()).contains("boom"));
}

#[tokio::test(start_paused = true)]
async fn points_that_the_far_end_refuses_are_failed_and_the_rest_is_sent() {
    let script = Script::new([Step::TakeBut { rejected: 2, message: "too old" }]);
    let harness = Harness::default();
    let delivery = start(&harness, &script, steady());
    delivery.consumer().consume(points(5)).await.unwrap();
    settle().await;
    let counts = delivery.counts();
    assert_eq!((counts.sent, counts.failed["partial_success"]), (3, 2));
    assert!(format!("{:?}", harness.events()).contains("2 metric points lost, reason partial_success: too old"));
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_the_sender_waits_and_learns_how_it_ended() {
    let settings =
        || config(json!({"sending_queue": {"enabled": false}, "retry_on_failure": {"randomization_factor": 0.0}}));
    let script = Script::new([LATER, Step::Take, Step::Fail(Retry::Never, "not_found")]);
    let delivery = start(&Harness::default(), &script, settings());
    let began = tokio::time::Instant::now();
    delivery.consumer().consume(points(2)).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
    let failed = delivery.consumer().consume(points(3)).await.unwrap_err();
    assert_eq!((failed.reason, failed.retry), ("send_failed", Retry::Never));
    let counts = delivery.counts();
    assert_eq!(
        (counts.accepted, counts.sent, counts.refused["send_failed"]),
        (2, 2, 3),
        "what failed stays with its sender"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_a_sender_that_stops_waiting_leaves_the_books_balanced() {
    let script = Script::new([Step::Hang]);
    let delivery =
        start(&Harness::default(), &script, config(json!({"timeout": "0", "sending_queue": {"enabled": false}})));
    let consumer = delivery.consumer();
    let waited = tokio::time::timeout(Duration::from_secs(1), consumer.consume(points(3))).await;
    assert!(waited.is_err());
    let counts = delivery.counts();
    assert_eq!((counts.refused["cancelled"], counts.accepted, counts.queued), (3, 0, 0));
    assert!(counts.is_balanced());
}

#[tokio::test(start_paused = true)]
async fn a_signal_can_have_a_timeout_of_its_own() {
    for (written, expected) in [(json!({}), 2.0), (json!({"metrics": "7s", "logs": "1s"}), 7.0)] {
        let script = Script::new([Step::Hang]);
        let retry = json!({"randomization_factor": 0.0});
        let written = json!({"timeout": "2s", "timeouts": written, "retry_on_failure": retry});
        let delivery = start(&Harness::default(), &script, config(written));
        delivery.consumer().consume(points(1)).await.unwrap();
        while script.attempts().len() < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let second = script.attempts()[1];
        assert!((second - expected - 5.0).abs() < 0.01, "{second}: the timeout, and the wait of 5 s");
    }
}

/// Panics when it is asked, or hears of a loss, so often; then it does as the harness does.
struct Bomb {
    harness: Harness,
    asked: AtomicU32,
    losses: AtomicU32,
}

impl Bomb {
    fn goes_off(left: &AtomicU32) -> bool {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Around a far end, with one consumer and room for one batch.
    fn start(asked: u32, losses: u32, script: &Arc<Script>, batch: &serde_json::Value) -> (Delivery, Harness) {
        let harness = Harness::default();
        let bomb = Arc::new(Self { harness: harness.clone(), asked: asked.into(), losses: losses.into() });
        let scope = Scope::new(ScopeParts {
            kind: ComponentKind::Exporter,
            id: "otlp".parse().unwrap(),
            stopping: harness.stopping.clone(),
            abandoned: harness.abandoned.clone(),
            ready: CancellationToken::new(),
            live: harness.live.clone(),
            stop: std::sync::Arc::clone(&harness.stop),
            environment: Environment { random: Arc::clone(&bomb) as _, ..harness.environment() },
            state: harness.state.clone(),
            events: bomb,
            meter: harness.meter.clone(),
            tracer: harness.tracer.clone(),
            host: Arc::new(harness.clone()),
            details: Arc::new(|_| ()),
            actions: Arc::new(|_| ()),
        });
        let settings = config(json!({"sending_queue": {"num_consumers": 1, "queue_size": 1, "batch": batch}}));
        let exporter = Arc::clone(script) as Arc<dyn Exporter>;
        (Delivery::start(exporter, settings, &[Signal::Metrics], scope), harness)
    }
}

impl Random for Bomb {
    fn next_u64(&self) -> u64 {
        assert!(!Self::goes_off(&self.asked), "no more numbers");
        0
    }
}

impl EventSink for Bomb {
    fn emit(&self, event: Event) {
        let loss = matches!(&event, Event::Notice(notice) if notice.name == "items_lost");
        assert!(!(loss && Self::goes_off(&self.losses)), "nobody may hear this");
        self.harness.emit(event);
    }
}

/// A panic in what stands around the exporter: before its batch is booked, and while its loss is told, once or also of the panic itself.
#[tokio::test(start_paused = true)]
async fn a_queues_consumer_outlives_every_panic_and_each_item_is_booked() {
    let never = Step::Fail(Retry::Never, "invalid");
    let bombs = [(1, 0, LATER, "panic"), (1, 1, LATER, "panic"), (0, 1, never, "invalid")];
    let all = bombs.into_iter().flat_map(|bomb| [(bomb.clone(), json!(null)), (bomb, json!({"min_size": 1}))]);
    for ((asked, losses, first, reason), batch) in all {
        let script = Script::new([first, Step::Take]);
        let (delivery, harness) = Bomb::start(asked, losses, &script, &batch);
        delivery.consumer().consume(points(3)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let counts = delivery.counts();
        assert_eq!((counts.failed.get(reason), counts.queued), (Some(&3), 0), "{counts:?}");
        assert!(counts.is_balanced(), "{counts:?}");
        let broken = |event: &Event| matches!(event, Event::Status(change) if change.status == Status::PermanentError && change.message.contains("bug in minicol"));
        assert!(harness.events().iter().any(broken), "{:?}", harness.events());
        // There is room again, and somebody who delivers.
        delivery.consumer().consume(points(2)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!((delivery.counts().sent, delivery.counts().queued), (2, 0));
    }
}
