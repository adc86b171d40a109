//! What counts as the document of a tool's result.

use minicol_plugin::text::foreign;
use serde_json::{Map, Value};

use crate::Cause;

/// The document in a result of `tools/call`: `structuredContent`, else the text blocks, joined. An object that is only `{"result": x}` is
/// unwrapped to `x` (`FastMCP` wraps what is no object so); a string that parses as a JSON object or array becomes that; any other text is
/// a string document. A tool that says that it failed is a failure, however it says it.
pub(crate) fn document(result: Value) -> Result<Value, Cause> {
    let Value::Object(mut result) = result else {
        return Err(Cause::Tool("its result is no object".to_owned()));
    };
    let text = text_blocks(&result);
    if result.get("isError").and_then(Value::as_bool) == Some(true) {
        return Err(Cause::Tool(foreign(text.as_deref().unwrap_or_default())));
    }
    let structured = result.remove("structuredContent").filter(|structured| !structured.is_null());
    let Some(found) = structured.or(text.map(Value::String)) else {
        return Err(Cause::Tool("its result has no content".to_owned()));
    };
    let document = parsed(unwrapped(parsed(found)));
    match refusal(&document) {
        Some(why) => Err(Cause::Tool(why)),
        None => Ok(document),
    }
}

/// Whether a failure says that the server does not know the tool: then its list is asked for again.
pub(crate) fn says_unknown_tool(cause: &Cause) -> bool {
    let text = match cause {
        Cause::Tool(text) | Cause::Rpc { message: text, .. } => text.to_lowercase(),
        _ => return false,
    };
    text.contains("unknown tool") || (text.contains("tool") && text.contains("not found"))
}

/// The texts of the blocks that have one, joined; `None` where there is none. Blocks of kinds that we do not know are passed over.
fn text_blocks(result: &Map<String, Value>) -> Option<String> {
    let blocks = result.get("content").and_then(Value::as_array)?;
    let texts: Vec<_> = blocks.iter().filter_map(|block| block.get("text").and_then(Value::as_str)).collect();
    if texts.is_empty() { None } else { Some(texts.join("\n")) }
}

fn unwrapped(value: Value) -> Value {
    match value {
        Value::Object(mut object) if object.len() == 1 && object.contains_key("result") => {
            object.remove("result").unwrap_or_default()
        }
        other => other,
    }
}

fn parsed(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    if !text.trim_start().starts_with(['{', '[']) {
        return value;
    }
    serde_json::from_str(text).unwrap_or(value)
}

/// Why the tool says that it failed, where it does.
fn refusal(document: &Value) -> Option<String> {
    match document {
        Value::String(text) if text.trim_start().starts_with('❌') => Some(foreign(text)),
        Value::Object(object) if object.get("success") == Some(&Value::Bool(false)) => {
            let said = |key: &str| object.get(key).and_then(Value::as_str).map(foreign);
            Some(match (said("error"), said("message")) {
                (Some(error), Some(message)) => format!("{error}: {message}"),
                (one, other) => one.or(other).unwrap_or_else(|| "success is false".to_owned()),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Value {
        json!({"content": [{"type": "text", "text": text}], "isError": false})
    }

    #[test]
    fn the_document_is_found_wherever_a_server_puts_it() {
        for (result, expected) in [
            (json!({"structuredContent": {"a": 1}, "content": [{"type": "text", "text": "other"}]}), json!({"a": 1})),
            (json!({"structuredContent": {"result": 5}}), json!(5)),
            (json!({"structuredContent": {"result": "# HELP x\nx 1"}}), json!("# HELP x\nx 1")),
            (json!({"structuredContent": {"result": "{\"a\": 1}"}}), json!({"a": 1})),
            (json!({"structuredContent": {"result": 5, "more": 6}}), json!({"result": 5, "more": 6})),
            (json!({"structuredContent": [1, 2]}), json!([1, 2])),
            (json!({"structuredContent": null, "content": [{"type": "text", "text": "x"}]}), json!("x")),
            (text("{\"a\": 1}"), json!({"a": 1})),
            (text("{\"result\": \"[1]\"}"), json!([1])),
            (text("plain prose"), json!("plain prose")),
            (text("{not json"), json!("{not json")),
            (text("17"), json!("17")),
            (json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}), json!("a\nb")),
            (json!({"content": [{"type": "hologram"}, {"type": "text", "text": "a", "annotations": 7}]}), json!("a")),
        ] {
            assert_eq!(document(result.clone()), Ok(expected), "{result}");
        }
    }

    #[test]
    fn a_tool_that_failed_is_a_failure_however_it_says_so() {
        for (result, why) in [
            (json!({"isError": true, "content": [{"type": "text", "text": "Unknown tool: 'x'"}]}), "Unknown tool: 'x'"),
            (json!({"isError": true}), ""),
            (
                json!({"isError": false, "structuredContent": {"success": false, "error": "engine_failure", "message": "no"}}),
                "engine_failure: no",
            ),
            (text("{\"success\": false}"), "success is false"),
            (json!({"structuredContent": {"result": "❌ broken\u{7}"}}), "❌ broken\\u{7}"),
            (text(" ❌ broken"), "❌ broken"),
            (json!({"content": []}), "its result has no content"),
            (json!({"a": 1}), "its result has no content"),
            (json!("x"), "its result is no object"),
        ] {
            assert_eq!(document(result.clone()), Err(Cause::Tool(why.to_owned())), "{result}");
        }
    }

    #[test]
    fn an_unknown_tool_is_known_in_every_servers_words() {
        for text in ["Unknown tool: 'x'", "MCP error -32602: Tool x not found", "tool not found"] {
            assert!(says_unknown_tool(&Cause::Tool(text.to_owned())), "{text}");
        }
        assert!(says_unknown_tool(&Cause::Rpc { code: -32602, message: "Unknown tool: x".to_owned() }));
        assert!(!says_unknown_tool(&Cause::Tool("file not found".to_owned())));
    }
}
