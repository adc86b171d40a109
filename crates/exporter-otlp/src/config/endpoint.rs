use http::Uri;
use minicol_pdata::Signal;
use minicol_plugin::{config::Problems, text::foreign};

/// An endpoint that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    /// Nothing is written.
    #[error("an endpoint is required")]
    Missing { example: &'static str },
    /// `otlphttp` without a scheme.
    #[error("`{0}` names no scheme")]
    NoScheme(String),
    /// Neither `http` nor `https`.
    #[error("`{0}` is no scheme that can be used here")]
    Scheme(String),
    /// Not a URL.
    #[error("`{0}` is no address: {1}")]
    Malformed(String, String),
    /// A port that is no number from 1 to 65535.
    #[error("`{0}` has no port that can be used: it must be a number from 1 to 65535")]
    Port(String),
    /// gRPC without a port.
    #[error("`{0}` names no port")]
    NoPort(String),
    /// A path, where gRPC has none.
    #[error("`{0}` has a path, but a gRPC endpoint has none")]
    Path(String),
    /// A query, where it cannot be kept.
    #[error("the endpoint has a query, but it is the base to which a path is added")]
    Query,
    /// `user:password@`. The text is not repeated: it is a secret.
    #[error("the endpoint holds a user name or password")]
    UserInfo,
}

/// The target of gRPC: scheme, host and port.
pub(super) fn grpc(text: &str, insecure: bool) -> Result<Uri, EndpointError> {
    if text.is_empty() {
        return Err(EndpointError::Missing { example: "http://localhost:4317" });
    }
    refuse_user(text)?;
    let has_scheme = text.contains("://");
    let uri = match (has_scheme, insecure) {
        (true, _) => parse(text, text)?,
        (false, true) => parse(&format!("http://{text}"), text)?,
        (false, false) => parse(&format!("https://{text}"), text)?,
    };
    if uri.path() != "/" || uri.query().is_some() {
        return Err(EndpointError::Path(shown(text)));
    }
    // `https://host` is port 443, as everywhere and as grpc-go takes it; port 80 for gRPC would be a surprise.
    if uri.port_u16().is_none() && !(has_scheme && uri.scheme_str() == Some("https")) {
        return Err(EndpointError::NoPort(shown(text)));
    }
    Ok(uri)
}

/// A URL, verbatim.
pub(super) fn http(text: &str) -> Result<Uri, EndpointError> {
    if text.is_empty() {
        return Err(EndpointError::Missing { example: "http://localhost:4318" });
    }
    refuse_user(text)?;
    if text.contains("://") { parse(text, text) } else { Err(EndpointError::NoScheme(shown(text))) }
}

/// The URL of a signal under the base.
pub(super) fn http_base(text: &str, signal: Signal) -> Result<Uri, EndpointError> {
    if http(text)?.query().is_some() {
        return Err(EndpointError::Query);
    }
    let url = format!("{}/v1/{signal}", text.trim_end_matches('/'));
    parse(&url, text)
}

fn parse(url: &str, written: &str) -> Result<Uri, EndpointError> {
    let authority = authority(url);
    let malformed = |why: &str| EndpointError::Malformed(shown(written), why.to_owned());
    if let Some((scheme, _)) = url.split_once("://")
        && !matches!(scheme, "http" | "https")
    {
        return Err(EndpointError::Scheme(foreign(scheme)));
    }
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| malformed(&error.to_string()))?;
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err(malformed("it names no host"));
    }
    // What follows the host is nothing or a port; `http` keeps a port that is too large as text.
    let after_host = authority.rfind(']').map_or(authority, |end| &authority[end..]);
    if after_host.contains(':') && matches!(uri.port_u16(), None | Some(0)) {
        return Err(EndpointError::Port(shown(written)));
    }
    Ok(uri)
}

/// Whatever else is wrong with it: a password is not repeated.
fn refuse_user(text: &str) -> Result<(), EndpointError> {
    if authority(text).contains('@') { Err(EndpointError::UserInfo) } else { Ok(()) }
}

/// What stands where a URL has its host; also where the slashes before it are not as they should be.
fn authority(text: &str) -> &str {
    let rest = text.split_once(":/").map_or(text, |(_, rest)| rest).trim_start_matches('/');
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// What a message repeats of an endpoint: a query may hold a key.
fn shown(text: &str) -> String {
    foreign(text.split(['?', '#']).next().unwrap_or(text))
}

impl EndpointError {
    /// Adds it at `field`, with what to do.
    pub(super) fn tell(&self, field: &str, problems: &mut Problems) {
        let help = self.help();
        let problem = problems.error(field, self.to_string());
        if let Some(help) = help {
            problem.help(help);
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Missing { example } => {
                format!("write where to deliver, such as endpoint: \"{example}\", or set OTEL_EXPORTER_OTLP_ENDPOINT")
            }
            Self::NoScheme(text) => format!("write http://{text} for plain text, https://{text} for TLS"),
            Self::Scheme(_) => "write http:// for plain text, https:// for TLS".to_owned(),
            Self::Malformed(..) => "write it like http://localhost:4317 or https://[::1]:4318".to_owned(),
            Self::NoPort(text) => format!("OTLP over gRPC usually listens on port 4317: write {text}:4317"),
            Self::Path(_) => {
                "leave the path away; if the server wants it, it speaks OTLP over HTTP: use `otlphttp`".to_owned()
            }
            Self::Query => "write the whole address as metrics_endpoint, logs_endpoint or traces_endpoint".to_owned(),
            Self::UserInfo => "put credentials into headers, such as Authorization".to_owned(),
            Self::Port(_) => return None,
        })
    }
}
