//! Each row of the failure table, from the bytes on the wire to what follows.

use std::time::Duration;

use minicol_mcp::{
    Class, HttpClient, PollTarget, RetryRule, Target, TargetSettings, TargetState,
    testing::{FaultServer, Reply},
};
use minicol_plugin::net::{ClientTls, HttpConnector};
use serde_json::json;

use crate::world::{World, answer, failure, result};

/// One thing that goes wrong with a call, and what it must be taken for.
struct Row {
    name: &'static str,
    reply: Reply,
    class: Class,
    error_type: &'static str,
    says: &'static str,
}

fn row(name: &'static str, reply: Reply, class: Class, error_type: &'static str, says: &'static str) -> Row {
    Row { name, reply, class, error_type, says }
}

fn rows() -> Vec<Row> {
    let event = |data: &str| Reply::events().chunk(format!("data: {data}\r\n\r\n"));
    let big = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"{}\"}}", "x".repeat(70_000));
    let to = |location: &str| Reply::status(302).header("location", location);
    vec![
        row("reset", Reply::cut(), Class::Unavailable, "unavailable", "is the server running"),
        row("no event", Reply::events(), Class::Unavailable, "unavailable", "ended without a reply"),
        row(
            "dies in an event",
            Reply::events().chunk("data: {\"jso").then_cut(),
            Class::Unavailable,
            "unavailable",
            "",
        ),
        row(
            "dies in a body",
            Reply::json("{\"jsonrpc\"").then_cut(),
            Class::Unavailable,
            "unavailable",
            "is the server running",
        ),
        row("502", Reply::status(502), Class::Unavailable, "502", "not available"),
        row("503", Reply::status(503), Class::Unavailable, "503", "not available"),
        row("504", Reply::status(504), Class::Unavailable, "504", "not available"),
        row("hangs", Reply::hang(), Class::Timeout, "timeout", "within 10 s"),
        row(
            "hangs in a body",
            Reply::events().chunk(": hello\n").then_hang(),
            Class::Timeout,
            "timeout",
            "timeout_seconds",
        ),
        row("429", Reply::status(429), Class::Throttled, "429", "less often"),
        row("503 later", Reply::status(503).header("retry-after", "600"), Class::Throttled, "503", "again in 600 s"),
        row("403", Reply::status(403), Class::Auth, "403", "Authorization"),
        row("500", Reply::status(500).chunk("oops\u{1b}"), Class::Protocol, "500", "oops\\u{1b}"),
        row("406", Reply::transport_error(406, "Not Acceptable"), Class::Protocol, "406", "Not Acceptable"),
        row(
            "400 page",
            Reply::status(418).header("content-type", "text/html").chunk("<html>"),
            Class::Protocol,
            "418",
            "http 418:",
        ),
        row("bad json", Reply::json("{nope"), Class::Protocol, "invalid_response", "not JSON"),
        row("bad event", event("{nope"), Class::Protocol, "invalid_response", "not JSON"),
        row("no stream", Reply::events().chunk("garbage\n"), Class::Protocol, "invalid_response", "no event stream"),
        row("no http", Reply::raw("hello\r\n\r\n"), Class::Protocol, "invalid_response", "not HTTP"),
        row(
            "html",
            Reply::status(200).header("content-type", "text/html").chunk("<html>"),
            Class::Protocol,
            "invalid_response",
            "text/html",
        ),
        row("json array", Reply::json("[1]"), Class::Protocol, "invalid_response", "no JSON-RPC"),
        row(
            "wrong id",
            Reply::json("{\"jsonrpc\":\"2.0\",\"id\":9999,\"result\":{}}"),
            Class::Protocol,
            "invalid_response",
            "another request",
        ),
        row("202", Reply::status(202), Class::Protocol, "invalid_response", "http 202 instead"),
        row("200 and nothing", Reply::status(200), Class::Protocol, "invalid_response", "empty body"),
        row("empty json", Reply::json(""), Class::Protocol, "invalid_response", "empty body"),
        row("large json", Reply::json(&big), Class::Protocol, "response_too_large", "max_response_bytes"),
        row("large event", event(&big), Class::Protocol, "response_too_large", "65536 bytes"),
        row("json-rpc", Reply::error(-32603, "Internal\nerror"), Class::Protocol, "-32603", "Internal\\nerror"),
        row("odd code", Reply::error(-7, "x"), Class::Protocol, "rpc_error", "error -7"),
        row("302", to("/elsewhere"), Class::Protocol, "302", "only 307 and 308"),
        row("isError", Reply::tool_error("bad argument"), Class::Tool, "tool_error", "bad argument"),
        row(
            "success:false",
            Reply::structured(json!({"success": false, "error": "engine"})),
            Class::Tool,
            "tool_error",
            "engine",
        ),
        row("cross", Reply::text("❌ broken"), Class::Tool, "tool_error", "❌ broken"),
        row("no content", Reply::result(json!({"content": []})), Class::Tool, "tool_error", "no content"),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_row_is_classified_named_and_counted_as_the_table_says() {
    for Row { name, reply, class, error_type, says } in rows() {
        let world = World::with(|settings| TargetSettings { max_response_bytes: 65_536, ..settings }).await;
        world.server.always("tools/call get_a", reply);
        let outcome = world.cycle(&["a", "b"]).await;
        let failure = failure(&outcome, "get_a");
        let message = failure.to_string();
        assert_eq!((failure.class(), &*failure.error_type()), (class, error_type), "{name}: {message}");
        assert!(message.starts_with("http://buddy:8678/mcp: get_a: "), "{name}: {message}");
        assert!(message.contains(says), "{name}: {message}");
        assert_eq!(answer(&outcome, "get_b").document, json!({"b": 2}), "{name}: the other tool is not touched");
        assert_eq!(outcome.up, Some(true), "{name}");
        let policy = class.policy();
        let tries = if policy.retry == RetryRule::Backoff { 3 } else { 1 };
        assert_eq!(world.server.count("tools/call get_a"), tries, "{name}: 5 s and 10 s fit into 30 s, 20 s do not");
        let counted = world.target.snapshot().breakers["get_a"].failures;
        assert_eq!(counted, u32::from(policy.counts_for_breaker), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_session_is_refused_with_is_tried_on_a_new_one_and_then_taken_as_without_a_session() {
    for (status, class, says) in [
        (400, Class::Protocol, "Session not found"),
        (401, Class::Auth, "Authorization"),
        (404, Class::Protocol, "http 404"),
    ] {
        let world = World::new().await;
        world.server.always("tools/call get_a", Reply::transport_error(status, "Session not found"));
        let outcome = world.cycle(&["a", "b"]).await;
        let failure = failure(&outcome, "get_a");
        assert_eq!((failure.class(), failure.error_type()), (class, status.to_string().into()), "{failure}");
        assert!(failure.to_string().contains(says), "{failure}");
        assert_eq!(world.server.count("tools/call get_a"), 2);
        assert_eq!(world.server.count("initialize"), 2);
        assert_eq!(world.target.snapshot().breakers["get_a"].failures, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_fails_the_set_up_and_every_tool_once() {
    let world = World::new().await;
    world.server.stop();
    tokio::task::yield_now().await;
    let outcome = world.cycle(&["a", "b"]).await;
    let failure = outcome.setup.unwrap();
    assert_eq!(failure.class(), Class::Unavailable);
    assert!(failure.to_string().contains("initialize: cannot connect to buddy:8678"), "{failure}");
    assert_eq!(outcome.up, Some(false));
    for tool in ["get_a", "get_b"] {
        assert_eq!(
            *outcome.tools.iter().find(|(name, _)| &**name == tool).map(|(_, result)| result).unwrap(),
            minicol_mcp::ToolResult::SetupFailed
        );
        assert_eq!(world.target.snapshot().breakers[tool].failures, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn tls_that_is_refused_is_not_tried_again() {
    let world = World::new().await;
    let tls = ClientTls { ca_file: Some(authority()), ..ClientTls::default() }.client_config(&[b"http/1.1"]).unwrap();
    let http = HttpClient::new(HttpConnector::new(world.scope.network().clone(), Some(tls)));
    let endpoint = "https://buddy:8678/mcp".parse().unwrap();
    let state = std::sync::Arc::new(TargetState::default());
    let target = Target::new(TargetSettings::new(endpoint), http, state, &world.scope);
    let before = tokio::time::Instant::now();
    let failure = target.cycle(&world.plan(&["a"])).await.setup.unwrap();
    assert_eq!((failure.class(), &*failure.error_type()), (Class::Tls, "tls"), "{failure}");
    assert!(failure.to_string().contains("certificate"), "{failure}");
    assert!(before.elapsed() < Duration::from_secs(1), "no retry");
    assert_eq!(target.snapshot().breakers["get_a"].failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_on_the_same_origin_is_followed_and_one_to_another_never_sees_the_headers() {
    let secret =
        |settings: TargetSettings| settings.with_header(http::header::AUTHORIZATION, "Bearer hunter2".parse().unwrap());
    let world = World::with(secret).await;
    world.server.once("tools/call get_a", Reply::status(307).header("location", "/other/mcp?x=1"));
    world.server.once("tools/call get_b", Reply::status(308).header("location", "http://buddy:8678/other"));
    let outcome = world.cycle(&["a", "b"]).await;
    answer(&outcome, "get_a");
    answer(&outcome, "get_b");
    assert!(
        world.server.requests().iter().any(|seen| seen.path == "/other/mcp?x=1" && seen.kind() == "tools/call get_a")
    );

    let thief = FaultServer::start(&*world.harness.network, "thief:80").await;
    for location in ["http://thief/mcp", "https://buddy:8678/mcp", "http://user@buddy:8678/mcp"] {
        world.server.always("tools/call get_a", Reply::status(307).header("location", location));
        let outcome = world.cycle(&["a"]).await;
        let failure = failure(&outcome, "get_a");
        assert_eq!((failure.class(), &*failure.error_type()), (Class::Protocol, "307"));
        assert!(failure.to_string().contains("another origin"), "{failure}");
        assert!(!failure.to_string().contains("user"), "{failure}");
    }
    assert_eq!(thief.requests().len(), 0);

    world.server.forget_requests();
    world.server.always("tools/call get_a", Reply::status(307).header("location", "/mcp"));
    let outcome = world.cycle(&["a"]).await;
    assert!(failure(&outcome, "get_a").to_string().contains("one redirect too many"));
    assert_eq!(world.server.count("tools/call get_a"), 4, "the request and three redirects");
}

#[tokio::test(start_paused = true)]
async fn no_message_and_no_debug_text_holds_a_secret() {
    let secret =
        |settings: TargetSettings| settings.with_header(http::header::AUTHORIZATION, "Bearer hunter2".parse().unwrap());
    for Row { reply, .. } in rows() {
        let world = World::with(secret).await;
        world.server.always("tools/call", reply);
        let outcome = world.cycle(&["a"]).await;
        let seen = format!("{outcome:?} {:?} {:?}", world.target, world.state);
        assert!(!seen.contains("hunter2") && !seen.contains("session-1"), "{seen}");
        assert!(!result(&outcome, "get_a").eq(&minicol_mcp::ToolResult::NotOffered));
        let sent = world.server.requests();
        assert!(sent.iter().all(|seen| seen.header("authorization") == Some("Bearer hunter2")));
    }
}

/// An authority that nobody in these tests is signed by.
fn authority() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/authority.pem")
}
