//! One session with one server. rmcp leads the handshake, and its types are what is sent; what is asked afterwards goes straight over the link.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use http::HeaderName;
use minicol_plugin::{
    text::foreign,
    trace::{current_trace_context, set_on_current},
};
use opentelemetry::KeyValue;
use rmcp::{
    ClientLifecycleMode, ClientServiceExt,
    model::{
        CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam, ClientCapabilities,
        ClientConfig, ClientJsonRpcMessage, ClientNotification, ClientRequest, GetMeta, Implementation,
        ListToolsRequest, PaginatedRequestParams, PingRequest, ProtocolVersion, RequestId, RequestMetaObject,
    },
    service::ClientInitializeError,
    transport::{
        common::client_side_sse::NeverRetry,
        streamable_http_client::{StreamableHttpClientTransport, StreamableHttpClientTransportConfig},
    },
};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::{
    Cause,
    transport::{Envelope, Greeter, Handshake, Heads, Link, carry, known},
};

/// How many calls go out at once on one session; the others wait within their time.
const MAX_CONCURRENT: usize = 256;
/// How long telling the server that a call is given up may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
/// Ids of requests are unique within a session. Those of the handshake lie below.
const FIRST_ID: i64 = 16;

/// One session. It ends when it is dropped, or politely by [`Session::close`].
pub(crate) struct Session {
    /// Tells sessions of one target apart.
    pub(crate) number: u64,
    /// The protocol version agreed on: one that is known, or `other`.
    pub(crate) protocol_version: String,
    /// Name and version of the server, escaped and shortened.
    pub(crate) server: Option<String>,
    /// Whether the server was initialized, as servers before 2026-07-28 are.
    pub(crate) initialized: bool,
    link: Link,
    heads: Heads,
    /// Where the server was not initialized, each request says who asks.
    introduction: Option<RequestMetaObject>,
    next_id: AtomicI64,
    room: Semaphore,
    replied: AtomicBool,
}

/// A request in flight: the server is told when nobody waits for it any more.
struct Pending<'a> {
    session: &'a Session,
    id: Option<RequestId>,
}

impl Session {
    /// Connects. With `probe`, asks first whether the server speaks without sessions (2026-07-28), for so long; initializes where it does not.
    pub(crate) async fn connect(
        link: Link,
        spans: &Handshake,
        number: u64,
        probe: Option<Duration>,
    ) -> Result<Self, Cause> {
        let greeter = Greeter::new(&link, spans, probe.unwrap_or_default());
        let unfinished = greeter.unfinished();
        let client = ClientConfig::new(ClientCapabilities::default(), ourselves())
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
        let mut config = StreamableHttpClientTransportConfig::with_uri("mcp");
        config.retry_config = Arc::new(NeverRetry::default());
        config.reinit_on_expired_session = false;
        let lifecycle = if probe.is_some() {
            let preferred_versions = vec![ProtocolVersion::NO_INITIALIZE];
            ClientLifecycleMode::Auto { preferred_versions, legacy_version: None }
        } else {
            ClientLifecycleMode::Initialize
        };
        let transport = StreamableHttpClientTransport::with_client(greeter.clone(), config);
        // Dropped at the end: rmcp's part is over.
        let running = client
            .serve_with_lifecycle(transport, lifecycle)
            .await
            .map_err(|error| initialize_cause(error, &greeter))?;
        if let Some(cause) = greeter.last_failure() {
            if matches!(cause, Cause::SessionLost(_)) {
                link.without_farewell();
            }
            return Err(cause);
        }
        let heads = unfinished.done().ok_or(Cause::Cancelled)?;
        let info = running.peer().peer_info();
        let server = info.as_ref().and_then(|info| info.server_info.as_ref());
        let version = info.as_ref().map(|info| &info.protocol_version);
        let without = version.filter(|version| !version.has_initialize());
        Ok(Self {
            number,
            initialized: without.is_none(),
            protocol_version: known(version),
            server: server.map(|server| foreign(&format!("{} {}", server.name, server.version))),
            introduction: without.map(|version| {
                RequestMetaObject::with_client_context(version.clone(), ourselves(), ClientCapabilities::default())
            }),
            link,
            heads,
            next_id: AtomicI64::new(FIRST_ID),
            room: Semaphore::new(MAX_CONCURRENT),
            replied: AtomicBool::new(true),
        })
    }

    /// Asks for one page of the tools.
    pub(crate) async fn list_tools(&self, cursor: Option<String>) -> Result<Value, Cause> {
        let params = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
        let request = ListToolsRequest { params, ..ListToolsRequest::default() };
        self.request(ClientRequest::ListToolsRequest(request), Vec::new()).await
    }

    /// Asks whether the server is there.
    pub(crate) async fn ping(&self) -> Result<(), Cause> {
        match self.request(ClientRequest::PingRequest(PingRequest::default()), Vec::new()).await {
            // A server that knows no ping is there as well.
            Ok(_) | Err(Cause::Rpc { .. }) => Ok(()),
            Err(cause) => Err(cause),
        }
    }

    /// Calls a tool, with headers for its arguments; gives its result as it came.
    pub(crate) async fn call_tool(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        heads: Vec<(HeaderName, String)>,
    ) -> Result<Value, Cause> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        self.request(ClientRequest::CallToolRequest(CallToolRequest::new(params)), heads).await
    }

    /// What the server calls it, where it says so.
    pub(crate) fn id(&self) -> Option<&str> {
        self.heads.session()
    }

    /// Whether the server knows it by an id. One without is there as long as the server stays of its kind.
    pub(crate) fn has_id(&self) -> bool {
        self.heads.in_session()
    }

    /// Whether the last request got a reply, of whatever kind.
    pub(crate) fn last_replied(&self) -> bool {
        self.replied.load(Ordering::Relaxed)
    }

    /// The server does not know it any more: no word to it when it ends.
    pub(crate) fn mark_lost(&self) {
        self.link.without_farewell();
    }

    /// Whether nothing can go over it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.link.is_cut()
    }

    /// Ends it politely, within a bound.
    pub(crate) async fn close(&self) {
        self.link.cut();
        self.link.farewell(&self.heads).await;
    }

    async fn request(&self, mut request: ClientRequest, params: Vec<(HeaderName, String)>) -> Result<Value, Cause> {
        let heads = self.heads_of(&request, params);
        let is_call = matches!(request, ClientRequest::CallToolRequest(_));
        if let Some(introduction) = &self.introduction {
            request.get_meta_mut().clone_from(introduction);
        }
        if let Some(context) = current_trace_context() {
            carry(&context, request.get_meta_mut());
        }
        let id = RequestId::Number(self.next_id.fetch_add(1, Ordering::Relaxed));
        set_on_current(|| [KeyValue::new("jsonrpc.request.id", id.to_string())]);
        let body = encoded(&ClientJsonRpcMessage::request(request, id.clone()))?;
        let _room = self.room.acquire().await.map_err(|_| Cause::Cancelled)?;
        let mut pending = Pending { session: self, id: Some(id.clone()) };
        let asked = if is_call {
            self.link.ask(&id, body.into(), &heads).await
        } else {
            self.link.ask_first(&id, body.into(), &heads).await
        };
        pending.id = None;
        let result = asked.and_then(|envelope| match envelope {
            Envelope::Result(result) => Ok(result),
            Envelope::Error { code, message } => Err(Cause::Rpc { code, message }),
        });
        self.replied.store(result.as_ref().err().is_none_or(Cause::is_reply), Ordering::Relaxed);
        result
    }

    fn heads_of(&self, request: &ClientRequest, params: Vec<(HeaderName, String)>) -> Cow<'_, Heads> {
        if self.initialized {
            return Cow::Borrowed(&self.heads);
        }
        let name = match request {
            ClientRequest::CallToolRequest(call) => Some(&*call.params.name),
            _ => None,
        };
        Cow::Owned(self.heads.naming(request.method(), name, params))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.cut();
        self.link.leave(&self.heads);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let session = self.session;
        session.replied.store(false, Ordering::Relaxed);
        // A server without sessions sees that the connection is gone.
        if !session.initialized {
            return;
        }
        let params = CancelledNotificationParam::new(Some(id), Some("no answer in time".to_owned()));
        let notification = ClientNotification::CancelledNotification(CancelledNotification::new(params));
        let Ok(body) = encoded(&ClientJsonRpcMessage::notification(notification)) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (link, heads) = (session.link.clone(), session.heads.clone());
            runtime.spawn(tokio::time::timeout(CANCEL_TIMEOUT, async move { link.tell(body.into(), &heads).await }));
        }
    }
}

fn ourselves() -> Implementation {
    Implementation::new("minicol", env!("CARGO_PKG_VERSION"))
}

fn encoded(message: &ClientJsonRpcMessage) -> Result<Vec<u8>, Cause> {
    serde_json::to_vec(message).map_err(|error| Cause::Malformed(error.to_string()))
}

fn initialize_cause(error: ClientInitializeError, greeter: &Greeter) -> Cause {
    match (greeter.last_failure(), error) {
        (Some(cause), _) => cause,
        (None, ClientInitializeError::JsonRpcError(error)) => {
            Cause::Rpc { code: error.code.0, message: foreign(&error.message) }
        }
        (None, ClientInitializeError::Cancelled) => Cause::Cancelled,
        (None, other) => Cause::Malformed(foreign(&other.to_string())),
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.number)
    }
}
