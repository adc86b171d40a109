//! Promise: a poll is one cycle of each receiver that polls, mapped, and nothing is exported.

use minicol_host::{PollError, PollResult};
use minicol_plugin::ComponentKind;

use crate::support::{host, plan};

const FILE: &str = "
extensions: {page: , simulator: , simulator/unlisted: }
receivers: {ticker: , ticker/push: {polls: false}, ticker/off: {enabled: false}, ticker/bad: {fails: panic}, log_source: }
processors: {to_metrics: , keeper: {holds: true}}
exporters: {sink: , log_sink: }
service:
  extensions: [page, simulator]
  pipelines:
    metrics: {receivers: [ticker, ticker/push, ticker/off, ticker/bad], processors: [keeper, to_metrics], exporters: [sink]}
    observations: {receivers: [ticker], exporters: [sink]}
    logs: {receivers: [log_source], exporters: [log_sink]}
";

#[tokio::test(start_paused = true)]
async fn every_receiver_is_polled_once_through_its_pipelines() {
    let outcome = host().poll(&plan(FILE), None).await.unwrap();
    let results: Vec<_> = outcome.receivers.iter().map(|one| (one.id.to_string(), one.result.clone())).collect();
    let failed = "panicked, which is a bug: index out of range".to_owned();
    assert_eq!(
        results,
        [
            ("ticker".to_owned(), PollResult::Polled),
            ("ticker/push".to_owned(), PollResult::NotPolling),
            ("ticker/off".to_owned(), PollResult::Disabled),
            ("ticker/bad".to_owned(), PollResult::Failed(failed)),
            ("log_source".to_owned(), PollResult::NotPolling),
        ]
    );
    assert_eq!(outcome.receivers[0].batches.len(), 1, "what the receiver itself emitted");
    let given: Vec<_> =
        outcome.pipelines.iter().map(|one| (one.id.as_str(), one.signal.name(), one.batches.len())).collect();
    // What the keeper holds comes out when it is flushed.
    assert_eq!(given, [("metrics", "metrics", 1), ("observations", "observations", 1), ("logs", "logs", 0)]);
    assert!(outcome.pipelines[0].batches[0].signal() == minicol_pdata::Signal::Metrics);
}

#[tokio::test(start_paused = true)]
async fn only_simulators_that_the_service_lists_are_started() {
    let outcome = host().poll(&plan(FILE), None).await.unwrap();
    let simulator = "simulator".parse().unwrap();
    assert!(outcome.status(ComponentKind::Extension, &simulator).is_some());
    for other in ["page", "simulator/unlisted"] {
        assert!(outcome.status(ComponentKind::Extension, &other.parse().unwrap()).is_none(), "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_receiver_can_be_asked_alone() {
    let outcome = host().poll(&plan(FILE), Some("ticker/push")).await.unwrap();
    assert_eq!(outcome.receivers.len(), 1);
    assert_eq!(outcome.receivers[0].result, PollResult::NotPolling);
    assert_eq!(outcome.pipelines.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_not_there_is_told_with_the_nearest() {
    let error = host().poll(&plan(FILE), Some("ticker/pusch")).await.unwrap_err();
    assert!(matches!(error, PollError::Unknown { .. }));
    assert_eq!(error.to_string(), "no pipeline names a receiver `ticker/pusch`; did you mean `ticker/push`?");
}
