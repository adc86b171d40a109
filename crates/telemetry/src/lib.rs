//! The program's own telemetry: its metrics, on a Prometheus page and pushed over OTLP, its traces, and its logs. Start from [`Telemetry`], made
//! from [`TelemetryConfig`] (`service.telemetry` of a pipeline file): it gives the [`Telemetry::meter`] and the [`Telemetry::tracer`] that every
//! component's instruments and spans come from, before anything is bound; [`Telemetry::start`] binds the pages and begins to push. Logs are set up apart, by [`logs::init`], since
//! they are wanted even where a configuration does not hold.

mod config;
mod far_end;
pub mod logs;
mod page;
mod process;
mod provider;
mod push;
mod serve;
mod snapshot;
mod telemetry;
mod traces;
mod way_out;

pub use config::{
    LogEncoding, LogLevel, LogsConfig, MetricsConfig, MetricsLevel, Periodic, PrometheusPage, Pull, PullExporter,
    Reader, ResourceValue, TelemetryConfig,
};
pub use page::{CONTENT_TYPE, render as render_page};
pub use telemetry::{Program, Telemetry, TelemetryError};
pub use traces::{BatchProcessor, NoOptions, ParentBased, Ratio, Sampler, SpanProcessor, TracesConfig};
pub use way_out::{OtlpPush, OtlpPushProtocol, PushExporter};
