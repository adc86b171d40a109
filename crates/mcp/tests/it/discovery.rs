//! What is offered, what is wanted, and what each is called.

use minicol_mcp::{Class, PollTarget, TargetSettings, ToolPlan, ToolResult, Undeclared, testing::Reply};
use serde_json::json;

use crate::world::{INTERVAL, World, answer, failure, result};

#[tokio::test(start_paused = true)]
async fn a_tool_that_is_not_offered_is_told_and_counts_as_nothing() {
    let world = World::new().await;
    let outcome = world.cycle(&["a", "gone", "get_never"]).await;
    assert_eq!(*result(&outcome, "get_gone"), ToolResult::NotOffered);
    assert_eq!(*result(&outcome, "get_never"), ToolResult::NotOffered);
    assert_eq!(outcome.missing.iter().map(|name| &**name).collect::<Vec<_>>(), ["get_gone", "get_never"]);
    assert_eq!(outcome.offered.unwrap().len(), 2);
    assert_eq!(outcome.up, Some(true));
    let snapshot = world.target.snapshot();
    assert_eq!(snapshot.breakers.keys().map(|name| &**name).collect::<Vec<_>>(), ["get_a"]);
    assert_eq!(world.server.count("tools/call"), 1);
}

/// Promise: `up` is about the server, also where it offers nothing that is wanted and the list is not due.
#[tokio::test(start_paused = true)]
async fn a_server_that_offers_nothing_that_is_wanted_is_pinged() {
    let mut world = World::new().await;
    world.cycle(&["gone"]).await;
    world.next_tick().await;
    let outcome = world.cycle(&["gone"]).await; // this server knows no `ping`: that is an answer as well
    assert_eq!((outcome.up, outcome.setup), (Some(true), None));
    assert_eq!((world.server.count("ping"), world.server.count("tools/list")), (1, 1));
    world.next_tick().await;
    world.server.forget_sessions();
    assert_eq!(world.cycle(&["gone"]).await.up, Some(true));
    assert_eq!(world.server.count("initialize"), 2, "a lost session is made anew");
    world.next_tick().await;
    world.server.always("ping", Reply::hang());
    let outcome = world.cycle(&["gone"]).await;
    assert_eq!(*result(&outcome, "get_gone"), ToolResult::NotOffered);
    assert_eq!((outcome.up, outcome.setup.unwrap().class()), (Some(false), Class::Timeout));
    world.next_tick().await;
    world.cycle(&["a", "gone"]).await;
    assert_eq!(world.server.count("ping"), 3, "not where a tool is called");
}

#[tokio::test(start_paused = true)]
async fn names_are_taken_as_written_where_the_server_offers_that() {
    let world = World::new().await;
    world.server.tool("track", Reply::text("x"));
    let outcome = world.cycle(&["track", "a", "get_a"]).await;
    let names: Vec<_> = outcome.tools.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["track", "get_a"], "two that mean one tool are asked once");
}

#[tokio::test(start_paused = true)]
async fn every_page_is_asked_for() {
    let world = World::new().await;
    world.server.page_size(1);
    let outcome = world.cycle(&["a", "b"]).await;
    answer(&outcome, "get_b");
    assert_eq!(world.server.count("tools/list"), 2);
}

#[tokio::test(start_paused = true)]
async fn one_odd_tool_does_not_spoil_the_list_and_one_odd_block_not_the_result() {
    let world = World::new().await;
    let list = json!({"tools": [{"name": 7}, {"name": "get_a", "inputSchema": "none", "annotations": 3}, {}]});
    world.server.always("tools/list", Reply::result(list));
    world.server.always("tools/call get_a", Reply::result(json!({"content": [{"type": "hologram"}, {"type": "text", "text": "{\"x\": 1}", "annotations": {"audience": ["system"]}}]})));
    let outcome = world.cycle(&["a"]).await;
    assert_eq!(answer(&outcome, "get_a").document, json!({"x": 1}));
}

#[tokio::test(start_paused = true)]
async fn the_list_is_asked_for_again_when_its_time_is_over() {
    let mut world = World::with(|settings| TargetSettings { discovery_interval: 2 * INTERVAL, ..settings }).await;
    let mut lists = Vec::new();
    for _ in 0..5 {
        world.cycle(&["a"]).await;
        lists.push(world.server.count("tools/list"));
        world.next_tick().await;
    }
    assert_eq!(lists, [1, 1, 2, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tool_has_the_list_asked_for_again_and_is_not_offered_from_then_on() {
    for reply in [Reply::tool_error("Unknown tool: 'get_b'"), Reply::error(-32602, "Tool get_b not found")] {
        let mut world = World::with(|settings| TargetSettings { breaker_threshold: 1, ..settings }).await;
        world.cycle(&["a", "b"]).await;
        world.server.remove_tool("get_b");
        world.server.always("tools/call get_b", reply);
        let outcome = world.cycle(&["a", "b"]).await;
        answer(&outcome, "get_a");
        assert_eq!(*result(&outcome, "get_b"), ToolResult::NotOffered);
        assert_eq!(outcome.missing.len(), 1);
        assert!(!world.target.snapshot().breakers.contains_key("get_b"), "no breaker, though the threshold is 1");
        world.next_tick().await;
        world.cycle(&["a", "b"]).await;
        assert_eq!(world.server.count("tools/list"), 2);
        assert_eq!(world.server.count("tools/call get_b"), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_is_unknown_though_it_is_listed_has_failed() {
    let world = World::new().await;
    world.server.always("tools/call get_b", Reply::tool_error("Unknown tool: 'get_b'"));
    let outcome = world.cycle(&["b"]).await;
    assert_eq!(failure(&outcome, "get_b").class(), Class::Tool);
    assert_eq!(world.server.count("tools/list"), 2, "once more in the cycle, not for ever");
}

#[tokio::test(start_paused = true)]
async fn undeclared_arguments_are_not_sent_and_are_told() {
    let world = World::new().await;
    let schema = json!({"type": "object", "properties": {"limit": {"type": "integer"}}, "additionalProperties": false});
    world.server.tool_with_schema("get_c", schema, |arguments| Reply::structured(json!({"got": arguments})));
    let mut plan = world.plan(&[]);
    let arguments = json!({"limit": 5, "sort_by": "duration"}).as_object().cloned().unwrap();
    plan.tools.push(ToolPlan { arguments, ..ToolPlan::named("c") });
    let outcome = world.target.cycle(&plan).await;
    let answer = answer(&outcome, "get_c");
    assert_eq!(answer.document, json!({"got": {"limit": 5}}));
    assert_eq!(json!(answer.arguments), json!({"limit": 5}));
    let told = Undeclared { tool: "get_c".into(), arguments: vec!["sort_by".to_owned()] };
    assert_eq!(outcome.undeclared, [told]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_none_fails_the_set_up() {
    let world = World::new().await;
    world.server.always("tools/list", Reply::result(json!({"tools": "none"})));
    let outcome = world.cycle(&["a"]).await;
    let failure = outcome.setup.unwrap();
    assert_eq!(failure.class(), Class::Protocol);
    assert!(failure.to_string().contains("tools/list: the answer"), "{failure}");
    assert_eq!(outcome.up, Some(true), "it spoke MCP");
}
