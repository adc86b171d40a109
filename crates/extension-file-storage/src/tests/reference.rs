//! The README's table and example are those of the code.

use std::path::PathBuf;

use minicol_plugin::config::{ComponentConfig, Problems};
use serde_json::{Value, json};

use crate::FileStorageConfig;

const README: &str = include_str!("../../README.md");

fn problems(written: Value) -> Vec<String> {
    let config: FileStorageConfig = serde_json::from_value(written).unwrap();
    let mut problems = Problems::default();
    config.validate(&mut problems);
    problems.into_vec().into_iter().map(|problem| format!("{:?}: {}", problem.path.last(), problem.message)).collect()
}

/// Every option and its default, nested ones with dots.
fn options(prefix: &str, value: &Value, into: &mut Vec<(String, String)>) {
    for (key, value) in value.as_object().unwrap() {
        let name = format!("{prefix}{key}");
        match value {
            Value::Object(_) => options(&format!("{name}."), value, into),
            Value::String(text) => into.push((name, text.clone())),
            other => into.push((name, other.to_string())),
        }
    }
}

#[test]
fn the_table_lists_every_option_with_its_default() {
    let mut known = Vec::new();
    options("", &serde_json::to_value(FileStorageConfig::default()).unwrap(), &mut known);
    let table = README.split("| option |").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let listed: Vec<(String, String)> = table
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, _, default, _, _] = cells[..] else { return None };
            Some((name.strip_prefix('`')?.strip_suffix('`')?.to_owned(), default.trim_matches('`').to_owned()))
        })
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn the_example_is_understood() {
    let yaml = README.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let written: Value = serde_yaml::from_str(yaml).unwrap();
    let own = written["extensions"]["file_storage"].clone();
    assert!(problems(own.clone()).is_empty());
    let config: FileStorageConfig = serde_json::from_value(own).unwrap();
    assert_eq!(config.directory, PathBuf::from("/var/lib/minicol/file_storage"));
    assert_eq!(written["exporters"]["otlp"]["sending_queue"]["storage"], "file_storage");
    assert_eq!(written["service"]["extensions"][0], "file_storage");
}

#[test]
fn what_cannot_work_is_told_at_its_key() {
    assert!(problems(json!({})).is_empty());
    for (wrong, told) in [
        (json!({"directory": ""}), "directory"),
        (json!({"directory": "/etc/passwd"}), "directory"),
        (json!({"max_size_mib": 0}), "max_size_mib"),
        (json!({"fsync_interval": "1ms"}), "fsync_interval"),
        (json!({"compaction": {"check_interval": "0s"}}), "check_interval"),
        (json!({"compaction": {"rebound_trigger_threshold_mib": 100}}), "rebound_trigger_threshold_mib"),
    ] {
        let found = problems(wrong);
        assert!(found.len() == 1 && found[0].contains(told), "{found:?}");
    }
    for wrong in [json!({"fsync": "never"}), json!({"size": 1}), json!({"compaction": {"directory": "x"}})] {
        assert!(serde_json::from_value::<FileStorageConfig>(wrong).is_err());
    }
}
