use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response as HttpResponse},
    routing::post,
};
use minicol_pdata::{MetricKind, Metrics, Number, PointValue};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    metrics_service_server::{MetricsService, MetricsServiceServer},
};
use prost::Message;
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::server::TcpIncoming};

/// One data point as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The metric's name.
    pub name: String,
    /// The metric's unit.
    pub unit: String,
    /// `counter`, `gauge`, ...
    pub kind: &'static str,
    /// What tells its series from others.
    pub attributes: BTreeMap<String, String>,
    /// Where it comes from.
    pub resource: BTreeMap<String, String>,
    /// Since when it counts, in nanoseconds; 0 where unset.
    pub start: u64,
    /// When it was so, in nanoseconds.
    pub time: u64,
    /// What it says.
    pub value: Value,
}

/// The value of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The series ended.
    NoRecordedValue,
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Count, sum, counts per bucket.
    Histogram(u64, Option<f64>, Vec<u64>),
    /// Another kind of point.
    Other,
}

/// An OTLP backend on loopback ports: gRPC and HTTP.
#[derive(Debug)]
pub struct OtlpSink {
    /// `127.0.0.1:PORT` of gRPC.
    pub grpc: SocketAddr,
    /// `127.0.0.1:PORT` of HTTP.
    pub http: SocketAddr,
    received: Received,
    headers: Headers,
    /// Its own: when it goes, everything goes, open connections too, as when a process is killed.
    runtime: Option<Runtime>,
}

type Received = Arc<Mutex<Vec<Point>>>;
/// What requests carried; every header and value once.
type Headers = Arc<Mutex<BTreeSet<(String, String)>>>;

impl OtlpSink {
    /// Serves on free ports.
    pub async fn start() -> Self {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        Self::start_on(any, any, Received::default()).await
    }

    /// A sink on the ports of one that was stopped, with what that one had received.
    pub async fn restarted(of: (SocketAddr, SocketAddr, Vec<Point>)) -> Self {
        Self::start_on(of.0, of.1, Arc::new(Mutex::new(of.2))).await
    }

    async fn start_on(grpc: SocketAddr, http: SocketAddr, received: Received) -> Self {
        let (grpc, http) = (bind(grpc).await, bind(http).await);
        let addresses = (grpc.local_addr().expect("an address"), http.local_addr().expect("an address"));
        let headers = Headers::default();
        let service = MetricsServiceServer::new(Service(Arc::clone(&received), Arc::clone(&headers)))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(64 << 20);
        let router = Router::new()
            .route("/v1/metrics", post(take))
            .route("/v1/traces", post(pass))
            .with_state((Arc::clone(&received), Arc::clone(&headers)));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (grpc, http) = (grpc.into_std().expect("a socket"), http.into_std().expect("a socket"));
        runtime.spawn(async move {
            let grpc = TcpListener::from_std(grpc).expect("a socket");
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(TcpIncoming::from(grpc)).await.expect("it serves");
        });
        runtime.spawn(async move {
            let http = TcpListener::from_std(http).expect("a socket");
            axum::serve(http, router).await.expect("it serves");
        });
        let runtime = Some(runtime);
        Self { grpc: addresses.0, http: addresses.1, received, headers, runtime }
    }

    /// Every point so far, in the order of arrival.
    pub fn points(&self) -> Vec<Point> {
        self.received.lock().unwrap().clone()
    }

    /// The points of one metric so far.
    pub fn points_of(&self, name: &str) -> Vec<Point> {
        self.points().into_iter().filter(|point| point.name == name).collect()
    }

    /// The headers of all requests so far, each with its values.
    pub fn headers(&self) -> Vec<(String, String)> {
        self.headers.lock().unwrap().iter().cloned().collect()
    }

    /// Kills it, open connections included; give what it returns to [`OtlpSink::restarted`].
    pub fn kill(self) -> (SocketAddr, SocketAddr, Vec<Point>) {
        let received = Arc::clone(&self.received);
        let addresses = (self.grpc, self.http);
        drop(self);
        let points = received.lock().unwrap().clone();
        (addresses.0, addresses.1, points)
    }
}

impl Drop for OtlpSink {
    fn drop(&mut self) {
        // It does not wait: a test drops it on a runtime of its own.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The data points of an encoded export request.
pub fn read_points(request: Bytes) -> Vec<Point> {
    let metrics = Metrics::decode(request).expect("OTLP metrics");
    let text = |attributes: &minicol_pdata::Attributes| {
        attributes.iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect::<BTreeMap<_, _>>()
    };
    let mut points = Vec::new();
    for metric in metrics.iter() {
        for point in metric.points() {
            let value = match &point.value {
                _ if point.no_recorded_value => Value::NoRecordedValue,
                PointValue::Number(Number::Int(value)) => Value::Int(*value),
                PointValue::Number(Number::Double(value)) => Value::Double(*value),
                PointValue::Histogram { count, sum, buckets, .. } => Value::Histogram(*count, *sum, buckets.to_vec()),
                _ => Value::Other,
            };
            points.push(Point {
                name: metric.name().to_owned(),
                unit: metric.unit().to_owned(),
                kind: metric.kind().map_or("none", MetricKind::name),
                attributes: text(&point.attributes()),
                resource: text(&metric.resource()),
                start: point.start.as_nanos(),
                time: point.time.as_nanos(),
                value,
            });
        }
    }
    points
}

fn keep(seen: &HeaderMap, headers: &Headers) {
    let texts = seen.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    headers.lock().unwrap().extend(texts);
}

struct Service(Received, Headers);

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        keep(&request.metadata().clone().into_headers(), &self.1);
        let points = read_points(request.into_inner().encode_to_vec().into());
        self.0.lock().unwrap().extend(points);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn take(State((received, kept)): State<(Received, Headers)>, headers: HeaderMap, body: Bytes) -> HttpResponse {
    keep(&headers, &kept);
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let body = if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).expect("gzip");
        plain.into()
    } else {
        body
    };
    received.lock().unwrap().extend(read_points(body));
    let reply = ExportMetricsServiceResponse::default().encode_to_vec();
    ([(header::CONTENT_TYPE, "application/x-protobuf")], reply).into_response()
}

/// Traces are taken and forgotten; what they came with is not.
async fn pass(State((_, kept)): State<(Received, Headers)>, headers: HeaderMap) -> HttpResponse {
    keep(&headers, &kept);
    ([(header::CONTENT_TYPE, "application/x-protobuf")], Vec::new()).into_response()
}

async fn bind(address: SocketAddr) -> TcpListener {
    // A port that was just let go may need a moment.
    for _ in 0..200 {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("{address} stays taken");
}
