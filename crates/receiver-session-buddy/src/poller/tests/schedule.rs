use std::collections::BTreeMap;

use minicol_pdata::{Outcome, Signal, Timestamp};
use minicol_plugin::{Books, ComponentSnapshot, Consumer, Phase, Rejected, ReloadStatus, Snapshot};

use super::*;
use crate::{PollerError, Stopped};

#[tokio::test(start_paused = true)]
async fn the_first_poll_is_at_once_and_how_long_a_cycle_takes_moves_none() {
    let stage = Stage::new(json!({}));
    stage.target.then(7, answers(&[]));
    stage.target.then(29, answers(&[]));
    stage.run_for(125).await;
    assert_eq!(stage.begun(), [0, 30, 60, 90, 120]);
    let plans = stage.target.begun.lock().unwrap();
    let grid: Vec<_> = plans.iter().map(|(_, plan)| (plan.tick - stage.origin, plan.deadline - stage.origin)).collect();
    assert_eq!(grid[1], (Duration::from_secs(30), Duration::from_secs(60)));
}

#[tokio::test(start_paused = true)]
async fn a_cycle_that_overruns_is_cut_at_the_next_tick_which_is_on_time() {
    let stage = Stage::new(json!({}));
    stage.target.then(3600, answers(&[]));
    stage.run_for(31).await;
    assert_eq!(stage.begun(), [0, 30]);
    let reports = stage.reports();
    assert_eq!(reports[0].tools["get_liveness"].error_type.as_deref(), Some("timeout"));
    assert_eq!((reports[0].duration_seconds.round(), reports[0].missed_ticks), (30.0, 0));
    assert_eq!(reports[1].tools["get_liveness"].outcome, Outcome::Answered);
}

#[tokio::test(start_paused = true)]
async fn ticks_that_pass_while_the_machine_sleeps_are_counted_and_not_caught_up() {
    let stage = Stage::new(json!({}));
    stage.run_for(10).await;
    tokio::time::advance(Duration::from_secs(115)).await; // at 125: the ticks at 30, 60 and 90 are gone, that at 120 is due
    stage.pass(30).await;
    assert_eq!(stage.begun(), [0, 125, 150]);
    assert_eq!(stage.reports().iter().map(|report| report.missed_ticks).collect::<Vec<_>>(), [0, 3, 0]);
    assert_eq!(stage.poller.get_status().missed_ticks, 3);
    assert_eq!(stage.harness.notices(), ["ticks_missed"]);
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_the_cycle_in_flight_and_ends_the_session() {
    let stage = Stage::new(json!({}));
    stage.target.then(5, answers(&[("get_liveness", json!({"uptime_seconds": 1}))]));
    stage.run_for(1).await;
    assert!(stage.poller.get_status().running);
    assert!(matches!(stage.poller.start(), Err(PollerError::Running)));
    assert_eq!(stage.poller.stop(Duration::from_secs(10)).await, Stopped::Finished);
    assert_eq!(stage.origin.elapsed().as_secs(), 5);
    assert_eq!((stage.observations().len(), *stage.target.closed.lock().unwrap()), (1, 1));
    assert!(!stage.poller.get_status().running);
    assert_eq!(stage.poller.stop(Duration::from_secs(10)).await, Stopped::NotRunning);
    stage.run_for(1).await;
    assert_eq!(stage.begun(), [0, 5], "it can be started again");
}

#[tokio::test(start_paused = true)]
async fn stop_cancels_the_cycle_in_flight_at_its_deadline() {
    let stage = Stage::new(json!({}));
    stage.target.then(25, answers(&[]));
    stage.run_for(1).await;
    assert_eq!(stage.poller.stop(Duration::from_secs(3)).await, Stopped::Cancelled);
    assert_eq!(stage.origin.elapsed().as_secs(), 4);
    assert_eq!(stage.observations().len(), 0, "half a cycle tells nothing");
    assert_eq!(stage.poller.get_status().errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_single_poll_is_one_cycle_and_hands_over_before_it_returns() {
    let stage = Stage::new(json!({}));
    let report = stage.poller.poll_once().await.unwrap();
    assert_eq!((report.up, stage.begun().len(), stage.reports()), (Some(1), 1, vec![report]));
    stage.pass(100).await;
    assert_eq!(stage.begun().len(), 1);
    stage.sink.refuse(Some(Rejected::permanent("invalid", "no")));
    let refused = stage.poller.poll_once().await.unwrap_err();
    assert_eq!(refused.to_string(), "the observations of the poll were refused: no");
}

#[tokio::test(start_paused = true)]
async fn a_single_poll_beside_a_running_poller_never_overlaps_a_cycle() {
    let stage = Stage::new(json!({}));
    stage.run_for(20).await;
    stage.target.then(15, answers(&[]));
    stage.poller.poll_once().await.unwrap(); // from 20 to 35: the cycle at 30 waits for it
    stage.pass(26).await;
    assert_eq!(stage.begun(), [0, 20, 35, 60]);
}

/// A next component that takes this many seconds for each batch, and what it was not even offered.
struct Slow(u64, Sink, PassedOver);

/// By reason.
type PassedOver = Arc<Mutex<BTreeMap<&'static str, u64>>>;

#[async_trait]
impl Consumer for Slow {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        tokio::time::sleep(Duration::from_secs(self.0)).await;
        self.1.consume(batch).await
    }

    fn passed_over(&self, signal: Signal, items: u64, reason: &'static str) {
        assert_eq!(signal, Signal::Observations);
        *self.2.lock().unwrap().entry(reason).or_default() += items;
    }
}

fn slow(seconds: u64) -> (Stage, PassedOver) {
    let (harness, sink, passed_over) = (Harness::default(), Sink::new(), PassedOver::default());
    let next = Next::new(Slow(seconds, sink.clone(), Arc::clone(&passed_over)));
    (Stage::handing_to(json!({}), &harness, next, sink), passed_over)
}

#[tokio::test(start_paused = true)]
async fn a_slow_next_component_delays_no_cycle_and_what_it_does_not_take_is_counted() {
    let (stage, passed_over) = slow(70); // takes those of 0 and 60; those of 30 and 90 find it busy
    stage.run_for(145).await;
    let items = stage.observations()[0].len() as u64;
    assert_eq!(*passed_over.lock().unwrap(), BTreeMap::from([("busy", 2 * items)]), "the books hear of them, too");
    assert_eq!(stage.begun(), [0, 30, 60, 90, 120]);
    assert_eq!((stage.observations().len(), stage.poller.get_status().refused_batches), (2, 2));
    assert_eq!(stage.harness.notices(), ["batch_refused", "batch_accepted", "batch_refused", "batch_accepted"]);
}

#[tokio::test(start_paused = true)]
async fn a_next_component_that_is_late_once_loses_nothing() {
    let (stage, _) = slow(29);
    stage.target.then(3600, answers(&[])); // cut at 30, handed over until 59
    stage.run_for(95).await;
    assert_eq!((stage.observations().len(), stage.poller.get_status().refused_batches), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_what_is_being_handed_over() {
    let (stage, _) = slow(40);
    stage.run_for(1).await;
    assert_eq!(stage.poller.stop(Duration::from_secs(60)).await, Stopped::Finished);
    assert_eq!((stage.origin.elapsed().as_secs(), stage.observations().len()), (40, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_counted_said_once_and_the_next_cycle_is_on_time() {
    let stage = Stage::new(json!({}));
    stage.sink.refuse(Some(Rejected::retryable("queue_full", "the queue is full")));
    stage.run_for(65).await;
    stage.sink.refuse(None);
    stage.pass(60).await;
    assert_eq!(stage.begun(), [0, 30, 60, 90, 120]);
    assert_eq!((stage.observations().len(), stage.poller.get_status().refused_batches), (2, 3));
    let said: Vec<_> = stage.said().into_iter().filter(|said| said.starts_with("batch")).collect();
    assert_eq!(
        said,
        [
            "batch_refused: the next component refused the observations of 1 cycle: the queue is full; they are lost, polling goes on",
            "batch_accepted: the next component takes observations again; those of 3 cycles were lost",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn many_pollers_spread_their_first_polls_over_the_interval() {
    let harness = Harness::default();
    let snapshot = |count: usize| {
        let component = |n: usize| ComponentSnapshot {
            kind: ComponentKind::Receiver,
            // The one that is tested stands in the middle.
            id: if n == count / 2 { "session_buddy".into() } else { format!("session_buddy/{n}") }.parse().unwrap(),
            pipelines: Vec::new(),
            status: Status::Ok,
            since: Timestamp::UNSET,
            message: String::new(),
            details: None,
        };
        let (up_since, now) = (Timestamp::UNSET, Timestamp::UNSET);
        Snapshot {
            phase: Phase::Starting,
            up_since,
            now,
            reload: ReloadStatus::default(),
            components: (0..count).map(component).collect(),
            books: Books::default(),
        }
    };
    for (count, first) in [(16, 0), (30, 15)] {
        harness.set_snapshot(snapshot(count));
        let stage = Stage::with(json!({}), &harness);
        stage.run_for(40).await;
        assert_eq!(stage.begun()[0], first, "{count} pollers");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_poller_polls_no_more() {
    let stage = Stage::new(json!({}));
    stage.run_for(1).await;
    let (target, origin) = (Arc::clone(&stage.target), stage.origin);
    drop(stage);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(target.begun(origin), [0]);
}

#[test]
fn it_does_not_start_outside_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let stage = runtime.block_on(async { Stage::new(json!({})) });
    assert!(matches!(stage.poller.start(), Err(PollerError::NoRuntime)));
}

#[tokio::test(start_paused = true)]
async fn a_next_component_that_takes_now_and_then_is_told_once_a_minute() {
    let stage = Stage::new(json!({"interval_seconds": 10}));
    stage.run_for(1).await;
    for _ in 0..6 {
        stage.sink.refuse(Some(Rejected::retryable("queue_full", "the queue is full")));
        stage.pass(10).await;
        stage.sink.refuse(None);
        stage.pass(10).await;
    }
    let said: Vec<_> = stage.said().into_iter().filter(|said| said.starts_with("batch")).collect();
    assert_eq!(
        said,
        [
            "batch_refused: the next component refused the observations of 1 cycle: the queue is full; they are lost, polling goes on",
            "batch_accepted: the next component takes observations again; those of 1 cycle were lost",
            "batch_refused: the next component refused the observations of 3 cycles: the queue is full; they are lost, polling goes on",
            "batch_accepted: the next component takes observations again; those of 3 cycles were lost",
        ]
    );
    assert_eq!(stage.poller.get_status().refused_batches, 6);
}
