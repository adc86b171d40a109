//! Promise: whatever can never work is told at its place, all of it at once, with the cure.

use std::fmt::Write;

use minicol_plugin::config::{ComponentConfig, Problem, Problems, Segment};

use super::*;
use crate::config::MappingConfig;

fn problems(yaml: &str) -> Vec<Problem> {
    let config: MappingConfig = serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
    let mut problems = Problems::default();
    config.validate(&mut problems);
    problems.into_vec()
}

fn place(path: &[Segment]) -> String {
    path.iter().fold(String::new(), |mut out, segment| {
        match segment {
            Segment::Index(index) => write!(out, "[{index}]"),
            Segment::Key(key) if out.is_empty() => write!(out, "{key}"),
            Segment::Key(key) => write!(out, ".{key}"),
        }
        .unwrap();
        out
    })
}

/// A rule with one metric; the text replaces what is wrong.
const METRICS: &[&str] = &[
    "{name: a, type: guage, value: $.x}",
    "{name: a, type: gauge}",
    "{name: a, type: gauge, value: total}",
    "{name: a, type: gauge, value: '$.x['}",
    "{name: a, type: gauge, value: '$..a..b'}",
    "{name: a, type: gauge, value: '$.list[?@.id == $.best]'}",
    "{name: a, type: gauge, value: .nan}",
    "{name: a, type: counter, value: -1}",
    "{name: '', type: gauge, value: $.x}",
    "{name: 1a, type: gauge, value: $.x}",
    "{name: 'a b', type: gauge, value: $.x}",
    "{name: a, type: gauge, value: $.x, unit: 'per second'}",
    "{name: a, type: gauge, match: 'Last \\d+ hours'}",
    "{name: a, type: gauge, match: '(\\d+) of (\\d+)'}",
    "{name: a, type: gauge, match: '(\\d+'}",
    "{name: a, type: gauge, value: 3, match: '(\\d+)'}",
    "{name: a, type: gauge, value: $.x, as: tme}",
    "{name: a, type: counter, value: $.x, as: time}",
    "{name: a, type: gauge, value: $.x, scale: 0}",
    "{name: a, type: gauge, value: $.x, scale: .nan}",
    "{name: a, type: counter, value: $.x, scale: -1}",
    "{name: a, type: gauge, value: $.x, boundaries: [1, 2]}",
    "{name: a, type: histogram, value: $.x, boundaries: [10, 5, 60]}",
    "{name: a, type: histogram, value: $.x, boundaries: [1, 1]}",
    "{name: a, type: histogram, value: $.x, boundaries: [1, .inf]}",
    "{name: a, type: exponential_histogram, value: $.x, boundaries: [1, 2]}",
    "{name: a, type: exponential_histogram, value: $.x, max_size: 1, max_scale: 21}",
    "{name: a, type: histogram, value: $.x, max_size: 100, max_scale: 3}",
    "{name: a, type: counter, value: $.x, temporality: dleta}",
    "{name: a, type: gauge, value: $.x, temporality: cumulative}",
    "{name: a, type: updowncounter, value: $.x, temporality: delta}",
    "{name: a, type: gauge, value: $.x, when: '$.a = 1'}",
    "{name: a, type: gauge, value: $.x, attributes: {'a b': c}}",
    "{name: a, type: gauge, value: $.x, attributes: {c: '$.x['}}",
    "{name: a, type: gauge, value: $.x, attributes: {c: $~}}",
    "{name: a, type: gauge, value: $.x, attributes: {c: $HOME}}",
    "{name: a, type: gauge, value: $.x, attributes: {otel.metric.overflow: true}}",
];

/// Whole configurations.
const CONFIGS: &[&str] = &[
    "{}",
    "presets: [session_bud]",
    "presets: [session_buddy, session_buddy]",
    "{presets: [session_buddy], max_series: 0, max_keys: 2000000, max_items: 0, max_attribute_length: 0, expiry: 5ms}",
    "rules: [{tool: '', metrics: [{name: a, type: gauge, value: $.x}]}]",
    "rules: [{tool: get x, metrics: [{name: a, type: gauge, value: $.x}]}]",
    "rules: [{tool: '@pol', metrics: [{name: a, type: gauge, value: $.x}]}]",
    "rules: [{tool: t, metrics: []}]",
    "rules: [{tool: t, format: xml, metrics: [{name: a, type: gauge, value: $.x}]}]",
    "rules: [{tool: t, key: $.id, metrics: [{name: a, type: counter, value: 1}]}]",
    "rules: [{tool: t, each: '$.list[*]', time: $.end, metrics: [{name: a, type: gauge, value: 1, attributes: {i: $.id}}]}]",
    "rules: [{tool: t, each: list, key: id, time: end, metrics: [{name: a, type: counter, value: 1}]}]",
    "rules: [{tool: t, each: '$.list[*]', key: $.id, metrics: [{name: a, type: gauge, value: $.x}]}]",
    "rules: [{tool: t, each: '$.list[*]', metrics: [{name: a, type: gauge, value: $.x}]}]",
    "rules: [{tool: t, each: '$..x', metrics: [{name: a, type: gauge, value: $, attributes: {n: $~}}]}]",
    "rules: [{tool: t, when: '', metrics: [{name: a, type: gauge, value: $.x}]}]",
    "rules: [{tool: t, attributes: {c: '$['}, metrics: [{name: a, type: gauge, value: $.x}, {name: b, type: gauge, value: $.x}]}]",
    "rules: [{tool: t, start: {time: $.t}, metrics: [{name: a, type: gauge, value: $.x}]}]",
    "rules: [{tool: t, start: {}, metrics: [{name: a, type: counter, value: $.x}]}]",
    "rules: [{tool: t, start: [], metrics: [{name: a, type: counter, value: $.x}]}]",
    "rules: [{tool: t, start: [{time: $.t, uptime: $.u}, {tool: '', time: t}], metrics: [{name: a, type: counter, value: $.x}]}]",
    "rules: [{tool: t, start: [{time: $.t, scale: 2}, {uptime: $.t, scale: 0}], metrics: [{name: a, type: counter, value: $.x}]}]",
    "rules: [{tool: t, start: {format: prometheus, time: $.t}, metrics: [{name: a, type: counter, value: $.x}]}]",
    "rules: [{tool: t, format: prometheus, each: $.x, key: $.y, time: $.z, metrics: [{name: a, type: gauge, value: x}]}]",
    "rules: [{tool: t, format: prometheus, when: $.x, metrics: [{name: a, type: gauge, value: $.x}, {name: b, type: gauge, value: 1}]}]",
    "rules: [{tool: t, format: prometheus, metrics: [{name: a, type: gauge, value: 'x{y=1}', match: '(a)', attributes: {c: $.a.b}}]}]",
    "rules: [{tool: t, format: prometheus, metrics: [{name: a, type: gauge}]}]",
    "rules: [{tool: t, metrics: [{name: a, type: gauge, value: $.x, unit: s}]}, {tool: u, metrics: [{name: a, type: gauge, value: $.x, unit: ms}]}]",
    "rules: [{tool: t, metrics: [{name: a, type: gauge, value: $.x}, {name: a, type: counter, value: $.x}]}]",
    "rules: [{tool: t, metrics: [{name: a, type: gauge, value: $.x}, {name: A, type: gauge, value: $.x}]}]",
    "rules: [{tool: t, metrics: [{name: a, type: histogram, value: $.x, boundaries: [1, 2]}, {name: a, type: histogram, value: $.x, boundaries: [1, 2.5]}]}]",
    "rules: [{tool: t, metrics: [{name: a, type: exponential_histogram, value: $.x}, {name: a, type: exponential_histogram, value: $.x, max_size: 80}]}]",
    "rules: [{tool: t, metrics: [{name: a, type: exponential_histogram, value: $.x}, {name: a, type: exponential_histogram, value: $.x, max_scale: 5}]}]",
    "rules: [{tool: t, metrics: [{name: a, type: counter, value: $.x}, {name: a, type: counter, value: $.x, temporality: delta}]}]",
    "{presets: [session_buddy], rules: [{tool: t, metrics: [{name: session_buddy.sessions.active, type: counter, value: $.x}]}]}",
    "rules: [{tool: '', metrics: [{name: '', type: guage, value: x, unit: ' ', when: x}, {name: b, type: gauge}]}]",
];

#[test]
fn each_mistake_is_told_at_its_place_with_the_cure() {
    let metrics = METRICS.iter().map(|metric| (*metric, format!("rules: [{{tool: t, metrics: [{metric}]}}]")));
    let configs = CONFIGS.iter().map(|config| (*config, (*config).to_owned()));
    let mut out = String::new();
    for (shown, yaml) in metrics.chain(configs) {
        let problems = problems(&yaml);
        assert!(!problems.is_empty(), "{yaml}");
        writeln!(out, "{shown}").unwrap();
        for problem in problems {
            let kind = if problem.warning { "warning" } else { "error" };
            writeln!(out, "    {kind} at `{}`: {}", place(&problem.path), problem.message).unwrap();
            writeln!(out, "        help: {}", problem.help.as_deref().unwrap_or("-")).unwrap();
        }
    }
    insta::with_settings!({ snapshot_path => "../../tests/snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("mistakes", out);
    });
}

#[test]
fn a_key_that_nobody_knows_and_a_key_that_is_missing_are_no_configuration() {
    for (yaml, why) in [
        ("rules: [{tool: t, metrcs: []}]", "unknown field `metrcs`"),
        ("rules: [{metrics: []}]", "missing field `tool`"),
        ("rules: [{tool: t, metrics: [{name: a, type: gauge, value: [1]}]}]", "a path such as $.total, or a number"),
        (
            "rules: [{tool: t, metrics: [{name: a, type: gauge, value: $.x, attributes: {a: [1]}}]}]",
            "a path, a text, a number",
        ),
        ("rules: [{tool: t, start: 5, metrics: []}]", "{tool: get_liveness, uptime: $.uptime_seconds}"),
        ("expiry: 5", "no unit"),
    ] {
        let error = serde_yaml::from_str::<MappingConfig>(yaml).unwrap_err().to_string();
        assert!(error.contains(why), "{yaml}: {error}");
    }
}

#[test]
fn one_name_with_other_words_is_one_stream_told_in_each_rules_words() {
    let yaml = "rules: [{tool: t, metrics: [{name: a, type: gauge, value: $.x, description: one}]}, \
                {tool: u, metrics: [{name: a, type: gauge, value: $.x, description: two}]}]";
    assert_eq!(problems(yaml), []);
    let config: MappingConfig = serde_yaml::from_str(yaml).unwrap();
    let ruleset = compile(&config, &mut Problems::default());
    assert_eq!(ruleset.instruments.len(), 2);
    assert!(ruleset.instruments[0].is_one_with(&ruleset.instruments[1]));
}

#[test]
fn a_users_rules_go_before_the_presets() {
    let yaml = "{presets: [session_buddy], rules: [{tool: t, metrics: [{name: a, type: gauge, value: $.x}]}]}";
    let ruleset = compile(&serde_yaml::from_str(yaml).unwrap(), &mut Problems::default());
    assert_eq!((&*ruleset.rules[0].label, &*ruleset.rules[1].label), ("rules[0]", "session_buddy[0]"));
}

#[test]
fn a_users_metric_replaces_the_presets_of_the_same_tool_name_and_attributes() {
    let with = |rule: &str| {
        let yaml = format!("{{presets: [session_buddy], rules: [{rule}]}}");
        assert_eq!(problems(&yaml), []);
        let ruleset = compile(&serde_yaml::from_str(&yaml).unwrap(), &mut Problems::default());
        ruleset.rules.iter().skip(1).map(|rule| rule.metrics.len()).sum::<usize>()
    };
    let all = with("{tool: t, metrics: [{name: a, type: gauge, value: $.x}]}");
    let metric = "type: counter, value: $.x, unit: '{event}'";
    assert_eq!(
        with(&format!(
            "{{tool: get_metrics_summary, metrics: [{{name: session_buddy.mcp.events, {metric}, attributes: {{outcome: success}}}}]}}"
        )),
        all - 1
    );
    assert_eq!(
        with(&format!(
            "{{tool: get_metrics_summary, metrics: [{{name: session_buddy.mcp.events, {metric}, attributes: {{outcome: other}}}}]}}"
        )),
        all
    );
    assert_eq!(
        with(&format!(
            "{{tool: other, metrics: [{{name: session_buddy.mcp.events, {metric}, attributes: {{outcome: success}}}}]}}"
        )),
        all
    );
    assert_eq!(
        with("{tool: get_liveness, metrics: [{name: process.uptime, type: gauge, value: $.up, unit: s}]}"),
        all - 1
    );
}

#[test]
fn a_configuration_is_written_as_it_was_read() {
    let yaml = include_str!("../../examples/mapping.yaml");
    let config: MappingConfig = serde_yaml::from_str(yaml).unwrap();
    let written = serde_yaml::to_string(&config).unwrap();
    assert_eq!(serde_yaml::from_str::<MappingConfig>(&written).unwrap(), config, "{written}");
    assert_eq!(problems(yaml), []);
}
