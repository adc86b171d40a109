use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use minicol_plugin::{ExportError, Retry, net::HttpConnector};
use tonic::body::Body;
use tower::Service;

use crate::{failure::Peer, outcome::http_retry};

/// What tonic sends its requests through. It adds the user's headers, and tells a failure in our words, for tonic keeps only what it knows.
#[derive(Clone)]
pub(super) struct Channel {
    client: Client<HttpConnector, Body>,
    headers: Arc<HeaderMap>,
    peer: Arc<Peer>,
    verdict: Verdict,
}

/// The status that the server gave one call, as a number; unset where it gave none. tonic makes statuses of its own, too, where it cannot
/// read an answer, and they look the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Arc<OnceLock<i32>>);

type Answer = Response<UnsyncBoxBody<Bytes, ExportError>>;

impl Channel {
    /// For one call.
    pub(super) fn new(client: Client<HttpConnector, Body>, headers: Arc<HeaderMap>, peer: Arc<Peer>) -> Self {
        Self { client, headers, peer, verdict: Verdict::default() }
    }

    /// What the server will say of it.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }
}

impl Verdict {
    /// What the server has said.
    pub(super) fn given(&self) -> Option<i32> {
        self.0.get().copied()
    }

    /// Looks for a status in headers or trailers.
    fn look(&self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            let code = status.to_str().ok().and_then(|status| status.parse().ok());
            // What is no number is a status all the same: tonic takes it for UNKNOWN.
            let _ = self.0.set(code.unwrap_or(tonic::Code::Unknown as i32));
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Answer;
    type Error = ExportError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, ExportError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ExportError>> {
        // The client connects while it sends.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        for (name, value) in self.headers.as_ref() {
            request.headers_mut().insert(name, value.clone());
        }
        let (response, peer, verdict) = (self.client.request(request), Arc::clone(&self.peer), self.verdict.clone());
        Box::pin(async move {
            let response = response.await.map_err(|error| peer.failed(&error))?;
            if !speaks_grpc(&response) {
                return Err(no_grpc(&peer, response.status()));
            }
            verdict.look(response.headers());
            Ok(response.map(|body| {
                let body = body.map_frame(move |frame| {
                    if let Some(trailers) = frame.trailers_ref() {
                        verdict.look(trailers);
                    }
                    frame
                });
                body.map_err(move |error| peer.failed(&error)).boxed_unsync()
            }))
        })
    }
}

fn speaks_grpc(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    response.headers().contains_key("grpc-status")
        || kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// An answer of something that is no gRPC server: a proxy before one that is down, or a web server. Classified by the mapping of gRPC's
/// `http-grpc-status-mapping.md`, where what is worth another attempt is `UNAVAILABLE`.
fn no_grpc(peer: &Peer, status: StatusCode) -> ExportError {
    let retry = http_retry(status, &HeaderMap::new(), minicol_pdata::Timestamp::UNSET);
    let cure = if retry == Retry::Never {
        "is this a gRPC endpoint? OTLP over HTTP needs the exporter `otlphttp`"
    } else {
        "a proxy answers, but not the server behind it"
    };
    ExportError {
        retry,
        error_type: status.as_str().to_owned(),
        message: format!("{} answered HTTP {status} and no gRPC: {cure}", peer.name()),
    }
}
