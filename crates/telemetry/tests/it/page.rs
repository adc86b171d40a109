//! The page's text: names verbatim, nothing added, valid in every case.

use std::{collections::BTreeSet, time::Duration};

use minicol_pdata::{Attributes, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint, Timestamp};
use minicol_plugin::testing::Harness;
use minicol_telemetry::render_page;
use opentelemetry::KeyValue;
use serde_json::json;

use crate::support::{telemetry, telemetry_of};

/// The lines, but for numbers that the machine decides.
fn lines(page: &str) -> String {
    let lines = page.lines().map(|line| match line.split_once(' ') {
        Some((name @ ("otelcol_process_cpu_seconds" | "otelcol_process_memory_rss"), value)) => {
            assert!(value.parse::<f64>().unwrap() >= 0.0);
            format!("{name} <number>\n")
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[tokio::test(start_paused = true)]
async fn the_page_shows_names_as_they_are() {
    let telemetry = telemetry(
        &Harness::default(),
        json!({"resource": {"service.instance.id": "one", "deployment.environment.name": "a \"test\"\nhere\\"}}),
    );
    let meter = telemetry.meter();
    let exporter = KeyValue::new("exporter", "otlp/2");
    meter.u64_counter("otelcol_exporter_sent_metric_points").with_description("Sent").build().add(7, &[exporter]);
    let cycles =
        meter.u64_counter("session_buddy_poller.poll_cycles_total").with_description("Cycles\nof \\ all").build();
    cycles.add(2, &[KeyValue::new("receiver", "session_buddy")]);
    cycles.add(1, &[KeyValue::new("receiver", "session_buddy/a\"b\nc\\d")]);
    let state = meter.u64_gauge("session_buddy_poller.circuit_breaker_state").build();
    state.record(1, &[KeyValue::new("tool", "get_x"), KeyValue::new("error.type", "t")]);
    let duration = meter
        .f64_histogram("mcp.client.operation.duration")
        .with_unit("s")
        .with_boundaries(vec![0.01, 0.1, 1.0])
        .build();
    for seconds in [0.005, 0.05, 0.05, 30.0] {
        duration.record(seconds, &[KeyValue::new("mcp.method.name", "tools/call")]);
    }
    tokio::time::sleep(Duration::from_millis(12_500)).await;
    insta::assert_snapshot!(lines(&telemetry.page()));
}

#[tokio::test(start_paused = true)]
async fn names_that_fall_together_leave_the_page_valid() {
    let telemetry = telemetry(&Harness::default(), json!({"resource": {"a.b": 1, "a_b": 2}}));
    let meter = telemetry.meter();
    meter.u64_counter("same.name").build().add(1, &[KeyValue::new("x.y", "1"), KeyValue::new("x_y", "2")]);
    meter.u64_counter("same_name").build().add(5, &[KeyValue::new("x.y", "1"), KeyValue::new("x_y", "2")]);
    meter.u64_gauge("same_name").build().record(9, &[]);
    meter.f64_histogram("has.le").build().record(1.0, &[KeyValue::new("le", "mine"), KeyValue::new("__name__", "n")]);
    let page = telemetry.page();
    let samples: Vec<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(s, _)| s)
        .collect();
    assert_eq!(samples.iter().collect::<BTreeSet<_>>().len(), samples.len(), "a series stands twice:\n{page}");
    assert_eq!(page.matches("# TYPE same_name ").count(), 1, "{page}");
    assert!(page.contains("same_name{x_y=\"1;2\"} 1\n"), "{page}");
    assert!(page.contains("has_le_count{attribute___name__=\"n\",attribute_le=\"mine\"} 1\n"), "{page}");
    assert!(page.contains("a_b=\"1;2\""), "{page}");
}

#[test]
fn numbers_that_are_none_are_written_as_prometheus_reads_them() {
    let mut builder = MetricsBuilder::new();
    builder.resource(&Attributes::new(), "test", "1");
    let descriptor =
        MetricDescriptor { name: "g".into(), description: "".into(), unit: "1".into(), kind: MetricKind::Gauge };
    let mut gauge = builder.metric(&descriptor);
    let time = Timestamp::from_nanos(1);
    for (name, value) in [("a", f64::NAN), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY), ("d", 1.5)] {
        let value = Some(Number::Double(value));
        gauge.number(&Attributes::new().with("n", name), &NumberPoint { start: Timestamp::UNSET, time, value });
    }
    gauge.number(&Attributes::new().with("n", "ended"), &NumberPoint { start: Timestamp::UNSET, time, value: None });
    let page = render_page(&builder.build(), &Attributes::new());
    assert!(!page.contains("ended"), "{page}");
    for line in ["g{n=\"a\"} NaN\n", "g{n=\"b\"} +Inf\n", "g{n=\"c\"} -Inf\n", "g{n=\"d\"} 1.5\n"] {
        assert!(page.contains(line), "{line}{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn levels_leave_out_what_they_say() {
    let shown = |level: &str| {
        let telemetry = telemetry(&Harness::default(), json!({"metrics": {"level": level}}));
        let meter = telemetry.meter();
        for name in ["otelcol_receiver_accepted_metric_points", "minicol_exporter_lost_items", "minicol_edge_items"] {
            meter.u64_counter(name).build().add(1, &[]);
        }
        for name in ["mcp.client.operation.duration", "minicol_exporter_attempt_duration"] {
            meter.f64_histogram(name).build().record(1.0, &[]);
        }
        let page = telemetry.page();
        let families =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned));
        families.filter(|name| !name.starts_with("otelcol_process") && name != "target_info").collect::<Vec<_>>()
    };
    assert_eq!(shown("none"), [""; 0]);
    assert_eq!(shown("basic"), ["otelcol_receiver_accepted_metric_points"]);
    let normal = [
        "mcp_client_operation_duration",
        "minicol_exporter_lost_items",
        "minicol_process_tasks",
        "otelcol_receiver_accepted_metric_points",
    ];
    assert_eq!(shown("normal"), normal);
    assert_eq!(shown("detailed").len(), 6);
}

#[tokio::test(start_paused = true)]
async fn many_components_have_a_series_each_and_what_nobody_expected_is_added_up() {
    let shown = |components| {
        let telemetry = telemetry_of(&Harness::default(), json!({}), components);
        let counter = telemetry.meter().u64_counter("per_target").build();
        for target in 0..5_000_i64 {
            counter.add(1, &[KeyValue::new("target", target)]);
        }
        let page = telemetry.page();
        (page.matches("\nper_target{target").count(), page.contains("otel_metric_overflow=\"true\"} 2992"))
    };
    assert_eq!(shown(5_000), (5_000, false));
    assert_eq!(shown(4), (2_008, true));
}
