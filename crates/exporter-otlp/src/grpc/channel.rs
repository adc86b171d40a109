use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::WithTrailers};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use minicol_plugin::{Clock, ExportError, Retry, net::HttpConnector};
use tonic::body::Body;
use tower::Service;

use crate::{MAX_ANSWER_BYTES, failure::Peer, outcome::http_retry};

/// How much of an answer that is too long is passed over to reach the status behind it: as much as gRPC's peers usually take of one message.
const MAX_PASSED_OVER: usize = 4 << 20;

/// What tonic sends its requests through. It adds the user's headers, and tells a failure in our words, for tonic keeps only what it knows.
#[derive(Clone)]
pub(super) struct Channel {
    client: Client<HttpConnector, Body>,
    headers: Arc<HeaderMap>,
    peer: Arc<Peer>,
    clock: Arc<dyn Clock>,
    verdict: Verdict,
}

/// What the server said of one call. tonic makes statuses of its own, too, where it cannot read an answer, and they look the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// Its status, as a number; unset where it gave none.
    status: Arc<OnceLock<i32>>,
    /// What its HTTP status means where it gave no other, and that status.
    http: Arc<OnceLock<(StatusCode, ExportError)>>,
}

type Answer = Response<WithTrailers<Full<Bytes>, Ready<Option<Result<HeaderMap, Infallible>>>>>;

impl Channel {
    /// For one call.
    pub(super) fn new(
        client: Client<HttpConnector, Body>,
        headers: Arc<HeaderMap>,
        peer: Arc<Peer>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { client, headers, peer, clock, verdict: Verdict::default() }
    }

    /// What the server will say of it.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }
}

impl Verdict {
    /// The status that the server gave.
    pub(super) fn given(&self) -> Option<i32> {
        self.status.get().copied()
    }

    /// What its HTTP status means, where that was no success and all that it gave.
    pub(super) fn http(&self) -> Option<&ExportError> {
        self.plain().map(|(_, error)| error)
    }

    /// What stands before the server takes no body of this size: gRPC has no such status, HTTP has.
    pub(super) fn is_too_large_a_body(&self) -> bool {
        self.plain().is_some_and(|(status, _)| *status == StatusCode::PAYLOAD_TOO_LARGE)
    }

    fn plain(&self) -> Option<&(StatusCode, ExportError)> {
        self.http.get().filter(|_| self.given().is_none())
    }

    /// Looks for a status in headers or trailers.
    fn look(&self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            let code = status.to_str().ok().and_then(|status| status.parse().ok());
            // What is no number is a status all the same: tonic takes it for UNKNOWN.
            let _ = self.status.set(code.unwrap_or(tonic::Code::Unknown as i32));
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
        let response = self.client.request(request);
        let (peer, clock, verdict) = (Arc::clone(&self.peer), Arc::clone(&self.clock), self.verdict.clone());
        Box::pin(async move {
            let response = response.await.map_err(|error| peer.failed(&error))?;
            // A gateway may call what it says in plain HTTP gRPC.
            if response.status() != StatusCode::OK || !speaks_grpc(&response) {
                let error = no_grpc(&peer, &response, &*clock);
                let _ = verdict.http.set((response.status(), error.clone()));
                if !speaks_grpc(&response) {
                    return Err(error);
                }
            }
            verdict.look(response.headers());
            let (head, body) = response.into_parts();
            let (message, trailers) = read(body).await.map_err(|error| peer.failed(&error))?;
            if let Some(trailers) = &trailers {
                verdict.look(trailers);
            }
            Ok(Response::from_parts(head, Full::new(message).with_trailers(ready(trailers.map(Ok)))))
        })
    }
}

/// What is kept of an answer, and the trailers. tonic would give up a message that is too long before it came to the status.
async fn read(mut body: Incoming) -> Result<(Bytes, Option<HeaderMap>), hyper::Error> {
    let (mut kept, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                // With room for the five bytes before a message. Cut, it is too long for tonic, or breaks off.
                let room = (MAX_ANSWER_BYTES + 5).saturating_sub(kept.len());
                kept.extend_from_slice(&data[..data.len().min(room)]);
                length = length.saturating_add(data.len());
                if length > MAX_PASSED_OVER {
                    break;
                }
            }
            Err(frame) => return Ok((kept.into(), frame.into_trailers().ok())),
        }
    }
    Ok((kept.into(), None))
}

fn speaks_grpc(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    response.headers().contains_key("grpc-status")
        || kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// An answer of something that is no gRPC server: a proxy before one that is down, or a web server. Classified by the mapping of gRPC's
/// `http-grpc-status-mapping.md`, where what is worth another attempt is `UNAVAILABLE`; that of `Retry-After` is HTTP's own.
fn no_grpc(peer: &Peer, response: &Response<Incoming>, clock: &dyn Clock) -> ExportError {
    let status = response.status();
    let retry = http_retry(status, response.headers(), clock.wall());
    let cure = if status == StatusCode::PAYLOAD_TOO_LARGE {
        "what stands before the server takes no body of this size: raise its limit (in nginx `client_max_body_size`)"
    } else if retry == Retry::Never {
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
