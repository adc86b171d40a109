use minicol_plugin::config::ComponentConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of `debug`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DebugConfig {
    /// How much is printed.
    pub verbosity: Verbosity,
}

/// How much is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verbosity {
    /// A line per batch, with counts.
    #[default]
    Basic,
    /// A line per data point or observation.
    Normal,
    /// Everything that is in it.
    Detailed,
}

impl ComponentConfig for DebugConfig {}
