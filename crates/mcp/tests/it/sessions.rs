//! Sessions: made once, made anew when lost, ended politely.

use std::sync::Arc;

use minicol_mcp::{
    Class, PollTarget, TargetSettings,
    testing::{Reply, Style},
};
use serde_json::json;

use crate::world::{World, answer, failure, target};

#[tokio::test(start_paused = true)]
async fn every_way_of_replying_works_and_a_session_is_kept() {
    for (style, stateless) in [(Style::Events, false), (Style::Json, false), (Style::Events, true), (Style::Json, true)]
    {
        let mut world = World::new().await;
        world.server.style(style);
        if stateless {
            world.server.stateless();
        }
        for _ in 0..3 {
            let outcome = world.cycle(&["a", "b"]).await;
            assert_eq!(answer(&outcome, "get_a").document, json!({"a": 1}));
            assert_eq!(answer(&outcome, "get_b").document, json!({"b": 2}));
            assert_eq!(outcome.up, Some(true));
            world.next_tick().await;
        }
        assert_eq!(
            (world.server.count("initialize"), world.server.count("tools/list")),
            (1, 1),
            "{style:?} {stateless}"
        );
        assert_eq!(world.server.count("GET"), 0, "no standing stream");
        world.target.close().await;
        assert_eq!(world.server.count("DELETE"), usize::from(!stateless));
        assert!(!world.target.snapshot().session);
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_says_who_it_is_and_which_version_it_speaks() {
    let world = World::new().await;
    world.cycle(&["a"]).await;
    let requests = world.server.requests();
    let params = &requests[0].body["params"];
    assert_eq!(params["clientInfo"]["name"], "minicol");
    assert_eq!(params["protocolVersion"], "2025-11-25");
    assert_eq!(requests[0].header("accept"), Some("application/json, text/event-stream"));
    assert_eq!(requests[2].header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(requests[2].session(), Some("session-1"));
    let snapshot = world.target.snapshot();
    assert_eq!(snapshot.server.as_deref(), Some("fault-server 0"));
    assert_eq!(snapshot.protocol_version.as_deref(), Some("2025-11-25"));
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_share_one_session_with_unique_ids() {
    let world = World::new().await;
    let names: Vec<_> = (0..40).map(|n| format!("get_t{n}")).collect();
    for name in &names {
        world.server.tool(name, Reply::structured(json!({"name": name})).after(std::time::Duration::from_secs(1)));
    }
    let before = tokio::time::Instant::now();
    let outcome = world.cycle(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(before.elapsed() < std::time::Duration::from_secs(2), "all at once");
    for name in &names {
        assert_eq!(answer(&outcome, name).document, json!({"name": name}));
    }
    let calls: Vec<_> =
        world.server.requests().into_iter().filter(|seen| seen.kind().starts_with("tools/call")).collect();
    let ids: std::collections::HashSet<_> = calls.iter().map(|seen| seen.id().to_string()).collect();
    assert_eq!(ids.len(), 40);
    assert!(calls.iter().all(|seen| seen.session() == Some("session-1")));
}

#[tokio::test(start_paused = true)]
async fn a_session_lost_in_mid_cycle_is_made_anew_once_for_all_tools() {
    let world = World::new().await;
    world.cycle(&["a", "b"]).await;
    world.server.forget_sessions();
    world.server.forget_requests();
    let outcome = world.cycle(&["a", "b"]).await;
    answer(&outcome, "get_a");
    answer(&outcome, "get_b");
    assert_eq!((world.server.count("initialize"), world.server.count("tools/list")), (1, 1));
    assert_eq!(world.server.count("tools/call"), 4);
    assert_eq!(world.server.count("DELETE"), 0, "no farewell to a session that is gone");
    assert_eq!(outcome.setup, None);
    assert!(world.target.snapshot().breakers.values().all(|breaker| breaker.failures == 0));
}

/// The policies are nested futures: this holds that they do not need more of a thread's stack than the smallest that is usual.
#[test]
fn a_cycle_with_everything_in_it_fits_into_a_small_stack() {
    let cycle = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            world.cycle(&["a", "b"]).await;
            world.server.forget_sessions();
            world.server.once("initialize", Reply::status(502));
            answer(&world.cycle(&["a", "b"]).await, "get_a");
        });
    };
    std::thread::Builder::new().stack_size(512 * 1024).spawn(cycle).unwrap().join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_made_anew_fails_the_calls_and_is_told_once() {
    let world = World::new().await;
    world.cycle(&["a", "b"]).await;
    world.server.forget_sessions();
    world.server.always("initialize", Reply::status(403));
    let outcome = world.cycle(&["a", "b"]).await;
    for tool in ["get_a", "get_b"] {
        assert_eq!(failure(&outcome, tool).class(), Class::Auth);
        assert_eq!(world.target.snapshot().breakers[tool].failures, 1);
    }
    assert_eq!(outcome.setup.map(|failure| failure.class()), Some(Class::Auth));
    assert_eq!(world.server.count("initialize"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_lost_while_the_list_is_due_is_made_anew_in_the_set_up() {
    let mut world =
        World::with(|settings| TargetSettings { discovery_interval: crate::world::INTERVAL, ..settings }).await;
    world.cycle(&["a"]).await;
    world.server.forget_sessions();
    world.next_tick().await;
    let outcome = world.cycle(&["a"]).await;
    answer(&outcome, "get_a");
    assert_eq!(world.server.count("initialize"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_killed_and_started_again_in_mid_cycle_is_found_again_in_the_same_cycle() {
    let world = World::new().await;
    world.cycle(&["a", "b"]).await;
    world.server.stop();
    tokio::task::yield_now().await;
    let cycle = world.cycle(&["a", "b"]);
    let restart = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        world.server.start_again(&*world.harness.network).await;
    };
    let (outcome, ()) = tokio::join!(cycle, restart);
    answer(&outcome, "get_a");
    answer(&outcome, "get_b");
    assert_eq!(
        world.server.count("initialize"),
        2,
        "the first calls were refused, the retries found another session lost"
    );
}

#[tokio::test(start_paused = true)]
async fn state_outlives_the_instance_unless_it_belongs_to_another_target() {
    let world = World::new().await;
    world.cycle(&["a"]).await;
    let settings = world.target.settings().clone();
    let same = target(settings.clone(), &world.state, &world.scope);
    same.cycle(&world.plan(&["a"])).await;
    assert_eq!((world.server.count("initialize"), world.server.count("tools/call")), (1, 2));

    let token = settings.clone().with_header(http::header::AUTHORIZATION, "Bearer new".parse().unwrap());
    let rotated = target(token, &world.state, &world.scope);
    assert!(rotated.snapshot().session, "until it asks, another may");
    rotated.cycle(&world.plan(&["a"])).await;
    assert_eq!(world.server.count("initialize"), 2, "another token is another session");

    let elsewhere = TargetSettings { endpoint: "http://other:1/mcp".parse().unwrap(), ..settings };
    let moved = target(elsewhere, &world.state, &world.scope);
    moved.cycle(&world.plan(&["a"])).await;
    let known = moved.snapshot();
    assert!(!known.session && known.server.is_none() && known.offered.is_none(), "{known:?}");
    assert_eq!(Arc::strong_count(&world.state), 5);
}
