//! What a user can write under `otlp` and `otlphttp`.

mod endpoint;
mod headers;
mod signal;

use std::{collections::BTreeMap, path::PathBuf};

use ::http::Uri;
use minicol_pdata::Signal;
use minicol_plugin::{
    config::{ComponentConfig, GoDuration, Problems, Secret, without_query, without_query_if_set},
    net::{ClientTls, is_credential, is_loopback, is_plain_text_beyond_here},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lanes::SIGNALS;

pub(crate) use endpoint::EndpointError;
pub(crate) use headers::Headers;
pub use signal::{GrpcSignal, HttpSignal, SignalTls};

/// Configuration of `otlp`: OTLP over gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpGrpcConfig {
    /// Where to deliver: `host:port`, `http://host:port` (plain text) or `https://host:port` (TLS). Without a scheme TLS is spoken unless
    /// `tls.insecure` is true. Required unless each signal that is delivered has its own.
    #[schemars(extend("examples" = ["http://localhost:4317", "https://otel.example.com:4317"]))]
    pub endpoint: String,
    /// How the server is checked, where TLS is spoken.
    pub tls: ClientTls,
    /// Sent with every request, as gRPC metadata. Values are never printed.
    #[schemars(extend("examples" = [{"x-api-key": "${env:API_KEY}"}]))]
    pub headers: BTreeMap<String, Secret>,
    /// Headers whose values stand in files, which are read again for each request: name to path.
    #[schemars(extend("examples" = [{"Authorization": "/run/secrets/otlp"}]))]
    pub header_files: BTreeMap<String, PathBuf>,
    /// Allows a header that lets its sender in, such as `Authorization`, over plain `http://` to a host that is not this machine.
    pub allow_insecure_auth: bool,
    /// How requests are compressed.
    pub compression: Compression,
    /// The largest request in MiB, before it is compressed; what is larger is sent in parts. Unset: as large as the server turns out to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 1024, "examples" = [4]))]
    pub max_send_msg_size_mib: Option<u32>,
    /// Asks a silent connection whether its far end is still there. Unset: only a request finds out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Keepalive>,
    /// What is other for metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<GrpcSignal>,
    /// What is other for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<GrpcSignal>,
    /// What is other for traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<GrpcSignal>,
}

/// Configuration of `otlphttp`: OTLP over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpHttpConfig {
    /// Where to deliver: the base to which `/v1/metrics`, `/v1/logs` or `/v1/traces` is added, with `http://` or `https://`. Required unless
    /// the endpoint of each signal that is delivered is set by itself.
    #[serde(serialize_with = "without_query")]
    #[schemars(extend("examples" = ["http://localhost:4318", "https://otel.example.com:4318"]))]
    pub endpoint: String,
    /// Where metrics go, verbatim, instead of under `endpoint`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_query_if_set")]
    #[schemars(extend("examples" = ["https://otel.example.com/v1/metrics"]))]
    pub metrics_endpoint: Option<String>,
    /// Where logs go, verbatim, instead of under `endpoint`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_query_if_set")]
    #[schemars(extend("examples" = ["https://otel.example.com/v1/logs"]))]
    pub logs_endpoint: Option<String>,
    /// Where traces go, verbatim, instead of under `endpoint`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_query_if_set")]
    #[schemars(extend("examples" = ["https://otel.example.com/v1/traces"]))]
    pub traces_endpoint: Option<String>,
    /// How the server is checked, where TLS is spoken.
    pub tls: ClientTls,
    /// Sent with every request. Values are never printed.
    #[schemars(extend("examples" = [{"x-api-key": "${env:API_KEY}"}]))]
    pub headers: BTreeMap<String, Secret>,
    /// Headers whose values stand in files, which are read again for each request: name to path.
    #[schemars(extend("examples" = [{"Authorization": "/run/secrets/otlp"}]))]
    pub header_files: BTreeMap<String, PathBuf>,
    /// Allows a header that lets its sender in, such as `Authorization`, over plain `http://` to a host that is not this machine.
    pub allow_insecure_auth: bool,
    /// How requests are compressed.
    pub compression: Compression,
    /// How requests are written.
    pub encoding: Encoding,
    /// The largest request in bytes, before it is compressed; what is larger is sent in parts. Unset: as large as the server turns out to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1024, "maximum" = 1_073_741_824, "x-unit" = "bytes", "examples" = [4_194_304]))]
    pub max_request_body_size: Option<u32>,
    /// What is other for metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<HttpSignal>,
    /// What is other for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<HttpSignal>,
    /// What is other for traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<HttpSignal>,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Telemetry shrinks to about a tenth. Every OTLP server must take it.
    #[default]
    Gzip,
    /// Smaller and faster than gzip, but not every server takes it.
    Zstd,
    /// Not at all: on loopback it saves a little CPU.
    None,
}

/// How OTLP over HTTP is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Protobuf, which every OTLP server takes.
    #[default]
    Proto,
    /// JSON, for a server that takes nothing else: larger, and slower to read.
    Json,
}

/// How a connection is kept alive, in gRPC's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keepalive {
    /// After how long a silence it is asked.
    #[schemars(extend("x-minimum" = "1s"))]
    pub time: GoDuration,
    /// How long its answer may take, before the connection is given up.
    #[schemars(extend("x-minimum" = "1s"))]
    pub timeout: GoDuration,
    /// Also while no request is under way. A server may take that for an attack.
    pub permit_without_stream: bool,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { time: GoDuration::from_secs(10), timeout: GoDuration::from_secs(10), permit_without_stream: false }
    }
}

impl Keepalive {
    fn validate(&self, problems: &mut Problems) {
        for (field, value) in [("time", self.time), ("timeout", self.timeout)] {
            if value < GoDuration::from_secs(1) {
                problems.error(field, format!("must be at least 1s, but is {value}")).help("for example 10s");
            }
        }
    }
}

/// The port that OTLP over gRPC has by convention.
const GRPC_PORT: u16 = 4317;
/// The port that OTLP over HTTP has by convention.
const HTTP_PORT: u16 = 4318;

const MIB: u32 = 1 << 20;

impl OtlpGrpcConfig {
    /// The largest request, in bytes.
    pub(crate) fn max_send_bytes(&self) -> Option<usize> {
        self.max_send_msg_size_mib.map(|mib| mib as usize * MIB as usize)
    }

    /// Adds an error for each credential that everybody on the way could read.
    fn check_credentials(&self, targets: &[&Uri], problems: &mut Problems) {
        if !self.allow_insecure_auth {
            check_credentials(&self.headers, &self.header_files, targets, problems);
        }
    }

    fn section(&self, signal: Signal) -> Option<&GrpcSignal> {
        match signal {
            Signal::Metrics => self.metrics.as_ref(),
            Signal::Logs => self.logs.as_ref(),
            Signal::Traces => self.traces.as_ref(),
            Signal::Observations => None,
        }
    }

    /// As it is for one signal, without sections.
    pub(crate) fn of(&self, signal: Signal) -> Self {
        let mut all = Self { metrics: None, logs: None, traces: None, ..self.clone() };
        if let Some(own) = self.section(signal) {
            own.endpoint.iter().for_each(|own| all.endpoint.clone_from(own));
            own.tls.iter().for_each(|own| own.lay_over(&mut all.tls));
            own.headers.iter().for_each(|own| all.headers.clone_from(own));
            all.compression = own.compression.unwrap_or(all.compression);
        }
        all
    }

    /// Where to deliver, as `http://` or `https://`, without a path.
    pub(crate) fn target(&self) -> Result<Uri, EndpointError> {
        endpoint::grpc(&self.endpoint, self.tls.insecure)
    }
}

impl OtlpHttpConfig {
    /// The largest request, in bytes.
    pub(crate) fn max_send_bytes(&self) -> Option<usize> {
        self.max_request_body_size.map(|bytes| bytes as usize)
    }

    /// Adds an error for each credential that everybody on the way could read.
    fn check_credentials(&self, targets: &[&Uri], problems: &mut Problems) {
        if !self.allow_insecure_auth {
            check_credentials(&self.headers, &self.header_files, targets, problems);
        }
    }

    fn section(&self, signal: Signal) -> Option<&HttpSignal> {
        match signal {
            Signal::Metrics => self.metrics.as_ref(),
            Signal::Logs => self.logs.as_ref(),
            Signal::Traces => self.traces.as_ref(),
            Signal::Observations => None,
        }
    }

    /// As it is for one signal, without sections.
    pub(crate) fn of(&self, signal: Signal) -> Self {
        let mut all = Self { metrics: None, logs: None, traces: None, ..self.clone() };
        if let Some(own) = self.section(signal) {
            own.tls.iter().for_each(|own| own.lay_over(&mut all.tls));
            own.headers.iter().for_each(|own| all.headers.clone_from(own));
            all.compression = own.compression.unwrap_or(all.compression);
            all.encoding = own.encoding.unwrap_or(all.encoding);
        }
        all
    }

    /// Where a signal goes. `Ok(None)` where neither `endpoint` nor its own is set.
    pub(crate) fn target(&self, signal: Signal) -> Result<Option<Uri>, EndpointError> {
        match self.own_endpoint(signal) {
            Some(own) => endpoint::http(own).map(Some),
            None if self.endpoint.is_empty() => Ok(None),
            None => endpoint::http_base(&self.endpoint, signal).map(Some),
        }
    }

    fn own_endpoint(&self, signal: Signal) -> Option<&str> {
        match signal {
            Signal::Metrics => self.metrics_endpoint.as_deref(),
            Signal::Logs => self.logs_endpoint.as_deref(),
            Signal::Traces => self.traces_endpoint.as_deref(),
            Signal::Observations => None,
        }
    }
}

impl ComponentConfig for OtlpGrpcConfig {
    fn validate(&self, problems: &mut Problems) {
        let own = |signal| self.section(signal).is_some_and(|own| own.endpoint.is_some());
        if !self.endpoint.is_empty() || !SIGNALS.into_iter().any(own) {
            self.check_target(problems);
        }
        if let Some(keepalive) = &self.keepalive {
            problems.within("keepalive", |problems| keepalive.validate(problems));
        }
        if let Some(mib) = self.max_send_msg_size_mib {
            problems.range("max_send_msg_size_mib", f64::from(mib), 1.0, 1024.0);
        }
        problems.within("tls", |problems| self.tls.validate(problems));
        headers::validate(&self.headers, &self.header_files, problems);
        for signal in SIGNALS {
            let Some(own) = self.section(signal) else { continue };
            let all = self.of(signal);
            problems.within(signal.name(), |problems| {
                if own.endpoint.is_some() || (own.tls.is_some() && !all.endpoint.is_empty()) {
                    all.check_target(problems);
                }
                if own.tls.is_some() && holds(&self.tls) {
                    problems.within("tls", |problems| all.tls.validate(problems));
                }
                if own.headers.is_some() {
                    if let Ok(target) = all.target() {
                        all.check_credentials(&[&target], problems);
                    }
                    headers::validate(&all.headers, &all.header_files, problems);
                }
            });
        }
    }
}

impl OtlpGrpcConfig {
    /// Adds what is wrong with the endpoint, or odd about it.
    fn check_target(&self, problems: &mut Problems) {
        let target = match self.target() {
            Ok(target) => target,
            Err(error) => return error.tell("endpoint", problems),
        };
        if !self.endpoint.contains("://") && !self.tls.insecure && target.host().is_some_and(is_loopback) {
            problems
                .warning("endpoint", format!("`{}` names no scheme, so TLS is spoken", self.endpoint))
                .help(format!("write http://{0} for plain text, https://{0} to keep TLS", self.endpoint));
        }
        if target.port_u16() == Some(HTTP_PORT) {
            problems
                .warning("endpoint", "4318 is the port of OTLP over HTTP, but `otlp` speaks gRPC")
                .help("use port 4317, or the exporter `otlphttp`");
        }
        check_tls("endpoint", &self.tls, &[&target], problems);
        self.check_credentials(&[&target], problems);
    }
}

impl ComponentConfig for OtlpHttpConfig {
    fn validate(&self, problems: &mut Problems) {
        let mut targets = Vec::new();
        let fields = [
            (Signal::Metrics, "metrics_endpoint"),
            (Signal::Logs, "logs_endpoint"),
            (Signal::Traces, "traces_endpoint"),
        ];
        for (signal, field) in fields {
            if self.own_endpoint(signal).is_some() {
                match self.target(signal) {
                    Ok(target) => targets.extend(target),
                    Err(error) => error.tell(field, problems),
                }
            }
        }
        if !self.endpoint.is_empty() {
            match endpoint::http(&self.endpoint).and_then(|_| endpoint::http_base(&self.endpoint, Signal::Metrics)) {
                Ok(target) => {
                    self.warn_of_base(&target, problems);
                    targets.push(target);
                }
                Err(error) => error.tell("endpoint", problems),
            }
        } else if fields.iter().all(|(signal, _)| self.own_endpoint(*signal).is_none()) {
            EndpointError::Missing { example: "http://localhost:4318" }.tell("endpoint", problems);
        }
        let targets: Vec<&Uri> = targets.iter().collect();
        check_tls("endpoint", &self.tls, &targets, problems);
        self.check_credentials(&targets, problems);
        if let Some(bytes) = self.max_request_body_size {
            problems.range("max_request_body_size", f64::from(bytes), 1024.0, f64::from(1024 * MIB));
        }
        problems.within("tls", |problems| self.tls.validate(problems));
        headers::validate(&self.headers, &self.header_files, problems);
        for signal in SIGNALS {
            let Some(own) = self.section(signal) else { continue };
            let all = self.of(signal);
            problems.within(signal.name(), |problems| {
                if own.tls.is_some() && holds(&self.tls) {
                    problems.within("tls", |problems| all.tls.validate(problems));
                }
                if own.headers.is_some() {
                    let target = all.target(signal).ok().flatten();
                    all.check_credentials(&target.iter().collect::<Vec<_>>(), problems);
                    headers::validate(&all.headers, &all.header_files, problems);
                }
            });
        }
    }
}

impl OtlpHttpConfig {
    fn warn_of_base(&self, metrics: &Uri, problems: &mut Problems) {
        let base = self.endpoint.trim_end_matches('/');
        if let Some(signal) = ["metrics", "logs", "traces"].iter().find(|one| base.ends_with(&format!("/v1/{one}"))) {
            problems
                .warning("endpoint", format!("`endpoint` is the base: metrics would go to {metrics}"))
                .help(format!("leave /v1/{signal} away, or write it as {signal}_endpoint"));
        }
        if metrics.port_u16() == Some(GRPC_PORT) {
            problems
                .warning("endpoint", "4317 is the port of OTLP over gRPC, but `otlphttp` speaks HTTP")
                .help("use port 4318, or the exporter `otlp`");
        }
    }
}

/// Whether nothing is wrong with it: else that is told already, and would be told again with each signal.
fn holds(tls: &ClientTls) -> bool {
    let mut problems = Problems::default();
    tls.validate(&mut problems);
    problems.into_vec().iter().all(|problem| problem.warning)
}

/// Warns of TLS options that the endpoint's scheme leaves without effect.
fn check_tls(field: &str, tls: &ClientTls, targets: &[&Uri], problems: &mut Problems) {
    let all = |scheme| !targets.is_empty() && targets.iter().all(|one| one.scheme_str() == Some(scheme));
    if tls.insecure && all("https") {
        problems
            .warning(field, "the endpoint says https://, so TLS is spoken: tls.insecure has no effect")
            .help("leave tls.insecure away, or write http://");
    }
    for key in tls.set_keys().into_iter().filter(|_| all("http")) {
        problems
            .warning(field, format!("plain text is spoken, so tls.{key} has no effect"))
            .help(format!("leave tls.{key} away, or write https://"));
    }
}

fn check_credentials(
    headers: &BTreeMap<String, Secret>,
    files: &BTreeMap<String, PathBuf>,
    targets: &[&Uri],
    problems: &mut Problems,
) {
    let Some(exposed) = targets.iter().find(|uri| is_plain_text_beyond_here(uri)) else { return };
    let host = exposed.host().unwrap_or_default();
    let names = headers.keys().map(|name| ("headers", name)).chain(files.keys().map(|name| ("header_files", name)));
    for (key, name) in names.filter(|(_, name)| is_credential(name)) {
        problems.within(key, |problems| {
            problems
                .error(name, format!("would be sent to `{host}` unencrypted: the endpoint is http://"))
                .help("use an https:// endpoint, or set `allow_insecure_auth: true` where the network is trusted");
        });
    }
}

#[cfg(test)]
mod tests;
