//! `service`: what is chained to what. Ids are checked as far as a schema can: their types, and that the types fit the pipeline's signal.

use minicol_pdata::Signal;
use minicol_plugin::{ComponentKind, Entry, Product};
use minicol_telemetry::TelemetryConfig;
use serde_json::{Map, Value, json};

use super::{Writer, id_pattern};
use crate::Registry;

pub(super) fn service(registry: &Registry, writer: &mut Writer) -> Value {
    let mut telemetry = writer.generator.subschema_for::<TelemetryConfig>();
    telemetry.insert("description".to_owned(), "What the program tells about itself, and where.".into());
    json!({
        "description": "What runs, and what the program tells about itself.",
        "type": "object",
        "properties": {
            "extensions": list(
                "The extensions that start, in this order.",
                &ids(registry.extensions, |_| true),
                false,
            ),
            "pipelines": pipelines(registry, writer),
            "telemetry": telemetry,
        },
        "required": ["pipelines"],
        "additionalProperties": false,
    })
}

fn pipelines(registry: &Registry, writer: &mut Writer) -> Value {
    let (mut patterns, mut plain) = (Map::new(), Map::new());
    for signal in Signal::ALL {
        let name = format!("pipeline.{signal}");
        let reference = json!({ "$ref": format!("#/$defs/{name}") });
        writer.definitions.insert(name, pipeline(registry, signal));
        plain.insert(signal.name().to_owned(), reference.clone());
        patterns.insert(format!("^{signal}(/.+)?$"), reference);
    }
    json!({
        "description": "What is chained to what, by `signal` or `signal/name`: the signal that the pipeline's exporters receive.",
        "type": "object",
        "properties": plain,
        "patternProperties": patterns,
        "additionalProperties": false,
        "minProperties": 1,
    })
}

fn pipeline(registry: &Registry, signal: Signal) -> Value {
    let takes = |flows: &[minicol_plugin::Flow]| flows.iter().any(|flow| flow.takes == Some(signal));
    let emits = |flows: &[minicol_plugin::Flow]| flows.iter().any(|flow| flow.emits == Some(signal));
    json!({
        "description": format!("A pipeline whose exporters receive {signal}."),
        "type": "object",
        "properties": {
            "receivers": list(
                "Ids of receivers. One that several pipelines name is one instance.",
                &ids(registry.receivers, |_| true),
                true,
            ),
            "processors": list(
                "Ids of processors, in the order in which telemetry passes them.",
                &ids(registry.processors, |_| true),
                false,
            ),
            "exporters": list(
                "Ids of exporters; each gets everything. One that several pipelines name is one instance.",
                &ids(registry.exporters, |entry| takes(entry.flows)),
                true,
            ),
        },
        "required": [ComponentKind::Receiver.section(), ComponentKind::Exporter.section()],
        "additionalProperties": false,
        // With nothing between, the receivers must emit what the exporters take.
        "if": { "properties": { "processors": { "enum": [[], null] } } },
        "then": { "properties": { "receivers": { "items": ids(registry.receivers, |entry| emits(entry.flows)) } } },
    })
}

/// Ids of components whose entry `fits`.
fn ids<P: Product + ?Sized>(entries: &[Entry<P>], fits: impl Fn(&Entry<P>) -> bool) -> Value {
    let fitting: Vec<&Entry<P>> = entries.iter().filter(|entry| fits(entry)).collect();
    if fitting.is_empty() {
        return json!(false);
    }
    let types: Vec<&str> = fitting.iter().map(|entry| entry.component_type).collect();
    json!({ "type": "string", "pattern": id_pattern(fitting.into_iter()), "examples": types })
}

fn list(description: &str, items: &Value, needed: bool) -> Value {
    let mut list = json!({ "description": description, "type": "array", "items": items, "uniqueItems": true });
    if needed {
        list["minItems"] = 1.into();
    } else {
        list["type"] = json!(["array", "null"]);
    }
    list
}
