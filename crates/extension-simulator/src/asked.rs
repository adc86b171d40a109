//! What every request is looked at for.

use http::HeaderMap;
use serde_json::Value;

/// What a POST asks, as far as it can be read.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// The request's id; null for a notification.
    pub(crate) id: Value,
    /// The tool that it calls.
    pub(crate) tool: Option<String>,
}

impl Asked {
    /// Reads a JSON-RPC message; of what is none, nothing is known.
    pub(crate) fn of(message: &Value) -> Self {
        let is_call = message.get("method").and_then(Value::as_str) == Some("tools/call");
        let tool = message.pointer("/params/name").and_then(Value::as_str).filter(|_| is_call);
        Self { id: message.get("id").cloned().unwrap_or_default(), tool: tool.map(str::to_owned) }
    }
}

/// A header as text; `?` where it is none.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// The version that `initialize` asks for; `None` where its parameters are not whole.
pub(crate) fn wanted_version(params: Option<&Value>) -> Option<&str> {
    let params = params?;
    let whole = params.get("capabilities")?.is_object() && params.get("clientInfo")?.is_object();
    params.get("protocolVersion")?.as_str().filter(|_| whole)
}
