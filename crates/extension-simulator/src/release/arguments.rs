//! How the server checks arguments: by pydantic, whose words these are.

use serde_json::{Map, Value};

use super::recorded;

/// What is wrong with the arguments of a tool, as the server says it; `None` where they hold.
pub(super) fn wrong(tool: &str, arguments: &Map<String, Value>) -> Option<String> {
    let list: Value = serde_json::from_str(recorded::TOOLS_LIST).unwrap_or_default();
    let tools = list["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let declared = &tools.iter().find(|one| one["name"] == tool)?["inputSchema"]["properties"];
    let found: Vec<String> = arguments
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}\n{}", fault(declared.get(name), value)?)))
        .collect();
    let errors = if found.len() == 1 { "error" } else { "errors" };
    (!found.is_empty()).then(|| format!("{} validation {errors} for call[{tool}]\n{}", found.len(), found.join("\n")))
}

/// The kinds of messages that the server knows, with what each must have.
const MESSAGES: [(&str, &[&str]); 4] = [
    ("JSONRPCRequest", &["method", "jsonrpc", "id"]),
    ("JSONRPCNotification", &["method", "jsonrpc"]),
    ("JSONRPCResponse", &["jsonrpc", "id", "result"]),
    ("JSONRPCError", &["jsonrpc", "id", "error"]),
];

/// What is wrong with a body that is no message of JSON-RPC: what it lacks to be one of each kind.
pub(super) fn no_message(message: &Value) -> String {
    let (shown, of) = python(message);
    let page = "    For further information visit https://errors.pydantic.dev/2.14/v/missing";
    let lacks = MESSAGES.iter().flat_map(|(kind, fields)| fields.iter().map(move |field| (kind, field)));
    let lines: Vec<String> = lacks
        .filter(|(_, field)| message.get(field).is_none())
        .map(|(kind, field)| {
            format!("{kind}.{field}\n  Field required [type=missing, input_value={shown}, input_type={of}]\n{page}")
        })
        .collect();
    let count = lines.len();
    format!("Validation error: {count} validation errors for JSONRPCMessage\n{}", lines.join("\n"))
}

fn fault(declared: Option<&Value>, value: &Value) -> Option<String> {
    let (words, kind) = match (declared.map(type_of), value) {
        (None, _) => ("Unexpected keyword argument", "unexpected_keyword_argument"),
        (Some("integer"), Value::Number(number)) if number.as_f64().is_some_and(|n| n.fract() != 0.0) => {
            ("Input should be a valid integer, got a number with a fractional part", "int_from_float")
        }
        (Some("integer"), Value::String(text)) if text.trim().parse::<i64>().is_err() => {
            ("Input should be a valid integer, unable to parse string as an integer", "int_parsing")
        }
        (Some("number"), Value::String(text)) if text.trim().parse::<f64>().is_err() => {
            ("Input should be a valid number, unable to parse string as a number", "float_parsing")
        }
        (Some("integer"), Value::Null | Value::Array(_) | Value::Object(_)) => {
            ("Input should be a valid integer", "int_type")
        }
        (Some("number"), Value::Null | Value::Array(_) | Value::Object(_)) => {
            ("Input should be a valid number", "float_type")
        }
        (Some("string"), other) if !other.is_string() => ("Input should be a valid string", "string_type"),
        (Some("text or null"), other) if !(other.is_string() || other.is_null()) => {
            ("Input should be a valid string", "string_type")
        }
        _ => return None,
    };
    let (shown, of) = python(value);
    let page = format!("    For further information visit https://errors.pydantic.dev/2.14/v/{kind}");
    Some(format!("  {words} [type={kind}, input_value={shown}, input_type={of}]\n{page}"))
}

fn type_of(schema: &Value) -> &str {
    if schema.get("anyOf").is_some() { "text or null" } else { schema["type"].as_str().unwrap_or_default() }
}

/// A value as Python shows it, and what Python calls its type.
fn python(value: &Value) -> (String, &'static str) {
    match value {
        Value::Null => ("None".to_owned(), "NoneType"),
        Value::Bool(true) => ("True".to_owned(), "bool"),
        Value::Bool(false) => ("False".to_owned(), "bool"),
        Value::Number(number) if number.is_f64() => (number.to_string(), "float"),
        Value::Number(number) => (number.to_string(), "int"),
        Value::String(text) => (format!("'{text}'"), "str"),
        Value::Array(items) => {
            (format!("[{}]", items.iter().map(|item| python(item).0).collect::<Vec<_>>().join(", ")), "list")
        }
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("'{name}': {}", python(value).0));
            (format!("{{{}}}", members.collect::<Vec<_>>().join(", ")), "dict")
        }
    }
}
