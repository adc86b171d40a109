//! Arguments that stand in a header as well, so that what is before a server can route by them: `x-mcp-header` in a tool's input schema (SEP-2243, from
//! 2026-07-28 on).

use http::HeaderName;
use serde_json::{Map, Value};

use crate::Cause;

const ANNOTATION: &str = "x-mcp-header";
const PREFIX: &str = "mcp-param-";
/// No tool has more of them, no name is longer, and no way to one.
const MAX_ANNOTATIONS: usize = 64;
const MAX_NAME: usize = 256;
const MAX_PATH: usize = 4096;

/// One argument: the way to it, and its header.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Annotation {
    path: Vec<String>,
    header: HeaderName,
}

/// Those of one tool, or what is wrong with them: such a tool must not be called.
pub(crate) type Annotations = Result<Vec<Annotation>, &'static str>;

impl Annotation {
    /// Of a tool with this input schema.
    pub(crate) fn all(schema: Option<&Value>) -> Annotations {
        let mut found = Vec::new();
        if let Some(schema) = schema.and_then(Value::as_object) {
            collect(schema, &mut Vec::new(), true, &mut found)?;
        }
        Ok(found)
    }

    /// How many bytes it is remembered in.
    pub(crate) fn bytes(&self) -> usize {
        self.path.iter().map(String::len).sum::<usize>() + self.header.as_str().len()
    }

    /// Its header for a call with `arguments`; `None` where the argument is not there.
    fn head(&self, arguments: &Map<String, Value>) -> Option<(HeaderName, String)> {
        let (first, rest) = self.path.split_first()?;
        let text = match rest.iter().try_fold(arguments.get(first)?, |value, name| value.get(name))? {
            Value::String(text) => text.clone(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((self.header.clone(), text))
    }
}

/// The headers of a call with `arguments`.
pub(crate) fn heads(of: &Annotations, arguments: &Map<String, Value>) -> Result<Vec<(HeaderName, String)>, Cause> {
    match of {
        Ok(all) => Ok(all.iter().filter_map(|one| one.head(arguments)).collect()),
        Err(why) => Err(Cause::Unusable(why)),
    }
}

/// Whether `header` is one of these.
pub(crate) fn is_one(header: &HeaderName) -> bool {
    header.as_str().starts_with(PREFIX)
}

/// Reads `schema`, which stands at `path`. `plain`: it is reached by `properties` alone.
fn collect<'a>(
    schema: &'a Map<String, Value>,
    path: &mut Vec<&'a str>,
    plain: bool,
    found: &mut Vec<Annotation>,
) -> Result<(), &'static str> {
    for (key, value) in schema {
        match (key.as_str(), value) {
            (ANNOTATION, _) if !plain || path.is_empty() => {
                return Err("has an x-mcp-header elsewhere than at a property");
            }
            (ANNOTATION, header) => found.push(annotation(schema, path, header, found)?),
            ("properties", Value::Object(all)) => {
                for (name, one) in all {
                    path.push(name);
                    collect_any(one, path, plain, found)?;
                    path.pop();
                }
            }
            (
                "$defs" | "definitions" | "dependencies" | "dependentSchemas" | "patternProperties",
                Value::Object(all),
            ) => {
                for one in all.values() {
                    collect_any(one, path, false, found)?;
                }
            }
            // Data and names, no schemas.
            ("default" | "const" | "enum" | "examples" | "dependentRequired", _) => {}
            (_, other) => collect_any(other, path, false, found)?,
        }
    }
    Ok(())
}

fn collect_any<'a>(
    value: &'a Value,
    path: &mut Vec<&'a str>,
    plain: bool,
    found: &mut Vec<Annotation>,
) -> Result<(), &'static str> {
    match value {
        Value::Object(schema) => collect(schema, path, plain, found),
        Value::Array(all) => all.iter().try_for_each(|one| collect_any(one, path, false, found)),
        _ => Ok(()),
    }
}

fn annotation(
    schema: &Map<String, Value>,
    path: &[&str],
    header: &Value,
    found: &[Annotation],
) -> Result<Annotation, &'static str> {
    if !matches!(schema.get("type").and_then(Value::as_str), Some("string" | "integer" | "boolean")) {
        return Err("has an x-mcp-header at an argument that is neither string, integer nor boolean");
    }
    let name = header.as_str().filter(|name| (1..=MAX_NAME).contains(&name.len()));
    let name = name.and_then(|name| format!("{PREFIX}{name}").parse::<HeaderName>().ok());
    let Some(header) = name else { return Err("has an x-mcp-header that is no name of a header") };
    if found.iter().any(|one| one.header == header) {
        return Err("has the same x-mcp-header at two arguments");
    }
    if found.len() == MAX_ANNOTATIONS || path.iter().map(|name| name.len()).sum::<usize>() > MAX_PATH {
        return Err("has too many x-mcp-header, or one too far away");
    }
    Ok(Annotation { path: path.iter().map(|name| (*name).to_owned()).collect(), header })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(properties: &Value) -> Annotations {
        Annotation::all(Some(&json!({"type": "object", "properties": properties})))
    }

    #[test]
    fn primitive_arguments_stand_in_their_headers_wherever_they_are() {
        let annotations = of(&json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "x-mcp-header": {"type": "string", "default": {"x-mcp-header": 1}},
            "where": {"type": "object", "properties": {
                "zone": {"type": "integer", "x-mcp-header": "Zone"},
                "near": {"type": "boolean", "x-mcp-header": "Near"},
            }},
        }));
        let told = |arguments: Value| {
            let mut told = heads(&annotations, arguments.as_object().unwrap()).unwrap();
            told.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
            told.iter().map(|(name, text)| format!("{name}: {text}")).collect::<Vec<_>>()
        };
        assert_eq!(
            told(json!({"region": "eu", "where": {"zone": 3, "near": false}})),
            ["mcp-param-near: false", "mcp-param-region: eu", "mcp-param-zone: 3"]
        );
        assert_eq!(told(json!({"region": null, "where": 7})), Vec::<String>::new());
        assert_eq!(heads(&Annotation::all(None), &Map::new()), Ok(Vec::new()));
    }

    #[test]
    fn annotations_that_break_the_rules_spoil_their_tool() {
        let at = |header: Value| json!({"a": {"type": "string", "x-mcp-header": header}});
        let too_many: Map<String, Value> = (0..=MAX_ANNOTATIONS)
            .map(|n| (n.to_string(), json!({"type": "string", "x-mcp-header": format!("h{n}")})))
            .collect();
        for wrong in [
            at(json!("")),
            at(json!("a b")),
            at(json!(7)),
            at(json!("x".repeat(MAX_NAME + 1))),
            json!({"a": {"type": "number", "x-mcp-header": "A"}}),
            json!({"a": {"x-mcp-header": "A"}}),
            json!({"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}),
            json!({"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}}),
            json!({"a": {"type": "string", "x-mcp-header": "H"}, "b": {"type": "string", "x-mcp-header": "h"}}),
            json!({"x".repeat(MAX_PATH + 1): {"type": "string", "x-mcp-header": "A"}}),
            Value::Object(too_many),
        ] {
            assert!(matches!(heads(&of(&wrong), &Map::new()), Err(Cause::Unusable(_))), "{wrong}");
        }
        assert!(Annotation::all(Some(&json!({"x-mcp-header": "A"}))).is_err(), "at the root");
    }
}
