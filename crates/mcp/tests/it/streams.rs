//! Event streams: comments, priming events, other messages, resumption.

use std::time::Duration;

use minicol_mcp::{Class, testing::Reply};
use serde_json::json;
use tokio::time::Instant;

use crate::world::{World, answer, failure};

/// A stream that ends after a priming event.
fn primed() -> Reply {
    Reply::events().chunk("id: e1\r\nretry: 2000\r\ndata:\r\n\r\n")
}

fn reply_event(id: &serde_json::Value) -> String {
    let message = json!({"jsonrpc": "2.0", "id": id, "result": {"structuredContent": {"late": true}}});
    format!("data: {message}\n\n")
}

#[tokio::test(start_paused = true)]
async fn comments_requests_and_notifications_before_the_reply_are_passed_over() {
    let world = World::new().await;
    world.server.always_with("tools/call get_a", |seen| {
        Reply::events()
            .chunk(": keep-alive\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":")
            .chunk(format!("{}}}\r\n\r\n", seen.id()))
            .wait(Duration::from_secs(1))
            .chunk("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n")
            .chunk(reply_event(&seen.id()))
            .then_hang()
    });
    let before = Instant::now();
    let outcome = world.cycle(&["a"]).await;
    assert_eq!(answer(&outcome, "get_a").document, json!({"late": true}));
    assert!(before.elapsed() < Duration::from_millis(1100), "the end of the stream is not waited for");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_after_an_id_is_resumed_after_the_time_that_the_server_named() {
    let world = World::new().await;
    world.server.always("tools/call get_a", primed());
    let id = std::sync::Arc::new(std::sync::Mutex::new(json!(null)));
    let seen_id = id.clone();
    world.server.always_with("tools/call get_a", move |seen| {
        *seen_id.lock().unwrap() = seen.id();
        primed()
    });
    world.server.once("GET", Reply::events().chunk("id: e2\ndata:\n\n"));
    world.server.always_with("GET", move |_| Reply::events().chunk(reply_event(&id.lock().unwrap())));
    let before = Instant::now();
    let outcome = world.cycle(&["a"]).await;
    assert_eq!(answer(&outcome, "get_a").document, json!({"late": true}));
    assert_eq!(before.elapsed().as_secs(), 4, "two waits of 2 s");
    let gets: Vec<_> = world.server.requests().into_iter().filter(|seen| seen.kind() == "GET").collect();
    let ids: Vec<_> = gets.iter().map(|seen| seen.header("last-event-id").unwrap()).collect();
    assert_eq!(ids, ["e1", "e2"]);
    assert!(gets.iter().all(|seen| seen.session() == Some("session-1")));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_after_an_id_is_resumed_too() {
    let world = World::new().await;
    let id = std::sync::Arc::new(std::sync::Mutex::new(json!(null)));
    let seen_id = id.clone();
    world.server.always_with("tools/call get_a", move |seen| {
        *seen_id.lock().unwrap() = seen.id();
        primed().wait(Duration::from_secs(1)).then_cut()
    });
    world.server.always_with("GET", move |_| Reply::events().chunk(reply_event(&id.lock().unwrap())));
    let outcome = world.cycle(&["a"]).await;
    assert_eq!(answer(&outcome, "get_a").document, json!({"late": true}));
    assert_eq!(world.server.count("GET"), 1);
}

/// Servers that keep no events say so in several ways. None of them costs the other tools their session.
#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_resumed_is_a_lost_connection() {
    for status in [400, 404, 405, 501] {
        let world = World::new().await;
        world.server.always("tools/call get_a", primed());
        world.server.always("GET", Reply::transport_error(status, "no events are kept"));
        let outcome = world.cycle(&["a", "b"]).await;
        let failure = failure(&outcome, "get_a");
        assert_eq!((failure.class(), &*failure.error_type()), (Class::Unavailable, "unavailable"), "{failure}");
        assert!(failure.to_string().contains(&format!("cannot be resumed (http {status})")), "{failure}");
        answer(&outcome, "get_b");
        assert_eq!(world.server.count("initialize"), 1, "the session is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_resumed_for_ever_ends_with_the_calls_time() {
    let world = World::new().await;
    world.server.always("tools/call get_a", primed());
    world.server.always("GET", Reply::events().chunk("retry: 0\n\n"));
    let before = Instant::now();
    let outcome = world.cycle(&["a"]).await;
    assert_eq!(failure(&outcome, "get_a").class(), Class::Timeout);
    assert_eq!(before.elapsed().as_secs(), 10);
    assert!(world.server.count("GET") < 250, "also a server that says 0 is not asked in a tight loop");
}
