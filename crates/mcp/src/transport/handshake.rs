//! How a server is met: asked whether it speaks without sessions, where that is wanted, and initialized where it does not. Each message is measured and
//! traced by itself.

use std::{
    ops::Deref,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use minicol_plugin::{
    text::foreign,
    trace::{Span, current_trace_context},
};
use opentelemetry::KeyValue;
use rmcp::model::{
    ClientCapabilities, DiscoverRequest, DiscoverRequestParams, DiscoverResult, Extensions, Implementation,
    InitializeRequest, InitializeRequestParams, InitializeResult, InitializedNotification, JsonRpcNotification,
    JsonRpcRequest, JsonRpcVersion2_0, MetaObject, NotificationMetaObject, ProtocolVersion, RequestId,
    RequestMetaObject, ServerPeerInfo,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{Heads, Link, reply::Envelope};
use crate::{
    Cause, Class,
    telemetry::{Operations, failed},
};

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const PROBE_ID: RequestId = RequestId::Number(0);
const INITIALIZE_ID: RequestId = RequestId::Number(1);

/// One handshake. Its messages go one after the other, so one at most is open.
pub(crate) struct Handshake<'a> {
    operations: &'a Operations,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A message was sent, or was about to be.
    began: bool,
    open: Option<Open>,
}

/// A message that nothing is known of yet.
struct Open {
    method: &'static str,
    since: Instant,
    span: Span,
}

/// What a handshake comes to.
pub(crate) struct Met {
    pub(crate) server: ServerPeerInfo,
    /// What goes with each request from now on.
    pub(crate) heads: Heads,
}

/// Ends the session that a handshake made, unless the handshake comes to its end.
struct Unfinished<'a> {
    link: &'a Link,
    heads: Option<Heads>,
}

impl<'a> Handshake<'a> {
    pub(crate) fn new(operations: &'a Operations) -> Self {
        Self { operations, state: Mutex::default() }
    }

    /// Meets the server at the other end of `link`. With `probe`, asks first whether it speaks without sessions (2026-07-28), for so long. A session
    /// that was made is ended where this fails, or is dropped.
    pub(crate) async fn meet(&self, link: &Link, probe: Option<Duration>) -> Result<Met, Cause> {
        if let Some(limit) = probe
            && let Some(met) = self.probe(link, limit).await?
        {
            return Ok(met);
        }
        self.initialize(link).await
    }

    /// Asks whether the server speaks the version without sessions. Where it does not clearly say so it is initialized, as every older server: what such
    /// a one, or what stands before it, does to a method that it does not know says nothing about `initialize`. Where it is not there, or is not asked at
    /// all for want of a token, or asks to be asked later, that is a failure now.
    async fn probe(&self, link: &Link, limit: Duration) -> Result<Option<Met>, Cause> {
        let heads = link.heads(protocol(&ProtocolVersion::NO_INITIALIZE), None);
        let asked = async {
            let found = self.discover(link, &heads).await;
            self.ended(found.as_ref().map(|found| no_sessions(found)));
            found
        };
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(found)) => Ok(no_sessions(&found)
                .cloned()
                .map(|version| Met { server: ServerPeerInfo::from_discover_result(version, found), heads })),
            Ok(Err(cause)) if may_be_older(&cause) => Ok(None),
            Ok(Err(cause)) => Err(cause),
            Err(_) => {
                self.ended(Err(&Cause::TimedOut(limit)));
                Ok(None)
            }
        }
    }

    async fn discover(&self, link: &Link, heads: &Heads) -> Result<DiscoverResult, Cause> {
        const METHOD: &str = "server/discover";
        let mut meta = introduction(ProtocolVersion::NO_INITIALIZE);
        self.begin(METHOD, Some(&PROBE_ID), &mut meta);
        let mut request = DiscoverRequest::new(DiscoverRequestParams {});
        request.extensions = carrying(meta);
        let heads = heads.naming(METHOD, None, Vec::new());
        let (envelope, _) = link.greet(&PROBE_ID, encoded_request(PROBE_ID, request)?.into(), &heads).await?;
        decoded(METHOD, envelope)
    }

    async fn initialize(&self, link: &Link) -> Result<Met, Cause> {
        let mut unfinished = Unfinished { link, heads: None };
        let answered = self.ask_to_initialize(link, &mut unfinished).await;
        self.ended(answered.as_ref().map(|result| Some(&result.protocol_version)));
        let server = ServerPeerInfo::from(answered?);
        let session = unfinished.heads.as_ref().and_then(Heads::session_value).cloned();
        let heads = link.heads(protocol(&server.protocol_version), session);
        let told = self.tell_initialized(link, &heads).await;
        self.ended(told.as_ref().map(|()| None));
        told.inspect_err(|cause| {
            if cause.is_forgotten_session() {
                link.without_farewell();
            }
        })?;
        unfinished.heads = None;
        Ok(Met { server, heads })
    }

    async fn ask_to_initialize(&self, link: &Link, made: &mut Unfinished<'_>) -> Result<InitializeResult, Cause> {
        const METHOD: &str = "initialize";
        let mut meta = RequestMetaObject::new();
        self.begin(METHOD, Some(&INITIALIZE_ID), &mut meta);
        let params = InitializeRequestParams::new(ClientCapabilities::default(), ourselves())
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
        let mut request = InitializeRequest::new(params);
        request.extensions = carrying(meta);
        let body = encoded_request(INITIALIZE_ID, request)?;
        let (envelope, session) = link.greet(&INITIALIZE_ID, body.into(), &link.heads(None, None)).await?;
        made.heads = session.map(|session| link.heads(None, Some(session)));
        let result: InitializeResult = decoded(METHOD, envelope)?;
        let version = &result.protocol_version;
        if version.has_initialize() && ProtocolVersion::KNOWN_VERSIONS.contains(version) {
            Ok(result)
        } else {
            Err(Cause::Version(foreign(version.as_str())))
        }
    }

    async fn tell_initialized(&self, link: &Link, heads: &Heads) -> Result<(), Cause> {
        const METHOD: &str = "notifications/initialized";
        let mut meta = NotificationMetaObject::new();
        self.begin(METHOD, None, &mut meta);
        let notification = InitializedNotification { extensions: carrying(meta), ..InitializedNotification::default() };
        link.tell(encoded_notification(notification)?.into(), heads).await
    }

    /// Begins to measure a message, and its span, whose context goes into `meta`.
    fn begin(&self, method: &'static str, id: Option<&RequestId>, meta: &mut MetaObject) {
        let span = self.operations.span(|| method.into());
        span.set(|| {
            let id = id.map(|id| KeyValue::new("jsonrpc.request.id", id.to_string()));
            id.into_iter().chain([KeyValue::new("mcp.method.name", method)])
        });
        if let Some(context) = span.run(current_trace_context) {
            carry(&context, meta);
        }
        let mut state = self.state();
        state.began = true;
        state.open = Some(Open { method, since: Instant::now(), span });
    }

    /// Ends what is open, if something is; with the version that was agreed on, where one was.
    pub(crate) fn ended(&self, how: Result<Option<&ProtocolVersion>, &Cause>) {
        let Some(Open { method, since, span }) = self.state().open.take() else { return };
        let version = how.ok().flatten().map(ToString::to_string);
        span.set(|| version.clone().map(|version| KeyValue::new("mcp.protocol.version", version)));
        if let Err(cause) = how {
            failed(&span, cause);
        }
        self.operations.record_method(method, None, since.elapsed(), how.err(), version.as_deref());
    }

    /// Whether a message was measured, or is being.
    pub(crate) fn began(&self) -> bool {
        self.state().began
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(heads) = self.heads.take() {
            self.link.cut();
            self.link.leave(&heads);
        }
    }
}

/// Who asks, for a server that is told with each request.
pub(crate) fn introduction(version: ProtocolVersion) -> RequestMetaObject {
    RequestMetaObject::with_client_context(version, ourselves(), ClientCapabilities::default())
}

/// Puts a trace context into a message's `_meta`, under the names that MCP reserves for it (SEP-414).
pub(crate) fn carry((traceparent, tracestate): &(String, String), meta: &mut MetaObject) {
    meta.set_traceparent(traceparent);
    if !tracestate.is_empty() {
        meta.set_tracestate(tracestate);
    }
}

/// `meta` as rmcp's types carry it; nothing where it is empty.
pub(crate) fn carrying<M>(meta: M) -> Extensions
where
    M: Deref<Target = MetaObject> + Clone + Send + Sync + 'static,
{
    let mut extensions = Extensions::new();
    if !meta.is_empty() {
        extensions.insert(meta);
    }
    extensions
}

pub(crate) fn encoded_request(id: RequestId, request: impl Serialize) -> Result<Vec<u8>, Cause> {
    encoded(&JsonRpcRequest::new(id, request))
}

pub(crate) fn encoded_notification(notification: impl Serialize) -> Result<Vec<u8>, Cause> {
    encoded(&JsonRpcNotification { jsonrpc: JsonRpcVersion2_0, notification })
}

fn encoded(message: &impl Serialize) -> Result<Vec<u8>, Cause> {
    serde_json::to_vec(message).map_err(|error| Cause::Malformed(error.to_string()))
}

fn decoded<T: DeserializeOwned>(method: &str, envelope: Envelope) -> Result<T, Cause> {
    let result = envelope.result()?;
    serde_json::from_value(result).map_err(|error| {
        Cause::Malformed(format!("the answer to {method} is not one ({})", foreign(&error.to_string())))
    })
}

fn ourselves() -> Implementation {
    Implementation::new("minicol", env!("CARGO_PKG_VERSION"))
}

/// The header that names the version, where one can.
fn protocol(version: &ProtocolVersion) -> Option<(HeaderName, HeaderValue)> {
    Some((PROTOCOL_VERSION, HeaderValue::from_str(version.as_str()).ok()?))
}

/// The version without sessions, where the server speaks it.
fn no_sessions(found: &DiscoverResult) -> Option<&ProtocolVersion> {
    found.supported_versions.iter().find(|version| **version == ProtocolVersion::NO_INITIALIZE)
}

/// Whether what came of the probe may be what an older server makes of a method that it does not know.
fn may_be_older(cause: &Cause) -> bool {
    matches!(cause, Cause::Rpc { .. } | Cause::Refused(_) | Cause::Lost(_) | Cause::Gateway(_))
        || matches!(cause.class(), Class::Protocol | Class::Session | Class::Timeout)
}
