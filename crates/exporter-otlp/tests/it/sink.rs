//! A server that keeps what it is sent and answers as it is told, in gRPC or HTTP as it is asked.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use minicol_plugin::net::{BoxIo, Network};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The OTLP message: unframed, uncompressed.
    pub(crate) message: Bytes,
    /// Whether it was compressed on the way.
    pub(crate) gzip: bool,
    /// Whether it was compressed by zstd.
    pub(crate) zstd: bool,
}

/// How it answers one request.
pub(crate) enum Answer {
    /// With an OTLP message.
    Message(Vec<u8>),
    /// In gRPC with a compressed OTLP message, as a Go server answers a compressed request.
    Gzip(Vec<u8>),
    /// In gRPC with this status instead of a message.
    Status(tonic::Status),
    /// In HTTP, whatever was asked.
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// In gRPC with these bytes as body and, where true, the trailers of success.
    Raw(Vec<u8>, bool),
    /// Not at all.
    Silence,
    /// By breaking the connection in mid-answer.
    Break,
}

/// Which protocols it speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Both,
    Http1,
    Http2,
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    script: Mutex<VecDeque<Answer>>,
    connections: AtomicUsize,
    /// What is larger is refused; 0: nothing is.
    limit: AtomicUsize,
    refused: AtomicUsize,
}

/// The server. It ends, with its connections, when it is dropped.
pub(crate) struct Sink {
    /// `host:port`.
    pub(crate) address: String,
    state: Arc<State>,
    serving: AbortHandle,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

impl Sink {
    /// Listens in plain text.
    pub(crate) async fn start(network: &Arc<dyn Network>, address: &str) -> Self {
        Self::with(network, address, Speaks::Both, None).await
    }

    pub(crate) async fn with(
        network: &Arc<dyn Network>,
        address: &str,
        speaks: Speaks,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let mut listener = network.listen(address).await.expect("a free address");
        let address = listener.local_address();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(stream, Arc::clone(&shared), speaks, tls.clone()));
            }
        });
        Self { address, state, serving: serving.abort_handle() }
    }

    /// The answer to the next request for which none is told yet; success where there is none.
    pub(crate) fn answer(&self, answer: Answer) {
        self.state.script.lock().unwrap().push_back(answer);
    }

    /// What arrived since it was last asked.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.state.received.lock().unwrap())
    }

    /// From now on what is larger is refused: by 413 in HTTP; in gRPC in turn as grpc-go does, as tonic does, and by the 413 of a gateway that speaks HTTP only.
    pub(crate) fn take_at_most(&self, bytes: usize) {
        self.state.limit.store(bytes, Ordering::Relaxed);
    }

    /// How many requests were refused for their size.
    pub(crate) fn refused(&self) -> usize {
        self.state.refused.load(Ordering::Relaxed)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(stream: BoxIo, state: Arc<State>, speaks: Speaks, tls: Option<Arc<ServerConfig>>) {
    let stream: BoxIo = match tls {
        None => stream,
        Some(config) => match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    let service = service_fn(move |request| handle(request, Arc::clone(&state)));
    let builder = auto::Builder::new(TokioExecutor::new());
    let builder = match speaks {
        Speaks::Both => builder,
        Speaks::Http1 => builder.http1_only(),
        Speaks::Http2 => builder.http2_only(),
    };
    // What a client does to its connection is its own affair.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

async fn handle(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let is = |name, value: &str| parts.headers.get(name).is_some_and(|one| one == value);
    let grpc = is(header::CONTENT_TYPE, "application/grpc");
    let zstd = is(header::CONTENT_ENCODING, "zstd") || is(header::HeaderName::from_static("grpc-encoding"), "zstd");
    let (packed, message) = if grpc {
        let (frame, message) = (&body[..5], body.slice(5..));
        assert_eq!(u32::from_be_bytes(frame[1..].try_into()?) as usize, message.len());
        (frame[0] == 1, message)
    } else {
        (parts.headers.contains_key(header::CONTENT_ENCODING), body)
    };
    let gzip = packed && !zstd;
    let mut plain = Vec::new();
    let message = if packed && zstd {
        zstd::decode_all(&message[..])?.into()
    } else if gzip {
        flate2::read::GzDecoder::new(&message[..]).read_to_end(&mut plain)?;
        plain.into()
    } else {
        message
    };
    let limit = state.limit.load(Ordering::Relaxed);
    if limit != 0 && message.len() > limit {
        let before = state.refused.fetch_add(1, Ordering::Relaxed);
        if !grpc {
            return Ok(plain_http(413, &[], Vec::new()));
        }
        let length = message.len();
        // As grpc-go says it, and as tonic does.
        if before % 3 == 2 {
            return Ok(plain_http(413, &[("content-type", "text/html".to_owned())], b"<html>413</html>".to_vec()));
        }
        let status = if before.is_multiple_of(3) {
            let said = format!("grpc: received message larger than max ({length} vs. {limit})");
            tonic::Status::resource_exhausted(said)
        } else {
            let said =
                format!("Error, decoded message length too large: found {length} bytes, the limit is: {limit} bytes");
            tonic::Status::out_of_range(said)
        };
        return Ok(status.into_http::<Full<Bytes>>().map(|body| body.map_err(Into::into).boxed_unsync()));
    }
    let received = Received { path: parts.uri.path().to_owned(), headers: parts.headers, message, gzip, zstd };
    state.received.lock().unwrap().push(received);
    let answer = state.script.lock().unwrap().pop_front().unwrap_or(Answer::Message(Vec::new()));
    match answer {
        Answer::Message(message) if grpc => Ok(framed(0, &message)),
        Answer::Message(message) => {
            Ok(plain_http(200, &[("content-type", "application/x-protobuf".to_owned())], message))
        }
        Answer::Gzip(message) => Ok(compressed(&message)?),
        Answer::Raw(body, trailers) => Ok(streamed(vec![Ok(Frame::data(body.into()))], trailers)),
        Answer::Status(status) => {
            Ok(status.into_http::<Full<Bytes>>().map(|body| body.map_err(Into::into).boxed_unsync()))
        }
        Answer::Http(status, headers, body) => Ok(plain_http(status, &headers, body)),
        Answer::Silence => std::future::pending().await,
        Answer::Break => Ok(broken()),
    }
}

fn plain_http(status: u16, headers: &[(&'static str, String)], body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::from(body).map_err(Into::into).boxed_unsync());
    *response.status_mut() = status.try_into().expect("a status");
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    response
}

fn compressed(message: &[u8]) -> Result<Response<Body>, BoxError> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(message)?;
    let mut response = framed(1, &encoder.finish()?);
    response.headers_mut().insert("grpc-encoding", header::HeaderValue::from_static("gzip"));
    Ok(response)
}

fn framed(flag: u8, message: &[u8]) -> Response<Body> {
    let mut body = vec![flag];
    body.extend(u32::try_from(message.len()).expect("a short message").to_be_bytes());
    body.extend(message);
    streamed(vec![Ok(Frame::data(body.into()))], true)
}

fn broken() -> Response<Body> {
    let frames = futures::stream::iter([Some(Frame::data(Bytes::from_static(&[0]))), None]).then(async |frame| {
        if frame.is_none() {
            // Until the head of the answer is on its way.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        frame.ok_or_else(|| BoxError::from("broken"))
    });
    grpc_response(StreamBody::new(frames).boxed_unsync())
}

fn streamed(mut frames: Vec<Result<Frame<Bytes>, BoxError>>, trailers: bool) -> Response<Body> {
    if trailers {
        let status = [(header::HeaderName::from_static("grpc-status"), header::HeaderValue::from_static("0"))];
        frames.push(Ok(Frame::trailers(status.into_iter().collect())));
    }
    grpc_response(StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
}

fn grpc_response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/grpc"));
    response
}
