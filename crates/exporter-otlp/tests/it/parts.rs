//! What is larger than the far end takes is delivered in parts.

use std::collections::VecDeque;

use minicol_pdata::{Batch, Metrics};
use minicol_plugin::{Delivered, ExportError, Exporter, Retry, testing::Harness};
use tonic::Status;

use crate::{
    bench::{encoded, in_memory, logs, metrics, otlp, otlphttp, traces},
    sink::{Answer, Received, Sink},
};

fn both(harness: &Harness) -> [Box<dyn Exporter>; 2] {
    both_with(harness, "", "")
}

fn both_with(harness: &Harness, grpc: &str, http: &str) -> [Box<dyn Exporter>; 2] {
    let yaml = |more| format!("{{endpoint: 'http://localhost:4317'{more}}}");
    [otlp(harness, &yaml(grpc)), otlphttp(harness, &yaml(http))]
}

/// Delivers all parts, as the host does; what fails is given up. Every outcome, oldest first.
async fn deliver(exporter: &dyn Exporter, batch: Batch) -> Vec<Result<Delivered, ExportError>> {
    let (mut left, mut outcomes) = (VecDeque::from([batch]), Vec::new());
    while let Some(part) = left.pop_front() {
        let mut outcome = exporter.export(part).await;
        if let Ok(delivered) = &mut outcome {
            std::mem::take(&mut delivered.rest).into_iter().rev().for_each(|part| left.push_front(part));
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// The points of what arrived, as text, in order.
fn points(received: &[Received]) -> Vec<String> {
    let decode = |one: &Received| match one.headers["content-type"].as_bytes() {
        b"application/json" => Metrics::from_json(&one.message).unwrap(),
        _ => Metrics::decode(one.message.clone()).unwrap(),
    };
    received.iter().flat_map(|one| read(&decode(one))).collect()
}

fn read(batch: &Metrics) -> Vec<String> {
    batch
        .iter()
        .flat_map(|metric| metric.points().into_iter().map(|point| format!("{point:?}")).collect::<Vec<_>>())
        .collect()
}

fn many(points: i64) -> Metrics {
    let Batch::Metrics(whole) = metrics(points) else { panic!("metrics") };
    whole
}

#[tokio::test]
async fn every_point_arrives_once_and_in_order() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let whole = many(1000);
    let limit = whole.bytes() / 3;
    sink.take_at_most(limit);
    for exporter in both(&harness) {
        let outcomes = deliver(&*exporter, metrics(1000)).await;
        assert!(outcomes.iter().all(|one| one.as_ref().is_ok_and(|one| *one == Delivered::default())), "{outcomes:?}");
        let received = sink.take();
        assert_eq!(points(&received), read(&whole));
        assert!(received.len() >= 4 && received.iter().all(|one| one.message.len() <= limit), "{}", received.len());
        // What is refused once is not tried again.
        let refused = sink.refused();
        deliver(&*exporter, metrics(1000)).await;
        assert_eq!((points(&sink.take()), sink.refused()), (read(&whole), refused));
    }
}

#[tokio::test]
async fn what_is_larger_than_is_configured_is_never_sent_whole() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let [grpc, http] = both_with(&harness, ", max_send_msg_size_mib: 1", ", max_request_body_size: 9000");
    let [_, json] = both_with(&harness, "", ", max_request_body_size: 9000, encoding: json");
    for (exporter, limit, whole) in [(grpc, 1 << 20, many(30_000)), (http, 9000, many(1000)), (json, 9000, many(200))] {
        assert!(whole.bytes().max(whole.to_json().len()) > limit);
        deliver(&*exporter, whole.clone().into()).await;
        let received = sink.take();
        assert_eq!(points(&received), read(&whole));
        assert!(received.iter().all(|one| one.message.len() <= limit), "as it is before it is compressed");
    }
    assert_eq!(sink.refused(), 0);
    // One item cannot be split.
    let [_, small] = both_with(&harness, "", ", max_request_body_size: 1024");
    let error = small.export(long_metric()).await.unwrap_err();
    assert_eq!((error.retry, error.error_type.as_str()), (Retry::Never, "too_large"));
    assert!(error.message.ends_with("bytes, but none may be larger than 1024"), "{error}");
    assert!(sink.take().is_empty());
}

/// One point with a description of two thousand characters.
fn long_metric() -> Batch {
    let mut builder = minicol_pdata::MetricsBuilder::new();
    builder.resource(&minicol_pdata::Attributes::new(), "test", "1");
    let descriptor = minicol_pdata::MetricDescriptor {
        name: "m".into(),
        description: "d".repeat(2000).into(),
        unit: "1".into(),
        kind: minicol_pdata::MetricKind::Gauge,
    };
    builder.metric(&descriptor).number(
        &minicol_pdata::Attributes::new(),
        &minicol_pdata::NumberPoint {
            start: minicol_pdata::Timestamp::UNSET,
            time: minicol_pdata::Timestamp::from_nanos(1),
            value: Some(minicol_pdata::Number::Int(1)),
        },
    );
    builder.build().into()
}

#[tokio::test]
async fn logs_and_traces_are_split_too_and_what_no_splitting_helps_fails() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    for exporter in both(&harness) {
        // Two records that differ in nothing: each half is smaller.
        sink.take_at_most(encoded(&logs()).len() - 1);
        deliver(&*exporter, logs()).await;
        assert_eq!(sink.take().len(), 2);
        sink.take_at_most(1);
        let error = exporter.export(traces()).await.unwrap_err();
        assert_eq!(error.retry, Retry::Never, "one span cannot be split: {error}");
        let outcomes = deliver(&*exporter, metrics(3)).await;
        let failed = outcomes.iter().filter(|one| one.as_ref().is_err_and(|error| error.retry == Retry::Never));
        assert_eq!(failed.count(), 3, "each alone is too large: {outcomes:?}");
        assert!(sink.take().is_empty());
    }
}

#[tokio::test]
async fn what_fails_is_one_part_and_not_the_others() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    let whole = many(100);
    sink.take_at_most(whole.bytes() * 2 / 3);
    for (exporter, code) in both(&harness).into_iter().zip(["INVALID_ARGUMENT", "400"]) {
        // It is refused for its size once, and comes back in two parts; nothing has arrived.
        let delivered = exporter.export(metrics(100)).await.unwrap();
        assert_eq!((delivered.rejected, delivered.rest.len(), sink.take().len()), (0, 2, 0));
        let [first, second] = <[Batch; 2]>::try_from(delivered.rest).unwrap();
        assert_eq!((first.items(), second.items()), (50, 50));
        for answer in [Answer::Status(Status::invalid_argument("no")), Answer::Http(400, Vec::new(), Vec::new())] {
            if matches!(answer, Answer::Http(..)) == (code == "400") {
                sink.answer(answer);
            }
        }
        assert_eq!(exporter.export(first).await.unwrap_err().error_type, code);
        exporter.export(second).await.unwrap();
        assert_eq!(points(&sink.take()[1..]), read(&whole)[50..]);
    }
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

/// Promise: what a refusal taught holds for ten minutes; a stray one about a small request costs no more than that, and it is said once.
#[tokio::test(start_paused = true)]
async fn a_size_that_was_refused_is_tried_again_after_ten_minutes_and_said_once() {
    let harness = in_memory();
    let sink = Sink::start(&harness.network, "localhost:4317").await;
    for exporter in both(&harness) {
        let requests = async |points: i64| {
            deliver(&*exporter, metrics(points)).await;
            let received = sink.take();
            assert_eq!(points_of(&received), usize::try_from(points).unwrap());
            received.len()
        };
        assert_eq!(requests(1000).await, 1);
        // A gateway in the middle of a deployment, to a request of few bytes.
        sink.take_at_most(1);
        let refused = exporter.export(metrics(2)).await.unwrap();
        assert_eq!(refused.rest.len(), 2, "in parts all the same");
        sink.take_at_most(usize::MAX);
        let after = requests(1000).await;
        let whole = many(1000).bytes();
        assert!(after > 1 && after < whole / 256, "no smaller than the smallest limit that there is: {after}");
        tokio::time::advance(std::time::Duration::from_secs(599)).await;
        assert!(requests(1000).await > 1);
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        assert_eq!(requests(1000).await, 1);
    }
    assert_eq!(harness.notices(), ["sent_in_parts", "sent_in_parts"], "each exporter says it once");
}

fn points_of(received: &[Received]) -> usize {
    points(received).len()
}
