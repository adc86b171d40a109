//! What a failed connection or exchange means, and what a person can do about it.

use std::{error::Error, io};

use http::Uri;
use minicol_plugin::{
    ExportError, OtlpProtocol,
    net::{ConnectError, does_not_resolve},
    text,
};
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::heard::{Ears, Heard};

/// Whom we deliver to, for messages.
#[derive(Clone)]
pub(crate) struct Peer {
    name: String,
    host: String,
    port: u16,
    protocol: OtlpProtocol,
    secure: bool,
    ears: Ears,
}

impl Peer {
    /// The far end at `uri`, whose first words `ears` hears. Its query is not told: it may hold a key.
    pub(crate) fn new(uri: &Uri, protocol: OtlpProtocol, ears: &Ears) -> Self {
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let path = if uri.path() == "/" { "" } else { uri.path() };
        let secure = scheme == "https";
        Self {
            name: text::foreign(&format!("{scheme}://{authority}{path}")),
            host: uri.host().unwrap_or_default().to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            protocol,
            secure,
            ears: ears.clone(),
        }
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
            if let Some(why) = refused_after_the_handshake(cause) {
                return self.error("tls", &why);
            }
        }
        if let Some(why) = self.another_protocol(error) {
            return self.error("protocol", why);
        }
        if !self.secure && self.heard() == Heard::Nothing {
            return self.error("connection_lost", self.without_a_word());
        }
        let last = causes(error).last().map(ToString::to_string).unwrap_or_default();
        // HTTP/2 tells that the connection was closed, and not by which alert.
        let hint = if self.secure {
            ": does the server want another certificate than tls.cert_file, or one at all?"
        } else {
            ""
        };
        let last = text::foreign(&last);
        self.error("connection_lost", &format!("the connection broke before the answer came: {last}{hint}"))
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

    /// What to write instead, where the server does not speak the protocol that we speak.
    fn another_protocol(&self, error: &(dyn Error + 'static)) -> Option<&'static str> {
        match (self.protocol, self.heard()) {
            (_, Heard::TlsAlert) if !self.secure => Some("the server wants TLS: write https://"),
            (OtlpProtocol::Grpc, Heard::Http1) => Some(NO_HTTP2),
            (OtlpProtocol::HttpProtobuf, Heard::Http2) if !self.secure => Some(
                "the server speaks HTTP/2 only, as gRPC does: use the exporter `otlp`, or the port of OTLP over HTTP (usually 4318)",
            ),
            // Under TLS the first bytes tell nothing: what the client made of them does.
            (OtlpProtocol::Grpc, _) if causes(error).any(is_no_http2) => Some(NO_HTTP2),
            (OtlpProtocol::HttpProtobuf, _) if causes(error).any(is_no_http1) => {
                Some("the server does not answer in HTTP: is it an OTLP server?")
            }
            _ => None,
        }
    }

    /// Many servers close a connection at once on which they are spoken to in another protocol.
    fn without_a_word(&self) -> &'static str {
        match self.protocol {
            OtlpProtocol::Grpc => {
                "the server closed the connection without a word: if it takes OTLP over HTTP (usually port 4318) use the exporter \
                 `otlphttp`; if it wants TLS write https://"
            }
            OtlpProtocol::HttpProtobuf => {
                "the server closed the connection without a word: if it wants TLS write https://; is it an OTLP server?"
            }
        }
    }

    fn heard(&self) -> Heard {
        self.ears.heard(&self.host, self.port)
    }

    fn error(&self, error_type: &str, why: &str) -> ExportError {
        ExportError::retryable(error_type, format!("cannot deliver to {}: {why}", self.name))
    }
}

const NO_HTTP2: &str = "the server does not answer in HTTP/2, which gRPC needs: if it takes OTLP over HTTP (usually port 4318) use the \
                        exporter `otlphttp`";

/// HTTP/2 takes text for a frame that is too long or has no place here.
fn is_no_http2(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<h2::Error>().is_some_and(|error| {
        error.is_go_away()
            && !error.is_remote()
            && matches!(error.reason(), Some(h2::Reason::FRAME_SIZE_ERROR | h2::Reason::PROTOCOL_ERROR))
    })
}

fn is_no_http1(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}

fn unreachable(host: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: is a collector listening there?".to_owned(),
        io::ErrorKind::TimedOut => "it cannot be reached: nothing answers there".to_owned(),
        _ if does_not_resolve(error) => {
            format!("the name {} does not resolve: {}", text::foreign(host), text::foreign(&error.to_string()))
        }
        _ => text::foreign(&error.to_string()),
    }
}

/// With TLS 1.3 a server refuses a client's certificate only after the handshake, as far as the client can tell.
fn refused_after_the_handshake(cause: &(dyn Error + 'static)) -> Option<String> {
    let error = cause.downcast_ref::<io::Error>()?;
    let alert = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    matches!(alert, rustls::Error::AlertReceived(_)).then(|| tls(error))
}

fn tls(error: &io::Error) -> String {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match rustls {
        Some(rustls::Error::InvalidCertificate(certificate)) => untrusted(certificate),
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the server does not speak TLS: for plain text write http://".to_owned()
        }
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => NO_HTTP2.to_owned(),
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            "the server wants a certificate of ours: set tls.cert_file and tls.key_file".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("the server refused TLS: {alert:?}"),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection in the TLS handshake: if it takes plain text write http://".to_owned()
        }
        _ => format!("no TLS: {}", text::foreign(&error.to_string())),
    }
}

fn untrusted(error: &CertificateError) -> String {
    let told = match error {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that is not trusted here: set tls.ca_file to a PEM file of that authority"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name: write the endpoint with the name that the certificate has, or that name as \
             tls.server_name_override"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired: renew it",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is this machine's clock right?"
        }
        other => return format!("its certificate cannot be trusted: {}", text::foreign(&other.to_string())),
    };
    told.to_owned()
}

/// An error and what caused it, from the outside in.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
