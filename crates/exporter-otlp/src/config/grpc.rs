//! `otlp`: OTLP over gRPC.

use ::http::Uri;
use minicol_plugin::{
    config::{ComponentConfig, GoDuration, Problems},
    net::is_loopback,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EndpointError, HTTP_PORT, MIB, endpoint, shared::exporter_config, tls};
use crate::lanes::SIGNALS;

exporter_config! {
    /// Configuration of `otlp`: OTLP over gRPC. Headers travel as gRPC metadata.
    OtlpGrpcConfig {
        /// Where to deliver: `host:port`, `http://host:port` (plain text) or `https://host:port` (TLS). Without a scheme TLS is spoken unless
        /// `tls.insecure` is true. Required unless each signal that is delivered has its own.
        #[schemars(extend("examples" = ["http://localhost:4317", "https://otel.example.com:4317"]))]
        pub endpoint: String,
        /// The largest request in MiB, before it is compressed; what is larger is sent in parts. Unset: as large as the server turns out to take.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("minimum" = 1, "maximum" = 1024, "examples" = [4]))]
        pub max_send_msg_size_mib: Option<u32>,
        /// Asks a silent connection whether its far end is still there. Unset: only a request finds out.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub keepalive: Option<Keepalive>,
    }

    /// What is other for one signal of `otlp`. The environment's variables of one signal are read into it.
    GrpcSignal {
        /// Where it is delivered.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("examples" = ["https://logs.example.com:4317"]))]
        pub endpoint: Option<String>,
    }
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

impl GrpcSignal {
    fn lay_over(&self, all: &mut OtlpGrpcConfig) {
        self.endpoint.iter().for_each(|own| all.endpoint.clone_from(own));
    }
}

impl OtlpGrpcConfig {
    /// The largest request, in bytes.
    pub(crate) fn max_send_bytes(&self) -> Option<usize> {
        self.max_send_msg_size_mib.map(|mib| mib as usize * MIB as usize)
    }

    /// Where to deliver, as `http://` or `https://`, without a path.
    pub(crate) fn target(&self) -> Result<Uri, EndpointError> {
        endpoint::grpc(&self.endpoint, self.tls.insecure)
    }

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
        let targets = std::slice::from_ref(&target);
        tls::check("endpoint", &self.tls, targets, problems);
        self.check_credentials(targets, problems);
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
        let at = |all: &Self, _| all.target().ok();
        let also = |all: &Self, own: &GrpcSignal, problems: &mut Problems| {
            if own.endpoint.is_some() || (own.tls.is_some() && !all.endpoint.is_empty()) {
                all.check_target(problems);
            }
        };
        self.validate_shared(at, also, problems);
    }
}
