use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The released Session-Buddy 0.23.0, seeded with 25 sessions, as it was recorded on 2026-11-22: its own bytes, but for the request's id.
#[derive(Debug)]
pub struct RecordedBuddy {
    /// Where it serves.
    pub endpoint: String,
    stop: CancellationToken,
    seen: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicU64>,
}

type Recordings = HashMap<&'static str, &'static str>;

macro_rules! recording {
    ($name:literal) => {
        ($name, include_str!(concat!("../fixtures/session-buddy-0.23.0/", $name, ".http")))
    };
}

fn recordings() -> Recordings {
    HashMap::from([
        recording!("initialize"),
        recording!("tools_list"),
        recording!("get_activity_summary"),
        recording!("get_workflow_metrics"),
        recording!("get_session_analytics"),
        recording!("get_session_analytics.open_session"),
        recording!("get_metrics_summary"),
        recording!("get_liveness"),
        recording!("get_prometheus_metrics"),
    ])
}

struct Server {
    recordings: Recordings,
    seen: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicU64>,
}

const SESSION: &str = "b0c0d0df5a8c43769ec40c481da0de9a";

impl RecordedBuddy {
    /// Serves on a free port of the loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let (stop, seen, ended) = (CancellationToken::new(), Arc::default(), Arc::default());
        let server = Server { recordings: recordings(), seen: Arc::clone(&seen), ended: Arc::clone(&ended) };
        let server = Arc::new(server);
        let router = Router::new().fallback(serve).with_state(server);
        let stopped = stop.clone();
        tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned());
            serving.await.expect("it serves");
        });
        Self { endpoint, stop, seen, ended }
    }

    /// How often its session was ended.
    pub fn ended(&self) -> u64 {
        self.ended.load(Relaxed)
    }

    /// What was asked so far: method names, tool names for calls.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for RecordedBuddy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(State(server): State<Arc<Server>>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    if method == Method::DELETE {
        let ours = headers.get("mcp-session-id").is_some_and(|value| value == SESSION);
        server.ended.fetch_add(u64::from(ours), Relaxed);
        return StatusCode::OK.into_response();
    }
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let request: Value = serde_json::from_slice(&body).expect("a JSON-RPC message");
    let asked = request["method"].as_str().expect("a method");
    let session = headers.get("mcp-session-id").and_then(|value| value.to_str().ok());
    if asked != "initialize" && session != Some(SESSION) {
        return (StatusCode::BAD_REQUEST, "Missing session ID").into_response();
    }
    let name = match asked {
        "initialize" => "initialize",
        "tools/list" => "tools_list",
        "tools/call" => request["params"]["name"].as_str().expect("a tool's name"),
        _ => return StatusCode::ACCEPTED.into_response(),
    };
    server.seen.lock().unwrap().push(name.to_owned());
    // With the 25th session, which is open, the real server's query fails.
    let limit = request["params"]["arguments"]["limit"].as_i64().unwrap_or(20);
    let name = if name == "get_session_analytics" && limit > 24 { "get_session_analytics.open_session" } else { name };
    let Some(recording) = server.recordings.get(name) else { return StatusCode::NOT_FOUND.into_response() };
    let (head, body) = recording.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("content-type: text/event-stream"), "{name} was not recorded as an event stream");
    let headers = [(header::CONTENT_TYPE.as_str(), "text/event-stream"), ("mcp-session-id", SESSION)];
    (headers, with_id(body, &request["id"])).into_response()
}

/// The recorded reply, its bytes as they were, with the id of this request.
fn with_id(body: &str, id: &Value) -> String {
    let before = "\"id\":";
    let at = body.find(before).expect("an id") + before.len();
    let length = body[at..].find(',').expect("more after the id");
    format!("{}{id}{}", &body[..at], &body[at + length..])
}
