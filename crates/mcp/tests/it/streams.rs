//! Event streams: comments, priming events, other messages, what the server asks, arrays of messages, resumption.

use std::{sync::Arc, time::Duration};

use minicol_mcp::{
    Class,
    testing::{Reply, Seen, Style},
};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};

use crate::world::{World, answer, failure};

/// A stream that ends after a priming event.
fn primed() -> Reply {
    Reply::events().chunk("id: e1\r\nretry: 2000\r\ndata:\r\n\r\n")
}

fn reply_event(id: &Value) -> String {
    let message = json!({"jsonrpc": "2.0", "id": id, "result": {"structuredContent": {"late": true}}});
    format!("data: {message}\n\n")
}

#[tokio::test(start_paused = true)]
async fn comments_and_notifications_before_the_reply_are_passed_over() {
    let world = World::new().await;
    world.server.always_with("tools/call get_a", |seen| {
        Reply::events()
            .chunk(": keep-alive\r\n\r\ndata: {\"jsonrpc\":\"2.0\",")
            .chunk("\"method\":\"notifications/progress\"}\r\n\r\n")
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

/// The answers to the server's own requests that it saw.
fn answers(world: &World) -> Vec<Seen> {
    world.server.requests().into_iter().filter(|seen| seen.kind() == "POST").collect()
}

fn request_event(id: &str, method: &str) -> String {
    format!("data: {}\n\n", json!({"jsonrpc": "2.0", "id": id, "method": method}))
}

/// A server may not go on before its ping is answered. The one to `initialize` comes before we could know the session otherwise.
#[tokio::test(start_paused = true)]
async fn what_the_server_asks_is_answered_while_its_reply_is_waited_for() {
    let world = World::new().await;
    let answered = Arc::new(Notify::new());
    let told = Arc::clone(&answered);
    world.server.always_with("POST", move |_| {
        told.notify_one();
        Reply::status(202)
    });
    let waits = Arc::clone(&answered);
    world.server.once_with("initialize", move |seen| {
        let result =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}});
        let reply = json!({"jsonrpc": "2.0", "id": seen.id(), "result": result});
        let events = Reply::events().header("mcp-session-id", "session-1").chunk(request_event("srv-0", "ping"));
        events.until(&waits).chunk(format!("data: {reply}\n\n"))
    });
    world.server.know_session("session-1");
    let waits = Arc::clone(&answered);
    world.server.always_with("tools/call get_a", move |seen| {
        let asked = Reply::events().chunk(request_event("srv-1", "ping")).until(&waits);
        asked.chunk(request_event("srv-2", "roots/list")).until(&waits).chunk(reply_event(&seen.id()))
    });
    let before = Instant::now();
    let outcome = world.cycle(&["a"]).await;
    assert_eq!(answer(&outcome, "get_a").document, json!({"late": true}));
    assert_eq!(before.elapsed(), Duration::ZERO);
    let seen = answers(&world);
    let bodies: Vec<_> = seen.iter().map(|seen| seen.body.clone()).collect();
    assert_eq!(
        bodies,
        [
            json!({"jsonrpc": "2.0", "id": "srv-0", "result": {}}),
            json!({"jsonrpc": "2.0", "id": "srv-1", "result": {}}),
            json!({"jsonrpc": "2.0", "id": "srv-2", "error": {"code": -32601, "message": "Method not found"}}),
        ]
    );
    assert!(seen.iter().all(|seen| seen.session() == Some("session-1")), "{seen:?}");
}

/// Whoever asks without end, or takes no answer, costs the call nothing.
#[tokio::test(start_paused = true)]
async fn answers_are_bounded_and_none_that_fails_fails_the_call() {
    for taken in [Reply::status(202), Reply::status(404), Reply::status(500), Reply::cut(), Reply::hang()] {
        let mut world = World::new().await;
        world.server.always("POST", taken);
        world.server.always_with("tools/call get_a", |seen| {
            let ids = std::iter::once("x".repeat(1000)).chain((0..50).map(|n| n.to_string()));
            let asked = ids.fold(Reply::events(), |reply, id| reply.chunk(request_event(&id, "ping")));
            asked.wait(Duration::from_secs(1)).chunk(reply_event(&seen.id()))
        });
        for cycle in 1..=2 {
            let outcome = world.cycle(&["a"]).await;
            assert_eq!(answer(&outcome, "get_a").document, json!({"late": true}));
            assert_eq!(answers(&world).len(), 16 * cycle);
            assert_eq!(world.server.count("initialize"), 1, "the session is kept");
            world.next_tick().await;
        }
    }
}

/// The version 2025-03-26 lets a server send several messages as one array.
#[tokio::test(start_paused = true)]
async fn a_reply_in_an_array_of_messages_is_found() {
    for style in [Style::Json, Style::Events] {
        let world = World::new().await;
        let batch = move |messages: &Value| match style {
            Style::Json => Reply::json(&messages.to_string()),
            Style::Events => Reply::events().chunk(format!("data: {messages}\n\n")),
        };
        world.server.always_with("tools/list", move |seen| {
            let tools = json!([{"name": "get_a"}, {"name": "get_b"}]);
            batch(&json!([{"jsonrpc": "2.0", "id": seen.id(), "result": {"tools": tools}}]))
        });
        world.server.always_with("tools/call get_a", move |seen| {
            let told = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}});
            let result = json!({"structuredContent": {"late": true}});
            batch(&json!([told, {"jsonrpc": "2.0", "id": seen.id(), "result": result, "error": null}]))
        });
        world.server.always_with("tools/call get_b", move |_| batch(&json!([])));
        let outcome = world.cycle(&["a", "b"]).await;
        assert_eq!(answer(&outcome, "get_a").document, json!({"late": true}));
        let failure = failure(&outcome, "get_b");
        assert_eq!((failure.class(), &*failure.error_type()), (Class::Protocol, "invalid_response"), "{failure}");
    }
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

/// HTML, 9.2.6: an empty id takes the last one back.
#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_after_an_empty_id_is_a_lost_connection() {
    let world = World::new().await;
    let stream = Reply::events().chunk("id: e1\ndata:\n\nid\ndata:\n\n");
    world.server.always("tools/call get_a", stream);
    let outcome = world.cycle(&["a"]).await;
    let failure = failure(&outcome, "get_a");
    assert_eq!(failure.class(), Class::Unavailable, "{failure}");
    assert_eq!(world.server.count("GET"), 0);
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
