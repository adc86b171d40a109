use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Authorize, Endpoint};

/// How one target is asked. [`TargetSettings::new`] has the defaults.
#[derive(Clone)]
pub struct TargetSettings {
    /// What messages call the target.
    pub name: Arc<str>,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Headers of each request. Their values never stand in a message.
    pub headers: HeaderMap,
    /// Headers whose values stand in files, which are read again when they change; in place of those of `headers` of the same name.
    pub header_files: Vec<(HeaderName, PathBuf)>,
    /// Gives the `Authorization` header instead, where it is not the same for ever. Default none.
    pub authorize: Option<Arc<dyn Authorize>>,
    /// The time of one attempt of one request. Default 10 s.
    pub timeout: Duration,
    /// How often a request is tried again within a cycle. Default 3.
    pub max_retries: u32,
    /// The wait before the first retry; it doubles each time, and up to half of it is added at random. Default 5 s.
    pub retry_delay: Duration,
    /// After how many failures in a row a tool's breaker opens; at least 1. Default 5.
    pub breaker_threshold: u32,
    /// How long it stays open, counted from the tick of the cycle that opened it. Default 30 s.
    pub breaker_cooldown: Duration,
    /// How long the list of tools is taken for granted. Default 10 min.
    pub discovery_interval: Duration,
    /// How large a reply may be, in bytes. Default 4 MiB.
    pub max_response_bytes: usize,
}

impl TargetSettings {
    /// The defaults, for `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            name: endpoint.shown().into(),
            endpoint,
            headers: HeaderMap::new(),
            header_files: Vec::new(),
            authorize: None,
            timeout: Duration::from_secs(10),
            max_retries: 3,
            retry_delay: Duration::from_secs(5),
            breaker_threshold: 5,
            breaker_cooldown: Duration::from_secs(30),
            discovery_interval: Duration::from_secs(600),
            max_response_bytes: 4 * 1024 * 1024,
        }
    }

    /// Adds a header to each request; its value is taken for a secret.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }
}

/// Without the values of headers, whether they are marked as secret or not.
impl fmt::Debug for TargetSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetSettings")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint.shown())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("header_files", &self.header_files)
            .field("authorize", &self.authorize)
            .field("timeout", &self.timeout)
            .field("max_retries", &self.max_retries)
            .field("retry_delay", &self.retry_delay)
            .field("breaker_threshold", &self.breaker_threshold)
            .field("breaker_cooldown", &self.breaker_cooldown)
            .field("discovery_interval", &self.discovery_interval)
            .field("max_response_bytes", &self.max_response_bytes)
            .finish()
    }
}
