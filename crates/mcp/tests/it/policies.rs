//! Retries, timeouts, the cycle's end, cancellation, a tool's own way of asking.

use std::{sync::Arc, time::Duration};

use minicol_mcp::{
    Answer, Ask, CallTool, Class, Failure, PollTarget, TargetSettings, ToolPlan, async_trait, testing::Reply,
};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::world::{World, answer, failure};

#[tokio::test(start_paused = true)]
async fn a_call_is_tried_again_after_waits_that_double_and_are_jittered() {
    let world = World::with(|settings| TargetSettings { retry_delay: Duration::from_secs(2), ..settings }).await;
    for _ in 0..3 {
        world.server.once("tools/call get_a", Reply::status(503));
    }
    let before = Instant::now();
    let outcome = world.cycle(&["a"]).await;
    let took = before.elapsed().as_secs_f64();
    assert!((14.0..21.0).contains(&took), "2 + 4 + 8 s and up to half of it: {took}");
    let answer = answer(&outcome, "get_a");
    assert!((answer.took.as_secs_f64() - took).abs() < 0.5, "its time tells the retries");
    assert_eq!(world.target.snapshot().breakers["get_a"].failures, 0, "it answered in the end");
}

#[tokio::test(start_paused = true)]
async fn of_one_session_no_more_than_256_calls_are_out_at_once() {
    let world = World::new().await;
    let names: Vec<String> = (0..300).map(|nth| format!("get_{nth}")).collect();
    for name in &names {
        world.server.tool(name, Reply::structured(json!({})).after(Duration::from_secs(2)));
    }
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let plan = world.plan(&wanted);
    let calls = || world.server.kinds().iter().filter(|kind| kind.starts_with("tools/call")).count();
    let watched = async {
        sleep(Duration::from_secs(1)).await;
        calls()
    };
    let (outcome, at_once) = tokio::join!(world.target.cycle(&plan), watched);
    assert_eq!((at_once, calls()), (256, 300));
    for name in &names {
        answer(&outcome, name);
    }
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_their_number() {
    let quick = |settings| TargetSettings { retry_delay: Duration::ZERO, max_retries: 2, ..settings };
    let world = World::with(quick).await;
    world.server.always("tools/call get_a", Reply::cut());
    world.cycle(&["a"]).await;
    assert_eq!(world.server.count("tools/call get_a"), 3);
    assert_eq!(world.target.snapshot().breakers["get_a"].failures, 1, "a call fails once, after its retries");
}

#[tokio::test(start_paused = true)]
async fn a_retry_whose_wait_would_end_after_the_cycle_is_not_begun() {
    let world = World::with(|settings| TargetSettings { retry_delay: Duration::from_secs(31), ..settings }).await;
    world.server.always("tools/call get_a", Reply::status(502));
    let before = Instant::now();
    let outcome = world.cycle(&["a"]).await;
    assert_eq!(failure(&outcome, "get_a").class(), Class::Unavailable, "told as what it was");
    assert!(before.elapsed() < Duration::from_secs(1), "the call has failed, and nothing is waited for");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_tried_again_when_the_server_says() {
    for value in ["7", "Thu, 01 Jan 2026 00:00:07 GMT"] {
        for status in [429, 503] {
            let world = World::new().await;
            world.server.once("tools/call get_a", Reply::status(status).header("retry-after", value));
            let before = Instant::now();
            let outcome = world.cycle(&["a"]).await;
            answer(&outcome, "get_a");
            let took = before.elapsed();
            assert!((7_000..7_100).contains(&took.as_millis()), "{status} {value}: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_no_wait_is_not_asked_in_a_tight_loop() {
    for value in ["0", "Thu, 01 Jan 1970 00:00:07 GMT"] {
        let (retry_delay, max_retries) = (Duration::from_secs(2), 2);
        let world = World::with(|settings| TargetSettings { retry_delay, max_retries, ..settings }).await;
        world.server.always("tools/call get_a", Reply::status(429).header("retry-after", value));
        let before = Instant::now();
        let outcome = world.cycle(&["a"]).await;
        assert_eq!(failure(&outcome, "get_a").class(), Class::Throttled);
        assert!(before.elapsed() >= 3 * retry_delay, "{value}: {:?}", before.elapsed());
        assert_eq!(world.server.count("tools/call get_a"), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_one_attempt_is_the_tools_own_where_it_has_one() {
    let world = World::new().await;
    for tool in ["get_a", "get_b"] {
        world.server.tool(tool, Reply::structured(json!({"x": 1})).after(Duration::from_secs(12)));
    }
    let mut plan = world.plan(&["a"]);
    plan.tools.push(ToolPlan { timeout: Some(Duration::from_secs(15)), ..ToolPlan::named("b") });
    let outcome = world.target.cycle(&plan).await;
    assert!(failure(&outcome, "get_a").to_string().contains("no answer within 10 s"));
    answer(&outcome, "get_b");
    sleep(Duration::from_secs(1)).await;
    let told = world.server.requests().into_iter().find(|seen| seen.kind() == "notifications/cancelled");
    assert!(told.is_some(), "the server is told that nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_at_the_cycles_end_is_a_timeout_and_counts() {
    let world = World::with(|settings| TargetSettings { timeout: Duration::from_secs(300), ..settings }).await;
    world.server.always("tools/call get_a", Reply::hang());
    let before = Instant::now();
    let outcome = world.cycle(&["a", "b"]).await;
    assert_eq!(before.elapsed(), crate::world::INTERVAL);
    let failure = failure(&outcome, "get_a");
    assert_eq!((failure.class(), &*failure.error_type()), (Class::Timeout, "timeout"));
    assert!(failure.to_string().contains("when the cycle ended"), "{failure}");
    answer(&outcome, "get_b");
    assert_eq!(world.target.snapshot().breakers["get_a"].failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_set_up_that_hangs_is_cut_too() {
    let world = World::with(|settings| TargetSettings { timeout: Duration::from_secs(300), ..settings }).await;
    world.server.always("initialize", Reply::hang());
    let outcome = world.cycle(&["a"]).await;
    assert_eq!(outcome.setup.unwrap().class(), Class::Timeout);
    assert_eq!(outcome.up, Some(false));
}

#[tokio::test(start_paused = true)]
async fn a_set_up_has_the_tables_retries() {
    let world = World::new().await;
    world.server.once("initialize", Reply::status(502));
    world.server.once("tools/list", Reply::cut());
    let outcome = world.cycle(&["a"]).await;
    answer(&outcome, "get_a");
    assert_eq!(outcome.setup, None);
    assert_eq!((world.server.count("initialize"), world.server.count("tools/list")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgets_the_session_at_once_fails_the_set_up() {
    let world = World::new().await;
    world.server.always("notifications/initialized", Reply::transport_error(404, "Session not found"));
    let failure = world.cycle(&["a"]).await.setup.unwrap();
    assert_eq!((failure.class(), &*failure.error_type()), (Class::Protocol, "404"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_counts_for_nothing() {
    let world = World::new().await;
    world.server.always("tools/call get_a", Reply::hang());
    let plan = world.plan(&["a", "b"]);
    let cancel = async {
        sleep(Duration::from_secs(3)).await;
        plan.cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(world.target.cycle(&plan), cancel);
    assert_eq!(failure(&outcome, "get_a").class(), Class::Cancelled);
    answer(&outcome, "get_b");
    assert_eq!(world.target.snapshot().breakers["get_a"].failures, 0);

    world.server.always("initialize", Reply::hang());
    world.target.close().await;
    let outcome = world.target.cycle(&plan).await;
    assert_eq!((outcome.up, outcome.setup.unwrap().class()), (None, Class::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_frees_its_connection() {
    let world = World::with(|settings| TargetSettings { timeout: Duration::from_secs(1), ..settings }).await;
    world.server.always("tools/call get_a", Reply::hang());
    for _ in 0..300 {
        let outcome = world.cycle(&["a"]).await;
        if matches!(crate::world::result(&outcome, "get_a"), minicol_mcp::ToolResult::BreakerOpen) {
            break;
        }
    }
    sleep(Duration::from_secs(5)).await;
    let outcome = world.cycle(&["b"]).await;
    answer(&outcome, "get_b");
}

/// Asks with half the limit until it is answered.
struct Halve;

#[async_trait]
impl Ask for Halve {
    async fn ask(&self, _: &str, mut arguments: Map<String, Value>, call: &dyn CallTool) -> Result<Answer, Failure> {
        loop {
            let limit = arguments.get("limit").and_then(Value::as_u64).unwrap_or(1);
            match call.call(arguments.clone()).await {
                Err(failure) if failure.class() == Class::Tool && limit > 1 => {
                    arguments.insert("limit".to_owned(), json!(limit / 2));
                }
                result => return result,
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_can_have_its_own_way_of_being_asked_and_only_its_end_counts() {
    let world = World::new().await;
    let open = json!({"type": "object", "properties": {"limit": {}}});
    world.server.tool_with_schema("get_c", open, |arguments| {
        let limit = arguments["limit"].as_u64().unwrap_or_default();
        if limit > 30 {
            Reply::structured(json!({"success": false}))
        } else {
            Reply::structured(json!({"limit": limit}))
        }
    });
    world.server.once("tools/call get_c", Reply::status(503));
    let mut plan = world.plan(&[]);
    let arguments = json!({"limit": 100}).as_object().cloned().unwrap();
    plan.tools.push(ToolPlan { arguments, ask: Some(Arc::new(Halve)), ..ToolPlan::named("c") });
    let outcome = world.target.cycle(&plan).await;
    let answer = answer(&outcome, "get_c");
    assert_eq!(answer.document, json!({"limit": 25}));
    assert!(answer.took >= Duration::from_secs(5), "the whole asking, retries included: {:?}", answer.took);
    assert_eq!(world.server.count("tools/call get_c"), 4);
    assert_eq!(world.target.snapshot().breakers["get_c"].failures, 0);
}
