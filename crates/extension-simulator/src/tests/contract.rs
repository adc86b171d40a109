//! Promise: the profile `contract` is an MCP server as rmcp's is. Each request of `fixtures/rmcp-3.11.0` is answered as that one answered it.

use std::sync::{Arc, Mutex};

use serde::Deserialize;

use super::{refusals::session, *};
use crate::sessions::SESSION_IDLE;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    session: String,
    #[serde(default)]
    loses_sessions: bool,
    #[serde(default = "super::refusals::post")]
    method: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<Value>,
    raw: Option<String>,
    answer: Recorded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    status: u16,
    content_type: Option<String>,
    allow: Option<String>,
    #[serde(default)]
    names_a_session: bool,
    #[serde(default)]
    stays_open: bool,
    said: String,
}

async fn contract(loses_sessions: bool) -> (Harness, Simulator) {
    let mut config = SimulatorConfig { seed: 7, speed: 0.0, ..SimulatorConfig::default() };
    if loses_sessions {
        config.faults.lose_sessions_every = GoDuration::from_secs(3600);
    }
    started(config).await
}

#[tokio::test(start_paused = true)]
async fn each_request_is_answered_as_rmcp_answered_it() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../fixtures/rmcp-3.11.0/exchanges.json")).unwrap();
    assert_eq!(cases.len(), 169);
    for Case { name, session: wanted, loses_sessions, method, headers, body, raw, answer } in cases {
        let (harness, simulator) = contract(loses_sessions).await;
        let client = Client { harness: &harness, session: session(&harness, &simulator, &wanted).await };
        let text = raw.or_else(|| body.map(|body| body.to_string())).unwrap_or_default();
        let sent: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let before = tokio::time::Instant::now();
        let (status, heads, said) = client.exchange(method.parse().unwrap(), "/mcp", &sent, text).await;
        let head = |name| heads.get(name).map(|one| one.to_str().unwrap().to_owned());

        assert_eq!(
            (status, &said),
            (answer.status, &answer.said.replace("VERSION", env!("CARGO_PKG_VERSION"))),
            "{name}"
        );
        assert_eq!((head("content-type"), head("allow")), (answer.content_type, answer.allow), "{name}");
        assert_eq!(heads.contains_key("mcp-session-id"), answer.names_a_session, "{name}");
        // What stays open does so until its session has idled for too long.
        let waited = if answer.stays_open { SESSION_IDLE } else { Duration::ZERO };
        assert_eq!(before.elapsed().as_secs(), waited.as_secs(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_rmcp_took_for_something_else_is_told() {
    let (harness, _simulator) = contract(false).await;
    let (client, nobody) = (Client::open(&harness).await, Client { harness: &harness, session: None });
    for params in [json!({}), json!({"name": 3}), json!({"name": "get_workflow_metrics", "arguments": "x"})] {
        let (status, _, said) = client.send(Method::POST, &[], &rpc("tools/call", &params)).await;
        assert_eq!((status, &message(&said)["error"]["code"]), (200, &json!(-32602)), "{params} {said}");
    }
    for params in [json!({}), json!({"protocolVersion": 3, "capabilities": {}, "clientInfo": {}})] {
        let (status, heads, said) = nobody.send(Method::POST, &[], &rpc("initialize", &params)).await;
        let error: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((status, &error["error"]["code"], &error["id"]), (400, &json!(-32602), &json!(1)), "{said}");
        assert!(!heads.contains_key("mcp-session-id"));
    }
    let newest = [("mcp-protocol-version", "2026-07-28")];
    let reply = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    let (status, _, said) = nobody.send(Method::POST, &newest, &reply).await;
    assert!(status == 400 && said.contains("-32600"), "{status} {said}");
}

#[tokio::test(start_paused = true)]
async fn events_are_numbered_in_their_session() {
    let (harness, _simulator) = contract(false).await;
    let (one, other) = (Client::open(&harness).await, Client::open(&harness).await);
    let ids = async |client: &Client<'_>| -> Vec<String> {
        let (_, _, said) = client.send(Method::POST, &[], &rpc("ping", &json!({}))).await;
        said.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect()
    };
    assert_eq!([ids(&one).await, ids(&one).await, ids(&other).await], [["0/0", "1/0"], ["0/1", "1/1"], ["0/0", "1/0"]]);
}

/// A standing stream ends with its session, whatever ends that.
#[tokio::test(start_paused = true)]
async fn sessions_end_when_they_are_closed_idle_or_their_process_is_gone() {
    for profile in [Profile::Contract, Profile::Release] {
        let (harness, simulator) = started(SimulatorConfig { profile, ..SimulatorConfig::default() }).await;
        let minute = Duration::from_secs(60);
        let listening = async |client: &Client<'_>| {
            let before = tokio::time::Instant::now();
            assert_eq!(client.send(Method::GET, &[], &Value::Null).await.0, 200);
            before.elapsed()
        };
        let ping = rpc("ping", &json!({}));

        let client = Client::open(&harness).await;
        let (lasted, closed) = tokio::join!(listening(&client), async {
            tokio::time::sleep(minute).await;
            client.send(Method::DELETE, &[], &Value::Null).await.0
        });
        assert_eq!((lasted.as_secs(), closed / 100), (60, 2));
        assert_eq!(client.send(Method::POST, &[], &ping).await.0, 404, "it is closed");

        // Its use keeps it: it ends half an hour after the last.
        let client = Client::open(&harness).await;
        let (lasted, ()) = tokio::join!(listening(&client), async {
            for _ in 0..3 {
                tokio::time::sleep(29 * minute).await;
                assert_eq!(client.send(Method::POST, &[], &ping).await.0, 200);
            }
        });
        assert_eq!(lasted, 87 * minute + SESSION_IDLE);
        assert_eq!(client.send(Method::POST, &[], &ping).await.0, 404, "nobody used it");

        let client = Client::open(&harness).await;
        let (lasted, ()) = tokio::join!(listening(&client), async {
            tokio::time::sleep(minute).await;
            simulator.restart();
        });
        assert_eq!(lasted, minute);
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_are_bounded_and_those_that_idle_make_room() {
    for profile in [Profile::Contract, Profile::Release] {
        let (harness, simulator) = started(SimulatorConfig { profile, ..SimulatorConfig::default() }).await;
        for _ in 0..256 {
            Client::open(&harness).await;
        }
        let client = Client { harness: &harness, session: None };
        let params =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let (status, _, said) = client.send(Method::POST, &[], &rpc("initialize", &params)).await;
        assert_eq!((status, said.as_str()), (503, "too many sessions\n"));
        tokio::time::sleep(SESSION_IDLE).await;
        Client::open(&harness).await;
        assert_eq!(simulator.initialized(), 258);
    }
}

/// rmcp's own client, over a socket: who wrote neither side of the other's.
#[cfg(unix)]
mod rmcp_client {
    use rmcp::{
        ClientLifecycleMode, ClientServiceExt, RoleClient,
        model::{CallToolRequestParams, ClientRequest, PingRequest, ProtocolVersion, ServerResult},
        service::RunningService,
        transport::{
            StreamableHttpClientTransport, UnixSocketHttpClient,
            streamable_http_client::StreamableHttpClientTransportConfig,
        },
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    /// A Unix socket before the simulator, which is what rmcp's client connects to; and the heads of all that went over it.
    struct Door {
        path: std::path::PathBuf,
        heads: Arc<Mutex<Vec<String>>>,
    }

    impl Door {
        fn open(harness: &Harness, name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("minicol-simulator-{}-{name}", std::process::id()));
            let listener = UnixListener::bind(&path).unwrap();
            let heads = Arc::new(Mutex::new(Vec::new()));
            let (seen, network) = (Arc::clone(&heads), Arc::clone(&harness.network));
            tokio::spawn(async move {
                while let Ok((mut near, _)) = listener.accept().await {
                    let mut far = network.connect("127.0.0.1", 8679).await.unwrap();
                    let seen = Arc::clone(&seen);
                    tokio::spawn(async move {
                        let mut first = [0; 4096];
                        let length = near.read(&mut first).await.unwrap();
                        let text = String::from_utf8_lossy(&first[..length]).into_owned();
                        seen.lock().unwrap().push(text.lines().next().unwrap_or_default().to_owned());
                        far.write_all(&first[..length]).await.unwrap();
                        drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                    });
                }
            });
            Self { path, heads }
        }

        async fn enter(&self, lifecycle: ClientLifecycleMode) -> RunningService<RoleClient, ()> {
            let uri = "http://127.0.0.1:8679/mcp";
            let client = UnixSocketHttpClient::new(self.path.to_str().unwrap(), uri);
            let config = StreamableHttpClientTransportConfig::with_uri(uri);
            ().serve_with_lifecycle(StreamableHttpClientTransport::with_client(client, config), lifecycle)
                .await
                .unwrap()
        }

        fn saw(&self, method: &str) -> bool {
            self.heads.lock().unwrap().iter().any(|head| head.starts_with(method))
        }
    }

    impl Drop for Door {
        fn drop(&mut self) {
            drop(std::fs::remove_file(&self.path));
        }
    }

    async fn uses(client: &RunningService<RoleClient, ()>) {
        let info = client.peer_info().unwrap();
        assert_eq!(info.server_info.as_ref().unwrap().name, "session-buddy-simulator");
        let names: Vec<_> = client.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name).collect();
        assert_eq!(names, crate::contract::TOOLS);
        let result = client.call_tool(CallToolRequestParams::new("get_workflow_metrics")).await.unwrap();
        let answer = result.structured_content.unwrap();
        assert!(answer["workflows_completed"].is_u64() && result.is_error == Some(false), "{answer}");
        let text: Value = serde_json::from_str(&result.content[0].as_text().unwrap().text).unwrap();
        assert_eq!(text, answer);
        let unknown = client.call_tool(CallToolRequestParams::new("no_such")).await.unwrap();
        assert_eq!(unknown.is_error, Some(true));
    }

    #[tokio::test]
    async fn it_initializes_uses_and_closes_a_session_and_makes_another_where_one_is_lost() {
        let (harness, simulator) = contract(false).await;
        let door = Door::open(&harness, "sessions");
        let client = door.enter(ClientLifecycleMode::Initialize).await;
        assert_eq!(client.peer_info().unwrap().protocol_version, ProtocolVersion::LATEST_WITH_INITIALIZE);
        uses(&client).await;
        let pong = client.send_request(ClientRequest::PingRequest(PingRequest::default())).await.unwrap();
        assert!(matches!(pong, ServerResult::EmptyResult(_)), "{pong:?}");
        simulator.restart();
        uses(&client).await;
        assert_eq!(simulator.initialized(), 2);
        client.cancel().await.unwrap();
        assert!(door.saw("GET ") && door.saw("DELETE "), "{:?}", door.heads);
    }

    #[tokio::test]
    async fn it_discovers_that_there_are_no_sessions() {
        let (harness, simulator) = contract(false).await;
        let door = Door::open(&harness, "none");
        let preferred_versions = vec![ProtocolVersion::NO_INITIALIZE];
        let client = door.enter(ClientLifecycleMode::Discover { preferred_versions }).await;
        assert_eq!(client.peer_info().unwrap().protocol_version, ProtocolVersion::NO_INITIALIZE);
        uses(&client).await;
        client.cancel().await.unwrap();
        assert!(simulator.initialized() == 0 && door.saw("POST ") && !door.saw("DELETE "), "{:?}", door.heads);
    }
}
