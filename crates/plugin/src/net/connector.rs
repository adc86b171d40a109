use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::{BoxIo, ClientTlsFiles, Network};

/// Connects hyper and tonic clients through a [`Network`], with TLS where the URI says `https`.
#[derive(Clone)]
pub struct HttpConnector {
    network: Arc<dyn Network>,
    tls: Option<Tls>,
    server_name: Option<ServerName<'static>>,
}

#[derive(Clone)]
enum Tls {
    Fixed(Arc<ClientConfig>),
    Files(Arc<ClientTlsFiles>),
}

/// A connection that could not be made. Which layer refused decides whether trying again may help.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URI names no host, or TLS was not set up for `https`.
    #[error("cannot connect to {0}")]
    Address(String),
    /// No connection: the name does not resolve, refused, unreachable.
    #[error("cannot connect to {host}:{port}: {source}")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the network said.
        #[source]
        source: io::Error,
    },
    /// A connection, but no TLS over it: a certificate that is not trusted, a server that speaks plain text.
    #[error("tls handshake with {host}:{port} failed: {source}")]
    Tls {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the handshake said.
        #[source]
        source: io::Error,
    },
}

/// A connection as hyper wants it.
pub struct HttpStream {
    inner: TokioIo<BoxIo>,
    http2: bool,
}

impl HttpConnector {
    /// Over `network`; `tls` is needed for `https`.
    pub fn new(network: Arc<dyn Network>, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { network, tls: tls.map(Tls::Fixed), server_name: None }
    }

    /// The same by files, that are read again when they change; their name for the server is expected.
    pub fn with_files(network: Arc<dyn Network>, tls: Option<Arc<ClientTlsFiles>>) -> Self {
        let server_name = tls.as_ref().and_then(|tls| tls.server_name().cloned());
        Self { network, tls: tls.map(Tls::Files), server_name }
    }

    /// Under TLS the server's certificate must have this name instead of the URI's host.
    #[must_use]
    pub fn server_name(mut self, name: Option<ServerName<'static>>) -> Self {
        self.server_name = name;
        self
    }

    async fn connect(self, uri: Uri) -> Result<HttpStream, ConnectError> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or_else(|| ConnectError::Address(uri.to_string()))?.to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let plain = self.network.connect(&host, port).await.map_err(|source| ConnectError::Unreachable {
            host: host.clone(),
            port,
            source,
        })?;
        if !secure {
            return Ok(HttpStream { inner: TokioIo::new(plain), http2: false });
        }
        let config = match self.tls {
            Some(Tls::Fixed(config)) => config,
            Some(Tls::Files(files)) => files.config(),
            None => return Err(ConnectError::Address(uri.to_string())),
        };
        let name = match self.server_name {
            Some(name) => name,
            None => ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned())
                .map_err(|_| ConnectError::Address(uri.to_string()))?,
        };
        let stream = TlsConnector::from(config).connect(name, plain).await.map_err(|source| ConnectError::Tls {
            host,
            port,
            source,
        })?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(HttpStream { inner: TokioIo::new(Box::new(stream)), http2 })
    }
}

impl Service<Uri> for HttpConnector {
    type Response = HttpStream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpStream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for HttpStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for HttpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl Write for HttpStream {
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
