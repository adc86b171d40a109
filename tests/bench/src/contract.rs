//! Answers of the simulated Session-Buddy: what a server that keeps the contract tells, from cycle to cycle.

use minicol_extension_simulator::Model;
use serde_json::{Value, json};

/// The four tools of the contract.
pub const TOOLS: [&str; 4] =
    ["get_activity_summary", "get_workflow_metrics", "get_session_analytics", "get_performance_metrics"];

/// The documents of so many cycles, each in the order of [`TOOLS`]. Between two cycles half an hour passes for the model: every value moves.
pub fn documents(cycles: usize) -> Vec<[Value; 4]> {
    let mut model = Model::new(1);
    let mut hours = 4.0;
    std::iter::repeat_with(|| {
        hours += 0.5;
        model.advance(hours * 3600.0);
        [model.activity_summary(), model.workflow_metrics(), model.session_analytics(), model.performance_metrics()]
    })
    .take(cycles)
    .collect()
}

/// A document as the result of a call: the document, and the same as text.
pub fn result(document: &Value) -> Value {
    json!({
        "content": [{"type": "text", "text": document.to_string()}],
        "structuredContent": document,
        "isError": false,
    })
}

/// The result of `tools/list`.
pub fn list() -> Value {
    let tool = |name: &&str| {
        json!({
            "name": name,
            "description": "One tool of the contract",
            "inputSchema": {
                "type": "object",
                "properties": {"limit": {"type": "integer", "default": 20}},
                "additionalProperties": false,
            },
        })
    };
    json!({ "tools": TOOLS.iter().map(tool).collect::<Vec<_>>() })
}
