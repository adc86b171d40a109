//! What stands in a test file.

use std::collections::BTreeMap;

use minicol_pdata::{AttributeValue, Attributes};
use minicol_plugin::config::GoDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::moment::{Start, When};

/// A test file: which configuration, and the tests of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TestFile {
    /// The pipeline files, as `--config` takes them, later ones win; paths are relative to the test file.
    #[schemars(extend("minItems" = 1, "examples" = [["../pipelines/session-buddy.yaml"]]))]
    pub config: Vec<String>,
    /// What `--set` would set, after the files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["processors.mapping.max_series=10"]]))]
    pub set: Vec<String>,
    /// The environment variables that the configuration sees. There are no others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"BUDDY_TOKEN": "any"}]))]
    pub environment: BTreeMap<String, String>,
    /// The tests. Each has a pipeline of its own that knows nothing of the others.
    #[schemars(extend("minItems" = 1, "examples" = [[{"name": "what a workflow tells", "steps": []}]]))]
    pub tests: Vec<Case>,
}

/// One test: a pipeline, and what happens step by step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    /// What is promised, for a person.
    #[schemars(extend("examples" = ["what a workflow tells"]))]
    pub name: String,
    /// The id of the pipeline. Default: the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["metrics"]))]
    pub pipeline: Option<String>,
    /// What the wall clock says at the beginning. Default: 2026-01-01T00:00:00Z.
    pub start: Start,
    /// Whether more metrics may come than are expected.
    #[serde(rename = "match", skip_serializing_if = "is_default")]
    pub matching: Match,
    /// The names of the metrics that are looked at, `*` stands for anything. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["session_buddy.workflow*"]]))]
    pub only: Vec<String>,
    /// What happens, in the order of time.
    #[schemars(extend("minItems" = 1, "examples" = [[{"at": "0s", "answers": {"get_workflow_metrics": {"workflows_completed": 3}}, "expect": []}]]))]
    pub steps: Vec<Step>,
}

/// Whether more may come than is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// What comes is what is expected, and nothing else.
    #[default]
    Exact,
    /// What is expected comes; other points may come, too.
    Subset,
}

/// A moment of a test: what a receiver gives then, and what comes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// How long after the start.
    pub at: GoDuration,
    /// Which receiver of the pipeline gives it. Default: the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["session_buddy"]))]
    pub receiver: Option<String>,
    /// What each tool answered in this cycle, by its name: any JSON; an answer in prose is a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"get_workflow_metrics": {"workflows_completed": 3}}]))]
    pub answers: Option<Map<String, Value>>,
    /// The tools that did not answer in this cycle, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"get_performance_metrics": {"outcome": "not_offered"}}]))]
    pub failures: BTreeMap<String, FailedTool>,
    /// The target could not be reached in this cycle, and why: no tool that the receiver wants answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"error_type": "connection_refused"}]))]
    pub down: Option<Down>,
    /// How long the whole cycle took.
    #[serde(skip_serializing_if = "is_default")]
    pub duration: GoDuration,
    /// How long each tool took to answer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"get_workflow_metrics": "12ms"}]))]
    pub took: BTreeMap<String, GoDuration>,
    /// The ticks that passed without a cycle before this one.
    #[serde(skip_serializing_if = "is_default")]
    pub missed_ticks: u64,
    /// The resource under which the observations come. Default: what the receiver is configured to poll.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"service.name": "session-buddy"}]))]
    pub resource: Option<BTreeMap<String, Scalar>>,
    /// In the place of answers, an export request as a receiver of OTLP takes it, in OTLP/JSON: `resourceMetrics`, `resourceLogs` or `resourceSpans`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"resourceMetrics": []}]))]
    pub otlp: Option<Map<String, Value>>,
    /// The metrics that come of it; `[]` where none may. Without it nothing is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [[{"name": "session_buddy.up", "points": [{"value": 1}]}]]))]
    pub expect: Option<Vec<ExpectedMetric>>,
}

/// What became of a tool that did not answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FailedTool {
    /// What.
    pub outcome: NotAnswered,
    /// The kind of failure, as `error.type` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["timeout"]))]
    pub error_type: Option<String>,
    /// Why, in the server's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["no answer within 10 s"]))]
    pub message: Option<String>,
}

/// Why there is no answer of a tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotAnswered {
    /// It was asked, and no document came.
    #[default]
    Failed,
    /// The server does not have it.
    NotOffered,
    /// Its circuit breaker is open.
    BreakerOpen,
}

/// Why a target could not be reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Down {
    /// The kind of failure, as `error.type` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["connection_refused"]))]
    pub error_type: Option<String>,
    /// Why, in the network's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["connect: connection refused"]))]
    pub message: Option<String>,
}

/// A metric that is to come. What is not written is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedMetric {
    /// Its name.
    #[schemars(extend("examples" = ["session_buddy.up"]))]
    pub name: String,
    /// `gauge`, `counter`, `updowncounter`, `histogram`, `exponential_histogram` or `summary`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["gauge"]))]
    pub kind: Option<String>,
    /// `cumulative` or `delta`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["delta"]))]
    pub temporality: Option<String>,
    /// Its unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["s"]))]
    pub unit: Option<String>,
    /// What it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["Sessions that are active now"]))]
    pub description: Option<String>,
    /// Attributes that its resource has, among others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"server.port": 8678}]))]
    pub resource: BTreeMap<String, Scalar>,
    /// Its points.
    #[schemars(extend("examples" = [[{"value": 1}]]))]
    pub points: Vec<ExpectedPoint>,
}

/// A point that is to come, by its attributes. Of the rest, what is not written is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedPoint {
    /// All of its attributes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"tool": "get_workflow_metrics"}]))]
    pub attributes: BTreeMap<String, Scalar>,
    /// The value of a gauge or a counter: a number, `NaN`, `Infinity` or `-Infinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [3, 0.5, "NaN"]))]
    pub value: Option<Scalar>,
    /// The series ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub no_recorded_value: Option<bool>,
    /// Since when it counts: a duration after the test's start, or a moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["0s"]))]
    pub start: Option<When>,
    /// When it was so: a duration after the test's start, or a moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["30s"]))]
    pub time: Option<When>,
    /// How many values a histogram or summary has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [2]))]
    pub count: Option<u64>,
    /// Their sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [12.5]))]
    pub sum: Option<Scalar>,
    /// The smallest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [2.5]))]
    pub min: Option<Scalar>,
    /// The largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [10]))]
    pub max: Option<Scalar>,
    /// The upper boundaries of a histogram.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [[1, 5, 10]]))]
    pub explicit_bounds: Option<Vec<f64>>,
    /// How many values are in each bucket of a histogram.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [[0, 1, 1, 0]]))]
    pub bucket_counts: Option<Vec<u64>>,
    /// The scale of an exponential histogram.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [6]))]
    pub scale: Option<i32>,
    /// How many values of an exponential histogram are zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [0]))]
    pub zero_count: Option<u64>,
    /// The buckets of an exponential histogram above zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"offset": 3, "bucket_counts": [1, 1]}]))]
    pub positive: Option<Buckets>,
    /// Those below zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"offset": 0, "bucket_counts": [1]}]))]
    pub negative: Option<Buckets>,
    /// The quantiles of a summary, each with its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [[[0.5, 12.0]]]))]
    pub quantiles: Option<Vec<(f64, f64)>>,
}

/// Neighbouring buckets of an exponential histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Buckets {
    /// The index of the first.
    pub offset: i32,
    /// How many values are in each.
    pub bucket_counts: Vec<u64>,
}

/// A truth value, a number or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// A text.
    Text(String),
}

impl From<&Scalar> for AttributeValue {
    fn from(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Bool(value) => Self::Bool(*value),
            Scalar::Int(value) => Self::Int(*value),
            Scalar::Double(value) => Self::Double(*value),
            Scalar::Text(text) => Self::String(text.as_str().into()),
        }
    }
}

impl From<&AttributeValue> for Scalar {
    fn from(value: &AttributeValue) -> Self {
        match value {
            AttributeValue::Bool(value) => Self::Bool(*value),
            AttributeValue::Int(value) => Self::Int(*value),
            AttributeValue::Double(value) => Self::Double(*value),
            AttributeValue::String(text) | AttributeValue::Other(text) => Self::Text(text.to_string()),
        }
    }
}

/// A map of them as attributes.
pub(crate) fn attributes(map: &BTreeMap<String, Scalar>) -> Attributes {
    map.iter().map(|(name, value)| (name.as_str(), AttributeValue::from(value))).collect()
}

/// Attributes as a map of them.
pub fn scalars(attributes: &Attributes) -> BTreeMap<String, Scalar> {
    attributes.iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
