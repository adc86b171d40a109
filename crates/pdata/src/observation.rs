use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Resource, Timestamp,
    memory::{Heap, Held},
};

/// The tool name under which a cycle's own report travels. No MCP tool can be called so: `@` is not allowed in their names.
pub const POLL_REPORT: &str = "@poll";

/// What a cycle of one receiver brought: an observation per tool that answered, then the poll's own report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observations {
    list: Arc<Vec<Observation>>,
    pub(crate) held: Held,
}

/// One JSON document that a source answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Who was asked, and by whom.
    pub source: Arc<Source>,
    /// Which question: the tool's name, or [`POLL_REPORT`].
    pub tool: Arc<str>,
    /// The arguments it was asked with.
    pub arguments: Option<Arc<Map<String, Value>>>,
    /// When the answer had arrived, whole.
    pub arrival: Arrival,
    /// How long the call took, its retries included.
    pub took: Duration,
    /// The answer.
    pub document: Arc<Value>,
    /// Set where the source holds more than the answer tells, by the configuration's wish.
    pub cut: Option<Cut>,
}

/// One target as one receiver polls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What a backend knows the target by.
    pub resource: Resource,
    /// The id of the receiver, such as `session_buddy/laptop`.
    pub receiver: String,
    /// The time between two cycles.
    pub interval: Duration,
}

/// A moment on both clocks, read together: the wall clock can be set, the monotonic one only goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Arrival {
    /// The wall clock.
    pub wall: Timestamp,
    /// Since the program's start.
    pub monotonic: Duration,
}

/// An answer that holds fewer items than the source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Items in the answer.
    pub returned: u64,
    /// Items that the source says it has.
    pub total: u64,
}

/// The document of a [`POLL_REPORT`]: how a cycle went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PollReport {
    /// 1 where the target spoke valid MCP in this cycle, 0 where it was tried and did not; the last value where nothing was due.
    /// `None` where nothing was ever tried.
    pub up: Option<u8>,
    /// How long the cycle took, in seconds.
    pub duration_seconds: f64,
    /// Ticks that passed without a cycle since the last report.
    pub missed_ticks: u64,
    /// Why the set-up (connect, initialize, tools/list) failed, where it did.
    pub setup_error: Option<ToolOutcome>,
    /// What became of each wanted tool.
    pub tools: BTreeMap<String, ToolOutcome>,
}

/// What became of one wanted tool in one cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolOutcome {
    /// Answered, not offered, failed, or not asked.
    pub outcome: Outcome,
    /// The kind of failure, as the attribute `error.type` names it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_type: Option<String>,
    /// Why, in the server's or the network's own words, escaped and shortened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// How long it took, in seconds, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duration_seconds: Option<f64>,
}

/// The four things that can become of a tool in a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A document came.
    Answered,
    /// The server does not have it.
    NotOffered,
    /// It was asked, or its set-up was tried, and no document came; or the server had asked for time.
    Failed,
    /// Its circuit breaker is open and not due.
    BreakerOpen,
}

impl Observations {
    /// The observations in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Observation> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds everything that `more` holds.
    pub fn append(&mut self, more: &Self) {
        self.held.add(&more.held);
        Arc::make_mut(&mut self.list).extend_from_slice(&more.list);
    }

    /// In two: the first `keep`, and the others.
    #[must_use]
    pub fn split_at(&self, keep: usize) -> (Self, Self) {
        let (first, others) = self.list.split_at(keep.min(self.list.len()));
        let part = |list: &[Observation]| Self { list: Arc::new(list.to_vec()), held: self.held.clone() };
        (part(first), part(others))
    }

    /// The length of their JSON text, in bytes.
    pub fn bytes(&self) -> usize {
        self.list.iter().map(|one| json_len(&one.document)).sum()
    }

    /// About how many bytes of memory they take.
    pub fn memory(&self) -> usize {
        self.list.iter().map(|one| size_of::<Observation>() + size_of::<Value>() + one.document.heap()).sum()
    }
}

impl From<Vec<Observation>> for Observations {
    fn from(list: Vec<Observation>) -> Self {
        Self { list: Arc::new(list), held: Held::default() }
    }
}

impl<'a> IntoIterator for &'a Observations {
    type Item = &'a Observation;
    type IntoIter = std::slice::Iter<'a, Observation>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Observation {
    /// The poll's report, where this is one.
    pub fn report(&self) -> Option<PollReport> {
        if &*self.tool == POLL_REPORT { PollReport::deserialize(&*self.document).ok() } else { None }
    }
}

impl PollReport {
    /// As the document of an observation.
    pub fn to_document(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

impl ToolOutcome {
    /// An outcome without anything beside it.
    pub const fn of(outcome: Outcome) -> Self {
        Self { outcome, error_type: None, message: None, duration_seconds: None }
    }
}

/// Counts the bytes of the JSON text without building it.
fn json_len(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    if serde_json::to_writer(&mut count, value).is_err() {
        return 0;
    }
    count.0
}
