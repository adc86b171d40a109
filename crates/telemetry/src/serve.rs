use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use minicol_plugin::{
    CancellationToken,
    net::{HttpServer, Listener},
};
use opentelemetry::metrics::Meter;
use tower::service_fn;

use crate::CONTENT_TYPE;

/// Makes the page's text.
pub(crate) type Page = Arc<dyn Fn() -> String + Send + Sync>;

/// Connections at once; a Prometheus server holds one.
const MAX_CONNECTIONS: usize = 16;

/// Serves the page until `stop`.
pub(crate) async fn serve(listener: Box<dyn Listener>, page: Page, meter: &Meter, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let response = answer(&request, &page);
        async move { Ok::<_, Infallible>(response) }
    });
    let server = HttpServer::new(listener).max_connections(MAX_CONNECTIONS).page();
    server.counted(meter, [("page", "metrics".to_owned())]).serve(service, stop).await;
}

fn answer<B>(request: &Request<B>, page: &Page) -> Response<Full<Bytes>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_get_and_only_the_page() {
        let status = |method: &str, path: &str| {
            let page: Page = Arc::new(|| "up 1\n".to_owned());
            answer(&Request::builder().method(method).uri(path).body(()).unwrap(), &page).status().as_u16()
        };
        assert_eq!(status("GET", "/metrics"), 200);
        assert_eq!(status("HEAD", "/metrics?x=y"), 200);
        assert_eq!(status("POST", "/metrics"), 405);
        assert_eq!(status("GET", "/"), 404);
    }
}
