//! Pipelines that the tests run.

use std::{path::PathBuf, time::Duration};

use minicol_plugin::{Account, Books};
use minicol_tests::{Output, Program, books_at_rest, free_port, http_get, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A pipeline file in a folder of its own.
pub(crate) struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipeline.yaml");
        std::fs::write(&path, text).expect("the file is written");
        Self { path, _folder: folder }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().expect("a path in UTF-8")
    }
}

/// A pipeline that polls `target` every second and delivers by `exporter` (an entry of `exporters`, in flow style).
pub(crate) fn pipeline(target: &str, exporter: &str) -> String {
    pipeline_with(target, exporter, "metrics: {level: none}")
}

/// The same with its own telemetry.
pub(crate) fn pipeline_with(target: &str, exporter: &str, telemetry: &str) -> String {
    let id = exporter.split(':').next().expect("an id");
    format!(
        "receivers:
  session_buddy:
    endpoint: \"{target}\"
    interval_seconds: 1
    timeout_seconds: 2
    max_retries: 0
    metrics_to_collect: [activity_summary, workflow_metrics, session_analytics, performance_metrics]
processors:
  mapping: {{presets: [session_buddy]}}
exporters:
  {exporter}
service:
  telemetry: {{{telemetry}}}
  pipelines:
    metrics: {{receivers: [session_buddy], processors: [mapping], exporters: [{id}]}}
"
    )
}

/// Posts JSON: status and body.
pub(crate) async fn post(port: u16, path: &str, body: &str) -> (u16, String) {
    use http_body_util::{BodyExt, Full};
    #[allow(clippy::disallowed_methods)] // a test's own client over real sockets
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = axum::http::Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::<bytes::Bytes>::from(body.to_owned()))
        .unwrap();
    let response = tokio::time::timeout(Duration::from_secs(20), sender.send_request(request)).await.unwrap().unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    (status, text)
}

/// The program as a relay: what is posted to it goes out by the exporters under test.
pub(crate) struct Relay {
    pub(crate) program: Program,
    health: String,
    port: u16,
    _file: File,
}

impl Relay {
    /// With these exporters: entries of `exporters`, in flow style.
    pub(crate) async fn start(exporters: &[String]) -> Self {
        Self::start_beside(exporters, "").await
    }

    /// The same with `pollers` beside it (entries of `receivers`, one a line), whose metrics go to `debug`.
    pub(crate) async fn start_beside(exporters: &[String], pollers: &str) -> Self {
        let (port, health) = (free_port(), format!("127.0.0.1:{}", free_port()));
        let ids: Vec<_> = exporters.iter().map(|one| one.split(": ").next().expect("an id")).collect();
        let ids_polled: Vec<_> = pollers.lines().filter_map(|line| line.trim().split(": ").next()).collect();
        let (processors, debug, polled) = if ids_polled.is_empty() {
            ("", "", String::new())
        } else {
            let ids = ids_polled.join(", ");
            let polled = format!(
                "    metrics/polled: {{receivers: [{ids}], processors: [mapping], exporters: [debug/polled]}}\n"
            );
            ("processors: {mapping: {presets: [session_buddy]}}\n", "  debug/polled: {verbosity: basic}\n", polled)
        };
        let file = File::new(&format!(
            "receivers:
  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}
{pollers}{processors}exporters:
{debug}  {}
extensions: {{health_check: {{endpoint: \"{health}\"}}}}
service:
  telemetry: {{logs: {{encoding: json}}, metrics: {{level: none}}}}
  extensions: [health_check]
  pipelines:
    metrics: {{receivers: [otlp], exporters: [{}]}}
{polled}",
            exporters.join("\n  "),
            ids.join(", ")
        ));
        let program = Program::start(&["run", "--config", file.path(), "--shutdown-timeout", "5s"], &[]);
        wait_until("it runs", || program.stderr().contains("everything has started")).await;
        Self { program, health, port, _file: file }
    }

    /// Posts a batch of so many points, as the `nth`.
    pub(crate) async fn send(&self, nth: usize, points: usize) {
        let attribute = |key: &str| json!({"key": key, "value": {"stringValue": "relay"}});
        let resource = json!({"attributes": [attribute("service.name"), attribute("service.instance.id")]});
        let points: Vec<Value> = (0..points)
            .map(|point| json!({"asInt": nth.to_string(), "timeUnixNano": (1_767_225_600_000_000_000 + 1000 * nth + point).to_string()}))
            .collect();
        let metrics = json!([{"name": "relayed", "gauge": {"dataPoints": points}}]);
        let body = json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]});
        assert_eq!(post(self.port, "/v1/metrics", &body.to_string()).await.0, 200, "{}", self.program.stderr());
    }

    /// Where it takes OTLP over HTTP.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The books once everything is settled; they balance.
    pub(crate) async fn settled(&self) -> Books {
        books_at_rest(&self.health, Duration::from_secs(60)).await
    }

    /// What `/status` says of a component's status: its name and message.
    pub(crate) async fn status(&self, id: &str) -> (String, String) {
        status(&self.health, id).await
    }

    /// Asks it to stop; its totals balance.
    pub(crate) async fn stop(self) -> Output {
        self.program.stop().await
    }
}

/// What `/status` at `address` says of a component: its status and message.
pub(crate) async fn status(address: &str, id: &str) -> (String, String) {
    let (_, body) = http_get(address, "/status").await.expect("the health page answers");
    let page: Value = serde_json::from_str(&body).expect("JSON");
    let components = page["components"].as_array().expect("components");
    let one = components.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("no {id} in {body}"));
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

/// The account of one component.
pub(crate) fn account<'a>(books: &'a Books, id: &str) -> &'a Account {
    books.accounts.iter().find(|one| one.component.to_string() == id).unwrap_or_else(|| panic!("no {id}"))
}
