//! How connections are made: directly or through a proxy, with TLS whose files may change.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, proxy::Tunnel},
    rt::TokioIo,
};
use minicol_plugin::net::{BoxIo, ClientTlsFiles, ConnectError, HttpConnector, HttpStream, Listener, Network};
use tower::Service;

use crate::{Proxies, Proxy};

/// Connects an HTTP client.
#[derive(Clone)]
pub(crate) struct Connector {
    base: Base,
    proxies: Proxies,
}

#[derive(Clone)]
enum Base {
    Fixed(HttpConnector),
    Files(Arc<dyn Network>, Option<Arc<ClientTlsFiles>>),
}

/// A connection, to the server or to a proxy that is told the whole address.
pub(crate) struct Stream {
    inner: HttpStream,
    forwarded: bool,
}

impl Connector {
    pub(crate) fn fixed(connector: HttpConnector) -> Self {
        Self { base: Base::Fixed(connector), proxies: Proxies::default() }
    }

    pub(crate) fn new(network: Arc<dyn Network>, tls: Option<Arc<ClientTlsFiles>>, proxies: Proxies) -> Self {
        Self { base: Base::Files(network, tls), proxies }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, ConnectError> {
        let (network, tls) = match self.base {
            Base::Fixed(mut connector) => return connector.call(uri).await.map(Stream::direct),
            Base::Files(network, tls) => (network, tls),
        };
        let over = |network: Arc<dyn Network>| HttpConnector::with_files(network, tls.clone());
        let found = self.proxies.before_uri(&uri).map_err(|error| {
            unreachable(&uri, io::Error::other(format!("the proxy that the environment names {error}")))
        })?;
        match found {
            None => over(network).call(uri).await.map(Stream::direct),
            Some(proxy) if uri.scheme_str() == Some("https") => {
                over(Arc::new(Tunnelled { network, proxy })).call(uri).await.map(Stream::direct)
            }
            Some(proxy) => {
                let stream = HttpConnector::new(network, None).call(proxy.uri().clone()).await;
                let stream = stream.map_err(|error| unreachable(&uri, ProxyFault::of(&proxy, &error)))?;
                Ok(Stream { inner: stream, forwarded: true })
            }
        }
    }
}

/// No way through a proxy. Holds its address, and what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct ProxyFault {
    what: String,
    /// It wants a user and a password.
    pub(crate) unauthorized: bool,
}

impl ProxyFault {
    fn of(proxy: &Proxy, error: &dyn std::fmt::Display) -> io::Error {
        let what = format!("proxy {proxy}: {error}");
        // The words are all that the tunnel tells.
        let unauthorized = what.ends_with("proxy authorization required");
        io::Error::other(Self { what, unauthorized })
    }
}

fn unreachable(uri: &Uri, source: io::Error) -> ConnectError {
    let (host, port) = (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(443));
    ConnectError::Unreachable { host, port, source }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A network behind a proxy that makes tunnels (CONNECT).
struct Tunnelled {
    network: Arc<dyn Network>,
    proxy: Proxy,
}

#[async_trait]
impl Network for Tunnelled {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        let wrong = |error: &dyn std::fmt::Display| ProxyFault::of(&self.proxy, error);
        let to: Uri = format!("https://{host}:{port}").parse().map_err(|error: http::uri::InvalidUri| wrong(&error))?;
        let mut tunnel = Tunnel::new(self.proxy.uri().clone(), HttpConnector::new(Arc::clone(&self.network), None));
        if let Some(authorization) = self.proxy.authorization() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let stream = tunnel.call(to).await.map_err(|error| match std::error::Error::source(&error) {
            Some(source) => wrong(source),
            None => wrong(&error),
        })?;
        Ok(Box::new(TokioIo::new(stream)))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.network.listen(address).await
    }
}

impl Stream {
    fn direct(inner: HttpStream) -> Self {
        Self { inner, forwarded: false }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.inner.connected().proxy(self.forwarded)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
