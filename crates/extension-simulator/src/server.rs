use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use minicol_pdata::Timestamp;
use minicol_plugin::{
    Environment,
    net::{HttpServer, Listener},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::{
    FaultKind, Faults, Model, Profile, SimulatorConfig, Tell,
    asked::Asked,
    contract,
    plan::{Due, Plan},
    release,
    reply::{Answer, Stream, event, plain, stream},
};

/// No request of a poller is longer.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// What all connections share: the model behind the tools, and the process that serves them.
pub(crate) struct Shared {
    pub(crate) environment: Environment,
    profile: Profile,
    tell: Tell,
    state: Mutex<State>,
    /// None before it serves and after it was told to end.
    process: ArcSwapOption<Process>,
    initialized: AtomicU64,
}

struct State {
    config: SimulatorConfig,
    model: Model,
    plan: Plan,
    life: Life,
}

/// One life of the simulated process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// When it started, on the monotonic clock.
    started: Duration,
    /// When it started, on the wall clock.
    pub(crate) started_at: Timestamp,
    /// How old it is.
    pub(crate) age: Duration,
    /// How often a tool was called in it.
    pub(crate) calls: u64,
    /// How far its model had moved when it started.
    head_start: Duration,
}

/// Sessions, and what serves them.
struct Process {
    end: CancellationToken,
    serving: Serving,
}

enum Serving {
    Contract(contract::Process),
    Release(release::Process),
}

impl Shared {
    pub(crate) fn new(config: SimulatorConfig, environment: Environment, tell: Tell) -> Self {
        let now = environment.clock.now();
        let head_start = match config.profile {
            Profile::Contract => contract::HEAD_START,
            // The released server's live counters begin with its process.
            Profile::Release => Duration::ZERO,
        };
        let mut model = Model::new(config.seed);
        model.advance(head_start.as_secs_f64());
        let life = Life { started: now.monotonic, started_at: now.wall, age: Duration::ZERO, calls: 0, head_start };
        let plan = Plan::new(config.faults.clone(), config.seed, now.monotonic);
        let profile = config.profile;
        let state = Mutex::new(State { config, model, plan, life });
        Self { environment, profile, tell, state, process: ArcSwapOption::empty(), initialized: AtomicU64::new(0) }
    }

    /// Totals begin at 0, and sessions are unknown.
    pub(crate) fn restart(&self, at: Duration) {
        let now = self.environment.clock.now();
        let mut state = self.state();
        state.model = Model::new(state.config.seed);
        let age = now.monotonic.saturating_sub(at);
        state.life = Life { started: at, started_at: now.wall - age, age, calls: 0, head_start: Duration::ZERO };
        drop(state);
        self.lose_sessions();
    }

    pub(crate) fn now(&self) -> Duration {
        self.environment.clock.monotonic()
    }

    fn lose_sessions(&self) {
        // One that was told to end stays ended.
        let Some(old) = self.process.load_full() else { return };
        self.process.compare_and_swap(&old, Some(Arc::new(Process::new(self.profile))));
        old.end.cancel();
    }

    pub(crate) fn end_sessions(&self) {
        if let Some(old) = self.process.swap(None) {
            old.end.cancel();
        }
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        let now = self.now();
        self.state().plan.replace(faults, now);
    }

    /// Whether only versions of MCP are spoken that have sessions: those that are to be lost.
    pub(crate) fn insists_on_sessions(&self) -> bool {
        self.state().plan.loses_sessions()
    }

    pub(crate) fn count_initialize(&self) {
        self.initialized.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn initialized(&self) -> u64 {
        self.initialized.load(Ordering::Relaxed)
    }

    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        self.state().plan.calls().clone()
    }

    /// Looks at the model as it is now.
    pub(crate) fn with_model<T>(&self, look: impl FnOnce(&Model, &Life) -> T) -> T {
        let now = self.now();
        let mut state = self.state();
        let state = &mut *state;
        state.life.age = now.saturating_sub(state.life.started);
        let moved = state.life.head_start.as_secs_f64() + state.life.age.as_secs_f64() * state.config.speed;
        state.model.advance(moved);
        look(&state.model, &state.life)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is due happens at the next request: no task waits for it.
    fn keep_time(&self) {
        let now = self.now();
        let due = self.state().plan.due(now);
        match due {
            Some(Due::Restart(at)) => {
                self.restart(at);
                (self.tell)("simulator_restarted", "it has restarted: totals begin at 0, sessions are unknown".into());
            }
            Some(Due::LoseSessions) => {
                self.lose_sessions();
                (self.tell)("simulator_lost_sessions", "it has lost its sessions: calls get 404".into());
            }
            None => {}
        }
    }

    /// Waits for the end of a freeze. False where the server ended before.
    async fn thawed(&self, end: &CancellationToken) -> bool {
        loop {
            let now = self.now();
            let Some((left, news)) = self.state().plan.frozen(now) else { return true };
            if news {
                (self.tell)("simulator_frozen", format!("it is frozen: nothing is answered for {}", told(left)));
            }
            if end.run_until_cancelled(tokio::time::sleep(left)).await.is_none() {
                return false;
            }
        }
    }

    /// Counts a call of a tool, makes it wait, and lets it fail where the plan says so.
    pub(crate) async fn suffer(&self, asked: &Asked, end: &CancellationToken) -> Option<Response<Answer>> {
        let tool = asked.tool.as_deref().filter(|tool| self.profile.tools().contains(tool))?;
        let now = self.now();
        let fate = {
            let mut state = self.state();
            state.life.calls += 1;
            state.plan.call(tool, now)
        };
        if let Some(left) = fate.told {
            let (name, message) = if left.is_zero() {
                ("simulator_tool_answers", format!("{tool} answers again"))
            } else {
                ("simulator_tool_fails", format!("{tool} fails for {}: {}", told(left), fate.kind.name()))
            };
            (self.tell)(name, message);
        }
        if !fate.delay.is_zero() && end.run_until_cancelled(tokio::time::sleep(fate.delay)).await.is_none() {
            return Some(stream(Stream::cut(HALF_AN_EVENT)));
        }
        match fate.failure? {
            FaultKind::Hang => {
                end.cancelled().await;
                Some(stream(Stream::cut(HALF_AN_EVENT)))
            }
            failure => fail(failure, asked),
        }
    }
}

const HALF_AN_EVENT: &str = "event: message\r\n";

/// The response of a call that fails.
fn fail(kind: FaultKind, asked: &Asked) -> Option<Response<Answer>> {
    let result = match kind {
        FaultKind::IsError => json!({"content": [{"type": "text", "text": "told to fail"}], "isError": true}),
        FaultKind::SuccessFalse => {
            let document = json!({"success": false, "error": "told_to_fail", "message": "told to fail"});
            let text = document.to_string();
            json!({"content": [{"type": "text", "text": text}], "structuredContent": document, "isError": false})
        }
        FaultKind::JsonRpcError => {
            return Some(event(&asked.id, "error", &json!({"code": -32603, "message": "told to fail"}).to_string()));
        }
        FaultKind::Garbage => {
            return Some(plain(StatusCode::OK, "application/json", "{\"jsonrpc\":\"2.0\",\"id\":\u{fffd}"));
        }
        FaultKind::Cut | FaultKind::Hang => return Some(stream(Stream::cut(HALF_AN_EVENT))),
        FaultKind::Unavailable => return Some(plain(StatusCode::SERVICE_UNAVAILABLE, "", "told to fail\n")),
        FaultKind::Slow => return None,
    };
    Some(event(&asked.id, "result", &result.to_string()))
}

/// A duration as a person reads it.
fn told(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Process {
    fn new(profile: Profile) -> Self {
        let end = CancellationToken::new();
        let serving = match profile {
            Profile::Contract => Serving::Contract(contract::Process::new(end.clone())),
            Profile::Release => Serving::Release(release::Process::new(end.clone())),
        };
        Self { end, serving }
    }
}

/// Serves until `stop`.
pub(crate) async fn serve(listener: Box<dyn Listener>, shared: Arc<Shared>, stop: CancellationToken) {
    shared.process.store(Some(Arc::new(Process::new(shared.profile))));
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let mut response = answer(&shared, request).await;
            if shared.profile == Profile::Release {
                response.headers_mut().insert(header::SERVER, HeaderValue::from_static("uvicorn"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    HttpServer::new(listener).serve(service, stop).await;
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Answer> {
    shared.keep_time();
    let Some(process) = shared.process.load_full() else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "", "ending\n");
    };
    if shared.state().plan.is_down(shared.now()) {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "", "the simulated process is down\n");
    }
    if !shared.thawed(&process.end).await {
        return stream(Stream::cut(HALF_AN_EVENT));
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_REQUEST_BYTES).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "", "the request is too large\n");
    };
    let body = body.to_bytes();
    match (&process.serving, parts.uri.path()) {
        (Serving::Contract(contract), "/mcp") => contract.answer(shared, &parts, &body, &process.end).await,
        (Serving::Release(release), "/mcp") => release.answer(shared, &parts, &body, &process.end).await,
        // As the real server does.
        (_, "/mcp/") => redirect(&parts),
        (Serving::Contract(_), _) => plain(StatusCode::NOT_FOUND, "", "the MCP endpoint is /mcp\n"),
        (Serving::Release(_), path) => release::page(shared, &parts.method, path),
    }
}

fn redirect(parts: &http::request::Parts) -> Response<Answer> {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let mut response = plain(StatusCode::TEMPORARY_REDIRECT, "", "");
    if let Ok(location) = HeaderValue::from_str(&format!("http://{host}/mcp")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
