//! A small host: what the crate's users do with it, with a configuration of its own.

use std::collections::BTreeMap;

use minicol_config::{
    Body, EnvOverride, Environment, KeyTree, Loaded, Part, Path, Problem, Problems, Request, Style, decode,
    decode_checked, load,
};
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receiver {
    pub(crate) endpoint: String,
    #[serde(default = "enabled")]
    pub(crate) enabled: bool,
    #[serde(default = "interval")]
    pub(crate) interval_seconds: f64,
    #[serde(default)]
    pub(crate) max_retries: u8,
    #[serde(default)]
    pub(crate) retry_delay_seconds: f64,
    #[serde(default)]
    pub(crate) circuit_breaker_threshold: Option<u32>,
    #[serde(default = "tools")]
    pub(crate) metrics_to_collect: Vec<String>,
    #[serde(default)]
    pub(crate) tools: BTreeMap<String, Tool>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) resource_attributes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tool {
    pub(crate) arguments: serde_json::Map<String, serde_json::Value>,
    pub(crate) timeout_seconds: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Debug {
    pub(crate) verbosity: Verbosity,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verbosity {
    #[default]
    Basic,
    Normal,
    Detailed,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mapping {
    pub(crate) rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) tool: String,
    #[serde(default)]
    pub(crate) metrics: Vec<Metric>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metric {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All that decodes, and all that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Demo {
    pub(crate) receivers: BTreeMap<String, Receiver>,
    pub(crate) exporters: BTreeMap<String, Debug>,
    pub(crate) processors: BTreeMap<String, Mapping>,
    pub(crate) problems: Problems,
    pub(crate) overrides: Vec<String>,
}

const fn enabled() -> bool {
    true
}

const fn interval() -> f64 {
    30.0
}

fn tools() -> Vec<String> {
    vec!["liveness".to_owned()]
}

const PREFIX: &str = "POLLING__";

impl Demo {
    /// Loads and decodes everything.
    pub(crate) fn of(configs: &[&str], sets: &[&str], environment: &[(&str, &str)]) -> Self {
        let keys = KeyTree::of([
            "endpoint",
            "enabled",
            "interval_seconds",
            "max_retries",
            "metrics_to_collect",
            "tools",
            "headers",
            "resource_attributes",
        ]);
        let target = Path::keys(["receivers", "session_buddy"]);
        let request = Request {
            configs: configs.iter().map(ToString::to_string).collect(),
            sets: sets.iter().map(ToString::to_string).collect(),
            environment: Environment::from(environment.to_vec()),
            overrides: vec![EnvOverride { prefix: PREFIX.to_owned(), target, keys }],
        };
        match load(&request) {
            Ok(loaded) => Self::decode(loaded),
            Err(problems) => Self { problems, ..Self::default() },
        }
    }

    /// One configuration, without anything beside it.
    pub(crate) fn yaml(text: &str) -> Self {
        Self::of(&[&format!("yaml:{text}")], &[], &[])
    }

    fn decode(Loaded { root, mut problems, overrides }: Loaded) -> Self {
        let mut demo = Self::default();
        for (section, entry) in root.section(&Path::root(), &mut problems) {
            let path = Path::root().join(section);
            for (id, _) in entry.value().section(&path, &mut problems) {
                let path = path.join(id);
                match section {
                    "receivers" => {
                        let decode = |body: Body<'_>| Receiver::deserialize(body);
                        let decoded = decode_checked(&root, &path, Part::All, &mut problems, decode, checked);
                        demo.receivers.extend(decoded.map(|decoded| (id.to_owned(), decoded)));
                    }
                    "processors" => {
                        let decoded = decode(&root, &path, &mut problems);
                        demo.processors.extend(decoded.map(|decoded| (id.to_owned(), decoded)));
                    }
                    "exporters" => {
                        let decoded = decode(&root, &path, &mut problems);
                        demo.exporters.extend(decoded.map(|decoded| (id.to_owned(), decoded)));
                    }
                    _ => problems.push(Problem::error("unknown section").at_key(&root, &path)),
                }
            }
        }
        demo.overrides = overrides.iter().map(|one| format!("{} sets {}", one.variable, one.path)).collect();
        demo.problems = problems;
        demo
    }

    /// What is wrong, as text.
    pub(crate) fn told(&self) -> String {
        self.problems.render(Style::PLAIN)
    }

    /// The receiver `session_buddy`, of a configuration in which nothing is wrong.
    pub(crate) fn receiver(&self) -> &Receiver {
        assert!(self.problems.is_empty(), "{}", self.told());
        &self.receivers["session_buddy"]
    }
}

/// A component's own check, after decoding.
fn checked(receiver: &Receiver) -> Vec<Problem> {
    let mut found = Vec::new();
    if !receiver.endpoint.starts_with("http") {
        let message = format!("`{}` is no URL: write `http://localhost:8678/mcp`", receiver.endpoint);
        found.push(Problem::error(message).in_path(&Path::keys(["endpoint"])));
    }
    if receiver.retry_delay_seconds > receiver.interval_seconds {
        let message = "must be no longer than the interval";
        found.push(Problem::error(message).in_path(&Path::keys(["retry_delay_seconds"])));
    }
    found
}
