//! What the processor `mapping` makes of documents, and what it takes for rules.

use std::{cell::RefCell, sync::Arc, time::Duration};

use minicol_pdata::{Arrival, Batch, Metrics, Number, Observation, Observations, PointValue, Source, Timestamp};
use minicol_plugin::{
    ComponentKind, Factory,
    config::{ComponentConfig, Problems},
    testing::{Harness, Sink},
};
use minicol_processor::{MappingConfig, MappingFactory};
use serde_json::{Value, json};

use crate::block_on;

pub(crate) const WORDS: &[&str] = &[
    "\"value\":",
    "\"list\":[",
    "\"map\":{",
    "\"id\":",
    "\"ended\":",
    "\"started\":",
    "\"uptime\":",
    "\"project\":",
    "\"sessions\":",
    "\"total_sessions\":",
    "\"tools\":",
    "\"outcome\":",
    "\"2026-11-18T23:03:48\"",
    "\"12 sessions\"",
    "1795392000",
    "-1",
    "1e308",
];
pub(crate) const RULE_WORDS: &[&str] = &[
    "$",
    "$.value",
    "$..value",
    "$..*",
    "[*]",
    "[?",
    "@.a",
    "$~",
    "==",
    "&&",
    "||",
    "!",
    "length(",
    "count(",
    "match(",
    "search(",
    "value(",
    "'a'",
    "[1:2:3]",
    "[-1]",
    "[::-1]",
    "[0,1]",
    "(?i)",
    "(\\d+)",
    "{1000}",
    "((((((((",
    "(a*)*",
    "\\p{L}",
    "9007199254740992",
];
pub(crate) const PROMETHEUS_WORDS: &[&str] = &[
    "# TYPE requests_total counter\n",
    "# HELP requests_total x\n",
    "requests_total",
    "{code=\"200\"}",
    "process_start_time_seconds",
    "} 1e308\n",
    " NaN\n",
    " +Inf\n",
    "\\\"",
    "\\n",
    "{",
    "}",
    "=\"",
    "\",",
    "# EOF\n",
    " 1700000000000\n",
    "_bucket{le=\"+Inf\"}",
];

/// Every kind of rule on one field or another.
const RULES: &str = include_str!("../rules.yaml");
/// 2026-11-23T00:00:00Z.
const NOW: Timestamp = Timestamp::from_nanos(1_795_392_000_000_000_000);
const TOOLS: [&str; 8] = [
    "any",
    "other",
    "@poll",
    "get_activity_summary",
    "get_metrics_summary",
    "get_session_analytics",
    "get_workflow_metrics",
    "get_prometheus_metrics",
];

fn observation(tool: &str, document: &Arc<Value>, cycle: u64) -> Observation {
    let resource = [("service.name", "fuzz")].into_iter().collect();
    let elapsed = Duration::from_secs(30) * u32::try_from(cycle).expect("a few");
    Observation {
        source: Arc::new(Source { resource, receiver: "session_buddy".into(), interval: Duration::from_secs(30) }),
        tool: tool.into(),
        arguments: None,
        arrival: Arrival { wall: NOW + elapsed, monotonic: elapsed },
        took: Duration::from_millis(5),
        document: Arc::clone(document),
        cut: None,
    }
}

/// Two cycles of the same document, under every tool's name.
fn map(config: &MappingConfig, document: Value) {
    block_on(async {
        let harness = Harness::default();
        let scope = harness.scope(ComponentKind::Processor, "mapping");
        let processor = MappingFactory::build(config.clone(), &scope).expect("rules that hold");
        let (sink, document) = (Sink::new(), Arc::new(document));
        for cycle in 0..2 {
            let batch: Vec<_> = TOOLS.iter().map(|tool| observation(tool, &document, cycle)).collect();
            let batch = Batch::Observations(Observations::from(batch));
            processor.process(batch, &sink.next()).await.expect("it takes observations");
        }
        for batch in sink.take() {
            if let Batch::Metrics(metrics) = batch {
                check(&metrics);
            }
        }
    });
}

/// Whatever the document: points are numbers, with times, and within the bounds of their kind.
fn check(metrics: &Metrics) {
    for metric in metrics.iter() {
        for point in metric.points() {
            let name = metric.name();
            assert!(!point.time.is_unset() && point.start <= point.time, "{name}: {point:?}");
            match point.value {
                PointValue::None => assert!(point.no_recorded_value, "{name}"),
                PointValue::Number(Number::Double(value)) => assert!(value.is_finite(), "{name}: {value}"),
                PointValue::Histogram { count, buckets, sum, .. } => {
                    assert_eq!(buckets.iter().sum::<u64>(), count, "{name}");
                    assert!(sum.is_none_or(f64::is_finite), "{name}: {sum:?}");
                }
                PointValue::ExponentialHistogram { positive, negative, .. } => {
                    assert!(positive.len().max(negative.len()) <= 160, "{name}");
                }
                _ => {}
            }
        }
    }
}

thread_local! {
    static CONFIG: RefCell<Option<MappingConfig>> = const { RefCell::new(None) };
}

fn every_rule(look: impl FnOnce(&MappingConfig)) {
    CONFIG.with_borrow_mut(|config| {
        look(config.get_or_insert_with(|| serde_yaml::from_str(RULES).expect("the rules")));
    });
}

/// Any JSON.
pub(crate) fn document(input: &[u8]) {
    let Ok(document) = serde_json::from_slice(input) else { return };
    every_rule(|config| map(config, document));
}

/// A page in the text format of Prometheus.
pub(crate) fn prometheus(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    every_rule(|config| map(config, Value::String(text)));
}

/// A text where a rule has a path, a condition or a pattern; the first byte says which.
pub(crate) fn rule(input: &[u8]) {
    let Some((kind, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mut metric = json!({"name": "a", "type": "gauge", "value": "$.value"});
    let mut rule = json!({"tool": "any"});
    match kind % 8 {
        0 => metric["value"] = json!(text),
        1 => metric["when"] = json!(text),
        2 => {
            metric = json!({"name": "a", "type": "counter", "match": text});
        }
        3 => metric["attributes"] = json!({"b": text}),
        4 => rule["each"] = json!(text),
        5 => {
            rule["each"] = json!("$.list[*]");
            rule["key"] = json!(text);
            metric["type"] = json!("counter");
        }
        6 => rule["start"] = json!({"time": text}),
        _ => {
            rule["format"] = json!("prometheus");
            metric["value"] = json!(text);
        }
    }
    rule["metrics"] = json!([metric]);
    let Ok(config) = serde_json::from_value::<MappingConfig>(json!({"rules": [rule]})) else { return };
    let mut problems = Problems::default();
    config.validate(&mut problems);
    if problems.into_vec().iter().any(|problem| !problem.warning) {
        return;
    }
    let item = json!({"id": "a", "value": 3, "a": {"value": [1, 2, {"value": "12 sessions"}]}, "ended": "2026-11-18T23:03:48"});
    map(&config, json!({"value": 1.5, "list": [item, item, 7], "map": {"a": 1, "b": item}, "text": "12 sessions"}));
    map(&config, json!("requests_total{code=\"200\"} 3\n12 sessions\n"));
}
