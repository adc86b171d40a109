use minicol_plugin::config::{ComponentConfig, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of `health_check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Where it listens, as `host:port`.
    #[schemars(extend("pattern" = "^.+:[0-9]{1,5}$"))]
    pub endpoint: String,
    /// The path of the health page.
    #[schemars(extend("pattern" = "^/"))]
    pub path: String,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { endpoint: "localhost:13133".to_owned(), path: "/".to_owned() }
    }
}

impl ComponentConfig for HealthConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.address("endpoint", &self.endpoint, "localhost:13133");
        if !self.path.starts_with('/') || self.path.contains(['{', '}', '*', '?', '#', ' ']) {
            problems
                .error("path", format!("must begin with `/` and hold no pattern, but is `{}`", self.path))
                .help("for example / or /healthz");
        } else if self.path == crate::pages::STATUS {
            problems.error("path", "is where the status of every component stands").help("for example / or /healthz");
        }
    }
}
