//! Promise: a far end that repeats what it was sent (in an error, an answer, an address) makes nothing of the program tell a secret.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
};
use minicol_plugin::net::{HttpServer, HttpVersions, listen};
use minicol_tests::{Program, free_port, http_get, machine, wait_until};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::{
    common::File,
    secrets::{Files, holds_none},
};

/// A server that knows nobody, and says back what it got. It counts what it was asked, by path.
struct Echo {
    address: String,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    stop: CancellationToken,
}

impl Echo {
    async fn start() -> Self {
        let listener = listen(&*machine().network, "127.0.0.1:0").await.expect("a free port");
        let address = listener.local_address();
        let (asked, stop) = (Arc::default(), CancellationToken::new());
        let counted: Arc<Mutex<BTreeMap<String, usize>>> = Arc::clone(&asked);
        let service = service_fn(move |request: Request<Incoming>| {
            let counted = Arc::clone(&counted);
            async move {
                let nth = {
                    let mut counted = counted.lock().unwrap();
                    let count = counted.entry(request.uri().path().to_owned()).or_default();
                    *count += 1;
                    *count
                };
                Ok::<_, Infallible>(answer(request, nth).await)
            }
        });
        tokio::spawn(HttpServer::new(listener).speaks(HttpVersions::Both).serve(service, stop.clone()));
        Self { address, asked, stop }
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().get(path).copied().unwrap_or_default()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What it was sent, in words. Each time it begins with another header, and elsewhere: so that each is cut off somewhere, and none always.
fn repeated(headers: &HeaderMap, address: &str, nth: usize) -> String {
    let mut said: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-") || name.as_str().contains("auth"))
        .map(|(name, value)| format!("{name} {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    said.push(address.to_owned());
    let from = nth % said.len();
    said.rotate_left(from);
    format!("{}denied: {}", "-".repeat(nth % 3 * 60), said.join("; "))
}

async fn answer(request: Request<Incoming>, nth: usize) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let said = repeated(&parts.headers, &parts.uri.to_string(), nth);
    let grpc = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/grpc");
    let with = |status: StatusCode, headers: &[(&'static str, &str)], body: String| {
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        response
    };
    let json = ("content-type", "application/json");
    match parts.uri.path() {
        _ if grpc => with(
            StatusCode::OK,
            &[("content-type", "application/grpc"), ("grpc-status", "16"), ("grpc-message", &said)],
            String::new(),
        ),
        "/mcp" if parts.method != "POST" => with(StatusCode::METHOD_NOT_ALLOWED, &[], String::new()),
        "/mcp" => {
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            if asked.get("id").is_none() {
                return with(StatusCode::ACCEPTED, &[], String::new());
            }
            let mut reply = tool(asked["method"].as_str().unwrap_or_default(), &said, nth);
            reply["jsonrpc"] = "2.0".into();
            reply["id"] = asked["id"].clone();
            with(StatusCode::OK, &[json], reply.to_string())
        }
        "/plain/mcp" => with(StatusCode::OK, &[json], said),
        "/refused/mcp" => {
            with(StatusCode::FORBIDDEN, &[("www-authenticate", "Bearer error=\"insufficient_scope\"")], said)
        }
        "/token" => {
            let said = format!("{said}; {}", String::from_utf8_lossy(&body));
            with(
                StatusCode::BAD_REQUEST,
                &[json],
                json!({"error": "invalid_request", "error_description": said}).to_string(),
            )
        }
        "/moved" => with(
            StatusCode::TEMPORARY_REDIRECT,
            &[("location", &format!("http://elsewhere.example/{}", said.replace(' ', "+")))],
            String::new(),
        ),
        "/partial" => {
            let partial = json!({"partialSuccess": {"rejectedDataPoints": "1", "errorMessage": said}});
            with(StatusCode::OK, &[json], partial.to_string())
        }
        _ => with(StatusCode::UNAUTHORIZED, &[("content-type", "text/plain")], said),
    }
}

/// Of a server that greets, and whose tools fail.
fn tool(method: &str, said: &str, nth: usize) -> Value {
    let tools = ["get_activity_summary", "get_metrics_summary", "get_workflow_metrics"];
    match method {
        "initialize" => {
            json!({"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": said, "version": "1"}}})
        }
        "tools/list" => {
            json!({"result": {"tools": tools.map(|name| json!({"name": name, "inputSchema": {"type": "object"}}))}})
        }
        "tools/call" if nth.is_multiple_of(2) => {
            json!({"result": {"isError": true, "content": [{"type": "text", "text": said}]}})
        }
        _ => json!({"error": {"code": -32000, "message": said}}),
    }
}

fn pipeline(files: &Files, echo: &str, [health, status]: [u16; 2]) -> String {
    let path = |name: &str| files.path(name).display().to_string();
    let (bearer, client, header, push, poller) =
        (path("bearer"), path("client"), path("header"), path("push"), path("poller"));
    let poll = "interval_seconds: 1, timeout_seconds: 1, max_retries: 0";
    let again = "retry_on_failure: {initial_interval: 100ms, max_interval: 100ms}";
    format!(
        "receivers:
  session_buddy: {{endpoint: 'http://{echo}/mcp', {poll}, headers: {{Authorization: 'Bearer hunter2-header', X-Ref: '${{env:PLANTED_HEADER}}'}}, header_files: {{x-file: '{poller}'}}}}
  session_buddy/file: {{endpoint: 'http://{echo}/mcp?key=hunter2-query', {poll}, bearer_token_file: '{bearer}'}}
  session_buddy/plain: {{endpoint: 'http://{echo}/plain/mcp', {poll}, headers: {{x-api-key: hunter2-key-of-plain}}}}
  session_buddy/refused: {{endpoint: 'http://{echo}/refused/mcp', {poll}, headers: {{x-api-key: hunter2-key-of-refused}}}}
  session_buddy/moved: {{endpoint: 'http://{echo}/moved', {poll}, headers: {{x-api-key: hunter2-key-of-moved}}}}
  session_buddy/proxy: {{endpoint: 'http://elsewhere.example/mcp', {poll}, proxy_url: 'http://u:hunter2-proxy@{echo}', allow_insecure_auth: true, headers: {{x-api-key: hunter2-key-of-proxied}}}}
  session_buddy/oauth2: {{endpoint: 'http://{echo}/mcp', {poll}, oauth2: {{client_id: minicol, client_secret_file: '{client}', token_url: 'http://{echo}/token'}}}}
processors:
  mapping: {{presets: [session_buddy]}}
exporters:
  otlp: {{endpoint: 'http://{echo}', {again}, headers: {{authorization: 'Bearer hunter2-grpc', x-secret: hunter2-grpc-other}}, header_files: {{x-file: '{header}'}}}}
  otlphttp: {{endpoint: 'http://{echo}', {again}, headers: {{authorization: 'Bearer hunter2-http', x-other: hunter2-http-other}}, header_files: {{x-file: '{header}'}}}}
  otlphttp/moved: {{metrics_endpoint: 'http://{echo}/moved', {again}, headers: {{x-api-key: hunter2-moved}}}}
  otlphttp/partial: {{metrics_endpoint: 'http://{echo}/partial?key=hunter2-query', {again}, headers: {{x-api-key: hunter2-partial}}}}
  otlphttp/variable: {{metrics_endpoint: 'http://{echo}/variable', {again}}}
  debug: {{verbosity: detailed}}
extensions:
  health_check: {{endpoint: '127.0.0.1:{health}'}}
  status_page: {{endpoint: '127.0.0.1:{status}'}}
service:
  extensions: [health_check, status_page]
  telemetry:
    metrics:
      readers:
        - periodic: {{interval: 1s, exporter: {{otlp: {{protocol: http/protobuf, endpoint: 'http://{echo}/push', headers: {{authorization: 'Bearer hunter2-push'}}, header_files: {{x-file: '{push}'}}}}}}}}
  pipelines:
    metrics:
      receivers: [session_buddy, session_buddy/file, session_buddy/plain, session_buddy/refused, session_buddy/moved, session_buddy/proxy, session_buddy/oauth2]
      processors: [mapping]
      exporters: [otlp, otlphttp, otlphttp/moved, otlphttp/partial, otlphttp/variable, debug]
"
    )
}

const VARIABLES: [(&str, &str); 3] = [
    ("RUST_LOG", "trace"),
    ("PLANTED_HEADER", "hunter2-by-reference"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "x-variable=hunter2-by-variable"),
];

#[tokio::test]
async fn what_a_far_end_repeats_is_told_without_the_secrets_in_it() {
    let (files, echo) = (Files::new(), Echo::start().await);
    let ports = [free_port(), free_port()];
    for encoding in ["console", "json"] {
        let text = pipeline(&files, &echo.address, ports)
            .replace("  telemetry:\n", &format!("  telemetry:\n    logs: {{encoding: {encoding}}}\n"));
        let file = File::new(&text);
        let polled = Program::run(&["poll", "--config", file.path(), "--output", "json"], &VARIABLES).await;
        holds_none("poll", &(polled.stdout + &polled.stderr));
        let looked = Program::run(&["doctor", "--config", file.path()], &VARIABLES).await;
        holds_none("doctor", &(looked.stdout + &looked.stderr));

        let program = Program::start(&["run", "--config", file.path()], &VARIABLES);
        let before = echo.asked.lock().unwrap().clone();
        let paths = [
            "/mcp",
            "/plain/mcp",
            "/refused/mcp",
            "/moved",
            "/token",
            "/partial",
            "/v1/metrics",
            "/variable",
            "/push/v1/metrics",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        ];
        for path in paths {
            let before = before.get(path).copied().unwrap_or_default();
            wait_until(&format!("{path} to be asked"), || echo.asked(path) >= before + 3).await;
        }
        wait_until("a failure to be told", || program.stderr().contains("[REDACTED]")).await;
        let mut shown = String::new();
        for path in
            ["/", "/api/v1/status", "/api/v1/targets", "/api/v1/events", "/api/v1/pipelines", "/api/v1/configuration"]
        {
            let (_, body) = http_get(&format!("127.0.0.1:{}", ports[1]), path).await.unwrap();
            holds_none(path, &body);
            write!(shown, "{body}").unwrap();
        }
        let (_, body) = http_get(&format!("127.0.0.1:{}", ports[0]), "/status").await.unwrap();
        holds_none("/status", &body);
        // It is a test only where what was repeated is told.
        assert!((shown + &body).contains("denied: "), "nothing of what the far end says is shown");
        let output = program.stop().await;
        assert!(output.stderr.contains("denied: ") && output.stderr.contains("TRACE"), "{}", output.stderr);
        holds_none("the output", &output.stdout);
        holds_none("the log", &output.stderr);
    }
}
