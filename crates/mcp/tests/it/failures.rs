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
struct Mode {
    reply: Reply,
    class: Class,
    error_type: &'static str,
    says: &'static str,
}

/// Each mode is a function, and a test of that name: the row, from the bytes on the wire to what follows.
macro_rules! modes {
    ($($name:ident: $reply:expr => $class:ident, $error_type:literal, $says:literal;)*) => {
        fn modes() -> Vec<Mode> {
            vec![$($name()),*]
        }

        $(fn $name() -> Mode {
            Mode { reply: $reply, class: Class::$class, error_type: $error_type, says: $says }
        })*

        mod mode {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::is_classified_named_and_counted_as_the_table_says(super::$name()).await;
            })*
        }
    };
}

modes! {
    reset: Reply::cut() => Unavailable, "unavailable", "is the server running";
    stream_without_an_event: Reply::events() => Unavailable, "unavailable", "ended without a reply";
    dies_in_an_event: Reply::events().chunk("data: {\"jso").then_cut() => Unavailable, "unavailable", "is the server running";
    dies_in_a_body: Reply::json("{\"jsonrpc\"").then_cut() => Unavailable, "unavailable", "is the server running";
    http_502: Reply::status(502) => Unavailable, "502", "not available: start it";
    http_503: Reply::status(503) => Unavailable, "503", "not available: start it";
    http_504: Reply::status(504) => Unavailable, "504", "not available: start it";
    hangs: Reply::hang() => Timeout, "timeout", "within 10 s: is the server stuck";
    hangs_in_a_body: Reply::events().chunk(": hello\n").then_hang() => Timeout, "timeout", "raise timeout_seconds";
    http_429: Reply::status(429) => Throttled, "429", "less often; raise interval_seconds";
    http_429_until: Reply::status(429).header("retry-after", "600") => Throttled, "429", "again in 600 s; raise interval_seconds";
    http_503_until: Reply::status(503).header("retry-after", "600") => Throttled, "503", "again in 600 s; raise interval_seconds";
    http_403: Reply::status(403) => Auth, "403", "check the Authorization header";
    http_500: Reply::status(500).chunk("oops\u{1b}") => Protocol, "500", "oops\\u{1b}: the server failed: its log has the reason";
    http_406: Reply::transport_error(406, "Not Acceptable") => Protocol, "406", "Not Acceptable: is this the endpoint";
    http_418_with_a_page: page(418) => Protocol, "418", "http 418: is this the endpoint";
    bad_json: Reply::json("{nope") => Protocol, "invalid_response", "not JSON";
    bad_json_in_an_event: event("{nope") => Protocol, "invalid_response", "not JSON";
    no_event_stream: Reply::events().chunk("garbage\n") => Protocol, "invalid_response", "no event stream";
    no_http: Reply::raw("hello\r\n\r\n") => Protocol, "invalid_response", "not HTTP";
    html: page(200) => Protocol, "invalid_response", "text/html";
    json_array: Reply::json("[1]") => Protocol, "invalid_response", "no JSON-RPC";
    wrong_id: Reply::json("{\"jsonrpc\":\"2.0\",\"id\":9999,\"result\":{}}") => Protocol, "invalid_response", "another request";
    http_202: Reply::status(202) => Protocol, "invalid_response", "http 202 instead";
    http_204: Reply::status(204) => Protocol, "invalid_response", "http 204 instead";
    http_200_and_nothing: Reply::status(200) => Protocol, "invalid_response", "empty body";
    empty_json: Reply::json("") => Protocol, "invalid_response", "empty body";
    large_json: Reply::json(&large()) => Protocol, "response_too_large", "raise max_response_bytes";
    large_event: event(&large()) => Protocol, "response_too_large", "65536 bytes: raise max_response_bytes";
    json_rpc_error: Reply::error(-32603, "Internal\nerror") => Protocol, "-32603", "Internal\\nerror; check";
    json_rpc_error_of_their_own: Reply::error(-7, "x") => Protocol, "rpc_error", "error -7: x; check";
    redirect_302: Reply::status(302).header("location", "/elsewhere") => Protocol, "302", "only 307 and 308";
    is_error: Reply::tool_error("bad argument") => Tool, "tool_error", "bad argument; the server's log";
    success_false: Reply::structured(json!({"success": false, "error": "engine"})) => Tool, "tool_error", "engine; the server's log";
    cross: Reply::text("❌ broken") => Tool, "tool_error", "❌ broken; the server's log";
    no_content: Reply::result(json!({"content": []})) => Tool, "tool_error", "no content; the server's log";
}

fn event(data: &str) -> Reply {
    Reply::events().chunk(format!("data: {data}\r\n\r\n"))
}

fn page(status: u16) -> Reply {
    Reply::status(status).header("content-type", "text/html").chunk("<html>")
}

fn large() -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"{}\"}}", "x".repeat(70_000))
}

/// What a message ends with, or holds: what to do.
const CURES: [&str; 10] = [
    "is the server running",
    "start it",
    "raise timeout_seconds",
    "raise interval_seconds",
    "check the Authorization header",
    "is this the endpoint of an MCP server",
    "its log has the reason",
    "raise max_response_bytes",
    "the server's log",
    "set the endpoint",
];

async fn is_classified_named_and_counted_as_the_table_says(Mode { reply, class, error_type, says }: Mode) {
    let world = World::with(|settings| TargetSettings { max_response_bytes: 65_536, ..settings }).await;
    world.server.always("tools/call get_a", reply);
    let outcome = world.cycle(&["a", "b"]).await;
    let failure = failure(&outcome, "get_a");
    let message = failure.to_string();
    assert_eq!((failure.class(), &*failure.error_type()), (class, error_type), "{message}");
    assert!(message.starts_with("http://buddy:8678/mcp: get_a: "), "{message}");
    assert!(message.contains(says), "{message}");
    assert!(CURES.iter().any(|cure| message.contains(cure)), "no cure: {message}");
    assert_eq!(answer(&outcome, "get_b").document, json!({"b": 2}), "the other tool is not touched");
    assert_eq!(outcome.up, Some(true));
    let policy = class.policy();
    let tries = if policy.retry == RetryRule::Backoff { 3 } else { 1 };
    assert_eq!(world.server.count("tools/call get_a"), tries, "5 s and 10 s fit into 30 s, 20 s do not");
    let counted = world.target.snapshot().breakers["get_a"].failures;
    assert_eq!(counted, u32::from(policy.counts_for_breaker));
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

/// Promise: what refuses one tool alone fills no server with sessions. Only a 404 says that a session is gone.
#[tokio::test(start_paused = true)]
async fn a_tool_that_is_refused_on_every_session_leaves_none_behind_and_is_called_once_a_cycle_from_then_on() {
    for status in [400, 401] {
        let mut world = World::with(|settings| TargetSettings { breaker_threshold: 100, ..settings }).await;
        world.server.always("tools/call get_a", Reply::transport_error(status, "no"));
        for cycle in 1..=4 {
            let outcome = world.cycle(&["a", "b"]).await;
            assert_eq!(failure(&outcome, "get_a").error_type(), status.to_string());
            answer(&outcome, "get_b");
            assert_eq!((world.server.count("initialize"), world.server.count("tools/call get_a")), (2, 1 + cycle));
            world.next_tick().await;
        }
        world.target.close().await;
        assert_eq!(world.server.count("DELETE"), 2, "each is ended");

        // Once it has worked, the same refusal may be the session's again.
        world.server.tool("get_a", Reply::structured(json!({})));
        answer(&world.cycle(&["a"]).await, "get_a");
        world.next_tick().await;
        world.server.once("tools/call get_a", Reply::transport_error(status, "no"));
        answer(&world.cycle(&["a"]).await, "get_a");
        assert_eq!(world.server.count("initialize"), 4);
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
    // The world's server speaks plain text.
    assert!(failure.to_string().ends_with("plain text write http://"), "{failure}");
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
    for Mode { reply, .. } in modes() {
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
