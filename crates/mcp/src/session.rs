//! One session with one server. What is sent is made of rmcp's types.

use std::{
    borrow::Cow,
    fmt,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use http::HeaderName;
use minicol_plugin::{
    text::foreign,
    trace::{current_trace_context, set_on_current},
};
use opentelemetry::KeyValue;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam, Extensions,
    ListToolsRequest, PaginatedRequestParams, PingRequest, RequestId, RequestMetaObject,
};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::{
    Cause,
    transport::{
        Envelope, Handshake, Heads, Link, Met, carry, carrying, encoded_notification, encoded_request, introduction,
    },
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
    /// The protocol version agreed on.
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
        handshake: &Handshake<'_>,
        number: u64,
        probe: Option<Duration>,
    ) -> Result<Self, Cause> {
        let Met { server, heads } = handshake.meet(&link, probe).await?;
        let version = server.protocol_version;
        let initialized = version.has_initialize();
        Ok(Self {
            number,
            initialized,
            protocol_version: version.to_string(),
            server: server.server_info.map(|server| foreign(&format!("{} {}", server.name, server.version))),
            introduction: (!initialized).then(|| introduction(version)),
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
        let heads = self.heads_of("tools/list", None, Vec::new());
        let of = |extensions| ListToolsRequest { params, extensions, ..ListToolsRequest::default() };
        self.request(of, &heads, true).await
    }

    /// Asks whether the server is there.
    pub(crate) async fn ping(&self) -> Result<(), Cause> {
        let heads = self.heads_of("ping", None, Vec::new());
        match self.request(|extensions| PingRequest { extensions, ..PingRequest::default() }, &heads, true).await {
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
        let heads = self.heads_of("tools/call", Some(tool), heads);
        let of = |extensions| {
            let mut request = CallToolRequest::new(params);
            request.extensions = extensions;
            request
        };
        self.request(of, &heads, false).await
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

    /// Sends a request and reads the reply; `more` where another request will follow at once.
    async fn request<R: Serialize>(
        &self,
        request: impl FnOnce(Extensions) -> R,
        heads: &Heads,
        more: bool,
    ) -> Result<Value, Cause> {
        let mut meta = self.introduction.clone().unwrap_or_default();
        if let Some(context) = current_trace_context() {
            carry(&context, &mut meta);
        }
        let id = RequestId::Number(self.next_id.fetch_add(1, Ordering::Relaxed));
        set_on_current(|| [KeyValue::new("jsonrpc.request.id", id.to_string())]);
        let body = encoded_request(id.clone(), request(carrying(meta)))?;
        self.exchange(id, body, heads, more).await
    }

    async fn exchange(&self, id: RequestId, body: Vec<u8>, heads: &Heads, more: bool) -> Result<Value, Cause> {
        let _room = self.room.acquire().await.map_err(|_| Cause::Cancelled)?;
        let mut pending = Pending { session: self, id: Some(id.clone()) };
        let asked = if more {
            self.link.ask_first(&id, body.into(), heads).await
        } else {
            self.link.ask(&id, body.into(), heads).await
        };
        pending.id = None;
        let result = asked.and_then(Envelope::result);
        self.replied.store(result.as_ref().err().is_none_or(Cause::is_reply), Ordering::Relaxed);
        result
    }

    /// What goes with a request: where the server was not initialized, also what it asks for.
    fn heads_of(&self, method: &str, name: Option<&str>, params: Vec<(HeaderName, String)>) -> Cow<'_, Heads> {
        if self.initialized {
            return Cow::Borrowed(&self.heads);
        }
        Cow::Owned(self.heads.naming(method, name, params))
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
        let Ok(body) = encoded_notification(CancelledNotification::new(params)) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (link, heads) = (session.link.clone(), session.heads.clone());
            runtime.spawn(tokio::time::timeout(CANCEL_TIMEOUT, async move { link.tell(body.into(), &heads).await }));
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.number)
    }
}
