//! `tls`: of one signal, and beside an endpoint.

use std::path::PathBuf;

use ::http::Uri;
use minicol_plugin::{config::Problems, net::ClientTls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Whether nothing is wrong with it: else that is told already, and would be told again with each signal.
pub(super) fn holds(tls: &ClientTls) -> bool {
    let mut problems = Problems::default();
    tls.validate(&mut problems);
    problems.into_vec().iter().all(|problem| problem.warning)
}

/// Warns of TLS options that the endpoint's scheme leaves without effect.
pub(super) fn check(field: &str, tls: &ClientTls, targets: &[Uri], problems: &mut Problems) {
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
