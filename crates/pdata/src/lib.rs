//! What flows through a pipeline. Start from [`Batch`]: one of four signals. [`Observations`] are JSON documents that a source
//! answered with; [`Metrics`], [`Logs`] and [`Traces`] are OTLP, seen through accessors only, so that no generated protobuf type
//! stands in the API of a component.

mod attributes;
mod batch;
mod json;
mod memory;
mod metrics;
mod observation;
mod one_of;
mod otlp;
mod split;
mod time;
mod weight;

pub use attributes::{AttributeValue, Attributes, Resource};
pub use batch::{Batch, Signal};
pub use metrics::{
    ExponentialBuckets, ExponentialHistogramPoint, HistogramPoint, MetricDescriptor, MetricKind, MetricView,
    MetricWriter, Metrics, MetricsBuilder, Number, NumberPoint, PointValue, PointView, Temporality,
};
pub use observation::{Arrival, Cut, Observation, Observations, Outcome, POLL_REPORT, PollReport, Source, ToolOutcome};
pub use otlp::{DecodeError, Logs, Otlp, Traces};
pub use time::Timestamp;
pub use weight::weigh_json;
