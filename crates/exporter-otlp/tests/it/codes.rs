//! What each answer of a server means, over both transports, for every signal: one table, held against a scripted server. The table is the README's and the
//! contract's.

use std::{fmt::Write as _, time::Duration};

use minicol_pdata::Batch;
use minicol_plugin::{Delivered, ExportError, Exporter, Retry, testing::Harness};
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse},
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse},
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    bench::{in_memory, logs, metrics, otlp, otlphttp, traces},
    sink::{Answer, Sink},
};

/// A code's number; what becomes of a batch; the same where the server sent `RetryInfo` of seven seconds.
const GRPC: [(i32, &str, &str, &str); 16] = [
    (1, "CANCELLED", "again", "again after 7s"),
    (2, "UNKNOWN", "lost", "lost"),
    (3, "INVALID_ARGUMENT", "lost", "lost"),
    (4, "DEADLINE_EXCEEDED", "again", "again after 7s"),
    (5, "NOT_FOUND", "lost", "lost"),
    (6, "ALREADY_EXISTS", "lost", "lost"),
    (7, "PERMISSION_DENIED", "lost", "lost"),
    (8, "RESOURCE_EXHAUSTED", "lost", "again after 7s"),
    (9, "FAILED_PRECONDITION", "lost", "lost"),
    (10, "ABORTED", "again", "again after 7s"),
    (11, "OUT_OF_RANGE", "again", "again after 7s"),
    (12, "UNIMPLEMENTED", "lost", "lost"),
    (13, "INTERNAL", "lost", "lost"),
    (14, "UNAVAILABLE", "again", "again after 7s"),
    (15, "DATA_LOSS", "again", "again after 7s"),
    (16, "UNAUTHENTICATED", "lost", "lost"),
];

/// A status; what becomes of a batch; the same where the server sent `Retry-After` of seven seconds, and of a date ninety seconds ahead.
const HTTP: [(u16, &str, &str, &str); 4] = [
    (429, "again", "again after 7s", "again after 90s"),
    (502, "again", "again", "again"),
    (503, "again", "again after 7s", "again after 90s"),
    (504, "again", "again", "again"),
];
/// Every other failure, a redirect too, whatever the server asks for.
const ELSE: (&str, &str, &str) = ("lost", "lost", "lost");

/// Ninety seconds after the harness' wall clock begins.
const DATE: &str = "Thu, 01 Jan 2026 00:01:30 GMT";

/// In the words of the table.
fn outcome(result: &Result<Delivered, ExportError>) -> String {
    match result {
        Ok(Delivered { rejected: 0, message: None, .. }) => "sent".to_owned(),
        Ok(Delivered { rejected: 0, message: Some(_), .. }) => "sent with a warning".to_owned(),
        Ok(Delivered { rejected, .. }) => format!("sent but {rejected}"),
        Err(error) => match error.retry {
            Retry::Never => "lost".to_owned(),
            Retry::Backoff => "again".to_owned(),
            Retry::After(asked) => format!("again after {}s", asked.as_secs_f64()),
        },
    }
}

/// A batch of one item each: what cannot be split.
fn single() -> [Batch; 3] {
    let Batch::Logs(logs) = logs() else { panic!("logs") };
    [metrics(1), logs.split_at(1).0.into(), traces()]
}

/// One attempt for each signal: all end in the same way, each with one request.
async fn attempt(exporter: &dyn Exporter, sink: &Sink, answer: impl Fn() -> Answer) -> (String, Option<ExportError>) {
    let mut told = Vec::new();
    for batch in single() {
        sink.answer(answer());
        let result = exporter.export(batch).await;
        assert_eq!(sink.take().len(), 1, "one attempt is one request");
        told.push((outcome(&result), result.err()));
    }
    assert!(told.iter().all(|one| one.0 == told[0].0), "{told:?}");
    told.remove(0)
}

fn retry_after(status: u16, value: &str) -> Answer {
    Answer::Http(status, vec![("retry-after", value.to_owned())], Vec::new())
}

#[tokio::test]
async fn every_grpc_code_means_what_the_table_says() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let exporter = otlp(&harness, "endpoint: 'http://localhost:4317'");
    for (number, name, alone, asked) in GRPC {
        let code = Code::from(number);
        let plain = || Answer::Status(Status::new(code, "a\u{1b}[31m\nreason"));
        let (told, error) = attempt(&*exporter, &sink, plain).await;
        let error = error.expect("a failure");
        assert_eq!((told.as_str(), error.error_type.as_str()), (alone, name));
        let head = format!("http://localhost:4317 answered {name}: a\\u{{1b}}[31m\\nreason");
        assert!(error.message.starts_with(&head), "{error}");
        let details = || ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
        let with_info = || Answer::Status(Status::with_error_details(code, "later", details()));
        assert_eq!(attempt(&*exporter, &sink, with_info).await.0, asked, "{name} with RetryInfo");
    }
    assert_eq!(sink.connections(), 1, "a refused batch does not cost the connection");
}

/// What has no gRPC status: a proxy before a server that is down. Some say that it is gRPC all the same.
#[tokio::test(start_paused = true)]
async fn every_http_status_without_one_of_grpc_means_what_the_table_says() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let exporter = otlp(&harness, "endpoint: 'http://localhost:4317'");
    for kind in [None, Some("application/grpc"), Some("application/grpc+proto")] {
        let head = |more: Option<(&'static str, String)>| {
            let kind = kind.map(|kind| ("content-type", kind.to_owned()));
            kind.into_iter().chain(more).collect::<Vec<_>>()
        };
        for status in (202..600).filter(|status| ![204, 205, 304].contains(status)) {
            let row = HTTP.iter().find(|row| row.0 == status);
            let (alone, seconds, date) = row.map_or(ELSE, |row| (row.1, row.2, row.3));
            // Most of them mean the same in every form: a few are enough.
            let some = row.is_some() || status % 50 == 0;
            if kind.is_some() && !some {
                continue;
            }
            let said = format!("http://localhost:4317 answered HTTP {status}");
            for body in [&b""[..], b"no healthy upstream"].into_iter().take(if some { 2 } else { 1 }) {
                let plain = || Answer::Http(status, head(None), body.to_vec());
                let (told, error) = attempt(&*exporter, &sink, plain).await;
                let error = error.unwrap();
                assert_eq!((told.as_str(), error.error_type), (alone, status.to_string()), "{kind:?}");
                assert!(error.message.starts_with(&said), "{}", error.message);
            }
            for (value, expected) in [("7", seconds), (DATE, date)].into_iter().take(if some { 2 } else { 0 }) {
                let later = || Answer::Http(status, head(Some(("retry-after", value.to_owned()))), Vec::new());
                assert_eq!(attempt(&*exporter, &sink, later).await.0, expected, "{kind:?} {status}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_http_status_means_what_the_table_says() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4318").await;
    for encoding in ["proto", "json"] {
        let exporter = otlphttp(&harness, &format!("{{endpoint: 'http://localhost:4318', encoding: {encoding}}}"));
        for status in (300..600).filter(|status| *status != 304) {
            let row = HTTP.iter().find(|row| row.0 == status);
            let (alone, seconds, date) = row.map_or(ELSE, |row| (row.1, row.2, row.3));
            let page = || Answer::Http(status, vec![("content-type", "text/html".to_owned())], b"<html>oh no".to_vec());
            let (told, error) = attempt(&*exporter, &sink, page).await;
            let error = error.expect("a failure");
            assert_eq!((told.as_str(), error.error_type), (alone, status.to_string()));
            let head = format!("http://localhost:4318/v1/metrics answered HTTP {status}");
            assert!(error.message.starts_with(&head) && !error.message.contains("oh no"), "{}", error.message);
            // Most of them mean the same with both forms: a few are enough.
            if row.is_some() || status % 50 == 0 {
                assert_eq!(attempt(&*exporter, &sink, || retry_after(status, "7")).await.0, seconds, "{status}");
                assert_eq!(attempt(&*exporter, &sink, || retry_after(status, DATE)).await.0, date, "{status}");
            }
        }
    }
    assert_eq!(sink.connections(), 2, "a refused batch does not cost the connection");
}

/// What a server says of a batch of which it refuses some: in Protobuf and in JSON.
fn partial(batch: &Batch, rejected: i64, why: &str) -> (Vec<u8>, String) {
    let error_message = why.to_owned();
    let (message, field) = match batch {
        Batch::Logs(_) => {
            let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records: rejected, error_message });
            (ExportLogsServiceResponse { partial_success }.encode_to_vec(), "rejectedLogRecords")
        }
        Batch::Traces(_) => {
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans: rejected, error_message });
            (ExportTraceServiceResponse { partial_success }.encode_to_vec(), "rejectedSpans")
        }
        _ => {
            let partial_success = Some(ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message });
            (ExportMetricsServiceResponse { partial_success }.encode_to_vec(), "rejectedDataPoints")
        }
    };
    (message, format!(r#"{{"partialSuccess":{{"{field}":"{rejected}","errorMessage":"{why}"}}}}"#))
}

fn all(harness: &Harness) -> [(&'static str, Box<dyn Exporter>); 3] {
    let yaml = |more: &str| format!("{{endpoint: 'http://localhost:4317'{more}}}");
    [
        ("grpc", otlp(harness, &yaml(""))),
        ("proto", otlphttp(harness, &yaml(""))),
        ("json", otlphttp(harness, &yaml(", encoding: json"))),
    ]
}

#[tokio::test]
async fn every_success_means_what_the_table_says() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    for (way, exporter) in all(&harness) {
        let answer = |protobuf: Vec<u8>, json: &str| match way {
            "json" => Answer::Http(200, vec![("content-type", "application/json".to_owned())], json.into()),
            _ => Answer::Message(protobuf),
        };
        for batch in [metrics(3), logs(), traces()] {
            // Taken whole; refused in part; taken with a word; a count that no server can mean; no OTLP at all.
            for (rejected, why, expected) in [
                (0, "", "sent"),
                (1, "too old", "sent but 1"),
                (1, "", "sent but 1"),
                (0, "use the other port", "sent with a warning"),
                (-1, "", "sent"),
            ] {
                let (protobuf, json) = partial(&batch, rejected, why);
                sink.answer(answer(protobuf, &json));
                let result = exporter.export(batch.clone()).await;
                assert_eq!(outcome(&result), expected, "{way} {} {rejected} {why}", batch.signal());
                let said = result.unwrap().message.unwrap_or_default();
                assert_eq!(said, why, "in the server's words");
            }
            for (protobuf, json) in [(b"<html>".to_vec(), "<html>"), (vec![0xff; 9], "[1,")] {
                sink.answer(answer(protobuf, json));
                let result = exporter.export(batch.clone()).await;
                assert_eq!(outcome(&result), "sent with a warning", "{way}: another attempt would deliver twice");
            }
            sink.answer(answer(Vec::new(), "{}"));
            assert_eq!(outcome(&exporter.export(batch).await), "sent", "{way}");
        }
        sink.take();
    }
}

/// The rows of the README that tell what is tried again are those of the table.
#[test]
fn the_table_of_the_readme_is_the_one_that_is_tested() {
    let mut grpc = String::new();
    for (_, name, alone, asked) in GRPC {
        match (alone, asked) {
            ("again", _) => write!(grpc, "`{name}`, ").unwrap(),
            ("lost", "lost") => {}
            _ => assert_eq!(name, "RESOURCE_EXHAUSTED"),
        }
    }
    let http: Vec<String> = HTTP.iter().map(|row| row.0.to_string()).collect();
    let row = format!(
        "| tried again | {}; `RESOURCE_EXHAUSTED` with `RetryInfo` | {} |",
        grpc.trim_end_matches(", "),
        http.join(", ")
    );
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&row), "{row}");
    let with_header: Vec<u16> = HTTP.iter().filter(|row| row.2 != row.1).map(|row| row.0).collect();
    assert_eq!(with_header, [429, 503]);
    assert!(readme.contains("`Retry-After` (seconds or a date) with 429 and 503"));
}
