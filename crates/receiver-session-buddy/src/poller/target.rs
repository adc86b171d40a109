//! What is polled, as the configuration says it.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue};
use minicol_mcp::{
    Authorize, BearerFile, Endpoint, HttpClient, OAuth2, OAuth2Settings, PollTarget, Proxies, Proxy, Target,
    TargetSettings, TargetState, ToolPlan,
};
use minicol_plugin::{
    Level, Scope,
    config::Seconds,
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
    proxies: Proxies,
}

/// The target of a configuration, with what is remembered of it.
pub(crate) fn target(config: &SessionBuddyConfig, scope: &Scope) -> Result<Arc<dyn PollTarget>, PollerError> {
    let endpoint: Endpoint = config.endpoint.parse()?;
    let proxies = proxies(config, &endpoint, scope)?;
    let tls = endpoint.is_secure().then(|| config.tls.clone());
    let client = client(Way { tls, proxies: proxies.clone() }, scope)?;
    let authorize = authorize(config, &endpoint, &client, &proxies, scope)?;
    // It forgets by itself what belongs to another server, and ends the session with that one.
    let state = scope.state("target", TargetState::default);
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
    for (name, path) in &config.header_files {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| PollerError::Header(name.clone()))?;
        settings.header_files.push((header, path.clone()));
    }
    Ok(Arc::new(Target::new(settings, client, state, scope)))
}

/// What gives the `Authorization` header, where it is not written down.
fn authorize(
    config: &SessionBuddyConfig,
    endpoint: &Endpoint,
    own: &HttpClient,
    proxies: &Proxies,
    scope: &Scope,
) -> Result<Option<Arc<dyn Authorize>>, PollerError> {
    if let Some(path) = &config.bearer_token_file {
        return Ok(Some(Arc::new(BearerFile::new(path, Arc::clone(scope.clock())))));
    }
    let Some(oauth2) = &config.oauth2 else { return Ok(None) };
    let parsed = |url: &Option<String>| {
        url.as_ref().map(|url| url.parse::<Endpoint>()).transpose().map_err(|_| PollerError::OAuth2)
    };
    let (token_url, issuer) = (parsed(&oauth2.token_url)?, parsed(&oauth2.issuer)?);
    let named = token_url.as_ref().or(issuer.as_ref());
    if let Some(url) = named.filter(|_| config.proxy_url.is_none()) {
        tell_proxy(proxies, url, scope)?;
    }
    let with_tls = named.is_none_or(Endpoint::is_secure);
    let way = |tls: bool| Way { tls: tls.then(|| oauth2.tls.clone()), proxies: proxies.clone() };
    let elsewhere = match client(way(with_tls), scope) {
        // Only the server's metadata tells whether https is asked at all. Where it is, the failed request says so.
        Err(PollerError::NoAuthorities(_)) if token_url.is_none() => client(way(false), scope),
        other => other,
    }?;
    let settings = OAuth2Settings {
        endpoint: endpoint.clone(),
        client_id: oauth2.client_id.clone(),
        credential: oauth2.credential().ok_or(PollerError::OAuth2)?,
        token_url,
        issuer,
        trust_discovered_issuer: oauth2.trust_discovered_issuer,
        scopes: oauth2.scopes.clone(),
        resource: oauth2.resource.clone(),
        endpoint_params: oauth2.endpoint_params.clone(),
        allow_insecure: config.allow_insecure_auth,
    };
    Ok(Some(Arc::new(OAuth2::new(settings, own.clone(), scope).elsewhere(elsewhere))))
}

/// One client for all pollers of the program that reach their servers in the same way.
fn client(way: Way, scope: &Scope) -> Result<HttpClient, PollerError> {
    let shared = scope.shared("mcp/clients", || Mutex::new(Vec::<(Way, HttpClient)>::new()));
    let mut clients = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, client)) = clients.iter().find(|(known, _)| *known == way) {
        return Ok(client.clone());
    }
    let tls = way.tls.clone().map(HttpClient::tls).transpose().map_err(|error| match error {
        TlsError::NoRoots(why) => PollerError::NoAuthorities(why),
        other => PollerError::Tls(other),
    })?;
    let client = HttpClient::with(Arc::clone(scope.network()), tls, way.proxies.clone());
    if clients.len() == MAX_CLIENTS {
        clients.remove(0); // those who use it keep it
    }
    clients.push((way, client.clone()));
    Ok(client)
}

/// The proxies of the configuration, else of the environment, which is said.
fn proxies(config: &SessionBuddyConfig, endpoint: &Endpoint, scope: &Scope) -> Result<Proxies, PollerError> {
    if let Some(url) = &config.proxy_url {
        let proxy = Proxy::parse(url.expose());
        return proxy.map(Proxies::all).map_err(|error| PollerError::Proxy { key: "proxy_url", error });
    }
    let proxies = Proxies::from_variables(scope.network().proxy_variables());
    tell_proxy(&proxies, endpoint, scope)?;
    Ok(proxies)
}

/// Says that the environment names a proxy for `endpoint`, where it does.
fn tell_proxy(proxies: &Proxies, endpoint: &Endpoint, scope: &Scope) -> Result<(), PollerError> {
    let found = proxies.before(endpoint);
    let found = found.map_err(|error| PollerError::Proxy { key: "the proxy that the environment names", error })?;
    if let Some(proxy) = &found {
        let message = format!("{endpoint} is reached through {proxy}, the proxy that the environment names");
        scope.notice(Level::Info, "proxy_used", message);
    }
    Ok(())
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
