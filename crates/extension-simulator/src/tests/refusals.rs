//! Promise: what is odd or wrong in a request, the profile `release` answers as 0.23.0 was recorded to: one by one.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// `open`, `none`, what became of one, or an id that nobody gave.
    session: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "mcp")]
    path: String,
    /// In place of the usual ones; an empty value leaves one away.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    raw: Option<String>,
    answer: Recorded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    status: u16,
    headers: BTreeMap<String, String>,
    names_a_session: bool,
    redirects_to: Option<String>,
    text: Option<String>,
    message: Option<Value>,
    message_has: Option<BTreeMap<String, Value>>,
}

/// What the server lets in and the simulator does not: whatever listens here is out of reach of web pages.
const STRICTER: [&str; 2] = ["host_evil", "origin_evil"];

pub(super) fn post() -> String {
    "POST".into()
}

fn mcp() -> String {
    "/mcp".into()
}

/// The session that a case goes with, after what shall have become of it.
pub(super) async fn session(harness: &Harness, simulator: &Simulator, wanted: &str) -> Option<String> {
    let opened = async || Client::open(harness).await.session;
    match wanted {
        "none" => None,
        "open" => opened().await,
        "deleted" => {
            let client = Client::open(harness).await;
            assert!(matches!(client.send(Method::DELETE, &[], &Value::Null).await.0, 200 | 202));
            client.session
        }
        "before a restart" => {
            let before = opened().await;
            simulator.restart();
            before
        }
        "not initialized" => {
            let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
            let client = Client { harness, session: None };
            let (_, headers, _) = client.send(Method::POST, &[], &rpc("initialize", &params)).await;
            Some(headers["mcp-session-id"].to_str().unwrap().to_owned())
        }
        id => Some(id.to_owned()),
    }
}

#[tokio::test(start_paused = true)]
async fn each_odd_request_is_answered_as_recorded() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../fixtures/session-buddy-0.23.0/refusals.json")).unwrap();
    assert_eq!(cases.len(), 52);
    for Case { name, session: wanted, method, path, headers, body, raw, answer } in cases {
        let (harness, simulator) =
            started(SimulatorConfig { profile: Profile::Release, ..SimulatorConfig::default() }).await;
        let client = Client { harness: &harness, session: session(&harness, &simulator, &wanted).await };
        let text = raw.or_else(|| body.map(|body| body.to_string())).unwrap_or_default();
        let sent: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (status, heads, said) = client.exchange(method.parse().unwrap(), &path, &sent, text).await;

        if STRICTER.contains(&name.as_str()) {
            assert_eq!((answer.status, status), (200, 403), "{name}");
            continue;
        }
        assert_eq!(status, answer.status, "{name}: {said}");
        for (header, value) in &answer.headers {
            assert_eq!(heads.get(header).and_then(|one| one.to_str().ok()), Some(value.as_str()), "{name}: {header}");
        }
        assert_eq!(heads.contains_key("mcp-session-id"), answer.names_a_session, "{name}");
        if let Some(place) = &answer.redirects_to {
            assert!(heads["location"].to_str().unwrap().ends_with(place), "{name}: {heads:?}");
        }
        if let Some(text) = &answer.text {
            assert_eq!(&said, text, "{name}");
        }
        if let Some(recorded) = &answer.message {
            assert_eq!(&message(&said), recorded, "{name}");
        }
        for (pointer, value) in answer.message_has.iter().flatten() {
            assert_eq!(message(&said).pointer(pointer), Some(value), "{name}: {pointer} of {said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_sessions_and_too_long_requests_are_refused() {
    let (harness, _simulator) = started(SimulatorConfig::default()).await;
    let nobody = Client { harness: &harness, session: None };
    for number in 0..=256 {
        let params =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}});
        let (status, _, text) = nobody.send(Method::POST, &[], &rpc("initialize", &params)).await;
        assert_eq!(status, if number < 256 { 200 } else { 503 }, "{text}");
    }
    let long = json!("x".repeat(1 << 20));
    assert_eq!(nobody.send(Method::POST, &[], &long).await.0, 413);
}
