//! How connections are made: directly or through a proxy, with TLS whose files may change.

use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use async_trait::async_trait;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, proxy::Tunnel},
    rt::TokioIo,
};
use minicol_plugin::net::{BoxIo, ClientTls, ConnectError, HttpConnector, HttpStream, Listener, Network, TlsError};
use rustls_pki_types::ServerName;
use tower::Service;

use crate::Proxy;

/// HTTP/2 where the server offers it, else HTTP/1.1.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS by a configuration whose files are read again when they change.
#[derive(Debug)]
pub struct TlsFiles {
    tls: ClientTls,
    server_name: Option<ServerName<'static>>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    stamp: Vec<Stamp>,
    config: Arc<rustls::ClientConfig>,
}

/// When a file was changed last, and how long it was; `None` where that cannot be told.
type Stamp = Option<(Option<std::time::Duration>, u64)>;

/// Connects an HTTP client.
#[derive(Clone)]
pub(crate) struct Connector {
    base: Base,
    proxy: Option<Arc<Proxy>>,
}

#[derive(Clone)]
enum Base {
    Fixed(HttpConnector),
    Files(Arc<dyn Network>, Option<Arc<TlsFiles>>),
}

/// A connection, to the server or to a proxy that is told the whole address.
pub(crate) struct Stream {
    inner: HttpStream,
    forwarded: bool,
}

impl TlsFiles {
    /// Reads the files for the first time. Offers HTTP/2 and HTTP/1.1.
    pub fn new(tls: ClientTls) -> Result<Self, TlsError> {
        let stamp = stamp(&tls);
        let current = Mutex::new(Current { stamp, config: tls.client_config(&ALPN)? });
        Ok(Self { server_name: tls.server_name()?, tls, current })
    }

    /// What holds now. Files that cannot be used leave what they held before: while they are written they are half there.
    fn config(&self) -> Arc<rustls::ClientConfig> {
        let stamp = stamp(&self.tls);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.stamp != stamp {
            match self.tls.client_config(&ALPN) {
                Ok(config) => current.config = config,
                Err(error) => tracing::warn!(%error, "changed tls files cannot be used; those before stay in use"),
            }
            current.stamp = stamp;
        }
        Arc::clone(&current.config)
    }
}

fn stamp(tls: &ClientTls) -> Vec<Stamp> {
    let of = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        let changed = file.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        Some((changed, file.len()))
    };
    [&tls.ca_file, &tls.cert_file, &tls.key_file].into_iter().flatten().map(of).collect()
}

impl Connector {
    pub(crate) fn fixed(connector: HttpConnector) -> Self {
        Self { base: Base::Fixed(connector), proxy: None }
    }

    pub(crate) fn new(network: Arc<dyn Network>, tls: Option<Arc<TlsFiles>>, proxy: Option<Proxy>) -> Self {
        Self { base: Base::Files(network, tls), proxy: proxy.map(Arc::new) }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, ConnectError> {
        let (network, tls) = match self.base {
            Base::Fixed(mut connector) => return connector.call(uri).await.map(Stream::direct),
            Base::Files(network, tls) => (network, tls),
        };
        let over = |network: Arc<dyn Network>| {
            let config = tls.as_ref().map(|tls| tls.config());
            let name = tls.as_ref().and_then(|tls| tls.server_name.clone());
            HttpConnector::new(network, config).server_name(name)
        };
        match self.proxy {
            None => over(network).call(uri).await.map(Stream::direct),
            Some(proxy) if uri.scheme_str() == Some("https") => {
                over(Arc::new(Tunnelled { network, proxy })).call(uri).await.map(Stream::direct)
            }
            Some(proxy) => {
                let stream = HttpConnector::new(network, None).call(proxy.uri().clone()).await?;
                Ok(Stream { inner: stream, forwarded: true })
            }
        }
    }
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
    proxy: Arc<Proxy>,
}

#[async_trait]
impl Network for Tunnelled {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        let wrong = |error: &dyn std::fmt::Display| io::Error::other(format!("proxy {}: {error}", self.proxy));
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
