//! What an operator asks for: poll now, pause, resume, close a breaker.

use std::sync::Arc;

use minicol_mcp::BreakerState;
use minicol_plugin::{CancellationToken, ComponentKind, HostView, StopReason, testing::Harness};
use serde_json::{Value, json};

use super::{Stage, down};

fn every(seconds: u64) -> Value {
    json!({"interval_seconds": seconds})
}

impl Stage {
    /// What can be asked for, each `name` or `name subject`.
    fn offered(&self) -> Vec<String> {
        let offers = self.harness.actions().into_iter();
        offers.map(|offer| [Some(offer.action.name.into_owned()), offer.action.subject]).map(words).collect()
    }

    async fn asks(&self, name: &str, subject: Option<&str>) -> Result<String, String> {
        let id = "session_buddy".parse().unwrap();
        let performing = self.harness.perform(ComponentKind::Receiver, &id, name, subject);
        performing.await.map_err(|error| error.to_string())
    }
}

fn words(of: [Option<String>; 2]) -> String {
    of.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Another instance of the receiver takes the place.
fn next(old: &Stage, config: Value) -> Stage {
    let mut harness: Harness = old.harness.clone();
    (harness.stopping, harness.abandoned) = (CancellationToken::new(), CancellationToken::new());
    harness.stop = Arc::default();
    let mut new = Stage::with(config, &harness);
    new.origin = old.origin;
    old.harness.stop.set(StopReason::Replaced).unwrap();
    old.harness.stopping.cancel();
    new
}

#[tokio::test(start_paused = true)]
async fn a_paused_target_is_not_asked_and_its_reports_know_nothing() {
    let stage = Stage::new(every(30));
    stage.run_for(40).await;
    assert_eq!(stage.offered(), ["poll_now", "pause"]);
    stage.asks("pause", None).await.unwrap();
    assert_eq!(*stage.target.closed.lock().unwrap(), 1, "the session is let go");
    stage.pass(100).await;
    assert_eq!(stage.begun(), [0, 30], "nobody is asked");
    let rested: Vec<Value> =
        stage.observations()[2..].iter().map(|list| (*list.iter().last().unwrap().document).clone()).collect();
    assert_eq!(rested.len(), 3, "at 60, 90 and 120");
    assert!(
        rested.iter().all(|report| report["up"].is_null() && report["paused"] == true && report["tools"] == json!({}))
    );
    let status = stage.poller.get_status();
    assert_eq!((status.paused, status.running, status.poll_cycles, status.missed_ticks), (true, false, 2, 0));
    assert_eq!(status.up, Some(true), "what was last known of the target stands");
    assert_eq!(stage.offered(), ["resume"]);
    assert!(
        stage.said().last().unwrap().starts_with("Paused: http://localhost:8678/mcp is not asked"),
        "{:?}",
        stage.said()
    );

    let told = stage.asks("resume", None).await.unwrap();
    assert_eq!(told, "http://localhost:8678/mcp is up: 1 of 1 tools answered");
    stage.pass(30).await;
    assert_eq!(stage.begun(), [0, 30, 140, 150], "at once, and then on its grid");
    assert!(stage.said().last().unwrap().starts_with("OK: "), "{:?}", stage.said());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_was_down_is_down_again_after_the_pause_until_it_answers() {
    let stage = Stage::new(every(30));
    for _ in 0..2 {
        stage.target.then(0, down());
    }
    stage.run_for(10).await;
    stage.asks("pause", None).await.unwrap();
    assert!(stage.said().last().unwrap().starts_with("Paused: "), "{:?}", stage.said());
    let told = stage.asks("resume", None).await.unwrap();
    assert!(told.contains("is down: ") && told.contains("connection refused"), "{told}");
    assert!(stage.said().last().unwrap().starts_with("RecoverableError: "), "{:?}", stage.said());
}

#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_the_poll_in_flight() {
    let stage = Stage::new(every(30));
    stage.target.then(10, super::answers(&[("get_liveness", json!({}))]));
    stage.run_for(1).await;
    stage.asks("pause", None).await.unwrap();
    assert_eq!(stage.origin.elapsed().as_secs(), 10);
    stage.pass(0).await;
    assert_eq!(stage.reports().len(), 1, "what it brought is handed over");
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlives_an_instance_but_not_another_target() {
    let old = Stage::new(every(30));
    old.run_for(10).await;
    old.asks("pause", None).await.unwrap();
    let same = next(&old, every(20));
    same.run_for(100).await;
    assert!(same.begun().is_empty() && same.poller.get_status().paused);
    assert!(same.said().last().unwrap().starts_with("Paused: "), "{:?}", same.said());

    let other = next(&same, json!({"interval_seconds": 20, "endpoint": "http://localhost:9/mcp"}));
    other.run_for(30).await;
    assert!(!other.begun().is_empty() && !other.poller.get_status().paused);
    let back = next(&other, every(20));
    back.run_for(30).await;
    assert!(!back.begun().is_empty(), "and not when the first one comes back");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_asked_for_comes_beside_those_of_the_interval() {
    let stage = Stage::new(every(30));
    stage.run_for(10).await;
    assert!(stage.asks("poll_now", None).await.unwrap().contains("is up"));
    stage.pass(30).await;
    assert_eq!(stage.begun(), [0, 10, 30]);
    let begun = stage.target.begun.lock().unwrap();
    let insists: Vec<_> = begun.iter().map(|(_, plan)| plan.insists).collect();
    assert_eq!(insists, [false, true, false], "whoever asks now does not wait for what the server asked for");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_asked_for_while_nothing_is_taken_holds_up_no_other() {
    let stage = Stage::new(every(30));
    stage.run_for(10).await;
    stage.sink.hold(true);
    let told = stage.asks("poll_now", None).await.unwrap_err();
    assert!(told.contains("is offered still"), "{told}");
    stage.pass(50).await;
    assert_eq!(stage.begun(), [0, 10, 30, 60], "the grid goes on");
    stage.asks("pause", None).await.unwrap();
    stage.sink.hold(false);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_can_be_closed_and_that_is_not_told_as_an_answer() {
    let stage = Stage::new(every(30));
    stage.run_for(10).await;
    stage.target.breaker("get_liveness", Some(BreakerState::Open));
    stage.pass(30).await;
    assert_eq!(stage.offered(), ["poll_now", "pause", "close_breaker get_liveness"]);
    stage.asks("close_breaker", Some("get_liveness")).await.unwrap();
    stage.pass(30).await;
    assert_eq!(stage.offered(), ["poll_now", "pause"]);
    assert!(!stage.said().iter().any(|said| said.starts_with("breaker_closed")), "{:?}", stage.said());
    assert!(stage.asks("close_breaker", Some("get_liveness")).await.is_err());
    assert!(stage.asks("pause", Some("get_liveness")).await.is_err(), "there is no such action");
}

#[tokio::test(start_paused = true)]
async fn several_open_breakers_can_be_closed_at_once() {
    let stage = Stage::new(every(30));
    for (tool, state) in [("a", BreakerState::Open), ("b", BreakerState::Closed), ("c", BreakerState::Probing)] {
        stage.target.breaker(tool, Some(state));
    }
    assert_eq!(stage.offered(), ["poll_now", "pause", "close_breakers", "close_breaker a", "close_breaker c"]);
    let told = stage.asks("close_breakers", None).await.unwrap();
    assert_eq!(told, "2 tools are asked of http://localhost:8678/mcp in every cycle");
    assert_eq!(stage.offered(), ["poll_now", "pause"]);
    assert!(stage.asks("close_breakers", None).await.is_err());
}
