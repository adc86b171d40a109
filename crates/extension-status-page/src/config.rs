use minicol_plugin::config::{ComponentConfig, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of `status_page`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StatusPageConfig {
    /// Where it listens, as `host:port`.
    pub endpoint: String,
    /// Whether who looks at the page may also look at the telemetry that passes, as `minicol tap` does. Default: yes where only this machine
    /// reaches the page, else no.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub tap: Option<bool>,
}

impl Default for StatusPageConfig {
    fn default() -> Self {
        Self { endpoint: "localhost:55679".to_owned(), tap: None }
    }
}

impl ComponentConfig for StatusPageConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.address("endpoint", &self.endpoint, "localhost:55679");
    }
}
