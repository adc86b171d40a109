//! Circuit breakers, walked through cycle by cycle.

use std::time::Duration;

use minicol_mcp::{BreakerState, Class, PollTarget, TargetSettings, ToolResult, testing::Reply};

use crate::world::{World, answer, failure, result};

async fn quick(threshold: u32) -> World {
    World::with(|settings| TargetSettings { breaker_threshold: threshold, ..settings }).await
}

fn state(world: &World, tool: &str) -> BreakerState {
    world.target.snapshot().breakers[tool].state
}

#[tokio::test(start_paused = true)]
async fn three_dead_tools_of_four_open_their_own_breakers_and_the_fourth_is_polled_on() {
    let mut world = quick(5).await;
    for tool in ["get_c", "get_d"] {
        world.server.tool(tool, Reply::text("x"));
    }
    for tool in ["get_b", "get_c", "get_d"] {
        world.server.always(&format!("tools/call {tool}"), Reply::tool_error("dead"));
    }
    for cycle in 1..=8 {
        let outcome = world.cycle(&["a", "b", "c", "d"]).await;
        answer(&outcome, "get_a");
        let expected = if cycle < 5 { BreakerState::Closed } else { BreakerState::Open };
        for tool in ["get_b", "get_c", "get_d"] {
            assert_eq!(state(&world, tool), expected, "cycle {cycle}: the fifth failure opens at once");
        }
        world.next_tick().await;
    }
    assert_eq!(world.server.count("tools/call get_b"), 8, "with the default cooldown, each cycle after is one probe");
    assert_eq!(world.server.count("tools/call get_a"), 8);
}

#[tokio::test(start_paused = true)]
async fn a_probe_has_no_retries_closes_on_success_and_opens_again_on_failure() {
    let mut world = quick(1).await;
    world.server.always("tools/call get_a", Reply::status(502));
    world.cycle(&["a", "b"]).await;
    assert_eq!(world.server.count("tools/call get_a"), 3, "with retries while closed");
    world.next_tick().await;
    let outcome = world.cycle(&["a", "b"]).await;
    assert_eq!(failure(&outcome, "get_a").class(), Class::Unavailable);
    assert_eq!(world.server.count("tools/call get_a"), 4, "a probe is one call");
    assert_eq!(state(&world, "get_a"), BreakerState::Open);
    world.next_tick().await;
    world.server.clear("tools/call get_a");
    world.server.tool("get_a", Reply::text("back"));
    let outcome = world.cycle(&["a", "b"]).await;
    answer(&outcome, "get_a");
    assert_eq!(world.target.snapshot().breakers["get_a"].failures, 0);
    assert_eq!(state(&world, "get_a"), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_cooldown_counts_from_the_tick_of_the_cycle_that_opened_it() {
    let cooldown = Duration::from_secs(60);
    let mut world =
        World::with(|settings| TargetSettings { breaker_threshold: 1, breaker_cooldown: cooldown, ..settings }).await;
    world.server.always("tools/call get_a", Reply::hang());
    let mut asked = Vec::new();
    let (began, mut open_until) = (world.scope.clock().wall(), Vec::new());
    for _ in 0..6 {
        let outcome = world.cycle(&["a", "b"]).await;
        let breakers = world.target.snapshot().breakers;
        assert_eq!(breakers["get_b"].open_until, None, "it is closed");
        open_until.push(breakers["get_a"].open_until.unwrap().since(began).as_secs());
        asked.push(!matches!(result(&outcome, "get_a"), ToolResult::BreakerOpen));
        assert_eq!(outcome.up, Some(true));
        world.next_tick().await;
    }
    assert_eq!(asked, [true, false, true, false, true, false], "the 10 s that each failure took do not shift it");
    assert_eq!(open_until, [60, 60, 120, 120, 180, 180], "what is told is when it is asked again");
}

#[tokio::test(start_paused = true)]
async fn a_probe_re_makes_a_lost_session() {
    let mut world = quick(1).await;
    world.server.always("tools/call get_a", Reply::tool_error("dead"));
    world.cycle(&["a"]).await;
    world.server.clear("tools/call get_a");
    world.server.tool("get_a", Reply::text("back"));
    world.server.forget_sessions();
    world.next_tick().await;
    let outcome = world.cycle(&["a"]).await;
    answer(&outcome, "get_a");
    assert_eq!(world.server.count("initialize"), 2);
    assert_eq!(world.server.count("tools/call get_a"), 3, "the probe, and the same again on the new session");
    assert_eq!(state(&world, "get_a"), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_costs_one_set_up_a_cycle_once_all_breakers_are_open() {
    let mut world = quick(2).await;
    world.server.always("initialize", Reply::status(502));
    for _ in 0..2 {
        world.cycle(&["a", "b"]).await;
        world.next_tick().await;
    }
    assert_eq!(world.server.count("initialize"), 6, "with retries while closed");
    assert_eq!(state(&world, "get_a"), BreakerState::Open);
    for cycle in 1..=3 {
        let outcome = world.cycle(&["a", "b"]).await;
        assert_eq!(*result(&outcome, "get_a"), ToolResult::SetupFailed);
        assert_eq!(outcome.up, Some(false));
        assert_eq!(world.server.count("initialize"), 6 + cycle, "one, without retries");
        world.next_tick().await;
    }
    world.server.clear("initialize");
    world.server.always("tools/call get_b", Reply::tool_error("dead"));
    let outcome = world.cycle(&["a", "b"]).await;
    answer(&outcome, "get_a");
    assert_eq!(failure(&outcome, "get_b").class(), Class::Tool);
    assert_eq!(state(&world, "get_a"), BreakerState::Closed, "its own probe closed it");
    assert_eq!(state(&world, "get_b"), BreakerState::Open, "the set-up closed none");
}

#[tokio::test(start_paused = true)]
async fn a_failed_set_up_opens_all_again_also_those_that_were_not_due() {
    let cooldown = Duration::from_secs(60);
    let mut world =
        World::with(|settings| TargetSettings { breaker_threshold: 1, breaker_cooldown: cooldown, ..settings }).await;
    world.server.always("tools/call get_a", Reply::tool_error("dead"));
    world.cycle(&["a", "b"]).await; // opens a at 0 s
    world.next_tick().await;
    world.server.always("tools/call get_b", Reply::hang());
    world.cycle(&["a", "b"]).await; // opens b at 30 s, without a reply
    world.next_tick().await;
    world.server.always("initialize", Reply::status(403));
    let outcome = world.cycle(&["a", "b"]).await; // 60 s: a is due, b is not
    assert_eq!(*result(&outcome, "get_a"), ToolResult::SetupFailed);
    assert_eq!(*result(&outcome, "get_b"), ToolResult::BreakerOpen);
    world.next_tick().await;
    let outcome = world.cycle(&["a", "b"]).await; // 90 s: b would have been due
    assert_eq!(*result(&outcome, "get_b"), ToolResult::BreakerOpen);
    assert_eq!(outcome.up, None, "nothing was tried: the last value stands");
    assert_eq!(outcome.setup, None);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_answered_last_is_probed_on_without_a_set_up() {
    let mut world = quick(1).await;
    world.server.always("tools/call get_a", Reply::tool_error("dead"));
    world.cycle(&["a"]).await;
    world.next_tick().await;
    world.cycle(&["a"]).await;
    assert_eq!(world.server.count("initialize"), 1);

    world.server.always("tools/call get_a", Reply::hang());
    world.next_tick().await;
    world.cycle(&["a"]).await;
    world.next_tick().await;
    world.cycle(&["a"]).await;
    assert_eq!(world.server.count("initialize"), 2, "the last request got no reply: a set-up goes first");
}

#[tokio::test(start_paused = true)]
async fn a_failed_set_up_does_not_count_for_tools_that_were_not_offered() {
    let mut world = quick(5).await;
    world.cycle(&["a", "gone"]).await;
    world.server.stop();
    tokio::task::yield_now().await;
    world.target.close().await;
    world.next_tick().await;
    let outcome = world.cycle(&["a", "gone"]).await;
    assert_eq!(*result(&outcome, "get_gone"), ToolResult::NotOffered);
    let breakers = world.target.snapshot().breakers;
    assert_eq!(breakers.keys().map(|name| &**name).collect::<Vec<_>>(), ["get_a"]);
    assert_eq!(breakers["get_a"].failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_set_up_counts_for_nothing() {
    let world = quick(1).await;
    world.server.always("initialize", Reply::status(429));
    let outcome = world.cycle(&["a"]).await;
    assert_eq!(outcome.setup.unwrap().class(), Class::Throttled);
    assert_eq!(state(&world, "get_a"), BreakerState::Closed);
}

/// Promise: a tool that a list shows as not offered loses its count, also where another tool takes its place under the wanted name.
#[tokio::test(start_paused = true)]
async fn a_count_goes_over_to_another_name_only_where_the_first_was_a_guess() {
    let mut world = quick(3).await;
    world.server.always("initialize", Reply::status(403));
    world.cycle(&["ping"]).await; // no list is known: counted as get_ping
    world.server.clear("initialize");
    world.server.tool("ping", Reply::tool_error("dead"));
    world.next_tick().await;
    world.cycle(&["ping"]).await;
    assert_eq!(world.target.snapshot().breakers["ping"].failures, 2);
    world.server.remove_tool("ping");
    world.server.tool("get_ping", Reply::text("x"));
    world.server.forget_sessions();
    world.next_tick().await;
    let outcome = world.cycle(&["ping"]).await;
    assert_eq!(*result(&outcome, "ping"), ToolResult::NotOffered);
    let breakers = world.target.snapshot().breakers;
    assert_eq!(
        breakers.iter().map(|(name, breaker)| (&**name, breaker.failures)).collect::<Vec<_>>(),
        [("get_ping", 0)]
    );
}
