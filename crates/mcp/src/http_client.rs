use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};
use minicol_plugin::net::{HttpConnector, Network};

use crate::{
    Proxy,
    connect::{Connector, TlsFiles},
};

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
    /// A proxy that is handed whole requests for `http` servers.
    forward: Option<Proxy>,
}

impl HttpClient {
    /// A client over `connector`, which needs TLS for `https` endpoints.
    pub fn new(connector: HttpConnector) -> Self {
        Self::over(Connector::fixed(connector), None)
    }

    /// A client over `network`, whose `tls` is needed for `https` endpoints, through `proxy`.
    pub fn with(network: Arc<dyn Network>, tls: Option<Arc<TlsFiles>>, proxy: Option<Proxy>) -> Self {
        Self::over(Connector::new(network, tls, proxy.clone()), proxy)
    }

    fn over(connector: Connector, forward: Option<Proxy>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_AFTER)
            .build(connector);
        Self { client, forward }
    }

    pub(crate) async fn request(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let authorization = self.forward.as_ref().and_then(Proxy::authorization);
        if let Some(authorization) = authorization
            && request.uri().scheme_str() == Some("http")
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
