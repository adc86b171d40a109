//! The keys of the receiver, their defaults and what they mean together. [`SessionBuddyConfig`] is the place to start.

mod reach;
mod tools;
mod validate;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use minicol_pdata::AttributeValue;
use minicol_plugin::{
    config::{Seconds, Secret, without_query},
    net::ClientTls,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use reach::OAuth2Config;
pub use tools::{ToolOptions, ToolTable};

/// The tool whose `limit` is searched when the server cannot answer with as many sessions as were asked for.
pub(crate) const SESSION_ANALYTICS: &str = "get_session_analytics";

/// What the receiver `session_buddy` takes. Every key is optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionBuddyConfig {
    /// The MCP endpoint (streamable HTTP) of the Session-Buddy to poll: `http://` or `https://`, with a host.
    #[serde(serialize_with = "without_query")]
    #[schemars(extend("pattern" = "^[Hh][Tt][Tt][Pp][Ss]?://", "examples" = ["http://localhost:8678/mcp", "https://buddy.example.com/mcp"]))]
    pub endpoint: String,
    /// Seconds from the beginning of one cycle to the beginning of the next. A cycle that takes longer is cut.
    #[schemars(extend("minimum" = 1, "maximum" = 3600))]
    pub interval_seconds: Seconds,
    /// Seconds that one attempt of one call may take.
    #[schemars(extend("minimum" = 0.1, "maximum" = 300))]
    pub timeout_seconds: Seconds,
    /// How often a call that could not be delivered is repeated within its cycle.
    #[schemars(extend("minimum" = 0, "maximum" = 10))]
    pub max_retries: u32,
    /// Seconds before the first repetition; doubles each time, with jitter.
    #[schemars(extend("minimum" = 0, "maximum" = 300))]
    pub retry_delay_seconds: Seconds,
    /// How many failures of one tool in a row open its circuit breaker.
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub circuit_breaker_threshold: u32,
    /// Seconds from the tick of the cycle that opened a breaker until the tool is tried again. Default: the interval.
    #[schemars(extend("minimum" = 0, "maximum" = 86400))]
    pub circuit_breaker_cooldown_seconds: Option<Seconds>,
    /// The tools to poll. A name is used as written where the server offers that or it begins with `get_`, else with `get_` before it.
    #[schemars(extend("minItems" = 1, "maxItems" = 256, "examples" = [["workflow_metrics", "session_analytics"]]))]
    pub metrics_to_collect: Vec<String>,
    /// What is different for single tools, by the tool's name.
    #[schemars(extend("examples" = [{"get_session_analytics": {"arguments": {"limit": 500}, "timeout_seconds": 20}}]))]
    pub tools: ToolTable,
    /// Seconds between two looks at which tools the server offers. A new session looks as well.
    #[schemars(extend("minimum" = 1, "maximum" = 86400))]
    pub discovery_interval_seconds: Seconds,
    /// HTTP headers that go with every request, such as `Authorization`. Their values are secrets.
    #[schemars(extend("examples" = [{"Authorization": "Bearer ${env:BUDDY_TOKEN}"}]))]
    pub headers: BTreeMap<String, Secret>,
    /// Headers whose values stand in files, which are read again when they change: name to path.
    #[schemars(extend("examples" = [{"X-Api-Key": "/run/secrets/session-buddy"}]))]
    pub header_files: BTreeMap<String, PathBuf>,
    /// A file that holds a bearer token, which goes with every request; read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/run/secrets/token"]))]
    pub bearer_token_file: Option<PathBuf>,
    /// How a token is got from an authorization server, where the server wants one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Config>,
    /// Allows an `Authorization` header over plain `http://` to a host that is not this machine.
    pub allow_insecure_auth: bool,
    /// How an `https://` endpoint is checked, and what is shown to it; files are read again when they change.
    pub tls: ClientTls,
    /// An HTTP proxy that the server is reached through, `http://[user:password@]host:port`; a secret. Default: what the environment says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["http://proxy.example.com:3128"]))]
    pub proxy_url: Option<Secret>,
    /// The longest reply that is read, in bytes.
    #[schemars(extend("minimum" = 1024, "maximum" = 268_435_456))]
    pub max_response_bytes: u64,
    /// Attributes of the target's resource, beside or instead of the ones the receiver sets.
    #[schemars(extend("examples" = [{"deployment.environment.name": "laptop"}]))]
    pub resource_attributes: BTreeMap<String, ResourceValue>,
}

/// The value of a resource attribute: text, a number, true or false.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ResourceValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Text.
    String(String),
}

impl Default for SessionBuddyConfig {
    fn default() -> Self {
        let collect = [
            "activity_summary",
            "workflow_metrics",
            "session_analytics",
            "performance_metrics",
            "metrics_summary",
            "liveness",
            "prometheus_metrics",
        ];
        Self {
            endpoint: "http://localhost:8678/mcp".to_owned(),
            interval_seconds: Seconds(30.0),
            timeout_seconds: Seconds(10.0),
            max_retries: 3,
            retry_delay_seconds: Seconds(5.0),
            circuit_breaker_threshold: 5,
            circuit_breaker_cooldown_seconds: None,
            metrics_to_collect: collect.map(str::to_owned).to_vec(),
            tools: ToolTable::default(),
            discovery_interval_seconds: Seconds(600.0),
            headers: BTreeMap::new(),
            header_files: BTreeMap::new(),
            bearer_token_file: None,
            oauth2: None,
            allow_insecure_auth: false,
            tls: ClientTls::default(),
            proxy_url: None,
            max_response_bytes: 4 * 1024 * 1024,
            resource_attributes: BTreeMap::new(),
        }
    }
}

impl SessionBuddyConfig {
    /// From tick to tick.
    pub fn interval(&self) -> Duration {
        self.interval_seconds.duration()
    }

    /// From the tick that opened a breaker to its probe.
    pub fn cooldown(&self) -> Duration {
        self.circuit_breaker_cooldown_seconds.unwrap_or(self.interval_seconds).duration()
    }
}

impl From<&ResourceValue> for AttributeValue {
    fn from(value: &ResourceValue) -> Self {
        match value {
            ResourceValue::Bool(value) => Self::Bool(*value),
            ResourceValue::Int(value) => Self::Int(*value),
            ResourceValue::Double(value) => Self::Double(*value),
            ResourceValue::String(text) => text.as_str().into(),
        }
    }
}

/// The name with `get_` before it where it does not begin so: what a name is called as where the server offers no tool of the plain name.
pub(crate) fn with_get(name: &str) -> String {
    if name.starts_with("get_") { name.to_owned() } else { format!("get_{name}") }
}
