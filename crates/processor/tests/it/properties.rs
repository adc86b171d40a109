//! Promise: no observation of any shape panics or makes an invalid point, and counters never go down without a new start.

use std::collections::HashMap;

use minicol_pdata::{MetricKind, Metrics, Number, PointValue, Temporality, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    golden::{contract, recordings},
    world::World,
};

/// Every kind of rule on one field or another.
const RULES: &str = r#"
presets: [session_buddy]
max_series: 20
max_keys: 20
max_items: 30
max_attribute_length: 16
rules:
  - tool: any
    start: [{time: $.started}, {tool: other, uptime: $.uptime}]
    metrics:
      - {name: any.counter, type: counter, value: $.value, scale: 1.5}
      - {name: any.delta, type: counter, temporality: delta, value: $.value}
      - {name: any.recent, type: exponential_histogram, temporality: delta, value: $.value}
      - {name: any.updown, type: updowncounter, value: $.value}
      - {name: any.gauge, type: gauge, value: $.value, as: time}
      - {name: any.histogram, type: histogram, value: $.value}
      - {name: any.signed, type: histogram, value: $.value, boundaries: [-1, 0, 1]}
      - {name: any.exponential, type: exponential_histogram, value: $.value, max_size: 3}
      - {name: any.match, type: gauge, match: "(\\d+) sessions"}
      - {name: any.deep, type: gauge, value: $..value}
  - tool: any
    each: $.list[*]
    key: $.id
    time: $.ended
    metrics:
      - {name: item.histogram, type: histogram, value: $.value}
      - {name: item.exponential, type: exponential_histogram, value: $.value, max_scale: 3}
      - {name: item.delta, type: counter, temporality: delta, value: 1}
      - {name: item.counter, type: counter, value: 1, when: $.value > 0}
    attributes: {project: $.project}
  - tool: any
    each: $.map.*
    metrics:
      - {name: map.counter, type: counter, value: $}
    attributes: {name: $~, long: $.project}
  - tool: any
    format: prometheus
    start: {time: process_start_time_seconds}
    metrics:
      - {name: text.counter, type: counter, value: 'requests_total{code!="500"}', attributes: {code: $.code}}
"#;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-5i64..100).prop_map(Value::from),
        (1_700_000_000i64..1_800_000_000).prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        prop::sample::select(vec!["12 sessions", "2026-11-18T23:03:48", "NaN", "1e400", "-0", "❌ no"])
            .prop_map(Value::from),
    ]
}

/// Any JSON, in which the names that rules ask for are frequent.
fn document() -> impl Strategy<Value = Value> {
    let name = || {
        prop_oneof![
            4 => prop::sample::select(vec![
                "value", "list", "map", "id", "ended", "project", "started", "uptime", "sessions", "session_id", "duration_minutes",
                "active_sessions", "total_sessions", "tools", "outcome", "up", "uptime_seconds", "total_sessions_started",
                "workflows_completed", "avg_duration", "most_used_tools", "usage_count", "ended_at",
            ]).prop_map(str::to_owned),
            1 => "\\PC{0,8}",
        ]
    };
    let text = prop_oneof![
        "requests_total\\{code=\"[0-9]{3}\"\\} [0-9]{1,3}\nprocess_start_time_seconds 17000000[0-9]{2}\n"
            .prop_map(Value::from),
        "(# TYPE requests_total (gauge|counter)\n)?(requests_total\\{[a-z=\",\\\\]{0,9}\\} [0-9eEna.+-]{0,6}\n){0,4}"
            .prop_map(Value::from),
    ];
    let leaf = prop_oneof![4 => scalar(), 1 => text];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..8)
                .prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A recording in which some values were replaced.
fn damaged() -> impl Strategy<Value = (String, Value)> {
    let all: Vec<(String, Value)> = recordings()
        .into_values()
        .chain(contract().into_iter().map(|(tool, document)| (tool.to_owned(), document)))
        .collect();
    (prop::sample::select(all), prop::collection::vec((any::<prop::sample::Index>(), scalar()), 0..4)).prop_map(
        |((tool, mut document), damages)| {
            for (at, with) in damages {
                let mut pointers = Vec::new();
                walk(&document, String::new(), &mut pointers);
                if let Some(place) = document.pointer_mut(&pointers[at.index(pointers.len())]) {
                    *place = with;
                }
            }
            (tool, document)
        },
    )
}

fn walk(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().enumerate().for_each(|(index, one)| walk(one, format!("{at}/{index}"), out)),
        Value::Object(map) => map.iter().for_each(|(name, one)| walk(one, format!("{at}/{name}"), out)),
        _ => {}
    }
    out.push(at);
}

/// What a backend remembers of a series: its last start, time and value.
type Seen = HashMap<String, (Timestamp, Timestamp, f64)>;

fn hold(metrics: &Metrics, seen: &mut Seen) {
    for metric in metrics.iter() {
        let kind = metric.kind().unwrap();
        let monotonic = matches!(kind, MetricKind::Sum { monotonic: true, temporality: Temporality::Cumulative })
            || matches!(kind, MetricKind::HISTOGRAM | MetricKind::EXPONENTIAL_HISTOGRAM);
        for point in metric.points() {
            let name = format!("{} {:?}", metric.name(), point.attributes());
            assert!(!point.time.is_unset(), "{name}: no time");
            assert!(point.start <= point.time, "{name}: starts after its point");
            assert_eq!(point.start.is_unset(), kind == MetricKind::Gauge, "{name}: {kind:?} and start");
            let value = match point.value {
                PointValue::None => {
                    assert!(point.no_recorded_value, "{name}: neither a value nor the flag");
                    continue;
                }
                PointValue::Number(Number::Int(value)) => value as f64,
                PointValue::Number(Number::Double(value)) => value,
                PointValue::Histogram { count, bounds, buckets, sum, .. } => {
                    assert_eq!(buckets.len(), bounds.len() + 1, "{name}");
                    assert_eq!(buckets.iter().sum::<u64>(), count, "{name}");
                    assert!(sum.is_none_or(f64::is_finite), "{name}: {sum:?}");
                    count as f64
                }
                PointValue::ExponentialHistogram { count, zero_count, positive, negative, sum, scale, .. } => {
                    assert_eq!(positive.iter().chain(negative).sum::<u64>() + zero_count, count, "{name}");
                    assert!(positive.len().max(negative.len()) <= 160 && (-10..=20).contains(&scale), "{name}");
                    assert!(sum.is_none_or(|sum| sum.is_finite() && sum >= 0.0), "{name}: {sum:?}");
                    count as f64
                }
                ref other => panic!("{name}: {other:?}"),
            };
            assert!(value.is_finite() && !point.no_recorded_value, "{name}: {value}");
            if !monotonic {
                continue;
            }
            assert!(value >= 0.0, "{name}: {value}");
            if let Some((start, time, last)) = seen.insert(name.clone(), (point.start, point.time, value)) {
                assert!(point.start >= start && point.time >= time, "{name} went back");
                if point.start == start {
                    assert!(value >= last, "{name} fell from {last} to {value} under one start");
                } else {
                    assert!(point.start >= time, "{name}: its new life overlaps the old one");
                }
            }
        }
    }
}

fn run(cycles: Vec<Vec<(String, Value)>>) {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
        let mut world = World::new(RULES);
        let mut seen = Seen::new();
        for cycle in cycles {
            let answers: Vec<(&str, Value)> =
                cycle.iter().map(|(tool, document)| (tool.as_str(), document.clone())).collect();
            hold(&world.cycle(&answers).await, &mut seen);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_makes_valid_points_or_none(
        cycles in prop::collection::vec(
            prop::collection::vec(
                (prop::sample::select(vec!["any", "other", "get_metrics_summary", "get_session_analytics", "get_prometheus_metrics", "@poll"])
                    .prop_map(str::to_owned), document()),
                0..4,
            ),
            1..6,
        )
    ) {
        run(cycles);
    }

    #[test]
    fn damaged_answers_make_valid_points_or_none(
        cycles in prop::collection::vec(prop::collection::vec(damaged(), 1..5), 1..5)
    ) {
        run(cycles);
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_nests_too_deep_is_told_and_makes_no_point() {
    let mut deep = json!(1);
    for _ in 0..150 {
        deep = json!({ "value": [deep] });
    }
    let mut world = World::new("rules: [{tool: any, metrics: [{name: a, type: gauge, value: $..x}]}]");
    assert!(world.cycle(&[("any", deep)]).await.is_empty());
    assert_eq!(world.harness.notices(), ["values_unusable"]);
}

#[test]
fn a_document_as_large_as_an_answer_may_be_is_mapped_in_time() {
    let list: Vec<Value> =
        (0..100_000).map(|id| json!({ "id": id, "value": id, "project": format!("p{id}") })).collect();
    let map: Map<String, Value> = (0..100_000).map(|id| (format!("m{id}"), id.into())).collect();
    run(vec![vec![("any".to_owned(), json!({ "list": list, "map": map, "value": 1 }))]; 2]);
}
