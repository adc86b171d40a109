use std::collections::BTreeMap;

use minicol_mcp::testing::Reply;
use minicol_pdata::Batch;
use minicol_plugin::{
    ComponentKind, Consumer, Next, Rejected, async_trait,
    testing::{Harness, Sink},
};
use minicol_receiver_session_buddy::{SessionBuddyConfig, SessionBuddyPoller};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics},
};
use serde_json::json;

use crate::{
    buddy::recorded,
    walkthroughs::{Scene, seconds},
};

/// Every series of the last collection, as `name{attributes}` and its value; of a histogram its count.
fn series(provider: &SdkMeterProvider, exporter: &InMemoryMetricExporter) -> BTreeMap<String, f64> {
    exporter.reset();
    provider.force_flush().unwrap();
    let mut found = BTreeMap::new();
    for metric in exporter
        .get_finished_metrics()
        .unwrap()
        .iter()
        .flat_map(ResourceMetrics::scope_metrics)
        .flat_map(ScopeMetrics::metrics)
    {
        let mut put = |attributes: &mut dyn Iterator<Item = &opentelemetry::KeyValue>, value: f64| {
            let mut list: Vec<_> = attributes.map(|one| format!("{}={}", one.key, one.value)).collect();
            list.sort();
            found.insert(format!("{}{{{}}}", metric.name(), list.join(",")), value);
        };
        #[allow(clippy::cast_precision_loss)] // small counts
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                sum.data_points().for_each(|point| put(&mut point.attributes(), point.value() as f64));
            }
            AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                gauge.data_points().for_each(|point| put(&mut point.attributes(), point.value() as f64));
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                histogram.data_points().for_each(|point| put(&mut point.attributes(), point.count() as f64));
            }
            other => panic!("{}: {other:?}", metric.name()),
        }
    }
    found.retain(|name, _| name.starts_with("session_buddy_poller."));
    found
}

/// Promise: the poller's own metrics have these names and attributes; a tool without a breaker has no series.
#[tokio::test(start_paused = true)]
async fn the_own_metrics_are_these() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let mut harness = Harness::default();
    harness.meter = provider.meter("test");
    let config = json!({"metrics_to_collect": ["liveness", "metrics_summary", "performance_metrics"], "circuit_breaker_threshold": 2});
    let scene = Scene::with(harness, &config);
    scene.poller.start().unwrap();
    seconds(29).await; // the server is down: one failed set-up
    let buddy = recorded(&scene.harness).await;
    buddy.always("tools/call get_metrics_summary", Reply::tool_error("engine_failure"));
    seconds(63).await;
    let expected = [
        ("session_buddy_poller.circuit_breaker_state{receiver=session_buddy,tool=get_liveness}", 0.0),
        ("session_buddy_poller.circuit_breaker_state{receiver=session_buddy,tool=get_metrics_summary}", 1.0),
        ("session_buddy_poller.poll_cycles_total{receiver=session_buddy}", 4.0),
        ("session_buddy_poller.poll_duration_seconds{receiver=session_buddy}", 4.0),
        (
            "session_buddy_poller.poll_errors_total{error.type=tool_error,receiver=session_buddy,tool=get_metrics_summary}",
            3.0,
        ),
        ("session_buddy_poller.poll_errors_total{error.type=unavailable,receiver=session_buddy}", 1.0),
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(series(&provider, &exporter), expected);
}

/// A component that never answers.
struct Never;

#[async_trait]
impl Consumer for Never {
    async fn consume(&self, _: Batch) -> Result<(), Rejected> {
        std::future::pending().await
    }
}

/// Promise: observations that the next component does not take are counted as lost, under its reason; and those of a cycle that finds it still busy
/// with the cycle before.
#[tokio::test(start_paused = true)]
async fn observations_that_are_not_taken_are_counted_as_lost() {
    let sink = Sink::new();
    sink.refuse(Some(Rejected::retryable("queue_full", "full")));
    // Two tools and the report: three observations a cycle, in three cycles. Of a component that hangs the first cycle is on its way, the second waits.
    for (next, reason, lost) in [(sink.next(), "queue_full", 9.0), (Next::new(Never), "busy", 3.0)] {
        let exporter = InMemoryMetricExporter::default();
        let provider =
            SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
        let mut harness = Harness::default();
        harness.meter = provider.meter("test");
        let _buddy = recorded(&harness).await;
        let config: SessionBuddyConfig =
            serde_json::from_value(json!({"metrics_to_collect": ["liveness", "metrics_summary"]})).unwrap();
        let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
        let poller = SessionBuddyPoller::new(&config, next, scope).unwrap();
        poller.start().unwrap();
        seconds(63).await;
        let name = "session_buddy_poller.lost_observations_total";
        let series = series(&provider, &exporter);
        assert_eq!(series.get(&format!("{name}{{reason={reason},receiver=session_buddy}}")), Some(&lost), "{series:?}");
    }
}
