//! Promise: what a pipeline sees of the processor beside its points.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use minicol_pdata::{Batch, Metrics, Observations, Signal, Source};
use minicol_plugin::{
    ComponentKind, Converted, Event, Factory, Rejected,
    testing::{Harness, check},
};
use minicol_processor::MappingFactory;
use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics},
        reader::MetricReader,
    },
};
use serde_json::{Value, json};

use crate::world::{MAPPING, World, lines};

const COUNTER: &str = "rules: [{tool: t, metrics: [{name: a, type: counter, value: $.x, unit: '1'}]}]";

#[tokio::test(start_paused = true)]
async fn it_takes_observations_and_emits_metrics() {
    assert_eq!(MAPPING.component_type, "mapping");
    assert_eq!((MAPPING.flows[0].takes, MAPPING.flows[0].emits), (Some(Signal::Observations), Some(Signal::Metrics)));
    check::configuration(&MAPPING);
    check::life(&MAPPING, COUNTER).await;
}

#[test]
fn a_configuration_that_cannot_work_builds_nothing() {
    let scope = Harness::default().scope(ComponentKind::Processor, "mapping");
    let error = MappingFactory::build(minicol_processor::MappingConfig::default(), &scope).err().unwrap();
    assert!(error.to_string().contains("neither presets nor rules"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_a_series_was_outlives_a_reload() {
    let mut world = World::new(COUNTER);
    world.cycle(&[("t", json!({"x": 5}))]).await;
    world.reload("rules: [{tool: u, metrics: [{name: b, type: gauge, value: $.y}]}, {tool: t, metrics: [{name: a, type: counter, value: $.x, unit: '1'}]}]");
    let points = lines(&world.cycle(&[("t", json!({"x": 7}))]).await);
    assert_eq!(points, "a counter 1 {} +1s..+31s 7", "the start is the one from before the reload");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_handed_back() {
    let world = World::new(COUNTER);
    world.sink.refuse(Some(Rejected::retryable("queue_full", "the queue is full")));
    let refused = world.offer(vec![world.observation("t", json!({"x": 5}))]).await.unwrap_err();
    assert_eq!(refused.reason, "queue_full");
}

#[tokio::test(start_paused = true)]
async fn every_answer_that_was_taken_is_told_to_be_read_or_unused() {
    let harness = Harness::default();
    let scope = harness.scope(ComponentKind::Processor, "mapping");
    let world = World::new(COUNTER);
    let mapping = MappingFactory::build(serde_yaml::from_str(COUNTER).unwrap(), &scope).unwrap();
    let other = {
        let mut one = world.observation("t", json!({"x": 1}));
        one.source = Arc::new(Source { receiver: "session_buddy/2".to_owned(), ..(*one.source).clone() });
        one
    };
    let batch = || {
        let of = |tool: &str, answer: Value| world.observation(tool, answer);
        Batch::from(Observations::from(vec![
            of("t", json!({"x": 5})),
            of("t", json!("text")),
            of("u", json!(1)),
            other.clone(),
        ]))
    };
    world.sink.refuse(Some(Rejected::retryable("queue_full", "the queue is full")));
    mapping.process(batch(), &world.sink.next()).await.unwrap_err();
    assert_eq!(mapping.converted(), Some(Converted::default()), "what is refused stays with its sender");
    world.sink.refuse(None);
    mapping.process(batch(), &world.sink.next()).await.unwrap();
    assert_eq!(
        mapping.converted(),
        Some(Converted { converted: 3, unused: 1 }),
        "values that cannot be used are told apart"
    );
}

#[tokio::test(start_paused = true)]
async fn other_signals_are_refused_for_good() {
    let world = World::new(COUNTER);
    let processor = MappingFactory::build(
        serde_yaml::from_str(COUNTER).unwrap(),
        &world.harness.scope(ComponentKind::Processor, "mapping"),
    )
    .unwrap();
    let refused = processor.process(Batch::Metrics(Metrics::default()), &world.sink.next()).await.unwrap_err();
    assert_eq!((refused.reason, refused.to_string().contains("given metrics")), ("invalid", true));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_no_rule_is_for_makes_no_batch() {
    let world = World::new(COUNTER);
    assert!(world.offer(vec![world.observation("other", json!({}))]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn metrics_carry_the_targets_resource_and_the_processors_scope() {
    let mut world = World::new(COUNTER);
    let metrics = world.cycle(&[("t", json!({"x": 5}))]).await;
    let metric = metrics.iter().next().unwrap();
    assert_eq!(metric.scope_name(), "minicol.mapping");
    assert_eq!(metric.resource().get("service.name").and_then(|name| name.as_str()), Some("session-buddy"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_is_told_once_until_it_changes() {
    let mut world = World::new(COUNTER);
    let answers = [json!(null), json!(null), json!("much"), json!(-1), json!(3), json!("\u{1b}[31m")];
    for answer in answers {
        world.cycle(&[("t", json!({ "x": answer }))]).await;
    }
    let told: Vec<String> = messages(&world.harness);
    assert_eq!(
        told,
        [
            "values_unusable: session_buddy: a (rules[0].metrics[0]) from t: `$.x` (null) is null",
            "values_unusable: session_buddy: a (rules[0].metrics[0]) from t: `$.x` (\"much\") is no number",
            "values_unusable: session_buddy: a (rules[0].metrics[0]) from t: `$.x` (-1) is negative",
            "values_usable: session_buddy: a (rules[0].metrics[0]) from t is usable again",
            "values_unusable: session_buddy: a (rules[0].metrics[0]) from t: `$.x` (\"\\u{1b}[31m\") is no number",
        ]
    );
    let details = world.harness.details().unwrap();
    assert_eq!(details["unusable"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_bound_that_bites_is_told_once() {
    let yaml = "{max_series: 2, rules: [{tool: t, each: '$.list[*]', metrics: [{name: a, type: gauge, value: $.x}], attributes: {n: $.n}}]}";
    let mut world = World::new(yaml);
    let list: Vec<Value> = (0..5).map(|n| json!({"n": n, "x": n})).collect();
    for _ in 0..2 {
        let metrics = world.cycle(&[("t", json!({ "list": list }))]).await;
        assert_eq!(metrics.items(), 2);
    }
    assert_eq!(
        messages(&world.harness),
        ["series_dropped: session_buddy: 3 values dropped: a metric has max_series already"]
    );
}

#[tokio::test(start_paused = true)]
async fn two_values_of_one_series_are_told_and_the_first_counts() {
    let yaml = "rules: [{tool: t, each: '$.list[*]', metrics: [{name: a, type: gauge, value: $}]}]";
    let mut world = World::new(yaml);
    let points = lines(&world.cycle(&[("t", json!({"list": [1, 2, 3]}))]).await);
    assert_eq!(points, "a gauge  {} -..+1s 1");
    assert_eq!(world.harness.notices(), ["series_twice"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_cannot_be_used_is_told_once_for_the_rule_that_asks() {
    let yaml = "rules: [{tool: t, start: {tool: u, uptime: $.up}, metrics: [{name: a, type: counter, value: $.x}]}]";
    let mut world = World::new(yaml);
    for uptime in [json!("soon"), json!("soon"), json!(-5), json!(7)] {
        world.cycle(&[("t", json!({"x": 1})), ("u", json!({ "up": uptime }))]).await;
    }
    assert_eq!(
        messages(&world.harness),
        [
            "values_unusable: session_buddy: the start of rules[0] from u: the start `u uptime $.up` is no number",
            "values_unusable: session_buddy: the start of rules[0] from u: the start `u uptime $.up` is no time",
            "values_usable: session_buddy: the start of rules[0] from u is usable again",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_told_of_a_rule_goes_with_the_rule() {
    let mut world = World::new(COUNTER);
    world.cycle(&[("t", json!({"x": "much"}))]).await;
    let shown = |world: &World| world.harness.details().unwrap()["unusable"].as_array().map(Vec::len);
    assert_eq!(shown(&world), Some(1));
    world.reload(COUNTER);
    assert_eq!(shown(&world), Some(1));
    world.reload("rules: [{tool: t, metrics: [{name: b, type: counter, value: $.y}]}]");
    // What was there before is taken over with the first batch.
    world.cycle(&[("t", json!({"y": 1}))]).await;
    assert_eq!(shown(&world), Some(0));
}

#[test]
fn what_it_does_is_counted_in_the_programs_own_telemetry() {
    let reader = Shared::default();
    let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut harness = Harness::default();
        harness.meter = provider.meter("test");
        let yaml = "{max_series: 2, rules: [{tool: t, metrics: [{name: a, type: counter, value: $.x}]}, \
                    {tool: t, each: '$.list[*]', metrics: [{name: b, type: gauge, value: $.x}], attributes: {n: $.n}}, \
                    {tool: t, each: '$.list[*]', key: $.n, metrics: [{name: c, type: counter, value: 1}], attributes: {n: $.n}}]}";
        let mut world = World::within(harness, yaml);
        let list: Vec<Value> = [0, 1, 1, 2, 3].into_iter().map(|n| json!({"n": n, "x": n})).collect();
        world.cycle(&[("t", json!({"x": null, "list": list}))]).await;
        world.cycle(&[("t", json!({"x": -1, "list": []}))]).await;
    });
    let counted = counted(&reader);
    let expected = [
        // The second item 1: its gauge, and its key.
        "minicol_mapping_dropped_values{processor=mapping,reason=duplicate} 2",
        "minicol_mapping_dropped_values{processor=mapping,reason=max_series} 2",
        "minicol_mapping_expired_series{processor=mapping} 0",
        "minicol_mapping_forgotten_keys{processor=mapping} 0",
        // Two gauges, two counters and the overflow; the gauges ended in the second cycle.
        "minicol_mapping_live_series{processor=mapping} 3",
        "minicol_mapping_overflowed_values{processor=mapping} 2",
        "minicol_mapping_unusable_values{metric=a,processor=mapping,reason=negative,rule=rules[0]} 1",
        "minicol_mapping_unusable_values{metric=a,processor=mapping,reason=null,rule=rules[0]} 1",
        "minicol_mapping_usable_values{processor=mapping} 10",
    ];
    assert_eq!(counted, expected);
}

/// A reader that a test reads, too.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<ManualReader>);

impl MetricReader for Shared {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }
    fn collect(&self, into: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(into)
    }
    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// The value of each series of the program's own telemetry.
fn counted(reader: &Shared) -> Vec<String> {
    let (mut out, mut metrics) = (Vec::new(), ResourceMetrics::default());
    reader.collect(&mut metrics).unwrap();
    for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
        let mut add = |attributes: &mut dyn Iterator<Item = &KeyValue>, value: u64| {
            let mut attributes: Vec<_> = attributes.map(|one| format!("{}={}", one.key, one.value)).collect();
            attributes.sort();
            out.push(format!("{}{{{}}} {value}", metric.name(), attributes.join(",")));
        };
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                sum.data_points().for_each(|point| add(&mut point.attributes(), point.value()));
            }
            AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                gauge.data_points().for_each(|point| add(&mut point.attributes(), point.value()));
            }
            other => panic!("{other:?}"),
        }
    }
    out.sort();
    out
}

fn messages(harness: &Harness) -> Vec<String> {
    let notices = harness.events().into_iter();
    notices
        .filter_map(
            |event| if let Event::Notice(one) = event { Some(format!("{}: {}", one.name, one.message)) } else { None },
        )
        .collect()
}
