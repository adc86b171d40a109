use std::{collections::BTreeMap, time::Duration};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, body::Bytes, body::Incoming, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use minicol_pdata::{Signal, Timestamp};
use minicol_plugin::{
    Account, Books, ComponentKind, ComponentSnapshot, EdgeSnapshot, Phase, Reasons, ReloadStatus, Snapshot, Status,
    testing::Harness,
};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_767_225_600;

fn component(kind: ComponentKind, id: &str, status: Status) -> ComponentSnapshot {
    ComponentSnapshot {
        kind,
        id: id.parse().unwrap(),
        pipelines: vec!["metrics".into()],
        status,
        since: Timestamp::from_nanos((NOW - 192) * 1_000_000_000),
        message: String::new(),
        details: None,
    }
}

const PROCESSORS: [&str; 2] = ["memory_limiter", "mapping"];

fn edge(from: &str, to: &str, signal: Signal, accepted: u64) -> EdgeSnapshot {
    EdgeSnapshot {
        pipeline: "metrics".into(),
        from: from.into(),
        to: to.into(),
        to_kind: if PROCESSORS.contains(&to) { ComponentKind::Processor } else { ComponentKind::Exporter },
        signal,
        offered: accepted,
        accepted,
        refused: Reasons::new(),
        waiting: 0,
        lost: 0,
        partial: false,
    }
}

/// Two receivers, two processors listed the wrong way round, two exporters of which one cannot send.
fn snapshot(accepted: u64) -> Snapshot {
    let mut poller = component(ComponentKind::Receiver, "session_buddy", Status::RecoverableError);
    poller.message = "http://localhost:8678/mcp: <b>refused</b>".into();
    poller.details = Some(json!({
        "endpoint": "http://localhost:8678/mcp", "running": true, "up": false, "up_changed": NOW - 90, "poll_cycles": 7, "errors": 3,
        "last_poll_time": NOW - 2, "last_poll_seconds": 0.25,
        "tools": {
            "get_activity_summary": {"outcome": "answered", "last_answer": NOW - 2, "last_seconds": 0.02},
            "get_workflow_metrics": {"outcome": "failed", "last_error": {"at": NOW - 2, "error_type": "tool", "message": "<script>no</script>"}},
            "gone": {"outcome": "not_offered"},
        },
        "breakers": {"get_workflow_metrics": {"state": "open", "failures": 5}},
    }));
    let mut limiter = component(ComponentKind::Processor, "memory_limiter", Status::Ok);
    limiter.details = Some(json!({"soft_limit_bytes": 12, "nested": {"not": "shown"}}));
    let exporter = component(ComponentKind::Exporter, "otlp/far away", Status::PermanentError);
    let account = Account {
        kind: ComponentKind::Exporter,
        component: "otlp/far away".parse().unwrap(),
        pipeline: None,
        signal: Signal::Metrics,
        emits: None,
        offered: accepted,
        taken: accepted,
        out: accepted - 9,
        failed: BTreeMap::from([("timeout".to_owned(), 4)]),
        dropped: Reasons::new(),
        queued: 5,
        restored: 0,
        kept: 0,
        converted: None,
        refused: Reasons::new(),
        waiting: 0,
    };
    Snapshot {
        reload: ReloadStatus::default(),
        phase: Phase::Running,
        up_since: Timestamp::from_nanos((NOW - 4_000) * 1_000_000_000),
        now: Timestamp::from_nanos(NOW * 1_000_000_000),
        components: vec![
            poller,
            component(ComponentKind::Receiver, "otlp", Status::Ok),
            component(ComponentKind::Processor, "mapping", Status::Ok),
            limiter,
            component(ComponentKind::Exporter, "debug", Status::Ok),
            exporter,
            component(ComponentKind::Extension, "status_page", Status::Ok),
        ],
        books: Books {
            edges: vec![
                edge("session_buddy", "memory_limiter", Signal::Observations, accepted),
                edge("otlp", "memory_limiter", Signal::Observations, 0),
                edge("mapping", "debug", Signal::Metrics, accepted),
                edge("mapping", "otlp/far away", Signal::Metrics, accepted),
                edge("memory_limiter", "mapping", Signal::Observations, accepted),
            ],
            accounts: vec![account],
        },
    }
}

struct Running {
    harness: Harness,
    task: tokio::task::JoinHandle<Result<(), ComponentError>>,
}

impl Running {
    async fn with(snapshot: Snapshot) -> Self {
        Self::on(Harness::default(), snapshot, StatusPageConfig::default()).await
    }

    async fn on(harness: Harness, snapshot: Snapshot, config: StatusPageConfig) -> Self {
        harness.set_snapshot(snapshot);
        let (ready, scope) = harness.scope_with_ready(ComponentKind::Extension, "status_page");
        let task = tokio::spawn(Box::new(StatusPage { config }).run(scope));
        ready.cancelled().await;
        Self { harness, task }
    }

    async fn response(&self, path: &str) -> Response<Incoming> {
        let stream = self.harness.network.connect("localhost", 55_679).await.expect("it listens");
        let (mut client, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "localhost:55679").body(Empty::<Bytes>::new()).unwrap();
        client.send_request(request).await.unwrap()
    }

    async fn text(&self, path: &str) -> String {
        let response = self.response(path).await;
        assert_eq!(response.status(), 200, "{path}");
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    async fn end(self) {
        self.harness.stopping.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_draws_every_component_and_arrow_and_what_is_wrong() {
    let running = Running::with(snapshot(100)).await;
    let page = running.text("/").await;
    for told in [
        "2 components do not work.",
        "4 items lost since the start.",
        "session_buddy",
        "PermanentError",
        "since 2025-12-31T23:56:48Z",
        "5 queued",
        "4 (timeout)",
        "soft limit bytes",
        "down",
        "since 2025-12-31T23:58:30Z",
        "○ not offered",
        "open (5 failures)",
    ] {
        assert!(page.contains(told), "{told}\n{page}");
    }
    let order: Vec<_> =
        ["memory_limiter", "mapping", "debug"].map(|id| page.find(&format!("</span> {id}&nbsp;<a")).unwrap()).into();
    assert!(order.is_sorted(), "processors stand in the order of the arrows: {order:?}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_is_shown_as_text_and_nothing_from_elsewhere_runs() {
    let running = Running::with(snapshot(100)).await;
    let page = running.text("/").await;
    assert!(page.contains("&#60;script&#62;no") && !page.contains("<script>no"), "{page}");
    assert!(page.contains("&#60;b&#62;refused") && !page.contains("<b>refused</b>"), "{page}");
    let response = running.response("/").await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.contains("style=") && !page.contains("onclick"), "nothing inline, or the policy would forbid it");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_is_told_as_json() {
    let running = Running::with(snapshot(100)).await;
    let status = running.json("/api/v1/status").await;
    assert_eq!((&status["mood"], &status["lost"], &status["phase"]), (&json!("bad"), &json!(4), &json!("running")));
    let pipelines = running.json("/api/v1/pipelines").await;
    let nodes: Vec<_> =
        pipelines[0]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["session_buddy", "otlp", "memory_limiter", "mapping", "debug", "otlp/far away"]);
    assert_eq!(pipelines[0]["arrows"].as_array().unwrap().len(), 5);
    let targets = running.json("/api/v1/targets").await;
    assert_eq!((targets.as_array().unwrap().len(), &targets[0]["up"]), (1, &json!(false)));
    assert_eq!(targets[0]["tools"]["gone"]["outcome"], "not_offered");
    assert_eq!(running.json("/api/v1/extensions").await[0]["id"], "status_page");
    let events = running.json("/api/v1/events").await;
    assert_eq!((&events[0]["what"], &events[0]["id"]), (&json!("OK"), &json!("status_page")));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_processor_every_arrow_is_drawn_and_every_component_once() {
    let mut direct = snapshot(100);
    direct.components.retain(|component| component.kind != ComponentKind::Processor);
    let (metrics, pairs) = (Signal::Metrics, [("session_buddy", "debug"), ("session_buddy", "otlp/far away")]);
    direct.books.edges = pairs.map(|(from, to)| edge(from, to, metrics, 1)).into();
    direct.books.edges.extend(pairs.map(|(_, to)| edge("otlp", to, metrics, 1)));
    let running = Running::with(direct).await;
    let page = running.text("/").await;
    let drawn = |id: &str| page.matches(&format!("id=\"{id}\"")).count();
    for id in ["node-metrics-receiver-otlp", "node-metrics-exporter-debug", "arrow-metrics-otlp-debug-metrics"] {
        assert_eq!(drawn(id), 1, "{id}: {page}");
    }
    assert!(page.contains("as above"), "{page}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_within_the_last_minute_stands_out_and_old_losses_do_not() {
    let all_is_well = |lost: u64| {
        let mut snapshot = snapshot(100);
        snapshot.components.iter_mut().for_each(|component| component.status = Status::Ok);
        let edge = edge("mapping", "debug", Signal::Metrics, 100);
        let refused = [("busy".to_owned(), lost)].into();
        snapshot.books.accounts.clear();
        snapshot.books.edges = vec![EdgeSnapshot { offered: 100 + lost, refused, lost, ..edge }];
        snapshot.books.check().unwrap();
        snapshot.components.retain(|component| component.kind != ComponentKind::Receiver);
        snapshot
    };
    let running = Running::with(all_is_well(4)).await;
    let mood = |status: Value| status["mood"].clone();
    assert_eq!(mood(running.json("/api/v1/status").await), json!("good"), "lost before anybody looked");
    tokio::time::sleep(Duration::from_secs(20)).await;
    running.harness.set_snapshot(all_is_well(9));
    let status = running.json("/api/v1/status").await;
    assert_eq!(status["mood"], json!("warn"));
    assert!(status["summary"].as_str().unwrap().starts_with("Items are being lost."), "{status}");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(mood(running.json("/api/v1/status").await), json!("good"));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_over_the_last_minute() {
    let running = Running::with(snapshot(100)).await;
    let rate = |pipelines: Value| pipelines[0]["arrows"][0]["rate"].clone();
    assert_eq!(rate(running.json("/api/v1/pipelines").await), Value::Null, "nothing to compare with");
    tokio::time::sleep(Duration::from_secs(20)).await;
    running.harness.set_snapshot(snapshot(300));
    let per_second = rate(running.json("/api/v1/pipelines").await).as_f64().unwrap();
    assert!((per_second - 10.0).abs() < 0.6, "{per_second}");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(rate(running.json("/api/v1/pipelines").await), json!(0.0));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_looks_is_told_what_changed_and_only_that() {
    let running = Running::with(snapshot(100)).await;
    let mut body = running.response("/live").await.into_body();
    let mut next = async || {
        let mut told = String::new();
        // A large event comes in several frames.
        while !told.ends_with("\n\n") {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            told.push_str(std::str::from_utf8(&frame).unwrap());
            if told.starts_with(':') {
                told.clear();
            }
        }
        serde_json::from_str::<Value>(told.trim().strip_prefix("data: ").unwrap()).unwrap()
    };
    let first = next().await;
    assert_eq!(first["changed"].as_array().unwrap().len(), 16, "all there is: {first}");
    assert_eq!(first["now"], json!(NOW as f64));
    let mut healed = snapshot(100);
    healed.components[5].status = Status::Ok;
    running.harness.set_snapshot(healed);
    let second = next().await;
    let ids: Vec<_> = second["changed"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"banner") && ids.contains(&"node-metrics-exporter-otlp.2f.far.20.away"), "{ids:?}");
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_eq!(second["layout"], first["layout"]);
    let mut grown = snapshot(100);
    grown.components[5].status = Status::Ok;
    grown.components.push(component(ComponentKind::Extension, "health_check", Status::Ok));
    running.harness.set_snapshot(grown);
    let third = next().await;
    assert_ne!(third["layout"], first["layout"], "there is one more");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_has_its_own_shape_is_no_target_and_no_error() {
    let mut odd = snapshot(100);
    odd.components[0].details = Some(json!({"poll_cycles": "many", "endpoint": 7}));
    odd.components[1].details = Some(json!(["a", "list"]));
    let running = Running::with(odd).await;
    assert_eq!(running.json("/api/v1/targets").await, json!([]));
    assert!(running.text("/").await.contains("poll cycles"), "it is shown as it is");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_an_error_that_names_the_cure_and_other_machines_are_warned_of() {
    let harness = Harness::default();
    let _taken = harness.network.listen("localhost:55679").await.unwrap();
    let scope = harness.scope(ComponentKind::Extension, "status_page");
    let error = Box::new(StatusPage { config: StatusPageConfig::default() }).run(scope).await.unwrap_err();
    assert!(error.to_string().contains("set endpoint to a free one"), "{error}");

    let harness = Harness::default();
    let (ready, scope) = harness.scope_with_ready(ComponentKind::Extension, "status_page");
    let config = StatusPageConfig { endpoint: "0.0.0.0:55679".into(), ..StatusPageConfig::default() };
    let task = tokio::spawn(Box::new(StatusPage { config }).run(scope));
    ready.cancelled().await;
    assert!(harness.notices().contains(&"open_to_network"));
    harness.stopping.cancel();
    task.await.unwrap().unwrap();
}

/// A receiver that offers to pause, and to close a breaker.
struct Asked(std::sync::Mutex<Vec<String>>);

#[async_trait]
impl minicol_plugin::Actions for &'static Asked {
    fn offered(&self) -> Vec<minicol_plugin::Action> {
        let action = |name, subject: Option<&str>, label| minicol_plugin::Action {
            name,
            subject: subject.map(str::to_owned),
            label,
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
    assert!(page.contains("&#60;b&#62;sure?") && page.contains("Close breaker") && page.contains("Reload"), "{page}");
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
async fn a_paused_target_is_neither_up_nor_down() {
    let mut paused = snapshot(100);
    paused.components[0].status = Status::Paused;
    paused.components[0].details.as_mut().unwrap()["paused"] = json!(true);
    paused.components[5].status = Status::Ok;
    let running = Running::with(paused).await;
    let page = running.text("/").await;
    assert!(page.contains("1 component paused. Everything else works."), "{page}");
    assert!(page.contains("paused <span class=\"quiet\">(was down)</span>"), "{page}");
    assert_eq!(running.json("/api/v1/targets").await[0]["mood"], "paused");
    running.end().await;
}
