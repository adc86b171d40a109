//! The four tools of the contract, with the arguments that the real server declares.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool};
use serde_json::{Value, json};

use crate::Model;

pub(crate) const NAMES: [&str; 4] =
    ["get_activity_summary", "get_workflow_metrics", "get_session_analytics", "get_performance_metrics"];

pub(crate) fn list() -> Vec<Tool> {
    let described = [
        ("Sessions that are active, and all there were.", json!({ "hours": { "type": "integer", "default": 2 } })),
        (
            "Workflows that completed and failed, and how long they took.",
            json!({ "project_path": { "type": "string" }, "days_back": { "type": "integer", "default": 30 } }),
        ),
        (
            "Checkpoints, their size, and the length of sessions.",
            json!({ "limit": { "type": "integer", "default": 20 }, "sort_by": { "type": "string", "default": "duration" } }),
        ),
        ("What the server uses, and how fast it answers.", json!({})),
    ];
    NAMES.iter().zip(described).map(|(name, (about, arguments))| Tool::new(*name, about, schema(arguments))).collect()
}

/// What a tool answers; `None` where there is no such tool.
pub(crate) fn answer(model: &Model, tool: &str) -> Option<Value> {
    Some(match tool {
        "get_activity_summary" => model.activity_summary(),
        "get_workflow_metrics" => model.workflow_metrics(),
        "get_session_analytics" => model.session_analytics(),
        "get_performance_metrics" => model.performance_metrics(),
        _ => return None,
    })
}

fn schema(properties: Value) -> Arc<JsonObject> {
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), properties);
    schema.insert("additionalProperties".to_owned(), json!(false));
    Arc::new(schema)
}
