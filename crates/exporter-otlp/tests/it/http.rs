//! `otlphttp`: OTLP over HTTP.

use std::time::Duration;

use minicol_plugin::{Delivered, Retry};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use prost::Message;
use tonic_types::pb;

use crate::{
    bench::{encoded, in_memory, logs, metrics, otlphttp, over_sockets, told, traces},
    sink::{Answer, Sink, Speaks},
};

fn html(status: u16) -> Answer {
    Answer::Http(status, vec![("content-type", "text/html; charset=utf-8".to_owned())], b"<html>oh no</html>".to_vec())
}

#[tokio::test]
async fn each_signal_arrives_byte_for_byte_under_its_path() {
    for (harness, address) in [(in_memory(), "localhost:4318"), (over_sockets(), "127.0.0.1:0")] {
        let sink = Sink::start(&harness.network, address).await;
        let yaml = format!(
            "{{endpoint: 'http://{0}/base/', traces_endpoint: 'http://{0}/elsewhere?x=1', headers: {{Authorization: Bearer x}}}}",
            sink.address
        );
        let exporter = otlphttp(&harness, &yaml);
        for (batch, path) in [(metrics(3), "/base/v1/metrics"), (logs(), "/base/v1/logs"), (traces(), "/elsewhere")] {
            assert_eq!(exporter.export(batch.clone()).await.unwrap(), Delivered::default());
            let received = sink.take();
            assert_eq!(received.len(), 1);
            assert_eq!((received[0].path.as_str(), &received[0].message), (path, &encoded(&batch)));
            assert!(received[0].gzip);
            assert_eq!(received[0].headers["content-type"], "application/x-protobuf");
            assert_eq!(received[0].headers["authorization"], "Bearer x");
            assert!(received[0].headers["user-agent"].to_str().unwrap().starts_with("minicol/"));
        }
        assert_eq!(sink.connections(), 1, "the connection is kept");
    }
}

#[tokio::test]
async fn a_large_batch_arrives_whole_and_uncompressed_where_so_configured() {
    let harness = over_sockets();
    let sink = Sink::start(&harness.network, "127.0.0.1:0").await;
    let exporter = otlphttp(&harness, &format!("{{endpoint: 'http://{}', compression: none}}", sink.address));
    let batch = metrics(200_000);
    exporter.export(batch.clone()).await.unwrap();
    let received = sink.take();
    assert!(!received[0].gzip && received[0].message == encoded(&batch));
}

/// What a server says beyond 64 KiB is not read: what its status says holds.
#[tokio::test]
async fn an_answer_beyond_its_bound_is_cut_and_taken_for_what_its_status_says() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4318").await;
    let exporter = otlphttp(&harness, "endpoint: 'http://localhost:4318'");
    for (status, retry) in [(200, None), (503, Some(Retry::Backoff)), (400, Some(Retry::Never))] {
        let kind = vec![("content-type", "application/x-protobuf".to_owned())];
        sink.answer(Answer::Http(status, kind, vec![0xff; 4 << 20]));
        let result = exporter.export(metrics(1)).await;
        assert_eq!(result.as_ref().err().map(|error| error.retry), retry, "{status}: {result:?}");
        assert!(result.map_or(0, |delivered| delivered.rejected) == 0);
        assert_eq!(sink.take().len(), 1);
    }
}

#[tokio::test]
async fn what_the_server_says_is_shown_escaped_and_shortened() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4318").await;
    let exporter = otlphttp(&harness, "endpoint: 'http://localhost:4318'");
    let status = pb::Status { code: 3, message: "bad\u{1b}[31m point".to_owned(), details: Vec::new() };
    for (kind, body, said) in [
        ("application/x-protobuf", status.encode_to_vec(), ": bad\\u{1b}[31m point"),
        ("application/json; charset=utf-8", br#"{"code":3,"message":"bad json"}"#.to_vec(), ": bad json"),
        ("text/plain", b"404 page\nnot found\n".to_vec(), ": 404 page\\nnot found"),
        ("text/plain", vec![b'x'; 1 << 20], "x…"),
        ("application/x-protobuf", b"\xff\xff".to_vec(), "Bad Request"),
    ] {
        sink.answer(Answer::Http(400, vec![("content-type", kind.to_owned())], body));
        let error = exporter.export(metrics(1)).await.unwrap_err();
        assert!(error.message.ends_with(said) && error.message.len() < 1_000, "{kind}: {error}");
    }
    sink.answer(html(401));
    let error = exporter.export(metrics(1)).await.unwrap_err();
    assert_eq!(
        told(&error),
        "Never 401: http://localhost:4318/v1/metrics answered HTTP 401 Unauthorized; check the exporter's headers: does the server want a \
         token?"
    );
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4318").await;
    let exporter = otlphttp(&harness, "endpoint: 'http://localhost:4318'");
    for status in [301, 302, 307, 308] {
        sink.answer(Answer::Http(status, vec![("location", "http://localhost:4318/v2".to_owned())], Vec::new()));
        let error = exporter.export(metrics(1)).await.unwrap_err();
        assert!(
            error.retry == Retry::Never && error.message.contains("(http://localhost:4318/v2) as endpoint"),
            "{error}"
        );
        assert_eq!(sink.take().len(), 1);
    }
}

#[tokio::test]
async fn a_success_is_a_success_whatever_the_body() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4318").await;
    let exporter = otlphttp(&harness, "endpoint: 'http://localhost:4318'");
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess { rejected_data_points: 2, error_message: "old".to_owned() }),
    };
    sink.answer(Answer::Message(partial.encode_to_vec()));
    let delivered = exporter.export(metrics(3)).await.unwrap();
    assert_eq!(delivered, Delivered { rejected: 2, message: Some("old".to_owned()), rest: Vec::new() });
    for nothing in [Answer::Http(200, Vec::new(), Vec::new()), Answer::Http(204, Vec::new(), Vec::new())] {
        sink.answer(nothing);
        assert_eq!(exporter.export(metrics(1)).await.unwrap(), Delivered::default());
    }
    for strange in
        [html(200), Answer::Http(202, Vec::new(), vec![0xff; 10]), Answer::Message(vec![0; 1 << 20]), Answer::Break]
    {
        sink.answer(strange);
        let delivered = exporter.export(metrics(1)).await.unwrap();
        let message = delivered.message.unwrap();
        assert!(delivered.rejected == 0 && message.starts_with("the server took the batch, but"), "{message}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_or_speaks_something_else_is_told_with_the_cure() {
    let harness = over_sockets();
    let sink = Sink::with(&harness.network, "127.0.0.1:0", Speaks::Http2, None).await;
    let address = sink.address.clone();
    let exporter = otlphttp(&harness, &format!("endpoint: 'http://{address}'"));
    let error = exporter.export(metrics(1)).await.unwrap_err();
    assert!(
        told(&error).starts_with(&format!("Backoff protocol: cannot deliver to http://{address}/v1/metrics")),
        "{error}"
    );
    assert!(error.message.contains("HTTP/2 only, as gRPC does: use the exporter `otlp`"), "{error}");
    drop(sink);
    let error = loop {
        match exporter.export(metrics(1)).await {
            // The socket may be torn down while it is connected to.
            Err(error) if error.message.contains("refused") => break error,
            _ => tokio::task::yield_now().await,
        }
    };
    assert!(error.message.ends_with("connection refused: is a collector listening there?"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_went_silent_is_left_behind() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4318").await;
    let exporter = otlphttp(&harness, "endpoint: 'http://localhost:4318'");
    sink.answer(Answer::Silence);
    assert!(tokio::time::timeout(Duration::from_secs(5), exporter.export(metrics(1))).await.is_err());
    exporter.export(metrics(1)).await.unwrap();
    assert_eq!(sink.connections(), 2);
}

#[tokio::test]
async fn a_signal_without_an_endpoint_is_refused_with_the_cure() {
    let exporter = otlphttp(&in_memory(), "metrics_endpoint: 'http://localhost:4318/v1/metrics'");
    let error = exporter.export(logs()).await.unwrap_err();
    assert_eq!(told(&error), "Never endpoint: there is no endpoint for logs: set endpoint, or one for logs");
}

#[tokio::test]
async fn a_key_in_a_query_reaches_no_message() {
    let exporter = otlphttp(&in_memory(), "metrics_endpoint: 'http://localhost:9/in?api_key=hunter2'");
    let error = exporter.export(metrics(1)).await.unwrap_err();
    assert!(error.message.starts_with("cannot deliver to http://localhost:9/in: "), "{error}");
}
