//! Tests of pipelines, as documents: a YAML file names a pipeline file, what its receivers give and when, and the metrics that are to come of it.
//! The pipeline's own processors do the work, built by the host, under a clock that stands still; nothing listens or connects. Start from
//! [`load`], which reads a file, and [`run`], which gives what came and how it differs. `docs/test-a-pipeline.md` is the user's page.

mod compare;
mod edit;
mod file;
mod input;
mod load;
mod moment;
mod run;
mod series;
mod show;
mod yaml;

pub use compare::{Difference, Field};
pub use edit::{NotUpdated, updated};
pub use file::{
    Buckets, Case, Down, ExpectedMetric, ExpectedPoint, FailedTool, Match, NotAnswered, Scalar, Step, TestFile, scalars,
};
pub use load::{Loaded, load, load_text, schema};
pub use moment::{Start, When};
pub use run::{CaseResult, StepResult, run};
pub use series::{Series, values};
pub use show::{Paint, failures};
pub use yaml::{expectations, file};
