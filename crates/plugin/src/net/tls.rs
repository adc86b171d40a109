use std::{path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Problems;

/// How a client checks whom it talks to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTls {
    /// Speak plain text where the endpoint names no scheme. An endpoint with `http://` or `https://` has decided already.
    pub insecure: bool,
    /// A PEM file of the certificate authorities to trust, instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// TLS that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of authorities cannot be used.
    #[error("ca_file {path} cannot be used: {reason}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system has no certificate authorities.
    #[error(
        "the system has no certificate authorities to trust{0}: install them (package ca-certificates) or set tls.ca_file"
    )]
    NoRoots(String),
    /// The library refused the set-up.
    #[error("tls cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl ClientTls {
    /// Adds what is wrong with it.
    pub fn validate(&self, problems: &mut Problems) {
        if let Some(path) = &self.ca_file
            && let Err(error) = read_authorities(path)
        {
            problems.error("ca_file", error.to_string()).help("name a PEM file that holds at least one certificate");
        }
    }

    /// A client configuration with rustls' safe versions (TLS 1.2 and 1.3) that offers `alpn`.
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = match &self.ca_file {
            Some(path) => read_authorities(path)?,
            None => system_authorities()?,
        };
        let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn read_authorities(path: &PathBuf) -> Result<RootCertStore, TlsError> {
    let wrong = |reason: String| TlsError::CaFile { path: path.clone(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("it holds no certificate".to_owned())) } else { Ok(roots) }
}

fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(TlsError::NoRoots(why));
    }
    Ok(roots)
}
