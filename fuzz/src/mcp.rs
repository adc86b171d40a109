//! What an MCP server answers, from the bytes of HTTP to the result of a tool, through the client that asks in earnest.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use minicol_mcp::{
    CyclePlan, HttpClient, PollTarget, Target, TargetSettings, TargetState, ToolPlan, ToolResult,
    testing::{FaultServer, Reply},
};
use minicol_plugin::{CancellationToken, ComponentKind, net::HttpConnector, testing::Harness};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::block_on;

pub(crate) const WORDS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "content-type: text/event-stream\r\n",
    "content-type: application/json\r\n",
    "transfer-encoding: chunked\r\n",
    "content-length: 5\r\n",
    "mcp-session-id: a\r\n",
    "retry-after: 99999999999\r\n",
    "location: /mcp\r\n",
    "\r\n\r\n",
    "event: message\r\n",
    "data: ",
    "id: 1\n",
    "retry: 1\n",
    "\n\n",
    "\"jsonrpc\":\"2.0\"",
    "\"id\":1",
    "\"result\":{",
    "\"error\":{\"code\":-32603,\"message\":\"x\"}",
    "\"method\":\"notifications/progress\"",
    "\"content\":[",
    "\"type\":\"text\"",
    "\"text\":\"",
    "\"structuredContent\":{",
    "\"isError\":true",
    "\"nextCursor\":\"a\"",
    "\"tools\":[",
    "\"protocolVersion\":\"2026-07-28\"",
    "\"success\":false",
];

/// How long a cycle may take, on the clock that stands still.
const INTERVAL: Duration = Duration::from_secs(30);
/// The longest reply that is read.
const MAX_RESPONSE: usize = 64 * 1024;

/// Two cycles with a server that gives `reply` where `place` says: to a call, to the list of tools, or to the beginning.
fn poll(place: u8, reply: impl Fn(&Value) -> Reply + Send + Sync + 'static) {
    block_on(async {
        let harness = Harness::default();
        let server = FaultServer::start(&*harness.network, "buddy:8678").await;
        server.tool("get_a", Reply::structured(json!({"a": 1})));
        let kind = match place % 4 {
            0 | 1 => "tools/call get_a",
            2 => "tools/list",
            _ => "initialize",
        };
        server.always_with(kind, move |seen| reply(&seen.id()));
        let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
        let mut settings = TargetSettings::new(server.url().parse().expect("an endpoint"));
        settings.max_response_bytes = MAX_RESPONSE;
        let http = HttpClient::new(HttpConnector::new(Arc::clone(scope.network()), None));
        let target = Target::new(settings, http, Arc::new(TargetState::default()), &scope);
        for _ in 0..2 {
            let tick = Instant::now();
            let plan = CyclePlan {
                tick,
                deadline: tick + INTERVAL,
                tools: vec![ToolPlan::named("get_a")],
                cancel: CancellationToken::new(),
                insists: false,
            };
            let outcome = target.cycle(&plan).await;
            assert!(tick.elapsed() <= INTERVAL + Duration::from_secs(1), "the cycle outlived its deadline");
            for (_, result) in &outcome.tools {
                if let ToolResult::Failed { failure, .. } = result {
                    let told = failure.to_string();
                    assert!(!told.chars().any(char::is_control), "{told:?}");
                    assert!(told.len() < 4096, "a message of {} bytes", told.len());
                }
            }
        }
    });
}

/// The bytes of a connection.
pub(crate) fn http(input: &[u8]) {
    let Some((place, rest)) = input.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    poll(*place, move |_| Reply::raw(bytes.clone()));
}

/// The body of an event stream. `ID` stands for the request's id.
pub(crate) fn sse(input: &[u8]) {
    let Some((place, rest)) = input.split_first() else { return };
    let rest = rest.to_vec();
    poll(*place, move |id| Reply::events().chunk(with_id(&rest, id)));
}

/// The body of an answer in JSON.
pub(crate) fn json_rpc(input: &[u8]) {
    let Some((place, rest)) = input.split_first() else { return };
    let rest = rest.to_vec();
    poll(*place, move |id| Reply::status(200).header("content-type", "application/json").chunk(with_id(&rest, id)));
}

/// The result in a JSON-RPC answer that is as it should be.
pub(crate) fn tool_result(input: &[u8]) {
    let mut body = b"{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":".to_vec();
    body.extend_from_slice(input);
    body.push(b'}');
    poll(0, move |id| Reply::status(200).header("content-type", "application/json").chunk(with_id(&body, id)));
}

/// The bytes with `ID` replaced.
fn with_id(bytes: &[u8], id: &Value) -> Vec<u8> {
    match bytes.windows(2).position(|pair| pair == b"ID") {
        None => bytes.to_vec(),
        Some(at) => [&bytes[..at], id.to_string().as_bytes(), &bytes[at + 2..]].concat(),
    }
}
