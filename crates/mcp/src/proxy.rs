//! Which proxy stands before which server. It is decided for each address anew: a poller also asks authorization servers.

use std::{fmt, sync::Arc};

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use minicol_plugin::{
    config::Secret,
    hidden,
    net::{ProxyVariables, is_loopback},
};

use crate::Endpoint;

/// An HTTP proxy that stands before a server.
#[derive(Clone)]
pub struct Proxy(Intercept);

/// A proxy that cannot be used. The URL is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// No URL.
    #[error("is no proxy's URL: write it like http://proxy.example:3128")]
    NoUrl,
    /// SOCKS, or TLS to the proxy itself.
    #[error("must begin with http://: other kinds of proxies are not spoken to")]
    Scheme,
}

/// Which proxy stands before which server; the default: none before any.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<Rule>>);

enum Rule {
    /// One before all.
    All(Proxy),
    /// As the environment says.
    Environment(Box<(ProxyVariables, Matcher)>),
}

impl Proxies {
    /// One proxy before every server.
    pub fn all(proxy: Proxy) -> Self {
        Self(Some(Arc::new(Rule::All(proxy))))
    }

    /// The proxies that the environment names. Never before this machine itself, as in most programs.
    pub fn from_variables(variables: ProxyVariables) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        if [&variables.all, &variables.http, &variables.https].into_iter().all(|value| text(value).is_empty()) {
            return Self::default();
        }
        let matcher = Matcher::builder()
            .all(text(&variables.all))
            .http(text(&variables.http))
            .https(text(&variables.https))
            .no(text(&variables.no))
            .build();
        Self(Some(Arc::new(Rule::Environment(Box::new((variables, matcher))))))
    }

    /// The proxy before `endpoint`.
    pub fn before(&self, endpoint: &Endpoint) -> Result<Option<Proxy>, ProxyError> {
        endpoint.uri().map_or(Ok(None), |uri| self.before_uri(&uri))
    }

    pub(crate) fn before_uri(&self, uri: &Uri) -> Result<Option<Proxy>, ProxyError> {
        match self.0.as_deref() {
            None => Ok(None),
            Some(Rule::All(proxy)) => Ok(Some(proxy.clone())),
            Some(Rule::Environment(..)) if uri.host().is_some_and(is_loopback) => Ok(None),
            Some(Rule::Environment(environment)) => Proxy::of(environment.1.intercept(uri)),
        }
    }

    /// In whose sight a request to `endpoint` travels in plain text, in words; `None` where nobody else's.
    pub fn plain_text_way(&self, endpoint: &Endpoint) -> Option<String> {
        if endpoint.is_secure() {
            return None;
        }
        match self.before(endpoint).ok().flatten().filter(|proxy| !proxy.is_loopback()) {
            Some(proxy) => Some(format!("through the proxy `{proxy}` unencrypted")),
            None if endpoint.is_loopback() => None,
            None => Some(format!("to `{}` unencrypted", endpoint.host())),
        }
    }
}

impl PartialEq for Proxies {
    fn eq(&self, other: &Self) -> bool {
        match (self.0.as_deref(), other.0.as_deref()) {
            (None, None) => true,
            (Some(Rule::All(one)), Some(Rule::All(other))) => one.secret() == other.secret(),
            (Some(Rule::Environment(one)), Some(Rule::Environment(other))) => one.0 == other.0,
            _ => false,
        }
    }
}

impl Proxy {
    /// The proxy at `url`, for whatever endpoint. User and password in it go to the proxy.
    pub fn parse(url: &str) -> Result<Self, ProxyError> {
        Self::of(Matcher::builder().all(url.to_owned()).build().intercept(&Uri::from_static("http://x")))?
            .ok_or(ProxyError::NoUrl)
    }

    fn of(found: Option<Intercept>) -> Result<Option<Self>, ProxyError> {
        if let Some(found) = &found
            && let Some(Ok(authorization)) = found.basic_auth().map(HeaderValue::to_str)
        {
            hidden::learn(&format!("proxy {}", found.uri().host().unwrap_or_default()), authorization);
        }
        match found {
            Some(found) if found.uri().scheme_str() != Some("http") => Err(ProxyError::Scheme),
            found => Ok(found.map(Self)),
        }
    }

    /// Its address with user and password, to tell proxies apart.
    fn secret(&self) -> Secret {
        let authorization = self.authorization().map(|header| String::from_utf8_lossy(header.as_bytes()));
        Secret::new(format!("{self} {}", authorization.unwrap_or_default()))
    }

    /// Whether it is on this machine.
    fn is_loopback(&self) -> bool {
        self.uri().host().is_some_and(is_loopback)
    }

    pub(crate) fn uri(&self) -> &Uri {
        self.0.uri()
    }

    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.0.basic_auth()
    }
}

/// Its address, without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri().authority().map(http::uri::Authority::as_str).unwrap_or_default();
        write!(f, "http://{}", authority.rsplit('@').next().unwrap_or_default())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(variables: &ProxyVariables, endpoint: &str) -> Option<String> {
        let found = Proxies::from_variables(variables.clone()).before(&endpoint.parse().unwrap()).unwrap();
        found.map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_environment_names_a_proxy_by_scheme_but_for_what_it_excludes() {
        let some = |text: &str| Some(text.to_owned());
        let variables = ProxyVariables {
            http: some("http://u:hunter2@web:1"),
            https: some("secure:2"),
            no: some("plain.example, 10.0.0.0/8"),
            all: None,
        };
        for (endpoint, expected) in [
            ("http://buddy/mcp", some("http://web:1")),
            ("https://buddy/mcp", some("http://secure:2")),
            ("https://a.plain.example/mcp", None),
            ("http://10.1.2.3/mcp", None),
            ("http://localhost:8678/mcp", None),
            ("https://127.0.0.1/mcp", None),
        ] {
            assert_eq!(by(&variables, endpoint), expected, "{endpoint}");
        }
        assert_eq!(by(&ProxyVariables::default(), "http://buddy/mcp"), None);
        let all = ProxyVariables { all: some("http://any:3"), ..ProxyVariables::default() };
        assert_eq!(by(&all, "https://buddy/mcp"), some("http://any:3"));
    }

    #[test]
    fn plain_text_is_seen_by_the_network_or_by_a_proxy_of_another_machine() {
        let one = |url: &str| Proxies::all(Proxy::parse(url).unwrap());
        let named = |url: &str| {
            let (http, https) = (Some(url.to_owned()), Some(url.to_owned()));
            Proxies::from_variables(ProxyVariables { http, https, ..ProxyVariables::default() })
        };
        for (proxies, endpoint, expected) in [
            (Proxies::default(), "http://localhost/", None),
            (Proxies::default(), "http://login/", Some("to `login` unencrypted")),
            (one("http://proxy:1"), "https://login/", None),
            (one("http://proxy:1"), "http://localhost/", Some("through the proxy `http://proxy:1` unencrypted")),
            (one("http://127.0.0.1:1"), "http://localhost/", None),
            (one("http://127.0.0.1:1"), "http://login/", Some("to `login` unencrypted")),
            (named("http://proxy:1"), "http://localhost/", None),
            (named("http://proxy:1"), "http://login/", Some("through the proxy `http://proxy:1` unencrypted")),
        ] {
            assert_eq!(proxies.plain_text_way(&endpoint.parse().unwrap()).as_deref(), expected, "{endpoint}");
        }
    }

    #[test]
    fn a_proxy_never_shows_its_password_and_others_than_http_are_refused() {
        let proxy = Proxy::parse("http://u:hunter2@web:1").unwrap();
        assert_eq!(format!("{proxy} {proxy:?}"), "http://web:1 Proxy(http://web:1)");
        assert_eq!(proxy.authorization().unwrap(), "Basic dTpodW50ZXIy");
        assert_eq!(Proxy::parse("socks5://web:1").unwrap_err(), ProxyError::Scheme);
        assert_eq!(Proxy::parse("https://web:1").unwrap_err(), ProxyError::Scheme);
        for text in ["", "http://", "::"] {
            assert_eq!(Proxy::parse(text).unwrap_err(), ProxyError::NoUrl, "{text}");
        }
    }
}
