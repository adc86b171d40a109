//! Options: a table per section, and what a shape is called.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The shapes that a schema names.
pub(super) struct Shapes<'a>(Option<&'a Map<String, Value>>);

/// What an option is, its references followed.
struct Followed<'a> {
    /// What stands at the key itself.
    at: &'a Value,
    /// The shape.
    shape: &'a Value,
    /// The names of the shapes passed.
    names: Vec<&'a str>,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(schema: &'a Value) -> Self {
        Self(schema["$defs"].as_object())
    }

    fn follow(&self, at: &'a Value) -> Followed<'a> {
        let (mut shape, mut names) = (at, Vec::new());
        loop {
            // "this or null" is this.
            let choices =
                shape["anyOf"].as_array().map(|all| all.iter().filter(|one| one["type"] != "null").collect::<Vec<_>>());
            let next = match (shape["$ref"].as_str(), choices.as_deref()) {
                (Some(reference), _) => {
                    let name = reference.trim_start_matches("#/$defs/");
                    names.push(name);
                    self.0.and_then(|all| all.get(name))
                }
                (None, Some([only])) => Some(*only),
                _ => None,
            };
            match next {
                Some(next) if names.len() < 8 => shape = next,
                _ => return Followed { at, shape, names },
            }
        }
    }
}

/// A section below an option: what comes behind the key on the way to it, its alternatives (one, where it is no choice of several), and the names of
/// the shapes passed.
struct Inner<'a> {
    suffix: String,
    alternatives: Vec<&'a Value>,
    names: Vec<&'a str>,
}

/// The table of a section at `path`, then those of the sections in it.
pub(super) fn tables(section: &Value, path: &str, shapes: &Shapes<'_>) -> String {
    let mut out = String::new();
    write(&[section], path, shapes, &mut BTreeMap::new(), &mut out);
    out
}

/// `told` knows where a shape has a table already.
fn write<'a>(
    alternatives: &[&'a Value],
    path: &str,
    shapes: &Shapes<'a>,
    told: &mut BTreeMap<Vec<&'a str>, String>,
    out: &mut String,
) {
    let mut below = Vec::new();
    *out += "| option | type | default | what it is |\n| --- | --- | --- | --- |\n";
    for section in alternatives {
        let required = section["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let required: Vec<&str> = required.collect();
        for (key, at) in section["properties"].as_object().into_iter().flatten() {
            let option = shapes.follow(at);
            let inner = inner(&option, shapes);
            let default = match (required.contains(&key.as_str()), alternatives.len()) {
                (true, 1) => "required".to_owned(),
                (true, _) => "one of these".to_owned(),
                (false, _) => default(&option, inner.first().is_some_and(|one| one.alternatives.len() == 1)),
            };
            let row = [format!("`{key}`"), kind(&option, shapes), default, about(&option, shapes)];
            *out += &format!("| {} |\n", row.map(|one| cell(&one)).join(" | "));
            let differs = differs(&option);
            for inner in inner {
                let dot = if path.is_empty() { "" } else { "." };
                below.push((format!("{path}{dot}{key}{}", inner.suffix), inner, differs.clone()));
            }
        }
    }
    for (path, inner, differs) in below {
        *out += &format!("\n### `{path}`\n\n");
        if let Some(other) = told.get(&inner.names).filter(|_| !inner.names.is_empty()) {
            *out += &format!("The same as [`{other}`](#{}).\n", anchor(other));
            continue;
        }
        if let [only] = inner.alternatives.as_slice() {
            *out += &heading(only);
        }
        *out += &differs;
        told.insert(inner.names.clone(), path.clone());
        write(&inner.alternatives, &path, shapes, told, out);
    }
}

/// What a section is, where the row above has not said it.
fn heading(section: &Value) -> String {
    let text = section["description"].as_str().unwrap_or_default();
    if is_variant(section) || (text.starts_with('`') && text.ends_with("`.")) {
        return String::new();
    }
    // Doc comments of types begin with the key, which stands above here.
    let text = match text.strip_prefix('`').and_then(|rest| rest.split_once("`: ")) {
        Some((_, rest)) => super::page::capital(rest),
        None => text.to_owned(),
    };
    if text.is_empty() { text } else { format!("{text}\n\n") }
}

/// As a link within a page finds it.
fn anchor(path: &str) -> String {
    path.to_lowercase().chars().filter(|letter| letter.is_alphanumeric() || "_-".contains(*letter)).collect()
}

/// One of several ways to write a thing, told by its one key.
fn is_variant(section: &Value) -> bool {
    let keys = section["properties"].as_object().map_or(0, Map::len);
    keys == 1 && section["required"].as_array().is_some_and(|required| required.len() == 1)
}

/// The sections that an option holds.
fn inner<'a>(option: &Followed<'a>, shapes: &Shapes<'a>) -> Vec<Inner<'a>> {
    let shape = option.shape;
    let here = |suffix: String, alternatives: Vec<&'a Value>, names: &[&'a str]| Inner {
        suffix,
        alternatives,
        names: option.names.iter().chain(names).copied().collect(),
    };
    if shape["properties"].is_object() {
        // Components and pipelines have pages of their own.
        let own = shape.get("patternProperties").is_none();
        return if own { vec![here(String::new(), vec![shape], &[])] } else { Vec::new() };
    }
    if let Some(choices) = shape["anyOf"].as_array() {
        if choices.iter().all(is_variant) {
            return vec![here(String::new(), choices.iter().collect(), &[])];
        }
        let mut found: Vec<Inner<'a>> = Vec::new();
        for one in choices.iter().flat_map(|choice| inner(&shapes.follow(choice), shapes)) {
            let same = |known: &Inner<'a>| known.names.last() == one.names.last();
            if !found.iter().any(same) {
                found.push(here(one.suffix, one.alternatives, &one.names));
            }
        }
        return found;
    }
    let (suffix, item) = match (shape.get("items"), shape.get("additionalProperties")) {
        (Some(item), _) => ("[]", item),
        (None, Some(item)) if item.is_object() => (".NAME", item),
        _ => return Vec::new(),
    };
    let below = inner(&shapes.follow(item), shapes).into_iter();
    let below = below.map(|one| here(format!("{suffix}{}", one.suffix), one.alternatives, &one.names));
    below.collect()
}

fn kind<'a>(option: &Followed<'a>, shapes: &Shapes<'a>) -> String {
    let shape = option.shape;
    if let (Some(name), Some(_)) = (shape["x-type"].as_str(), shape.get("anyOf")) {
        return name.to_owned();
    }
    if let Some(words) = words(shape) {
        return words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(choices) = shape["anyOf"].as_array() {
        if choices.iter().all(is_variant) {
            return "section".to_owned();
        }
        let mut kinds: Vec<String> = choices.iter().map(|one| kind(&shapes.follow(one), shapes)).collect();
        kinds.dedup();
        return kinds.join(" or ");
    }
    if shape["properties"].is_object() {
        return "section".to_owned();
    }
    let of = |item: &'a Value| kind(&shapes.follow(item), shapes);
    match (shape.get("items"), shape.get("additionalProperties")) {
        (Some(item), _) if item.is_object() => format!("list of {}", of(item)),
        (_, Some(item)) if item.is_object() => format!("map of {}", of(item)),
        _ => shape["x-type"].as_str().unwrap_or("anything").to_owned(),
    }
}

/// The words of a choice, each with what it means.
fn words(shape: &Value) -> Option<Vec<(String, &str)>> {
    let of = |one: &Value| -> Vec<String> {
        one["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut found = Vec::new();
    for choice in shape["anyOf"].as_array()? {
        if choice.get("enum").is_none() && choice.get("pattern").is_none() {
            return None;
        }
        found.extend(of(choice).into_iter().map(|word| (word, choice["description"].as_str().unwrap_or_default())));
    }
    (!found.is_empty()).then_some(found)
}

fn default(option: &Followed<'_>, is_section: bool) -> String {
    match option.at.get("default") {
        None | Some(Value::Null) => String::new(),
        Some(Value::Object(_)) if is_section => String::new(),
        Some(Value::String(text)) if text.is_empty() => String::new(),
        Some(Value::Object(map)) if map.is_empty() => String::new(),
        Some(Value::Array(list)) if list.is_empty() => String::new(),
        Some(value) => format!("`{}`", plain(value)),
    }
}

/// What holds where a section is not written, where its own table says otherwise.
fn differs(option: &Followed<'_>) -> String {
    let Some(defaults) = option.at["default"].as_object() else { return String::new() };
    let own = |key: &String| option.shape["properties"].get(key).and_then(|one| one.get("default"));
    let other: Vec<String> = defaults
        .iter()
        .filter(|(key, value)| own(key).is_some_and(|own| own != *value && !own.is_object()))
        .map(|(key, value)| format!("`{key}: {}`", plain(value)))
        .collect();
    if other.is_empty() {
        other.concat()
    } else {
        format!("Where the section is not written: {}.\n\n", other.join(", "))
    }
}

/// The description, then bounds, unit, choices and examples.
fn about<'a>(option: &Followed<'a>, shapes: &Shapes<'a>) -> String {
    let (at, shape) = (option.at, option.shape);
    let description = at["description"].as_str().or(shape["description"].as_str()).unwrap_or_default();
    let mut all = vec![description.to_owned()];
    let is_duration = shape["x-type"] == "duration";
    let bound = |word: &str| {
        let annotated = at.get(format!("x-{word}")).and_then(Value::as_str).map(str::to_owned);
        let number = || at.get(word).or(shape.get(word)).filter(|_| !is_duration).map(plain);
        annotated.or_else(number)
    };
    let unit = at["x-unit"].as_str().map(|unit| format!(" {unit}")).unwrap_or_default();
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => all.push(format!("From {least} to {most}{unit}.")),
        (Some(least), None) if least != "0" => all.push(format!("At least {least}{unit}.")),
        (None, Some(most)) => all.push(format!("At most {most}{unit}.")),
        _ if !unit.is_empty() => all.push(format!("In{unit}.")),
        _ => {}
    }
    match (at["minItems"].as_u64(), at["maxItems"].as_u64()) {
        (Some(least), Some(most)) => all.push(format!("{least} to {most} of them.")),
        (Some(least), None) => all.push(format!("At least {least}.")),
        (None, Some(most)) => all.push(format!("At most {most}.")),
        (None, None) => {}
    }
    let item = shape.get("items").map(|item| shapes.follow(item).shape);
    for (word, meaning) in words(shape).or_else(|| item.and_then(words)).into_iter().flatten() {
        if !meaning.is_empty() {
            all.push(format!("`{word}`: {meaning}"));
        }
    }
    if let Some(examples) = at["examples"].as_array().filter(|all| !all.is_empty()) {
        let examples: Vec<String> = examples.iter().map(|one| format!("`{}`", plain(one))).collect();
        all.push(format!("For example {}.", examples.join(", ")));
    }
    all.retain(|one| !one.is_empty());
    all.join(" ")
}

/// A value as YAML has it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(within).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entry = |(key, one): (&String, &Value)| format!("{key}: {}", within(one));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
        other => other.to_string(),
    }
}

/// The same inside of a list or a mapping, where some letters end a text.
fn within(value: &Value) -> String {
    let is_plain = |text: &str| !text.is_empty() && !text.contains(['{', '}', '[', ']', ',', '#', ':', '>', '"']);
    match value {
        Value::String(text) if !is_plain(text) => format!("\"{}\"", text.replace('"', "\\\"")),
        other => plain(other),
    }
}

/// As a cell of a table.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
