use std::{fmt, str::FromStr};

use http::Uri;
use minicol_plugin::net::is_loopback;
use url::Url;

/// Where an MCP server listens: `http://` or `https://`, a host, a path. Without user, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Url);

/// Text that is no endpoint. The text itself is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No URL at all.
    #[error("is no URL ({0}): write it like http://localhost:8678/mcp")]
    NoUrl(url::ParseError),
    /// Another scheme.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// No host.
    #[error("names no host: write it like http://localhost:8678/mcp")]
    NoHost,
    /// A user or a password.
    #[error("must not carry a user or a password: put an Authorization header into headers")]
    UserInfo,
    /// A fragment, which no server ever sees.
    #[error("must not carry a fragment (#...)")]
    Fragment,
    /// Characters that no HTTP request can carry.
    #[error("holds characters that no HTTP request can carry")]
    Characters,
}

impl Endpoint {
    /// The host, as it is connected to: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The same as telemetry names it (`server.address`): an IPv6 address without brackets.
    pub fn address(&self) -> &str {
        self.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, also where the scheme implies it.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.0.scheme()
    }

    /// True for `https`.
    pub fn is_secure(&self) -> bool {
        self.scheme() == "https"
    }

    /// True where the host is this machine: `localhost`, a name below it, or a loopback address.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.host())
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL without its query, which may hold a token: for messages.
    pub fn shown(&self) -> String {
        shown(&self.0)
    }

    /// The same for an HTTP client.
    pub(crate) fn uri(&self) -> Option<Uri> {
        self.as_str().parse().ok()
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

/// A URL without user, query and fragment.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(text.trim()).map_err(|error| match error {
            url::ParseError::EmptyHost => EndpointError::NoHost,
            other => EndpointError::NoUrl(other),
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointError::Scheme);
        }
        // A URL parser would take the first word of the path in `http:///mcp` for the host.
        let authority = text.split_once("://").map_or("", |(_, rest)| rest);
        if authority.starts_with(['/', '\\']) || authority.is_empty() || url.host_str().is_none_or(str::is_empty) {
            return Err(EndpointError::NoHost);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(EndpointError::Fragment);
        }
        if url.as_str().parse::<Uri>().is_err() {
            return Err(EndpointError::Characters);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_endpoint_says_what_to_write_and_never_repeats_a_password() {
        for (text, wrong) in [
            ("localhost:8678/mcp", EndpointError::Scheme),
            ("ftp://localhost/mcp", EndpointError::Scheme),
            ("http://", EndpointError::NoHost),
            ("http:///mcp", EndpointError::NoHost),
            ("http:buddy/mcp", EndpointError::NoHost),
            ("http://user:hunter2@buddy/mcp", EndpointError::UserInfo),
            ("http://buddy/mcp#x", EndpointError::Fragment),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert_eq!(error, wrong, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
        assert!(matches!("buddy".parse::<Endpoint>(), Err(EndpointError::NoUrl(_))));
    }

    #[test]
    fn the_port_is_known_also_where_the_scheme_implies_it() {
        let endpoint: Endpoint = "https://buddy.example/mcp?token=hunter2".parse().unwrap();
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.scheme()), ("buddy.example", 443, "https"));
        assert_eq!(endpoint.to_string(), "https://buddy.example/mcp");
        let six: Endpoint = "http://[::1]:8678/mcp".parse().unwrap();
        assert_eq!((six.host(), six.address()), ("[::1]", "::1"));
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for text in [
            "http://localhost/",
            "http://a.localhost./",
            "http://127.9.9.9/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(text.parse::<Endpoint>().unwrap().is_loopback(), "{text}");
        }
        for text in ["http://localhost.example/", "http://10.0.0.1/", "http://[fe80::1]/"] {
            assert!(!text.parse::<Endpoint>().unwrap().is_loopback(), "{text}");
        }
    }
}
