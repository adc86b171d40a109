//! What is larger than the far end takes is delivered in parts.

use minicol_pdata::{Batch, Metrics};
use minicol_plugin::{Exporter, Retry, testing::Harness};
use tonic::Status;

use crate::{
    bench::{encoded, in_memory, logs, metrics, otlp, otlphttp, traces},
    sink::{Answer, Sink},
};

fn both(harness: &Harness) -> [Box<dyn Exporter>; 2] {
    let yaml = "endpoint: 'http://localhost:4317'";
    [otlp(harness, yaml), otlphttp(harness, yaml)]
}

/// The points of what arrived, as text, in order.
fn points(received: &[crate::sink::Received]) -> Vec<String> {
    let batches = received.iter().map(|one| Metrics::decode(one.message.clone()).unwrap());
    batches.flat_map(|batch| read(&batch)).collect()
}

fn read(batch: &Metrics) -> Vec<String> {
    batch
        .iter()
        .flat_map(|metric| metric.points().into_iter().map(|point| format!("{point:?}")).collect::<Vec<_>>())
        .collect()
}

#[tokio::test]
async fn every_point_arrives_once_and_in_order() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let Batch::Metrics(whole) = metrics(1000) else { panic!("metrics") };
    let limit = whole.bytes() / 3;
    sink.take_at_most(limit);
    for exporter in both(&harness) {
        let delivered = exporter.export(metrics(1000)).await.unwrap();
        assert_eq!((delivered.rejected, delivered.message), (0, None));
        let received = sink.take();
        assert_eq!(points(&received), read(&whole));
        assert!(received.len() >= 4 && received.iter().all(|one| one.message.len() <= limit), "{}", received.len());
        // What is refused once is not tried again.
        let refused = sink.refused();
        exporter.export(metrics(1000)).await.unwrap();
        assert_eq!((points(&sink.take()), sink.refused()), (read(&whole), refused));
    }
}

#[tokio::test]
async fn logs_and_traces_are_split_too_and_what_no_splitting_helps_is_counted() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    for exporter in both(&harness) {
        // Two records that differ in nothing: each half is smaller.
        sink.take_at_most(encoded(&logs()).len() - 1);
        exporter.export(logs()).await.unwrap();
        assert_eq!(sink.take().len(), 2);
        sink.take_at_most(1);
        let error = exporter.export(traces()).await.unwrap_err();
        assert_eq!(error.retry, Retry::Never, "one span cannot be split: {error}");
        let error = exporter.export(metrics(3)).await.unwrap_err();
        assert_eq!(error.retry, Retry::Never, "each alone is too large: {error}");
        assert!(sink.take().is_empty());
    }
}

#[tokio::test]
async fn what_fails_in_the_middle_is_told() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let [grpc, http] = both(&harness);
    let Batch::Metrics(whole) = metrics(100) else { panic!("metrics") };
    sink.take_at_most(whole.bytes() * 2 / 3);
    // The first part arrives, the second may pass later: all of it is tried again.
    sink.answer(Answer::Message(Vec::new()));
    sink.answer(Answer::Status(Status::unavailable("later")));
    assert_eq!(grpc.export(metrics(100)).await.unwrap_err().retry, Retry::Backoff);
    // The first part arrives, the second never will: that is counted.
    sink.answer(Answer::Message(Vec::new()));
    sink.answer(Answer::Http(400, Vec::new(), Vec::new()));
    let delivered = http.export(metrics(100)).await.unwrap();
    assert_eq!(delivered.rejected, 50);
    assert!(delivered.message.unwrap().contains("HTTP 400"));
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_no_matter_of_size() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let [grpc, _] = both(&harness);
    sink.answer(Answer::Status(Status::resource_exhausted("quota of the day")));
    assert_eq!(grpc.export(metrics(10)).await.unwrap_err().retry, Retry::Never);
    assert_eq!(sink.take().len(), 1, "it is not tried in parts");
}
