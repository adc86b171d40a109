//! What the targets begin with, out of what was recorded and what is shipped.

use std::{fs, io::Write, path::Path};

use minicol_extension_file_storage::testing::write_record;
use minicol_pdata::Metrics;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use serde_json::Value;

/// The files below a folder of the workspace whose name ends so.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|file| file.expect("a file").path())
        .filter(|path| path.to_str().is_some_and(|name| name.ends_with(ending)))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("a file")).collect()
}

fn prefixed(first: u8, rest: impl AsRef<[u8]>) -> Vec<u8> {
    [&[first], rest.as_ref()].concat()
}

const RECORDED: &str = "tests/fixtures/session-buddy-0.23.0";

/// Head and body of every recorded reply.
fn recorded() -> Vec<(String, String)> {
    let texts = files(RECORDED, ".http").into_iter().map(|bytes| String::from_utf8(bytes).expect("text"));
    texts
        .map(|text| text.split_once("\r\n\r\n").map(|(head, body)| (head.to_owned(), body.to_owned())).expect("a head"))
        .collect()
}

/// The messages of every recorded reply.
fn messages() -> Vec<Value> {
    let data = |body: &str| body.lines().filter_map(|line| line.strip_prefix("data: ")).collect::<String>();
    recorded().iter().map(|(_, body)| serde_json::from_str(&data(body)).expect("JSON")).collect()
}

pub(crate) fn http_replies() -> Vec<Vec<u8>> {
    let whole = |(head, body): (String, String)| format!("{head}\r\n\r\n{body}");
    let mut all: Vec<_> = recorded().into_iter().map(whole).collect();
    for more in [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n7\r\ndata: {\r\n3\r\n}\n\n\r\n0\r\n\r\n",
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: /mcp\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer resource_metadata=\"http://buddy:8678/x\", scope=\"a b\"\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 61\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32600,\"message\":\"x\"}}",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\u{1f}xx",
    ] {
        all.push(more.to_owned());
    }
    (0..).zip(all).map(|(place, text)| prefixed(place, text)).collect()
}

pub(crate) fn event_streams() -> Vec<Vec<u8>> {
    let with_id = |message: &Value| {
        let mut message = message.clone();
        message["id"] = Value::Null;
        message.to_string().replace("\"id\":null", "\"id\":ID")
    };
    let mut all: Vec<_> =
        messages().iter().map(|message| format!("event: message\r\ndata: {}\r\n\r\n", with_id(message))).collect();
    all.push(
        ": comment\n\nid: 7\nretry: 10\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"id\":ID,\"result\":{}}\n\n".to_owned(),
    );
    all.push("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n\n".to_owned());
    (0..).zip(all).map(|(place, text)| prefixed(place, text)).collect()
}

pub(crate) fn json_rpc() -> Vec<Vec<u8>> {
    event_streams()
        .into_iter()
        .filter_map(|stream| {
            let text = String::from_utf8(stream[1..].to_vec()).ok()?;
            let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect::<String>();
            Some(prefixed(stream[0], data))
        })
        .chain([prefixed(
            0,
            "[{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{\"code\":-32601,\"message\":\"no\",\"data\":[1]}}]",
        )])
        .collect()
}

pub(crate) fn tool_results() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = messages().iter().map(|message| message["result"].to_string()).collect();
    all.push("{\"content\":[{\"type\":\"text\",\"text\":\"{\\\"success\\\":false,\\\"error\\\":\\\"x\\\"}\"},{\"type\":\"image\",\"data\":\"\"}],\"isError\":true}".to_owned());
    all.into_iter().map(String::into_bytes).collect()
}

pub(crate) fn documents() -> Vec<Vec<u8>> {
    let structured = messages().into_iter().map(|message| message["result"]["structuredContent"].clone());
    let plain = structured.map(|document| match document.get("result") {
        Some(inner) => inner.to_string().into_bytes(),
        None => document.to_string().into_bytes(),
    });
    let made: [&[u8]; 3] = [
        br#"{"value": 3, "uptime": 60, "started": 1795391000, "list": [{"id": "a", "value": 2.5, "ended": "2026-11-18T23:03:48"}], "map": {"a": 1, "b": 2}, "project": "p"}"#,
        br#"{"value": -1.5e10, "list": [{"id": 1, "value": "12 sessions"}, {"id": 1}], "map": {"": null}}"#,
        br#"{"up": 1, "tools": {"get_a": {"outcome": "answered"}}, "duration_seconds": 0.5}"#,
    ];
    plain
        .chain(made.map(<[u8]>::to_vec))
        .chain(
            prometheus()
                .into_iter()
                .map(|page| Value::String(String::from_utf8_lossy(&page).into_owned()).to_string().into_bytes()),
        )
        .collect()
}

pub(crate) fn prometheus() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = messages()
        .iter()
        .filter_map(|message| message.pointer("/result/content/0/text")?.as_str())
        .filter(|text| text.contains("# TYPE"))
        .map(|text| text.as_bytes().to_vec())
        .collect();
    all.extend([
        b"# HELP requests_total a\n# TYPE requests_total counter\nrequests_total{code=\"200\",p=\"a\\\"b\\\\\\n\"} 3 1700000000000\nrequests_total{code=\"500\"} NaN\n".to_vec(),
        b"process_start_time_seconds 1.7e9\nrequests_total 1\nrequests_total 2\n".to_vec(),
        b"# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.3\nh_count 2\n# EOF\n".to_vec(),
    ]);
    all
}

pub(crate) fn rules() -> Vec<Vec<u8>> {
    let texts = [
        "$.value",
        "$.value > 0 && $.list[0].id == 'a'",
        "(\\d+) sessions",
        "$.list[?@.value > 1].id",
        "$.list[*]",
        "$.id",
        "$.started",
        "requests_total{code!=\"500\", p=~\"a\"}",
        "$..value",
        "length($.list) >= 2 || !$.a",
        "(?i)(?P<n>[0-9]{1,3}) s",
        "$~",
        "$.map.*",
        "$['a']['b'][0:2]",
        "$.list[?search(@.id, 'a+')]",
        "{code=\"200\"}",
    ];
    (0..).zip(texts).map(|(kind, text)| prefixed(kind, text)).collect()
}

pub(crate) fn pipelines() -> Vec<Vec<u8>> {
    let mut all = files("pipelines", ".yaml");
    all.extend(files("tests/fixtures/wrong", ".yaml"));
    all.extend([
        b"a: &a [1, 2]\nb: &b [*a, *a]\nc: {<<: {x: *b}, y: *b}\n".to_vec(),
        b"receivers: {session_buddy: {headers: {Authorization: '${env:A}'}, tools: {get_x: {timeout_seconds: 5}}}}\n"
            .to_vec(),
        b"x: |\n  text\n  more\ny: >-\n  folded\nz: \"\\u00e9\\t\"\n".to_vec(),
    ]);
    all
}

pub(crate) fn references() -> Vec<Vec<u8>> {
    [
        "${env:A}\n1",
        "x${A}y$$z\n[1, {a: b}]",
        "${env:NOT_SET:-d}${env:B}\n{\"a\": \"\\ud83d\\ude00\"}",
        "$a $.b ${\n- x",
        "${env:A:-${env:B}}\n\tx: 1",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn metrics_json() -> Vec<Vec<u8>> {
    [
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},"scopeMetrics":[{"scope":{"name":"s"},"metrics":[{"name":"g","unit":"1","gauge":{"dataPoints":[{"timeUnixNano":"1795392000000000000","asDouble":1.5,"attributes":[{"key":"k","value":{"arrayValue":{"values":[{"intValue":"3"},{"boolValue":true}]}}}]}]}},{"name":"c","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"startTimeUnixNano":"1","timeUnixNano":"2","asInt":"7"}]}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"h","histogram":{"aggregationTemporality":1,"dataPoints":[{"count":"3","sum":4.5,"bucketCounts":["1","2"],"explicitBounds":[1.0],"exemplars":[{"asDouble":"NaN"}]}]}},{"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"count":"2","scale":3,"zeroCount":"1","positive":{"offset":-4,"bucketCounts":["1"]}}]}},{"name":"s","summary":{"dataPoints":[{"count":"1","sum":1,"quantileValues":[{"quantile":0.5,"value":1}]}]}}]}]}]}"#,
        "{}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn logs() -> ExportLogsServiceRequest {
    let text = |text: &str| AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) };
    let attribute = KeyValue { key: "k".to_owned(), value: Some(text("v")), ..KeyValue::default() };
    let record = LogRecord {
        time_unix_nano: 1,
        severity_text: "WARN".to_owned(),
        body: Some(text("said")),
        attributes: vec![attribute],
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: vec![record; 3], ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

fn traces() -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "call".to_owned(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: vec![span; 3], ..ScopeSpans::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }],
    }
}

pub(crate) fn otlp_proto() -> Vec<Vec<u8>> {
    let metrics =
        metrics_json().into_iter().map(|text| prefixed(0, Metrics::from_json(&text).expect("metrics").encode()));
    metrics.chain([prefixed(1, logs().encode_to_vec()), prefixed(2, traces().encode_to_vec())]).collect()
}

pub(crate) fn otlp_json() -> Vec<Vec<u8>> {
    let json = |value: serde_json::Result<Vec<u8>>| value.expect("JSON");
    let metrics = metrics_json().into_iter().map(|text| prefixed(0, text));
    metrics
        .chain([prefixed(1, json(serde_json::to_vec(&logs()))), prefixed(2, json(serde_json::to_vec(&traces())))])
        .collect()
}

pub(crate) fn otlp_requests() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let message = logs().encode_to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&message).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(&message[..], 0).expect("memory");
    for (packing, body) in [(0, &message), (1, &gzip), (2, &zstd)] {
        // Over HTTP in Protobuf, then over gRPC in a frame.
        all.push(prefixed(packing << 2 | 1 << 4, body));
        let mut framed = vec![u8::from(packing > 0)];
        framed.extend(u32::try_from(body.len()).expect("short").to_be_bytes());
        framed.extend(body);
        all.push(prefixed(1 | packing << 2 | 1 << 4, framed));
    }
    for (signal, text) in otlp_json().into_iter().map(|text| (text[0], text[1..].to_vec())) {
        all.push(prefixed(2 | signal << 4, text));
    }
    all
}

/// A place, then the record that lies there.
pub(crate) fn queue_records() -> Vec<Vec<u8>> {
    let mut payloads = otlp_proto();
    payloads.extend([Vec::new(), vec![0; 5_000]]);
    let record = |(id, payload): (u8, Vec<u8>)| {
        let queue = ["otlp/metrics", "otlp/logs"][usize::from(id % 2)];
        let record = write_record(queue, u64::from(id), u64::from(id) * 7, &payload);
        [&[id % 2, id, 3, 40, 0, 2, 21, 0, 0, 0], &record[..]].concat()
    };
    (0..).zip(payloads).map(record).collect()
}

/// What is done to a store, as bytes.
pub(crate) fn queue_histories() -> Vec<Vec<u8>> {
    let (push, remove, replace, quarantine, look, compact, again, kill, flip) = (0, 6, 9, 10, 11, 12, 13, 14, 15);
    let some = [push, 0, 2, 9, 3, push, 1, 3, 250, 100, push, 0, 7, 200, 1, push, 0, 0, 5, 2];
    let with = |rest: &[u8]| [&some[..], rest].concat();
    vec![
        some.to_vec(),
        with(&[remove, 0, look, again, look, remove, 1, kill, look]),
        with(&[replace, 1, 3, 90, 8, quarantine, 0, look, kill, push, 0, 3, 255, 9]),
        with(&[compact, remove, 0, remove, 0, remove, 0, remove, 0, compact, again, push, 1, 2, 3, 4]),
        with(&[flip, 0, 7, 80, 0, 255, look, push, 0, 1, 2, 3, look]),
        with(&[flip, 3, 0, 0, 0, 1, 9, 16, 1, 2, 200, 33, 4, 8, 60, 64, 5, 16, again, push, 0, 2, 7, 1]),
        some.repeat(12),
    ]
}
