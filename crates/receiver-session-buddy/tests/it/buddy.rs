//! A Session-Buddy that answers with what the real one, release 0.23.0, was recorded to answer, unless it is told to fail.

use minicol_mcp::testing::{FaultServer, Reply, Seen};
use minicol_plugin::testing::Harness;
use serde_json::Value;

pub(crate) const ADDRESS: &str = "localhost:8678";

macro_rules! recording {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../tests/fixtures/session-buddy-0.23.0/", $name, ".http")))
    };
}

/// Each recording: status line, headers and the event stream, byte for byte.
const RECORDINGS: [(&str, &str); 9] = [
    recording!("initialize"),
    recording!("tools_list"),
    recording!("get_activity_summary"),
    recording!("get_workflow_metrics"),
    recording!("get_session_analytics"),
    recording!("get_session_analytics.open_session"),
    recording!("get_metrics_summary"),
    recording!("get_liveness"),
    recording!("get_prometheus_metrics"),
];

/// Serves the recordings on [`ADDRESS`] of the harness's network.
pub(crate) async fn recorded(harness: &Harness) -> FaultServer {
    let server = FaultServer::start(&*harness.network, ADDRESS).await;
    // It names a session as it was recorded to, and takes every request for one of that session.
    server.stateless();
    let (head, _) = recording("initialize");
    let session = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().to_owned();
    server.always_with("initialize", move |seen| replay("initialize", seen).header("mcp-session-id", &session));
    server.always_with("tools/list", |seen| replay("tools_list", seen));
    for (tool, _) in RECORDINGS.iter().filter(|(name, _)| name.starts_with("get_")) {
        answers_again(&server, tool);
    }
    server
}

/// The tool answers as it was recorded to, whatever it was told before.
pub(crate) fn answers_again(server: &FaultServer, tool: &'static str) {
    server.always_with(&format!("tools/call {tool}"), move |seen| {
        // With the 25th session, which is open, the real server's query fails.
        let open = tool == "get_session_analytics" && seen.arguments()["limit"].as_u64() > Some(24);
        replay(if open { "get_session_analytics.open_session" } else { tool }, seen)
    });
}

/// The document in a recorded answer, read from its bytes without any MCP.
pub(crate) fn document(name: &str) -> Value {
    let (_, body) = recording(name);
    let data = body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let message: Value = serde_json::from_str(data).unwrap();
    let content = &message["result"]["structuredContent"];
    content.get("result").unwrap_or(content).clone()
}

/// The tools that were called and other requests that were made since the last look, sorted, and how often.
pub(crate) fn asked(server: &FaultServer) -> Vec<String> {
    let mut kinds = server.kinds();
    kinds.sort();
    server.forget_requests();
    kinds
}

/// The recorded reply, its bytes as they were, with the id of this request.
fn replay(name: &str, seen: &Seen) -> Reply {
    let (_, body) = recording(name);
    let before = "\"id\":";
    let at = body.find(before).unwrap() + before.len();
    let length = body[at..].find(',').unwrap();
    Reply::events().chunk(format!("{}{}{}", &body[..at], seen.id(), &body[at + length..]))
}

/// Head and body of a recording.
fn recording(name: &str) -> (&'static str, &'static str) {
    let (_, recording) = RECORDINGS.iter().find(|(of, _)| *of == name).unwrap();
    recording.split_once("\r\n\r\n").unwrap()
}
