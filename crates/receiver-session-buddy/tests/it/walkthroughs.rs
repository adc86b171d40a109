use std::time::Duration;

use minicol_mcp::testing::{FaultServer, Reply};
use minicol_pdata::{
    Batch,
    Outcome::{self, Answered, BreakerOpen, Failed},
    PollReport,
};
use minicol_plugin::{
    ComponentKind, Event, Factory,
    testing::{Harness, Sink},
};
use minicol_receiver_session_buddy::{SessionBuddyConfig, SessionBuddyFactory, SessionBuddyPoller};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::buddy::{ADDRESS, answers_again, asked, recorded};

/// A poller of two tools, and what it is seen by.
pub(crate) struct Scene {
    pub(crate) harness: Harness,
    pub(crate) poller: SessionBuddyPoller,
    sink: Sink,
}

impl Scene {
    pub(crate) fn new(config: &Value) -> Self {
        Self::with(Harness::default(), config)
    }

    pub(crate) fn with(harness: Harness, config: &Value) -> Self {
        let mut all = json!({"metrics_to_collect": ["liveness", "metrics_summary"]});
        all.as_object_mut().unwrap().extend(config.as_object().cloned().unwrap());
        let config: SessionBuddyConfig = serde_json::from_value(all).unwrap();
        let (scope, sink) = (harness.scope(ComponentKind::Receiver, "session_buddy"), Sink::new());
        let poller = SessionBuddyPoller::new(&config, sink.next(), scope).unwrap();
        Self { harness, poller, sink }
    }

    fn reports(&self) -> Vec<PollReport> {
        let report = |batch: Batch| match batch {
            Batch::Observations(list) => list.iter().last().unwrap().report().unwrap(),
            other => panic!("{other:?}"),
        };
        self.sink.take().into_iter().map(report).collect()
    }

    /// What became of a tool, cycle by cycle.
    fn outcomes(&self, tool: &str) -> Vec<Outcome> {
        self.reports().iter().map(|report| report.tools[tool].outcome).collect()
    }

    fn statuses(&self) -> Vec<String> {
        let told =
            |event: Event| if let Event::Status(change) = event { Some(change.status.to_string()) } else { None };
        self.harness.events().into_iter().filter_map(told).collect()
    }
}

pub(crate) async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_a_state_that_ends_when_it_comes_up() {
    let scene = Scene::new(&json!({}));
    scene.poller.start().unwrap();
    seconds(31).await;
    let report = scene.reports().remove(0);
    let setup = report.setup_error.unwrap();
    assert_eq!((report.up, setup.error_type.as_deref()), (Some(0), Some("unavailable")));
    assert!(setup.message.unwrap().contains("connection refused"));
    assert!(report.tools.values().all(|tool| tool.outcome == Outcome::Failed));
    let status = scene.poller.get_status();
    assert_eq!(
        (status.errors, status.last_error.unwrap().tool),
        (1, None),
        "one failure, whatever the number of tools"
    );
    let _buddy = recorded(&scene.harness).await;
    seconds(60).await;
    assert_eq!(scene.outcomes("get_liveness").last(), Some(&Outcome::Answered));
    assert_eq!(scene.statuses(), ["RecoverableError", "OK"]);
    assert_eq!(scene.poller.get_status().up, Some(true));
}

#[tokio::test(start_paused = true)]
async fn the_breaker_of_a_failing_tool_opens_probes_and_closes_and_no_other_tool_notices() {
    let config = json!({"circuit_breaker_threshold": 2, "circuit_breaker_cooldown_seconds": 65});
    let scene = Scene::new(&config);
    let buddy = recorded(&scene.harness).await;
    buddy.always("tools/call get_metrics_summary", Reply::tool_error("engine_failure"));
    scene.poller.start().unwrap();
    seconds(125).await; // opened at 30, so due after 95: at 120
    let breaker = |scene: &Scene| {
        serde_json::to_value(scene.poller.get_status()).unwrap()["breakers"]["get_metrics_summary"]["state"].clone()
    };
    assert_eq!(breaker(&scene), "open");
    let reports = scene.reports();
    let told: Vec<_> = reports.iter().map(|report| report.tools["get_metrics_summary"].outcome).collect();
    assert_eq!(told, [Failed, Failed, BreakerOpen, BreakerOpen, Failed]);
    assert!(reports.iter().all(|report| report.tools["get_liveness"].outcome == Answered && report.up == Some(1)));
    answers_again(&buddy, "get_metrics_summary");
    seconds(90).await; // opened again at 120, so due after 185: at 210
    assert_eq!(scene.outcomes("get_metrics_summary"), [BreakerOpen, BreakerOpen, Answered]);
    assert_eq!(breaker(&scene), "closed");
    assert_eq!(scene.harness.notices(), ["breaker_opened", "breaker_probed", "breaker_closed"]);
    assert_eq!(scene.statuses(), ["RecoverableError", "OK"]);
    assert_eq!(buddy.count("tools/call get_metrics_summary"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_would_end_after_the_cycle_is_not_begun() {
    for (delay, calls) in [(5, 3), (40, 1)] {
        let scene = Scene::new(&json!({"retry_delay_seconds": delay, "max_retries": 10}));
        let buddy = recorded(&scene.harness).await;
        buddy.always("tools/call get_liveness", Reply::status(503));
        scene.poller.start().unwrap();
        seconds(29).await;
        assert_eq!(buddy.count("tools/call get_liveness"), calls, "{delay} s");
        let report = scene.reports().remove(0);
        assert_eq!(report.tools["get_liveness"].error_type.as_deref(), Some("503"));
        assert_eq!(report.tools["get_metrics_summary"].outcome, Outcome::Answered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_hangs_times_out_alone_and_is_not_asked_twice() {
    let scene = Scene::new(&json!({"tools": {"liveness": {"timeout_seconds": 3}}}));
    let buddy = recorded(&scene.harness).await;
    buddy.always("tools/call get_liveness", Reply::hang());
    let report = scene.poller.poll_once().await.unwrap();
    assert_eq!(report.tools["get_liveness"].error_type.as_deref(), Some("timeout"));
    assert_eq!(report.tools["get_metrics_summary"].outcome, Outcome::Answered);
    assert_eq!((report.up, report.duration_seconds.round()), (Some(1), 3.0));
    assert_eq!(buddy.count("tools/call get_liveness"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_session_is_kept_from_cycle_to_cycle_and_ended_at_the_stop() {
    let scene = Scene::new(&json!({}));
    let buddy = recorded(&scene.harness).await;
    scene.poller.start().unwrap();
    seconds(100).await;
    assert_eq!((buddy.count("initialize"), buddy.count("tools/list"), buddy.count("DELETE")), (1, 1, 0));
    buddy.forget_requests();
    scene.poller.stop(Duration::from_secs(5)).await;
    assert_eq!(asked(&buddy), ["DELETE"]);
}

#[tokio::test(start_paused = true)]
async fn the_receiver_ends_when_it_is_told_to_and_drops_what_is_in_flight_when_abandoned() {
    let (harness, sink) = (Harness::default(), Sink::new());
    let buddy = recorded(&harness).await;
    buddy.always("tools/call get_liveness", Reply::hang());
    let config =
        SessionBuddyConfig { metrics_to_collect: vec!["liveness".to_owned()], ..SessionBuddyConfig::default() };
    let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
    let running = tokio::spawn(SessionBuddyFactory::build(config, &scope).unwrap().run(sink.next(), scope));
    seconds(1).await;
    let told = Instant::now();
    harness.stopping.cancel();
    seconds(3).await;
    assert!(!running.is_finished(), "the call may still be answered");
    harness.abandoned.cancel();
    running.await.unwrap().unwrap();
    assert!(told.elapsed() < Duration::from_secs(4));
    assert!(sink.take().is_empty());
}

/// Promise: a session that the server lost in mid-cycle is made anew, and no tool notices.
#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_lost_is_made_anew_within_the_cycle() {
    let harness = Harness::default();
    let server = FaultServer::start(&*harness.network, ADDRESS).await;
    for tool in ["get_liveness", "get_metrics_summary"] {
        server.tool(tool, Reply::structured(json!({})));
    }
    let scene = Scene::with(harness, &json!({}));
    scene.poller.start().unwrap();
    seconds(1).await;
    server.forget_sessions();
    seconds(30).await;
    assert_eq!(server.count("initialize"), 2);
    assert!(scene.reports().iter().all(|report| report.tools.values().all(|tool| tool.outcome == Answered)));
    assert_eq!((scene.poller.get_status().errors, scene.statuses()), (0, vec!["OK".to_owned()]));
}

/// Promise: where the server does not know `limit`, a failure is a failure, and nothing is searched.
#[tokio::test(start_paused = true)]
async fn without_a_declared_limit_session_analytics_is_asked_once() {
    let harness = Harness::default();
    let server = FaultServer::start(&*harness.network, ADDRESS).await;
    let schema = json!({"type": "object", "properties": {}});
    server.tool_with_schema("get_session_analytics", schema, |_| Reply::tool_error("engine_failure"));
    let scene = Scene::with(harness, &json!({"metrics_to_collect": ["session_analytics"]}));
    let report = scene.poller.poll_once().await.unwrap();
    assert_eq!(report.tools["get_session_analytics"].error_type.as_deref(), Some("tool_error"));
    assert_eq!(server.count("tools/call get_session_analytics"), 1);
    assert_eq!(scene.harness.notices(), ["arguments_not_sent"]);
}
