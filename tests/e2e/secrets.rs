//! Promise: what is planted as a secret, wherever a configuration can carry one, is seen by the far end and by nobody else.

use std::{fmt::Write as _, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use minicol_extension_simulator::SimulatorConfig;
use minicol_tests::{OtlpSink, Program, free_port, http_get, simulator, wait_until};
use tempfile::TempDir;

use crate::common::File;

/// Every planted secret begins so.
const MARK: &str = "hunter2";

/// Files that hold a secret each.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bearer", "client", "header", "push", "poller", "traces"] {
            std::fs::write(folder.path().join(name), format!("{MARK}-in-file-{name}\n")).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Fails where a text shows a planted secret: as it is, in base64 (as credentials travel), or as a list of bytes (as Rust shows them).
pub(crate) fn holds_none(what: &str, text: &str) {
    let mut forms =
        vec![MARK.to_owned(), "68756e74657232".to_owned(), format!("{:?}", MARK.as_bytes()).replace(['[', ']'], "")];
    for before in ["", "u:", "minicol:", "bearer "] {
        // However many bytes stand before it, whole groups of three look the same.
        for shift in 0..3 {
            let coded = STANDARD.encode(format!("{}{before}{MARK}-", "x".repeat(shift)));
            forms.push(coded[(shift * 2)..coded.len() - 4].to_owned());
        }
    }
    for form in forms.iter().filter(|form| form.len() > 7) {
        if let Some(line) = text.lines().find(|line| line.contains(form.as_str())) {
            panic!("{what} shows a secret as `{form}`: {line}");
        }
    }
}

const VARIABLES: [(&str, &str); 6] = [
    ("OTEL_EXPORTER_OTLP_HEADERS", "x-variable=hunter2-by-variable"),
    ("RUST_LOG", "trace"),
    ("PLANTED_HEADER", "hunter2-by-reference"),
    ("PLANTED_TOKEN", "Bearer hunter2-by-reference"),
    ("HTTP_PROXY", "http://u:hunter2-proxy-variable@127.0.0.1:9"),
    ("MAHAVISHNU_SESSION_BUDDY_POLLING__HEADERS__X_OVERRIDE", "hunter2-by-override"),
];

/// A pipeline with a secret at every place that takes one. `buddy`, `sink` and `push` serve; nobody listens at `nobody`.
fn pipeline(
    files: &Files,
    buddy: &str,
    [grpc, http]: [&str; 2],
    nobody: &str,
    [health, page, status]: [u16; 3],
) -> String {
    let path = |name: &str| files.path(name).display().to_string();
    let (bearer, client, header, push) = (path("bearer"), path("client"), path("header"), path("push"));
    let (poller, traces) = (path("poller"), path("traces"));
    let poll = "interval_seconds: 1, timeout_seconds: 1, max_retries: 0";
    format!(
        "receivers:
  session_buddy: {{endpoint: 'http://{buddy}/mcp?key=hunter2-query', {poll}, headers: {{Authorization: 'Bearer hunter2-header', X-Ref: '${{env:PLANTED_HEADER}}'}}}}
  session_buddy/file: {{endpoint: 'http://{buddy}/mcp', {poll}, bearer_token_file: '{bearer}'}}
  session_buddy/header: {{endpoint: 'http://{buddy}/mcp', {poll}, header_files: {{authorization: '{poller}', x-file: '{poller}'}}}}
  session_buddy/proxy: {{endpoint: 'http://elsewhere.example/mcp', {poll}, proxy_url: 'http://u:hunter2-proxy@{nobody}'}}
  session_buddy/tunnel: {{endpoint: 'https://elsewhere.example/mcp', {poll}, proxy_url: 'http://u:hunter2-proxy@{http}', headers: {{authorization: hunter2-tunnel}}}}
  session_buddy/oauth2: {{endpoint: 'http://{buddy}/mcp', {poll}, oauth2: {{client_id: minicol, client_secret_file: '{client}', token_url: 'http://{http}/token?key=hunter2-query'}}}}
  session_buddy/lost: {{endpoint: 'http://{nobody}/mcp?key=hunter2-query', {poll}, headers: {{cookie: hunter2-cookie}}}}
processors:
  mapping: {{presets: [session_buddy]}}
exporters:
  otlp: {{endpoint: 'http://{grpc}', headers: {{authorization: '${{env:PLANTED_TOKEN}}', x-secret-bin: hunter2-binary}}, header_files: {{x-file: '{header}'}}}}
  otlphttp: {{metrics_endpoint: 'http://{http}/v1/metrics?key=hunter2-query', headers: {{x-api-key: hunter2-header}}, header_files: {{authorization: '{header}'}}}}
  otlp/signal: {{endpoint: 'http://{grpc}', metrics: {{headers: {{authorization: 'Bearer hunter2-of-a-signal-grpc'}}}}}}
  otlphttp/signal: {{endpoint: 'http://{http}', metrics: {{headers: {{authorization: 'Bearer hunter2-of-a-signal-http'}}}}, logs: {{headers: {{x-api-key: hunter2-logs}}}}}}
  otlphttp/variable: {{endpoint: 'http://{http}'}}
  otlphttp/wrong: {{metrics_endpoint: 'http://{http}/nowhere?key=hunter2-query', headers: {{x-api-key: hunter2-header}}}}
  otlphttp/lost: {{metrics_endpoint: 'http://{nobody}/v1/metrics?key=hunter2-query', headers: {{x-api-key: hunter2-header}}}}
  otlp/lost: {{endpoint: 'http://{nobody}', headers: {{x-api-key: hunter2-header}}}}
  otlp/plain: {{endpoint: 'https://{grpc}', headers: {{x-api-key: hunter2-header}}}}
  debug: {{verbosity: detailed}}
extensions:
  health_check: {{endpoint: '127.0.0.1:{health}'}}
  status_page: {{endpoint: '127.0.0.1:{status}'}}
service:
  extensions: [health_check, status_page]
  telemetry:
    metrics:
      readers:
        - pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {page}}}}}}}
        - periodic: {{interval: 1s, exporter: {{otlp: {{protocol: http/protobuf, endpoint: 'http://{http}', headers: {{authorization: 'Bearer hunter2-push'}}, header_files: {{x-file: '{push}'}}}}}}}}
        - periodic: {{interval: 1s, exporter: {{otlp: {{endpoint: 'http://{nobody}', headers: {{x-api-key: hunter2-push}}}}}}}}
    traces:
      processors:
        - batch: {{schedule_delay: 100ms, exporter: {{otlp: {{protocol: http/protobuf, endpoint: 'http://{http}', headers: {{authorization: 'Bearer hunter2-traces'}}, header_files: {{x-file: '{traces}'}}}}}}}}
        - batch: {{schedule_delay: 100ms, exporter: {{otlp: {{endpoint: 'http://{nobody}', headers: {{x-api-key: hunter2-traces}}}}}}}}
  pipelines:
    metrics:
      receivers: [session_buddy, session_buddy/file, session_buddy/header, session_buddy/proxy, session_buddy/tunnel, session_buddy/oauth2, session_buddy/lost]
      processors: [mapping]
      exporters: [otlp, otlphttp, otlp/signal, otlphttp/signal, otlphttp/variable, otlphttp/wrong, otlphttp/lost, otlp/lost, otlp/plain, debug]
"
    )
}

#[tokio::test]
async fn no_log_no_page_and_no_printed_configuration_shows_a_secret() {
    let files = Files::new();
    let simulator = simulator(0, SimulatorConfig::default()).await;
    let sink = OtlpSink::start().await;
    let (grpc, http, nobody) = (sink.grpc.to_string(), sink.http.to_string(), format!("127.0.0.1:{}", free_port()));
    let ports = [free_port(), free_port(), free_port()];
    let file = File::new(&pipeline(&files, simulator.address(), [&grpc, &http], &nobody, ports));

    for format in ["yaml", "json"] {
        let printed = Program::run(&["print-config", "--format", format, "--config", file.path()], &VARIABLES).await;
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        assert!(printed.stdout.matches("[REDACTED]").count() >= 20, "{}", printed.stdout);
        holds_none("print-config", &printed.stdout);
        holds_none("print-config's log", &printed.stderr);
    }
    let polled = Program::run(&["poll", "--config", file.path(), "--output", "json"], &VARIABLES).await;
    holds_none("poll", &(polled.stdout + &polled.stderr));

    let program = Program::start(&["run", "--config", file.path()], &VARIABLES);
    wait_until("metrics in the sink", || !sink.points_of("session_buddy.sessions.active").is_empty()).await;
    wait_until("own metrics in the sink", || !sink.points_of("otelcol_process_uptime").is_empty()).await;
    for said in [
        "otlphttp/wrong",
        "otlphttp/lost",
        "otlp/lost",
        "session_buddy/oauth2",
        "session_buddy/tunnel",
        "session_buddy/lost",
    ] {
        wait_until("everything that fails to say so", || {
            program.stderr().lines().any(|line| line.contains(said) && line.contains("WARN"))
        })
        .await;
    }
    let mut shown = String::new();
    let api = [
        "/",
        "/api/v1/status",
        "/api/v1/pipelines",
        "/api/v1/targets",
        "/api/v1/extensions",
        "/api/v1/events",
        "/api/v1/configuration",
        "/api/v1/metrics",
        "/api/v1/actions",
    ];
    let pages = [(ports[0], "/"), (ports[0], "/status"), (ports[1], "/metrics")];
    for (port, path) in pages.into_iter().chain(api.map(|path| (ports[2], path))) {
        let (status, body) = http_get(&format!("127.0.0.1:{port}"), path).await.unwrap();
        assert_eq!(status, 200, "{path}");
        write!(shown, "{body}").unwrap();
        holds_none(path, &body);
    }
    assert!(shown.contains("session_buddy/oauth2") && shown.contains("otelcol_process_uptime"), "{shown}");
    let output = program.stop().await;
    assert!(output.stderr.contains("TRACE"), "the log is not as loud as it can be");
    holds_none("the output", &output.stdout);
    holds_none("the log", &output.stderr);
    // It is a test only where the far ends did see them.
    let seen = sink.headers();
    for planted in [
        "Bearer hunter2-by-reference",
        "hunter2-in-file-header",
        "hunter2-header",
        "Bearer hunter2-push",
        "hunter2-in-file-push",
        "Bearer hunter2-of-a-signal-grpc",
        "Bearer hunter2-of-a-signal-http",
        "hunter2-by-variable",
        "Bearer hunter2-traces",
        "hunter2-in-file-traces",
    ] {
        assert!(seen.iter().any(|(_, value)| value == planted), "{planted} was not sent: {seen:?}");
    }
}

#[tokio::test]
async fn no_error_of_a_configuration_shows_a_secret() {
    let receiver = |body: &str| format!("receivers:\n  session_buddy:\n{}\n", indented(body));
    let exporter = |body: &str| format!("exporters:\n  otlphttp:\n{}\n", indented(body));
    let push = |body: &str| {
        format!("service:\n  telemetry: {{metrics: {{readers: [{{periodic: {{exporter: {{otlp: {{{body}}}}}}}}}]}}}}\n")
    };
    let traces = |body: &str| {
        format!("service:\n  telemetry: {{traces: {{processors: [{{batch: {{exporter: {{otlp: {{{body}}}}}}}}}]}}}}\n")
    };
    let wrong = [
        receiver("endpoint: http://u:hunter2@buddy.example/mcp"),
        receiver("endpoint: 'buddy.example/mcp?key=hunter2'"),
        receiver("headers: {Authorization: \"Bearer hunter2\\n\"}"),
        receiver("headers: {X Y: hunter2}"),
        receiver("headers: Bearer hunter2"),
        receiver("headers: [hunter2]"),
        receiver("headers:\n  Authorization: [hunter2]"),
        receiver("headers: {Authorization: hunter2}\nendpoint: http://buddy.example/mcp"),
        receiver("proxy_url: socks5://u:hunter2@proxy:1"),
        receiver("proxy_url: 'u:hunter2@proxy:x'"),
        receiver("proxy_url: [hunter2]"),
        receiver("bearer_token: hunter2"),
        receiver("api_key: hunter2"),
        receiver("oauth2: {client_id: a, client_secret: hunter2}"),
        receiver("oauth2: {client_id: a, client_secret_file: f, token_url: 'http://u:hunter2@login.example'}"),
        receiver("oauth2: {client_id: a, client_secret_file: f, token_url: 'http://login.example/?key=hunter2'}"),
        receiver("oauth2: {client_id: a, client_secret_file: f, issuer: 'http://u:hunter2@login.example'}"),
        receiver("headers: {Authorization: \"hunter2"),
        receiver("headers: {Authorization: 'hunter2', Authorization: 'hunter2'}"),
        receiver("headers: {Authorization: '${env:NOT_SET}hunter2'}"),
        receiver("headers: {Authorization: '${hunter2'}"),
        receiver("headers: {a: '${foo:hunter2planted}'}"),
        receiver("headers: {a: '${env:NOPE:?hunter2planted}'}"),
        exporter("endpoint: http://localhost:1\nheaders:\n  a: ${foo:hunter2planted}"),
        exporter("endpoint: u:hunter2@otel.example:4318"),
        exporter("endpoint: https://u:hunter2@otel.example:4318"),
        exporter("metrics_endpoint: 'otel.example/v1?key=hunter2'"),
        exporter("endpoint: 'http://otel.example?key=hunter2'"),
        exporter("endpoint: http://otel.example\nheaders: {x-api-key: hunter2}"),
        exporter("endpoint: http://localhost:1\nheaders: {Host: hunter2}"),
        exporter("endpoint: http://otel.example\nmetrics: {headers: {x-api-key: hunter2}}"),
        exporter("endpoint: http://localhost:1\nlogs: {headers: {'x y': hunter2}}"),
        exporter("endpoint: http://localhost:1\ntraces: {headers: [hunter2]}"),
        exporter("endpoint: http://localhost:1\nheaders: {a: {b: hunter2}}"),
        exporter("endpoint: http://localhost:1\nheader: {a: hunter2}"),
        traces("endpoint: 'http://u:hunter2@otel.example:4317'"),
        traces("endpoint: 'http://otel.example:4317', headers: {authorization: hunter2}"),
        traces("endpoint: 'http://localhost:4317', headers: {a: [hunter2]}"),
        push("endpoint: 'http://u:hunter2@otel.example:4317'"),
        push("endpoint: 'http://otel.example:4317', headers: {authorization: hunter2}"),
        push("endpoint: 'http://localhost:4317', headers: {'x y': hunter2}"),
    ];
    for text in wrong {
        let file = File::new(&text);
        for command in ["validate", "run"] {
            let output = Program::run(&[command, "--config", file.path()], &[("RUST_LOG", "trace")]).await;
            assert_eq!(output.code, 1, "{text} holds");
            holds_none(command, &(output.stdout + &output.stderr));
        }
    }
    for set in ["receivers.session_buddy.headers=hunter2", "exporters.otlp.headers.x y=hunter2"] {
        let arguments = ["validate", "--config", "pipelines/session-buddy.yaml", "--set", set];
        let output = Program::run(&arguments, &[]).await;
        assert_eq!(output.code, 1, "{set} holds");
        holds_none(set, &(output.stdout + &output.stderr));
    }
}

fn indented(body: &str) -> String {
    body.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
