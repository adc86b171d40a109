//! A batch as text for a person, fit for a terminal. Start from [`render`].

mod metrics;
mod observations;
mod records;
mod words;

use minicol_pdata::Batch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verbosity {
    /// A line per batch, with counts.
    #[default]
    Basic,
    /// A line per data point, observation, log record or span.
    Normal,
    /// Everything that is in it.
    Detailed,
}

/// A batch in lines.
pub fn render(batch: &Batch, verbosity: Verbosity) -> String {
    match batch {
        Batch::Metrics(metrics) => metrics::render(metrics, verbosity),
        Batch::Observations(observations) => observations::render(observations, verbosity),
        Batch::Logs(logs) => records::logs(logs, verbosity),
        Batch::Traces(traces) => records::traces(traces, verbosity),
    }
}
