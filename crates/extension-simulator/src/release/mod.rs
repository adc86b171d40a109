//! The profile `release`: what 0.23.0 answers, quirks included, by hand: rmcp would be too polite. What each refusal says was recorded.

mod arguments;
mod recorded;
mod tools;

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    asked::{Asked, text, wanted_version},
    reply::{Answer, Stream, event, plain, stream},
    server::Shared,
    sessions::{Session, Sessions, new_id},
};

pub(crate) use tools::NAMES as TOOLS;

const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const JSON: &str = "application/json";

/// One life of the simulated process.
pub(crate) struct Process {
    sessions: Sessions,
    /// The server answers one call at a time: one slow tool holds up all others.
    turn: tokio::sync::Mutex<()>,
}

impl Process {
    pub(crate) fn new(end: CancellationToken) -> Self {
        Self { sessions: Sessions::new(end), turn: tokio::sync::Mutex::default() }
    }

    /// Answers a request to `/mcp`, in the order in which the server checks it.
    pub(crate) async fn answer(
        &self,
        shared: &Shared,
        parts: &Parts,
        body: &Bytes,
        end: &CancellationToken,
    ) -> Response<Answer> {
        let is_json = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        if parts.method == Method::POST && !is_json {
            return plain(StatusCode::BAD_REQUEST, "", "Invalid Content-Type header");
        }
        let told = text(&parts.headers, "mcp-session-id");
        let known = told.and_then(|id| self.sessions.using(id, shared.now()));
        if told.is_some() && known.is_none() {
            return refusal(StatusCode::NOT_FOUND, -32600, "Session not found");
        }
        // A request without a session gets an id even where it is refused.
        let session = told.map_or_else(|| new_id(&*shared.environment.random), str::to_owned);
        let mut response = match parts.method {
            Method::POST => self.post(shared, parts, body, known.is_some(), &session, end).await,
            Method::GET => get(shared, parts, known),
            Method::DELETE if told.is_some() => {
                self.sessions.close(&session);
                plain(StatusCode::OK, JSON, "")
            }
            Method::DELETE => refusal(StatusCode::BAD_REQUEST, -32600, MISSING_SESSION),
            _ => {
                let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, -32600, "Method Not Allowed");
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
                response
            }
        };
        if let Ok(id) = HeaderValue::from_str(&session) {
            response.headers_mut().insert("mcp-session-id", id);
        }
        response
    }

    async fn post(
        &self,
        shared: &Shared,
        parts: &Parts,
        body: &Bytes,
        known: bool,
        session: &str,
        end: &CancellationToken,
    ) -> Response<Answer> {
        let accept = text(&parts.headers, "accept").unwrap_or_default();
        if !(accept.contains(JSON) && accept.contains("text/event-stream")) {
            let message = "Not Acceptable: Client must accept both application/json and text/event-stream";
            return refusal(StatusCode::NOT_ACCEPTABLE, -32600, message);
        }
        let message: Value = match serde_json::from_slice(body) {
            Ok(message) => message,
            Err(error) => return refusal(StatusCode::BAD_REQUEST, -32700, &parse_error(&error)),
        };
        let method = message.get("method").and_then(Value::as_str);
        if message["jsonrpc"] != "2.0" || (method.is_none() && message.get("id").is_none()) {
            return refusal(StatusCode::BAD_REQUEST, -32602, &arguments::no_message(&message));
        }
        if method == Some("initialize") {
            shared.count_initialize();
            return self.initialize(shared, &message, known, session);
        }
        if !known {
            return refusal(StatusCode::BAD_REQUEST, -32600, MISSING_SESSION);
        }
        if let Some(version) = text(&parts.headers, "mcp-protocol-version").filter(|one| !VERSIONS.contains(one)) {
            let known = VERSIONS.join(", ");
            let message = format!("Bad Request: Unsupported protocol version: {version}. Supported versions: {known}");
            return refusal(StatusCode::BAD_REQUEST, -32600, &message);
        }
        match (method, message.get("id")) {
            (Some(method), Some(_)) => self.request(shared, method, &message, end).await,
            // A notification, or a reply to a request that was never sent.
            _ => plain(StatusCode::ACCEPTED, JSON, ""),
        }
    }

    fn initialize(&self, shared: &Shared, message: &Value, known: bool, session: &str) -> Response<Answer> {
        let id = &message["id"];
        let Some(wanted) = wanted_version(message.get("params")) else { return invalid(id) };
        if !known && !self.sessions.open(session, shared.now()) {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "", "too many sessions\n");
        }
        let mut result = recorded::value(recorded::INITIALIZE);
        result["protocolVersion"] = if VERSIONS.contains(&wanted) { wanted } else { VERSIONS[3] }.into();
        event(id, "result", &result.to_string())
    }

    async fn request(
        &self,
        shared: &Shared,
        method: &str,
        message: &Value,
        end: &CancellationToken,
    ) -> Response<Answer> {
        let id = &message["id"];
        match method {
            "ping" | "logging/setLevel" => event(id, "result", "{}"),
            "tools/list" => event(id, "result", recorded::TOOLS_LIST.trim_end()),
            "prompts/list" => event(id, "result", "{\"prompts\":[]}"),
            "resources/list" => event(id, "result", "{\"resources\":[]}"),
            "resources/templates/list" => event(id, "result", "{\"resourceTemplates\":[]}"),
            "tools/call" => {
                let Some(tool) = message.pointer("/params/name").and_then(Value::as_str) else { return invalid(id) };
                let nothing = json!({});
                let arguments = message.pointer("/params/arguments").filter(|one| !one.is_null()).unwrap_or(&nothing);
                let Some(arguments) = arguments.as_object() else { return invalid(id) };
                let turn = self.turn.lock().await;
                if let Some(failure) = shared.suffer(&Asked::of(message), end).await {
                    return failure;
                }
                let result = tools::call(shared, tool, arguments);
                drop(turn);
                event(id, "result", &result)
            }
            // Not -32601, as the specification has it.
            _ => invalid(id),
        }
    }
}

const MISSING_SESSION: &str = "Bad Request: Missing session ID";

/// A page beside the MCP endpoint.
pub(crate) fn page(shared: &Shared, method: &Method, path: &str) -> Response<Answer> {
    match path {
        "/health" | "/healthz" | "/metrics" if method != Method::GET && method != Method::HEAD => {
            plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "Method Not Allowed")
        }
        "/health" => {
            plain(StatusCode::OK, JSON, "{\"status\":\"ok\",\"service\":\"session-buddy\",\"version\":\"0.23.0\"}")
        }
        "/healthz" => plain(StatusCode::OK, JSON, "{\"status\":\"ok\"}"),
        "/metrics" => plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", tools::session_metrics(shared)),
        _ => plain(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "Not Found"),
    }
}

/// The standing stream of a session, on which this server says nothing.
fn get(shared: &Shared, parts: &Parts, known: Option<Arc<Session>>) -> Response<Answer> {
    if !text(&parts.headers, "accept").unwrap_or_default().contains("text/event-stream") {
        return refusal(StatusCode::NOT_ACCEPTABLE, -32600, "Not Acceptable: Client must accept text/event-stream");
    }
    let Some(session) = known else { return refusal(StatusCode::BAD_REQUEST, -32600, MISSING_SESSION) };
    stream(Stream::open("", session.over(Arc::clone(&shared.environment.clock))))
}

/// An error of the transport: its id is a text that belongs to no request.
fn refusal(status: StatusCode, code: i32, message: &str) -> Response<Answer> {
    let message = Value::from(message);
    let error =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":\"server-error\",\"error\":{{\"code\":{code},\"message\":{message}}}}}");
    plain(status, JSON, error)
}

fn invalid(id: &Value) -> Response<Answer> {
    event(id, "error", "{\"code\":-32602,\"message\":\"Invalid request parameters\",\"data\":\"\"}")
}

/// As Python's parser says it, of the two mistakes that were recorded.
fn parse_error(error: &serde_json::Error) -> String {
    let at = error.column().saturating_sub(1);
    let what = if error.to_string().starts_with("key must be a string") {
        "Expecting property name enclosed in double quotes"
    } else {
        "Expecting value"
    };
    format!("Parse error: {what}: line {} column {} (char {at})", error.line().max(1), error.column().max(1))
}
