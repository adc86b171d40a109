//! `otlp`: OTLP over gRPC.

use std::{io, sync::Arc, time::Duration};

use minicol_plugin::{
    Delivered, Retry, async_trait,
    net::{BoxIo, Listener, Network},
};
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse},
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse},
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Status;

use crate::{
    bench::{encoded, in_memory, logs, metrics, otlp, over_sockets, told, traces},
    sink::{Answer, Sink, Speaks},
};

#[tokio::test]
async fn each_signal_arrives_byte_for_byte_at_its_service() {
    for (harness, address) in [(in_memory(), "localhost:4317"), (over_sockets(), "127.0.0.1:0")] {
        let sink = Sink::start(&harness.network, address).await;
        let yaml = format!("{{endpoint: 'http://{}', headers: {{X-Key: hunter2, id-bin: abc}}}}", sink.address);
        let exporter = otlp(&harness, &yaml);
        for (batch, path) in [
            (metrics(3), "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"),
            (logs(), "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
            (traces(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        ] {
            assert_eq!(exporter.export(batch.clone()).await.unwrap(), Delivered::default());
            let received = sink.take();
            assert_eq!(received.len(), 1);
            assert_eq!((received[0].path.as_str(), &received[0].message), (path, &encoded(&batch)));
            assert!(received[0].gzip && received[0].headers["grpc-encoding"] == "gzip");
            assert_eq!(received[0].headers["x-key"], "hunter2");
            assert_eq!(received[0].headers["id-bin"], "YWJj");
            assert!(received[0].headers["user-agent"].to_str().unwrap().starts_with("minicol/"));
        }
        assert_eq!(sink.connections(), 1, "one connection serves them all");
    }
}

#[tokio::test]
async fn a_large_batch_arrives_whole_and_uncompressed_where_so_configured() {
    let harness = over_sockets();
    let sink = Sink::start(&harness.network, "127.0.0.1:0").await;
    let exporter =
        otlp(&harness, &format!("{{endpoint: '{}', tls: {{insecure: true}}, compression: none}}", sink.address));
    let batch = metrics(200_000);
    assert!(encoded(&batch).len() > 5 << 20, "larger than gRPC's usual limit");
    exporter.export(batch.clone()).await.unwrap();
    let received = sink.take();
    assert!(!received[0].gzip && !received[0].headers.contains_key("grpc-encoding"));
    assert_eq!(received[0].message, encoded(&batch));
}

#[tokio::test]
async fn a_refusal_is_told_with_its_cure() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let exporter = otlp(&harness, "endpoint: 'http://localhost:4317'");
    sink.answer(Answer::Status(Status::unauthenticated("who are you?")));
    let error = exporter.export(metrics(1)).await.unwrap_err();
    assert_eq!(
        told(&error),
        "Never UNAUTHENTICATED: http://localhost:4317 answered UNAUTHENTICATED: who are you?; check the exporter's headers: does the \
         server want a token?"
    );
}

#[tokio::test]
async fn a_partial_success_is_told_for_each_signal() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let exporter = otlp(&harness, "endpoint: 'http://localhost:4317'");
    let why = || "too\nold".to_owned();
    let metrics_answer = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess { rejected_data_points: 2, error_message: why() }),
    };
    let logs_answer = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess { rejected_log_records: 1, error_message: why() }),
    };
    let traces_answer = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: why() }),
    };
    for (batch, answer, rejected) in [
        (metrics(3), metrics_answer.encode_to_vec(), 2),
        (logs(), logs_answer.encode_to_vec(), 1),
        (traces(), traces_answer.encode_to_vec(), 1),
    ] {
        sink.answer(Answer::Message(answer));
        let delivered = exporter.export(batch).await.unwrap();
        assert_eq!(delivered, Delivered { rejected, message: Some("too\\nold".to_owned()), rest: Vec::new() });
    }
    // Compressed, as a Go server answers.
    sink.answer(Answer::Gzip(metrics_answer.encode_to_vec()));
    assert_eq!(exporter.export(metrics(3)).await.unwrap().rejected, 2);
    let strange = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess { rejected_data_points: -1, error_message: String::new() }),
    };
    sink.answer(Answer::Message(strange.encode_to_vec()));
    assert_eq!(exporter.export(metrics(1)).await.unwrap(), Delivered::default());
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_no_reason_to_deliver_twice() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let exporter = otlp(&harness, "endpoint: 'http://localhost:4317'");
    // No protobuf in the message; no message at all; a gigabyte announced; more than is read, plain and compressed.
    let long = vec![0; 1 << 20];
    for answer in [
        Answer::Message(b"<html>".to_vec()),
        Answer::Raw(Vec::new(), true),
        Answer::Raw(vec![0, 0x40, 0, 0, 0, 1], true),
        Answer::Message(long.clone()),
        Answer::Gzip(long),
    ] {
        sink.answer(answer);
        let delivered = exporter.export(metrics(1)).await.unwrap();
        let message = delivered.message.unwrap();
        assert!(delivered.rejected == 0 && message.starts_with("the server took the batch, but"), "{message}");
    }
    // Longer than what is passed over to reach the status.
    sink.answer(Answer::Message(vec![0; 5 << 20]));
    let error = exporter.export(metrics(1)).await.unwrap_err();
    assert!(told(&error).starts_with("Never protocol: the answer of http://localhost:4317 cannot be read"), "{error}");
    // An end without a status.
    sink.answer(Answer::Raw(vec![0, 0, 0, 0, 0], false));
    let error = exporter.export(metrics(1)).await.unwrap_err();
    assert!(
        told(&error).starts_with("Backoff connection_lost: the answer of http://localhost:4317 broke off"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_down_is_told_and_found_again() {
    let harness = over_sockets();
    let sink = Sink::start(&harness.network, "127.0.0.1:0").await;
    let address = sink.address.clone();
    let exporter = otlp(&harness, &format!("endpoint: 'http://{address}'"));
    exporter.export(metrics(1)).await.unwrap();
    drop(sink);
    // The first may meet the connection, or the socket, as it breaks.
    let error = loop {
        match exporter.export(metrics(1)).await {
            Err(error) if error.message.contains("refused") => break error,
            Err(error) => assert_eq!(error.retry, Retry::Backoff),
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(
        told(&error),
        format!(
            "Backoff connect: cannot deliver to http://{address}: connection refused: is a collector listening there?"
        )
    );
    let sink = Sink::start(&harness.network, &address).await;
    exporter.export(metrics(1)).await.unwrap();
    assert_eq!(sink.take().len(), 1);
    exporter.shutdown().await.unwrap();
}

/// A machine whose resolver knows no name, or whose network is not there.
struct Nowhere(io::Error);

#[async_trait]
impl Network for Nowhere {
    async fn connect(&self, _: &str, _: u16) -> io::Result<BoxIo> {
        Err(match self.0.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other(self.0.to_string()),
        })
    }

    async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_and_a_network_that_is_not_there_are_told() {
    // As the standard library words it.
    let lookup = io::Error::other("failed to lookup address information: Name or service not known");
    let no_route = io::Error::from_raw_os_error(113);
    for (error, said) in [
        (
            lookup,
            "the name otel.example does not resolve: failed to lookup address information: Name or service not known",
        ),
        (no_route, "No route to host (os error 113)"),
    ] {
        let mut harness = in_memory();
        harness.network = Arc::new(Nowhere(error));
        let error = otlp(&harness, "endpoint: 'http://otel.example:4317'").export(metrics(1)).await.unwrap_err();
        assert_eq!(told(&error), format!("Backoff connect: cannot deliver to http://otel.example:4317: {said}"));
    }
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_told_with_the_cure() {
    for harness in [in_memory(), over_sockets()] {
        // It closes the connection, or answers in its own protocol first.
        let sink = Sink::with(&harness.network, "127.0.0.1:0", Speaks::Http1, None).await;
        let said = told(
            &otlp(&harness, &format!("endpoint: 'http://{}'", sink.address)).export(metrics(1)).await.unwrap_err(),
        );
        assert!(said.starts_with("Backoff connection_lost: cannot deliver to http://127.0.0.1:"), "{said}");
        assert!(
            said.contains("closed the connection without a word: ") && said.contains("use the exporter `otlphttp`"),
            "{said}"
        );
        let mut listener = harness.network.listen("127.0.0.1:0").await.unwrap();
        let exporter = otlp(&harness, &format!("endpoint: 'http://{}'", listener.local_address()));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            // Until the client has had enough.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let said = told(&exporter.export(metrics(1)).await.unwrap_err());
        assert!(said.starts_with("Backoff protocol: cannot deliver to http://127.0.0.1:"), "{said}");
        assert!(said.ends_with("use the exporter `otlphttp`"), "{said}");
    }
    // A proxy or a web server that speaks HTTP/2, but no gRPC.
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let exporter = otlp(&harness, "endpoint: 'http://localhost:4317'");
    for (status, retry) in [
        (200, Retry::Never),
        (404, Retry::Never),
        (429, Retry::Backoff),
        (500, Retry::Never),
        (502, Retry::Backoff),
        (503, Retry::Backoff),
        (504, Retry::Backoff),
    ] {
        sink.answer(Answer::Http(status, vec![("content-type", "text/html".to_owned())], b"<html>".to_vec()));
        let error = exporter.export(metrics(1)).await.unwrap_err();
        assert_eq!((error.retry, error.error_type.as_str()), (retry, status.to_string().as_str()), "{error}");
        assert!(error.message.contains("no gRPC"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_answer_is_worth_another_attempt() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let exporter = otlp(&harness, "endpoint: 'http://localhost:4317'");
    sink.answer(Answer::Break);
    let error = exporter.export(metrics(1)).await.unwrap_err();
    assert!(told(&error).starts_with("Backoff connection_lost: cannot deliver to http://localhost:4317"), "{error}");
    exporter.export(metrics(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_went_silent_is_left_behind() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let exporter = otlp(&harness, "endpoint: 'http://localhost:4317'");
    sink.answer(Answer::Silence);
    let silent = tokio::time::timeout(Duration::from_secs(5), exporter.export(metrics(1))).await;
    assert!(silent.is_err(), "the host's timeout ends it");
    exporter.export(metrics(1)).await.unwrap();
    assert_eq!(sink.connections(), 2);
    exporter.export(metrics(1)).await.unwrap();
    assert_eq!(sink.connections(), 2, "the new connection is kept");
}

#[tokio::test]
async fn batches_go_out_side_by_side_on_one_connection() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let exporter = otlp(&harness, "endpoint: 'http://localhost:4317'");
    let all = futures::future::join_all((0..20).map(|points| exporter.export(metrics(points + 1)))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!((sink.take().len(), sink.connections()), (20, 1));
}

#[tokio::test]
async fn observations_are_refused_with_the_cure() {
    let exporter = otlp(&in_memory(), "endpoint: 'http://localhost:4317'");
    let error = exporter.export(minicol_pdata::Observations::default().into()).await.unwrap_err();
    assert!(error.retry == Retry::Never && error.message.contains("put `mapping` before"), "{error}");
}
