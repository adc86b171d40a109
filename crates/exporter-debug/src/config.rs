use minicol_plugin::{config::ComponentConfig, print::Verbosity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of `debug`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DebugConfig {
    /// How much is printed.
    pub verbosity: Verbosity,
}

impl ComponentConfig for DebugConfig {}
