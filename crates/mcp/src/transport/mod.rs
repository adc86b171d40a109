//! One session's way to its server: rmcp's client transport over the shared HTTP client. Every failure leaves here as a [`Cause`], every
//! reply as one message: rmcp sees no stream, keeps no standing GET and makes no session anew on its own.

mod exchange;
mod handshake;
mod reply;
pub(crate) mod wire;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use hyper::body::Incoming;
use minicol_plugin::{Clock, text::foreign};
use rmcp::{
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, CustomResult, ErrorCode, ErrorData, InitializeResult,
        ProtocolVersion, RequestId, ServerJsonRpcMessage, ServerResult,
    },
    transport::streamable_http_client::{
        SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
    },
};
use serde_json::Value;
use sse_stream::Sse;
use tokio_util::sync::CancellationToken;

pub(crate) use self::handshake::{Handshake, carry, known};
use self::{exchange::Outgoing, reply::Envelope};
use crate::{Authorize, Cause, Class, Endpoint, HttpClient};

/// How long the DELETE that ends a session may take: it is a courtesy.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What a link is made of.
pub(crate) struct LinkParts {
    pub(crate) http: HttpClient,
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: HeaderMap,
    pub(crate) authorize: Option<Arc<dyn Authorize>>,
    pub(crate) max_response_bytes: usize,
    /// How long the server may take to say that it speaks without sessions.
    pub(crate) probe_timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) handshake: Handshake,
}

/// One session's way to its server. Clones are the same link; when [`Link::cut`], nothing but the farewell goes over it.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    parts: LinkParts,
    cut: CancellationToken,
    farewell: AtomicBool,
    last_failure: Mutex<Option<Cause>>,
    session: OnceLock<String>,
}

type Posted = Result<StreamableHttpPostResponse, StreamableHttpError<Cause>>;

impl Link {
    pub(crate) fn new(parts: LinkParts) -> Self {
        Self(Arc::new(Inner {
            parts,
            cut: CancellationToken::new(),
            farewell: AtomicBool::new(true),
            last_failure: Mutex::default(),
            session: OnceLock::new(),
        }))
    }

    /// Ends whatever is in flight.
    pub(crate) fn cut(&self) {
        self.0.cut.cancel();
    }

    /// The server has forgotten the session already: no DELETE.
    pub(crate) fn without_farewell(&self) {
        self.0.farewell.store(false, Ordering::Relaxed);
    }

    /// What failed last: rmcp does not always hand it on.
    pub(crate) fn last_failure(&self) -> Option<Cause> {
        self.0.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the server calls the session, where it says so.
    pub(crate) fn session_id(&self) -> Option<&str> {
        self.0.session.get().map(String::as_str)
    }

    async fn post(
        &self,
        message: &ClientJsonRpcMessage,
        session: Option<&str>,
        extra: &HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Cause> {
        let handshake = &self.0.parts.handshake;
        let message = handshake.begun(message);
        let posted = self.exchange(&message, session, extra).await;
        handshake.ended(posted.as_ref());
        posted
    }

    async fn exchange(
        &self,
        message: &ClientJsonRpcMessage,
        session: Option<&str>,
        extra: &HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Cause> {
        let body = serde_json::to_vec(message).map_err(|error| Cause::Malformed(error.to_string()))?;
        let response = self.send(Outgoing::post(Bytes::from(body), session, extra)).await?;
        let ClientJsonRpcMessage::Request(request) = message else {
            self.read_and_forget(response);
            return Ok(StreamableHttpPostResponse::Accepted);
        };
        let new_session = session_id(&response);
        if let Some(id) = &new_session {
            let _ = self.0.session.set(id.clone()); // the first stands
        }
        let envelope = self.read_reply(response, &request.id, session, extra).await?;
        let reply = as_message(envelope, &request.request, &request.id)?;
        Ok(StreamableHttpPostResponse::Json(reply, new_session))
    }
}

impl Link {
    /// Asks whether the server speaks the version without sessions. Where it does not clearly say so it is initialized, as every older server;
    /// where it is not there, or lets nobody in, that is a failure now.
    async fn probe(
        &self,
        message: &ClientJsonRpcMessage,
        extra: &HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Cause> {
        let older = || refused(message, ErrorCode::INVALID_REQUEST).ok_or(Cause::Cancelled);
        match tokio::time::timeout(self.0.parts.probe_timeout, self.post(message, None, extra)).await {
            Ok(Ok(StreamableHttpPostResponse::Json(reply, _))) if speaks_without_sessions(&reply) => {
                Ok(StreamableHttpPostResponse::Json(reply, None))
            }
            Ok(Err(cause)) if !matches!(cause.class(), Class::Protocol | Class::Session | Class::Timeout) => Err(cause),
            Err(_) => {
                self.0.parts.handshake.ended(Err(&Cause::TimedOut(self.0.parts.probe_timeout)));
                older()
            }
            _ => older(),
        }
    }
}

impl StreamableHttpClient for Link {
    type Error = Cause;

    async fn post_message(
        &self,
        _: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        extra: HashMap<HeaderName, HeaderValue>,
    ) -> Posted {
        let work = async {
            if is_probe(&message) {
                self.probe(&message, &extra).await
            } else {
                self.post(&message, session.as_deref(), &extra).await
            }
        };
        let posted = tokio::select! {
            biased;
            () = self.0.cut.cancelled() => Err(Cause::Cancelled),
            posted = Box::pin(work) => posted,
        };
        posted.or_else(|cause| {
            *self.0.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause.clone());
            not_an_end(&message).ok_or(StreamableHttpError::Client(cause))
        })
    }

    // The limits are the link's own; overridden so that they are seen to be applied.
    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        extra: HashMap<HeaderName, HeaderValue>,
        _: StreamableHttpResponseLimits,
    ) -> Posted {
        self.post_message(uri, message, session, auth, extra).await
    }

    /// Never fails: rmcp would log it, and there is nothing to do about it.
    async fn delete_session(
        &self,
        _: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        extra: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), StreamableHttpError<Cause>> {
        if self.0.farewell.load(Ordering::Relaxed) {
            let outgoing = Outgoing::bare(Method::DELETE, Some(&session), &extra);
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, self.send(outgoing)).await;
        }
        Ok(())
    }

    /// No standing stream: a poller needs no message that it did not ask for.
    async fn get_stream(
        &self,
        _: Arc<str>,
        _: Option<Arc<str>>,
        _: Option<String>,
        _: Option<String>,
        _: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, StreamableHttpError<Cause>> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

/// What rmcp is told in place of a failure before the session stands. It would log an error for each, at each poll of a server that is down;
/// the caller asks for [`Link::last_failure`] instead.
fn not_an_end(message: &ClientJsonRpcMessage) -> Option<StreamableHttpPostResponse> {
    match message {
        ClientJsonRpcMessage::Request(request) if matches!(request.request, ClientRequest::InitializeRequest(_)) => {
            refused(message, ErrorCode::INTERNAL_ERROR)
        }
        // An error after which rmcp does not try to initialize.
        message if is_probe(message) => refused(message, ErrorCode::HEADER_MISMATCH),
        ClientJsonRpcMessage::Notification(notification)
            if matches!(notification.notification, ClientNotification::InitializedNotification(_)) =>
        {
            Some(StreamableHttpPostResponse::Accepted)
        }
        _ => None,
    }
}

/// A JSON-RPC error in the server's place.
fn refused(message: &ClientJsonRpcMessage, code: ErrorCode) -> Option<StreamableHttpPostResponse> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    let error = ErrorData::new(code, "not initialized", None::<Value>);
    Some(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::error(error, Some(request.id.clone())), None))
}

fn is_probe(message: &ClientJsonRpcMessage) -> bool {
    matches!(message, ClientJsonRpcMessage::Request(request) if matches!(request.request, ClientRequest::DiscoverRequest(_)))
}

fn speaks_without_sessions(reply: &ServerJsonRpcMessage) -> bool {
    let ServerJsonRpcMessage::Response(response) = reply else { return false };
    matches!(&response.result, ServerResult::DiscoverResult(found) if found.supported_versions.contains(&ProtocolVersion::NO_INITIALIZE))
}

/// As rmcp wants it. Results stay as they came, but those of `initialize` and `server/discover`: rmcp's own types refuse a whole result, or a whole list, for one
/// block they do not know.
fn as_message(envelope: Envelope, request: &ClientRequest, id: &RequestId) -> Result<ServerJsonRpcMessage, Cause> {
    let result = match envelope {
        Envelope::Error { code, message } => {
            let error = ErrorData::new(ErrorCode(code), message, None::<Value>);
            return Ok(ServerJsonRpcMessage::error(error, Some(id.clone())));
        }
        Envelope::Result(result) => result,
    };
    let result = if matches!(request, ClientRequest::InitializeRequest(_)) {
        let result: InitializeResult = serde_json::from_value(result).map_err(|error| {
            Cause::Malformed(format!("the answer to initialize is not one ({})", foreign(&error.to_string())))
        })?;
        ServerResult::InitializeResult(result)
    } else if matches!(request, ClientRequest::DiscoverRequest(_)) {
        let result = serde_json::from_value(result).map_err(|error| {
            Cause::Malformed(format!("the answer to server/discover is not one ({})", foreign(&error.to_string())))
        })?;
        ServerResult::DiscoverResult(result)
    } else {
        ServerResult::CustomResult(CustomResult(result))
    };
    Ok(ServerJsonRpcMessage::response(result, id.clone()))
}

fn session_id(response: &Response<Incoming>) -> Option<String> {
    response.headers().get(exchange::SESSION_ID)?.to_str().ok().map(str::to_owned)
}

/// The media type without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.0.parts.endpoint)
    }
}
