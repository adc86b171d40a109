use std::fmt;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use minicol_plugin::net::HttpConnector;
use std::time::Duration;

/// Python servers close idle connections after 5 s: dropping them earlier avoids the race, and reconnecting each poll is cheap.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// The one HTTP client that all targets share. Clones are the same client, with the same connections.
#[derive(Clone)]
pub struct HttpClient(pub(crate) Client<HttpConnector, Full<Bytes>>);

impl HttpClient {
    /// A client over `connector`, which needs TLS for `https` endpoints.
    pub fn new(connector: HttpConnector) -> Self {
        Self(
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                .build(connector),
        )
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}
