//! The program's own telemetry: its metrics, on a Prometheus page and pushed over OTLP, and its logs. Start from [`Telemetry`], made from
//! [`TelemetryConfig`] (`service.telemetry` of a pipeline file): it gives the [`Telemetry::meter`] that every component's instruments come
//! from, before anything is bound; [`Telemetry::start`] binds the pages and begins to push. Logs are set up apart, by [`logs::init`], since
//! they are wanted even where a configuration does not hold.

mod config;
pub mod logs;
mod page;
mod process;
mod provider;
mod push;
mod serve;
mod snapshot;
mod telemetry;

pub use config::{
    LogEncoding, LogLevel, LogsConfig, MetricsConfig, MetricsLevel, OtlpPush, OtlpPushProtocol, Periodic,
    PrometheusPage, Pull, PullExporter, PushExporter, Reader, ResourceValue, TelemetryConfig,
};
pub use page::{CONTENT_TYPE, render as render_page};
pub use telemetry::{Program, Telemetry, TelemetryError};
