//! Promise: what the documents say is so.

use std::collections::{BTreeMap, BTreeSet};

use minicol_pdata::Number;
use minicol_plugin::Factory;
use minicol_plugin::config::{ComponentConfig, Problems};
use minicol_processor::{
    AttributeConfig, MappingConfig, MemoryLimiterConfig, MemoryLimiterFactory, MetricConfig, RuleConfig, StartList,
    ValueConfig,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    golden::{contract, recordings},
    world::World,
};

#[derive(Deserialize)]
struct Preset {
    rules: Vec<RuleConfig>,
}

/// What one metric is made of, per kind of server.
#[derive(Default)]
struct Row {
    of_contract: Vec<String>,
    of_release: Vec<String>,
    attributes: BTreeSet<String>,
}

#[tokio::test(start_paused = true)]
async fn the_page_of_metrics_shows_what_the_preset_yields() {
    let page = include_str!("../../../../docs/session-buddy-metrics.md");
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let yielded = rows().await;
    assert_eq!(
        told.join("\n"),
        yielded.join("\n"),
        "docs/session-buddy-metrics.md should hold:\n{}\n",
        yielded.join("\n")
    );
}

/// The rows of the page, from the preset and from what each of its rules makes of each kind of server.
async fn rows() -> Vec<String> {
    let preset: Preset = serde_yaml::from_str(include_str!("../../presets/session_buddy.yaml")).unwrap();
    // Either server may have a tool that fails.
    let failed = ("@poll".to_owned(), json!({"tools": {"get_liveness": {"outcome": "failed"}}}));
    let contract = contract().into_iter().map(|(tool, document)| (tool.to_owned(), document));
    let of_contract: Vec<(String, Value)> = contract.chain([failed.clone()]).collect();
    let of_release: Vec<(String, Value)> = recordings().into_values().chain([failed]).collect();
    let mut order = Vec::new();
    let mut rows: BTreeMap<(String, String, String), Row> = BTreeMap::new();
    for rule in &preset.rules {
        for metric in &rule.metrics {
            let key = (metric.name.clone(), metric.kind.clone(), metric.unit.clone());
            if !order.contains(&key) {
                order.push(key.clone());
            }
            let row = rows.entry(key).or_default();
            let from = origin(rule, metric);
            let mut yields = false;
            for (column, answers) in [(&mut row.of_contract, &of_contract), (&mut row.of_release, &of_release)] {
                if makes_points(rule, metric, answers).await {
                    yields = true;
                    if !column.contains(&from) {
                        column.push(from.clone());
                    }
                }
            }
            assert!(yields, "no fixture makes a point of {}: {from}", metric.name);
            row.attributes.extend(rule.attributes.iter().chain(&metric.attributes).map(attribute));
        }
    }
    let cell = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join("; ") };
    let line = |key: (String, String, String)| {
        let row = &rows[&key];
        let attributes: Vec<String> = row.attributes.iter().cloned().collect();
        let (name, kind, unit) = &key;
        let (contract, release) = (cell(&row.of_contract), cell(&row.of_release));
        format!("| `{name}` | {kind} | `{unit}` | {contract} | {release} | {} |", cell(&attributes))
    };
    order.into_iter().map(line).collect()
}

fn origin(rule: &RuleConfig, metric: &MetricConfig) -> String {
    let value = match (&rule.each, metric.value.as_ref().unwrap()) {
        (Some(each), ValueConfig::Path(path)) if path == "$" => format!("`{each}`"),
        (Some(each), ValueConfig::Path(path)) => format!("`{each}` `{}`", path.trim_start_matches('$')),
        (Some(each), ValueConfig::Number(Number::Int(value))) => {
            format!("`{each}`, {value} where `{}`", metric.when.as_deref().unwrap_or_default())
        }
        (None, ValueConfig::Path(path)) => format!("`{path}`"),
        (_, other) => panic!("{}: {other:?} has no place in the page", metric.name),
    };
    let scale = metric.scale.map_or(String::new(), |scale| format!(" × {scale}"));
    // A bar would end the cell.
    format!("`{}` {value}{scale}", rule.tool).replace('|', "\\|")
}

fn attribute((name, value): (&String, &AttributeConfig)) -> String {
    match value {
        AttributeConfig::Text(path) if path.starts_with('$') => format!("`{name}`"),
        AttributeConfig::Text(text) => format!("`{name}={text}`"),
        AttributeConfig::Literal(literal) => format!("`{name}={literal:?}`"),
    }
}

/// Whether this metric of this rule, alone, makes a point of one of the answers.
async fn makes_points(rule: &RuleConfig, metric: &MetricConfig, answers: &[(String, Value)]) -> bool {
    let alone = RuleConfig { metrics: vec![metric.clone()], start: StartList::default(), ..rule.clone() };
    let config = MappingConfig { rules: vec![alone], ..MappingConfig::default() };
    let yaml = serde_yaml::to_string(&config).unwrap();
    for (tool, document) in answers {
        let mut world = World::new(&yaml);
        if world.cycle(&[(tool, document.clone())]).await.items() > 0 {
            return true;
        }
    }
    false
}

#[test]
fn every_example_of_the_readme_is_a_configuration_that_works() {
    let mut examples = 0;
    for block in include_str!("../../README.md").split("```yaml\n").skip(1) {
        let yaml = block.split("```").next().unwrap();
        let config: MappingConfig = serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"));
        let mut problems = Problems::default();
        config.validate(&mut problems);
        assert_eq!(problems.into_vec(), [], "{yaml}");
        examples += 1;
    }
    assert!(examples >= 10, "{examples}");
}

#[test]
fn the_readme_tells_every_option_and_every_reason() {
    let readme = include_str!("../../README.md");
    let schema = serde_json::to_value(schemars::schema_for!(MappingConfig)).unwrap();
    let mut options = Vec::new();
    names(&schema, &mut options);
    assert!(options.len() >= 25, "{options:?}");
    for option in options {
        assert!(readme.contains(&format!("`{option}`")), "the README does not tell of `{option}`");
    }
    let source = include_str!("../../src/extract/unusable.rs");
    let reasons = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \"")?.1.strip_suffix("\","));
    let reasons: Vec<&str> = reasons.filter(|name| !name.contains(' ') && !name.contains(';')).collect();
    assert_eq!(reasons.len(), 18, "{reasons:?}");
    for reason in reasons {
        assert!(readme.contains(&format!("| `{reason}` |")), "the README does not tell of the reason `{reason}`");
    }
}

#[test]
fn the_page_of_the_memory_limiter_tells_every_option_and_its_example_works() {
    let page = include_str!("../../memory_limiter.md");
    let schema = serde_json::to_value(schemars::schema_for!(MemoryLimiterConfig)).unwrap();
    let mut options = Vec::new();
    names(&schema, &mut options);
    assert_eq!(options.len(), 5);
    for option in options {
        assert!(page.contains(&format!("| `{option}` |")), "the page does not tell of `{option}`");
    }
    let yaml = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config: MemoryLimiterConfig = serde_yaml::from_str(yaml).unwrap();
    let mut problems = Problems::default();
    config.validate(&mut problems);
    assert_eq!(problems.into_vec(), []);
    assert_eq!(yaml, MemoryLimiterFactory::EXAMPLE);
}

/// The keys of every `properties` of a schema.
fn names(schema: &Value, out: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                out.extend(properties.keys().cloned());
            }
            map.values().for_each(|one| names(one, out));
        }
        Value::Array(list) => list.iter().for_each(|one| names(one, out)),
        _ => {}
    }
}
