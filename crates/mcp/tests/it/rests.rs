//! A server that asks to be left alone for longer than a cycle lasts (`Retry-After`) is left alone.

use std::time::Duration;

use minicol_mcp::{Class, CycleOutcome, PollTarget, TargetSettings, ToolResult, testing::Reply};
use minicol_plugin::CancellationToken;
use tokio::time::{Instant, advance};

use crate::world::{INTERVAL, World, answer, failure, result, target};

/// A refusal that names a time.
fn later(status: u16, seconds: u64) -> Reply {
    Reply::status(status).header("retry-after", &seconds.to_string())
}

/// How long `tool` is left alone yet, in seconds.
fn left(outcome: &CycleOutcome, tool: &str) -> u64 {
    let ToolResult::Resting { failure, left } = result(outcome, tool) else { panic!("{:?}", result(outcome, tool)) };
    assert_eq!(failure.class(), Class::Throttled);
    left.as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_asks_for_time_is_passed_over_until_it_has_passed_and_the_others_are_asked() {
    for status in [429, 503] {
        let mut world = World::new().await;
        world.server.once("tools/call get_a", later(status, 100));
        let outcome = world.cycle(&["a", "b"]).await;
        assert_eq!(failure(&outcome, "get_a").class(), Class::Throttled);
        for seconds in [70, 40, 10] {
            world.next_tick().await;
            let outcome = world.cycle(&["a", "b"]).await;
            assert_eq!((left(&outcome, "get_a"), outcome.up, outcome.setup.clone()), (seconds, Some(true), None));
            answer(&outcome, "get_b");
            assert_eq!(world.server.count("tools/call get_a"), 1);
        }
        for asked in [2, 3] {
            world.next_tick().await;
            answer(&world.cycle(&["a", "b"]).await, "get_a");
            assert_eq!(world.server.count("tools/call get_a"), asked);
        }
        assert_eq!(world.target.snapshot().breakers["get_a"].failures, 0);
    }
}

/// Where every tool rests there is nobody to ask, not even for the list.
#[tokio::test(start_paused = true)]
async fn a_cycle_in_which_every_tool_rests_asks_nothing() {
    let mut world = World::with(|settings| TargetSettings { discovery_interval: INTERVAL, ..settings }).await;
    for tool in ["get_a", "get_b"] {
        world.server.always(&format!("tools/call {tool}"), later(429, 40));
    }
    world.cycle(&["a", "b", "gone"]).await;
    world.next_tick().await;
    world.server.forget_requests();
    let outcome = world.cycle(&["a", "b", "gone"]).await;
    assert_eq!((left(&outcome, "get_a"), left(&outcome, "get_b"), outcome.up), (10, 10, None));
    assert_eq!(*result(&outcome, "get_gone"), ToolResult::NotOffered);
    assert_eq!(world.server.kinds(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_set_up_that_is_told_to_wait_rests_for_the_whole_target() {
    for kind in ["server/discover", "initialize", "tools/list"] {
        let mut world = World::new().await;
        world.server.guard(move |seen| (seen.kind() == kind).then(|| later(429, 100)));
        assert_eq!(world.cycle(&["a"]).await.setup.unwrap().class(), Class::Throttled);
        let (probes, requests) = (world.server.probes(), world.server.requests().len());
        for _ in 0..3 {
            world.next_tick().await;
            let outcome = world.cycle(&["a", "b"]).await;
            assert!(left(&outcome, "get_a") > 0 && left(&outcome, "get_b") > 0);
            assert_eq!((outcome.up, outcome.setup), (None, None), "nothing was tried, and nothing failed");
        }
        assert_eq!((world.server.probes(), world.server.requests().len()), (probes, requests));
        world.server.guard(|_| None);
        world.next_tick().await;
        answer(&world.cycle(&["a", "b"]).await, "get_a");
    }
}

#[tokio::test(start_paused = true)]
async fn no_rest_is_longer_than_an_hour() {
    let world = World::new().await;
    world.server.once("tools/call get_a", later(429, 86_400));
    world.cycle(&["a"]).await;
    let again = || async {
        let tick = Instant::now();
        let plan = minicol_mcp::CyclePlan { tick, deadline: tick + INTERVAL, ..world.plan(&["a"]) };
        world.target.cycle(&plan).await
    };
    advance(Duration::from_secs(3590)).await;
    assert_eq!(left(&again().await, "get_a"), 10);
    advance(Duration::from_secs(10)).await;
    answer(&again().await, "get_a");
}

/// Whoever asks now gets an answer now: a person, and the first cycle with other credentials.
#[tokio::test(start_paused = true)]
async fn a_rest_ends_for_whoever_insists_and_for_another_sender() {
    let world = World::new().await;
    world.server.once("tools/call get_a", later(429, 600));
    world.cycle(&["a"]).await;
    let again = |insists| minicol_mcp::CyclePlan { insists, cancel: CancellationToken::new(), ..world.plan(&["a"]) };
    left(&world.target.cycle(&again(false)).await, "get_a");
    answer(&world.target.cycle(&again(true)).await, "get_a");
    answer(&world.target.cycle(&again(false)).await, "get_a");

    world.server.once("tools/call get_a", later(429, 600));
    world.cycle(&["a"]).await;
    left(&world.cycle(&["a"]).await, "get_a");
    let mut settings = world.target.settings().clone();
    settings.headers.insert("x-tenant", "another".parse().unwrap());
    answer(&target(settings, &world.state, &world.scope).cycle(&again(false)).await, "get_a");
}
