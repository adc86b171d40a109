//! The profile `contract`: four tools over the model, served by rmcp.

mod tools;

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
        PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    asked::Asked,
    reply::{Answer, plain},
    server::{MAX_SESSIONS, SESSION_IDLE, Shared},
};

pub(crate) use tools::NAMES as TOOLS;

/// One life of the simulated process: its sessions end with it.
pub(crate) struct Process {
    service: StreamableHttpService<Buddy, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
}

#[derive(Clone)]
struct Buddy(Arc<Shared>);

impl Process {
    pub(crate) fn new(shared: &Arc<Shared>, end: CancellationToken) -> Self {
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_IDLE);
        let sessions = Arc::new(sessions);
        let mut config = StreamableHttpServerConfig::default();
        // Host and Origin are checked by the HTTP server underneath, which knows where it is bound.
        config = config.disable_allowed_hosts();
        config.cancellation_token = end;
        // Its timer reckons with the standard clock: where a test's clock has run ahead, keep-alives would never cease.
        config.sse_keep_alive = None;
        let buddy = Buddy(Arc::clone(shared));
        Self { service: StreamableHttpService::new(move || Ok(buddy.clone()), Arc::clone(&sessions), config), sessions }
    }

    /// Answers a request to `/mcp`.
    pub(crate) async fn answer(
        &self,
        shared: &Shared,
        parts: Parts,
        body: Bytes,
        end: &CancellationToken,
    ) -> Response<Answer> {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let initializes = message["method"] == "initialize";
        if initializes {
            shared.count_initialize();
        }
        let holds = {
            let sessions = self.sessions.sessions.read().await;
            if initializes && sessions.len() >= MAX_SESSIONS {
                return plain(StatusCode::SERVICE_UNAVAILABLE, "", "too many sessions\n");
            }
            match header("mcp-session-id") {
                Some(id) => sessions.contains_key(id),
                // From this version on there are no sessions.
                None => {
                    !shared.insists_on_sessions()
                        && header("mcp-protocol-version") >= Some(ProtocolVersion::NO_INITIALIZE.as_str())
                }
            }
        };
        // What is no call, or none that may be made, is rmcp's to answer, or to refuse.
        if holds && let Some(failure) = shared.suffer(&Asked::of(&message), end).await {
            return failure;
        }
        let request = Request::from_parts(parts, Full::new(body));
        match self.service.clone().oneshot(request).await {
            Ok(response) => response.map(|body| body.map_err(|never| match never {}).boxed_unsync()),
            Err(never) => match never {},
        }
    }
}

impl ServerHandler for Buddy {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("session-buddy-simulator", env!("CARGO_PKG_VERSION")))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        let all = ProtocolVersion::KNOWN_VERSIONS;
        if self.0.insists_on_sessions() {
            return all.iter().filter(|version| version.has_initialize()).cloned().collect();
        }
        Cow::Borrowed(all)
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
        let tool = &request.name;
        let answer = self.0.with_model(|model, _| tools::answer(model, tool));
        let result = match answer {
            Some(answer) => CallToolResult::structured(answer),
            None => CallToolResult::error(vec![ContentBlock::text(format!("Unknown tool: '{tool}'"))]),
        };
        Ok(result.into())
    }
}

/// How far the model has moved when the simulator starts: averages exist, sessions are active.
pub(crate) const HEAD_START: Duration = Duration::from_secs(4 * 3600);
