//! Promise: the profile `release` answers as 0.23.0 was recorded, in HTTP, in JSON-RPC and in the tools.

use super::*;

async fn release() -> (Harness, Simulator) {
    started(SimulatorConfig { profile: Profile::Release, ..SimulatorConfig::default() }).await
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_one_event_with_crlf() {
    let (harness, _simulator) = release().await;
    let client = Client::open(&harness).await;
    let (status, headers, body) = client.send(Method::POST, &[], &call_of("get_readiness")).await;
    let recorded = include_str!("../../fixtures/session-buddy-0.23.0/get_readiness.http");
    let (head, recorded) = recorded.split_once("\r\n\r\n").unwrap();
    assert_eq!((status, body), (200, recorded.replace("\"id\":19", "\"id\":1")));
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(": ").unwrap();
        if !["date", "mcp-session-id"].contains(&name) {
            assert_eq!(headers.get(name).map(|one| one.to_str().unwrap()), Some(value), "{name}");
        }
    }
    assert_eq!(headers["mcp-session-id"], client.session.as_deref().unwrap());
}

/// Who sends what with which headers, and what becomes of it.
type Case<'a> = (&'a Client<'a>, Method, &'a [(&'a str, &'a str)], &'a Value, u16, &'a str);

#[tokio::test(start_paused = true)]
async fn what_the_transport_refuses_it_refuses_as_recorded() {
    let (harness, _simulator) = release().await;
    let (client, nobody) = (Client::open(&harness).await, Client { harness: &harness, session: None });
    let stranger = Client { harness: &harness, session: Some("0123".into()) };
    let call = call_of("get_liveness");
    let accept = [("accept", "application/json")];
    let version = [("mcp-protocol-version", "1999-01-01")];
    let cases: [Case<'_>; 9] = [
        (&nobody, Method::POST, &[], &call, 400, "Bad Request: Missing session ID"),
        (&stranger, Method::POST, &[], &call, 404, "Session not found"),
        (
            &client,
            Method::POST,
            &accept,
            &call,
            406,
            "Not Acceptable: Client must accept both application/json and text/event-stream",
        ),
        (
            &client,
            Method::POST,
            &version,
            &call,
            400,
            "Bad Request: Unsupported protocol version: 1999-01-01. Supported versions: 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25",
        ),
        (&client, Method::POST, &[], &json!({"hello": 1}), 400, "Validation error"),
        (&client, Method::PUT, &[], &call, 405, "Method Not Allowed"),
        (&nobody, Method::GET, &[], &Value::Null, 400, "Bad Request: Missing session ID"),
        (&client, Method::GET, &accept, &Value::Null, 406, "Not Acceptable: Client must accept text/event-stream"),
        (&stranger, Method::DELETE, &[], &Value::Null, 404, "Session not found"),
    ];
    for (who, method, headers, body, status, message) in cases {
        let (got, _, text) = who.send(method, headers, body).await;
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((got, &error["id"]), (status, &json!("server-error")), "{text}");
        assert!(error["error"]["message"].as_str().unwrap().starts_with(message), "{text}");
    }
    let (status, _, text) = client.send(Method::POST, &[("content-type", "text/plain")], &call).await;
    assert_eq!((status, text.as_str()), (400, "Invalid Content-Type header"));
    assert_eq!(client.send(Method::DELETE, &[], &Value::Null).await.0, 200);
    assert_eq!(client.send(Method::POST, &[], &call).await.0, 404, "a session that was deleted is unknown");
}

#[tokio::test(start_paused = true)]
async fn json_rpc_and_tools_fail_as_recorded() {
    let (harness, _simulator) = release().await;
    let client = Client::open(&harness).await;
    let ask =
        async |method: &str, params: Value| message(&client.send(Method::POST, &[], &rpc(method, &params)).await.2);
    let unknown = ask("no/such", json!({})).await;
    assert_eq!(unknown["error"], json!({"code": -32602, "message": "Invalid request parameters", "data": ""}));
    assert_eq!(ask("tools/call", json!({"name": "x", "arguments": 3})).await["error"], unknown["error"]);
    let tool = ask("tools/call", json!({"name": "get_performance_metrics"})).await;
    assert_eq!(tool["result"]["content"][0]["text"], "Unknown tool: 'get_performance_metrics'");
    assert_eq!(tool["result"]["isError"], true);
    let prose = ask("tools/call", json!({"name": "get_activity_summary"})).await;
    assert_eq!(prose["result"]["_meta"]["fastmcp"]["wrap_result"], true);
    assert!(prose["result"]["structuredContent"]["result"].as_str().unwrap().contains("Activity Summary"));
    let failed = ask("tools/call", json!({"name": "get_session_analytics", "arguments": {"limit": 500}})).await;
    assert_eq!(
        (&failed["result"]["isError"], &failed["result"]["structuredContent"]["success"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(ask("ping", json!({})).await["result"], json!({}));
}

#[tokio::test(start_paused = true)]
async fn what_lives_fits_together() {
    let (harness, simulator) = release().await;
    let look = async |client: &Client<'_>| {
        let uptime = client.answer("get_liveness").await["uptime_seconds"].as_f64().unwrap();
        let page = client.answer("get_prometheus_metrics").await["result"].as_str().unwrap().to_owned();
        let read = |name: &str| -> f64 {
            let line =
                page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {page}"));
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        (uptime, read("process_start_time_seconds"), read("process_cpu_seconds_total"))
    };
    let client = Client::open(&harness).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let (uptime, start, cpu) = look(&client).await;
    assert!((599.9..600.1).contains(&uptime), "{uptime}");
    let now = harness.environment().clock.wall().as_seconds();
    assert!((now - uptime - start).abs() < 0.02, "now {now}, uptime {uptime}, start {start}");
    tokio::time::sleep(Duration::from_secs(600)).await;
    let later = look(&client).await;
    assert!((later.1 - start).abs() < 1e-9, "a process has one start");
    assert!(later.2 > cpu && later.2 - cpu < 600.0, "cpu time grows, and slower than time: {cpu} {}", later.2);
    let summary = client.answer("get_metrics_summary").await;
    let count = |name: &str| summary[name].as_u64().unwrap();
    let (began, ended) = (count("total_sessions_started"), count("total_sessions_ended"));
    assert!(ended > 0 && began >= ended, "{summary}");
    assert_eq!(summary["active_sessions"]["mahavishnu"], began - ended);

    simulator.restart();
    let client = Client::open(&harness).await;
    let (uptime, new_start, cpu) = look(&client).await;
    assert!(uptime < 1.0 && new_start > start && cpu < later.2, "{uptime} {new_start} {cpu}");
    assert_eq!(client.answer("get_metrics_summary").await["total_sessions_ended"], 0);
}

#[tokio::test(start_paused = true)]
async fn one_slow_call_holds_up_the_others() {
    let (harness, simulator) = release().await;
    simulator.set_faults(Faults { latency: GoDuration::from_secs(1), ..Faults::default() });
    let client = Client::open(&harness).await;
    let before = tokio::time::Instant::now();
    tokio::join!(client.call("get_liveness"), client.call("get_readiness"), client.call("get_workflow_metrics"));
    assert_eq!(before.elapsed().as_secs(), 3);
}
