//! The profile `contract`: four tools over the model, as an MCP server that keeps to the specification. What it does where that leaves a choice is what
//! rmcp's server does by default, which served it before: `fixtures/rmcp-3.11.0` holds what that one answered.

mod checks;
mod message;
mod methods;
mod refusal;
mod tools;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, request::Parts};
use hyper::body::Bytes;
use rmcp::model::ErrorData;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::{
    message::{Message, Request},
    methods::respond,
    refusal::Refusal,
};
use crate::{
    asked::{Asked, text},
    reply::{Answer, Stream, plain, stream},
    server::Shared,
    sessions::{Session, Sessions, new_id},
};

pub(crate) use tools::NAMES as TOOLS;

/// How far the model has moved when the simulator starts: averages exist, sessions are active.
pub(crate) const HEAD_START: Duration = Duration::from_secs(4 * 3600);

const SESSION_ID: &str = "mcp-session-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";

/// The first event of the stream on which a session is made, and of its standing one: where a client would go on, and how soon.
const FIRST_EVENT: &str = "data: \nid: 0\nretry: 3000\n\n";

/// One life of the simulated process: its sessions end with it.
pub(crate) struct Process {
    sessions: Sessions,
}

impl Process {
    pub(crate) fn new(end: CancellationToken) -> Self {
        Self { sessions: Sessions::new(end) }
    }

    /// Answers a request to `/mcp`.
    pub(crate) async fn answer(
        &self,
        shared: &Shared,
        parts: &Parts,
        body: &Bytes,
        end: &CancellationToken,
    ) -> Response<Answer> {
        let answered = match parts.method {
            Method::POST => return self.post(shared, &parts.headers, body, end).await,
            Method::GET => self.get(shared, &parts.headers),
            Method::DELETE => self.delete(&parts.headers),
            _ => Err(Refusal::Method("GET, POST, DELETE")),
        };
        answered.unwrap_or_else(|refusal| refusal.response(None))
    }

    async fn post(
        &self,
        shared: &Shared,
        headers: &HeaderMap,
        body: &Bytes,
        end: &CancellationToken,
    ) -> Response<Answer> {
        let parsed: Result<Value, _> = serde_json::from_slice(body);
        let session = text(headers, SESSION_ID).map(|id| self.using(shared, id));
        if let Ok(message) = &parsed {
            if message["method"] == "initialize" {
                shared.count_initialize();
            }
            let holds = match &session {
                Some(session) => session.is_ok(),
                None => !shared.insists_on_sessions() && checks::is_newest(headers),
            };
            // What is no call, or none that may be made, does not fail by the plan.
            if holds && let Some(failure) = shared.suffer(&Asked::of(message), end).await {
                return failure;
            }
        }
        let read = checks::media(headers).and_then(|()| match parsed {
            Ok(value) => Message::of(value).ok_or_else(|| Refusal::unread("unrecognized JSON-RPC message")),
            Err(error) => Err(Refusal::unread(&error.to_string())),
        });
        let message = match read {
            Ok(message) => message,
            Err(refusal) => return refusal.response(None),
        };
        let id = message.request().map(|request| request.id.clone());
        self.message(shared, headers, &message, session).unwrap_or_else(|refusal| refusal.response(id))
    }

    /// Answers a message. `session` is the one that it names.
    fn message(
        &self,
        shared: &Shared,
        headers: &HeaderMap,
        message: &Message,
        session: Option<Result<Arc<Session>, Refusal>>,
    ) -> Result<Response<Answer>, Refusal> {
        let request = message.request();
        checks::version(headers, request)?;
        let has_sessions = checks::has_sessions(headers, request);
        let session = session.filter(|_| has_sessions).transpose()?;
        checks::standard_headers(headers, message)?;
        match (message, session) {
            (Message::Request(request), Some(session)) => Ok(numbered(shared, &session, request)),
            (Message::Request(request), None) if request.method == "initialize" => self.initialize(shared, request),
            (Message::Request(request), None) if !has_sessions || request.method == "server/discover" => {
                alone(shared, request)
            }
            (_, None) if has_sessions => Err(Refusal::MISSING_SESSION),
            (Message::Reply, None) => {
                Err(Refusal::Error(ErrorData::invalid_request("there is no request to reply to", None)))
            }
            _ => Ok(accepted()),
        }
    }

    /// Makes a session.
    fn initialize(&self, shared: &Shared, request: &Request) -> Result<Response<Answer>, Refusal> {
        let result = respond(shared, request).map_err(Refusal::Error)?;
        let session = new_id(&*shared.environment.random);
        if !self.sessions.open(&session, shared.now()) {
            return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "", "too many sessions\n"));
        }
        let mut response = stream(Stream::whole(format!("{FIRST_EVENT}data: {result}\n\n")));
        if let Ok(id) = HeaderValue::from_str(&session) {
            response.headers_mut().insert(SESSION_ID, id);
        }
        Ok(response)
    }

    /// The standing stream of a session, on which this server says nothing.
    fn get(&self, shared: &Shared, headers: &HeaderMap) -> Result<Response<Answer>, Refusal> {
        checks::takes_events(headers)?;
        let id = session_of(headers)?;
        let session = self.using(shared, id)?;
        let first = match text(headers, "last-event-id") {
            None => FIRST_EVENT,
            Some(last) if last.parse::<usize>().is_ok() => "",
            // Of another stream, which was sent whole: nothing is left of it.
            Some(_) => return Ok(stream(Stream::whole(String::new()))),
        };
        Ok(stream(Stream::open(first, session.over(Arc::clone(&shared.environment.clock)))))
    }

    fn using(&self, shared: &Shared, id: &str) -> Result<Arc<Session>, Refusal> {
        self.sessions.using(id, shared.now()).ok_or(Refusal::UNKNOWN_SESSION)
    }

    fn delete(&self, headers: &HeaderMap) -> Result<Response<Answer>, Refusal> {
        self.sessions.close(session_of(headers)?);
        Ok(accepted())
    }
}

/// The session of a request without a message.
fn session_of(headers: &HeaderMap) -> Result<&str, Refusal> {
    checks::version(headers, None)?;
    if !checks::has_sessions(headers, None) {
        return Err(Refusal::Method("POST"));
    }
    text(headers, SESSION_ID).ok_or(Refusal::MISSING_SESSION)
}

/// Answers a request by itself, without a session.
fn alone(shared: &Shared, request: &Request) -> Result<Response<Answer>, Refusal> {
    let result = respond(shared, request).map_err(Refusal::Error)?;
    Ok(stream(Stream::whole(format!("data: {result}\n\n"))))
}

/// Answers a request in a session: its events are numbered there.
fn numbered(shared: &Shared, session: &Session, request: &Request) -> Response<Answer> {
    let number = session.next_reply();
    let reply = respond(shared, request).unwrap_or_else(|error| refusal::message(Some(request.id.clone()), error));
    let text = format!("data: \nid: 0/{number}\nretry: 3000\n\ndata: {reply}\nid: 1/{number}\n\n");
    stream(Stream::whole(text))
}

fn accepted() -> Response<Answer> {
    plain(StatusCode::ACCEPTED, "", "")
}
