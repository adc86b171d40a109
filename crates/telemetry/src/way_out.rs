//! Where own metrics and own traces are sent, in the words of the exporters.

use std::{collections::BTreeMap, path::PathBuf};

use minicol_pdata::Signal;
use minicol_plugin::{
    EnvironmentDefault, OtlpProtocol,
    config::{GoDuration, Problems, Secret, without_query, without_query_if_set},
    net::ClientTls,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How own metrics and own traces are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PushExporter {
    /// Over OTLP.
    Otlp(OtlpPush),
}

/// Where own metrics or own traces are sent. What is not written the environment may give, as to the exporter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpPush {
    /// How OTLP travels.
    pub protocol: OtlpPushProtocol,
    /// As in the exporter of that protocol, such as `http://localhost:4317`.
    #[serde(serialize_with = "without_query")]
    #[schemars(extend("examples" = ["http://localhost:4317"]))]
    pub endpoint: String,
    /// As in the exporter `otlphttp`, for metrics: where they go, verbatim.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_query_if_set")]
    #[schemars(extend("examples" = ["https://otel.example/v1/metrics"]))]
    pub metrics_endpoint: Option<String>,
    /// As in the exporter `otlphttp`, for traces: where they go, verbatim.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_query_if_set")]
    #[schemars(extend("examples" = ["https://otel.example/v1/traces"]))]
    pub traces_endpoint: Option<String>,
    /// How long one request may take, where nothing shorter is set; `0s` is without limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GoDuration>,
    /// As in the exporter: how requests are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["gzip", "zstd", "none", null]))]
    pub compression: Option<String>,
    /// As in the exporter: how the server is checked, where TLS is spoken.
    pub tls: ClientTls,
    /// As in the exporter: sent with every request. Values are never printed.
    #[schemars(extend("examples" = [{"x-api-key": "${env:API_KEY}"}]))]
    pub headers: BTreeMap<String, Secret>,
    /// As in the exporter: headers whose values stand in files, which are read again for each request.
    #[schemars(extend("examples" = [{"Authorization": "/run/secrets/otlp"}]))]
    pub header_files: BTreeMap<String, PathBuf>,
    /// As in the exporter: allows an `Authorization` header over plain `http://` to a host that is not this machine.
    pub allow_insecure_auth: bool,
}

/// How OTLP travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OtlpPushProtocol {
    /// gRPC; the usual port is 4317.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// HTTP with protobuf bodies; the usual port is 4318.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// HTTP with JSON bodies; the usual port is 4318.
    #[serde(rename = "http/json")]
    HttpJson,
}

impl PushExporter {
    /// In the section that holds `exporter`. What is wrong with the keys of the exporter, that tells itself.
    pub(crate) fn validate(&self, signal: Signal, problems: &mut Problems) {
        let Self::Otlp(push) = self;
        problems.within("exporter", |problems| {
            problems.within("otlp", |problems| {
                for (other, key, set) in [
                    (Signal::Metrics, "metrics_endpoint", &push.metrics_endpoint),
                    (Signal::Traces, "traces_endpoint", &push.traces_endpoint),
                ] {
                    if set.is_some() && other != signal {
                        problems
                            .error(key, format!("no {other} are sent from here"))
                            .help(format!("write {signal}_endpoint, or endpoint"));
                    }
                }
            });
        });
    }
}

impl OtlpPush {
    /// The variables that give the protocol where it is not written. All others are those of the exporter of that protocol.
    pub fn protocol_defaults(signal: Signal) -> Vec<EnvironmentDefault> {
        let one = |signal| {
            EnvironmentDefault::otlp(signal, "PROTOCOL", vec!["protocol"], Vec::new(), |text| {
                EnvironmentDefault::otlp_protocol(text).map(|name| Some(name.into()))
            })
        };
        [Some(signal), None].map(one).into()
    }

    /// Where it is sent, for a person.
    pub fn shown_endpoint(&self) -> &str {
        let own = self.metrics_endpoint.as_deref().or(self.traces_endpoint.as_deref());
        own.unwrap_or(&self.endpoint).split('?').next().unwrap_or_default()
    }
}

impl From<OtlpPushProtocol> for OtlpProtocol {
    fn from(protocol: OtlpPushProtocol) -> Self {
        match protocol {
            OtlpPushProtocol::Grpc => Self::Grpc,
            OtlpPushProtocol::HttpProtobuf | OtlpPushProtocol::HttpJson => Self::HttpProtobuf,
        }
    }
}
