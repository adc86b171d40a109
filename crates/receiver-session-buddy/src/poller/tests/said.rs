use minicol_mcp::Undeclared;
use minicol_pdata::{Cut, Outcome};

use super::*;

const ENDPOINT: &str = "http://localhost:8678/mcp";

fn refused() -> String {
    down().setup.unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn the_target_going_down_and_up_is_said_once_each() {
    let stage = Stage::new(json!({}));
    for outcome in [answers(&[("get_liveness", json!({}))]), down(), down(), answers(&[("get_liveness", json!({}))])] {
        stage.target.then(0, outcome);
    }
    stage.run_for(155).await;
    let expected = [
        format!("OK: {ENDPOINT} answers"),
        format!("RecoverableError: {}", refused()),
        format!("OK: {ENDPOINT} answers again"),
    ];
    assert_eq!(stage.said(), expected);
    assert_eq!(
        stage.reports().iter().map(|report| report.up).collect::<Vec<_>>()[..4],
        [Some(1), Some(0), Some(0), Some(1)]
    );
}

#[tokio::test(start_paused = true)]
async fn the_report_tells_what_became_of_each_tool() {
    let stage = Stage::new(json!({}));
    stage.target.then(
        3,
        outcome(vec![
            ("get_a", answer(json!({"x": 1}), &json!({"days": 3}))),
            ("get_b", ToolResult::NotOffered),
            ("get_c", failed("get_c", Cause::Tool("broken".to_owned()))),
            ("get_d", ToolResult::BreakerOpen),
            ("get_e", resting("get_e", 600, Duration::from_millis(539_100))),
        ]),
    );
    stage.target.then(0, down());
    stage.run_for(31).await;
    let document = stage.observations()[0].iter().last().unwrap().document.clone();
    let expected = json!({
        "up": 1, "duration_seconds": 3.0, "missed_ticks": 0, "setup_error": null,
        "tools": {
            "get_a": {"outcome": "answered", "duration_seconds": 0.25},
            "get_b": {"outcome": "not_offered"},
            "get_c": {"outcome": "failed", "error_type": "tool_error", "message": "the tool failed: broken; the server's log may say more", "duration_seconds": 2.0},
            "get_d": {"outcome": "breaker_open"},
            "get_e": {"outcome": "failed", "error_type": "429", "message": "not asked for another 540 s: http 429: the server asks to be asked less often, again in 600 s; raise interval_seconds"},
        },
    });
    let mut told = (*document).clone();
    told["duration_seconds"] = json!(told["duration_seconds"].as_f64().unwrap().round());
    assert_eq!(told, expected);
    let report = &stage.reports()[1];
    let setup = report.setup_error.as_ref().unwrap();
    assert_eq!((setup.outcome, setup.error_type.as_deref()), (Outcome::Failed, Some("unavailable")));
    assert!(setup.message.as_ref().unwrap().starts_with("initialize: connection refused"), "{setup:?}");
    assert_eq!(report.tools["get_liveness"].error_type.as_deref(), Some("unavailable"));
}

#[tokio::test(start_paused = true)]
async fn an_observation_carries_tool_arguments_arrival_and_source() {
    let stage = Stage::new(json!({"interval_seconds": 2, "resource_attributes": {"x": "y"}}));
    stage.target.then(
        0,
        outcome(vec![("get_a", answer(json!([1]), &json!({"days": 3}))), ("get_b", answer(json!("b"), &json!({})))]),
    );
    stage.run_for(1).await;
    let batch = &stage.observations()[0];
    let told: Vec<_> =
        batch.iter().map(|one| (one.tool.as_ref(), one.arguments.as_deref().cloned().map(Value::Object))).collect();
    assert_eq!(told, [("get_a", Some(json!({"days": 3}))), ("get_b", None), ("@poll", None)]);
    let first = batch.iter().next().unwrap();
    assert_eq!((&*first.document, first.took), (&json!([1]), Duration::from_millis(250)));
    assert_eq!((first.source.receiver.as_str(), first.source.interval), ("session_buddy", Duration::from_secs(2)));
    assert_eq!(first.source.resource.get("x").unwrap().as_str(), Some("y"));
    assert!(batch.iter().last().unwrap().arrival.wall > minicol_pdata::Timestamp::UNSET);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_tried_the_last_up_stands_and_nothing_is_said() {
    let stage = Stage::new(json!({}));
    let idle =
        || CycleOutcome { tools: vec![("get_liveness".into(), ToolResult::BreakerOpen)], ..CycleOutcome::default() };
    for outcome in [idle(), down(), idle()] {
        stage.target.then(0, outcome);
    }
    stage.run_for(65).await;
    assert_eq!(stage.reports().iter().map(|report| report.up).collect::<Vec<_>>(), [None, Some(0), Some(0)]);
    assert_eq!(stage.said(), [format!("RecoverableError: {}", refused())]);
    // Another instance knows it still, as does the status.
    let later = Stage::with(json!({}), &stage.harness);
    later.target.then(0, idle());
    assert_eq!(later.poller.poll_once().await.unwrap().up, Some(0));
    assert_eq!(later.poller.get_status().up, Some(false));
    // Of another server it does not.
    let other = Stage::with(json!({"endpoint": "http://localhost:9999/mcp"}), &stage.harness);
    assert_eq!(other.poller.get_status().up, None);
}

#[tokio::test(start_paused = true)]
async fn cycles_that_try_nothing_do_not_go_back_to_what_was_said_before() {
    let stage = Stage::new(json!({}));
    let idle =
        || CycleOutcome { tools: vec![("get_liveness".into(), ToolResult::BreakerOpen)], ..CycleOutcome::default() };
    let broken = outcome(vec![("get_liveness", failed("get_liveness", Cause::Tool("broken".to_owned())))]);
    for outcome in [broken, down(), idle(), down(), idle()] {
        stage.target.then(0, outcome);
    }
    stage.run_for(125).await;
    let expected = [
        format!(
            "RecoverableError: {ENDPOINT}: 1 of 1 tools fail: get_liveness: the tool failed: broken; the server's log may say more"
        ),
        format!("RecoverableError: {}", refused()),
    ];
    assert_eq!(stage.said(), expected);
}

#[tokio::test(start_paused = true)]
async fn failing_tools_are_said_when_they_change_also_while_their_breaker_is_open() {
    let stage = Stage::new(json!({}));
    let broken = || failed("get_b", Cause::Tool("engine_failure".to_owned()));
    let a = || answer(json!({}), &json!({}));
    for b in [broken(), broken(), ToolResult::BreakerOpen, a()] {
        stage.target.then(0, outcome(vec![("get_a", a()), ("get_b", b)]));
    }
    stage.run_for(95).await;
    let expected = [
        format!(
            "RecoverableError: {ENDPOINT}: 1 of 2 tools fail: get_b: the tool failed: engine_failure; the server's log may say more"
        ),
        format!("OK: {ENDPOINT} answers again"),
    ];
    assert_eq!(stage.said(), expected);
}

/// What was told of a tool stands while the server wants it to be left alone, and nothing fails that is not asked.
#[tokio::test(start_paused = true)]
async fn a_tool_that_rests_is_told_and_counted_once() {
    let stage = Stage::new(json!({}));
    let a = || answer(json!({}), &json!({}));
    let throttled = Cause::Throttled { status: 429, retry_after: Some(Duration::from_secs(80)) };
    let [first, second] = [50, 20].map(|left| resting("get_b", 80, Duration::from_secs(left)));
    for b in [failed("get_b", throttled), first, second] {
        stage.target.then(0, outcome(vec![("get_a", a()), ("get_b", b)]));
    }
    stage.run_for(65).await;
    let told = "http 429: the server asks to be asked less often, again in 80 s; raise interval_seconds";
    assert_eq!(stage.said(), [format!("RecoverableError: {ENDPOINT}: 1 of 2 tools fail: get_b: {told}")]);
    let status = stage.poller.get_status();
    assert_eq!((status.errors, status.tools["get_b"].outcome), (1, Outcome::Failed));
    assert!(status.tools["get_b"].last_error.as_ref().unwrap().message.ends_with(told));
    let reports = stage.reports();
    let of_b: Vec<_> = reports.iter().map(|report| report.tools["get_b"].message.clone().unwrap()).collect();
    let rested = [50, 20].map(|left| format!("not asked for another {left} s: {told}"));
    assert_eq!(of_b, [vec![told.to_owned()], rested.to_vec()].concat());
    stage.target.then(0, answers(&[("get_a", json!({})), ("get_b", json!({}))]));
    stage.pass(30).await;
    assert_eq!(stage.said()[1..], [format!("OK: {ENDPOINT} answers again")]);
}

#[tokio::test(start_paused = true)]
async fn missing_tools_are_said_whenever_their_set_changes() {
    let stage = Stage::new(json!({}));
    let with = |missing: &[&str]| {
        let mut outcome = answers(&[("get_liveness", json!({}))]);
        outcome.missing = missing.iter().map(|tool| Arc::from(*tool)).collect();
        outcome.tools.extend(missing.iter().map(|tool| (Arc::from(*tool), ToolResult::NotOffered)));
        outcome
    };
    for missing in [&["get_x"][..], &["get_x"], &["get_x", "get_y"], &[]] {
        stage.target.then(0, with(missing));
    }
    stage.run_for(95).await;
    let said: Vec<_> = stage.said().into_iter().filter(|said| said.starts_with("tools")).collect();
    let expected = [
        format!(
            "tools_not_offered: {ENDPOINT} does not offer get_x: not polled, and no failure; it offers 1 tools: get_liveness"
        ),
        format!(
            "tools_not_offered: {ENDPOINT} does not offer get_x, get_y: not polled, and no failure; it offers 1 tools: get_liveness"
        ),
        format!("tools_offered: {ENDPOINT} now offers every tool that is wanted"),
    ];
    assert_eq!(said, expected);
    assert!(stage.said().iter().all(|said| !said.starts_with("Recoverable")), "a missing tool is no failure");
}

#[tokio::test(start_paused = true)]
async fn arguments_that_are_not_sent_are_said_once() {
    let stage = Stage::new(json!({"tools": {"get_a": {"arguments": {"days": 3}}}}));
    for _ in 0..2 {
        let mut outcome = answers(&[("get_a", json!({})), ("get_session_analytics", json!({}))]);
        outcome.undeclared = vec![
            Undeclared { tool: "get_a".into(), arguments: vec!["days".to_owned()] },
            Undeclared {
                tool: "get_session_analytics".into(),
                arguments: vec!["limit".to_owned(), "sort_by".to_owned()],
            },
        ];
        stage.target.then(0, outcome);
    }
    stage.run_for(31).await;
    let notices = stage.harness.events().into_iter().filter_map(|event| match event {
        Event::Notice(notice) => Some((notice.level, notice.message)),
        _ => None,
    });
    let expected = [
        (
            minicol_plugin::Level::Warn,
            format!(
                "get_a of {ENDPOINT} does not take days: not sent; set it to null in tools.get_a.arguments to silence this"
            ),
        ),
        (
            minicol_plugin::Level::Info,
            format!(
                "get_session_analytics of {ENDPOINT} does not take limit, sort_by: not sent; set it to null in \
                 tools.get_session_analytics.arguments to silence this"
            ),
        ),
    ];
    assert_eq!(notices.collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn breakers_are_said_together_when_they_open_and_close() {
    let stage = Stage::new(json!({}));
    for tool in ["get_a", "get_b", "get_c"] {
        stage.target.breaker(tool, Some(BreakerState::Closed));
    }
    stage.run_for(1).await;
    stage.target.breaker("get_a", Some(BreakerState::Open));
    stage.target.breaker("get_b", Some(BreakerState::Open));
    stage.pass(60).await; // two cycles
    for _ in 0..2 {
        let probe = failed("get_a", Cause::Tool("still".to_owned()));
        stage.target.then(0, outcome(vec![("get_a", probe), ("get_b", ToolResult::BreakerOpen)]));
    }
    stage.pass(60).await; // two probes, of which the first is told
    stage.target.breaker("get_a", Some(BreakerState::Closed));
    stage.target.breaker("get_b", None); // not offered any more
    stage.pass(60).await;
    let said: Vec<_> = stage.said().into_iter().filter(|said| said.starts_with("breaker")).collect();
    let expected = [
        format!(
            "breaker_opened: get_a, get_b of {ENDPOINT} failed 5 times in a row: asked once per cooldown until it answers"
        ),
        format!(
            "breaker_probed: get_a of {ENDPOINT} was asked once after the cooldown and failed again: the next probe is a cooldown later"
        ),
        format!("breaker_closed: get_a of {ENDPOINT} answers again: asked in every cycle"),
    ];
    assert_eq!(said, expected);
}

#[tokio::test(start_paused = true)]
async fn fewer_sessions_than_there_are_is_said_once_and_marked_where_the_configuration_cuts() {
    let stage = Stage::new(json!({"tools": {"session_analytics": {"arguments": {"limit": 3}}}}));
    let cycle = |limit: u64, returned: usize, total: u64| {
        let document = json!({"sessions": vec![json!({}); returned], "total_analyzed": total});
        outcome(vec![("get_session_analytics", answer(document, &json!({"limit": limit})))])
    };
    for (limit, returned, total) in [(3, 2, 2), (2, 2, 3), (2, 2, 3), (3, 3, 4), (3, 3, 5), (3, 3, 3)] {
        stage.target.then(0, cycle(limit, returned, total));
    }
    stage.run_for(155).await;
    let cuts: Vec<_> = stage.observations().iter().map(|list| list.iter().next().unwrap().cut).collect();
    let cut = |total| Some(Cut { returned: 3, total });
    assert_eq!(cuts, [None, None, None, cut(4), cut(5), None]);
    let said: Vec<_> = stage.said().into_iter().filter(|said| said.starts_with("answer_cut")).collect();
    let what = format!("answer_cut: get_session_analytics of {ENDPOINT} answers with");
    let expected = [
        format!("{what} 2 of 3 sessions: it fails where it would return one that is still open"),
        format!("{what} 3 of 4 sessions: raise limit in tools.get_session_analytics.arguments"),
    ];
    assert_eq!(said, expected);
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_cycles_errors_breakers_and_the_last_error() {
    let stage = Stage::new(json!({}));
    stage.target.breaker("get_liveness", Some(BreakerState::Open));
    stage.target.then(0, outcome(vec![("get_a", failed("get_a", Cause::Refused(403)))]));
    stage.target.then(0, down());
    stage.run_for(65).await;
    let status = serde_json::to_value(stage.poller.get_status()).unwrap();
    assert_eq!(stage.harness.details(), Some(status.clone()), "the same stands on /status");
    let expected = json!({
        "running": true, "paused": false, "endpoint": ENDPOINT, "server": null, "up": true,
        "up_changed": 1_767_225_660.0,
        "poll_cycles": 3, "errors": 2, "missed_ticks": 0, "refused_batches": 0,
        "last_poll_time": 1_767_225_660.0, "last_poll_seconds": 0.0, "polls": [0.0, 0.0, 0.0],
        "last_error": {"at": 1_767_225_630.0, "tool": null, "error_type": "unavailable", "message": refused()},
        "tools": {"get_liveness": {"outcome": "answered", "last_answer": 0.0, "last_seconds": 0.25, "last_error": null}},
        "breakers": {"get_liveness": {"state": "open", "failures": 5}},
        "offered": [], "missing": [],
    });
    let mut told = status;
    for pointer in ["/up_changed", "/last_poll_time", "/last_error/at"] {
        let value = told.pointer_mut(pointer).unwrap();
        *value = json!(value.as_f64().unwrap().round());
    }
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn how_long_each_of_the_last_cycles_took_is_told_whoever_looks() {
    let stage = Stage::new(json!({"interval_seconds": 1, "timeout_seconds": 1}));
    for _ in 0..10 {
        stage.target.then(0, answers(&[]));
    }
    stage.run_for(200).await;
    let polls = stage.poller.get_status().polls;
    assert_eq!(polls.len(), 120, "the oldest are forgotten");
    let stage = Stage::new(json!({}));
    for seconds in [3, 0, 7] {
        stage.target.then(seconds, answers(&[]));
    }
    stage.run_for(85).await;
    assert_eq!(stage.poller.get_status().polls, [3.0, 0.0, 7.0], "oldest first");
}

#[tokio::test(start_paused = true)]
async fn tools_are_planned_as_configured() {
    let stage = Stage::new(json!({
        "metrics_to_collect": ["session_analytics", "foo"],
        "tools": {"get_foo": {"arguments": {"a": 1, "b": null}, "timeout_seconds": 0.5}},
    }));
    stage.poller.poll_once().await.unwrap();
    let begun = stage.target.begun.lock().unwrap();
    let tools = &begun[0].1.tools;
    assert_eq!(tools.iter().map(|tool| tool.name.as_ref()).collect::<Vec<_>>(), ["session_analytics", "foo"]);
    assert_eq!(Value::Object(tools[0].arguments.clone()), json!({"limit": 500, "sort_by": "duration"}));
    assert_eq!((tools[0].timeout, tools[0].ask.is_some()), (None, true));
    assert_eq!(Value::Object(tools[1].arguments.clone()), json!({"a": 1}));
    assert_eq!((tools[1].timeout, tools[1].ask.is_some()), (Some(Duration::from_millis(500)), false));
}
