//! From what a type takes to what a user may write for it.

use schemars::{
    Schema,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

/// A text in which something is referred to: what it becomes, nobody knows before it is read.
const REFERENCE: &str = r"\$\{";

/// The one place that knows how a value may be written: wherever something else than text belongs, a text with `${` in it does, too; any other
/// text does not. Where text belongs, a number or a truth value is one. A mapping that needs no key may be left empty, and so may a list.
#[derive(Clone, Debug)]
pub(super) struct AsWritten;

impl Transform for AsWritten {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        tidy(object);
        name_units(object);
        empty_lists(object);
        if let Some(Value::Array(choices)) = object.remove("oneOf") {
            object.insert("anyOf".to_owned(), alternatives(choices));
        }
        if object.contains_key("const") || object.contains_key("enum") {
            words(object);
        } else {
            types(object);
        }
    }
}

/// One of several is enough, now that each takes a reference; words that are told one by one take it together.
fn alternatives(mut choices: Vec<Value>) -> Value {
    let told =
        |choice: &Value| choice.get("enum").is_some_and(|words| words.as_array().is_some_and(|all| !all.is_empty()));
    if choices.iter().any(told) {
        choices.push(json!({ "type": "string", "pattern": REFERENCE }));
    }
    choices.into()
}

/// A choice of words. One that YAML takes for a number, such as `1.2`, may be written so.
fn words(object: &mut Map<String, Value>) {
    let (words, alone) = match (object.remove("const"), object.remove("enum")) {
        (Some(word), _) => (vec![word], true),
        (None, Some(Value::Array(words))) => (words, false),
        _ => return,
    };
    let is_word = |word: &Value| word.is_string() || word.is_null();
    if !words.iter().all(is_word) {
        object.insert("enum".to_owned(), words.into());
        return;
    }
    let number = |word: &Value| word.as_str()?.parse::<f64>().ok().map(Value::from);
    let numbers: Vec<Value> = words.iter().filter_map(number).collect();
    object.remove("type");
    let words: Vec<Value> = words.into_iter().chain(numbers).collect();
    if alone {
        object.insert("enum".to_owned(), words.into());
        return;
    }
    let known = json!({ "enum": words });
    object.insert("anyOf".to_owned(), json!([known, { "type": "string", "pattern": REFERENCE }]));
}

fn types(object: &mut Map<String, Value>) {
    let mut types: Vec<String> = match object.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => return,
    };
    object.entry("x-type").or_insert_with(|| named(&types).into());
    let is = |types: &[String], name: &str| types.iter().any(|one| one == name);
    if is(&types, "string") {
        match object.get("pattern").and_then(Value::as_str) {
            Some(pattern) => {
                let pattern = format!("({pattern})|{REFERENCE}");
                object.insert("pattern".to_owned(), pattern.into());
            }
            None if types.iter().all(|one| matches!(one.as_str(), "string" | "null")) => {
                types.extend(["number".to_owned(), "boolean".to_owned()]);
            }
            None => {}
        }
    } else if types.iter().any(|one| one != "null") {
        let other = format!("{} belongs here, or a reference such as ${{env:NAME}}", named(&types));
        object.entry("patternErrorMessage").or_insert_with(|| other.into());
        types.push("string".to_owned());
        object.insert("pattern".to_owned(), REFERENCE.into());
    }
    let needs_keys = object.contains_key("required") || object.contains_key("minProperties");
    if is(&types, "object") && !needs_keys && !is(&types, "null") {
        types.push("null".to_owned());
    }
    let written = match types.as_slice() {
        [one] => json!(one),
        several => json!(several),
    };
    object.insert("type".to_owned(), written);
}

/// What documents call it.
fn named(types: &[String]) -> String {
    let name = |one: &String| match one.as_str() {
        "string" => Some("text".to_owned()),
        "boolean" => Some("true or false".to_owned()),
        "array" => Some("list".to_owned()),
        "object" => Some("map".to_owned()),
        "null" => None,
        other => Some(other.to_owned()),
    };
    types.iter().filter_map(name).collect::<Vec<_>>().join(" or ")
}

/// The key of a list that is left empty is as one that is not written. So it must not be one that has to be, and what holds then must be enough.
fn empty_lists(object: &mut Map<String, Value>) {
    let required: Vec<Value> = object.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    let optional = properties.iter_mut().filter(|(name, _)| !required.contains(&Value::from(name.as_str())));
    for (_, of) in optional {
        let has_default = of.get("default").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        if of.get("minItems").is_some() && !has_default {
            continue;
        }
        if let Some(Value::Array(types)) = of.get_mut("type")
            && types.iter().any(|one| one == "array")
            && !types.iter().any(|one| one == "null")
        {
            types.push("null".into());
        }
    }
}

/// Doc comments are broken into lines for their source. What a variant of several is told to be holds for its one key.
fn tidy(object: &mut Map<String, Value>) {
    let told = object.get("description").cloned();
    if let Some(Value::Object(keys)) = object.get_mut("properties")
        && keys.len() == 1
        && let (Some(told), Some(Value::Object(key))) = (told, keys.values_mut().next())
    {
        key.entry("description").or_insert(told);
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
}

/// A name that ends in a unit tells it.
fn name_units(object: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    for (name, of) in properties {
        let Some(of) = of.as_object_mut() else { continue };
        let known = [("_seconds", "s"), ("_mib", "MiB"), ("_bytes", "bytes"), ("_percentage", "%")];
        if let Some((_, unit)) = known.iter().find(|(ending, _)| name.ends_with(ending)) {
            of.entry("x-unit").or_insert_with(|| (*unit).into());
        }
    }
}
