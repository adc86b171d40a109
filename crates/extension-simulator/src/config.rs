use std::collections::BTreeMap;

use minicol_plugin::config::{ComponentConfig, GoDuration, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tools;

/// The configuration of `session_buddy_simulator`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatorConfig {
    /// Where it listens, as `host:port`. The MCP endpoint is `http://host:port/mcp`.
    pub endpoint: String,
    /// Where the model's chance comes from: the same seed moves the same way.
    pub seed: u64,
    /// How many simulated seconds pass in one second; 0 stops the model.
    pub speed: f64,
    /// How long each call of a tool takes at least.
    pub latency: GoDuration,
    /// How often the simulated process restarts: totals begin at 0, sessions are unknown. 0 is never.
    pub restart_every: GoDuration,
    /// Which tools fail, by name; `*` stands for all.
    pub failures: BTreeMap<String, Failure>,
}

/// How a tool fails.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Failure {
    /// The share of calls that fail, from 0 to 1.
    pub rate: f64,
    /// In which way.
    pub kind: FailureKind,
}

/// The ways in which a real server fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A result with `isError: true`.
    #[default]
    IsError,
    /// A result with `success: false` in it, as Session-Buddy's own tools do.
    SuccessFalse,
    /// A JSON-RPC error.
    JsonRpcError,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:8679".to_owned(),
            seed: 1,
            speed: 60.0,
            latency: GoDuration::default(),
            restart_every: GoDuration::default(),
            failures: BTreeMap::new(),
        }
    }
}

impl Default for Failure {
    fn default() -> Self {
        Self { rate: 1.0, kind: FailureKind::default() }
    }
}

impl ComponentConfig for SimulatorConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.address("endpoint", &self.endpoint, "127.0.0.1:8679");
        problems.range("speed", self.speed, 0.0, 3600.0);
        problems.within("failures", |problems| {
            for (tool, failure) in &self.failures {
                if tool != "*" && !tools::NAMES.contains(&tool.as_str()) {
                    problems
                        .error(tool, format!("the simulator has no tool `{tool}`"))
                        .help(format!("it has {}, and `*` stands for all", tools::NAMES.join(", ")));
                }
                problems.within(tool, |problems| problems.range("rate", failure.rate, 0.0, 1.0));
            }
        });
    }
}
