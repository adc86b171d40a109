use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};
use minicol_plugin::net::{ClientTls, ClientTlsFiles, HttpConnector, Network, TlsError};

use crate::{Endpoint, Proxies, Proxy, connect::Connector};

/// Python servers close idle connections after 5 s: dropping them earlier avoids the race, and reconnecting each poll is cheap.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// A shared HTTP/2 connection outlives a call that had no answer. One that answers no ping either leads nowhere any more, and is given up.
const PING_AFTER: Duration = Duration::from_secs(5);
/// How large the headers of a reply may be.
const MAX_HEADERS: u32 = 64 * 1024;

/// The one HTTP client that all targets share which are reached in the same way. Clones are the same client, with the same connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    proxies: Proxies,
}

impl HttpClient {
    /// A client over `connector`, which needs TLS for `https` endpoints.
    pub fn new(connector: HttpConnector) -> Self {
        Self::over(Connector::fixed(connector), Proxies::default())
    }

    /// A client over `network`, whose `tls` is needed for `https` endpoints, through the `proxies` that stand before each.
    pub fn with(network: Arc<dyn Network>, tls: Option<Arc<ClientTlsFiles>>, proxies: Proxies) -> Self {
        Self::over(Connector::new(network, tls, proxies.clone()), proxies)
    }

    /// TLS for [`HttpClient::with`]: HTTP/2 where the server offers it, else HTTP/1.1. The files are read again when they change.
    pub fn tls(tls: ClientTls) -> Result<Arc<ClientTlsFiles>, TlsError> {
        ClientTlsFiles::new(tls, &[b"h2", b"http/1.1"]).map(Arc::new)
    }

    fn over(connector: Connector, proxies: Proxies) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_AFTER)
            .build(connector);
        Self { client, proxies }
    }

    /// The proxy before `endpoint`.
    pub(crate) fn proxy_before(&self, endpoint: &Endpoint) -> Option<Proxy> {
        self.proxies.before(endpoint).ok().flatten()
    }

    /// In whose sight a request to `endpoint` travels in plain text.
    pub(crate) fn plain_text_way(&self, endpoint: &Endpoint) -> Option<String> {
        self.proxies.plain_text_way(endpoint)
    }

    pub(crate) async fn request(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        // A proxy is handed whole requests for `http`. One that cannot be used is an error of the connection.
        if request.uri().scheme_str() == Some("http")
            && let Ok(Some(proxy)) = self.proxies.before_uri(request.uri())
            && let Some(authorization) = proxy.authorization()
        {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        self.client.request(request).await
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}
