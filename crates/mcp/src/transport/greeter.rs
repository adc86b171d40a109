//! The handshake, which rmcp leads: it asks, initializes and negotiates, over this client of ours. What follows goes over the [`Link`] alone.
//! Every failure leaves here as a [`Cause`]; rmcp sees no stream, keeps no standing GET, and ends no session.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use minicol_plugin::text::foreign;
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

use super::{Handshake, Heads, Link, reply::Envelope};
use crate::{Cause, Class};

/// One handshake over a link. Clones are the same one. Where it is dropped before [`Greeter::done`] nothing more goes over the link, and a session
/// that was made meanwhile is ended.
#[derive(Clone)]
pub(crate) struct Greeter(Arc<Inner>);

struct Inner {
    link: Link,
    spans: Handshake,
    /// How long the server may take to say that it speaks without sessions.
    probe_timeout: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What went with the latest message, the session that it made included.
    heads: Option<Heads>,
    /// What failed last: rmcp does not always hand it on.
    failure: Option<Cause>,
}

/// Ends what a handshake began, unless it came to its end.
pub(crate) struct Unfinished(Option<Greeter>);

type Posted = Result<StreamableHttpPostResponse, StreamableHttpError<Cause>>;

impl Greeter {
    pub(crate) fn new(link: &Link, spans: &Handshake, probe_timeout: Duration) -> Self {
        Self(Arc::new(Inner { link: link.clone(), spans: spans.clone(), probe_timeout, known: Mutex::default() }))
    }

    /// What failed last.
    pub(crate) fn last_failure(&self) -> Option<Cause> {
        self.known().failure.clone()
    }

    /// Until the handshake is over.
    pub(crate) fn unfinished(&self) -> Unfinished {
        Unfinished(Some(self.clone()))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn post(
        &self,
        message: &ClientJsonRpcMessage,
        session: Option<&str>,
        extra: &HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Cause> {
        let spans = &self.0.spans;
        let message = spans.begun(message);
        let posted = self.exchange(&message, session, extra).await;
        spans.ended(posted.as_ref());
        posted
    }

    async fn exchange(
        &self,
        message: &ClientJsonRpcMessage,
        session: Option<&str>,
        extra: &HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Cause> {
        let link = &self.0.link;
        let session = session.and_then(|id| HeaderValue::from_str(id).ok());
        let heads = link.heads(extra, session);
        let body = serde_json::to_vec(message).map_err(|error| Cause::Malformed(error.to_string()))?;
        self.known().heads = Some(heads.clone());
        let ClientJsonRpcMessage::Request(request) = message else {
            link.tell(body.into(), &heads).await?;
            return Ok(StreamableHttpPostResponse::Accepted);
        };
        let (envelope, session) = link.greet(&request.id, body.into(), &heads).await?;
        let id = session.as_ref().and_then(|session| session.to_str().ok()).map(str::to_owned);
        if id.is_some() && !is_probe(message) {
            self.known().heads = Some(link.heads(extra, session));
        }
        let reply = as_message(envelope, &request.request, &request.id)?;
        Ok(StreamableHttpPostResponse::Json(reply, id))
    }

    /// Asks whether the server speaks the version without sessions. Where it does not clearly say so it is initialized, as every older server: what such
    /// a one, or what stands before it, does to a method that it does not know says nothing about `initialize`. Where it is not there, or is not asked at
    /// all for want of a token, or asks to be asked later, that is a failure now.
    async fn probe(
        &self,
        message: &ClientJsonRpcMessage,
        extra: &HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Cause> {
        let limit = self.0.probe_timeout;
        let older = || refused(message, ErrorCode::INVALID_REQUEST).ok_or(Cause::Cancelled);
        match tokio::time::timeout(limit, self.post(message, None, extra)).await {
            Ok(Ok(StreamableHttpPostResponse::Json(reply, _))) if speaks_without_sessions(&reply) => {
                Ok(StreamableHttpPostResponse::Json(reply, None))
            }
            Ok(Err(cause)) if !may_be_older(&cause) => Err(cause),
            Err(_) => {
                self.0.spans.ended(Err(&Cause::TimedOut(limit)));
                older()
            }
            _ => older(),
        }
    }
}

impl Unfinished {
    /// The handshake is over; gives what goes with each request from now on.
    pub(crate) fn done(mut self) -> Option<Heads> {
        self.0.take().and_then(|greeter| greeter.known().heads.take())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(greeter) = self.0.take() else { return };
        // rmcp goes on waiting for an `initialize` that nobody waits for any more.
        greeter.0.link.cut();
        let heads = greeter.known().heads.take();
        if let Some(heads) = heads {
            greeter.0.link.leave(&heads);
        }
    }
}

impl StreamableHttpClient for Greeter {
    type Error = Cause;

    async fn post_message(
        &self,
        _: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        extra: HashMap<HeaderName, HeaderValue>,
    ) -> Posted {
        let posted = if is_probe(&message) {
            Box::pin(self.probe(&message, &extra)).await
        } else {
            Box::pin(self.post(&message, session.as_deref(), &extra)).await
        };
        posted.or_else(|cause| {
            self.known().failure = Some(cause.clone());
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

    /// The session outlives rmcp's part in it.
    async fn delete_session(
        &self,
        _: Arc<str>,
        _: Arc<str>,
        _: Option<String>,
        _: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), StreamableHttpError<Cause>> {
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
/// the caller asks for [`Greeter::last_failure`] instead.
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

/// Whether what came of the probe may be what an older server makes of a method that it does not know.
fn may_be_older(cause: &Cause) -> bool {
    matches!(cause, Cause::Refused(_) | Cause::Lost(_) | Cause::Gateway(_))
        || matches!(cause.class(), Class::Protocol | Class::Session | Class::Timeout)
}

fn speaks_without_sessions(reply: &ServerJsonRpcMessage) -> bool {
    let ServerJsonRpcMessage::Response(response) = reply else { return false };
    matches!(&response.result, ServerResult::DiscoverResult(found) if found.supported_versions.contains(&ProtocolVersion::NO_INITIALIZE))
}

/// As rmcp wants it.
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
