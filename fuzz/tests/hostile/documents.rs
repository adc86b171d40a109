//! Documents and pages that the processor `mapping` is given.

use std::{sync::Arc, time::Duration};

use minicol_pdata::{Arrival, Batch, Metrics, Number, Observation, Observations, PointValue, Source, Timestamp};
use minicol_plugin::{
    ComponentKind, Factory,
    testing::{Harness, Sink},
};
use minicol_processor::{MappingConfig, MappingFactory};
use serde_json::{Value, json};

use crate::{MIB, measured_async};

const RULES: &str = include_str!("../../rules.yaml");

/// What is made of a document, what is told of it, and how much memory that took beside the document.
fn mapped(document: Value) -> (Vec<Metrics>, Vec<&'static str>, usize) {
    let document = Arc::new(document);
    let ((metrics, notices), peak) = measured_async(|| async {
        let harness = Harness::default();
        let config: MappingConfig = serde_yaml::from_str(RULES).unwrap();
        let processor = MappingFactory::build(config, &harness.scope(ComponentKind::Processor, "mapping")).unwrap();
        let sink = Sink::new();
        for cycle in 0..2_u32 {
            let resource = [("service.name", "hostile")].into_iter().collect();
            let interval = Duration::from_secs(30);
            let observation = Observation {
                source: Arc::new(Source { resource, receiver: "session_buddy".into(), interval }),
                tool: "any".into(),
                arguments: None,
                arrival: Arrival {
                    wall: Timestamp::from_nanos(1_795_392_000_000_000_000) + interval * cycle,
                    monotonic: interval * cycle,
                },
                took: Duration::from_millis(5),
                document: Arc::clone(&document),
                cut: None,
            };
            let batch = Batch::Observations(Observations::from(vec![observation]));
            processor.process(batch, &sink.next()).await.unwrap();
        }
        let metrics = sink.take().into_iter().filter_map(|batch| match batch {
            Batch::Metrics(metrics) => Some(metrics),
            _ => None,
        });
        (metrics.collect::<Vec<_>>(), harness.notices())
    });
    for metric in metrics.iter().flat_map(Metrics::iter) {
        for point in metric.points() {
            let finite = match point.value {
                PointValue::Number(Number::Double(value)) => value.is_finite(),
                PointValue::Histogram { sum, .. } | PointValue::ExponentialHistogram { sum, .. } => {
                    sum.is_none_or(f64::is_finite)
                }
                _ => true,
            };
            assert!(finite, "{}: {:?}", metric.name(), point.value);
        }
    }
    (metrics, notices, peak)
}

fn points(metrics: &[Metrics]) -> usize {
    metrics.iter().map(Metrics::items).sum()
}

#[test]
fn numbers_at_the_ends_of_every_type_make_finite_points() {
    let _alone = crate::alone();
    for number in
        [json!(1e308), json!(-1e308), json!(f64::MIN_POSITIVE), json!(u64::MAX), json!(i64::MIN), json!(0), json!(-0.0)]
    {
        let list: Vec<_> = (0..30).map(|id| json!({"id": id, "value": number, "ended": number})).collect();
        let (metrics, _, _) =
            mapped(json!({"value": number, "uptime": number, "started": number, "list": list, "map": {"a": number}}));
        assert!(points(&metrics) > 0, "{number}");
    }
}

#[test]
fn text_that_looks_like_a_number_is_told_and_makes_no_point() {
    let _alone = crate::alone();
    for text in ["NaN", "Infinity", "-Infinity", "1e400", "0x10", "１２", "1_000", ""] {
        let (metrics, notices, _) = mapped(json!({"value": text}));
        assert!(notices.contains(&"values_unusable"), "{text}: {notices:?}");
        let named =
            |metric: &minicol_pdata::MetricView<'_>| metric.name() == "any.gauge" || metric.name() == "any.counter";
        assert_eq!(metrics.iter().flat_map(Metrics::iter).filter(named).count(), 0, "{text}");
    }
}

#[test]
fn what_nests_too_deep_is_told_and_takes_nothing() {
    let _alone = crate::alone();
    // As deep as the JSON parser lets it be.
    let deep = |open: &str, close: &str| {
        let text = format!("{}1{}", open.repeat(126), close.repeat(126));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for document in [deep("[", "]"), deep("{\"value\":", "}")] {
        let (_, notices, peak) = mapped(document);
        assert!(notices.contains(&"values_unusable"), "{notices:?}");
        assert!(peak < 16 * MIB, "{} KiB", peak / 1024);
    }
}

#[test]
fn a_hundred_thousand_members_and_items_are_cut_at_the_bounds_and_told() {
    let _alone = crate::alone();
    let list: Vec<Value> = (0..100_000).map(|id| json!({"id": id, "value": id, "project": format!("p{id}")})).collect();
    let map: serde_json::Map<String, Value> = (0..100_000).map(|id| (format!("m{id}"), id.into())).collect();
    let (metrics, notices, peak) = mapped(json!({"list": list, "map": map, "value": 1}));
    assert!(points(&metrics) < 1000, "{} points", points(&metrics));
    assert!(!notices.is_empty(), "what was left out is told");
    assert!(peak < 64 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn ten_mebibytes_of_text_are_cut_where_they_are_shown() {
    let _alone = crate::alone();
    let text = "x".repeat(10 * MIB);
    let (metrics, _, peak) = mapped(
        json!({"value": 1, "project": text, "list": [{"id": text, "value": 1, "project": text}], "map": {&text: 1}}),
    );
    let attributes = metrics.iter().flat_map(Metrics::iter).flat_map(|metric| metric.points());
    for point in attributes {
        let longest = point.attributes().iter().map(|(_, value)| value.to_string().len()).max().unwrap_or_default();
        assert!(longest < 100, "an attribute of {longest} bytes");
    }
    assert!(peak < 128 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn pages_of_prometheus_are_bounded() {
    let _alone = crate::alone();
    let labels: String = (0..100_000).map(|n| format!("l{n}=\"{n}\",")).collect();
    for page in [
        "x".repeat(10 * MIB),
        "requests_total 1\n".repeat(MIB / 4),
        format!("requests_total{{{labels}}} 1\n"),
        format!("requests_total{{a=\"{}\"}} 1\n", "x".repeat(10 * MIB)),
        format!("requests_total{{a=\"{}\n", "\\\\".repeat(MIB)),
        "{".repeat(MIB),
        "# TYPE requests_total counter\n".repeat(MIB / 16),
        format!("requests_total {}\n", "9".repeat(MIB)),
        (0..100_000).map(|n| format!("requests_total{{code=\"{n}\"}} 1e308\n")).collect(),
        "\u{0}\u{202e}\u{feff}".repeat(MIB / 8),
    ] {
        let beginning: String = page.chars().take(40).collect();
        let size = page.len();
        let (metrics, _, peak) = mapped(Value::String(page));
        assert!(points(&metrics) < 1000, "{beginning:?}: {} points", points(&metrics));
        assert!(peak < 48 * MIB + 4 * size, "{beginning:?}: {} MiB for {} KiB", peak / MIB, size / 1024);
    }
}
