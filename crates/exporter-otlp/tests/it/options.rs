//! Encodings, compressions, headers from files, keepalive.

use std::time::Duration;

use minicol_pdata::{Batch, Logs, Metrics, Traces};
use minicol_plugin::{Delivered, Retry};

use crate::{
    bench::{encoded, in_memory, logs, metrics, otlp, otlphttp, told, traces},
    sink::{Answer, Sink},
};

#[tokio::test]
async fn zstd_arrives_byte_for_byte() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let yaml = "{endpoint: 'http://localhost:4317', compression: zstd}";
    for exporter in [otlp(&harness, yaml), otlphttp(&harness, yaml)] {
        exporter.export(metrics(500)).await.unwrap();
        let received = sink.take();
        assert!(received[0].zstd && !received[0].gzip);
        assert_eq!(received[0].message, encoded(&metrics(500)));
    }
}

#[tokio::test]
async fn json_says_the_same_and_its_answers_are_read() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4318").await;
    for compression in ["none", "gzip", "zstd"] {
        let yaml = format!("{{endpoint: 'http://localhost:4318', encoding: json, compression: {compression}}}");
        let exporter = otlphttp(&harness, &yaml);
        for batch in [metrics(3), logs(), traces()] {
            sink.answer(Answer::Http(200, vec![("content-type", "application/json".to_owned())], b"{}".to_vec()));
            assert_eq!(exporter.export(batch.clone()).await.unwrap(), Delivered::default());
            let received = sink.take().remove(0);
            assert_eq!(received.headers["content-type"], "application/json");
            let arrived: Batch = match &batch {
                Batch::Logs(_) => Logs::from_json(&received.message).unwrap().into(),
                Batch::Traces(_) => Traces::from_json(&received.message).unwrap().into(),
                _ => Metrics::from_json(&received.message).unwrap().into(),
            };
            assert_eq!(encoded(&arrived), encoded(&batch));
        }
        for (body, rejected, message) in [
            (r#"{"partialSuccess":{"rejectedDataPoints":"2","errorMessage":"too\nold"}}"#, 2, Some("too\\nold")),
            (r#"{"partialSuccess":{"rejectedDataPoints":2}}"#, 2, None),
            (r#"{"partialSuccess":{}}"#, 0, None),
        ] {
            sink.answer(Answer::Http(200, vec![("content-type", "application/json".to_owned())], body.into()));
            let delivered = exporter.export(metrics(3)).await.unwrap();
            assert_eq!((delivered.rejected, delivered.message.as_deref()), (rejected, message), "{body}");
        }
        sink.answer(Answer::Http(200, vec![("content-type", "application/json".to_owned())], b"<html>".to_vec()));
        let delivered = exporter.export(metrics(3)).await.unwrap();
        assert!(delivered.rejected == 0 && delivered.message.unwrap().starts_with("the server took the batch"));
    }
}

#[tokio::test]
async fn a_header_from_a_file_is_read_again_for_each_request() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let yaml = format!(
        "{{endpoint: 'http://localhost:4317', headers: {{x-tenant: fixed}}, header_files: {{Authorization: '{}'}}}}",
        path.display()
    );
    for exporter in [otlp(&harness, &yaml), otlphttp(&harness, &yaml)] {
        for token in ["Bearer first", "Bearer second"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            exporter.export(metrics(1)).await.unwrap();
            let received = sink.take();
            assert_eq!(received[0].headers["authorization"], token);
            assert_eq!(received[0].headers["x-tenant"], "fixed");
        }
        std::fs::write(&path, "two\nlines").unwrap();
        let error = exporter.export(metrics(1)).await.unwrap_err();
        assert!(
            told(&error).starts_with("Backoff header_file: the header `authorization` cannot be read from"),
            "{error}"
        );
        assert!(!told(&error).contains("lines"), "a secret is not told: {error}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(exporter.export(metrics(1)).await.unwrap_err().retry, Retry::Backoff);
        assert!(sink.take().is_empty());
    }
}

#[tokio::test]
async fn one_signal_can_go_elsewhere_in_another_way() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let elsewhere = Sink::start(&harness.network, "elsewhere:4317").await;
    let common = "headers: {x-tenant: all, x-team: a}, compression: none";
    let logs_alone = "headers: {x-tenant: logs}, compression: zstd";
    let grpc = format!(
        "{{endpoint: 'localhost:4317', tls: {{insecure: true}}, {common}, \
         logs: {{endpoint: 'elsewhere:4317', {logs_alone}}}, traces: {{tls: {{insecure: false}}}}}}"
    );
    let http = format!(
        "{{endpoint: 'http://localhost:4317', logs_endpoint: 'http://elsewhere:4317/in', {common}, \
         logs: {{{logs_alone}, encoding: json}}}}"
    );
    for (exporter, logs_type) in
        [(otlp(&harness, &grpc), "application/grpc"), (otlphttp(&harness, &http), "application/json")]
    {
        exporter.export(metrics(3)).await.unwrap();
        exporter.export(logs()).await.unwrap();
        let (all, own) = (sink.take().remove(0), elsewhere.take().remove(0));
        assert_eq!(
            (&all.headers["x-tenant"], &all.headers["x-team"], all.zstd),
            (&"all".parse().unwrap(), &"a".parse().unwrap(), false)
        );
        assert_eq!(
            (&own.headers["x-tenant"], own.headers.get("x-team"), own.zstd),
            (&"logs".parse().unwrap(), None, true)
        );
        assert_eq!(own.headers["content-type"], logs_type);
        if logs_type == "application/grpc" {
            let error = exporter.export(traces()).await.unwrap_err();
            assert_eq!(error.error_type, "tls", "traces alone want TLS: {error}");
        }
    }
    // Without one for all.
    let exporter = otlp(&harness, "logs: {endpoint: 'http://elsewhere:4317'}");
    exporter.export(logs()).await.unwrap();
    let error = exporter.export(metrics(1)).await.unwrap_err();
    assert_eq!(told(&error), "Never endpoint: there is no endpoint for metrics: set endpoint, or one for metrics");
}

#[tokio::test(start_paused = true)]
async fn a_far_end_that_is_gone_without_a_word_is_found_out() {
    let harness = in_memory();
    let mut listener = harness.network.listen("localhost:4317").await.unwrap();
    let frozen = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(stream);
        }
    });
    let keepalive = "{endpoint: 'http://localhost:4317', keepalive: {time: 5s, timeout: 2s}}";
    let began = tokio::time::Instant::now();
    let error = otlp(&harness, keepalive).export(metrics(1)).await.unwrap_err();
    assert_eq!((error.retry, error.error_type.as_str()), (Retry::Backoff, "connection_lost"), "{error}");
    assert!((6..=8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let without = otlp(&harness, "endpoint: 'http://localhost:4317'");
    assert!(tokio::time::timeout(Duration::from_secs(60), without.export(metrics(1))).await.is_err(), "it waits");
    frozen.abort();
}
