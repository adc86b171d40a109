//! What a server, or the way to it, can do to a reply: each ends within its bound, in its class, with a message that names target, tool and
//! cure. What is a matter of one status or one body stands in the table of `failures`.

use std::time::Duration;

use minicol_mcp::{
    Class, TargetSettings,
    testing::{Reply, Seen},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{World, answer, failure};

/// The time of one attempt in these tests.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Time for what takes none.
const AT_ONCE: Duration = Duration::from_millis(10);

/// One attempt only, and replies of 64 KiB at most.
async fn world() -> World {
    World::with(|settings| TargetSettings { max_retries: 0, max_response_bytes: 65_536, ..settings }).await
}

/// `get_a` is answered so, and fails so; `get_b` beside it, and `get_a` afterwards, are answered.
async fn fails(reply: Reply, class: Class, error_type: &str, within: Duration, says: &str) {
    let mut world = world().await;
    world.server.once("tools/call get_a", reply);
    let before = Instant::now();
    let outcome = world.cycle(&["a", "b"]).await;
    let took = before.elapsed();
    let failure = failure(&outcome, "get_a");
    let message = failure.to_string();
    assert_eq!((failure.class(), &*failure.error_type()), (class, error_type), "{message}");
    assert!(message.starts_with("http://buddy:8678/mcp: get_a: "), "{message}");
    assert!(message.contains(says), "{message}");
    assert!(took <= within, "{took:?}: {message}");
    answer(&outcome, "get_b");
    world.next_tick().await;
    answer(&world.cycle(&["a"]).await, "get_a");
}

/// `get_a` is answered so, and that counts as the answer `{"late": true}`; the same again on the same session.
async fn answers(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static, within: Duration) -> World {
    let world = world().await;
    world.server.always_with("tools/call get_a", reply);
    for _ in 0..2 {
        let before = Instant::now();
        let outcome = world.cycle(&["a"]).await;
        assert_eq!(answer(&outcome, "get_a").document, json!({"late": true}));
        assert!(before.elapsed() <= within, "{:?}", before.elapsed());
    }
    assert_eq!(world.server.count("initialize"), 1);
    world
}

fn message(id: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": {"structuredContent": {"late": true}}}).to_string()
}

/// In chunks of one byte.
fn byte_by_byte(reply: Reply, text: &str) -> Reply {
    text.bytes().fold(reply, |reply, byte| reply.chunk(vec![byte]))
}

#[tokio::test(start_paused = true)]
async fn an_event_may_come_in_single_bytes_whatever_ends_its_lines() {
    for end in ["\r\n", "\r", "\n"] {
        let event =
            move |seen: &Seen| format!(": hello{end}{end}event: message{end}data: {}{end}{end}", message(&seen.id()));
        answers(move |seen| byte_by_byte(Reply::events(), &event(seen)), AT_ONCE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_may_spread_its_data_over_several_lines() {
    let event = |seen: &Seen| {
        let text = message(&seen.id());
        let (first, second) = text.split_at(text.find(',').unwrap() + 1);
        format!("data: {first}\r\ndata: {second}\r\n\r\n")
    };
    answers(move |seen| Reply::events().chunk(event(seen)), AT_ONCE).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_of_two_replies_counts() {
    let second = |seen: &Seen| message(&seen.id()).replace("true", "false");
    let both = move |seen: &Seen| format!("data: {}\n\ndata: {}\n\n", message(&seen.id()), second(seen));
    answers(move |seen| Reply::events().chunk(both(seen)), AT_ONCE).await;
}

#[tokio::test(start_paused = true)]
async fn two_replies_in_one_json_body_are_none() {
    let two = "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}".repeat(2);
    fails(Reply::json(&two), Class::Protocol, "invalid_response", AT_ONCE, "not JSON").await;
}

#[tokio::test(start_paused = true)]
async fn an_event_with_another_requests_id_is_no_reply() {
    let event = format!("data: {}\n\n", message(&json!(9999)));
    let reply = Reply::events().chunk(event).then_hang();
    fails(reply, Class::Protocol, "invalid_response", AT_ONCE, "a reply to another request").await;
}

#[tokio::test(start_paused = true)]
async fn priming_events_and_notifications_before_the_reply_are_passed_over() {
    let before = "id: 1\nretry: 10\ndata:\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n";
    let reply = move |seen: &Seen| Reply::events().chunk(format!("{before}id: 2\ndata: {}\n\n", message(&seen.id())));
    let world = answers(reply, AT_ONCE).await;
    assert_eq!(world.server.count("GET"), 0, "nothing was broken, so nothing is resumed");
}

#[tokio::test(start_paused = true)]
async fn events_of_another_kind_before_the_reply_are_passed_over() {
    let before = "event: ping\ndata: 2026-11-27T10:00:00Z\n\nevent: endpoint\ndata: {\"result\": 1}\n\n";
    let reply = move |seen: &Seen| Reply::events().chunk(format!("{before}data: {}\n\n", message(&seen.id())));
    answers(reply, AT_ONCE).await;
}

/// What the standard says to ignore, and what old servers and proxies send.
#[tokio::test(start_paused = true)]
async fn odd_lines_in_an_event_stream_are_passed_over() {
    let before = "x-proxy: 7\nnonsense\nretry: soon\nevent: ping\nevent: message\nid: 1\nid: 2\n";
    answers(move |seen| Reply::events().chunk(format!("{before}data: {}\n\n", message(&seen.id()))), AT_ONCE).await;
}

/// Some servers tell on one stream what belongs to another.
#[tokio::test(start_paused = true)]
async fn an_error_of_another_request_before_the_reply_is_passed_over() {
    let error = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32603,\"message\":\"not yours\"}}\n\n";
    answers(move |seen| Reply::events().chunk(format!("{error}data: {}\n\n", message(&seen.id()))), AT_ONCE).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_cut_at_the_largest_reply() {
    let endless =
        |reply: Reply, piece: &str| (0..200).fold(reply, |reply, _| reply.chunk(piece.repeat(512))).then_hang();
    for reply in [
        endless(Reply::json("\""), "x"),
        endless(Reply::events().chunk("data: \""), "x"),
        endless(Reply::events(), ": never a message\n\n"),
        endless(Reply::events(), "data: {\"method\":\"notifications/x\"}\n\n"),
    ] {
        fails(reply, Class::Protocol, "response_too_large", AT_ONCE, "raise max_response_bytes").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_errors_body_that_never_ends_holds_nothing_up() {
    let second = Duration::from_millis(1010);
    let reply = Reply::status(500).chunk("kaput ").wait(Duration::from_secs(3600));
    fails(reply, Class::Protocol, "500", second, "http 500").await;
    let flood = (0..200).fold(Reply::status(500), |reply, _| reply.chunk("x".repeat(1024))).then_hang();
    fails(flood, Class::Protocol, "500", AT_ONCE, "http 500: xxx").await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_headers_is_no_reply() {
    let many = (0..500).fold(Reply::status(200), |reply, n| reply.header(&format!("x-{n}"), "y"));
    fails(many, Class::Protocol, "invalid_response", AT_ONCE, "headers are too many or too long").await;
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(4_000_000));
    fails(Reply::raw(long), Class::Protocol, "invalid_response", AT_ONCE, "headers are too many or too long").await;
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_ends_with_the_attempt() {
    let drip = |reply: Reply| (0..3600).fold(reply, |reply, _| reply.chunk(" ").wait(Duration::from_secs(1)));
    for reply in [Reply::json(""), Reply::events(), Reply::events().chunk("data: ")] {
        fails(drip(reply), Class::Timeout, "timeout", ATTEMPT, "raise timeout_seconds").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_cancellation_either_holds_nothing_up() {
    let mut world = world().await;
    world.server.always("tools/call get_a", Reply::hang());
    world.server.always("notifications/cancelled", Reply::hang());
    for _ in 0..2 {
        let before = Instant::now();
        let outcome = world.cycle(&["a", "b"]).await;
        assert_eq!((failure(&outcome, "get_a").class(), before.elapsed().as_secs()), (Class::Timeout, 10));
        answer(&outcome, "get_b");
        world.next_tick().await;
    }
    assert_eq!(world.server.count("notifications/cancelled"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_closes_between_two_calls_is_made_anew() {
    answers(|seen| Reply::json(&message(&seen.id())).header("connection", "close"), AT_ONCE).await;
    // The same, from a server that does not announce it.
    let unannounced = |seen: &Seen| {
        let body = message(&seen.id());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        Reply::raw(format!("{head}: {}\r\n\r\n{body}", body.len()))
    };
    answers(unannounced, AT_ONCE).await;
}

#[tokio::test(start_paused = true)]
async fn blocks_that_nobody_knows_do_not_spoil_a_result() {
    let late = json!({"late": true});
    let odd = json!({"content": [{"type": "text", "text": late.to_string(), "annotations": {"audience": ["system"]}}]});
    let unknown = json!({"content": [{"type": "hologram", "x": 1}], "structuredContent": late});
    for result in [odd, unknown] {
        answers(move |_| Reply::result(result.clone()), AT_ONCE).await;
    }
    let bare = Reply::result(json!({"a": 1}));
    fails(bare, Class::Tool, "tool_error", AT_ONCE, "its result has no content").await;
}

#[tokio::test(start_paused = true)]
async fn a_gateways_page_is_a_gateway() {
    let page = Reply::status(502).header("content-type", "text/html").chunk("<html>bad gateway</html>");
    fails(page, Class::Unavailable, "502", AT_ONCE, "http 502: the server, or what stands behind it, is not available")
        .await;
}
