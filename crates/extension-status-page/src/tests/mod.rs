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

mod acts;
mod lately;
mod metrics;
mod shown;

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
        "breakers": {"get_workflow_metrics": {"state": "open", "failures": 5, "open_until": NOW as f64 + 21.4}},
        "polls": [0.5, 0.125, 0.25],
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
