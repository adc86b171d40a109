//! Held: the schema tells of every option what it is, and what it tells is what the program does.

use minicol_config::{Environment, Path, Request};
use minicol_host::Plan;
use serde_json::{Map, Value, json};

use crate::components::REGISTRY;

/// An option, and the keys on the way to it.
struct Found<'a> {
    keys: Vec<String>,
    /// What stands at its key.
    at: &'a Value,
    /// Its shape, references followed.
    shape: &'a Value,
}

fn follow<'a>(schema: &'a Value, at: &'a Value) -> &'a Value {
    if let Some(reference) = at["$ref"].as_str() {
        return follow(schema, schema.pointer(&reference[1..]).unwrap());
    }
    let shapes: Vec<&Value> =
        at["anyOf"].as_array().into_iter().flatten().filter(|one| one["type"] != "null").collect();
    if let [only] = shapes.as_slice() { follow(schema, only) } else { at }
}

/// Every option that can be reached through sections alone.
fn options<'a>(schema: &'a Value, section: &'a Value, keys: &[String], found: &mut Vec<Found<'a>>) {
    for (key, at) in section["properties"].as_object().into_iter().flatten() {
        let keys: Vec<String> = keys.iter().cloned().chain([key.clone()]).collect();
        let shape = follow(schema, at);
        if shape["properties"].is_object() {
            options(schema, shape, &keys, found);
        } else {
            found.push(Found { keys, at, shape });
        }
    }
}

/// Everything below the file's sections: the options of every component, and those of `service.telemetry`.
fn all(schema: &Value) -> Vec<Found<'_>> {
    let mut found = Vec::new();
    for definition in schema["$defs"].as_object().unwrap().values() {
        if let Some(about) = definition.get("x-component") {
            let section = format!("{}s", about["kind"].as_str().unwrap());
            let id = about["type"].as_str().unwrap().to_owned();
            options(schema, definition, &[section, id], &mut found);
        }
    }
    let telemetry = &schema["properties"]["service"]["properties"]["telemetry"];
    options(schema, follow(schema, telemetry), &["service".to_owned(), "telemetry".to_owned()], &mut found);
    assert!(found.len() > 100, "only {} options", found.len());
    found
}

/// Every `properties` of a schema, wherever it stands.
fn sections<'a>(schema: &'a Value, found: &mut Vec<&'a Map<String, Value>>) {
    match schema {
        Value::Object(map) => {
            // What an example holds is no schema.
            let schemas = map.iter().filter(|(key, _)| !matches!(key.as_str(), "default" | "examples" | "x-component"));
            found.extend(map.get("properties").and_then(Value::as_object));
            schemas.for_each(|(_, one)| sections(one, found));
        }
        Value::Array(list) => list.iter().for_each(|one| sections(one, found)),
        _ => {}
    }
}

#[test]
fn every_option_says_what_it_is() {
    let schema = REGISTRY.schema();
    let mut all = Vec::new();
    sections(&schema["$defs"], &mut all);
    assert!(all.len() > 30, "only {} sections", all.len());
    for (key, of) in all.into_iter().flatten() {
        // Below a component's id everything stands in its definition; an alternative of `if` only narrows.
        if of.get("$ref").is_some_and(|of| of.as_str().unwrap().contains('.'))
            || of.as_object().unwrap().len() == 1 && of.get("enum").or(of.get("items")).is_some()
        {
            continue;
        }
        assert!(of["description"].as_str().is_some_and(|text| !text.is_empty()), "`{key}` has no description: {of}");
    }
}

#[test]
fn an_option_without_a_default_and_without_a_choice_shows_an_example() {
    let schema = REGISTRY.schema();
    for Found { keys, at, shape } in all(&schema) {
        let open = matches!(&at["default"], Value::Null) || [json!(""), json!({}), json!([])].contains(&at["default"]);
        let is_choice = shape["anyOf"].as_array().is_some_and(|all| all.iter().any(|one| one.get("enum").is_some()));
        let is_switch = shape["x-type"] == "true or false";
        let has_parts = shape.get("anyOf").is_some() && !is_choice;
        // Seconds without a default are another key's: the text says whose.
        if open && !is_choice && !is_switch && !has_parts && at["x-unit"] != "s" {
            assert!(at["examples"].as_array().is_some_and(|all| !all.is_empty()), "{keys:?} shows no example: {at}");
        }
    }
}

/// What loading a file says at one place.
fn told(schema: &Value, keys: &[String], value: &Value) -> Vec<String> {
    let kind = keys[0].trim_end_matches('s').to_owned();
    let mut file = json!({
        "receivers": {"session_buddy": null},
        "processors": {"mapping": {"presets": ["session_buddy"]}},
        "exporters": {"debug": null},
        "service": {"pipelines": {"metrics": {"receivers": ["session_buddy"], "processors": ["mapping"], "exporters": ["debug"]}}},
    });
    if kind != "service" {
        let example = schema["$defs"][format!("{kind}.{}", keys[1])]["examples"][0].clone();
        assert!(example.is_object(), "the example of {} is no value", keys[1]);
        file[&keys[0]][&keys[1]] = example;
    }
    let mut at = &mut file;
    for key in keys {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key.as_str()];
    }
    *at = value.clone();
    let request =
        Request { configs: vec![format!("yaml:{file}")], environment: Environment::default(), ..Request::default() };
    let path: Path = Path::keys(keys.iter().map(String::as_str));
    let Err(problems) = Plan::load(request, REGISTRY) else { return Vec::new() };
    problems.iter().filter(|problem| problem.path == path).map(|problem| problem.message.clone()).collect()
}

/// Whether a message tells of a bound of the value itself, not of one beside it.
fn tells_a_bound(message: &str) -> bool {
    ["must be between", "must be at least", "must be at most", "must be from"]
        .iter()
        .any(|words| message.contains(words))
}

#[test]
fn bounds_are_those_that_the_program_has() {
    let schema = REGISTRY.schema();
    let mut looked_at = 0;
    for Found { keys, at, shape } in all(&schema) {
        let kind = shape["x-type"].as_str().unwrap_or_default();
        let (least, most, below, above) = match kind {
            "duration" => {
                let bound = |word: &str| at.get(word).cloned();
                (bound("x-minimum"), bound("x-maximum"), json!("1ns"), json!("300000h"))
            }
            "integer" | "number" => {
                let bound = |word: &str| at.get(word).or(shape.get(word)).cloned();
                let (least, most) = (bound("minimum"), bound("maximum"));
                let step = |bound: &Option<Value>, by: f64| {
                    bound.as_ref().and_then(Value::as_f64).map_or(Value::Null, |bound| number(bound + by, kind))
                };
                let (below, above) = (step(&least, -1.0), step(&most, 1.0));
                (least, most, below, above)
            }
            _ => continue,
        };
        for (bound, beyond) in [(&least, below), (&most, above)] {
            if let Some(bound) = bound {
                let inside = told(&schema, &keys, bound);
                assert!(!inside.iter().any(|one| tells_a_bound(one)), "{keys:?} {bound}: {inside:?}");
                let outside = told(&schema, &keys, &beyond);
                assert!(!outside.is_empty(), "{keys:?}: {beyond} is taken, though {bound} is its bound");
                looked_at += 1;
            } else {
                let extreme = if kind == "duration" { beyond } else { number(1e15, kind) };
                let told = told(&schema, &keys, &extreme);
                assert!(!told.iter().any(|one| tells_a_bound(one)), "{keys:?} has a bound: {told:?}");
            }
        }
    }
    assert!(looked_at > 60, "only {looked_at} bounds");
}

fn number(value: f64, kind: &str) -> Value {
    #[allow(clippy::cast_possible_truncation)] // whole numbers of a test
    if kind == "integer" { json!(value as i64) } else { json!(value) }
}
