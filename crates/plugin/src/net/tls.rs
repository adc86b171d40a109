use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unverified::Unverified;
use crate::{config::Problems, files};

/// How a client checks whom it talks to, and shows who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTls {
    /// Speak plain text where the endpoint names no scheme. An endpoint with `http://` or `https://` has decided already.
    pub insecure: bool,
    /// Do not check the server's certificate: whoever answers is believed. For a test only.
    pub insecure_skip_verify: bool,
    /// A PEM file of the certificate authorities to trust, instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/minicol/ca.pem"]))]
    pub ca_file: Option<PathBuf>,
    /// A PEM file of the certificate (with its chain) that is shown to the server; with `key_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/minicol/client.pem"]))]
    pub cert_file: Option<PathBuf>,
    /// A PEM file of that certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/minicol/client.key"]))]
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, instead of the endpoint's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["otel.example.com"]))]
    pub server_name_override: Option<String>,
    /// The oldest version of TLS that is spoken: `1.2` or `1.3`.
    pub min_version: TlsVersion,
}

/// How a server shows who it is, and whom it lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerTls {
    /// A PEM file of the certificate (with its chain) that is shown to clients. Required.
    #[schemars(extend("examples" = ["/etc/minicol/server.pem"]))]
    pub cert_file: PathBuf,
    /// A PEM file of that certificate's private key. Required.
    #[schemars(extend("examples" = ["/etc/minicol/server.key"]))]
    pub key_file: PathBuf,
    /// A PEM file of the authorities of which a client must show a certificate. Unset: every client is let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/minicol/clients.pem"]))]
    pub client_ca_file: Option<PathBuf>,
    /// The oldest version of TLS that is spoken: `1.2` or `1.3`.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// TLS that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{key} {path} cannot be used: {reason}")]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("{set} is set, but {missing} is not: a certificate needs its private key, and the other way round")]
    HalfIdentity {
        /// The key that is there.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// A server name that no certificate can have.
    #[error("server_name_override `{0}` is no name or address that a certificate can have")]
    ServerName(String),
    /// The system has no certificate authorities.
    #[error(
        "the system has no certificate authorities to trust{0}: install them (package ca-certificates) or set tls.ca_file"
    )]
    NoRoots(String),
    /// The library refused the set-up.
    #[error("tls cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

static ONLY_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl ClientTls {
    /// Adds what is wrong with it.
    pub fn validate(&self, problems: &mut Problems) {
        if let Some(path) = &self.ca_file
            && let Err(error) = read_authorities("ca_file", path)
        {
            error.tell(problems);
        }
        if let Err(error) = self.identity().and_then(|identity| match identity {
            None => Ok(()),
            Some((chain, key)) => check_identity("cert_file", self.cert_file.as_deref(), chain, key),
        }) {
            error.tell(problems);
        }
        if let Err(error) = self.server_name() {
            error.tell(problems);
        }
        if self.insecure_skip_verify {
            if self.ca_file.is_some() {
                problems
                    .error("ca_file", "is set, but insecure_skip_verify checks no certificate")
                    .help("leave one of them away");
            }
            problems
                .warning("insecure_skip_verify", "the server's certificate is not checked: whoever answers is believed")
                .help("name the server's authority in ca_file instead");
        }
    }

    /// A client configuration that offers `alpn`.
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_protocol_versions(self.min_version.and_newer())?;
        let builder = if self.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider())))
        } else {
            let roots = match &self.ca_file {
                Some(path) => read_authorities("ca_file", path)?,
                None => system_authorities()?,
            };
            builder.with_root_certificates(roots)
        };
        let mut config = match self.identity()? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// The name that the server's certificate must have, where it is not the endpoint's host; for
    /// [`HttpConnector::server_name`](super::HttpConnector::server_name).
    pub fn server_name(&self) -> Result<Option<ServerName<'static>>, TlsError> {
        let parse = |name: &String| ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name.clone()));
        self.server_name_override.as_ref().map(parse).transpose()
    }

    /// The keys that are set and that need TLS to mean anything.
    pub fn set_keys(&self) -> Vec<&'static str> {
        let keys = [
            ("ca_file", self.ca_file.is_some()),
            ("cert_file", self.cert_file.is_some()),
            ("key_file", self.key_file.is_some()),
            ("server_name_override", self.server_name_override.is_some()),
            ("insecure_skip_verify", self.insecure_skip_verify),
            ("min_version", self.min_version != TlsVersion::default()),
        ];
        keys.into_iter().filter(|(_, set)| *set).map(|(key, _)| key).collect()
    }

    fn identity(&self) -> Result<Option<Identity>, TlsError> {
        match (&self.cert_file, &self.key_file) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(TlsError::HalfIdentity { set: "cert_file", missing: "key_file" }),
            (None, Some(_)) => Err(TlsError::HalfIdentity { set: "key_file", missing: "cert_file" }),
            (Some(cert), Some(key)) => read_identity(cert, key).map(Some),
        }
    }
}

impl ServerTls {
    /// Adds what is wrong with it.
    pub fn validate(&self, problems: &mut Problems) {
        for (key, path) in [("cert_file", &self.cert_file), ("key_file", &self.key_file)] {
            if path.as_os_str().is_empty() {
                problems.error(key, "is required where tls is set").help("name a PEM file");
                return;
            }
        }
        if let Err(error) = self.server_config(&[]) {
            error.tell(problems);
        }
    }

    /// A server configuration that offers `alpn`.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(self.min_version.and_newer())?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(read_authorities("client_ca_file", path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| file("client_ca_file", path, error))?)
            }
        };
        let (chain, key) = read_identity(&self.cert_file, &self.key_file)?;
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| file("cert_file", &self.cert_file, error))?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl TlsVersion {
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => ONLY_1_3,
        }
    }
}

impl TlsError {
    /// Adds it at the key that it is about, with what to do.
    fn tell(&self, problems: &mut Problems) {
        let (key, help) = match self {
            Self::File { key: key @ "key_file", .. } => (*key, "name a PEM file that holds one private key"),
            Self::File { key, .. } => (*key, "name a PEM file that holds at least one certificate"),
            Self::HalfIdentity { set, .. } => (*set, "set both, or neither"),
            Self::ServerName(_) => ("server_name_override", "write a host name without port"),
            Self::NoRoots(_) | Self::Setup(_) => ("", "set ca_file"),
        };
        problems.error(key, self.to_string()).help(help);
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn file(key: &'static str, path: &Path, reason: impl fmt::Display) -> TlsError {
    TlsError::File { key, path: path.to_owned(), reason: reason.to_string() }
}

/// Whether a key belongs to its certificate.
fn check_identity(
    name: &'static str,
    path: Option<&Path>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), TlsError> {
    rustls::sign::CertifiedKey::from_der(chain, key, &provider())
        .map(drop)
        .map_err(|error| file(name, path.unwrap_or(Path::new("")), error))
}

fn read_identity(cert: &Path, key: &Path) -> Result<Identity, TlsError> {
    let chain = read_certificates("cert_file", cert)?;
    let pem = read("key_file", key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| file("key_file", key, error))?;
    Ok((chain, key))
}

fn read_certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(key, path)?).collect();
    let chain = chain.map_err(|error| file(key, path, error))?;
    if chain.is_empty() { Err(file(key, path, "it holds no certificate")) } else { Ok(chain) }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read(path, files::MAX_PEM).map_err(|error| file(key, path, error))
}

fn read_authorities(key: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(key, path)? {
        roots.add(certificate).map_err(|error| file(key, path, error))?;
    }
    Ok(roots)
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
