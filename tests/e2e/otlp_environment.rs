//! Promise: where an exporter's configuration is silent, the variables that every OpenTelemetry SDK knows give what it needs; what is written goes before
//! them, minicol says which variable gave what, a bad value is an error at the variable, and no header is ever shown.

use minicol_tests::{OtlpSink, Output, Program, free_port, wait_until};
use serde_json::{Value, json};

use crate::{
    certificates::{authority, certificate},
    common::File,
};

const PREFIX: &str = "OTEL_EXPORTER_OTLP_";

/// Exporters, of which `otlp` gets metrics and logs, the others metrics.
fn file(exporters: &str, ids: &str) -> File {
    File::new(&format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{}\"}}}}}}}}
exporters: {exporters}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics: {{receivers: [otlp], exporters: [{ids}]}}
    logs: {{receivers: [otlp], exporters: [otlp]}}
",
        free_port()
    ))
}

async fn with(command: &[&str], file: &File, variables: &[(&str, &str)]) -> Output {
    let names: Vec<String> = variables.iter().map(|(name, _)| format!("{PREFIX}{name}")).collect();
    let variables: Vec<_> = names.iter().zip(variables).map(|(name, (_, value))| (name.as_str(), *value)).collect();
    Program::run(&[command, &["--config", file.path()]].concat(), &variables).await
}

/// One exporter as it is printed.
async fn printed(file: &File, id: &str, variables: &[(&str, &str)]) -> (Value, String) {
    let output = with(&["print-config", "--format", "json"], file, variables).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let mut shown: Value = serde_json::from_str(&output.stdout).unwrap();
    (shown["exporters"][id].take(), output.stderr)
}

const ALL: [(&str, &str); 13] = [
    ("ENDPOINT", "http://all.example:4317"),
    ("METRICS_ENDPOINT", "http://metrics.example:4317"),
    ("TRACES_ENDPOINT", "no address at all"),
    ("HEADERS", "x-tenant=hunter2"),
    ("LOGS_HEADERS", "x-tenant=hunter3,x-more=hunter4"),
    ("TIMEOUT", "1500"),
    ("METRICS_TIMEOUT", "3000"),
    ("COMPRESSION", "none"),
    ("LOGS_COMPRESSION", "ZSTD"),
    ("INSECURE", "true"),
    ("PROTOCOL", "http/json"),
    ("LOGS_PROTOCOL", ""),
    ("METRICS_INSECURE", "false"),
];

#[tokio::test]
async fn a_preference_that_is_not_followed_is_warned_of_also_beside_what_is_written() {
    let file = file("{otlp: {endpoint: \"http://written.example:4317\"}}", "otlp");
    let variables = [
        ("METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
    ];
    let (_, notes) = printed(&file, "otlp", &variables).await;
    assert!(notes.contains("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE>:1:1: it is not used"), "{notes}");
    assert!(!notes.contains("AGGREGATION"), "that is what happens anyhow: {notes}");
}

#[tokio::test]
async fn what_is_not_written_comes_from_the_variables_of_the_sdks() {
    let file = file("{otlp: , otlphttp: }", "otlp, otlphttp");
    let (grpc, notes) = printed(&file, "otlp", &ALL).await;
    assert_eq!(grpc["endpoint"], "http://all.example:4317");
    assert_eq!(grpc["headers"], json!({"x-tenant": "[REDACTED]"}));
    assert_eq!((&grpc["timeout"], &grpc["compression"]), (&json!("1500ms"), &json!("none")));
    assert_eq!(grpc["timeouts"], json!({"metrics": "3s"}));
    assert_eq!(grpc["tls"]["insecure"], true);
    assert_eq!(grpc["metrics"], json!({"endpoint": "http://metrics.example:4317", "tls": {"insecure": false}}));
    let headers = json!({"x-tenant": "[REDACTED]", "x-more": "[REDACTED]"});
    assert_eq!(grpc["logs"], json!({"headers": headers, "compression": "zstd"}));
    assert!(grpc.get("traces").is_none(), "no traces reach it, so their variables are not even looked at");
    for note in [
        "OTEL_EXPORTER_OTLP_ENDPOINT gives exporters::otlp::endpoint",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT gives exporters::otlp::metrics::endpoint",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT gives exporters::otlp::timeouts::metrics",
        "OTEL_EXPORTER_OTLP_HEADERS gives exporters::otlphttp::headers",
    ] {
        assert!(notes.contains(&format!("note: the environment variable {note}\n")), "{note}:\n{notes}");
    }
    assert!(notes.contains("the protocol shall be http/json, but `otlp` speaks gRPC"), "{notes}");
    assert!(!notes.contains("hunter"), "{notes}");
    let (http, _) = printed(&file, "otlphttp", &ALL).await;
    assert_eq!(http["endpoint"], "http://all.example:4317");
    assert_eq!(http["metrics_endpoint"], "http://metrics.example:4317");
    assert_eq!((&http["encoding"], http.get("logs")), (&json!("json"), None));
}

#[tokio::test]
async fn what_is_written_goes_before_every_variable() {
    let written = "{otlp: {endpoint: \"http://file.example:4317\", headers: {}, timeout: 7s, compression: gzip, tls: {insecure: false}}, \
                   otlphttp: {metrics_endpoint: \"http://file.example/m\", header_files: {x-tenant: /dev/null}, encoding: proto}}";
    let file = file(written, "otlp, otlphttp");
    let (grpc, _) = printed(&file, "otlp", &ALL).await;
    assert_eq!((&grpc["endpoint"], &grpc["headers"]), (&json!("http://file.example:4317"), &json!({})));
    assert_eq!((&grpc["timeout"], &grpc["compression"]), (&json!("7s"), &json!("gzip")));
    assert!(["metrics", "logs", "timeouts"].iter().all(|key| grpc.get(key).is_none()), "{grpc}");
    let (http, notes) = printed(&file, "otlphttp", &ALL).await;
    assert_eq!((&http["metrics_endpoint"], &http["encoding"]), (&json!("http://file.example/m"), &json!("proto")));
    assert_eq!((&http["headers"], &http["endpoint"]), (&json!({}), &json!("http://all.example:4317")));
    assert!(!notes.contains("exporters::otlp::"), "{notes}");
}

const STRANGER: &str = "which is sent to an endpoint that is written in the configuration";

/// As in the SDKs, what stands in the environment goes to whatever endpoint there is; where the file names it, that is said.
#[tokio::test]
async fn what_the_environment_gives_to_an_endpoint_of_the_file_is_warned_of_by_name_and_without_its_value() {
    let written = file(
        "{otlp: {endpoint: \"http://file.example:4317\"}, otlphttp: {metrics_endpoint: \"http://file.example/m\"}}",
        "otlp, otlphttp",
    );
    let secrets = [("HEADERS", "x-tenant=hunter2"), ("LOGS_HEADERS", "x-tenant=hunter3")];
    let (grpc, notes) = printed(&written, "otlp", &secrets).await;
    assert_eq!(grpc["headers"], json!({"x-tenant": "[REDACTED]"}), "it is sent all the same");
    for (variable, key, endpoint) in [
        ("HEADERS", "exporters::otlp::headers", "exporters::otlp::endpoint"),
        ("LOGS_HEADERS", "exporters::otlp::logs::headers", "exporters::otlp::endpoint"),
        ("HEADERS", "exporters::otlphttp::headers", "exporters::otlphttp::metrics_endpoint"),
    ] {
        let said = format!("{PREFIX}{variable} gives {key}, {STRANGER} ({endpoint})");
        assert_eq!(notes.matches(&said).count(), 1, "{said}: {notes}");
    }
    assert_eq!((notes.matches(STRANGER).count(), notes.contains("hunter")), (3, false), "{notes}");
    // Metrics go where the file says, logs and what belongs to them where the environment says.
    let own = file("{otlp: {metrics: {endpoint: \"http://file.example:4317\"}}}", "otlp");
    let (shown, notes) = printed(&own, "otlp", &[secrets[1], ("LOGS_ENDPOINT", "http://env.example:4317")]).await;
    assert_eq!((shown["logs"]["headers"]["x-tenant"].is_string(), notes.contains(STRANGER)), (true, false), "{notes}");
    // All from the environment, or all from the file.
    for (exporters, variables) in [
        ("{otlp: }", vec![secrets[0], ("ENDPOINT", "http://env.example:4317")]),
        ("{otlp: {endpoint: \"http://file.example:4317\", headers: {a: b}}}", vec![secrets[0]]),
    ] {
        let (_, notes) = printed(&file(exporters, "otlp"), "otlp", &variables).await;
        assert!(!notes.contains(STRANGER), "{exporters}: {notes}");
    }
}

#[tokio::test]
async fn a_client_certificate_of_the_environment_for_an_endpoint_of_the_file_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), &authority(folder.path(), "authority"), "client", "client.example", false);
    let [certificate, key] = ["client.crt", "client.key"].map(|name| folder.path().join(name).display().to_string());
    let variables = [("CLIENT_CERTIFICATE", certificate.as_str()), ("CLIENT_KEY", key.as_str())];
    let written = file("{otlp: {endpoint: \"https://file.example:4317\"}}", "otlp");
    let (_, notes) = printed(&written, "otlp", &variables).await;
    let said = format!("{PREFIX}CLIENT_CERTIFICATE gives exporters::otlp::tls::cert_file, {STRANGER}");
    assert_eq!((notes.matches(&said).count(), notes.matches(STRANGER).count()), (1, 1), "{notes}");
}

/// Own metrics go out by the same rules.
#[tokio::test]
async fn headers_of_the_environment_for_an_endpoint_of_own_telemetry_are_warned_of() {
    let text = "receivers: {otlp: {protocols: {http: {endpoint: \"127.0.0.1:0\"}}}}
exporters: {debug: }
service:
  telemetry:
    metrics:
      readers: [{periodic: {exporter: {otlp: {protocol: grpc, endpoint: \"http://file.example:4317\"}}}}, {periodic: {exporter: {otlp: {endpoint: \"http://file.example:4317\", headers: {}}}}}]
  pipelines: {metrics: {receivers: [otlp], exporters: [debug]}}
";
    let output = with(&["validate"], &File::new(text), &[("HEADERS", "x-tenant=hunter2")]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(output.stderr.matches(STRANGER).count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains("readers[0]") && !output.stderr.contains("hunter"), "{}", output.stderr);
}

#[tokio::test]
async fn certificates_and_keys_are_read_from_where_the_variables_say() {
    let file = file("{otlp: }", "otlp");
    let variables = [
        ("ENDPOINT", "https://all.example:4317"),
        ("CERTIFICATE", "/no/ca.pem"),
        ("CLIENT_CERTIFICATE", "/no/client.pem"),
    ];
    let output = with(&["validate"], &file, &variables).await;
    assert_eq!(output.code, 1, "{}", output.stderr);
    for said in [
        "error: <environment variable OTEL_EXPORTER_OTLP_CERTIFICATE>:1:1: ca_file /no/ca.pem cannot be used",
        "error: <environment variable OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE>:1:1: cert_file is set, but key_file is not",
    ] {
        assert!(output.stderr.contains(said), "{said}:\n{}", output.stderr);
    }
    // The same for one signal, told at its own variable.
    let variables = [variables[0], ("LOGS_CLIENT_KEY", "/no/logs.key"), ("LOGS_CLIENT_CERTIFICATE", "/no/logs.pem")];
    let output = with(&["validate"], &file, &variables).await;
    let said = "error: <environment variable OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE>:1:1: cert_file /no/logs.pem cannot be used";
    assert!(
        output.stderr.contains(said) && output.stderr.contains("exporters::otlp::logs::tls::cert_file"),
        "{}",
        output.stderr
    );
}

/// As in the SDKs: a variable that is set for another program stops none.
#[tokio::test]
async fn a_value_that_is_not_understood_is_warned_of_and_passed_over() {
    for file in [file("{otlp: }", "otlp"), own_telemetry("", "")] {
        for (name, value, said) in [
            ("TIMEOUT", "10s", "`10s` is no number of milliseconds, and is passed over"),
            ("METRICS_COMPRESSION", "snappy", "`snappy` is no compression that is known here, and is passed over"),
            ("INSECURE", "1", "`1` is neither true nor false, and is passed over"),
            ("PROTOCOL", "thrift", "`thrift` is no protocol of OTLP, and is passed over"),
        ] {
            let output = with(&["validate"], &file, &[("ENDPOINT", "http://all.example:4317"), (name, value)]).await;
            assert_eq!(output.code, 0, "{name}={value}: {}", output.stderr);
            let place = format!("warning: <environment variable {PREFIX}{name}>:1:1: ");
            assert!(
                output.stderr.contains(&place) && output.stderr.contains(said),
                "{name}={value}:\n{}",
                output.stderr
            );
        }
    }
}

#[tokio::test]
async fn a_bad_value_is_an_error_at_its_variable() {
    let file = file("{otlp: }", "otlp");
    for (name, value, said) in [
        ("HEADERS", "hunter2", "header 1 is not written name=value"),
        ("METRICS_HEADERS", "x tenant=hunter2", "`x tenant` is no header name"),
        ("METRICS_HEADERS", "x-tenant=hunter2%0A", "the value of the header `x-tenant` holds a line break"),
        ("LOGS_ENDPOINT", "http://all.example:4317/v1/logs", "has a path, but a gRPC endpoint has none"),
        ("ENDPOINT", "http://user:hunter2@all.example:4317", "the endpoint holds a user name or password"),
    ] {
        let output = with(&["validate"], &file, &[("ENDPOINT", "http://all.example:4317"), (name, value)]).await;
        assert_eq!(output.code, 1, "{name}={value}: {}", output.stderr);
        let place = format!("error: <environment variable {PREFIX}{name}>:1:1: ");
        assert!(output.stderr.contains(&place) && output.stderr.contains(said), "{name}={value}:\n{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{name}={value}:\n{}", output.stderr);
    }
    let output = with(&["validate"], &file, &[("TRACES_ENDPOINT", "http://traces.example:4317")]).await;
    assert!(output.stderr.contains("or set OTEL_EXPORTER_OTLP_ENDPOINT"), "{}", output.stderr);
}

#[tokio::test]
async fn an_exporter_without_a_body_delivers_to_where_the_environment_says() {
    let sink = OtlpSink::start().await;
    let port = free_port();
    let file = File::new(&format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}}}
exporters: {{otlp: }}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [otlp]}}}}
"
    ));
    let endpoint = format!("http://{}", sink.grpc);
    let variables = [
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=hunter2"),
    ];
    let program = Program::start(&["run", "--config", file.path()], &variables);
    wait_until("it serves", || program.stderr().contains("serves http on")).await;
    let body =
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asInt":"7"}]}}]}]}]}"#;
    assert_eq!(crate::common::post(port, "/v1/metrics", body).await.0, 200);
    wait_until("the point to arrive", || !sink.points_of("m").is_empty()).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    for variable in ["METRICS_ENDPOINT", "HEADERS"] {
        assert!(output.stderr.contains(&format!("{PREFIX}{variable}")), "{}", output.stderr);
    }
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
}

/// The program's own metrics and traces, each with one way out.
fn own_telemetry(metrics: &str, traces: &str) -> File {
    File::new(&format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{}\"}}}}}}}}
exporters: {{debug: }}
service:
  telemetry:
    metrics: {{readers: [{{periodic: {{interval: 200ms, exporter: {{otlp: {metrics}}}}}}}]}}
    traces: {{processors: [{{batch: {{schedule_delay: 200ms, exporter: {{otlp: {traces}}}}}}}]}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [debug]}}}}
",
        free_port()
    ))
}

async fn own_printed(file: &File, variables: &[(&str, &str)]) -> ([Value; 2], String) {
    let output = with(&["print-config", "--format", "json"], file, variables).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let mut shown: Value = serde_json::from_str(&output.stdout).unwrap();
    let telemetry = &mut shown["service"]["telemetry"];
    let metrics = telemetry["metrics"]["readers"][0]["periodic"]["exporter"]["otlp"].take();
    let traces = telemetry["traces"]["processors"][0]["batch"]["exporter"]["otlp"].take();
    ([metrics, traces], output.stderr)
}

#[tokio::test]
async fn own_telemetry_takes_the_same_variables() {
    let variables = [
        ("ENDPOINT", "http://all.example:4317"),
        ("TRACES_ENDPOINT", "http://traces.example/spans?key=hunter2"),
        ("TRACES_PROTOCOL", "http/json"),
        ("HEADERS", "x-tenant=hunter2"),
        ("METRICS_HEADERS", "x-metrics=hunter3"),
        ("TIMEOUT", "1500"),
        ("TRACES_TIMEOUT", "3000"),
        ("COMPRESSION", "none"),
        ("LOGS_ENDPOINT", "no address at all"),
    ];
    let ([metrics, traces], notes) = own_printed(&own_telemetry("", ""), &variables).await;
    assert_eq!((&metrics["protocol"], &metrics["endpoint"]), (&json!("grpc"), &json!("http://all.example:4317")));
    assert_eq!(metrics["headers"], json!({"x-metrics": "[REDACTED]"}));
    assert_eq!((&metrics["timeout"], &metrics["compression"]), (&json!("1500ms"), &json!("none")));
    assert_eq!(traces["traces_endpoint"], "http://traces.example/spans?[REDACTED]");
    assert_eq!((&traces["protocol"], &traces["timeout"]), (&json!("http/json"), &json!("3s")));
    assert_eq!(traces["headers"], json!({"x-tenant": "[REDACTED]"}));
    let otlp = |list: &str| format!("service::telemetry::{list}::exporter::otlp");
    let (metrics, traces) = (otlp("metrics::readers[0]::periodic"), otlp("traces::processors[0]::batch"));
    for note in [
        format!("OTEL_EXPORTER_OTLP_ENDPOINT gives {metrics}::endpoint"),
        format!("OTEL_EXPORTER_OTLP_METRICS_HEADERS gives {metrics}::headers"),
        format!("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL gives {traces}::protocol"),
        format!("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT gives {traces}::timeout"),
    ] {
        assert!(notes.contains(&format!("note: the environment variable {note}\n")), "{note}:\n{notes}");
    }
    assert!(!notes.contains("hunter"), "{notes}");
    // What is written goes before.
    let written = "{protocol: http/protobuf, endpoint: \"http://file.example:4318\", headers: {}, timeout: 7s, compression: gzip}";
    let (printed, notes) = own_printed(&own_telemetry(written, written), &variables).await;
    for one in printed {
        assert_eq!((&one["protocol"], &one["endpoint"]), (&json!("http/protobuf"), &json!("http://file.example:4318")));
        assert_eq!((&one["headers"], &one["timeout"], &one["compression"]), (&json!({}), &json!("7s"), &json!("gzip")));
        assert!(one.get("traces_endpoint").is_none(), "{one}");
    }
    assert!(!notes.contains("note:"), "{notes}");
}

#[tokio::test]
async fn own_telemetry_without_a_place_to_go_or_with_a_bad_variable_is_an_error_at_its_place() {
    let file = own_telemetry("", "");
    for (name, value, said) in [
        ("METRICS_HEADERS", "hunter2", "header 1 is not written name=value"),
        ("TRACES_ENDPOINT", "http://all.example:4317/v1/traces", "has a path, but a gRPC endpoint has none"),
    ] {
        let output = with(&["validate"], &file, &[("ENDPOINT", "http://all.example:4317"), (name, value)]).await;
        let place = format!("error: <environment variable {PREFIX}{name}>:1:1: ");
        assert_eq!(output.code, 1, "{name}={value}: {}", output.stderr);
        assert!(output.stderr.contains(&place) && output.stderr.contains(said), "{name}={value}:\n{}", output.stderr);
    }
    let output = with(&["validate"], &file, &[]).await;
    assert_eq!(output.stderr.matches("or set OTEL_EXPORTER_OTLP_ENDPOINT").count(), 2, "{}", output.stderr);
}

#[tokio::test]
async fn own_telemetry_is_sent_to_where_the_environment_says() {
    let sink = OtlpSink::start().await;
    let file = own_telemetry("", "{protocol: http/protobuf}");
    let (grpc, http) = (format!("http://{}", sink.grpc), format!("http://{}/v1/traces", sink.http));
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", grpc.as_str()), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &http)];
    let program = Program::start(&["run", "--config", file.path()], &variables);
    wait_until("own metrics to arrive", || !sink.points_of("otelcol_process_uptime").is_empty()).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), "{}", output.stderr);
}
