use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use minicol_plugin::{
    CancellationToken,
    net::{BoxIo, Listener},
};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::CONTENT_TYPE;

/// Makes the page's text.
pub(crate) type Page = Arc<dyn Fn() -> String + Send + Sync>;

/// Who may ask, by the Host header: a page on loopback answers only to loopback's names, so that no web page can read it by giving its own name
/// the address 127.0.0.1 (DNS rebinding).
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// By loopback's names, or by the name that the user bound.
    Loopback(String),
    /// By any name.
    Any,
}

/// Connections at once; a Prometheus server holds one.
const MAX_CONNECTIONS: usize = 16;
/// A head comes at once or not at all; an idle connection is closed after the same time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// After a failed accept (no file descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves the page until `stop`.
pub(crate) async fn serve(mut listener: Box<dyn Listener>, asked: Asked, page: Page, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (asked, page, stop) = (asked.clone(), Arc::clone(&page), stop.clone());
                connections.spawn(async move {
                    serve_connection(stream, asked, page, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                debug!(%error, "a connection to the metrics page could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn serve_connection(stream: BoxIo, asked: Asked, page: Page, stop: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &asked, &page);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        () = stop.cancelled() => {}
        result = connection => {
            if let Err(error) = result {
                debug!(%error, "a connection to the metrics page broke");
            }
        }
    }
}

fn answer<B>(request: &Request<B>, asked: &Asked, page: &Page) -> Response<Full<Bytes>> {
    if !asked.by(request) {
        return text(StatusCode::FORBIDDEN, "this page answers to the names of this machine's loopback only\n");
    }
    if request.uri().path() != "/metrics" {
        return text(StatusCode::NOT_FOUND, "the page is at /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut response = text(StatusCode::OK, page());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl Asked {
    /// For a page that the user bound to `host` and that listens on `local` (`address:port`).
    pub(crate) fn bound_to(host: &str, local: &str) -> Self {
        let (address, _) = local.rsplit_once(':').unwrap_or((local, ""));
        if is_loopback(address) || is_loopback(host) { Self::Loopback(bare(host)) } else { Self::Any }
    }

    fn by<B>(&self, request: &Request<B>) -> bool {
        let Self::Loopback(bound) = self else { return true };
        let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let named = [header.map(host_of), request.uri().host().map(bare)];
        header.is_some() && named.into_iter().flatten().all(|host| is_loopback(&host) || host == *bound)
    }
}

/// The host of a Host header, without its port.
fn host_of(header: &str) -> String {
    match header.parse::<http::uri::Authority>() {
        Ok(authority) => bare(authority.host()),
        Err(_) => String::new(),
    }
}

/// Lower case, without brackets and without the root's dot.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

fn is_loopback(host: &str) -> bool {
    let host = bare(host);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(asked: &Asked, method: &str, path: &str, host: Option<&str>) -> u16 {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        let page: Page = Arc::new(|| "up 1\n".to_owned());
        answer(&request.body(()).unwrap(), asked, &page).status().as_u16()
    }

    #[test]
    fn a_page_on_loopback_answers_to_loopbacks_names_only() {
        let asked = Asked::bound_to("localhost", "127.0.0.1:8888");
        for good in ["localhost:8888", "LOCALHOST", "127.0.0.1:8888", "[::1]:8888", "127.1.2.3"] {
            assert_eq!(status(&asked, "GET", "/metrics", Some(good)), 200, "{good}");
        }
        for bad in ["evil.example:8888", "127.0.0.1.evil.example", "10.0.0.1", "localhost@evil.example", "", "a b"] {
            assert_eq!(status(&asked, "GET", "/metrics", Some(bad)), 403, "{bad}");
        }
        assert_eq!(status(&asked, "GET", "/metrics", None), 403);
        assert_eq!(status(&asked, "GET", "http://evil.example/metrics", Some("localhost")), 403);
    }

    #[test]
    fn a_page_for_the_network_answers_to_any_name() {
        let asked = Asked::bound_to("0.0.0.0", "0.0.0.0:8888");
        assert_eq!(status(&asked, "GET", "/metrics", Some("collector.example:8888")), 200);
    }

    #[test]
    fn only_get_and_only_the_page() {
        let asked = Asked::Any;
        assert_eq!(status(&asked, "POST", "/metrics", None), 405);
        assert_eq!(status(&asked, "GET", "/", None), 404);
        assert_eq!(status(&asked, "HEAD", "/metrics?x=y", None), 200);
    }
}
