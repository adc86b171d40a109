//! Promise: what the plan says goes wrong goes wrong, as a client sees it, when it says so.

use super::*;
use crate::{FaultKind, Faults, ToolFault, Window};

fn failing(faults: &[(&str, FaultKind)]) -> Faults {
    let fault = |kind| ToolFault { kind, ..ToolFault::default() };
    let tools = faults.iter().map(|(tool, kind)| ((*tool).to_owned(), fault(*kind))).collect();
    Faults { tools, ..Faults::default() }
}

fn every(every: u64, lasting: u64) -> Window {
    Window { every: GoDuration::from_secs(every), lasting: GoDuration::from_secs(lasting) }
}

async fn with(faults: Faults) -> (Harness, Simulator) {
    started(SimulatorConfig { faults, ..SimulatorConfig::default() }).await
}

/// The status of a call; `None` where the connection broke.
async fn status(client: &Client<'_>, tool: &str) -> Option<u16> {
    let stream = client.harness.network.connect("127.0.0.1", 8679).await.expect("it listens");
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/mcp")
        .header("host", "127.0.0.1:8679")
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-session-id", client.session.as_deref().unwrap_or_default())
        .body(Full::<Bytes>::from(call_of(tool).to_string()))
        .unwrap();
    let response = sender.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    response.into_body().collect().await.ok().map(|_| status)
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_failure_looks_as_it_is_called() {
    for profile in [Profile::Contract, Profile::Release] {
        let (harness, simulator) = started(SimulatorConfig { profile, ..SimulatorConfig::default() }).await;
        let client = Client::open(&harness).await;
        let tool = "get_workflow_metrics";
        let mut results = Vec::new();
        for kind in [FaultKind::IsError, FaultKind::SuccessFalse, FaultKind::JsonRpcError] {
            simulator.set_faults(failing(&[(tool, kind)]));
            results.push(client.call(tool).await);
        }
        assert_eq!(results[0]["result"]["isError"], true);
        assert_eq!(results[1]["result"]["structuredContent"]["success"], false);
        assert_eq!(results[2]["error"]["code"], -32603);
        assert!(results.iter().all(|result| result["id"] == 1), "{results:?}");
        simulator.set_faults(failing(&[(tool, FaultKind::Garbage)]));
        let (code, headers, body) = client.send(Method::POST, &[], &call_of(tool)).await;
        assert_eq!((code, &headers["content-type"]), (200, &"application/json".parse().unwrap()));
        assert!(serde_json::from_str::<Value>(&body).is_err());
        simulator.set_faults(failing(&[(tool, FaultKind::Unavailable)]));
        assert_eq!(status(&client, tool).await, Some(503));
        simulator.set_faults(failing(&[(tool, FaultKind::Cut)]));
        assert_eq!(status(&client, tool).await, None);
        simulator.set_faults(failing(&[(tool, FaultKind::Hang)]));
        let waited = tokio::time::timeout(Duration::from_secs(600), status(&client, tool)).await;
        assert!(waited.is_err(), "it hangs: {waited:?}");
        // Another tool, and this one when the plan is another.
        simulator.set_faults(failing(&[("get_session_analytics", FaultKind::IsError)]));
        assert_eq!(status(&client, tool).await, Some(200));
        simulator.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn latency_delay_and_rate_are_what_they_say() {
    let mut faults = Faults { latency: GoDuration::from_secs(7), ..Faults::default() };
    let (slow, delay) = (FaultKind::Slow, GoDuration::from_secs(5));
    faults.tools.insert("get_workflow_metrics".into(), ToolFault { kind: slow, delay, ..ToolFault::default() });
    let (harness, simulator) = with(faults).await;
    let client = Client::open(&harness).await;
    let before = tokio::time::Instant::now();
    assert!(client.answer("get_activity_summary").await["active_sessions"].is_u64());
    assert_eq!(before.elapsed().as_secs(), 7);
    assert!(client.answer("get_workflow_metrics").await["workflows_completed"].is_u64(), "slow, but right");
    assert_eq!(before.elapsed().as_secs(), 19);

    let mut faults = failing(&[("*", FaultKind::IsError)]);
    faults.tools.get_mut("*").unwrap().rate = 0.5;
    simulator.set_faults(faults);
    let mut failed = 0;
    for _ in 0..100 {
        failed += u32::from(client.call("get_performance_metrics").await["result"]["isError"] == true);
    }
    assert!((25..75).contains(&failed), "{failed} of 100 failed");
}

#[tokio::test(start_paused = true)]
async fn a_tool_fails_in_its_window_alone() {
    let mut faults = failing(&[("get_activity_summary", FaultKind::IsError)]);
    let fault = faults.tools.get_mut("get_activity_summary").unwrap();
    (fault.every, fault.lasting) = (GoDuration::from_secs(20), GoDuration::from_secs(5));
    let (harness, _simulator) = with(faults).await;
    let client = Client::open(&harness).await;
    let mut failed = Vec::new();
    for second in 0..40 {
        if client.call("get_activity_summary").await["result"]["isError"] == true {
            failed.push(second);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(failed, [15, 16, 17, 18, 19, 35, 36, 37, 38, 39]);
}

#[tokio::test(start_paused = true)]
async fn it_is_down_then_restarts_and_forgets() {
    let (harness, _simulator) = with(Faults { restart: every(60, 10), ..Faults::default() }).await;
    let client = Client::open(&harness).await;
    let before = client.answer("get_activity_summary").await["total_sessions"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_secs(51)).await;
    assert_eq!(status(&client, "get_activity_summary").await, Some(503));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(status(&client, "get_activity_summary").await, Some(404), "its sessions are gone");
    let client = Client::open(&harness).await;
    assert!(client.answer("get_activity_summary").await["total_sessions"].as_u64().unwrap() < before);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_lost_and_nothing_else() {
    for profile in [Profile::Contract, Profile::Release] {
        let faults = Faults { lose_sessions_every: GoDuration::from_secs(60), ..Faults::default() };
        let (harness, _simulator) = started(SimulatorConfig { profile, faults, ..SimulatorConfig::default() }).await;
        let client = Client::open(&harness).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(status(&client, "get_workflow_metrics").await, Some(404));
        let client = Client::open(&harness).await;
        assert_eq!(status(&client, "get_workflow_metrics").await, Some(200));
        assert!(
            profile == Profile::Release
                || client.answer("get_activity_summary").await["total_sessions"].as_u64() > Some(10)
        );
    }
}

/// There are sessions to lose: a client that asks for a version without them is told that it is not spoken, and one that used it is refused.
#[tokio::test(start_paused = true)]
async fn where_sessions_are_lost_no_version_without_them_is_spoken() {
    let faults = Faults { lose_sessions_every: GoDuration::from_secs(60), ..Faults::default() };
    let newest = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "server/discover")];
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "0"}, "io.modelcontextprotocol/clientCapabilities": {}});
    let discover = json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}});
    for (faults, spoken) in [(Faults::default(), true), (faults, false)] {
        let (harness, simulator) = with(faults).await;
        let client = Client { harness: &harness, session: None };
        let (status, _, text) = client.send(Method::POST, &newest, &discover).await;
        assert_eq!(status == 200 && text.contains("2026-07-28\"]"), spoken, "{status} {text}");
        let call = client.send(Method::POST, &newest[..1], &call_of("get_workflow_metrics")).await;
        assert_eq!(simulator.calls().contains_key("get_workflow_metrics"), spoken, "{call:?}");
        Client::open(&harness).await;
        assert_eq!(simulator.initialized(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_in_a_freeze_is_answered_after_it() {
    let (harness, simulator) = with(Faults { freeze: every(60, 20), ..Faults::default() }).await;
    let client = Client::open(&harness).await;
    tokio::time::sleep(Duration::from_secs(45)).await;
    let before = tokio::time::Instant::now();
    assert_eq!(status(&client, "get_workflow_metrics").await, Some(200));
    assert_eq!(before.elapsed().as_secs(), 15);
    // A server that ends does not wait for the thaw.
    tokio::time::sleep(Duration::from_secs(45)).await;
    let asked = tokio::time::Instant::now();
    let (answered, ()) = tokio::join!(status(&client, "get_workflow_metrics"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        simulator.stop().await;
    });
    assert_eq!((answered, asked.elapsed().as_secs()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_by_the_plan_is_told() {
    let harness = Harness::default();
    let scope = harness.scope(ComponentKind::Extension, "session_buddy_simulator");
    let faults = Faults { freeze: every(60, 20), restart: every(90, 0), ..Faults::default() };
    let config = SimulatorConfig { faults, ..SimulatorConfig::default() };
    tokio::spawn(SimulatorExtension::build(config, &scope).unwrap().run(scope));
    tokio::time::sleep(Duration::from_secs(45)).await;
    Client::open(&harness).await;
    tokio::time::sleep(Duration::from_secs(35)).await;
    Client::open(&harness).await;
    assert_eq!(harness.notices(), ["simulator_serves", "simulator_frozen", "simulator_restarted"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_session_suffers_where_its_version_has_none() {
    let (harness, simulator) = with(failing(&[("*", FaultKind::Unavailable)])).await;
    let client = Client { harness: &harness, session: None };
    let call = call_of("get_workflow_metrics");
    let newest = [("mcp-protocol-version", "2026-07-28")];
    assert_eq!(client.send(Method::POST, &newest, &call).await.0, 503);
    let older = [("mcp-protocol-version", "2025-11-25")];
    assert_ne!(client.send(Method::POST, &older, &call).await.0, 503, "it is refused for want of a session");
    assert_eq!(simulator.calls()["get_workflow_metrics"], 1);
}
