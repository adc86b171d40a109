use minicol_plugin::config::{ComponentConfig, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Faults, contract, release};

/// The configuration of `session_buddy_simulator`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatorConfig {
    /// Where it listens, as `host:port`. The MCP endpoint is `http://host:port/mcp`.
    #[schemars(extend("pattern" = "^.+:[0-9]{1,5}$"))]
    pub endpoint: String,
    /// Which Session-Buddy it is.
    pub profile: Profile,
    /// Where all chance comes from: the same seed moves and fails the same way.
    pub seed: u64,
    /// How many simulated seconds pass in one second for the model; 0 stops it.
    #[schemars(extend("minimum" = 0, "maximum" = 3600))]
    pub speed: f64,
    /// What goes wrong, and when.
    pub faults: Faults,
}

/// Which Session-Buddy it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// One that keeps the documented contract of four tools.
    #[default]
    Contract,
    /// The released server 0.23.0 as it was recorded, quirks included.
    Release,
}

impl Profile {
    /// The tools that it offers.
    pub fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Contract => &contract::TOOLS,
            Self::Release => &release::TOOLS,
        }
    }

    /// Its name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Release => "release",
        }
    }
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:8679".to_owned(),
            profile: Profile::default(),
            seed: 1,
            speed: 60.0,
            faults: Faults::default(),
        }
    }
}

impl ComponentConfig for SimulatorConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.address("endpoint", &self.endpoint, "127.0.0.1:8679");
        problems.range("speed", self.speed, 0.0, 3600.0);
        problems.within("faults", |problems| self.faults.check(self.profile.tools(), problems));
    }
}
