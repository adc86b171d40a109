//! What is answered to each method.

use rmcp::model::{
    CacheScope, CallToolResult, ContentBlock, DiscoverResult, ErrorCode, ErrorData, Implementation, InitializeResult,
    JsonObject, JsonRpcResponse, JsonRpcVersion2_0, ListToolsResult, ProtocolVersion, RequestId, ServerCapabilities,
    ToolsCapability,
};
use serde::Serialize;
use serde_json::Value;

use super::{checks, message::Request, tools};
use crate::{asked::wanted_version, server::Shared};

/// The response to a request, as a message.
pub(super) fn respond(shared: &Shared, request: &Request) -> Result<String, ErrorData> {
    let spoken = spoken(shared);
    let version = request.version().filter(|_| request.method != "initialize");
    if let Some(version) = &version
        && !spoken.contains(version)
    {
        return Err(ErrorData::unsupported_protocol_version(version.clone(), spoken));
    }
    let is_newest = version.is_some_and(|version| !version.has_initialize());
    if (is_newest || request.method == "server/discover") && !request.lacks().is_empty() {
        return Err(ErrorData::invalid_params(checks::lacking(request), None));
    }
    let id = &request.id;
    match request.method.as_str() {
        "initialize" => {
            let wanted = wanted_version(Some(&request.params)).ok_or_else(|| invalid("initialize"))?;
            let agreed = spoken.iter().find(|version| version.as_str() == wanted && version.has_initialize());
            let mut result = introduction();
            result.protocol_version = agreed.cloned().unwrap_or(ProtocolVersion::LATEST_WITH_INITIALIZE);
            message(id, result)
        }
        "server/discover" => message(id, DiscoverResult::from_server_info(spoken.to_vec(), introduction())),
        "ping" if !is_newest => message(id, JsonObject::new()),
        "tools/list" => {
            let mut result = ListToolsResult::with_all_items(tools::list());
            if is_newest {
                result = result.with_ttl_ms(0).with_cache_scope(CacheScope::Private);
            } else {
                result.result_type = None;
            }
            message(id, result)
        }
        "tools/call" => {
            let mut result = call(shared, &request.params)?;
            if !is_newest {
                result.result_type = None;
            }
            message(id, result)
        }
        unknown => Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, unknown.to_owned(), None)),
    }
}

fn call(shared: &Shared, params: &Value) -> Result<CallToolResult, ErrorData> {
    let arguments = params.get("arguments").unwrap_or(&Value::Null);
    let tool = params.get("name").and_then(Value::as_str).filter(|_| arguments.is_object() || arguments.is_null());
    let tool = tool.ok_or_else(|| invalid("tools/call"))?;
    Ok(match shared.with_model(|model, _| tools::answer(model, tool)) {
        Some(answer) => CallToolResult::structured(answer),
        None => CallToolResult::error(vec![ContentBlock::text(format!("Unknown tool: '{tool}'"))]),
    })
}

/// The versions that are spoken, the oldest first.
fn spoken(shared: &Shared) -> &'static [ProtocolVersion] {
    if shared.insists_on_sessions() {
        ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE)
    } else {
        ProtocolVersion::KNOWN_VERSIONS
    }
}

fn introduction() -> InitializeResult {
    let mut capabilities = ServerCapabilities::default();
    capabilities.tools = Some(ToolsCapability::default());
    InitializeResult::new(capabilities)
        .with_server_info(Implementation::new("session-buddy-simulator", env!("CARGO_PKG_VERSION")))
}

fn invalid(method: &str) -> ErrorData {
    ErrorData::invalid_params(format!("the parameters are none of {method}"), None)
}

fn message(id: &RequestId, result: impl Serialize) -> Result<String, ErrorData> {
    let response = JsonRpcResponse { jsonrpc: JsonRpcVersion2_0, id: id.clone(), result };
    serde_json::to_string(&response).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}
