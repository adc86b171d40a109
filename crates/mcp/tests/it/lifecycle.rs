//! How a server is met: without a session where it speaks 2026-07-28, else by `initialize`.

use std::{
    borrow::Cow,
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use minicol_mcp::{Class, CyclePlan, HttpClient, PollTarget, Target, TargetSettings, TargetState, testing::Reply};
use minicol_plugin::{
    CancellationToken,
    net::{BoxIo, HttpConnector, HttpServer, Listener, Network},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
        PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::json;
use tokio::time::Instant;
use tower::{ServiceExt, service_fn};

use crate::world::{INTERVAL, World, answer, failure, target};

/// A server on rmcp, as its users write them.
#[derive(Clone)]
struct Official(&'static [ProtocolVersion]);

impl ServerHandler for Official {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new("official", "1.2.3"))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.0)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![echo()]))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == "get_echo").then(echo)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Ok(CallToolResult::structured(json!({"got": request.arguments})).into())
    }
}

/// Its only tool. Some of its arguments have to stand in headers as well.
fn echo() -> Tool {
    let zone = json!({"type": "integer", "x-mcp-header": "Zone"});
    let properties = json!({
        "x": {},
        "region": {"type": "string", "x-mcp-header": "Region"},
        "where": {"type": "object", "properties": {"zone": zone}},
    });
    let schema = json!({"type": "object", "properties": properties}).as_object().cloned().unwrap();
    Tool::new("get_echo", "gives its arguments back", schema)
}

/// What a request carried: its method, its headers.
type Heads = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// Serves `server` on `official:80`.
async fn serve(world: &World, server: Official, config: StreamableHttpServerConfig) -> Heads {
    let service: StreamableHttpService<Official, LocalSessionManager> =
        StreamableHttpService::new(move || Ok(server.clone()), Arc::default(), config.disable_allowed_hosts());
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    let recorded = service_fn(move |request: Request<Incoming>| {
        seen.lock().unwrap().push((request.method().to_string(), request.headers().clone()));
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let listener = world.harness.network.listen("official:80").await.unwrap();
    tokio::spawn(HttpServer::new(listener).serve(recorded, CancellationToken::new()));
    heads
}

fn plan(world: &World) -> CyclePlan {
    let tick = Instant::now();
    let mut plan = CyclePlan { tick, deadline: tick + INTERVAL, ..world.plan(&["echo"]) };
    plan.tools[0].arguments.insert("x".to_owned(), json!(7));
    plan
}

/// Three cycles with a server on rmcp; gives what it saw, and the protocol version agreed on.
async fn meet(
    versions: &'static [ProtocolVersion],
    config: StreamableHttpServerConfig,
) -> (Vec<(String, HeaderMap)>, String) {
    let world = World::new().await;
    let heads = serve(&world, Official(versions), config).await;
    let settings = TargetSettings { max_retries: 0, ..TargetSettings::new("http://official/mcp".parse().unwrap()) };
    let target = target(settings, &Arc::new(TargetState::default()), &world.scope);
    for _ in 0..3 {
        let outcome = target.cycle(&plan(&world)).await;
        assert_eq!(answer(&outcome, "get_echo").document, json!({"got": {"x": 7}}));
    }
    let snapshot = target.snapshot();
    assert_eq!(snapshot.server.as_deref(), Some("official 1.2.3"));
    target.close().await;
    let seen = heads.lock().unwrap().clone();
    (seen, snapshot.protocol_version.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_speaks_without_sessions_is_asked_so() {
    for json in [true, false] {
        let config = StreamableHttpServerConfig::default().with_json_response(json).with_legacy_session_mode(!json);
        let (seen, version) = meet(ProtocolVersion::KNOWN_VERSIONS, config).await;
        assert_eq!(version, "2026-07-28");
        assert_eq!(seen.len(), 1 + 1 + 3, "server/discover, tools/list and three calls, and no farewell: {seen:?}");
        assert!(seen.iter().all(|(method, headers)| method == "POST" && !headers.contains_key("mcp-session-id")));
        assert!(seen.iter().all(|(_, headers)| headers["mcp-protocol-version"] == "2026-07-28"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_server_is_initialized_and_its_session_ended() {
    let older = &[ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25];
    for (sessions, json) in [(true, false), (false, true), (false, false)] {
        let config = StreamableHttpServerConfig::default().with_legacy_session_mode(sessions).with_json_response(json);
        let (seen, version) = meet(older, config).await;
        assert_eq!(version, "2025-11-25");
        let (method, headers) = seen.last().unwrap();
        assert_eq!((method == "DELETE", headers.contains_key("mcp-session-id")), (sessions, sessions), "{seen:?}");
    }
}

/// rmcp's server refuses a call whose headers do not say what its arguments do.
#[tokio::test(start_paused = true)]
async fn arguments_that_a_server_wants_in_headers_as_well_stand_there() {
    let older: &[ProtocolVersion] = &[ProtocolVersion::V_2025_11_25];
    for (versions, arguments, region, zone) in [
        (ProtocolVersion::KNOWN_VERSIONS, json!({"region": "eu", "where": {"zone": 3}}), Some("eu"), Some("3")),
        (ProtocolVersion::KNOWN_VERSIONS, json!({"region": "Z\u{fc}rich"}), Some("=?base64?WsO8cmljaA==?="), None),
        (ProtocolVersion::KNOWN_VERSIONS, json!({"region": null}), None, None),
        (older, json!({"region": "eu"}), None, None),
    ] {
        let world = World::new().await;
        let heads = serve(&world, Official(versions), StreamableHttpServerConfig::default()).await;
        let settings = TargetSettings { max_retries: 0, ..TargetSettings::new("http://official/mcp".parse().unwrap()) };
        let target = target(settings, &Arc::new(TargetState::default()), &world.scope);
        let mut plan = plan(&world);
        plan.tools[0].arguments = arguments.as_object().cloned().unwrap();
        assert_eq!(answer(&target.cycle(&plan).await, "get_echo").document, json!({"got": arguments}));
        let (_, call) = heads.lock().unwrap().last().unwrap().clone();
        let of = |name: &str| call.get(name).map(|value| value.to_str().unwrap());
        assert_eq!((of("mcp-param-region"), of("mcp-param-zone")), (region, zone));
        let others = heads.lock().unwrap().iter().filter(|(_, all)| all.contains_key("mcp-param-region")).count();
        assert_eq!(others, usize::from(region.is_some()), "the call's alone");
    }
}

/// The protocol wants such a tool not to be called; older versions know no such headers.
#[tokio::test(start_paused = true)]
async fn a_tool_whose_headers_break_the_rules_is_not_called_and_told() {
    for kind in [Kind::Modern, Kind::Stateful] {
        let world = World::new().await;
        let schema = json!({"type": "object", "properties": {"x": {"type": "number", "x-mcp-header": "X"}}});
        world.server.tool_with_schema("get_a", schema, |_| Reply::structured(json!({})));
        become_kind(&world, kind);
        let outcome = world.cycle(&["a", "b"]).await;
        answer(&outcome, "get_b");
        if kind == Kind::Stateful {
            answer(&outcome, "get_a");
            continue;
        }
        let failure = failure(&outcome, "get_a");
        assert_eq!((failure.class(), &*failure.error_type()), (Class::Protocol, "invalid_response"), "{failure}");
        assert!(failure.to_string().contains("neither string, integer nor boolean"), "{failure}");
        assert_eq!(world.server.count("tools/call get_a"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_an_older_server_says_to_the_question_it_is_initialized_and_not_asked_again_soon() {
    for reply in [
        Reply::hang(),
        Reply::status(404),
        Reply::status(405),
        Reply::status(500),
        Reply::status(202),
        Reply::json("{nope"),
        Reply::error(-32601, "Method not found"),
        Reply::error(-32022, "Unsupported protocol version"),
        Reply::result(json!({})),
        Reply::result(
            json!({"resultType": "complete", "supportedVersions": ["2025-11-25"], "capabilities": {}, "ttlMs": 0, "cacheScope": "public"}),
        ),
    ] {
        let mut world = World::new().await;
        world.server.guard(move |seen| (seen.kind() == "server/discover").then(|| reply.clone()));
        let before = Instant::now();
        answer(&world.cycle(&["a"]).await, "get_a");
        assert!(before.elapsed() <= Duration::from_secs(2), "{:?}", before.elapsed());
        assert_eq!(world.target.snapshot().protocol_version.as_deref(), Some("2025-11-25"));
        world.server.forget_sessions();
        world.next_tick().await;
        answer(&world.cycle(&["a"]).await, "get_a");
        assert_eq!((world.server.count("initialize"), world.server.probes()), (2, 1));
        for _ in 0..20 {
            world.next_tick().await;
        }
        world.server.forget_sessions();
        answer(&world.cycle(&["a"]).await, "get_a");
        assert_eq!(world.server.probes(), 2, "ten minutes later");
    }
}

/// Which kind the server is: as `FastMCP` with sessions, without, and as one that speaks 2026-07-28 alone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Stateful,
    Stateless,
    Modern,
}

/// The server is of this kind from now on, as after a restart.
fn become_kind(world: &World, kind: Kind) {
    world.server.forget_sessions();
    if kind == Kind::Stateful {
        world.server.stateful();
    } else {
        world.server.stateless();
    }
    world.server.guard(move |seen| {
        let modern = seen.header("mcp-protocol-version") == Some("2026-07-28");
        match (kind, seen.kind().as_str()) {
            (Kind::Modern, "server/discover") => Some(Reply::result(json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "ttlMs": 0, "cacheScope": "public",
            }))),
            _ if modern != (kind == Kind::Modern) && seen.kind() != "initialize" => {
                Some(Reply::transport_error(400, "Unsupported protocol version"))
            }
            (Kind::Modern, "initialize") => Some(Reply::transport_error(400, "Unsupported protocol version")),
            _ => None,
        }
    });
}

/// Promise: restarting minicol is never needed.
#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_as_another_kind_is_met_anew() {
    use Kind::{Modern, Stateful, Stateless};
    for (from, to) in
        [(Stateless, Stateful), (Stateful, Stateless), (Modern, Stateful), (Modern, Stateless), (Stateless, Modern)]
    {
        let mut world = World::new().await;
        become_kind(&world, from);
        for _ in 0..2 {
            answer(&world.cycle(&["a", "b"]).await, "get_a");
            world.next_tick().await;
        }
        become_kind(&world, to);
        for _ in 0..2 {
            let outcome = world.cycle(&["a", "b"]).await;
            answer(&outcome, "get_a");
            answer(&outcome, "get_b");
            assert_eq!(outcome.setup, None, "{from:?} {to:?}");
            world.next_tick().await;
        }
        let version = world.target.snapshot().protocol_version.unwrap();
        assert_eq!(version == "2026-07-28", to == Modern, "{from:?} {to:?}: {version}");
    }
}

/// Older servers on rmcp say 422 to a call that comes without a session. To one with a session it is that call's own failure.
#[tokio::test(start_paused = true)]
async fn a_422_to_a_call_without_a_session_makes_one_and_to_a_call_with_one_does_not() {
    let mut world = World::new().await;
    world.server.stateless();
    for _ in 0..2 {
        answer(&world.cycle(&["a"]).await, "get_a");
        world.next_tick().await;
    }
    assert_eq!(world.server.count("initialize"), 1);
    world.server.stateful();
    world.server.guard(|seen| {
        let without = seen.header("mcp-session-id").is_none() && seen.kind() != "initialize";
        without.then(|| Reply::transport_error(422, "Unexpected message, expect initialize request"))
    });
    let outcome = world.cycle(&["a", "b"]).await;
    assert_eq!(outcome.setup, None);
    answer(&outcome, "get_a");
    answer(&outcome, "get_b");
    assert_eq!(world.server.count("initialize"), 2, "one new session for all that met it");
    world.next_tick().await;

    world.server.guard(|_| None);
    world.server.always("tools/call get_b", Reply::transport_error(422, "cannot be processed"));
    let outcome = world.cycle(&["a", "b"]).await;
    answer(&outcome, "get_a");
    let failure = failure(&outcome, "get_b");
    assert_eq!((failure.class(), failure.error_type()), (Class::Protocol, "422".into()), "{failure}");
    assert_eq!(world.server.count("initialize"), 2, "the session is kept");
}

/// What refuses one tool alone is that tool's failure: nothing is made anew without end.
#[tokio::test(start_paused = true)]
async fn a_tool_that_is_refused_without_a_session_costs_one_handshake_and_then_none() {
    let mut world = World::new().await;
    world.server.stateless();
    world.server.always("tools/call get_b", Reply::status(400));
    for handshakes in [1, 2, 2, 2] {
        let outcome = world.cycle(&["a", "b"]).await;
        answer(&outcome, "get_a");
        assert_eq!(failure(&outcome, "get_b").class(), Class::Protocol);
        assert_eq!(world.server.count("initialize"), handshakes);
        world.next_tick().await;
    }
}

/// Servers without sessions answer JSON-RPC errors with 400 or 404: that is an answer, and says nothing about what was agreed on.
#[tokio::test(start_paused = true)]
async fn an_error_to_the_very_request_is_that_whatever_its_status_is() {
    for kind in [Kind::Modern, Kind::Stateless, Kind::Stateful] {
        for status in [400, 404, 500] {
            let mut world = World::new().await;
            become_kind(&world, kind);
            let refused = || Reply::error(-32602, "limit must be <= 20").with_status(status);
            world.server.always("tools/call get_b", refused());
            for _ in 0..3 {
                let outcome = world.cycle(&["a", "b"]).await;
                answer(&outcome, "get_a");
                let failure = failure(&outcome, "get_b");
                assert_eq!((failure.class(), &*failure.error_type()), (Class::Protocol, "-32602"), "{kind:?} {status}");
                assert!(failure.to_string().contains("check the tool's arguments"), "{failure}");
                world.next_tick().await;
            }
            // To a request with a session, 404 says that it is gone.
            let lost = kind == Kind::Stateful && status == 404;
            assert_eq!(world.server.count("tools/list"), if lost { 4 } else { 1 }, "{kind:?} {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_names_versions_has_the_server_met_anew() {
    let mut world = World::new().await;
    become_kind(&world, Kind::Modern);
    answer(&world.cycle(&["a"]).await, "get_a");
    world.next_tick().await;
    world.server.once("tools/call get_a", Reply::error(-32022, "Unsupported protocol version").with_status(400));
    answer(&world.cycle(&["a"]).await, "get_a");
    assert_eq!(world.server.probes(), 2);
}

/// 2026-07-28 has no `ping`.
#[tokio::test(start_paused = true)]
async fn a_server_without_sessions_is_asked_for_its_list_where_no_tool_is_called() {
    let mut world = World::new().await;
    become_kind(&world, Kind::Modern);
    for cycle in 1..=3 {
        let outcome = world.cycle(&["nope"]).await;
        assert_eq!((outcome.up, outcome.setup), (Some(true), None));
        assert_eq!((world.server.count("tools/list"), world.server.count("ping")), (cycle, 0));
        world.next_tick().await;
    }
    assert_eq!(world.server.probes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_known_or_has_no_initialize_is_refused_and_its_session_ended() {
    for version in ["2099-01-01", "1.0", "2026-07-28", "\u{1b}[2J"] {
        let world = World::new().await;
        world.server.guard(move |seen| {
            let result =
                json!({"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "x", "version": "0"}});
            (seen.kind() == "initialize").then(|| Reply::result(result).header("mcp-session-id", "session-x"))
        });
        let failure = world.cycle(&["a"]).await.setup.unwrap();
        assert_eq!((failure.class(), &*failure.error_type()), (Class::Protocol, "invalid_response"), "{failure}");
        let told = failure.to_string();
        assert!(told.contains("protocol version") && !told.contains('\u{1b}'), "{told}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let last = world.server.requests().pop().unwrap();
        assert_eq!((last.kind().as_str(), last.session()), ("DELETE", Some("session-x")));
        assert_eq!(world.server.count("notifications/initialized"), 0);
    }
}

/// The old session is lost, and `initialize` is refused: the next cycle asks again which kind the server is.
#[tokio::test(start_paused = true)]
async fn a_server_with_sessions_that_comes_back_without_initialize_is_found_in_the_next_cycle() {
    let mut world = World::new().await;
    answer(&world.cycle(&["a"]).await, "get_a");
    world.next_tick().await;
    become_kind(&world, Kind::Modern);
    assert_eq!(failure(&world.cycle(&["a"]).await, "get_a").class(), Class::Protocol);
    world.next_tick().await;
    answer(&world.cycle(&["a"]).await, "get_a");
    assert_eq!(world.target.snapshot().protocol_version.as_deref(), Some("2026-07-28"));
}

/// What stands before a server may refuse a method that it does not know in its own way.
#[tokio::test(start_paused = true)]
async fn a_question_that_is_refused_like_a_stranger_s_is_followed_by_initialize() {
    for reply in [
        Reply::status(401),
        Reply::status(403),
        Reply::status(502),
        Reply::cut(),
        Reply::events(),
        Reply::events().chunk(": nothing\n\n").then_cut(),
    ] {
        let mut world = World::with(|settings| TargetSettings { max_retries: 0, ..settings }).await;
        world.server.guard(move |seen| (seen.kind() == "server/discover").then(|| reply.clone()));
        let outcome = world.cycle(&["a"]).await;
        assert_eq!(outcome.setup, None);
        answer(&outcome, "get_a");
        world.server.forget_sessions();
        world.next_tick().await;
        answer(&world.cycle(&["a"]).await, "get_a");
        assert_eq!((world.server.count("initialize"), world.server.probes()), (2, 1), "it is not asked again soon");
    }
}

/// Whoever refuses `initialize` as well is told by that, and asked it once per set-up.
#[tokio::test(start_paused = true)]
async fn what_initialize_meets_decides_where_the_question_was_refused() {
    for (reply, class) in [
        (Reply::status(401), Class::Auth),
        (Reply::status(403), Class::Auth),
        (Reply::status(503), Class::Unavailable),
        (Reply::cut(), Class::Unavailable),
        (Reply::events(), Class::Unavailable),
    ] {
        let world = World::with(|settings| TargetSettings { max_retries: 0, ..settings }).await;
        world.server.guard(move |_| Some(reply.clone()));
        let failure = world.cycle(&["a"]).await.setup.unwrap();
        assert_eq!(failure.class(), class, "{failure}");
        assert_eq!((world.server.probes(), world.server.kinds()), (1, vec!["initialize".to_owned()]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_or_asks_to_be_asked_later_is_not_initialized_first() {
    let world = World::with(|settings| TargetSettings { max_retries: 0, ..settings }).await;
    let later = || Reply::status(429).header("retry-after", "600");
    world.server.guard(move |seen| (seen.kind() == "server/discover").then(later));
    let failure = world.cycle(&["a"]).await.setup.unwrap();
    assert_eq!(failure.class(), Class::Throttled, "{failure}");
    assert_eq!(world.server.requests().len(), 0);

    let connects = Arc::new(Nowhere::default());
    let http = HttpClient::new(HttpConnector::new(Arc::clone(&connects) as Arc<dyn Network>, None));
    let target = Target::new(world.target.settings().clone(), http, Arc::default(), &world.scope);
    let failure = target.cycle(&world.plan(&["a"])).await.setup.unwrap();
    assert_eq!(failure.class(), Class::Unavailable, "{failure}");
    assert_eq!(connects.0.load(Ordering::Relaxed), 1, "once, and not for `initialize` as well");
}

/// A network where nobody listens, which counts how often somebody was looked for.
#[derive(Debug, Default)]
struct Nowhere(AtomicU32);

#[async_trait]
impl Network for Nowhere {
    async fn connect(&self, _: &str, _: u16) -> io::Result<BoxIo> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
