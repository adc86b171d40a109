//! The reference in the README is held against the code.

use minicol_plugin::{
    Factory,
    config::{ComponentConfig, Problems},
};
use minicol_receiver_session_buddy::{SessionBuddyConfig, SessionBuddyFactory};
use serde_json::{Value, json};

const README: &str = include_str!("../../README.md");

/// Decodes a body as the host does, and finds nothing wrong with it.
fn holds(yaml: &str) -> SessionBuddyConfig {
    let config: SessionBuddyConfig = serde_yaml::from_str(yaml).unwrap();
    let mut problems = Problems::default();
    config.validate(&mut problems);
    assert_eq!(problems.into_vec(), []);
    config
}

#[test]
fn the_factorys_example_holds_and_names_every_key() {
    let written: Value = serde_yaml::from_str(SessionBuddyFactory::EXAMPLE).unwrap();
    let config = holds(SessionBuddyFactory::EXAMPLE);
    assert_eq!(config.interval(), config.cooldown());
    assert_eq!(
        written.as_object().unwrap().len(),
        19 - 2,
        "header_files and bearer_token_file stand in a comment: the one excludes the others"
    );
}

#[test]
fn the_readmes_example_holds_and_names_every_key() {
    let (_, from) = README.split_once("Example with every key:\n\n").unwrap();
    let example: Vec<_> = from.lines().take_while(|line| line.starts_with("    ") || line.is_empty()).collect();
    let mut written: Value = serde_yaml::from_str(&example.join("\n")).unwrap();
    let body = written["session_buddy"].take();
    assert_eq!(
        body.as_object().unwrap().len(),
        19 - 2,
        "header_files and bearer_token_file stand in a comment: the one excludes the others"
    );
    holds(&serde_json::to_string(&body).unwrap());
}

#[test]
fn every_key_is_described_in_the_schema_and_in_the_readme_with_its_default() {
    let schema = serde_json::to_value(schemars::schema_for!(SessionBuddyConfig)).unwrap();
    assert_eq!(schema["additionalProperties"], json!(false));
    let defaults = serde_json::to_value(SessionBuddyConfig::default()).unwrap();
    for (key, of) in schema["properties"].as_object().unwrap() {
        assert!(of["description"].as_str().is_some_and(|text| !text.is_empty()), "{key}");
        let row =
            README.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).unwrap_or_else(|| panic!("{key}"));
        let default = row.split('|').nth(3).unwrap().trim();
        match &defaults[key] {
            Value::Number(number) => assert_eq!(default, number.to_string().trim_end_matches(".0"), "{key}"),
            Value::String(text) => assert_eq!(default, format!("`{text}`"), "{key}"),
            Value::Bool(value) => assert_eq!(default, value.to_string(), "{key}"),
            _ => {}
        }
    }
    let tools: Vec<_> = defaults["metrics_to_collect"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| format!("`{}`", tool.as_str().unwrap()))
        .collect();
    assert!(README.replace('\n', " ").contains(&format!("Default: {}.", tools.join(", "))));
}

#[test]
fn the_environment_variables_have_the_names_that_users_know() {
    let environment = SessionBuddyFactory::ENVIRONMENT.unwrap();
    assert_eq!((environment.prefix, environment.id), ("MAHAVISHNU_SESSION_BUDDY_POLLING__", "session_buddy"));
    assert!(README.contains(environment.prefix));
}

#[test]
fn every_notice_is_in_the_readme() {
    let said = include_str!("../../src/poller/voice.rs").split("self.scope.notice(").skip(1);
    let names: Vec<_> = said.map(|call| call.split('"').nth(1).unwrap()).collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        assert!(README.contains(&format!("`{name}`")), "{name}");
    }
}
