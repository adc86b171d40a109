use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Meter},
};
use tokio::{sync::Semaphore, time::timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt, service_fn};

use super::{
    BoxIo, HostGuard, Listener, ServerTlsFiles,
    begun::Begun,
    owed::{Owed, Watched},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Watched<UnsyncBoxBody<Bytes, BoxError>>;

/// Serves HTTP on a [`Listener`] for a page, a simulator or a receiver, with what every server of ours needs: a bound on connections, a
/// bound on the time a client may take to begin, and a check of `Host` and `Origin` against DNS rebinding.
pub struct HttpServer {
    listener: Box<dyn Listener>,
    guard: HostGuard,
    max_connections: usize,
    max_streams: u32,
    head_timeout: Duration,
    drain: Option<Duration>,
    speaks: HttpVersions,
    ping: (Duration, Duration),
    tls: Option<Arc<ServerTlsFiles>>,
    waited: Option<Waited>,
}

/// Counts connections that came when all places were taken.
struct Waited {
    counter: Counter<u64>,
    whose: Vec<KeyValue>,
}

/// Which versions of HTTP a server speaks. What the client speaks is seen by its first bytes, under TLS too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersions {
    /// HTTP/1 alone: pages.
    Http1,
    /// HTTP/2 alone: gRPC.
    Http2,
    /// Either.
    Both,
}

/// How long a client may take for the head of a request, for its first bytes, and for a TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may leave an answer lying that does not fit on its way, or that it gives no room for (HTTP/2): then its connection is closed.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a page's open connections may take to end.
const PAGE_DRAIN: Duration = Duration::from_secs(1);
const PING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// How many bytes of headers an HTTP/2 request may have.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// How long the head of an HTTP/1 request may be. It is what a connection reads at once, too, so that less would slow large bodies down.
const MAX_HEAD_BYTES: usize = 64 * 1024;

impl HttpServer {
    /// A server on `listener`: HTTP/1 in plain text, for at most 256 connections at once.
    pub fn new(listener: Box<dyn Listener>) -> Self {
        let guard = HostGuard::bound_to(&listener.local_address());
        let (head_timeout, speaks) = (HEAD_TIMEOUT, HttpVersions::Http1);
        let (max_connections, max_streams, ping) = (256, 100, PING);
        Self {
            listener,
            guard,
            max_connections,
            max_streams,
            head_timeout,
            drain: None,
            speaks,
            ping,
            tls: None,
            waited: None,
        }
    }

    /// Another bound on connections; what comes beyond it waits.
    #[must_use]
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// Another bound on the requests that one HTTP/2 connection makes at once than 100.
    #[must_use]
    pub fn max_streams(mut self, max: u32) -> Self {
        self.max_streams = max;
        self
    }

    /// How long an HTTP/1 connection may take for the head of its next request, idle time included; 10 s unless told.
    #[must_use]
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// Serves a page: nobody loses what he has not read of one, so once it is to stop open connections are given a second to end, instead of as long as they
    /// take.
    #[must_use]
    pub fn page(mut self) -> Self {
        self.drain = Some(PAGE_DRAIN);
        self
    }

    /// Speaks other versions of HTTP than 1.
    #[must_use]
    pub fn speaks(mut self, versions: HttpVersions) -> Self {
        self.speaks = versions;
        self
    }

    /// How long an HTTP/2 connection may be silent before it is asked whether its far end is still there, and how long that may take; 60 s and 20 s
    /// unless told.
    #[must_use]
    pub fn ping(mut self, after: Duration, timeout: Duration) -> Self {
        self.ping = (after, timeout);
        self
    }

    /// Speaks TLS.
    #[must_use]
    pub fn tls(mut self, files: Option<ServerTlsFiles>) -> Self {
        self.tls = files.map(Arc::new);
        self
    }

    /// Counts the connections that had to wait because of the bound, with these attributes.
    #[must_use]
    pub fn counted<const N: usize>(mut self, meter: &Meter, whose: [(&'static str, String); N]) -> Self {
        let whose = whose.map(|(key, value)| KeyValue::new(key, value)).to_vec();
        let counter = meter
            .u64_counter("minicol_http_server_waited_connections")
            .with_description("Number of connections that came when all places were taken, and had to wait for one")
            .with_unit("{connection}")
            .build();
        counter.add(0, &whose);
        self.waited = Some(Waited { counter, whose });
        self
    }

    /// Where it listens.
    pub fn local_address(&self) -> String {
        self.listener.local_address()
    }

    /// Serves until `stop`; then no connection is taken, and those that are open end after the request they are in, in time where that is bounded. Dropping
    /// the future closes them at once.
    pub async fn serve<S, B>(mut self, service: S, stop: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let graceful = GracefulShutdown::new();
        let mut connections = tokio::task::JoinSet::new();
        let opening = Arc::new(self.opening());
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, or a client that went away: the next may fare better.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if permits.available_permits() == 0 {
                // This one waits here, those after it in the system's backlog.
                self.waited.iter().for_each(Waited::count);
            }
            let place = Arc::clone(&permits).acquire_owned();
            let Some(Ok(permit)) = stop.run_until_cancelled(place).await else { break };
            let owed = Arc::<Owed>::default();
            let service = TowerToHyperService::new(guarded(service.clone(), self.guard, Arc::clone(&owed)));
            let (opening, watcher, stop) = (Arc::clone(&opening), graceful.watcher(), stop.clone());
            connections.spawn(async move {
                // What breaks on one connection is that client's affair; one that has not begun is not waited for.
                if let Some(Some((builder, stream))) = stop.run_until_cancelled(opening.open(stream)).await {
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        biased;
                        _ = watcher.watch(connection.into_owned()) => {}
                        () = owed.left_lying(STALL_TIMEOUT) => {}
                    }
                }
                drop(permit);
            });
        }
        drop(self.listener);
        let ended = async {
            graceful.shutdown().await;
            while connections.join_next().await.is_some() {}
        };
        match self.drain {
            // What is left is closed with its task.
            Some(within) => drop(timeout(within, ended).await),
            None => ended.await,
        }
    }

    fn opening(&self) -> Opening {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).max_buf_size(MAX_HEAD_BYTES).header_read_timeout(self.head_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_streams)
            .max_header_list_size(MAX_HEADER_BYTES)
            .adaptive_window(true)
            .keep_alive_interval(self.ping.0)
            .keep_alive_timeout(self.ping.1);
        Opening { builder, speaks: self.speaks, tls: self.tls.clone() }
    }
}

impl Waited {
    fn count(&self) {
        self.counter.add(1, &self.whose);
    }
}

type Builder = auto::Builder<TokioExecutor>;

/// How a connection becomes one that speaks HTTP.
struct Opening {
    builder: Builder,
    speaks: HttpVersions,
    tls: Option<Arc<ServerTlsFiles>>,
}

impl Opening {
    /// TLS where it is spoken, then the client's first bytes, each in time. hyper's own detection of the version would wait for ever.
    async fn open(&self, stream: BoxIo) -> Option<(Builder, Begun)> {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(STALL_TIMEOUT));
        let stream: BoxIo = Box::new(Box::pin(stream));
        let stream: BoxIo = match &self.tls {
            None => stream,
            Some(tls) => {
                let handshake = TlsAcceptor::from(tls.config()).accept(stream);
                Box::new(timeout(HEAD_TIMEOUT, handshake).await.ok()?.ok()?)
            }
        };
        let begun = timeout(HEAD_TIMEOUT, Begun::of(stream)).await.ok()?.ok()?;
        let http2 = match self.speaks {
            HttpVersions::Http1 => false,
            HttpVersions::Http2 => true,
            HttpVersions::Both => begun.is_http2(),
        };
        let builder = self.builder.clone();
        Some((if http2 { builder.http2_only() } else { builder.http1_only() }, begun))
    }
}

/// The service behind the guard.
fn guarded<S, B>(
    service: S,
    guard: HostGuard,
    owed: Arc<Owed>,
) -> impl Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible, Future: Send> + Clone + Send + 'static
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    service_fn(move |request: Request<Incoming>| {
        let (service, owed) = (service.clone(), Arc::clone(&owed));
        async move {
            if guard.allows(request.uri(), request.headers()) {
                let answer = service.oneshot(request).await?;
                return Ok(answer.map(|body| Watched::new(body.map_err(Into::into).boxed_unsync(), &owed)));
            }
            let text = Full::from("this Host or Origin is not served here: use a loopback name or an address\n");
            let mut refusal = Response::new(Watched::new(text.map_err(Into::into).boxed_unsync(), &owed));
            *refusal.status_mut() = StatusCode::FORBIDDEN;
            Ok(refusal)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_serves_refuses_and_ends() {
        use crate::net::{MemoryNetwork, Network};
        let network = MemoryNetwork::new();
        let server = HttpServer::new(network.listen("127.0.0.1:80").await.unwrap());
        let stop = CancellationToken::new();
        let hello = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
        });
        let serving = tokio::spawn(server.serve(hello, stop.clone()));
        let stream = network.connect("127.0.0.1", 80).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        for (host, status) in [("localhost", 200), ("evil.example", 403)] {
            let request = Request::get("/").header("host", host).body(Full::<Bytes>::default()).unwrap();
            assert_eq!(client.send_request(request).await.unwrap().status(), status, "{host}");
        }
        stop.cancel();
        serving.await.unwrap();
        assert!(network.connect("127.0.0.1", 80).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_beyond_the_bound_is_counted_when_it_comes_is_served_later_and_holds_up_no_stop() {
        use opentelemetry::metrics::MeterProvider;
        use opentelemetry_sdk::metrics::{
            InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
            data::{AggregatedMetrics, MetricData, SumDataPoint},
        };
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        use crate::net::{MemoryNetwork, Network};
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let counted = || {
            exporter.reset();
            provider.force_flush().unwrap();
            let all = exporter.get_finished_metrics().unwrap();
            let metric = all[0].scope_metrics().next().unwrap().metrics().next().unwrap();
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { panic!("{metric:?}") };
            sum.data_points().map(SumDataPoint::value).sum::<u64>()
        };
        let network = MemoryNetwork::new();
        let server = HttpServer::new(network.listen("127.0.0.1:80").await.unwrap()).max_connections(2);
        let server = server.counted(&provider.meter("test"), [("extension", "a page".to_owned())]);
        let stop = CancellationToken::new();
        let hello = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
        });
        let serving = tokio::spawn(server.serve(hello, stop.clone()));
        let connect = async || {
            let stream = network.connect("127.0.0.1", 80).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            stream
        };
        let (first, second) = (connect().await, connect().await);
        assert_eq!(counted(), 0, "there are places");
        let mut third = connect().await;
        third.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(counted(), 1, "it is counted while it waits");
        drop(first);
        let mut answer = [0; 15];
        third.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        let _fourth = connect().await;
        assert_eq!(counted(), 2);
        let began = tokio::time::Instant::now();
        stop.cancel();
        drop((third, second));
        serving.await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(1));
    }

    async fn serving(
        network: &crate::net::MemoryNetwork,
        speaks: HttpVersions,
    ) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        use crate::net::Network;
        let server = HttpServer::new(network.listen("127.0.0.1:80").await.unwrap()).speaks(speaks);
        let stop = CancellationToken::new();
        let version = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{:?}", request.version()))))
        });
        (tokio::spawn(server.serve(version, stop.clone())), stop)
    }

    #[tokio::test]
    async fn either_version_is_spoken_as_the_client_begins() {
        use crate::net::{MemoryNetwork, Network};
        let network = MemoryNetwork::new();
        let (serving, stop) = serving(&network, HttpVersions::Both).await;
        let io = |stream| TokioIo::new(stream);
        let request = || Request::get("http://localhost/").header("host", "localhost").body(Full::<Bytes>::default());
        let stream = network.connect("127.0.0.1", 80).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(io(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = client.send_request(request().unwrap()).await.unwrap().collect().await.unwrap();
        assert_eq!(answer.to_bytes(), "HTTP/1.1");
        let stream = network.connect("127.0.0.1", 80).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = client.send_request(request().unwrap()).await.unwrap().collect().await.unwrap();
        assert_eq!(answer.to_bytes(), "HTTP/2.0");
        stop.cancel();
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_sent_away_and_holds_up_no_stop() {
        use crate::net::{MemoryNetwork, Network};
        use tokio::io::AsyncWriteExt;
        for page in [false, true] {
            let network = MemoryNetwork::new();
            let mut server = HttpServer::new(network.listen("127.0.0.1:80").await.unwrap()).max_connections(1);
            if page {
                server = server.page();
            }
            let stop = CancellationToken::new();
            let large = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(vec![b'.'; 8 << 20])))
            });
            let serving = tokio::spawn(server.serve(large, stop.clone()));
            let mut deaf = network.connect("127.0.0.1", 80).await.unwrap();
            deaf.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            if page {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let began = tokio::time::Instant::now();
                stop.cancel();
                serving.await.unwrap();
                assert_eq!(began.elapsed().as_secs(), PAGE_DRAIN.as_secs());
                continue;
            }
            let began = tokio::time::Instant::now();
            let mut next = network.connect("127.0.0.1", 80).await.unwrap();
            next.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            tokio::io::AsyncReadExt::read_exact(&mut next, &mut [0; 15]).await.unwrap();
            assert_eq!(began.elapsed().as_secs(), STALL_TIMEOUT.as_secs(), "then there is a place");
        }
    }

    /// An HTTP/2 client that has room for so much of one answer, with the first answer of `service`.
    async fn http2_answer<B>(
        network: &crate::net::MemoryNetwork,
        service: impl Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
        room: u32,
    ) -> Response<Incoming>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use crate::net::Network;
        let server = HttpServer::new(network.listen("127.0.0.1:80").await.unwrap()).max_connections(1);
        tokio::spawn(server.speaks(HttpVersions::Http2).serve(service, CancellationToken::new()));
        let stream = network.connect("127.0.0.1", 80).await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(room);
        let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://localhost/").body(Full::<Bytes>::default()).unwrap();
        let answer = client.send_request(request).await.unwrap();
        tokio::spawn(async move {
            // It holds the connection, and answers pings.
            client.ready().await.unwrap();
            std::future::pending::<()>().await;
        });
        answer
    }

    /// How long it takes until there is a place for another client.
    async fn place_of(network: &crate::net::MemoryNetwork) -> Duration {
        use crate::net::Network;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let began = tokio::time::Instant::now();
        let mut next = network.connect("127.0.0.1", 80).await.unwrap();
        next.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        next.read_exact(&mut [0; 9]).await.unwrap();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_pings_and_takes_no_data_is_sent_away() {
        use crate::net::MemoryNetwork;
        use futures::StreamExt;
        for room in [0, 16 * 1024] {
            let network = MemoryNetwork::new();
            let large = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(vec![b'.'; 8 << 20])))
            });
            let _unread = http2_answer(&network, large, room).await;
            assert_eq!(place_of(&network).await.as_secs(), STALL_TIMEOUT.as_secs(), "with room for {room}");
        }
        // What comes later is to be taken, too.
        let network = MemoryNetwork::new();
        let slow = service_fn(|_: Request<Incoming>| async {
            let parts = futures::stream::iter(0..100).then(|_| async {
                tokio::time::sleep(Duration::from_secs(100)).await;
                Ok::<_, Infallible>(hyper::body::Frame::data(Bytes::from_static(&[b'.'; 10])))
            });
            Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(Box::pin(parts))))
        });
        let _unread = http2_answer(&network, slow, 25).await;
        let took = place_of(&network).await.as_secs();
        assert_eq!(took, 300 + STALL_TIMEOUT.as_secs(), "two parts fit, and half of the third");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_answer_slowly_gets_it_whole_and_who_waits_for_more_is_not_sent_away() {
        use crate::net::MemoryNetwork;
        use futures::StreamExt;
        let network = MemoryNetwork::new();
        let parts = |_: Request<Incoming>| async {
            let parts = futures::stream::iter(0..20).then(|_| async {
                tokio::time::sleep(Duration::from_secs(100)).await;
                Ok::<_, Infallible>(hyper::body::Frame::data(Bytes::from(vec![b'.'; 50_000])))
            });
            Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(Box::pin(parts))))
        };
        let mut answer = http2_answer(&network, service_fn(parts), 16 * 1024).await.into_body();
        let mut taken = 0;
        while let Some(frame) = answer.frame().await {
            taken += frame.expect("it goes on").into_data().unwrap_or_default().len();
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        assert_eq!(taken, 1_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn who_connects_and_says_nothing_is_sent_away_and_holds_up_no_stop() {
        use crate::net::{MemoryNetwork, Network};
        use tokio::io::AsyncReadExt;
        for speaks in [HttpVersions::Http1, HttpVersions::Http2, HttpVersions::Both] {
            let network = MemoryNetwork::new();
            let (serving, stop) = serving(&network, speaks).await;
            let mut stream = network.connect("127.0.0.1", 80).await.unwrap();
            let began = tokio::time::Instant::now();
            assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or_default(), 0, "{speaks:?}: it is closed");
            assert_eq!(began.elapsed().as_secs(), HEAD_TIMEOUT.as_secs());
            let _silent = network.connect("127.0.0.1", 80).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let began = tokio::time::Instant::now();
            stop.cancel();
            serving.await.unwrap();
            assert!(began.elapsed() < Duration::from_millis(1));
        }
    }
}
