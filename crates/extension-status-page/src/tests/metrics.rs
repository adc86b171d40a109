//! The panel of metrics: what the pipelines gave to their exporters.

use minicol_pdata::{Attributes, Batch, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint};
use minicol_plugin::EdgeName;

use super::*;

/// A counter at a second, of a `tool`.
fn calls(tool: &str, second: u64) -> Batch {
    let (start, time) = (Timestamp::from_nanos(1), Timestamp::from_nanos((NOW + second) * 1_000_000_000));
    let mut builder = MetricsBuilder::new();
    let kind = MetricKind::COUNTER;
    let descriptor = MetricDescriptor { name: "calls".into(), description: "".into(), unit: "1".into(), kind };
    let value = i64::try_from(second).ok().map(Number::Int);
    builder.metric(&descriptor).number(&Attributes::new().with("tool", tool), &NumberPoint { start, time, value });
    builder.build().into()
}

fn to(exporter: &str) -> EdgeName {
    edge("mapping", exporter, Signal::Metrics, 0).edge()
}

impl Running {
    async fn passes(&self, edge: &EdgeName, batch: &Batch, outcome: Result<(), &'static str>) {
        self.harness.pass(edge, batch, outcome);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn series(&self) -> Value {
        self.json("/api/v1/metrics").await
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_exporter_refuses_is_shown_and_is_no_gap() {
    let running = Running::with(snapshot(100)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        running.harness.is_tapped(&to("debug")) && !running.harness.is_tapped(&to("otlp/far away")),
        "one is enough"
    );
    for (second, outcome) in [(30, Ok(())), (60, Err("queue_full")), (90, Err("busy")), (120, Ok(()))] {
        running.passes(&to("debug"), &calls("a", second), outcome).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    let told = running.series().await;
    let one = &told["series"][0];
    let points: Vec<_> = one["points"].as_array().unwrap().iter().map(|point| point[1].clone()).collect();
    assert_eq!(points, [30.0, 60.0, 90.0, 120.0].map(|value| json!(value)));
    assert_eq!((&one["silent"], &one["resets"]), (&json!(false), &json!(0)));
    assert!(told["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{told}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn where_the_arrow_that_is_looked_at_goes_another_of_the_fork_is_looked_at_at_once() {
    let running = Running::with(snapshot(100)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.harness.remove_edge(&to("debug"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    running.passes(&to("otlp/far away"), &calls("a", 30), Ok(())).await;
    assert_eq!(running.series().await["known"], 1);
    // One that comes back does not make it two.
    running.harness.set_snapshot(snapshot(100));
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(running.harness.is_tapped(&to("otlp/far away")) && !running.harness.is_tapped(&to("debug")));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_and_an_exporter_of_one_id_are_two_and_what_passes_is_shown() {
    let mut relay = snapshot(100);
    let [receiver, exporter] = [ComponentKind::Receiver, ComponentKind::Exporter];
    relay.components =
        vec![component(receiver, "otlp", Status::Ok), component(exporter, "otlp", Status::PermanentError)];
    relay.books.edges = vec![edge("otlp", "otlp", Signal::Metrics, 7)];
    relay.books.accounts.clear();
    let running = Running::with(relay).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.passes(&edge("otlp", "otlp", Signal::Metrics, 7).edge(), &calls("a", 30), Ok(())).await;
    let (page, told) = (running.text("/").await, running.series().await);
    for id in ["node-metrics-receiver-otlp", "node-metrics-exporter-otlp", "arrow-metrics-otlp-otlp-metrics"] {
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}: {page}");
    }
    assert!(page.contains("exporter otlp does not work."), "{page}");
    assert_eq!((&told["known"], &told["series"][0]["name"]), (&json!(1), &json!("calls")));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn series_that_are_left_out_are_told_of_on_the_page_and_once_in_the_log() {
    let config = StatusPageConfig { max_series: 2, ..StatusPageConfig::default() };
    let running = Running::on(Harness::default(), snapshot(100), config).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for tool in ["a", "b", "c", "d"] {
        running.passes(&to("debug"), &calls(tool, 30), Ok(())).await;
    }
    let told = running.series().await;
    assert_eq!((&told["known"], &told["left_out"], &told["wanting"]), (&json!(2), &json!(2), &json!(["max_series"])));
    assert!(running.text("/").await.contains("▲ more than max_series lets in: some are left out"));
    let notices = running.harness.notices();
    assert_eq!(notices.iter().filter(|name| **name == "series_left_out").count(), 1, "{notices:?}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_passes_first_is_seen_although_the_page_starts_before_the_arrows_are_there() {
    let starting = Snapshot { phase: Phase::Starting, books: Books::default(), ..snapshot(100) };
    let running = Running::with(starting).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.harness.set_snapshot(snapshot(100));
    tokio::time::sleep(Duration::from_millis(60)).await;
    running.passes(&to("debug"), &calls("a", 0), Ok(())).await;
    assert_eq!(running.series().await["known"], 1);
    running.end().await;
}
