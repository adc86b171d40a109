//! What who looks may do.

use super::*;

/// A receiver that offers to pause, and to close a breaker.
struct Asked(std::sync::Mutex<Vec<String>>);

#[async_trait]
impl minicol_plugin::Actions for &'static Asked {
    fn offered(&self) -> Vec<minicol_plugin::Action> {
        let action = |name: &'static str, subject: Option<&str>, label: &'static str| minicol_plugin::Action {
            name: name.into(),
            subject: subject.map(str::to_owned),
            label: label.into(),
            asks: "<b>sure?</b>".to_owned(),
        };
        vec![action("pause", None, "Pause"), action("close_breaker", Some("get_x"), "Close breaker")]
    }

    async fn perform(&self, name: &str, subject: Option<&str>) -> Result<String, String> {
        self.0.lock().unwrap().push(format!("{name} {}", subject.unwrap_or_default()));
        if name == "pause" { Ok("it rests".to_owned()) } else { Err("it is closed".to_owned()) }
    }
}

/// A page whose receiver `session_buddy` offers actions.
async fn steered(actions: bool) -> (Running, &'static Asked) {
    let asked: &'static Asked = Box::leak(Box::new(Asked(std::sync::Mutex::default())));
    let harness = Harness::default();
    harness.scope(ComponentKind::Receiver, "session_buddy").offer(asked);
    let config = StatusPageConfig { actions, ..StatusPageConfig::default() };
    (Running::on(harness, snapshot(100), config).await, asked)
}

/// What the page of another origin cannot send.
const OWN: [(&str, &str); 2] = [("content-type", "application/json"), ("x-requested-by", "test")];

impl Running {
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let stream = self.harness.network.connect("localhost", 55_679).await.expect("it listens");
        let (mut client, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::post(path).header("host", "localhost:55679");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = http_body_util::Full::<Bytes>::from(body.to_owned());
        let response = client.send_request(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

const PAUSE: &str = r#"{"kind": "receiver", "id": "session_buddy", "name": "pause"}"#;

#[tokio::test(start_paused = true)]
async fn nothing_can_be_done_where_actions_are_off() {
    let (running, asked) = steered(false).await;
    let page = running.text("/").await;
    assert!(!page.contains("<button") && !page.contains("<dialog"), "{page}");
    assert_eq!(running.json("/api/v1/actions").await, json!({"enabled": false, "actions": []}));
    for path in ["/api/v1/actions", "/api/v1/reload"] {
        let (status, body) = running.post(path, &OWN, PAUSE).await;
        assert!(status == 403 && body["message"].as_str().unwrap().contains("actions: true"), "{body}");
    }
    assert!(asked.0.lock().unwrap().is_empty());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_component_offers_can_be_asked_for() {
    let (running, asked) = steered(true).await;
    let page = running.text("/").await;
    assert!(
        page.contains("&#60;b&#62;sure?")
            && page.contains("Close breaker <span class=\"subject\">get_x")
            && page.contains("Reload"),
        "{page}"
    );
    let offers = running.json("/api/v1/actions").await;
    assert_eq!(
        (&offers["actions"][1]["name"], &offers["actions"][1]["subject"]),
        (&json!("close_breaker"), &json!("get_x"))
    );
    assert_eq!(
        running.post("/api/v1/actions", &OWN, PAUSE).await,
        (200, json!({"outcome": "done", "message": "it rests"}))
    );
    let close = r#"{"kind": "receiver", "id": "session_buddy", "name": "close_breaker", "subject": "get_x"}"#;
    assert_eq!(
        running.post("/api/v1/actions", &OWN, close).await,
        (422, json!({"outcome": "failed", "message": "it is closed"}))
    );
    assert_eq!(*asked.0.lock().unwrap(), ["pause ", "close_breaker get_x"]);
    let nobody = r#"{"kind": "exporter", "id": "session_buddy", "name": "pause"}"#;
    assert_eq!(running.post("/api/v1/actions", &OWN, nobody).await.0, 404);
    assert_eq!(running.post("/api/v1/actions", &OWN, r#"{"kind": "receiver", "also": 1}"#).await.0, 400);
    assert_eq!(running.post("/api/v1/actions", &OWN, &"x".repeat(20_000)).await.0, 413);
    assert_eq!(running.post("/api/v1/reload", &OWN, "{}").await.0, 404, "this program cannot reload");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn another_page_can_ask_for_nothing() {
    let (running, asked) = steered(true).await;
    let [json, own] = OWN;
    for headers in [
        vec![],
        vec![json],
        vec![own],
        vec![own, ("content-type", "application/x-www-form-urlencoded")],
        vec![json, own, ("origin", "http://evil.example")],
        vec![json, own, ("sec-fetch-site", "cross-site")],
        vec![json, own, ("sec-fetch-site", "same-site")],
    ] {
        for path in ["/api/v1/actions", "/api/v1/reload"] {
            assert_eq!(running.post(path, &headers, PAUSE).await.0, 403, "{headers:?}");
        }
    }
    assert!(asked.0.lock().unwrap().is_empty());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_longer_than_any_action_is_refused() {
    let (running, asked) = steered(true).await;
    let long = format!("{PAUSE}{}", " ".repeat(16 * 1024));
    assert_eq!(running.post("/api/v1/actions", &OWN, &long).await.0, 413);
    assert!(asked.0.lock().unwrap().is_empty());
    running.end().await;
}
