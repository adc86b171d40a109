//! What a failed connection or exchange means, and what a person can do about it.

use std::{error::Error, io};

use http::Uri;
use minicol_plugin::{ExportError, OtlpProtocol, net::ConnectError, text};
use rustls::{CertificateError, InvalidMessage};

/// Whom we deliver to, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    name: String,
    protocol: OtlpProtocol,
    secure: bool,
}

impl Peer {
    /// The far end at `uri`. Its query is not told: it may hold a key.
    pub(crate) fn new(uri: &Uri, protocol: OtlpProtocol) -> Self {
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let path = if uri.path() == "/" { "" } else { uri.path() };
        Self { name: text::foreign(&format!("{scheme}://{authority}{path}")), protocol, secure: scheme == "https" }
    }

    /// As the user wrote it, without a query.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A connection or an exchange that failed before there was an answer. Trying again may help: servers restart, and certificates are renewed.
    pub(crate) fn failed(&self, error: &(dyn Error + 'static)) -> ExportError {
        for cause in causes(error) {
            if let Some(connect) = cause.downcast_ref::<ConnectError>() {
                return self.not_connected(connect);
            }
        }
        if causes(error).any(|cause| self.is_another_protocol(cause)) {
            return self.error("protocol", self.another_protocol());
        }
        let last = causes(error).last().map(ToString::to_string).unwrap_or_default();
        self.error("connection_lost", &format!("the connection broke before the answer came: {}", text::foreign(&last)))
    }

    fn not_connected(&self, error: &ConnectError) -> ExportError {
        match error {
            ConnectError::Address(_) => ExportError::permanent(
                "address",
                format!("cannot deliver to {}: the host is no name that TLS can check", self.name),
            ),
            ConnectError::Unreachable { host, source, .. } => self.error("connect", &unreachable(host, source)),
            ConnectError::Tls { source, .. } => self.error("tls", &tls(source)),
        }
    }

    /// Whether what came was no answer of the protocol that we speak.
    fn is_another_protocol(&self, cause: &(dyn Error + 'static)) -> bool {
        match self.protocol {
            OtlpProtocol::HttpProtobuf => cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse),
            // Where the first bytes are text or a TLS alert, HTTP/2 takes them for a frame that is too long or has no place here.
            OtlpProtocol::Grpc => cause.downcast_ref::<h2::Error>().is_some_and(|error| {
                matches!(error.reason(), Some(h2::Reason::FRAME_SIZE_ERROR | h2::Reason::PROTOCOL_ERROR))
                    && error.is_go_away()
                    && !error.is_remote()
            }),
        }
    }

    fn another_protocol(&self) -> &'static str {
        match (self.protocol, self.secure) {
            (OtlpProtocol::Grpc, false) => {
                "the server does not answer in HTTP/2, which gRPC needs: if it takes OTLP over HTTP (usually port 4318) use the \
                 exporter `otlphttp`; if it wants TLS write https://"
            }
            (OtlpProtocol::Grpc, true) => {
                "the server does not answer in HTTP/2, which gRPC needs: if it takes OTLP over HTTP (usually port 4318) use the \
                 exporter `otlphttp`"
            }
            (OtlpProtocol::HttpProtobuf, false) => {
                "the server does not answer in HTTP: if it takes OTLP over gRPC (usually port 4317) use the exporter `otlp`; if it \
                 wants TLS write https://"
            }
            (OtlpProtocol::HttpProtobuf, true) => {
                "the server does not answer in HTTP: if it takes OTLP over gRPC (usually port 4317) use the exporter `otlp`"
            }
        }
    }

    fn error(&self, error_type: &str, why: &str) -> ExportError {
        ExportError::retryable(error_type, format!("cannot deliver to {}: {why}", self.name))
    }
}

fn unreachable(host: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: is a collector listening there?".to_owned(),
        io::ErrorKind::TimedOut => "it cannot be reached: nothing answers there".to_owned(),
        // The resolver's errors have no kind of their own.
        _ if error.raw_os_error().is_none() && error.to_string().contains("lookup") => {
            format!("the name {} does not resolve: {}", text::foreign(host), text::foreign(&error.to_string()))
        }
        _ => text::foreign(&error.to_string()),
    }
}

fn tls(error: &io::Error) -> String {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match rustls {
        Some(rustls::Error::InvalidCertificate(certificate)) => untrusted(certificate).to_owned(),
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the server does not speak TLS: for plain text write http://".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("the server refused TLS: {alert:?}"),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection in the TLS handshake: if it takes plain text write http://".to_owned()
        }
        _ => format!("no TLS: {}", text::foreign(&error.to_string())),
    }
}

fn untrusted(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that is not trusted here: set tls.ca_file to a PEM file of that authority"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name: write the endpoint with the name that the certificate has"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired: renew it",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is this machine's clock right?"
        }
        _ => "its certificate cannot be trusted: set tls.ca_file to a PEM file of the authority that signed it",
    }
}

/// An error and what caused it, from the outside in.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
