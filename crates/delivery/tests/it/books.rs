//! `accepted = sent + failed + dropped + queued`, whatever happens.

use std::time::Duration;

use minicol_plugin::{Consumer, Retry, testing::Harness};
use proptest::prelude::*;
use serde_json::json;

use crate::script::{Script, Step, config, in_seconds, points, start};

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Take),
        1 => (0_u64..9).prop_map(|rejected| Step::TakeBut { rejected, message: "some" }),
        2 => Just(Step::Fail(Retry::Backoff, "unavailable")),
        1 => (0_u64..40).prop_map(|s| Step::Fail(Retry::After(Duration::from_secs(s)), "busy")),
        1 => Just(Step::Fail(Retry::Never, "invalid")),
        2 => (0_u64..8_000).prop_map(|ms| Step::Slow(Duration::from_millis(ms))),
        1 => Just(Step::Hang),
        3 => (0_usize..5, 0_u64..3).prop_map(|(items, rejected)| Step::TakePart { items, rejected }),
        1 => Just(Step::TakeNothing),
    ]
}

fn settings() -> impl Strategy<Value = serde_json::Value> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 1_usize..6, 1_usize..4, 0_usize..3, batch()).prop_map(
        |(enabled, block, retry, queue_size, consumers, sizer, batch)| {
            let (sizer, scale) = [("requests", 1), ("items", 4), ("bytes", 100)][sizer];
            let mut written = json!({
                "timeout": "3s",
                "retry_on_failure": {"enabled": retry, "initial_interval": "1s", "max_interval": "4s", "max_elapsed_time": "20s"},
                "sending_queue": {
                    "enabled": enabled, "block_on_overflow": block, "queue_size": queue_size * scale,
                    "num_consumers": consumers, "sizer": sizer,
                },
            });
            if let Some(batch) = batch {
                written["sending_queue"]["batch"] = batch;
            }
            written
        },
    )
}

/// Whether, and how, batches are gathered at the queue's exit.
pub(crate) fn batch() -> impl Strategy<Value = Option<serde_json::Value>> {
    let batch = (1_u64..4_000, 0_usize..20, 0_usize..8, any::<bool>()).prop_map(|(timeout, min_size, more, unlimited)| {
        let max_size = if unlimited { 0 } else { min_size + more };
        json!({"flush_timeout": format!("{timeout}ms"), "min_size": min_size, "max_size": max_size, "sizer": "items"})
    });
    prop::option::of(batch)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_item_is_accounted_for(
        steps in prop::collection::vec(step(), 1..20),
        batches in prop::collection::vec((1_usize..8, 0_u64..4_000), 1..25),
        written in settings(),
        grace in 0_u64..15,
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let script = Script::new(steps);
            let delivery = start(&Harness::new(seed), &script, config(written));
            let offered: usize = batches.iter().map(|(items, _)| items).sum();
            let mut senders = Vec::new();
            for (items, pause) in batches {
                let consumer = delivery.consumer();
                senders.push(tokio::spawn(async move { consumer.consume(points(items)).await }));
                tokio::time::sleep(Duration::from_millis(pause)).await;
                prop_assert!(delivery.counts().is_balanced(), "{:?}", delivery.counts());
            }
            let report = delivery.drain(in_seconds(grace)).await;
            for sender in senders {
                let _ = sender.await.unwrap();
            }
            let counts = delivery.counts();
            prop_assert!(counts.is_balanced() && counts.queued == 0, "{counts:?}");
            let refused: u64 = counts.refused.values().sum();
            prop_assert_eq!(counts.accepted + refused, offered as u64, "{:?}", counts);
            prop_assert_eq!(&report.counts.sent, &counts.sent);
            // What the far end has, delivery knows of; a batch that was cut on its way may have arrived all the same.
            prop_assert!(counts.sent <= script.taken(), "{:?} but {} arrived", counts, script.taken());
            Ok(())
        })?;
    }
}

/// With threads for real: no batch is forgotten in the queue, and none is counted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_senders_and_consumers_lose_nothing() {
    let script = Script::new([Step::Take]);
    let written =
        json!({"timeout": "0", "sending_queue": {"queue_size": 5, "num_consumers": 4, "block_on_overflow": true}});
    let delivery = start(&Harness::default(), &script, config(written));
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let consumer = delivery.consumer();
            tokio::spawn(async move {
                for items in 0..500 {
                    consumer.consume(points(items % 3 + 1)).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let report = delivery.drain(in_seconds(60)).await;
    let offered: u64 = 8 * (0..500).map(|items| items % 3 + 1).sum::<u64>();
    assert_eq!((report.counts.accepted, report.counts.sent, script.taken()), (offered, offered, offered));
}
