use std::collections::BTreeMap;

use minicol_plugin::config::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::{SESSION_ANALYTICS, with_get};

/// What is different for single tools, by name. It always holds the built-in arguments of `get_session_analytics`, under which what the
/// user wrote for that tool is laid argument by argument.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct ToolTable(BTreeMap<String, ToolOptions>);

/// What is different for one tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToolOptions {
    /// The arguments it is called with. `null` takes a built-in argument away.
    #[schemars(extend("examples" = [{"limit": 500, "sort_by": "duration"}]))]
    pub arguments: Map<String, Value>,
    /// Seconds that one attempt of this call may take. Default: `timeout_seconds` of the receiver.
    #[schemars(extend("minimum" = 0.1, "maximum" = 300))]
    pub timeout_seconds: Option<Seconds>,
}

impl ToolTable {
    /// What is configured for a tool of `metrics_to_collect`, whichever way either was written.
    pub fn options(&self, tool: &str) -> ToolOptions {
        let found = self.0.get(tool).or_else(|| self.0.get(&with_get(tool)));
        let plain = tool.strip_prefix("get_").and_then(|plain| self.0.get(plain));
        found.or(plain).cloned().unwrap_or_default()
    }

    /// The names and what is configured under them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ToolOptions)> {
        self.0.iter().map(|(name, options)| (name.as_str(), options))
    }

    /// Sets what is configured for one tool; built-in arguments that `options` does not name stay.
    pub fn insert(&mut self, tool: impl Into<String>, options: ToolOptions) {
        let tool = tool.into();
        let known = if with_get(&tool) == SESSION_ANALYTICS { self.0.remove(SESSION_ANALYTICS) } else { None };
        let mut merged = ToolOptions { arguments: known.unwrap_or_default().arguments, ..options };
        merged.arguments.extend(options.arguments);
        self.0.insert(tool, merged);
    }

    /// True where the user wrote nothing for this tool.
    pub(crate) fn is_built_in(&self, tool: &str) -> bool {
        tool == SESSION_ANALYTICS && self.0.get(tool).is_some_and(|options| *options == built_in())
    }

    /// True where the arguments of this tool are the built-in ones.
    pub(crate) fn has_built_in_arguments(&self, tool: &str) -> bool {
        tool == SESSION_ANALYTICS && self.options(tool).arguments == built_in().arguments
    }
}

impl ToolOptions {
    /// The arguments that are sent: those that are not `null`.
    pub fn sent_arguments(&self) -> Map<String, Value> {
        self.arguments.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// The server's own limit is 20, which would leave most sessions out.
fn built_in() -> ToolOptions {
    let arguments = [("limit", json!(500)), ("sort_by", json!("duration"))];
    ToolOptions { arguments: arguments.map(|(k, v)| (k.to_owned(), v)).into_iter().collect(), timeout_seconds: None }
}

impl Default for ToolTable {
    fn default() -> Self {
        Self(BTreeMap::from([(SESSION_ANALYTICS.to_owned(), built_in())]))
    }
}

impl<'de> Deserialize<'de> for ToolTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Self::default();
        for (tool, options) in BTreeMap::<String, ToolOptions>::deserialize(deserializer)? {
            table.insert(tool, options);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(json: Value) -> ToolTable {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn session_analytics_has_built_in_arguments_that_single_ones_replace() {
        let built_in = json!({"limit": 500, "sort_by": "duration"});
        assert_eq!(Value::Object(ToolTable::default().options("session_analytics").sent_arguments()), built_in);
        for name in ["session_analytics", SESSION_ANALYTICS] {
            let table = table(json!({name: {"arguments": {"limit": 40}, "timeout_seconds": 20}}));
            for asked in ["session_analytics", SESSION_ANALYTICS] {
                let options = table.options(asked);
                assert_eq!(Value::Object(options.sent_arguments()), json!({"limit": 40, "sort_by": "duration"}));
                assert_eq!(options.timeout_seconds, Some(Seconds(20.0)));
            }
        }
    }

    #[test]
    fn null_takes_an_argument_away() {
        let table = table(json!({SESSION_ANALYTICS: {"arguments": {"limit": null}}}));
        assert_eq!(Value::Object(table.options(SESSION_ANALYTICS).sent_arguments()), json!({"sort_by": "duration"}));
    }

    #[test]
    fn what_is_written_out_reads_back_the_same() {
        let table =
            table(json!({"liveness": {"timeout_seconds": 1.5}, SESSION_ANALYTICS: {"arguments": {"limit": null}}}));
        assert_eq!(serde_json::from_value::<ToolTable>(serde_json::to_value(&table).unwrap()).unwrap(), table);
    }
}
