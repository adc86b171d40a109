use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use minicol_plugin::{
    Clock, Random, SeededRandom,
    net::{HttpServer, Listener},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt, service_fn};

use crate::{FailureKind, Model, SimulatorConfig, tools};

/// How far the model has moved when the simulator starts, in simulated seconds: averages exist, sessions are active.
const HEAD_START: f64 = 4.0 * 3600.0;
/// Sessions that may be open at once; beyond it a new one is refused with 503.
const MAX_SESSIONS: usize = 256;
/// A session that nobody uses ends after this, as the real server's does.
const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// No request of a poller is longer.
const MAX_REQUEST_BYTES: usize = 1 << 20;

type Mcp = StreamableHttpService<Buddy, LocalSessionManager>;
type Answer = BoxBody<Bytes, Infallible>;

/// What all connections share: the model behind the tools, and the process that serves them.
pub(crate) struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// None before it serves and after it was told to end. (A process holds on to what is shared: this is where the circle is cut.)
    process: ArcSwapOption<Process>,
}

struct State {
    config: SimulatorConfig,
    model: Model,
    chance: SeededRandom,
    /// When the simulated process started, on the monotonic clock.
    started: Duration,
    /// How far its model had moved then, in simulated seconds.
    head_start: f64,
    calls: BTreeMap<String, u64>,
}

/// One life of the simulated process: its sessions end with it.
struct Process {
    service: Mcp,
    sessions: Arc<LocalSessionManager>,
    end: CancellationToken,
}

impl Shared {
    pub(crate) fn new(config: SimulatorConfig, clock: Arc<dyn Clock>) -> Self {
        let mut model = Model::new(config.seed);
        model.advance(HEAD_START);
        let state = State {
            chance: SeededRandom::from_seed(config.seed),
            started: clock.monotonic(),
            head_start: HEAD_START,
            calls: BTreeMap::new(),
            model,
            config,
        };
        Self { clock, state: Mutex::new(state), process: ArcSwapOption::empty() }
    }

    pub(crate) fn restart(self: &Arc<Self>) {
        let mut state = self.state();
        state.model = Model::new(state.config.seed);
        state.started = self.clock.monotonic();
        state.head_start = 0.0;
        drop(state);
        if let Some(old) = self.process.swap(Some(Arc::new(Process::new(self)))) {
            old.end.cancel();
        }
    }

    pub(crate) fn end_sessions(&self) {
        if let Some(old) = self.process.swap(None) {
            old.end.cancel();
        }
    }

    pub(crate) fn set_faults(&self, faults: &SimulatorConfig) {
        let mut state = self.state();
        state.config.latency = faults.latency;
        state.config.restart_every = faults.restart_every;
        state.config.failures.clone_from(&faults.failures);
    }

    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A restart that is due happens at the next request: no task waits for it.
    fn restart_if_due(self: &Arc<Self>) {
        let state = self.state();
        let (every, lived) = (state.config.restart_every.0, self.clock.monotonic().saturating_sub(state.started));
        drop(state);
        if !every.is_zero() && lived >= every {
            self.restart();
        }
    }

    async fn call(&self, tool: &str) -> Result<CallToolResult, ErrorData> {
        let latency = self.state().config.latency.0;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut state = self.state();
        let moved =
            state.head_start + self.clock.monotonic().saturating_sub(state.started).as_secs_f64() * state.config.speed;
        state.model.advance(moved);
        let Some(answer) = tools::answer(&state.model, tool) else {
            return Ok(CallToolResult::error(vec![ContentBlock::text(format!("Unknown tool: '{tool}'"))]));
        };
        *state.calls.entry(tool.to_owned()).or_default() += 1;
        let failure = state.config.failures.get(tool).or_else(|| state.config.failures.get("*")).copied();
        match failure.filter(|failure| state.chance.next_f64() < failure.rate).map(|failure| failure.kind) {
            None => Ok(CallToolResult::structured(answer)),
            Some(FailureKind::IsError) => Ok(CallToolResult::error(vec![ContentBlock::text("told to fail")])),
            Some(FailureKind::SuccessFalse) => Ok(CallToolResult::structured(
                json!({ "success": false, "error": "told_to_fail", "message": "told to fail" }),
            )),
            Some(FailureKind::JsonRpcError) => Err(ErrorData::internal_error("told to fail", None)),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Process {
    fn new(shared: &Arc<Shared>) -> Self {
        let end = CancellationToken::new();
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_IDLE);
        let sessions = Arc::new(sessions);
        let mut config = StreamableHttpServerConfig::default();
        // Host and Origin are checked by the HTTP server underneath, which knows where it is bound.
        config = config.disable_allowed_hosts();
        config.cancellation_token = end.clone();
        // Its timer reckons with the standard clock: where a test's clock has run ahead, keep-alives would never cease.
        config.sse_keep_alive = None;
        let buddy = Buddy(Arc::clone(shared));
        Self {
            service: StreamableHttpService::new(move || Ok(buddy.clone()), Arc::clone(&sessions), config),
            sessions,
            end,
        }
    }
}

#[derive(Clone)]
struct Buddy(Arc<Shared>);

impl ServerHandler for Buddy {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("session-buddy-simulator", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::list()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.0.call(&request.name).await.map(Into::into)
    }
}

/// Serves until `stop`.
pub(crate) async fn serve(listener: Box<dyn Listener>, shared: Arc<Shared>, stop: CancellationToken) {
    shared.process.store(Some(Arc::new(Process::new(&shared))));
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    HttpServer::new(listener).serve(service, stop).await;
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Answer> {
    shared.restart_if_due();
    match request.uri().path() {
        "/mcp" => {}
        // As the real server does.
        "/mcp/" => return plain(StatusCode::TEMPORARY_REDIRECT, "", Some("/mcp")),
        _ => return plain(StatusCode::NOT_FOUND, "the MCP endpoint is /mcp\n", None),
    }
    let Some(process) = shared.process.load_full() else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "ending\n", None);
    };
    let opens_session = !request.headers().contains_key("mcp-session-id");
    if opens_session && process.sessions.sessions.read().await.len() >= MAX_SESSIONS {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "too many sessions\n", None);
    }
    let request = request.map(|body| Limited::new(body, MAX_REQUEST_BYTES));
    match process.service.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn plain(status: StatusCode, text: &'static str, location: Option<&'static str>) -> Response<Answer> {
    let mut response = Response::new(Full::from(text).boxed());
    *response.status_mut() = status;
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static(location));
    }
    response
}
