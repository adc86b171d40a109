//! How the server is reached and what is shown to it: tokens, TLS, proxies.

use std::{collections::BTreeMap, path::PathBuf};

use minicol_mcp::{ClientCredential, Endpoint, Proxies, Proxy};
use minicol_plugin::{
    config::{Problems, Secret, without_query_if_set},
    net::{ClientTls, is_credential},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SessionBuddyConfig;

/// How a token is got for a program (OAuth 2.1, client credentials). One of `client_secret_file` and `private_key_file` is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OAuth2Config {
    /// Who the poller is to the authorization server.
    #[schemars(extend("examples" = ["minicol"]))]
    pub client_id: String,
    /// A file that holds the client's secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/run/secrets/minicol"]))]
    pub client_secret_file: Option<PathBuf>,
    /// A PEM file that holds a private key (RSA, P-256, P-384, Ed25519), which signs an assertion instead of a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/minicol/client.pem"]))]
    pub private_key_file: Option<PathBuf>,
    /// Where tokens come from. Default: what the metadata of `issuer` says.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_query_if_set")]
    #[schemars(extend("pattern" = "^[Hh][Tt][Tt][Pp][Ss]?://", "examples" = ["https://login.example.com/oauth2/token"]))]
    pub token_url: Option<String>,
    /// The authorization server. Default: the one that the server's metadata names; with a `client_secret_file` or `endpoint_params` this, `token_url` or `trust_discovered_issuer` must be set.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_query_if_set")]
    #[schemars(extend("pattern" = "^[Hh][Tt][Tt][Pp][Ss]?://", "examples" = ["https://login.example.com"]))]
    pub issuer: Option<String>,
    /// Shows the secret to whatever authorization server the polled server names, as clients for persons do: whoever answers in the polled server's place gets it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub trust_discovered_issuer: bool,
    /// The scopes to ask for. Default: those that the server names.
    #[schemars(extend("examples" = [["mcp:read"]]))]
    pub scopes: Vec<String>,
    /// What the token shall be for. Default: what the server's metadata says, else the endpoint. Empty: nothing is said of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["https://buddy.example.com/mcp"]))]
    pub resource: Option<String>,
    /// Sent to the token endpoint beside the rest, such as `audience`. Values are never printed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"audience": "session-buddy"}]))]
    pub endpoint_params: BTreeMap<String, Secret>,
    /// How an authorization server that is not at the endpoint's own origin is checked, and what is shown to it. Default: the system's
    /// authorities, and nothing; whatever `tls` of the receiver says.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: ClientTls,
}

fn is_default(tls: &ClientTls) -> bool {
    *tls == ClientTls::default()
}

/// What each request for a token says already.
const OWN_PARAMS: [&str; 7] =
    ["grant_type", "scope", "resource", "client_id", "client_secret", "client_assertion", "client_assertion_type"];

impl OAuth2Config {
    /// What proves who the poller is.
    pub(crate) fn credential(&self) -> Option<ClientCredential> {
        match (&self.client_secret_file, &self.private_key_file) {
            (Some(path), None) => Some(ClientCredential::SecretFile(path.clone())),
            (None, Some(path)) => Some(ClientCredential::KeyFile(path.clone())),
            _ => None,
        }
    }

    /// `exposed` says in whose sight a request to a place would travel in plain text.
    fn check(&self, exposed: impl Fn(&Endpoint) -> Option<String>, problems: &mut Problems) {
        if self.client_id.is_empty() {
            problems.error("client_id", "is missing: the authorization server must know whom it gives a token");
        }
        if self.credential().is_none() {
            let both = self.client_secret_file.is_some();
            let what = if both { "has both" } else { "needs one of" };
            problems
                .error("", format!("{what} `client_secret_file` and `private_key_file`"))
                .help("set one of the two");
        }
        let places = [
            ("token_url", &self.token_url, "like https://login.example.com/oauth2/token"),
            ("issuer", &self.issuer, "like https://login.example.com"),
        ];
        for (key, url, like) in places.into_iter().filter_map(|(key, url, like)| Some((key, url.as_ref()?, like))) {
            match url.parse::<Endpoint>() {
                Err(error) => {
                    problems.error(key, error.to_string()).help(like);
                }
                Ok(url) => {
                    if let Some(way) = exposed(&url) {
                        let help = "use https://, or set `allow_insecure_auth: true` where the network is trusted";
                        problems.error(key, format!("the client's secret would be sent {way}")).help(help);
                    }
                }
            }
        }
        let named = self.token_url.is_some() || self.issuer.is_some();
        if named && self.trust_discovered_issuer {
            let key = if self.token_url.is_some() { "token_url" } else { "issuer" };
            problems
                .error("trust_discovered_issuer", format!("says nothing beside `{key}`"))
                .help("keep one of the two");
        }
        match (&self.token_url, &self.issuer) {
            (None, None) if self.trust_discovered_issuer => {}
            (Some(_), Some(_)) => {
                problems.error("issuer", "says nothing beside `token_url`").help("keep one of the two");
            }
            (None, None) if self.client_secret_file.is_some() => {
                let message = "would be shown to whatever authorization server the polled server names";
                let help = "set `issuer` (the authorization server) or `token_url`, or `trust_discovered_issuer: true` where the polled server is trusted so far; a `private_key_file` needs none of them";
                problems.error("client_secret_file", message).help(help);
            }
            (None, None) if !self.endpoint_params.is_empty() => {
                let message = "would be shown to whatever authorization server the polled server names";
                let help = "set `issuer` (the authorization server) or `token_url`, or `trust_discovered_issuer: true` where the polled server is trusted so far";
                problems.error("endpoint_params", message).help(help);
            }
            _ => {}
        }
        problems.within("scopes", |problems| {
            for (index, scope) in self.scopes.iter().enumerate() {
                if scope.is_empty() || scope.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
                    problems.item(index, |problems| {
                        problems.error("", "is no scope").help("write each as an item of its own");
                    });
                }
            }
        });
        problems.within("tls", |problems| check_tls(&self.tls, self.token_url.as_deref(), "token_url", problems));
        problems.within("endpoint_params", |problems| {
            for name in self.endpoint_params.keys() {
                if let Some(own) = OWN_PARAMS.iter().find(|own| *own == name) {
                    let message = format!("`{own}` is sent already");
                    problems
                        .error(name, message)
                        .help("`scopes` and `resource` are keys of `oauth2`; the others cannot be changed");
                }
            }
        });
        if self.resource.as_ref().is_some_and(|resource| !resource.is_empty() && resource.parse::<Endpoint>().is_err())
        {
            problems
                .error("resource", "must be an http(s) URL, without fragment")
                .help("the endpoint, or a URL above it");
        }
    }
}

impl SessionBuddyConfig {
    /// The key that brings an `Authorization` header, where one does.
    pub(super) fn authorization_key(&self) -> Option<&'static str> {
        let authorization = |name: &String| name.eq_ignore_ascii_case("authorization");
        let headers = self.headers.keys().any(authorization).then_some("headers");
        let headers = headers.or(self.header_files.keys().any(authorization).then_some("header_files"));
        let file = self.bearer_token_file.as_ref().map(|_| "bearer_token_file");
        headers.or(file).or(self.oauth2.as_ref().map(|_| "oauth2"))
    }

    pub(super) fn check_reach(&self, endpoint: Option<&Endpoint>, problems: &mut Problems) {
        self.check_tokens(endpoint, problems);
        problems.within("tls", |problems| check_tls(&self.tls, Some(&self.endpoint), "endpoint", problems));
        if let Some(url) = &self.proxy_url
            && let Err(error) = Proxy::parse(url.expose())
        {
            problems.error("proxy_url", error.to_string()).help("take the key away to use what the environment says");
        }
    }

    fn check_tokens(&self, endpoint: Option<&Endpoint>, problems: &mut Problems) {
        let first = self.authorization_key();
        let others = [("bearer_token_file", self.bearer_token_file.is_some()), ("oauth2", self.oauth2.is_some())];
        for (key, set) in others {
            if set && first != Some(key) {
                let first = first.unwrap_or_default();
                problems
                    .error(key, format!("would bring another Authorization header than `{first}`"))
                    .help("keep one of the two");
            }
        }
        if self.bearer_token_file.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            problems.error("bearer_token_file", "is empty").help("name a file that holds one token");
        }
        if let Some(oauth2) = &self.oauth2 {
            problems.within("oauth2", |problems| oauth2.check(|url| self.exposed_way(url), problems));
        }
        if let Some(way) = endpoint.and_then(|endpoint| self.exposed_way(endpoint)) {
            self.refuse_credentials(&way, problems);
        }
    }

    /// In whose sight what is sent would travel in plain text, if it would: the server's network, or a proxy's. Through those of the
    /// environment nothing goes that stays on this machine.
    fn exposed_way(&self, endpoint: &Endpoint) -> Option<String> {
        let proxy = self.proxy_url.as_ref().and_then(|url| Proxy::parse(url.expose()).ok());
        let way = proxy.map(Proxies::all).unwrap_or_default().plain_text_way(endpoint);
        way.filter(|_| !self.allow_insecure_auth)
    }

    fn refuse_credentials(&self, way: &str, problems: &mut Problems) {
        let help = "use an https:// endpoint, or set `allow_insecure_auth: true` where the network is trusted";
        let of_files = self.header_files.keys().map(|name| ("header_files", name));
        for (key, name) in self.headers.keys().map(|name| ("headers", name)).chain(of_files) {
            if is_credential(name) {
                problems.within(key, |problems| {
                    problems.error(name, format!("would be sent {way}: the endpoint is http://")).help(help);
                });
            }
        }
        if let Some(key @ ("bearer_token_file" | "oauth2")) = self.authorization_key() {
            problems.error(key, format!("its token would be sent {way}: the endpoint is http://")).help(help);
        }
    }
}

/// `url` is what decides whether TLS is spoken, where it is known; `key` names it.
fn check_tls(tls: &ClientTls, url: Option<&str>, key: &str, problems: &mut Problems) {
    if tls.insecure {
        problems
            .error("insecure", format!("says nothing here: the http:// or https:// of `{key}` decides"))
            .help("take it away");
    }
    if url.and_then(|url| url.parse::<Endpoint>().ok()).is_some_and(|url| !url.is_secure()) {
        for set in tls.set_keys() {
            problems
                .error(set, format!("has no effect: `{key}` is http://"))
                .help(format!("make `{key}` https://, or take this away"));
        }
    }
    tls.validate(problems);
}

#[cfg(test)]
mod tests {
    use minicol_plugin::config::ComponentConfig;
    use serde_json::{Value, json};

    use super::*;

    fn problems(config: Value) -> Vec<String> {
        let config: SessionBuddyConfig = serde_json::from_value(config).unwrap();
        let mut problems = Problems::default();
        config.validate(&mut problems);
        problems.into_vec().into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn each_way_to_a_token_holds_alone() {
        let oauth2 =
            json!({"client_id": "minicol", "client_secret_file": "/run/secrets/minicol", "issuer": "https://login"});
        let key = json!({"client_id": "minicol", "private_key_file": "k", "token_url": "https://login/token",
            "scopes": ["a:b"], "resource": "https://buddy/mcp"});
        for good in [
            json!({"bearer_token_file": "/run/secrets/token"}),
            json!({"oauth2": oauth2}),
            json!({"oauth2": key}),
            json!({"oauth2": {"client_id": "minicol", "private_key_file": "k"}}),
            json!({"oauth2": {"client_id": "minicol", "client_secret_file": "s", "trust_discovered_issuer": true, "endpoint_params": {"a": "b"}}}),
            json!({"oauth2": {"client_id": "minicol", "client_secret_file": "s", "token_url": "http://localhost:9/token"}}),
            json!({"oauth2": {"client_id": "minicol", "private_key_file": "k", "tls": {"min_version": "1.3"}}}),
            json!({"endpoint": "https://buddy/mcp", "bearer_token_file": "t", "tls": {"min_version": "1.3"}}),
            json!({"endpoint": "http://buddy/mcp", "bearer_token_file": "t", "allow_insecure_auth": true}),
            json!({"endpoint": "http://buddy/mcp", "proxy_url": "http://u:p@proxy:3128"}),
            json!({"bearer_token_file": "t", "proxy_url": "http://127.0.0.1:3128"}),
        ] {
            assert_eq!(problems(good.clone()), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn what_cannot_bring_a_token_is_told() {
        let oauth2 = |key: &str, value: Value| {
            let mut oauth2 =
                json!({"client_id": "minicol", "client_secret_file": "s", "token_url": "https://login/token"});
            oauth2[key] = value;
            json!({"oauth2": oauth2})
        };
        for (config, message) in [
            (
                json!({"headers": {"authorization": "x"}, "bearer_token_file": "t"}),
                "would bring another Authorization header than `headers`",
            ),
            (
                json!({"bearer_token_file": "t", "oauth2": {"client_id": "a", "private_key_file": "k"}}),
                "would bring another Authorization header than `bearer_token_file`",
            ),
            (json!({"bearer_token_file": ""}), "is empty"),
            (
                json!({"endpoint": "http://buddy/mcp", "bearer_token_file": "t"}),
                "its token would be sent to `buddy` unencrypted: the endpoint is http://",
            ),
            (
                json!({"bearer_token_file": "t", "proxy_url": "http://u:p@proxy:3128"}),
                "its token would be sent through the proxy `http://proxy:3128` unencrypted: the endpoint is http://",
            ),
            (
                json!({"endpoint": "http://buddy/mcp", "headers": {"x-api-key": "x"}}),
                "would be sent to `buddy` unencrypted: the endpoint is http://",
            ),
            (
                json!({"endpoint": "http://buddy/mcp", "header_files": {"x-api-key": "Cargo.toml"}}),
                "would be sent to `buddy` unencrypted: the endpoint is http://",
            ),
            (
                json!({"header_files": {"authorization": "Cargo.toml"}, "bearer_token_file": "t"}),
                "would bring another Authorization header than `header_files`",
            ),
            (oauth2("client_id", json!("")), "is missing: the authorization server must know whom it gives a token"),
            (oauth2("endpoint_params", json!({"scope": "x"})), "`scope` is sent already"),
            (oauth2("private_key_file", json!("k")), "has both `client_secret_file` and `private_key_file`"),
            (oauth2("client_secret_file", Value::Null), "needs one of `client_secret_file` and `private_key_file`"),
            (
                oauth2("token_url", json!("http://login/token")),
                "the client's secret would be sent to `login` unencrypted",
            ),
            (
                oauth2("token_url", json!("login")),
                "is no URL (relative URL without a base): write it like http://localhost:8678/mcp",
            ),
            (
                oauth2("token_url", Value::Null),
                "would be shown to whatever authorization server the polled server names",
            ),
            (
                json!({"oauth2": {"client_id": "a", "private_key_file": "k", "endpoint_params": {"audience": "b"}}}),
                "would be shown to whatever authorization server the polled server names",
            ),
            (oauth2("issuer", json!("https://login")), "says nothing beside `token_url`"),
            (oauth2("trust_discovered_issuer", json!(true)), "says nothing beside `token_url`"),
            (
                json!({"oauth2": {"client_id": "a", "private_key_file": "k", "issuer": "http://login"}}),
                "the client's secret would be sent to `login` unencrypted",
            ),
            (oauth2("scopes", json!(["a b"])), "is no scope"),
            (oauth2("resource", json!("buddy")), "must be an http(s) URL, without fragment"),
            (
                json!({"proxy_url": "socks5://proxy"}),
                "must begin with http://: other kinds of proxies are not spoken to",
            ),
            (json!({"tls": {"insecure": true}}), "says nothing here: the http:// or https:// of `endpoint` decides"),
            (json!({"tls": {"min_version": "1.3"}}), "has no effect: `endpoint` is http://"),
            (
                oauth2("tls", json!({"insecure": true})),
                "says nothing here: the http:// or https:// of `token_url` decides",
            ),
            (
                oauth2("tls", json!({"key_file": "k"})),
                "key_file is set, but cert_file is not: a certificate needs its private key, and the other way round",
            ),
            (
                json!({"oauth2": {"client_id": "a", "private_key_file": "k", "token_url": "http://localhost/token", "tls": {"min_version": "1.3"}}}),
                "has no effect: `token_url` is http://",
            ),
        ] {
            assert_eq!(problems(config.clone()), [message], "{config}");
        }
        let config: SessionBuddyConfig =
            serde_json::from_value(json!({"proxy_url": "http://u:hunter2@proxy"})).unwrap();
        assert!(!format!("{config:?}{}", serde_json::to_string(&config).unwrap()).contains("hunter2"));
    }
}
