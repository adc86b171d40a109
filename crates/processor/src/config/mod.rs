//! The rule language, as it is written. What a rule means is checked by [`crate::compile`].

mod values;

use std::collections::BTreeMap;

use minicol_plugin::config::{ComponentConfig, GoDuration, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use values::{AttributeConfig, Literal, StartList, ValueConfig};

use crate::compile;

/// Configuration of the processor `mapping`: which rules turn observations into metrics, and how much it keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MappingConfig {
    /// Built-in rules, by name.
    #[schemars(extend("items" = {"type": "string", "enum": crate::preset::NAMES}, "examples" = [["session_buddy"]]))]
    pub presets: Vec<String>,
    /// Rules of your own. A metric of theirs replaces a preset's of the same tool, name and attributes.
    #[schemars(extend("examples" = [[{"tool": "get_liveness", "metrics": [{"name": "my.uptime", "type": "gauge", "value": "$.uptime_seconds", "unit": "s"}]}]]))]
    pub rules: Vec<RuleConfig>,
    /// Series that one metric of one target may have. Beyond it, histograms and counted items go to one series with
    /// `otel.metric.overflow=true`; gauges and totals are dropped.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_series: usize,
    /// Keys of counted items that one metric of one target remembers; those in the latest answer are never forgotten.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_keys: usize,
    /// Items of one answer that one rule looks at.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_items: usize,
    /// Characters of an attribute's value that are kept.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536, "x-unit" = "characters"))]
    pub max_attribute_length: usize,
    /// How long a series that gets no more values is remembered.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "8760h"))]
    pub expiry: GoDuration,
}

/// One rule: what to take from the answers of one tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Whose answers: a tool's name, or `@poll` for the poll's own report.
    #[schemars(extend("examples" = ["get_session_analytics", "@poll"]))]
    pub tool: String,
    /// What the answer is: `json` (the default; text without structure is a JSON string), or `prometheus` (Prometheus text).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["json", "prometheus", null]))]
    pub format: Option<String>,
    /// The rule is for answers of which this holds, and says nothing of others: a path that finds something, or a comparison such as
    /// `$.version >= 2 && $.items`. With `format: prometheus` a selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["$.version >= 2"]))]
    pub when: Option<String>,
    /// One value per item: a path (RFC 9535) that finds the items. Every other path of the rule then begins at the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["$.sessions[*]"]))]
    pub each: Option<String>,
    /// With `each`: the path of what tells an item from the others. Each item is counted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["$.session_id"]))]
    pub key: Option<String>,
    /// With `key`: the path of the time at which the item ended (ISO 8601, no zone is UTC; or Unix seconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["$.ended_at"]))]
    pub time: Option<String>,
    /// Where the source tells since when its counters count. In a list the first that ever told anything counts.
    #[serde(default, skip_serializing_if = "StartList::is_empty")]
    #[schemars(extend("examples" = [{"tool": "get_liveness", "uptime": "$.uptime_seconds"}]))]
    pub start: StartList,
    /// Attributes of every metric of the rule: a name, and a path or a literal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"project": "$.project_path"}]))]
    pub attributes: BTreeMap<String, AttributeConfig>,
    /// What becomes of it: at least one.
    #[schemars(extend("minItems" = 1, "examples" = [[{"name": "my.sessions", "type": "gauge", "value": "$.total_sessions", "unit": "{session}"}]]))]
    pub metrics: Vec<MetricConfig>,
}

/// One metric of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricConfig {
    /// The metric's name: letters, digits, `_`, `.`, `-`, `/`; a letter first.
    #[schemars(extend("examples" = ["session_buddy.session.duration"]))]
    pub name: String,
    /// `counter`, `updowncounter`, `gauge`, `histogram` or `exponential_histogram`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["counter", "updowncounter", "gauge", "histogram", "exponential_histogram"]))]
    pub kind: String,
    /// Since when each point counts: `cumulative` (the default; since the series' start) or `delta` (since the point before). For counters
    /// and histograms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["cumulative", "delta", null]))]
    pub temporality: Option<String>,
    /// The value: a path, or a number. With `format: prometheus` a selector. May be left out beside `match`: the whole answer (or item).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["$.duration_minutes", 1]))]
    pub value: Option<ValueConfig>,
    /// A regular expression with one capture: what it captures in the text is the value.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["Last ([0-9]+) Hours"]))]
    pub pattern: Option<String>,
    /// How the value is read: `number` (the default), or `time` (ISO 8601, as Unix seconds; gauges only).
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["number", "time", null]))]
    pub reading: Option<String>,
    /// The value is multiplied by it. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [60]))]
    pub scale: Option<f64>,
    /// The unit after scaling, in UCUM: `s`, `By`, `%`, `{session}`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("examples" = ["s", "By", "{session}"]))]
    pub unit: String,
    /// What the metric tells, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("examples" = ["How long a finished session lasted"]))]
    pub description: String,
    /// A histogram's upper boundaries, rising. Default: OpenTelemetry's, 0 to 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [[60, 300, 900, 3600]]))]
    pub boundaries: Option<Vec<f64>>,
    /// Buckets that an exponential histogram has at most for values above zero, and for those below. Default 160.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 2, "maximum" = 1000, "examples" = [160]))]
    pub max_size: Option<i64>,
    /// The scale that an exponential histogram begins with; it is lowered where the values do not fit. Default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = -10, "maximum" = 20, "examples" = [20]))]
    pub max_scale: Option<i64>,
    /// The metric is for answers (with `each`: for items) of which this holds; as the rule's own `when`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["$.duration_minutes > 0"]))]
    pub when: Option<String>,
    /// Attributes of this metric beside those of the rule; the same name replaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"language": "$.primary_language"}]))]
    pub attributes: BTreeMap<String, AttributeConfig>,
}

/// Where a source tells its start: `time` or `uptime`, of one tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StartConfig {
    /// The tool that tells it. Default: the rule's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["get_liveness"]))]
    pub tool: Option<String>,
    /// As the rule's `format`. Default: the rule's own where the tool is, else `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["json", "prometheus", null]))]
    pub format: Option<String>,
    /// The path (or selector) of the moment at which the source started: ISO 8601, or Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["$.started_at"]))]
    pub time: Option<String>,
    /// The path (or selector) of how long the source has been running, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["$.uptime_seconds"]))]
    pub uptime: Option<String>,
    /// Makes seconds of the uptime: 0.001 where it is told in milliseconds. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [0.001]))]
    pub scale: Option<f64>,
}

impl Default for MappingConfig {
    fn default() -> Self {
        Self {
            presets: Vec::new(),
            rules: Vec::new(),
            max_series: 1_000,
            max_keys: 10_000,
            max_items: 10_000,
            max_attribute_length: 1_024,
            expiry: GoDuration::from_secs(24 * 3600),
        }
    }
}

impl ComponentConfig for MappingConfig {
    fn validate(&self, problems: &mut Problems) {
        const MANY: f64 = 1e6;
        for (field, value, max) in [
            ("max_series", self.max_series, MANY),
            ("max_keys", self.max_keys, MANY),
            ("max_items", self.max_items, MANY),
            ("max_attribute_length", self.max_attribute_length, 65_536.0),
        ] {
            problems.range(field, value as f64, 1.0, max);
        }
        let (min, max) = (GoDuration::from_secs(1), GoDuration::from_secs(8_760 * 3600));
        if self.expiry < min || self.expiry > max {
            problems.error("expiry", format!("must be between {min} and {max}, but is {}", self.expiry));
        }
        compile::compile(self, problems);
    }
}
