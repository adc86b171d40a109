//! Values: what is read as what.

use minicol_config::{Environment, Node, Path, Problems, Request, Style, decode, load};
use serde::Deserialize;

use crate::demo::Demo;

/// One value, decoded as a type.
fn value<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    value_with(text, &[])
}

fn value_with<T: serde::de::DeserializeOwned>(text: &str, environment: &[(&str, &str)]) -> Result<T, String> {
    let request = Request {
        configs: vec![format!("yaml:v: {text}")],
        environment: Environment::from(environment.to_vec()),
        ..Request::default()
    };
    let loaded = load(&request).map_err(|problems| problems.to_string())?;
    let mut problems = loaded.problems;
    decode(&loaded.root, &Path::keys(["v"]), &mut problems).ok_or_else(|| problems.render(Style::PLAIN))
}

#[test]
fn the_field_decides_what_an_unquoted_text_is() {
    assert_eq!(value::<String>("0123"), Ok("0123".to_owned()));
    assert_eq!(value::<u64>("0123"), Ok(123));
    assert_eq!(value::<f64>("30"), Ok(30.0));
    assert_eq!(value::<String>("true"), Ok("true".to_owned()));
    assert_eq!(value::<bool>("true"), Ok(true));
    assert_eq!(value::<String>("1.50"), Ok("1.50".to_owned()));
    assert_eq!(value::<i8>("-128"), Ok(-128));
    assert_eq!(
        value::<serde_json::Value>("[1, 1.5, true, null, '1', x]"),
        Ok(serde_json::json!([1, 1.5, true, null, "1", "x"]))
    );
}

#[test]
fn what_is_quoted_is_text() {
    assert!(value::<u64>("'30'").unwrap_err().contains("remove the quotes"));
    assert!(value::<bool>("\"true\"").is_err());
    assert_eq!(value::<String>("'null'"), Ok("null".to_owned()));
    assert_eq!(value::<String>("!!str 30"), Ok("30".to_owned()));
    assert_eq!(value::<u64>("!!int '30'"), Ok(30));
}

#[test]
fn a_variable_has_the_type_that_is_wanted() {
    let environment =
        [("N", "0123"), ("LIST", "[a, \"b\", 3]"), ("MAP", "{\"a\": 1}"), ("EMPTY", ""), ("BROKEN", "[a, {")];
    let environment = &environment[..];
    assert_eq!(value_with::<String>("${env:N}", environment), Ok("0123".to_owned()));
    assert_eq!(value_with::<u64>("${env:N}", environment), Ok(123));
    assert!(value_with::<u64>("\"${env:N}\"", environment).is_err());
    assert_eq!(value_with::<Vec<String>>("${LIST}", environment), Ok(vec!["a".into(), "b".into(), "3".into()]));
    assert_eq!(value_with::<String>("${LIST}", environment), Ok("[a, \"b\", 3]".to_owned()));
    assert_eq!(value_with::<serde_json::Value>("${MAP}", environment), Ok(serde_json::json!({"a": 1})));
    assert_eq!(value_with::<String>("${BROKEN}", environment), Ok("[a, {".to_owned()));
    assert!(value_with::<Vec<String>>("${BROKEN}", environment).unwrap_err().contains("expected a list"));
    let map = value_with::<std::collections::BTreeMap<String, u8>>("${BROKEN}", environment).unwrap_err();
    assert!(map.contains("expected a mapping") && map.contains("look for a missing bracket"), "{map}");
    assert_eq!(value_with::<String>("${EMPTY}", environment), Ok(String::new()));
    assert_eq!(value_with::<Option<String>>("${EMPTY}", environment), Ok(None));
    assert_eq!(value_with::<u64>("${NONE:-7}", environment), Ok(7));
    assert_eq!(value_with::<Vec<u8>>("\"x${NONE:-}\"", &[]).unwrap_err().matches("error:").count(), 1);
}

#[test]
fn a_variable_may_hold_a_whole_section() {
    let section = r#"{"session_buddy": {"endpoint": "http://a", "max_retries": 2}}"#;
    let demo =
        Demo::of(&["yaml:receivers: ${SECTION}"], &["receivers.session_buddy.enabled=false"], &[("SECTION", section)]);
    assert_eq!((demo.receiver().max_retries, demo.receiver().enabled), (2, false));
}

#[test]
fn a_variable_takes_any_json() {
    let json = "{\n\t\"smile\": \"\\ud83d\\ude00\",\n\t\"many\": [1, 2.5, null, true]\n}";
    let environment = [("JSON", json), ("PRETTY", "{\n  \"a\": 1\n}")];
    let value = value_with::<serde_json::Value>;
    assert_eq!(
        value("${JSON}", &environment),
        Ok(serde_json::json!({"smile": "\u{1f600}", "many": [1, 2.5, null, true]}))
    );
    assert_eq!(value("${PRETTY}", &environment), Ok(serde_json::json!({"a": 1})));
}

#[test]
fn a_variable_that_holds_nothing_is_a_key_without_a_body() {
    let base = "yaml:exporters::debug::verbosity: normal";
    let demo = Demo::of(&[base, "yaml:exporters::debug: ${NOTHING:-}"], &[], &[]);
    assert!(demo.problems.is_empty(), "{}", demo.told());
    assert_eq!(demo.exporters["debug"].verbosity, crate::demo::Verbosity::Normal);
    let demo = Demo::of(&["yaml:exporters: ${NOTHING:-}"], &[], &[]);
    assert!(demo.problems.is_empty(), "{}", demo.told());
}

#[test]
fn seconds_with_a_unit_are_told_what_to_write() {
    let demo = Demo::yaml("receivers: {session_buddy: {endpoint: http://a, interval_seconds: 30s}}");
    assert!(demo.told().contains("seconds are written as a number alone"), "{}", demo.told());
}

#[test]
fn a_secret_in_a_list_of_a_variable_is_not_told() {
    let told = value_with::<Vec<u8>>("${API_TOKENS}", &[("API_TOKENS", "[hunter2]")]).unwrap_err();
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_dollar_that_is_no_reference_stays() {
    for text in ["$.sessions[?@.duration_minutes >= 0]", "$HOME", "cost: 5$", "^\\d+$", "$"] {
        assert_eq!(value::<String>(&format!("'{text}'")), Ok(text.to_owned()));
    }
    assert_eq!(value::<String>("$${env:HOME}"), Ok("${env:HOME}".to_owned()));
}

#[test]
fn keys_and_comments_are_not_substituted() {
    let demo =
        Demo::yaml("{receivers::session_buddy: {endpoint: 'http://a', resource_attributes: {'${A}': b}}} # ${NONE}");
    assert_eq!(demo.receiver().resource_attributes["${A}"], "b");
}

#[test]
fn a_variables_text_is_taken_as_it_is() {
    let environment = [("PASSWORD", "a$$b${c}#: {"), ("c", "never")];
    assert_eq!(value_with::<String>("\"x ${PASSWORD}\"", &environment), Ok("x a$$b${c}#: {".to_owned()));
    assert_eq!(value_with::<String>("${PASSWORD}", &environment), Ok("a$$b${c}#: {".to_owned()));
}

#[test]
fn a_key_without_a_body_is_its_default_where_that_is_a_list_or_a_mapping() {
    let demo = Demo::yaml(
        "receivers:\n  session_buddy:\n    endpoint: http://a\n    metrics_to_collect:\n    tools:\n      x:\n    circuit_breaker_threshold:\n",
    );
    let receiver = demo.receiver();
    assert_eq!(receiver.metrics_to_collect, ["liveness"]);
    assert_eq!(receiver.tools["x"], crate::demo::Tool::default());
    assert_eq!(receiver.circuit_breaker_threshold, None);
    let demo = Demo::yaml("exporters:\n  debug:\n");
    assert_eq!(demo.exporters["debug"], crate::demo::Debug::default());
}

#[test]
fn anchors_aliases_and_merge_keys_do_what_yaml_says() {
    let demo = Demo::yaml(
        "receivers:\n  session_buddy: &base\n    endpoint: http://a\n    max_retries: 1\n    interval_seconds: 5\n  session_buddy/2:\n    <<: *base\n    max_retries: 2\n  session_buddy/3: *base\n",
    );
    assert!(demo.problems.is_empty(), "{}", demo.told());
    assert_eq!(demo.receivers["session_buddy/3"], demo.receivers["session_buddy"]);
    let second = &demo.receivers["session_buddy/2"];
    assert_eq!((second.max_retries, second.interval_seconds, second.endpoint.as_str()), (2, 5.0, "http://a"));
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Choice {
    Off,
    Batch(u32),
    Otlp { endpoint: String },
}

#[test]
fn a_choice_is_a_name_or_a_name_with_a_body() {
    assert_eq!(value::<Choice>("off"), Ok(Choice::Off));
    assert_eq!(value::<Choice>("{batch: 3}"), Ok(Choice::Batch(3)));
    assert_eq!(value::<Choice>("{otlp: {endpoint: a}}"), Ok(Choice::Otlp { endpoint: "a".to_owned() }));
    assert_eq!(value::<(u8, String)>("[1, a]"), Ok((1, "a".to_owned())));
    for (wrong, why) in [
        ("of", "did you mean `off`?"),
        ("batch", "`batch` needs something below it"),
        ("{off: 3}", "`off` takes nothing below it"),
        ("{batch: 3, off: }", "expected exactly one of these keys: off, batch, otlp"),
        ("{otlp: {endpont: a}}", "did you mean `endpoint`?"),
        ("{batch: many}", "v::batch"),
    ] {
        let told = value::<Choice>(wrong).unwrap_err();
        assert!(told.contains(why), "{wrong}: {told}");
    }
    assert!(value::<(u8, u8)>("[1, 2, 3]").unwrap_err().contains("expected a list of 2 items, found 3"));
}

#[derive(Debug, PartialEq, Deserialize)]
struct Flat {
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Inner {
    number: u8,
}

#[test]
fn flattened_types_decode_and_tell_errors_at_their_mapping() {
    assert_eq!(value::<Flat>("{number: 3}"), Ok(Flat { inner: Inner { number: 3 } }));
    let told = value::<Flat>("{}").unwrap_err();
    assert!(told.starts_with("error: <yaml:>:1:1: the required key `number` is missing"), "{told}");
}

#[test]
fn what_is_absent_is_decoded_as_empty() {
    let mut problems = Problems::new();
    let root = Node::empty("x");
    assert_eq!(decode(&root, &Path::keys(["service", "telemetry"]), &mut problems), Some(crate::demo::Tool::default()));
    assert_eq!(decode::<u8>(&root, &Path::keys(["a"]), &mut problems), None);
    assert!(problems.has_errors());
}
