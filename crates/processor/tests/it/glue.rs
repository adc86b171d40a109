//! Promise: what a pipeline sees of the processor beside its points.

use minicol_pdata::{Batch, Metrics, Signal};
use minicol_plugin::{ComponentKind, Entry, Event, Factory, Rejected, testing::Harness};
use minicol_processor::MappingFactory;
use serde_json::{Value, json};

use crate::world::{World, lines};

const COUNTER: &str = "rules: [{tool: t, metrics: [{name: a, type: counter, value: $.x, unit: '1'}]}]";

#[test]
fn it_takes_observations_and_emits_metrics() {
    let entry = Entry::of::<MappingFactory>();
    assert_eq!(entry.component_type, "mapping");
    assert_eq!((entry.flows[0].takes, entry.flows[0].emits), (Some(Signal::Observations), Some(Signal::Metrics)));
    let yaml: serde_yaml::Value = serde_yaml::from_str(entry.example).unwrap();
    let decoded = (entry.decode)(&mut <dyn erased_serde::Deserializer>::erase(yaml)).unwrap();
    assert_eq!(decoded.problems(), []);
    assert!((entry.schema)().as_object().is_some_and(|schema| schema.contains_key("properties")));
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

fn messages(harness: &Harness) -> Vec<String> {
    let notices = harness.events().into_iter();
    notices
        .filter_map(
            |event| if let Event::Notice(one) = event { Some(format!("{}: {}", one.name, one.message)) } else { None },
        )
        .collect()
}
