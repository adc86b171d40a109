//! Pages: one per component, and one for the file's top level and `service`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::option::{self, Shapes};

const HEAD: &str =
    "<!-- Made by `cargo run -p xtask -- docs` from the types that read the file. Change those, not this. -->\n\n";
const NOTES: &str = "Wherever something else than text belongs, a [reference](../configuration.md#references) such as `${env:NAME}` does, too.\n";
const FILE: &str = "file.md";

pub(super) fn all(schema: &Value) -> BTreeMap<String, String> {
    let shapes = Shapes::new(schema);
    let mut pages = BTreeMap::from([(FILE.to_owned(), file(schema, &shapes))]);
    for definition in components(schema) {
        pages.insert(name(definition), component(definition, &shapes));
    }
    pages
}

/// The definitions that are components, in the program's order of kinds.
fn components(schema: &Value) -> Vec<&Value> {
    let all = schema["$defs"].as_object().into_iter().flatten().map(|(_, definition)| definition);
    let mut found: Vec<&Value> = all.filter(|definition| definition.get("x-component").is_some()).collect();
    let place = |kind: &str| ["receiver", "processor", "exporter", "extension"].iter().position(|one| *one == kind);
    found.sort_by_key(|definition| (place(text(&definition["x-component"]["kind"])), name(definition)));
    found
}

fn name(definition: &Value) -> String {
    let about = &definition["x-component"];
    format!("{}-{}.md", text(&about["kind"]), text(&about["type"]))
}

fn component(definition: &Value, shapes: &Shapes<'_>) -> String {
    let about = &definition["x-component"];
    let (kind, own) = (text(&about["kind"]), text(&about["type"]));
    let mut page = format!("{HEAD}# {} `{own}`\n\n{}\n\n", capital(kind), text(&definition["description"]));
    let mut facts = vec![format!("Stability: {}.", text(&about["stability"]))];
    let aliases = list(&about["aliases"], text);
    if !aliases.is_empty() {
        facts.push(format!("Also called {}.", code(&aliases)));
    }
    facts.extend(flows(&about["flows"]));
    page += &format!("{}\n", facts.join(" "));
    if let Some(overrides) = about.get("overridden_by") {
        page += &format!(
            "\nVariables that begin with `{}` override the one with the id `{}`: the rest of the name is the key, in capitals.\n",
            text(&overrides["prefix"]),
            text(&overrides["id"])
        );
    }
    page += &format!("\n## Example\n\n```yaml\n{kind}s:\n  {own}:\n{}```\n", indented(text(&about["example"])));
    page += &format!("\n## Options\n\n{NOTES}\n{}", option::tables(definition, "", shapes));
    let filled = about["filled_in_by"].as_array();
    if let Some(filled) = filled {
        page += "\n## Variables\n\nThey give what the file does not write. Of two for one option the first that is set counts.\n\n";
        page += "| variable | option |\n| --- | --- |\n";
        for one in filled {
            page += &format!("| `{}` | `{}` |\n", text(&one["variable"]), text(&one["key"]));
        }
    }
    page
}

fn file(schema: &Value, shapes: &Shapes<'_>) -> String {
    let mut page = format!(
        "{HEAD}# The file\n\n{} The JSON Schema of all of it: [minicol.schema.json](minicol.schema.json).\n\n",
        text(&schema["description"])
    );
    page += "| key | what stands there |\n| --- | --- |\n";
    for (key, of) in schema["properties"].as_object().into_iter().flatten() {
        page += &format!("| `{key}` | {} |\n", option::cell(text(&of["description"])));
    }
    page += "\n## Components\n\n| component | what it does |\n| --- | --- |\n";
    for definition in components(schema) {
        let about = &definition["x-component"];
        page += &format!(
            "| {} [`{}`]({}) | {} |\n",
            text(&about["kind"]),
            text(&about["type"]),
            name(definition),
            option::cell(text(&definition["description"]))
        );
    }
    let service = &schema["properties"]["service"];
    page += &format!(
        "\n## `service`\n\n{}\n\n{NOTES}\n{}",
        text(&service["description"]),
        option::tables(service, "service", shapes)
    );
    page += "\n### `service.pipelines.ID`\n\nAn id is `signal` or `signal/name`: ";
    let signals = service["properties"]["pipelines"]["properties"].as_object();
    let signals: Vec<&str> = signals.into_iter().flatten().map(|(signal, _)| signal.as_str()).collect();
    page += &format!("{}.\n\n", code(&signals));
    page += &option::tables(&schema["$defs"]["pipeline.metrics"], "service.pipelines.ID", shapes);
    page
}

fn flows(flows: &Value) -> Vec<String> {
    let flow = |flow: &Value| match (flow["takes"].as_str(), flow["emits"].as_str()) {
        (Some(takes), Some(emits)) if takes == emits => takes.to_owned(),
        (Some(takes), Some(emits)) => format!("{takes} become {emits}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    };
    let all = list(flows, |one| one);
    let what = match all.first() {
        None => return Vec::new(),
        Some(one) => match (one["takes"].is_string(), one["emits"].is_string()) {
            (true, true) => "Passes",
            (true, false) => "Takes",
            _ => "Emits",
        },
    };
    vec![format!("{what}: {}.", all.into_iter().map(flow).collect::<Vec<_>>().join(", "))]
}

fn list<'a, T>(value: &'a Value, of: impl Fn(&'a Value) -> T) -> Vec<T> {
    value.as_array().into_iter().flatten().map(of).collect()
}

fn code(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn indented(yaml: &str) -> String {
    yaml.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
