//! The HTTP client under both exporters: one pool of connections, which is left behind when it stops answering.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use minicol_plugin::{
    OtlpProtocol, Scope,
    net::{ClientTls, ClientTlsFiles, HttpConnector, TlsError},
};

use crate::{config::Keepalive, heard::Ears};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client and its connections. tonic's own channel is not used, so that both protocols share this one way to connect, to fail and to
/// leave a dead connection.
pub(crate) struct Transport<B> {
    ears: Ears,
    connector: HttpConnector,
    kind: Kind,
    pool: Mutex<Pool<B>>,
}

/// What a client is made for.
#[derive(Clone, Copy)]
struct Kind {
    protocol: OtlpProtocol,
    keepalive: Option<Keepalive>,
}

struct Pool<B> {
    generation: u64,
    client: Client<HttpConnector, B>,
}

/// One request and its answer. Dropped before [`Exchange::over`] (the host's timeout), it leaves the pool behind: HTTP/2 has one connection
/// for everything, and where its far end vanished without a word, TCP would take a quarter of an hour to notice.
pub(crate) struct Exchange<'a, B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    transport: &'a Transport<B>,
    generation: u64,
    client: Client<HttpConnector, B>,
    over: bool,
}

/// Shorter than the idle timeouts of servers that have one (a minute is usual), so that no request meets a connection that is being closed.
const IDLE: Duration = Duration::from_secs(30);

impl<B> Transport<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// Connects through the scope's network, with TLS where `secure`. Nothing is connected yet.
    pub(crate) fn new(
        scope: &Scope,
        tls: &ClientTls,
        secure: bool,
        protocol: OtlpProtocol,
        keepalive: Option<Keepalive>,
    ) -> Result<Self, TlsError> {
        let kind = Kind { protocol, keepalive };
        let alpn: &'static [&'static [u8]] = match protocol {
            OtlpProtocol::Grpc => &[b"h2"],
            OtlpProtocol::HttpProtobuf => &[b"h2", b"http/1.1"],
        };
        let tls = secure.then(|| ClientTlsFiles::new(tls.clone(), alpn)).transpose()?;
        let ears = Ears::new(Arc::clone(scope.network()));
        let connector = HttpConnector::with_files(Arc::new(ears.clone()), tls.map(Arc::new));
        let client = client(&connector, kind);
        Ok(Self { ears, connector, kind, pool: Mutex::new(Pool { generation: 0, client }) })
    }

    /// What servers said first.
    pub(crate) fn ears(&self) -> &Ears {
        &self.ears
    }

    /// Begins a request.
    pub(crate) fn begin(&self) -> Exchange<'_, B> {
        let pool = self.pool();
        Exchange { transport: self, generation: pool.generation, client: pool.client.clone(), over: false }
    }

    /// Lets go of every connection that is not in use.
    pub(crate) fn close(&self) {
        let generation = self.pool().generation;
        self.leave(generation);
    }

    fn leave(&self, generation: u64) {
        let mut pool = self.pool();
        if pool.generation == generation {
            *pool = Pool { generation: generation + 1, client: client(&self.connector, self.kind) };
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool<B>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client<B>(connector: &HttpConnector, kind: Kind) -> Client<HttpConnector, B>
where
    B: Body<Data = Bytes> + Send,
{
    let mut builder = Client::builder(TokioExecutor::new());
    if let Some(keepalive) = kind.keepalive {
        builder
            .http2_keep_alive_interval(keepalive.time.0)
            .http2_keep_alive_timeout(keepalive.timeout.0)
            .http2_keep_alive_while_idle(keepalive.permit_without_stream);
    }
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http2_only(matches!(kind.protocol, OtlpProtocol::Grpc))
        .build(connector.clone())
}

impl<B> Exchange<'_, B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// The client to send with.
    pub(crate) fn client(&self) -> &Client<HttpConnector, B> {
        &self.client
    }

    /// The answer, or a failure, has come.
    pub(crate) fn over(mut self) {
        self.over = true;
    }
}

impl<B> Drop for Exchange<'_, B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        if !self.over {
            self.transport.leave(self.generation);
        }
    }
}

/// A body that was read to its end or to a limit.
pub(crate) struct Bounded {
    /// What was read.
    pub(crate) bytes: Bytes,
    /// True where there was more.
    pub(crate) cut: bool,
}

/// Reads a body, but no more than about `limit` bytes.
pub(crate) async fn read_bounded<T: Body<Data = Bytes> + Unpin>(
    mut body: T,
    limit: usize,
) -> Result<Bounded, T::Error> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = limit.saturating_sub(read.len());
        if data.len() > room {
            read.extend_from_slice(&data[..room]);
            return Ok(Bounded { bytes: read.into(), cut: true });
        }
        read.extend_from_slice(&data);
    }
    Ok(Bounded { bytes: read.into(), cut: false })
}
