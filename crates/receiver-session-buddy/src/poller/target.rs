//! What is polled, as the configuration says it.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue};
use minicol_mcp::{Endpoint, HttpClient, PollTarget, Target, TargetSettings, TargetState, ToolPlan};
use minicol_plugin::{
    Scope,
    config::Seconds,
    net::{ClientTls, HttpConnector, TlsError},
};

use super::PollerError;
use crate::{
    SessionBuddyConfig,
    analytics::{LargestLimit, LimitMemory},
    config::{SESSION_ANALYTICS, with_get},
};

/// The target of a configuration, with what is remembered of it.
pub(super) fn target(config: &SessionBuddyConfig, scope: &Scope) -> Result<Arc<dyn PollTarget>, PollerError> {
    let endpoint: Endpoint = config.endpoint.parse()?;
    let client = client(&endpoint, scope)?;
    let state = scope.state(&slot("target", &endpoint), TargetState::default);
    let mut settings = TargetSettings {
        timeout: config.timeout_seconds.duration(),
        max_retries: config.max_retries,
        retry_delay: config.retry_delay_seconds.duration(),
        breaker_threshold: config.circuit_breaker_threshold,
        breaker_cooldown: config.cooldown(),
        discovery_interval: config.discovery_interval_seconds.duration(),
        max_response_bytes: usize::try_from(config.max_response_bytes).unwrap_or(usize::MAX),
        ..TargetSettings::new(endpoint)
    };
    for (name, value) in &config.headers {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value.expose()).ok());
        let (header, value) = parsed.ok_or_else(|| PollerError::Header(name.clone()))?;
        settings = settings.with_header(header, value);
    }
    Ok(Arc::new(Target::new(settings, client, state, scope)))
}

/// One client for all pollers of the program; one more where some of them need TLS.
fn client(endpoint: &Endpoint, scope: &Scope) -> Result<HttpClient, PollerError> {
    let key = if endpoint.is_secure() { "mcp/https" } else { "mcp/http" };
    let shared = scope.shared(key, || Mutex::new(None::<HttpClient>));
    let mut client = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = &*client {
        return Ok(client.clone());
    }
    Ok(client.insert(HttpClient::new(connector(endpoint, scope)?)).clone())
}

/// Certificates are checked against the system's authorities.
fn connector(endpoint: &Endpoint, scope: &Scope) -> Result<HttpConnector, PollerError> {
    let network = Arc::clone(scope.network());
    if !endpoint.is_secure() {
        return Ok(HttpConnector::new(network, None));
    }
    match ClientTls::default().client_config(&[]) {
        Ok(tls) => Ok(HttpConnector::new(network, Some(tls))),
        Err(TlsError::NoRoots(why)) => Err(PollerError::NoAuthorities(why)),
        Err(other) => Err(PollerError::Tls(other)),
    }
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
