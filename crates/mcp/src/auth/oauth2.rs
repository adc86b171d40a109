use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use minicol_plugin::{Clock, Random, Scope, config::Secret, hidden};
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use super::{
    Authorize, Challenge,
    assertion::{Claims, SigningKey},
    bearer_file::read_secret,
    discovery::{Provider, discover, untrusted},
    token::{Fetch, Granted, NotGranted},
};
use crate::{Cause, Endpoint, HttpClient};

/// How long before its end a token is renewed, or a quarter of its life where that is shorter.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// No token is kept longer, whatever the server says.
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// How a program gets a token for itself (OAuth 2.1, client credentials).
#[derive(Clone, Debug)]
pub struct OAuth2Settings {
    /// The MCP server.
    pub endpoint: Endpoint,
    /// Who we are to the authorization server.
    pub client_id: String,
    /// What proves it.
    pub credential: ClientCredential,
    /// Where tokens come from; `None`: the authorization server's metadata says it.
    pub token_url: Option<Endpoint>,
    /// The authorization server; `None`: the polled server's metadata names it. A secret goes to none that only that says: then this or `token_url` is
    /// needed, or `trust_discovered_issuer`. An assertion is good for the one alone that it is made for.
    pub issuer: Option<Endpoint>,
    /// The secret may go to whatever authorization server the polled server names.
    pub trust_discovered_issuer: bool,
    /// The scopes to ask for; empty: those that the server names.
    pub scopes: Vec<String>,
    /// What the token shall be for (RFC 8707); `None`: what the server's metadata names, else the endpoint. Empty: nothing is said of that.
    pub resource: Option<String>,
    /// Sent beside the rest to the token endpoint, such as `audience`.
    pub endpoint_params: BTreeMap<String, Secret>,
    /// Whether secrets may go over plain `http://` to another machine.
    pub allow_insecure: bool,
}

/// What proves who we are. The file is read for each token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCredential {
    /// A file that holds the client's secret.
    SecretFile(PathBuf),
    /// A file that holds a private key in PEM, which signs an assertion (RFC 7523).
    KeyFile(PathBuf),
}

/// Tokens by client credentials: kept, renewed before they end, and once after the server refused one.
pub struct OAuth2 {
    settings: OAuth2Settings,
    fetch: Fetch,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    provider: Option<Provider>,
    /// What the provider was discovered by; `None` where it is configured, or not known.
    challenge: Option<Challenge>,
    token: Option<Token>,
}

struct Token {
    header: HeaderValue,
    /// When it is renewed and when it ends, by the monotonic clock; `None` where it lasts for ever.
    times: Option<Times>,
}

#[derive(Clone, Copy)]
struct Times {
    renew: Duration,
    end: Duration,
}

impl Token {
    /// Its header, where it need not be renewed yet.
    fn fresh(&self, now: Duration) -> Option<HeaderValue> {
        self.times.is_none_or(|times| now < times.renew).then(|| self.header.clone())
    }

    /// Its header, where it still holds; the next try to renew it is after half of what is left.
    fn put_off(&mut self, now: Duration) -> Option<HeaderValue> {
        let times = self.times.as_mut().filter(|times| now < times.end)?;
        times.renew = now + times.end.saturating_sub(now) / 2;
        Some(self.header.clone())
    }
}

impl OAuth2 {
    /// Tokens by `settings`, asked for through `http`; clocks and randomness are those of `scope`.
    pub fn new(settings: OAuth2Settings, http: HttpClient, scope: &Scope) -> Self {
        Self {
            fetch: Fetch {
                own: (settings.endpoint.url().origin(), http.clone()),
                http,
                allow_insecure: settings.allow_insecure,
            },
            known: Mutex::new(Known { provider: settings.configured_provider(), ..Known::default() }),
            settings,
            clock: Arc::clone(scope.clock()),
            random: Arc::clone(scope.random()),
        }
    }

    /// Asks servers that are not at the endpoint's own origin through `http` instead.
    #[must_use]
    pub fn elsewhere(mut self, http: HttpClient) -> Self {
        self.fetch.http = http;
        self
    }

    async fn grant(&self, provider: &mut Provider) -> Result<Granted, Cause> {
        let OAuth2Settings { endpoint, credential, resource, scopes, endpoint_params, .. } = &self.settings;
        let resource = resource.as_ref().or(provider.resource.as_ref()).cloned().unwrap_or_else(|| endpoint.shown());
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend((!resource.is_empty()).then_some(("resource", resource.as_str())));
        form.extend(endpoint_params.iter().map(|(name, value)| (name.as_str(), value.expose())));
        let scope = if scopes.is_empty() { provider.scopes.clone() } else { Some(scopes.join(" ")) };
        form.extend(scope.as_deref().map(|scope| ("scope", scope)));
        match credential {
            ClientCredential::SecretFile(path) => {
                let secret = read_secret("client_secret_file", path).await?;
                let Some(in_body) = provider.secret_in_body else {
                    return self.find_out(provider, &form, &secret).await;
                };
                self.by_secret(&provider.token_url, &form, &secret, in_body).await.map_err(|refused| refused.cause)
            }
            ClientCredential::KeyFile(path) => {
                let pem = read_secret("private_key_file", path).await?;
                let signed = SigningKey::from_pem(&pem).and_then(|key| key.assertion(&self.claims(provider)));
                let wrong = |error| Cause::NoToken(format!("private_key_file {}: {error}", path.display()));
                let assertion = signed.map_err(wrong)?;
                hidden::learn(&path.display().to_string(), &assertion);
                form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
                form.push(("client_assertion", &assertion));
                self.fetch.token(&provider.token_url, &form, None).await.map_err(|refused| refused.cause)
            }
        }
    }

    async fn by_secret(
        &self,
        token_url: &Url,
        form: &[(&str, &str)],
        secret: &str,
        in_body: bool,
    ) -> Result<Granted, NotGranted> {
        let client_id = self.settings.client_id.as_str();
        if !in_body {
            return self.fetch.token(token_url, form, basic(client_id, secret)).await;
        }
        let form = [form, &[("client_id", client_id), ("client_secret", secret)]].concat();
        self.fetch.token(token_url, &form, None).await
    }

    /// Nobody says how the server takes the secret: in the header, else in the body. What it took is kept to.
    async fn find_out(&self, provider: &mut Provider, form: &[(&str, &str)], secret: &str) -> Result<Granted, Cause> {
        let first = match self.by_secret(&provider.token_url, form, secret, false).await {
            Ok(granted) => {
                provider.secret_in_body = Some(false);
                return Ok(granted);
            }
            Err(NotGranted { cause, of_client: None }) => return Err(cause),
            Err(NotGranted { of_client: Some(said), .. }) => said,
        };
        match self.by_secret(&provider.token_url, form, secret, true).await {
            Ok(granted) => {
                provider.secret_in_body = Some(true);
                Ok(granted)
            }
            Err(NotGranted { cause: Cause::NoToken(second), .. }) => {
                Err(Cause::NoToken(format!("{second}; and with the secret in the header ({first})")))
            }
            Err(refused) => Err(refused.cause),
        }
    }

    fn claims<'a>(&'a self, provider: &'a Provider) -> Claims<'a> {
        Claims {
            client_id: &self.settings.client_id,
            audience: &provider.audience,
            now: Duration::from_nanos(self.clock.wall().as_nanos()).as_secs(),
            id: format!("{:016x}{:016x}", self.random.next_u64(), self.random.next_u64()),
        }
    }

    /// Gets a token of `provider`, and keeps both.
    async fn fetch(&self, known: &mut Known, mut provider: Provider) -> Result<HeaderValue, Cause> {
        let granted = self.grant(&mut provider).await?;
        let times = granted.expires_in.map(|life| {
            let (now, life) = (self.clock.monotonic(), life.min(LONGEST_LIFE));
            Times { renew: now + life.saturating_sub(RENEW_BEFORE.min(life / 4)), end: now + life }
        });
        known.provider = Some(provider);
        known.token = Some(Token { header: granted.header.clone(), times });
        Ok(granted.header)
    }

    /// The same of a provider that was discovered by `challenge`. Where it gives no token it may have moved: it is discovered again, once. Where that
    /// fails, or is cut, nothing is known of it any more, and the next request goes out as the first one did: the server's 401 says where to ask.
    async fn fetch_again(
        &self,
        known: &mut Known,
        provider: Provider,
        challenge: Challenge,
    ) -> Result<HeaderValue, Cause> {
        (known.provider, known.challenge) = (None, None);
        let cause = match self.fetch(known, provider.clone()).await {
            Ok(header) => {
                known.challenge = Some(challenge);
                return Ok(header);
            }
            Err(cause) => cause,
        };
        let Ok(found) = self.discover(&challenge).await else { return Err(cause) };
        let moved = found != provider;
        (known.provider, known.challenge) = (Some(found.clone()), Some(challenge));
        if moved { self.fetch(known, found).await } else { Err(cause) }
    }

    async fn discover(&self, challenge: &Challenge) -> Result<Provider, Cause> {
        let OAuth2Settings { endpoint, issuer, .. } = &self.settings;
        discover(&self.fetch, endpoint.url(), challenge, issuer.as_ref().map(Endpoint::url)).await
    }
}

#[async_trait]
impl Authorize for OAuth2 {
    fn identity(&self) -> String {
        let OAuth2Settings { client_id, credential, token_url, issuer, scopes, resource, endpoint_params, .. } =
            &self.settings;
        // Their values may be secrets.
        let mut params = DefaultHasher::new();
        for (name, value) in endpoint_params {
            (name, value.expose()).hash(&mut params);
        }
        let params = params.finish();
        format!("oauth2 {client_id} {credential:?} {token_url:?} {issuer:?} {scopes:?} {resource:?} {params:x}")
    }

    async fn header(&self) -> Result<Option<HeaderValue>, Cause> {
        // One flight for all requests: the others wait for its token.
        let mut known = self.known.lock().await;
        let now = self.clock.monotonic();
        if let Some(fresh) = known.token.as_ref().and_then(|token| token.fresh(now)) {
            return Ok(Some(fresh));
        }
        // Before the try, which may be cut: a token that still holds is not given up for a failed one.
        let old = known.token.as_mut().and_then(|token| token.put_off(now));
        let Some(provider) = known.provider.clone() else { return Ok(old) };
        let fetched = match known.challenge.clone() {
            Some(challenge) => self.fetch_again(&mut known, provider, challenge).await,
            None => self.fetch(&mut known, provider).await,
        };
        match fetched {
            Err(_) if old.is_some() => Ok(old),
            fetched => fetched.map(Some),
        }
    }

    async fn renew(&self, refused: Option<&HeaderValue>, challenge: &Challenge) -> Result<Option<HeaderValue>, Cause> {
        let mut known = self.known.lock().await;
        if let Some(token) = &known.token
            && Some(&token.header) != refused
        {
            return Ok(Some(token.header.clone())); // another request was faster
        }
        known.token = None;
        let OAuth2Settings { credential, token_url, issuer, endpoint_params, .. } = &self.settings;
        let trusts = self.settings.trust_discovered_issuer;
        if token_url.is_none() {
            (known.provider, known.challenge) = (None, None); // it may have moved
            if issuer.is_none() && !trusts {
                let secret = matches!(credential, ClientCredential::SecretFile(_)).then_some("client_secret_file");
                if let Some(key) = secret.or((!endpoint_params.is_empty()).then_some("endpoint_params")) {
                    return Err(untrusted(key));
                }
            }
            known.provider = Some(self.discover(challenge).await?);
            known.challenge = Some(challenge.clone());
        }
        let Some(provider) = known.provider.clone() else { return Ok(None) };
        self.fetch(&mut known, provider).await.map(Some)
    }
}

impl OAuth2Settings {
    fn configured_provider(&self) -> Option<Provider> {
        let token_url = self.token_url.as_ref()?.url().clone();
        Some(Provider {
            audience: token_url.as_str().to_owned(),
            token_url,
            secret_in_body: None,
            resource: None,
            scopes: None,
        })
    }
}

/// RFC 6749, 2.3.1: both form-encoded, then as HTTP's basic authentication.
fn basic(client_id: &str, secret: &str) -> Option<HeaderValue> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(client_id), encoded(secret));
    let coded = STANDARD.encode(pair);
    hidden::learn(&format!("client {client_id}"), &coded);
    let mut header = HeaderValue::from_str(&format!("Basic {coded}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Without tokens.
impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.settings.token_url.as_ref().or(self.settings.issuer.as_ref());
        let from = place.map_or_else(|| "the server's metadata".to_owned(), Endpoint::shown);
        write!(f, "OAuth2({} by {from})", self.settings.client_id)
    }
}
