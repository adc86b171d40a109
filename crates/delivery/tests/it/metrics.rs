//! The metrics that dashboards are built on: their names, attributes and values.

use std::collections::BTreeMap;

use minicol_plugin::{Consumer, Retry, testing::Harness};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{
    ManualReader, SdkMeterProvider, Temporality,
    data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics},
    reader::MetricReader,
};
use serde_json::json;

use crate::script::{Script, Step, config, in_seconds, points, settle, start};

#[derive(Clone, Debug)]
struct Reader(std::sync::Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: std::sync::Weak<opentelemetry_sdk::metrics::Pipeline>) {
        self.0.register_pipeline(pipeline);
    }
    fn collect(&self, into: &mut ResourceMetrics) -> opentelemetry_sdk::error::OTelSdkResult {
        self.0.collect(into)
    }
    fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
        self.0.force_flush()
    }
    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> opentelemetry_sdk::error::OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
    fn temporality(&self, kind: opentelemetry_sdk::metrics::InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// `name{attributes}` and value; of a histogram its count.
fn values(reader: &Reader) -> BTreeMap<String, u64> {
    let mut collected = ResourceMetrics::default();
    reader.collect(&mut collected).unwrap();
    let mut values = BTreeMap::new();
    for metric in collected.scope_metrics().flat_map(ScopeMetrics::metrics) {
        let mut put = |attributes: Vec<String>, value| {
            values.insert(format!("{}{{{}}}", metric.name(), attributes.join(",")), value);
        };
        let shown = |attributes: &mut dyn Iterator<Item = &opentelemetry::KeyValue>| {
            let mut all: Vec<String> = attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
            all.sort();
            all
        };
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                sum.data_points().for_each(|point| put(shown(&mut point.attributes()), point.value()));
            }
            AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                gauge.data_points().for_each(|point| put(shown(&mut point.attributes()), point.value()));
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                histogram.data_points().for_each(|point| put(shown(&mut point.attributes()), point.count()));
            }
            other => panic!("{}: {other:?}", metric.name()),
        }
    }
    values
}

#[tokio::test(start_paused = true)]
async fn names_attributes_and_values_are_those_that_dashboards_know() {
    let reader = Reader(std::sync::Arc::new(ManualReader::default()));
    let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
    let mut harness = Harness::default();
    harness.meter = provider.meter("minicol");
    let steps =
        [Step::Take, Step::TakeBut { rejected: 1, message: "" }, Step::Fail(Retry::Never, "invalid"), Step::Hang];
    let script = Script::new(steps);
    let settings = config(json!({"timeout": "0", "sending_queue": {"num_consumers": 1, "queue_size": 2}}));
    let delivery = start(&harness, &script, settings);
    for items in [5, 4, 3] {
        delivery.consumer().consume(points(items)).await.unwrap();
        settle().await;
    }
    delivery.consumer().consume(points(2)).await.unwrap();
    delivery.consumer().consume(points(2)).await.unwrap();
    delivery.consumer().consume(points(6)).await.unwrap_err();
    settle().await;
    let now = values(&reader);
    let expected = [
        ("minicol_exporter_attempt_duration{error.type=invalid,exporter=otlp}", 1),
        ("minicol_exporter_attempt_duration{exporter=otlp}", 2),
        ("minicol_exporter_lost_items{data_type=metrics,exporter=otlp,reason=invalid}", 3),
        ("minicol_exporter_lost_items{data_type=metrics,exporter=otlp,reason=partial_success}", 1),
        ("otelcol_exporter_enqueue_failed_metric_points{exporter=otlp}", 6),
        ("otelcol_exporter_enqueue_failed_observations{exporter=otlp}", 0),
        ("otelcol_exporter_queue_capacity{data_type=metrics,exporter=otlp}", 2),
        ("otelcol_exporter_queue_capacity{data_type=observations,exporter=otlp}", 2),
        ("otelcol_exporter_queue_size{data_type=metrics,exporter=otlp}", 2),
        ("otelcol_exporter_queue_size{data_type=observations,exporter=otlp}", 0),
        ("otelcol_exporter_send_failed_metric_points{exporter=otlp}", 4),
        ("otelcol_exporter_send_failed_observations{exporter=otlp}", 0),
        ("otelcol_exporter_sent_metric_points{exporter=otlp}", 8),
        ("otelcol_exporter_sent_observations{exporter=otlp}", 0),
    ];
    assert_eq!(now, expected.map(|(name, value)| (name.to_owned(), value)).into());

    delivery.drain(in_seconds(1)).await;
    let then = values(&reader);
    assert_eq!(then["otelcol_exporter_queue_size{data_type=metrics,exporter=otlp}"], 0);
    assert_eq!(then["minicol_exporter_lost_items{data_type=metrics,exporter=otlp,reason=shutdown}"], 4);
    let sent_and_lost = then["otelcol_exporter_sent_metric_points{exporter=otlp}"]
        + then["otelcol_exporter_send_failed_metric_points{exporter=otlp}"];
    assert_eq!(sent_and_lost, delivery.counts().accepted);
}
