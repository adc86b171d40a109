//! Promise: the JSON Schema takes what the program takes, and refuses what it can; the reference is made of it.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use minicol_tests::Program;
use serde_json::{Value, json};

/// Bad files that the schema cannot refuse, and why.
const BEYOND: [(&str, &str); 10] = [
    ("bad_jsonpath", "a path is text to a schema"),
    ("boundaries_not_rising", "a schema knows no order of numbers"),
    ("endpoint_missing_otlp", "the environment may give it, or each signal may have its own"),
    ("header_name_with_a_space", "the names of headers are keys of the user's"),
    ("match_without_group", "what a regular expression captures"),
    ("token_over_plain_http", "what two keys mean together"),
    ("two_units_for_one_metric", "what two rules mean together"),
    ("unclosed_reference", "a text that refers to something is taken as it is"),
    (
        "unknown_exporter_in_pipeline",
        "the id has a type that there is; whether it is configured, a schema cannot look up",
    ),
    ("unset_variable", "the environment is not the file"),
];

/// Bad files that are no YAML: no schema sees them.
const NO_YAML: [&str; 4] = ["bad_indentation", "duplicate_key", "tab", "unclosed_quote"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

async fn printed() -> (String, Validator) {
    let output = Program::run(&["schema"], &[]).await;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let schema: Value = serde_json::from_str(&output.stdout).unwrap();
    jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("it is no JSON Schema: {error}"));
    (output.stdout, jsonschema::validator_for(&schema).unwrap())
}

fn yaml_files(folder: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    found.sort();
    found
}

fn wrong(schema: &Validator, file: &Value) -> Vec<String> {
    schema.iter_errors(file).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[tokio::test]
async fn every_shipped_file_holds_and_so_does_what_print_config_prints_of_it() {
    let (_, schema) = printed().await;
    let files = yaml_files("pipelines");
    assert!(files.len() >= 6, "{files:?}");
    for (name, text) in files {
        let file: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(wrong(&schema, &file), Vec::<String>::new(), "{name}");
        // Every default is spelt out there.
        let path = format!("pipelines/{name}.yaml");
        let whole = Program::run(&["print-config", "--config", &path, "--format", "json"], &[]).await;
        let whole: Value = serde_json::from_str(&whole.stdout).unwrap();
        assert_eq!(wrong(&schema, &whole), Vec::<String>::new(), "{name}, as print-config has it");
    }
}

#[test]
fn every_shipped_file_tells_the_editor_its_schema() {
    for (name, text) in yaml_files("pipelines") {
        let first = text.lines().next().unwrap();
        let place = first.strip_prefix("# yaml-language-server: $schema=").unwrap_or_else(|| panic!("{name}: {first}"));
        assert!(root().join("pipelines").join(place).is_file(), "{name}: there is no {place}");
    }
}

#[tokio::test]
async fn every_bad_file_that_a_schema_can_see_through_is_refused() {
    let (_, schema) = printed().await;
    let files = yaml_files("tests/fixtures/wrong");
    assert!(files.len() >= 40, "only {}", files.len());
    for (name, text) in files {
        let beyond = BEYOND.iter().find(|(file, _)| *file == name);
        // As a value of YAML's own, which takes no key twice.
        let file = serde_yaml::from_str::<serde_yaml::Value>(&text);
        assert_eq!(file.is_err(), NO_YAML.contains(&name.as_str()), "{name} is YAML, or is none");
        let Ok(file) = file else { continue };
        let file = serde_json::to_value(file).unwrap();
        let found = wrong(&schema, &file);
        match beyond {
            None => assert!(!found.is_empty(), "the schema takes {name}"),
            Some((_, why)) => assert_eq!(found, Vec::<String>::new(), "{name} is refused, though: {why}"),
        }
    }
}

/// A file that holds, with one value at one place.
fn with(pointer: &str, value: Value) -> Value {
    let mut file = json!({
        "receivers": {"session_buddy": {"tls": {}}},
        "processors": {"mapping": {"presets": ["session_buddy"]}},
        "exporters": {"otlp/a": {"endpoint": "x:4317", "sending_queue": {}, "headers": {}}},
        "service": {"telemetry": {}, "pipelines": {"metrics": {"receivers": ["session_buddy"], "processors": ["mapping"], "exporters": ["otlp/a"]}}},
    });
    let (at, key) = pointer.rsplit_once('/').unwrap();
    file.pointer_mut(at).unwrap()[key.replace("~1", "/")] = value;
    file
}

#[tokio::test]
async fn a_value_may_be_written_as_the_program_reads_it() {
    let (_, schema) = printed().await;
    let buddy = |key: &str| format!("/receivers/session_buddy/{key}");
    let otlp = |key: &str| format!("/exporters/otlp~1a/{key}");
    let cases: Vec<(String, Value, bool)> = vec![
        (buddy("interval_seconds"), json!(0.5 + 1.0), true),
        (buddy("interval_seconds"), json!("${env:INTERVAL}"), true),
        (buddy("interval_seconds"), json!("30"), false),
        (buddy("interval_seconds"), json!("soon"), false),
        (buddy("interval_seconds"), json!(0), false),
        (buddy("interval_seconds"), json!(null), false),
        (buddy("enabled"), json!(null), true),
        (buddy("enabled"), json!("yes"), false),
        (buddy("enabled"), json!("${env:ON:-true}"), true),
        (buddy("metrics_to_collect"), json!("${env:TOOLS}"), true),
        (buddy("metrics_to_collect"), json!("liveness"), false),
        (buddy("metrics_to_collect"), json!(null), true),
        (buddy("metrics_to_collect"), json!([]), false),
        ("/processors/mapping/rules".to_owned(), json!(null), true),
        ("/processors/mapping/presets".to_owned(), json!(["session_buddy"]), true),
        (buddy("headers"), json!({"X-Team": 5}), true),
        (buddy("headers"), json!(null), true),
        (buddy("headers"), json!({"X-Team": ["a"]}), false),
        (buddy("tls/min_version"), json!(1.3), true),
        (buddy("tls/min_version"), json!("1.1"), false),
        (buddy("circuit_breaker_cooldown_seconds"), json!(null), true),
        (buddy("tls"), json!(null), true),
        (otlp("timeout"), json!(0), true),
        (otlp("timeout"), json!(5), false),
        (otlp("timeout"), json!("5"), false),
        (otlp("timeout"), json!("1m30s"), true),
        (otlp("timeout"), json!("${env:TIMEOUT:-5s}"), true),
        (otlp("compression"), json!("brotli"), false),
        (otlp("compression"), json!("${env:COMPRESSION}"), true),
        (otlp("sending_queue/queue_size"), json!(0), false),
        (otlp("sending_queue/batch"), json!({}), true),
        (otlp("sending_queue/batches"), json!({}), false),
        ("/service/pipelines/metrics/receivers".to_owned(), json!(["otlp/x"]), true),
        ("/service/pipelines/metrics/exporters".to_owned(), json!(["oltp"]), false),
        ("/service/pipelines/metrics/exporters".to_owned(), json!(["otlp/"]), false),
        ("/service/pipelines/metrics/exporters".to_owned(), json!(["otlp_grpc/a", "debug"]), true),
        ("/service/pipelines/metrics/processors".to_owned(), json!(null), false),
        ("/service/pipelines/logs~12".to_owned(), json!({"receivers": ["otlp"], "exporters": ["otlphttp"]}), true),
        (
            "/service/pipelines/observations".to_owned(),
            json!({"receivers": ["session_buddy"], "exporters": ["otlp/a"]}),
            false,
        ),
        (
            "/service/pipelines/observations".to_owned(),
            json!({"receivers": ["session_buddy"], "exporters": ["debug"]}),
            true,
        ),
        ("/service/telemetry/logs".to_owned(), json!({"level": "loud"}), false),
    ];
    for (pointer, value, holds) in cases {
        let file = with(&pointer, value.clone());
        let found = wrong(&schema, &file);
        assert_eq!(found.is_empty(), holds, "{pointer}: {value}: {found:?}");
    }
}

#[tokio::test]
async fn the_reference_is_what_the_program_says_today() {
    let (printed, _) = printed().await;
    let folder = root().join(xtask::docs::FOLDER);
    let cure = "run `cargo run -p xtask -- docs`";
    let kept = std::fs::read_to_string(folder.join(xtask::docs::SCHEMA)).expect("the schema is kept");
    assert!(kept == printed, "{} is not what `minicol schema` prints: {cure}", xtask::docs::SCHEMA);
    let made = xtask::docs::pages(&serde_json::from_str(&printed).unwrap());
    let written = xtask::docs::written(&folder).unwrap();
    assert_eq!(made.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>(), "{cure}");
    for (name, page) in &made {
        assert!(*page == written[name], "{name} is not what the types say: {cure}");
    }
}
