//! One instance of a receiver takes another's place: the session stays, no cycle is skipped, none overlaps.

use std::{sync::Arc, time::Duration};

use minicol_plugin::{CancellationToken, StopReason, testing::Harness};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Stage, answers, down};

/// Another instance of the receiver, with a life of its own and the same state.
fn next(of: &Harness) -> Harness {
    let mut next = of.clone();
    (next.stopping, next.abandoned) = (CancellationToken::new(), CancellationToken::new());
    next.stop = Arc::default();
    next
}

fn every(seconds: u64) -> Value {
    json!({"interval_seconds": seconds})
}

/// Runs one until `until`, then has another take its place; when each of the second's cycles began, since the first's start.
async fn succession(first: u64, until: u64, second: u64) -> (Stage, Vec<u64>) {
    let old = Stage::new(every(first));
    old.run_for(until).await;
    let mut new = Stage::with(every(second), &next(&old.harness));
    new.origin = old.origin;
    old.harness.stop.set(StopReason::Replaced).unwrap();
    old.harness.stopping.cancel();
    new.run_for(100).await;
    let begun = new.begun();
    (old, begun)
}

#[tokio::test(start_paused = true)]
async fn the_next_instance_goes_on_from_the_last_cycle_with_the_session() {
    for (first, until, second, expected) in
        [(30, 40, 30, [60, 90]), (30, 40, 20, [50, 70]), (30, 55, 20, [55, 75]), (30, 40, 60, [90, 150])]
    {
        let (old, begun) = succession(first, until, second).await;
        let due: Vec<u64> = expected.into_iter().filter(|at| *at <= until + 100).collect();
        assert_eq!(begun[..due.len()], due, "every {first} s until {until}, then every {second} s");
        assert_eq!(*old.target.closed.lock().unwrap(), 0, "the session goes on");
        let missed: u64 = old.reports().iter().map(|report| report.missed_ticks).sum();
        assert_eq!(missed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_instance_waits_for_a_cycle_in_flight() {
    let old = Stage::new(every(30));
    old.target.then(10, answers(&[("get_liveness", json!({}))]));
    old.run_for(2).await;
    let mut new = Stage::with(every(5), &next(&old.harness));
    new.origin = old.origin;
    old.harness.stop.set(StopReason::Replaced).unwrap();
    old.harness.stopping.cancel();
    new.run_for(14).await;
    assert_eq!(new.begun()[..2], [10, 15]);
    assert_eq!((old.sink.batches().len(), old.poller.get_status().poll_cycles), (1, 3), "both count in one place");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_removed_ends_the_session_and_leaves_nothing() {
    for reason in [StopReason::Removed, StopReason::Shutdown] {
        let old = Stage::new(every(30));
        old.run_for(40).await;
        old.harness.stop.set(reason).unwrap();
        old.harness.stopping.cancel();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(*old.target.closed.lock().unwrap(), 1);
        let new = Stage::with(every(30), &next(&old.harness));
        new.run_for(1).await;
        assert_eq!(new.begun(), [0], "it begins at once");
    }
}

/// What is said of the status by a second instance, which takes the place of one whose last cycle brings `down()` after `takes` seconds.
async fn said_by_the_next(takes: u64, config: Value) -> (bool, Vec<String>) {
    let old = Stage::new(every(30));
    old.target.then(takes, down());
    old.run_for(2).await;
    let mut harness = Harness::default();
    (harness.state, harness.clock) = (old.harness.state.clone(), Arc::clone(&old.harness.clock));
    let new = Stage::with(config, &harness);
    old.harness.stop.set(StopReason::Replaced).unwrap();
    old.harness.stopping.cancel();
    new.target.then(0, down());
    new.run_for(25).await;
    (new.harness.carried_on(), new.said())
}

#[tokio::test(start_paused = true)]
async fn the_next_instance_knows_how_the_target_was_also_by_a_cycle_that_ended_when_the_one_before_was_not_heard_any_more()
 {
    let stands = format!("RecoverableError: {}", down().setup.unwrap());
    for takes in [0, 10] {
        let said = said_by_the_next(takes, json!({"interval_seconds": 30, "max_retries": 2})).await;
        assert_eq!(said, (true, vec![stands.clone()]), "after {takes} s, and no cycle of its own");
        let said = said_by_the_next(takes, every(15)).await;
        assert_eq!(said, (true, vec![stands.clone()]), "its own cycle tells nothing new");
    }
    let other = json!({"interval_seconds": 30, "endpoint": "http://localhost:9999/mcp"});
    assert_eq!(said_by_the_next(0, other).await, (false, Vec::new()), "of another server nothing is known");
}

#[tokio::test(start_paused = true)]
async fn how_a_target_was_is_forgotten_while_another_is_polled_or_none() {
    let old = Stage::new(every(30));
    old.target.then(0, down());
    old.run_for(2).await;
    old.harness.stop.set(StopReason::Removed).unwrap();
    old.harness.stopping.cancel();
    old.pass(1).await;
    let again = Stage::with(every(30), &next(&old.harness));
    assert_eq!(again.poller.get_status().up, None);
    again.target.then(5, answers(&[("get_liveness", json!({}))]));
    again.run_for(1).await;
    assert_eq!(again.said().len(), 1, "{:?}", again.said());
}
