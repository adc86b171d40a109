use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt, service_fn};

use super::Listener;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// Serves HTTP on a [`Listener`] for a page or a simulator, with what every server of ours needs: a bound on connections, a bound on the
/// time a client may take for its request's head, and a check of `Host` and `Origin` against DNS rebinding.
pub struct HttpServer {
    listener: Box<dyn Listener>,
    guard: HostGuard,
    max_connections: usize,
}

/// Which `Host` and `Origin` a server answers to. One that is bound to a loopback address answers loopback names only: a web page that
/// made its own name resolve to 127.0.0.1 is told apart by the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostGuard {
    loopback_only: bool,
}

/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

impl HttpServer {
    /// A server on `listener`, for at most 256 connections at once.
    pub fn new(listener: Box<dyn Listener>) -> Self {
        let guard = HostGuard::bound_to(&listener.local_address());
        Self { listener, guard, max_connections: 256 }
    }

    /// Another bound on connections; what comes beyond it waits.
    #[must_use]
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// Where it listens.
    pub fn local_address(&self) -> String {
        self.listener.local_address()
    }

    /// Serves until `stop`; then no connection is taken, and those that are open end after the request they are in. Dropping the future
    /// closes them at once.
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
        // Without TLS nobody negotiates HTTP/2, and waiting for a client to show its version would have no time limit.
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = async {
                    let permit = Arc::clone(&permits).acquire_owned().await;
                    (permit, self.listener.accept().await)
                } => accepted,
            };
            let (Ok(permit), Ok((stream, _))) = accepted else {
                // Out of descriptors, or a client that went away: the next may fare better.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let service = TowerToHyperService::new(guarded(service.clone(), self.guard));
            let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
            connections.spawn(async move {
                // What breaks on one connection is that client's affair.
                let _ = connection.await;
                drop(permit);
            });
        }
        drop(self.listener);
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
    }
}

/// The service behind the guard.
fn guarded<S, B>(
    service: S,
    guard: HostGuard,
) -> impl Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible, Future: Send> + Clone + Send + 'static
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move {
            if guard.allows(request.uri(), request.headers()) {
                return Ok(service.oneshot(request).await?.map(|body| body.map_err(Into::into).boxed_unsync()));
            }
            let text = Full::from("this Host or Origin is not served here: use a loopback name\n");
            let mut refusal = Response::new(text.map_err(Into::into).boxed_unsync());
            *refusal.status_mut() = StatusCode::FORBIDDEN;
            Ok(refusal)
        }
    })
}

impl HostGuard {
    /// The guard of a server that is bound to `address` (`IP:PORT` or `NAME:PORT`).
    pub fn bound_to(address: &str) -> Self {
        Self { loopback_only: is_loopback(host_of(address)) }
    }

    /// Whether a request with these may be answered.
    pub fn allows(self, uri: &Uri, headers: &HeaderMap) -> bool {
        if !self.loopback_only {
            return true;
        }
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST).or_else(|| uri.host());
        let origin_is_ours = match text(header::ORIGIN) {
            None => true,
            Some(origin) => origin.split_once("://").is_some_and(|(_, authority)| is_loopback(host_of(authority))),
        };
        host.is_some_and(|host| is_loopback(host_of(host))) && origin_is_ours
    }
}

/// The host of `host:port`, `host`, `[v6]:port` or `[v6]`.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.contains(':') => host,
        _ => authority,
    }
}

/// Whether a host (a name or an address, without port) is this machine's own loopback.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(bound_to: &str, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        HostGuard::bound_to(bound_to).allows(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn a_loopback_server_answers_loopback_names_only() {
        for host in ["localhost", "localhost:8888", "LOCALHOST:1", "127.0.0.1:8888", "127.8.9.1", "[::1]:8888", "[::1]"]
        {
            assert!(allows("127.0.0.1:8888", host, None), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8888", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""]
        {
            assert!(!allows("127.0.0.1:8888", host, None), "{host}");
            assert!(!allows("[::1]:8888", host, None), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        assert!(allows("127.0.0.1:1", "localhost:1", Some("http://localhost:3000")));
        for origin in ["http://evil.example", "null", "https://localhost.evil.example"] {
            assert!(!allows("127.0.0.1:1", "localhost:1", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_server_bound_to_the_world_answers_every_name() {
        assert!(allows("0.0.0.0:8888", "buddy.example:8888", Some("http://buddy.example")));
    }

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
}
