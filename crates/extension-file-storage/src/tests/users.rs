//! Promise: what is stored and has no user is told at once, is counted, and is told again when there is one.

use std::{path::Path, time::Duration};

use minicol_plugin::{Event, testing::Harness};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, GaugeDataPoint, MetricData, ResourceMetrics, ScopeMetrics},
};

use crate::{FileStorage, recovery::UNCLAIMED_AFTER};

use super::{Life, config, own_folder, payload, push};

/// A life whose gauge of items without a user can be read.
struct Measured {
    life: Life,
    exporter: InMemoryMetricExporter,
    provider: SdkMeterProvider,
}

impl Measured {
    async fn begin(directory: &Path, patience: Duration) -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let mut harness = Harness::default();
        harness.meter = provider.meter("test");
        let life = Life::of(FileStorage { patience, ..FileStorage::new(config(directory)) }, harness).await.unwrap();
        Self { life, exporter, provider }
    }

    fn unclaimed(&self) -> u64 {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let all = self.exporter.get_finished_metrics().unwrap();
        let mut metrics = all.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
        let metric = metrics.find(|metric| metric.name() == "minicol_storage_unclaimed_items").expect("the gauge");
        let AggregatedMetrics::U64(MetricData::Gauge(gauge)) = metric.data() else { panic!("{metric:?}") };
        gauge.data_points().map(GaugeDataPoint::value).sum()
    }

    async fn told(&self, names: &[&str]) {
        for _ in 0..500 {
            if self.life.harness.notices() == names {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("told {:?}, not {names:?}", self.life.harness.notices());
    }

    fn in_use(&self, queue: &str) -> bool {
        self.life.harness.details().unwrap()["queues"][queue]["in_use"].as_bool().unwrap()
    }
}

#[tokio::test]
async fn what_its_last_user_leaves_is_told_at_once_and_so_is_that_somebody_took_it_up() {
    let folder = own_folder();
    let measured = Measured::begin(folder.path(), UNCLAIMED_AFTER).await;
    let life = &measured.life;
    let (first, second, empty) = (life.queue("q"), life.queue("q"), life.queue("empty"));
    for number in 0..3 {
        push(&first, payload(number, 100)).await.unwrap();
    }
    empty.release();
    first.release();
    push(&second, payload(3, 100)).await.unwrap();
    assert!(measured.in_use("q"), "it has another user");
    second.release();
    measured.told(&["queue_without_exporter"]).await;
    assert_eq!((measured.in_use("q"), measured.unclaimed()), (false, 4));
    let told = format!("{:?}", life.harness.events());
    assert!(told.contains("4 items are stored in queue `q`, but no exporter of that id"), "{told}");

    let third = life.queue("q");
    measured.told(&["queue_without_exporter", "queue_taken_up"]).await;
    assert_eq!((measured.in_use("q"), measured.unclaimed()), (true, 0));
    assert_eq!(third.left().unwrap().records, 4, "it gets what was left");
    third.release();
    measured.told(&["queue_without_exporter", "queue_taken_up", "queue_without_exporter"]).await;
    assert_eq!(life.harness.events().iter().filter(|event| matches!(event, Event::Notice(_))).count(), 3);
    measured.life.end().await;
}

#[tokio::test]
async fn what_an_earlier_life_left_without_a_user_is_told_once_its_users_would_have_come() {
    let folder = own_folder();
    let life = Life::begin(config(folder.path())).await;
    push(&life.queue("left"), payload(1, 100)).await.unwrap();
    push(&life.queue("used"), payload(1, 100)).await.unwrap();
    life.end().await;
    let measured = Measured::begin(folder.path(), Duration::from_secs(2)).await;
    let _used = measured.life.queue("used");
    measured.told(&["queue_without_exporter"]).await;
    assert_eq!(measured.unclaimed(), 1);
    measured.life.end().await;
}
