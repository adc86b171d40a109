//! What stands under a component's id: its own keys, and those that the host takes off it.

use minicol_config::{Path, Problems, Request, decode, load};
use minicol_delivery::DeliverySettings;
use minicol_plugin::{Entry, Exporter, Product, Receiver};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::registry::ENABLED;

pub(super) fn of_any<P: Product + ?Sized>(generator: &mut SchemaGenerator, entry: &Entry<P>) -> Schema {
    let mut schema = (entry.schema_within)(generator);
    schema.insert("title".to_owned(), entry.component_type.into());
    schema.insert("description".to_owned(), sentence(entry.description).into());
    schema.insert("x-component".to_owned(), about(entry));
    if let Some(example) = example(entry.example) {
        schema.insert("examples".to_owned(), json!([example]));
    }
    schema
}

pub(super) fn of_receiver(generator: &mut SchemaGenerator, entry: &Entry<dyn Receiver>) -> Schema {
    let mut schema = of_any(generator, entry);
    let enabled = json!({
        "description": "Whether it is started. One that is not is built all the same, so that what is wrong with it is told.",
        "type": ["boolean", "null"],
        "default": true,
    });
    add(&mut schema, [(ENABLED.to_owned(), enabled)].into_iter().collect());
    schema
}

pub(super) fn of_exporter(generator: &mut SchemaGenerator, entry: &Entry<dyn Exporter>) -> Schema {
    let mut schema = of_any(generator, entry);
    let mut delivery = DeliverySettings::json_schema(generator);
    let defaults = serde_json::to_value(DeliverySettings::default().resolve(entry.queued)).unwrap_or_default();
    let Some(Value::Object(mut keys)) = delivery.remove("properties") else { return schema };
    for (key, of) in &mut keys {
        if let (Some(of), Some(default)) = (of.as_object_mut(), defaults.get(key)) {
            of.insert("default".to_owned(), default.clone());
        }
    }
    add(&mut schema, keys);
    schema
}

/// Adds keys behind those that there are.
fn add(schema: &mut Schema, keys: Map<String, Value>) {
    let properties = schema.ensure_object().entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(keys);
    }
}

/// What else there is to know, for those who make documents.
fn about<P: Product + ?Sized>(entry: &Entry<P>) -> Value {
    let mut about = json!({
        "kind": P::KIND,
        "type": entry.component_type,
        "stability": entry.stability,
        "flows": entry.flows,
        "example": entry.example,
    });
    if !entry.aliases.is_empty() {
        about["aliases"] = json!(entry.aliases);
    }
    if let Some(overrides) = entry.environment {
        about["overridden_by"] = json!({ "prefix": overrides.prefix, "id": overrides.id });
    }
    let filled: Vec<_> = (entry.environment_defaults)().into_iter().filter(|one| !one.key.is_empty()).collect();
    if !filled.is_empty() {
        let filled = filled.iter().map(|one| json!({ "variable": one.variable, "key": one.key.join(".") }));
        about["filled_in_by"] = filled.collect();
    }
    about
}

/// The example as a value; a test of the program's list holds that it is one.
fn example(yaml: &str) -> Option<Value> {
    let request = Request { configs: vec![format!("yaml:{yaml}")], ..Request::default() };
    decode(&load(&request).ok()?.root, &Path::root(), &mut Problems::new())
}

/// `does this` as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain((!text.ends_with('.')).then_some('.')).collect()
}
