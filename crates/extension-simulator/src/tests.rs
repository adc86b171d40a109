use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use minicol_plugin::{
    ComponentKind,
    config::{ComponentConfig, GoDuration, Problems},
    testing::Harness,
};
use serde_json::{Value, json};

use super::*;

mod contract;
mod faults;
mod refusals;
mod release;

struct Client<'a> {
    harness: &'a Harness,
    session: Option<String>,
}

impl Client<'_> {
    async fn send(&self, method: Method, headers: &[(&str, &str)], body: &Value) -> (u16, HeaderMap, String) {
        self.exchange(method, "/mcp", headers, body.to_string()).await
    }

    /// Headers go before the usual ones; one with an empty value is not sent.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (u16, HeaderMap, String) {
        let stream = self.harness.network.connect("127.0.0.1", 8679).await.expect("it listens");
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let usual = [
            ("host", "127.0.0.1:8679"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        for (name, value) in usual.iter().filter(|(name, _)| !headers.iter().any(|(other, _)| other == name)) {
            request = request.header(*name, *value);
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let response = sender.send_request(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        (head.status.as_u16(), head.headers, body)
    }

    async fn open(harness: &Harness) -> Client<'_> {
        let mut client = Client { harness, session: None };
        let params =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let (status, headers, body) = client.send(Method::POST, &[], &rpc("initialize", &params)).await;
        assert_eq!(status, 200, "{body}");
        client.session = Some(headers["mcp-session-id"].to_str().unwrap().to_owned());
        let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(client.send(Method::POST, &[], &done).await.0, 202);
        client
    }

    async fn call(&self, tool: &str) -> Value {
        let (status, _, body) = self.send(Method::POST, &[], &call_of(tool)).await;
        assert_eq!(status, 200, "{body}");
        message(&body)
    }

    async fn answer(&self, tool: &str) -> Value {
        self.call(tool).await["result"]["structuredContent"].clone()
    }
}

fn rpc(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

fn call_of(tool: &str) -> Value {
    rpc("tools/call", &json!({"name": tool, "arguments": {}}))
}

/// The last message of an event stream.
fn message(body: &str) -> Value {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: ")).rfind(|data| !data.trim().is_empty());
    serde_json::from_str(data.unwrap_or_else(|| panic!("no message in {body}"))).unwrap()
}

async fn started(config: SimulatorConfig) -> (Harness, Simulator) {
    let harness = Harness::default();
    let simulator = Simulator::start(config, &harness.environment()).await.unwrap();
    tokio::task::yield_now().await;
    (harness, simulator)
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract_and_moves() {
    let (harness, simulator) = started(SimulatorConfig::default()).await;
    let client = Client::open(&harness).await;
    let (_, _, body) = client.send(Method::POST, &[], &rpc("tools/list", &json!({}))).await;
    let listed = message(&body);
    let names: Vec<_> =
        listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, crate::contract::TOOLS);

    let before = client.answer("get_activity_summary").await;
    assert!(before["active_sessions"].is_u64() && before["recent_activity"].is_array(), "{before}");
    assert!(client.answer("get_workflow_metrics").await["avg_duration"].as_f64().unwrap() > 20.0);
    assert!(client.answer("get_session_analytics").await["avg_checkpoint_size"].as_f64().unwrap() > 2_048.0);
    assert!(client.answer("get_performance_metrics").await["memory_usage"].as_f64().unwrap() > 100.0);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let after = client.answer("get_activity_summary").await;
    assert!(after["total_sessions"].as_u64() > before["total_sessions"].as_u64(), "{before} {after}");
    assert_eq!(simulator.calls()["get_activity_summary"], 2);
    simulator.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_sessions_and_totals() {
    let (harness, simulator) = started(SimulatorConfig { speed: 0.0, ..SimulatorConfig::default() }).await;
    let client = Client::open(&harness).await;
    assert!(client.answer("get_activity_summary").await["total_sessions"].as_u64() > Some(0));
    simulator.restart();
    let call = rpc("tools/call", &json!({"name": "get_activity_summary", "arguments": {}}));
    assert_eq!(client.send(Method::POST, &[], &call).await.0, 404);
    let client = Client::open(&harness).await;
    let summary = client.answer("get_activity_summary").await;
    assert!(summary["total_sessions"].as_u64() <= Some(1), "{summary}");
}

#[tokio::test(start_paused = true)]
async fn host_and_origin_are_checked() {
    let (harness, _simulator) = started(SimulatorConfig::default()).await;
    let client = Client { harness: &harness, session: None };
    let params =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let cases: [(&[(&str, &str)], u16); 5] = [
        (&[("host", "localhost:8679")], 200),
        (&[("host", "[::1]:8679"), ("origin", "http://localhost:3000")], 200),
        (&[("host", "evil.example")], 403),
        (&[("origin", "http://evil.example")], 403),
        (&[("origin", "null")], 403),
    ];
    for (headers, status) in cases {
        let (got, _, body) = client.send(Method::POST, headers, &rpc("initialize", &params)).await;
        assert_eq!(got, status, "{headers:?}: {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_extension_starts_serves_and_stops() {
    let harness = Harness::default();
    let scope = harness.scope(ComponentKind::Extension, "session_buddy_simulator");
    let extension = SimulatorExtension::build(SimulatorConfig::default(), &scope).unwrap();
    let running = tokio::spawn(extension.run(scope));
    tokio::time::sleep(Duration::from_millis(1)).await;
    Client::open(&harness).await;
    assert_eq!(harness.notices(), ["simulator_serves"]);
    harness.stopping.cancel();
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("it ends").unwrap().unwrap();
    assert!(harness.network.connect("127.0.0.1", 8679).await.is_err());
}

#[test]
fn a_wrong_configuration_is_told_whole() {
    let mut wrong = SimulatorConfig { endpoint: ":1".into(), speed: -1.0, ..SimulatorConfig::default() };
    let fault = ToolFault { rate: 2.0, kind: FaultKind::Slow, every: GoDuration::from_secs(1), ..ToolFault::default() };
    wrong.faults.tools.insert("get_liveness".into(), fault);
    wrong.faults.restart.lasting = GoDuration::from_secs(1);
    wrong.faults.freeze.every = GoDuration::from_secs(1);
    let told = |config: &SimulatorConfig| -> Vec<String> {
        let mut problems = Problems::default();
        config.validate(&mut problems);
        problems.into_vec().into_iter().map(|problem| problem.message).collect()
    };
    assert_eq!(told(&wrong).len(), 8, "{:?}", told(&wrong));
    assert!(told(&wrong).iter().any(|one| one.contains("no tool `get_liveness` in this profile")));
    wrong.profile = Profile::Release;
    assert_eq!(told(&wrong).len(), 7, "the released server has that tool");
}

#[test]
fn the_readme_shows_the_example_that_is_tested() {
    let readme = include_str!("../README.md");
    let example = include_str!("example.yaml");
    let shown = format!("    {}\n", example.trim_end().replace('\n', "\n    "));
    assert!(readme.contains(&shown), "the README's example is not:\n{shown}");
    for kind in ["is_error", "success_false", "json_rpc_error", "garbage", "cut", "hang", "unavailable", "slow"] {
        let parsed: FaultKind = serde_json::from_value(kind.into()).unwrap();
        assert_eq!(parsed.name(), kind);
        assert!(readme.contains(&format!("| `{kind}` |")), "{kind} is not described");
    }
}
