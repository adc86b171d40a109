//! A Session-Buddy that answers with what the real one, release 0.23.0, was recorded to answer, unless it is told to fail.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use minicol_plugin::{CancellationToken, net::HttpServer, testing::Harness};
use serde_json::{Value, json};
use tower::service_fn;

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

/// How a tool answers, or `initialize` or `tools/list` under those names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// As it was recorded.
    Recorded,
    /// With `isError`.
    ToolError,
    /// With this HTTP status.
    Status(u16),
    /// Never.
    Never,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answers>,
    seen: Vec<(String, Value)>,
    sessions: u32,
    ended: u32,
}

/// The server; it is gone when this is dropped.
pub(crate) struct Buddy {
    state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

impl Buddy {
    /// Serves on [`ADDRESS`] of the harness's network.
    pub(crate) async fn start(harness: &Harness) -> Self {
        let listener = harness.network.listen(ADDRESS).await.unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let service = service_fn(move |request| answer(Arc::clone(&shared), request));
        let server = tokio::spawn(HttpServer::new(listener).serve(service, CancellationToken::new()));
        Self { state, server }
    }

    pub(crate) fn answers(&self, to: &str, how: Answers) {
        self.state().answers.insert(to.to_owned(), how);
    }

    /// What was asked since the last look: tools by name with their arguments, other methods without.
    pub(crate) fn seen(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.state().seen)
    }

    /// The names alone.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut names: Vec<_> = self.seen().into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }

    /// Sessions that were made, and that were ended by the client.
    pub(crate) fn sessions(&self) -> (u32, u32) {
        let state = self.state();
        (state.sessions, state.ended)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Buddy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if head.method == Method::DELETE {
        state.lock().unwrap().ended += 1;
        return Ok(status(200));
    }
    let Ok(message) = serde_json::from_slice::<Value>(&body) else { return Ok(status(400)) };
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    if method.starts_with("notifications/") {
        return Ok(status(202));
    }
    let (asked, arguments) = match method.as_str() {
        "tools/call" => (message["params"]["name"].as_str().unwrap(), message["params"]["arguments"].clone()),
        other => (other, Value::Null),
    };
    let (how, session) = {
        let mut state = state.lock().unwrap();
        state.seen.push((asked.to_owned(), arguments.clone()));
        state.sessions += u32::from(asked == "initialize");
        (state.answers.get(asked).copied().unwrap_or(Answers::Recorded), state.sessions)
    };
    Ok(match how {
        Answers::Never => std::future::pending().await,
        Answers::Status(code) => status(code),
        Answers::ToolError => event(&tool_error(&message["id"]), session),
        Answers::Recorded => match recorded(asked, &arguments) {
            Some(recording) => event(&with_id(recording, &message["id"]), session),
            None => status(404),
        },
    })
}

fn recorded(asked: &str, arguments: &Value) -> Option<&'static str> {
    let name = match asked {
        "tools/list" => "tools_list",
        // With the 25th session, which is open, the real server's query fails.
        "get_session_analytics" if arguments["limit"].as_u64().unwrap_or(20) > 24 => {
            "get_session_analytics.open_session"
        }
        other => other,
    };
    Some(body_of(name)?.1)
}

/// Head and body of a recording.
fn body_of(name: &str) -> Option<(&'static str, &'static str)> {
    let (_, recording) = RECORDINGS.iter().find(|(of, _)| *of == name)?;
    recording.split_once("\r\n\r\n")
}

/// The document in a recorded answer, read from its bytes without any MCP.
pub(crate) fn document(name: &str) -> Value {
    let (_, body) = body_of(name).unwrap();
    let data = body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let message: Value = serde_json::from_str(data).unwrap();
    let content = &message["result"]["structuredContent"];
    content.get("result").unwrap_or(content).clone()
}

/// The recorded reply, its bytes as they were, with the id of this request.
fn with_id(body: &str, id: &Value) -> String {
    let before = "\"id\":";
    let at = body.find(before).unwrap() + before.len();
    let length = body[at..].find(',').unwrap();
    format!("{}{id}{}", &body[..at], &body[at + length..])
}

fn tool_error(id: &Value) -> String {
    let result = json!({"content": [{"type": "text", "text": "engine_failure"}], "isError": true});
    format!("event: message\r\ndata: {}\r\n\r\n", json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn event(body: &str, session: u32) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_owned()));
    response.headers_mut().insert(header::CONTENT_TYPE, "text/event-stream".parse().unwrap());
    response.headers_mut().insert("mcp-session-id", format!("session-{session}").parse().unwrap());
    response
}

fn status(code: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
