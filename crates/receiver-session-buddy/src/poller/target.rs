//! What is polled, as the configuration says it.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue};
use minicol_mcp::{
    Authorize, BearerFile, Endpoint, HttpClient, OAuth2, OAuth2Settings, PollTarget, Proxy, Target, TargetSettings,
    TargetState, TlsFiles, ToolPlan,
};
use minicol_plugin::{
    Level, Scope,
    config::{Seconds, Secret},
    net::{ClientTls, TlsError},
};

use super::PollerError;
use crate::{
    SessionBuddyConfig,
    analytics::{LargestLimit, LimitMemory},
    config::{SESSION_ANALYTICS, with_get},
};

/// As many ways to reach servers are remembered as a program may sensibly have.
const MAX_CLIENTS: usize = 64;

/// How a server is reached.
#[derive(PartialEq)]
struct Way {
    tls: Option<ClientTls>,
    proxy: Option<Secret>,
}

/// The target of a configuration, with what is remembered of it.
pub(super) fn target(config: &SessionBuddyConfig, scope: &Scope) -> Result<Arc<dyn PollTarget>, PollerError> {
    let endpoint: Endpoint = config.endpoint.parse()?;
    let client = client(config, &endpoint, scope)?;
    let authorize = authorize(config, &endpoint, &client, scope)?;
    let state = scope.state(&slot("target", &endpoint), TargetState::default);
    let mut settings = TargetSettings {
        timeout: config.timeout_seconds.duration(),
        max_retries: config.max_retries,
        retry_delay: config.retry_delay_seconds.duration(),
        breaker_threshold: config.circuit_breaker_threshold,
        breaker_cooldown: config.cooldown(),
        discovery_interval: config.discovery_interval_seconds.duration(),
        max_response_bytes: usize::try_from(config.max_response_bytes).unwrap_or(usize::MAX),
        authorize,
        ..TargetSettings::new(endpoint)
    };
    for (name, value) in &config.headers {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value.expose()).ok());
        let (header, value) = parsed.ok_or_else(|| PollerError::Header(name.clone()))?;
        settings = settings.with_header(header, value);
    }
    Ok(Arc::new(Target::new(settings, client, state, scope)))
}

/// What gives the `Authorization` header, where it is not written down.
fn authorize(
    config: &SessionBuddyConfig,
    endpoint: &Endpoint,
    client: &HttpClient,
    scope: &Scope,
) -> Result<Option<Arc<dyn Authorize>>, PollerError> {
    if let Some(path) = &config.bearer_token_file {
        return Ok(Some(Arc::new(BearerFile::new(path, Arc::clone(scope.clock())))));
    }
    let Some(oauth2) = &config.oauth2 else { return Ok(None) };
    let parsed = |url: &Option<String>| {
        url.as_ref().map(|url| url.parse::<Endpoint>()).transpose().map_err(|_| PollerError::OAuth2)
    };
    let settings = OAuth2Settings {
        endpoint: endpoint.clone(),
        client_id: oauth2.client_id.clone(),
        credential: oauth2.credential().ok_or(PollerError::OAuth2)?,
        token_url: parsed(&oauth2.token_url)?,
        issuer: parsed(&oauth2.issuer)?,
        scopes: oauth2.scopes.clone(),
        resource: oauth2.resource.clone(),
        allow_insecure: config.allow_insecure_auth,
    };
    Ok(Some(Arc::new(OAuth2::new(settings, client.clone(), scope))))
}

/// One client for all pollers of the program that reach their servers in the same way.
fn client(config: &SessionBuddyConfig, endpoint: &Endpoint, scope: &Scope) -> Result<HttpClient, PollerError> {
    let proxy = proxy(config, endpoint, scope)?;
    let needs_tls = endpoint.is_secure() || config.oauth2.is_some();
    let way = Way { tls: needs_tls.then(|| config.tls.clone()), proxy: proxy.as_ref().map(Proxy::secret) };
    let shared = scope.shared("mcp/clients", || Mutex::new(Vec::<(Way, HttpClient)>::new()));
    let mut clients = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, client)) = clients.iter().find(|(known, _)| *known == way) {
        return Ok(client.clone());
    }
    let tls = match way.tls.clone().map(TlsFiles::new).transpose() {
        Ok(tls) => tls.map(Arc::new),
        // The authorization server may well be http, too: where it is not, the failed request says so.
        Err(TlsError::NoRoots(_)) if !endpoint.is_secure() => None,
        Err(TlsError::NoRoots(why)) => return Err(PollerError::NoAuthorities(why)),
        Err(other) => return Err(PollerError::Tls(other)),
    };
    let client = HttpClient::with(Arc::clone(scope.network()), tls, proxy);
    if clients.len() == MAX_CLIENTS {
        clients.remove(0); // those who use it keep it
    }
    clients.push((way, client.clone()));
    Ok(client)
}

/// The proxy of the configuration, else of the environment, which is said.
fn proxy(config: &SessionBuddyConfig, endpoint: &Endpoint, scope: &Scope) -> Result<Option<Proxy>, PollerError> {
    if let Some(url) = &config.proxy_url {
        let proxy = Proxy::parse(url.expose());
        return proxy.map(Some).map_err(|error| PollerError::Proxy { key: "proxy_url", error });
    }
    let found = Proxy::from_variables(&scope.network().proxy_variables(), endpoint);
    let found = found.map_err(|error| PollerError::Proxy { key: "the proxy that the environment names", error })?;
    if let Some(proxy) = &found {
        let message = format!("{endpoint} is reached through {proxy}, the proxy that the environment names");
        scope.notice(Level::Info, "proxy_used", message);
    }
    Ok(found)
}

/// Another endpoint is another server: nothing of the one before holds for it.
pub(super) fn slot(what: &str, endpoint: &Endpoint) -> String {
    format!("{what} {}", endpoint.as_str())
}

/// One wanted tool.
pub(super) fn plan(config: &SessionBuddyConfig, tool: &str, limits: &Arc<LimitMemory>) -> ToolPlan {
    let options = config.tools.options(tool);
    let mut plan = ToolPlan::named(tool);
    plan.arguments = options.sent_arguments();
    plan.timeout = options.timeout_seconds.map(Seconds::duration);
    if with_get(tool) == SESSION_ANALYTICS {
        let look_again = config.discovery_interval_seconds.duration();
        plan.ask = Some(Arc::new(LargestLimit::new(Arc::clone(limits), look_again)));
    }
    plan
}
