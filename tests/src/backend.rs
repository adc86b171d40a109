use std::{
    collections::VecDeque,
    convert::Infallible,
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    header,
};
use minicol_plugin::net::{HttpServer, HttpVersions, Listener, Network};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest,
        metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse},
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, any_value},
};
use prost::Message;
use tokio::{task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};
use tower::service_fn;

use crate::{Chance, Point, read_points};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// An OTLP backend over any network, gRPC and HTTP on one port: it takes, refuses, throttles, is late, falls silent and breaks off by its seed, and
/// keeps what it took. It can be killed and started again; what it took stays.
pub struct FaultyBackend {
    address: String,
    shared: Arc<Shared>,
    serving: Mutex<Option<AbortHandle>>,
}

struct Shared {
    seed: u64,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trouble: f64,
    forgiving: bool,
    script: VecDeque<Fate>,
    arrivals: Vec<Duration>,
    received: Vec<Received>,
}

/// One request that was taken, in whole or in part.
#[derive(Clone, Debug)]
pub struct Received {
    /// Since the simulation began.
    pub at: Duration,
    /// What is stored.
    pub points: Vec<Point>,
    /// Log records by their text, or spans by their name, where it brought those.
    pub items: Vec<String>,
    /// Points that were refused out of it.
    pub rejected: u64,
    /// The sender cannot know that it was taken.
    pub ambiguous: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It is stored, and its sender is told.
    Take,
    /// It is stored at once, the answer comes later.
    AnswerLate(Duration),
    /// All of it is stored but so many points.
    Partial(usize),
    /// An answer that nobody can read.
    Garble,
    /// It is stored, and the answer breaks off.
    TakeAndBreak,
    /// It is stored, and no answer comes.
    TakeAndHang,
    /// It is stored, and the answer comes byte by byte, for longer than anybody waits.
    Drip,
    /// An answer that breaks off.
    Break,
    /// No answer.
    Hang,
    /// This answer in gRPC, or this in HTTP, and after how many seconds to come back.
    Refuse(Code, u16, Option<u64>),
}

/// Refusals in gRPC and in HTTP, and after how many seconds to come back; those that ask to come back first.
const REFUSALS: [(Code, u16, Option<u64>); 9] = [
    (Code::Unavailable, 503, None),
    (Code::Unavailable, 503, Some(2)),
    (Code::ResourceExhausted, 429, Some(1)),
    (Code::ResourceExhausted, 429, Some(60)),
    (Code::Aborted, 502, None),
    (Code::DeadlineExceeded, 504, None),
    (Code::Internal, 500, None),
    (Code::InvalidArgument, 400, None),
    (Code::Unauthenticated, 401, None),
];

/// How many of them ask to come back.
const RETRYABLE: usize = 6;

impl FaultyBackend {
    /// Listens on `address`. Of all requests the share `trouble` goes wrong.
    pub async fn start(network: &dyn Network, address: &str, seed: u64, trouble: f64) -> Self {
        let state = Mutex::new(State { trouble, ..State::default() });
        let shared = Shared { seed, began: Instant::now(), state };
        let backend = Self { address: address.to_owned(), shared: Arc::new(shared), serving: Mutex::default() };
        backend.start_again(network).await;
        backend
    }

    /// Serves again after [`FaultyBackend::kill`].
    pub async fn start_again(&self, network: &dyn Network) {
        let listener = listen(network, &self.address).await;
        let shared = Arc::clone(&self.shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(shared.handle(request).await) }
        });
        let server = HttpServer::new(listener).speaks(HttpVersions::Both);
        let serving = tokio::spawn(server.serve(service, CancellationToken::new()));
        *lock(&self.serving) = Some(serving.abort_handle());
    }

    /// Gone, with every connection.
    pub fn kill(&self) {
        if let Some(serving) = lock(&self.serving).take() {
            serving.abort();
        }
    }

    /// From now on another share of all requests goes wrong.
    pub fn trouble(&self, share: f64) {
        lock(&self.shared.state).trouble = share;
    }

    /// From now on nothing is refused for good: who comes again loses nothing.
    pub fn forgive(&self) {
        lock(&self.shared.state).forgiving = true;
    }

    /// Every request that was taken, oldest first.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.state).received.clone()
    }

    /// What was taken since it was last asked; it keeps nothing of it.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.shared.state).received)
    }

    /// When each request so far came, whatever became of it, since the backend began.
    pub fn arrivals(&self) -> Vec<Duration> {
        lock(&self.shared.state).arrivals.clone()
    }

    /// This becomes of the next requests, one after the other.
    pub fn script(&self, fates: impl IntoIterator<Item = Fate>) {
        lock(&self.shared.state).script.extend(fates);
    }
}

impl Shared {
    fn fate(chance: &Chance, (trouble, forgiving): (f64, bool), points: usize) -> Fate {
        if !chance.share(trouble) {
            return Fate::Take;
        }
        match chance.below(12) {
            1 | 2 if forgiving => Fate::TakeAndBreak,
            0 => Fate::AnswerLate(chance.millis(1, 8_000)),
            1 => Fate::Partial(1 + chance.below(points)),
            2 => Fate::Garble,
            3 => Fate::TakeAndBreak,
            4 => Fate::TakeAndHang,
            5 => Fate::Break,
            6 => Fate::Hang,
            _ => {
                let (code, status, after) =
                    chance.pick(&REFUSALS[..if forgiving { RETRYABLE } else { REFUSALS.len() }]);
                Fate::Refuse(code, status, after)
            }
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return broken(false) };
        let grpc = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/grpc");
        let content = Content::read(parts.uri.path(), message(&parts, body.to_bytes(), grpc));
        let (nth, trouble, scripted) = {
            let mut state = lock(&self.state);
            state.arrivals.push(self.began.elapsed());
            (state.arrivals.len() as u64, (state.trouble, state.forgiving), state.script.pop_front())
        };
        let chance = Chance::of(self.seed, "request", nth);
        tokio::time::sleep(chance.millis(0, 5)).await;
        let fate = scripted.unwrap_or_else(|| Self::fate(&chance, trouble, content.len()));
        match fate {
            Fate::Take => {
                self.store(content, 0, false);
                taken(grpc, 0)
            }
            Fate::AnswerLate(after) => {
                self.store(content, 0, true);
                tokio::time::sleep(after).await;
                taken(grpc, 0)
            }
            Fate::Partial(rejected) => {
                self.store(content.without(rejected), rejected as u64, false);
                taken(grpc, rejected)
            }
            Fate::Garble => {
                self.store(content, 0, false);
                ok(grpc, vec![0xff; 7])
            }
            Fate::TakeAndBreak => {
                self.store(content, 0, true);
                broken(grpc)
            }
            Fate::TakeAndHang => {
                self.store(content, 0, true);
                std::future::pending().await
            }
            Fate::Drip => {
                self.store(content, 0, true);
                let drip = stream::unfold((), async |()| {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Some((Ok(Frame::data(Bytes::from_static(&[0]))), ()))
                });
                head(grpc, StreamBody::new(drip.take(100_000)).boxed_unsync())
            }
            Fate::Break => broken(grpc),
            Fate::Hang => std::future::pending().await,
            Fate::Refuse(code, status, after) => refused(grpc, (code, status, after)),
        }
    }

    fn store(&self, content: Content, rejected: u64, ambiguous: bool) {
        let at = self.began.elapsed();
        let Content { points, items } = content;
        lock(&self.state).received.push(Received { at, points, items, rejected, ambiguous });
    }
}

/// What a request brings.
#[derive(Default)]
struct Content {
    points: Vec<Point>,
    items: Vec<String>,
}

impl Content {
    /// By the path, in gRPC or in HTTP.
    fn read(path: &str, message: Bytes) -> Self {
        if path.contains("/v1/logs") || path.contains("logs.v1") {
            let request = ExportLogsServiceRequest::decode(message).expect("OTLP logs");
            let scopes = request.resource_logs.into_iter().flat_map(|one| one.scope_logs);
            let text = |body: Option<AnyValue>| match body.and_then(|body| body.value) {
                Some(any_value::Value::StringValue(text)) => text,
                other => format!("{other:?}"),
            };
            let items = scopes.flat_map(|scope| scope.log_records).map(|record| text(record.body)).collect();
            return Self { items, ..Self::default() };
        }
        if path.contains("/v1/traces") || path.contains("trace.v1") {
            let request = ExportTraceServiceRequest::decode(message).expect("OTLP traces");
            let scopes = request.resource_spans.into_iter().flat_map(|one| one.scope_spans);
            let items = scopes.flat_map(|scope| scope.spans).map(|span| span.name).collect();
            return Self { items, ..Self::default() };
        }
        Self { points: read_points(message), ..Self::default() }
    }

    fn len(&self) -> usize {
        self.points.len() + self.items.len()
    }

    fn without(mut self, first: usize) -> Self {
        self.points.drain(..first.min(self.points.len()));
        self.items.drain(..first.min(self.items.len()));
        self
    }
}

/// A port that was just let go may need a moment.
pub(crate) async fn listen(network: &dyn Network, address: &str) -> Box<dyn Listener> {
    for _ in 0..500 {
        match network.listen(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{address} stays taken");
}

/// The OTLP message of a request.
fn message(parts: &hyper::http::request::Parts, body: Bytes, grpc: bool) -> Bytes {
    let (packed, message) = if grpc {
        (body[0] == 1, body.slice(5..))
    } else {
        (parts.headers.contains_key(header::CONTENT_ENCODING), body)
    };
    if !packed {
        return message;
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&message[..]).read_to_end(&mut plain).expect("gzip");
    plain.into()
}

fn taken(grpc: bool, rejected: usize) -> Response<Body> {
    let partial = ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(rejected).unwrap(),
        error_message: "not these".to_owned(),
    };
    let partial_success = (rejected > 0).then_some(partial);
    ok(grpc, ExportMetricsServiceResponse { partial_success }.encode_to_vec())
}

fn ok(grpc: bool, message: Vec<u8>) -> Response<Body> {
    if !grpc {
        let mut response = Response::new(Full::from(message).map_err(Into::into).boxed_unsync());
        response.headers_mut().insert(header::CONTENT_TYPE, "application/x-protobuf".parse().unwrap());
        return response;
    }
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let status = [("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect();
    streamed(vec![Ok(Frame::data(framed.into())), Ok(Frame::trailers(status))])
}

fn refused(grpc: bool, (code, status, after): (Code, u16, Option<u64>)) -> Response<Body> {
    if grpc {
        let mut details = ErrorDetails::new();
        if let Some(seconds) = after {
            details.set_retry_info(Some(Duration::from_secs(seconds)));
        }
        let status = tonic::Status::with_error_details(code, "told to refuse", details);
        return status.into_http::<Full<Bytes>>().map(|body| body.map_err(Into::into).boxed_unsync());
    }
    let mut response = Response::new(Full::from("told to refuse").map_err(Into::into).boxed_unsync());
    *response.status_mut() = status.try_into().unwrap();
    if let Some(seconds) = after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The head of an answer, and then the end of the connection or the stream.
fn broken(grpc: bool) -> Response<Body> {
    let mut response = streamed(vec![Ok(Frame::data(Bytes::from_static(&[0]))), Err("broken".into())]);
    if !grpc {
        // In HTTP the head of a success would say all.
        *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// The head of a success, and a body.
fn head(grpc: bool, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = if grpc { "application/grpc" } else { "application/x-protobuf" };
    response.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
    response
}

fn streamed(frames: Vec<Result<Frame<Bytes>, BoxError>>) -> Response<Body> {
    let frames = stream::iter(frames).then(async |frame| {
        // What was said before is on its way before the next.
        tokio::time::sleep(Duration::from_millis(1)).await;
        frame
    });
    head(true, StreamBody::new(frames).boxed_unsync())
}

impl std::fmt::Debug for FaultyBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyBackend").field("address", &self.address).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
