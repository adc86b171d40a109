//! What is other for one signal than for the rest. The environment's variables of one signal are read into it.

use std::{collections::BTreeMap, path::PathBuf};

use minicol_plugin::{config::Secret, net::ClientTls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compression, Encoding};

/// What is other for one signal of `otlp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcSignal {
    /// Where it is delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["https://logs.example.com:4317"]))]
    pub endpoint: Option<String>,
    /// How its server is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<SignalTls>,
    /// Sent with its requests, in place of the others. Values are never printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"x-api-key": "${env:LOGS_KEY}"}]))]
    pub headers: Option<BTreeMap<String, Secret>>,
    /// How its requests are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// What is other for one signal of `otlphttp`. Its endpoint has a key of its own, such as `metrics_endpoint`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSignal {
    /// How its server is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<SignalTls>,
    /// Sent with its requests, in place of the others. Values are never printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"x-api-key": "${env:LOGS_KEY}"}]))]
    pub headers: Option<BTreeMap<String, Secret>>,
    /// How its requests are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How its requests are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// What is other in `tls` for one signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignalTls {
    /// Speak plain text where the endpoint names no scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
    /// A PEM file of the certificate authorities to trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/minicol/ca.pem"]))]
    pub ca_file: Option<PathBuf>,
    /// A PEM file of the certificate that is shown to the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/minicol/client.pem"]))]
    pub cert_file: Option<PathBuf>,
    /// A PEM file of that certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/minicol/client.key"]))]
    pub key_file: Option<PathBuf>,
}

impl SignalTls {
    /// Takes the place of what it sets.
    pub(super) fn lay_over(&self, tls: &mut ClientTls) {
        tls.insecure = self.insecure.unwrap_or(tls.insecure);
        for (own, common) in [
            (&self.ca_file, &mut tls.ca_file),
            (&self.cert_file, &mut tls.cert_file),
            (&self.key_file, &mut tls.key_file),
        ] {
            if own.is_some() {
                common.clone_from(own);
            }
        }
    }
}
