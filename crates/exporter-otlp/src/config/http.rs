//! `otlphttp`: OTLP over HTTP.

use ::http::Uri;
use minicol_pdata::Signal;
use minicol_plugin::config::{ComponentConfig, Problems, without_query, without_query_if_set};

use super::{Encoding, EndpointError, GRPC_PORT, MIB, endpoint, shared::exporter_config, tls};

exporter_config! {
    /// Configuration of `otlphttp`: OTLP over HTTP.
    OtlpHttpConfig {
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
        /// How requests are written.
        pub encoding: Encoding,
        /// The largest request in bytes, before it is compressed; what is larger is sent in parts. Unset: as large as the server turns out to take.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("minimum" = 1024, "maximum" = 1_073_741_824, "x-unit" = "bytes", "examples" = [4_194_304]))]
        pub max_request_body_size: Option<u32>,
    }

    /// What is other for one signal of `otlphttp`. Its endpoint has a key of its own, such as `metrics_endpoint`. The environment's variables of one signal are
    /// read into it.
    HttpSignal {
        /// How its requests are written.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub encoding: Option<Encoding>,
    }
}

impl HttpSignal {
    fn lay_over(&self, all: &mut OtlpHttpConfig) {
        all.encoding = self.encoding.unwrap_or(all.encoding);
    }
}

impl OtlpHttpConfig {
    /// The largest request, in bytes.
    pub(crate) fn max_send_bytes(&self) -> Option<usize> {
        self.max_request_body_size.map(|bytes| bytes as usize)
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
        tls::check("endpoint", &self.tls, &targets, problems);
        self.check_credentials(&targets, problems);
        if let Some(bytes) = self.max_request_body_size {
            problems.range("max_request_body_size", f64::from(bytes), 1024.0, f64::from(1024 * MIB));
        }
        self.validate_shared(|all, signal| all.target(signal).ok().flatten(), |_, _, _| {}, problems);
    }
}
