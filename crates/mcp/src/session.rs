//! One session with one server, on rmcp.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use minicol_plugin::{
    text::foreign,
    trace::{current_trace_context, set_on_current},
};
use opentelemetry::KeyValue;
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient,
    model::{
        CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest, GetMeta,
        Implementation, ListToolsRequest, PaginatedRequestParams, PingRequest, ProtocolVersion, ServerResult,
    },
    service::{ClientInitializeError, Peer, PeerRequestOptions, RequestHandle, RunningService, ServiceError},
    transport::{
        DynamicTransportError,
        common::client_side_sse::NeverRetry,
        streamable_http_client::{
            StreamableHttpClientTransport, StreamableHttpClientTransportConfig, StreamableHttpError,
        },
    },
};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::{
    Cause,
    transport::{Link, carry, known},
};

/// How many calls go out at once on one session; the others wait within their time.
const MAX_CONCURRENT: usize = 256;
/// How long telling the server that a call is given up may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the end of a session is waited for: a little more than its DELETE may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(2500);

type Running = RunningService<RoleClient, ClientConfig>;

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
    peer: Peer<RoleClient>,
    running: Mutex<Option<Running>>,
    replied: AtomicBool,
}

/// A request in flight: the server is told when nobody waits for it any more.
struct Pending<'a> {
    session: &'a Session,
    handle: Option<RequestHandle<RoleClient>>,
}

impl Session {
    /// Connects. With `probe`, asks first whether the server speaks without sessions (2026-07-28); initializes where it does not.
    pub(crate) async fn connect(link: Link, number: u64, probe: bool) -> Result<Self, Cause> {
        let guard = CutOnDrop(Some(link.clone()));
        let client =
            ClientConfig::new(ClientCapabilities::default(), Implementation::new("minicol", env!("CARGO_PKG_VERSION")))
                .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
        let mut config = StreamableHttpClientTransportConfig::with_uri("mcp");
        config.retry_config = Arc::new(NeverRetry::default());
        config.reinit_on_expired_session = false;
        config.max_concurrent_requests = MAX_CONCURRENT;
        config.control_request_timeout = CANCEL_TIMEOUT;
        let lifecycle = if probe {
            let preferred_versions = vec![ProtocolVersion::NO_INITIALIZE];
            ClientLifecycleMode::Auto { preferred_versions, legacy_version: None }
        } else {
            ClientLifecycleMode::Initialize
        };
        let transport = StreamableHttpClientTransport::with_client(link.clone(), config);
        let running =
            client.serve_with_lifecycle(transport, lifecycle).await.map_err(|error| initialize_cause(error, &link))?;
        if let Some(cause) = link.last_failure() {
            if matches!(cause, Cause::SessionLost(_)) {
                link.without_farewell();
            }
            return Err(cause);
        }
        guard.disarm();
        let peer = running.peer().clone();
        let info = peer.peer_info();
        let server = info.as_ref().and_then(|info| info.server_info.as_ref());
        Ok(Self {
            number,
            initialized: info.as_ref().is_none_or(|info| info.protocol_version.has_initialize()),
            protocol_version: known(info.as_ref().map(|info| &info.protocol_version)),
            server: server.map(|server| foreign(&format!("{} {}", server.name, server.version))),
            link,
            peer,
            running: Mutex::new(Some(running)),
            replied: AtomicBool::new(true),
        })
    }

    /// Asks for one page of the tools.
    pub(crate) async fn list_tools(&self, cursor: Option<String>) -> Result<Value, Cause> {
        let params = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
        let request = ListToolsRequest { params, ..ListToolsRequest::default() };
        self.request(ClientRequest::ListToolsRequest(request)).await
    }

    /// Asks whether the server is there.
    pub(crate) async fn ping(&self) -> Result<(), Cause> {
        match self.request(ClientRequest::PingRequest(PingRequest::default())).await {
            // A server that knows no ping is there as well.
            Ok(_) | Err(Cause::Rpc { .. }) => Ok(()),
            Err(cause) => Err(cause),
        }
    }

    /// Calls a tool; gives its result as it came.
    pub(crate) async fn call_tool(&self, tool: &str, arguments: Map<String, Value>) -> Result<Value, Cause> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        self.request(ClientRequest::CallToolRequest(CallToolRequest::new(params))).await
    }

    /// What the server calls it, where it says so.
    pub(crate) fn id(&self) -> Option<&str> {
        self.link.session_id()
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
        self.peer.is_transport_closed()
    }

    /// Ends it politely, within a bound.
    pub(crate) async fn close(&self) {
        let running = self.running.lock().await.take();
        if let Some(mut running) = running {
            let _ = running.close_with_timeout(CLOSE_TIMEOUT).await;
        }
        self.link.cut();
    }

    async fn request(&self, mut request: ClientRequest) -> Result<Value, Cause> {
        if let Some(context) = current_trace_context() {
            carry(&context, request.get_meta_mut());
        }
        let handle = self.peer.send_request_with_option(request, PeerRequestOptions::no_options()).await;
        let handle = handle.map_err(|error| self.cause(error))?;
        set_on_current(|| [KeyValue::new("jsonrpc.request.id", handle.id.to_string())]);
        let mut pending = Pending { session: self, handle: Some(handle) };
        let replied = match pending.handle.as_mut() {
            Some(handle) => (&mut handle.rx).await,
            None => return Err(Cause::Cancelled),
        };
        pending.handle = None;
        let result = match replied {
            Ok(Ok(ServerResult::CustomResult(result))) => Ok(result.0),
            Ok(Ok(_)) => Err(Cause::Malformed("a reply of another kind".to_owned())),
            Ok(Err(error)) => Err(self.cause(error)),
            Err(_) => Err(self.cause(ServiceError::TransportClosed)),
        };
        self.replied.store(result.as_ref().err().is_none_or(Cause::is_reply), Ordering::Relaxed);
        result
    }

    fn cause(&self, error: ServiceError) -> Cause {
        match error {
            // rmcp's own words for a call that was in flight when a session was made anew.
            ServiceError::McpError(error) if error.message.contains("session was re-initialized") => {
                Cause::SessionLost(Box::new(Cause::Unreachable(foreign(&error.message))))
            }
            ServiceError::McpError(error) => Cause::Rpc { code: error.code.0, message: foreign(&error.message) },
            ServiceError::TransportSend(error) => transport_cause(&error, &self.link),
            ServiceError::TransportClosed => closed(&self.link),
            ServiceError::Cancelled { .. } => Cause::Cancelled,
            other => Cause::Malformed(foreign(&other.to_string())),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.cut();
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        self.session.replied.store(false, Ordering::Relaxed);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(CANCEL_TIMEOUT, handle.cancel(Some("no answer in time".to_owned()))));
        }
    }
}

/// rmcp goes on waiting for an `initialize` that nobody waits for any more.
struct CutOnDrop(Option<Link>);

impl CutOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.cut();
        }
    }
}

fn initialize_cause(error: ClientInitializeError, link: &Link) -> Cause {
    match (link.last_failure(), error) {
        (Some(cause), _) => cause,
        (None, ClientInitializeError::JsonRpcError(error)) => {
            Cause::Rpc { code: error.code.0, message: foreign(&error.message) }
        }
        (None, ClientInitializeError::Cancelled) => Cause::Cancelled,
        (None, other) => Cause::Malformed(foreign(&other.to_string())),
    }
}

fn transport_cause(error: &DynamicTransportError, link: &Link) -> Cause {
    match error.error.downcast_ref::<StreamableHttpError<Cause>>() {
        Some(StreamableHttpError::Client(cause)) => cause.clone(),
        Some(StreamableHttpError::TransportChannelClosed) | None => closed(link),
        Some(other) => Cause::Malformed(foreign(&other.to_string())),
    }
}

/// rmcp ended the session without saying why; the link knows what failed last.
fn closed(link: &Link) -> Cause {
    link.last_failure().unwrap_or_else(|| Cause::Unreachable("the session was closed".to_owned()))
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.number)
    }
}
