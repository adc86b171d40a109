use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use minicol_pdata::{
    Attributes, MetricDescriptor, MetricKind, Metrics, MetricsBuilder, Number, NumberPoint, Timestamp,
};
use minicol_plugin::{Random, SeededRandom};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::Chance;

/// An OTLP/HTTP backend that knows which batches arrived, and how often.
#[derive(Debug)]
pub struct Backend {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    shared: Arc<Shared>,
    /// Its own: it goes on while a test waits.
    runtime: Option<Runtime>,
}

/// How a backend treats what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything and reads it.
    Takes,
    /// It answers a quarter with 503 or no answer at all; then it has not taken it.
    Moody,
    /// It answers everything with 503.
    Refuses,
    /// It takes everything, and only counts.
    Counts,
}

#[derive(Debug)]
struct Shared {
    mood: Mutex<Mood>,
    random: SeededRandom,
    arrived: Mutex<HashMap<u64, u64>>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// The metric whose value is a batch's number.
const NUMBER: &str = "durability.batch";

/// An export request of so many points that carries its number.
pub fn batch(number: u64, points: usize) -> Bytes {
    let mut builder = MetricsBuilder::new();
    builder.resource(
        &Attributes::new().with("service.name", "durability").with("service.instance.id", "1"),
        "minicol-tests",
        "1",
    );
    let point = |value: u64| NumberPoint {
        start: Timestamp::UNSET,
        time: Timestamp::from_nanos(1_767_225_600_000_000_000 + value),
        value: Some(Number::Int(i64::try_from(value).unwrap_or(i64::MAX))),
    };
    builder.metric(&gauge(NUMBER)).number(&Attributes::new(), &point(number));
    let load = gauge("durability.load");
    let mut metric = builder.metric(&load);
    for at in 1..points as u64 {
        // As points of real applications: a few attributes each.
        let attributes = Attributes::new()
            .with("http.route", format!("/api/v1/things/{at}"))
            .with("http.request.method", "GET")
            .with("server.address", "localhost");
        metric.number(&attributes, &point(number.wrapping_mul(31).wrapping_add(at) % 1_000_000));
    }
    builder.build().encode()
}

fn gauge(name: &str) -> MetricDescriptor {
    MetricDescriptor { name: name.into(), description: "".into(), unit: "1".into(), kind: MetricKind::Gauge }
}

/// Export requests of so many points that have next to nothing in common, within one or among each other: random values, times and attributes. What
/// packs them finds little to do.
pub fn unlike(requests: u64, points: usize, seed: u64) -> Vec<Bytes> {
    (0..requests).map(|number| unlike_one(&Chance::of(seed, "request", number), points)).collect()
}

/// Export requests of so many points as applications send them: random values, taken at one time, with a few attributes each, whose names and most of
/// whose values come again.
pub fn typical(requests: u64, points: usize, seed: u64) -> Vec<Bytes> {
    (0..requests).map(|number| typical_one(&Chance::of(seed, "request", number), points)).collect()
}

fn typical_one(chance: &Chance, points: usize) -> Bytes {
    let mut builder = MetricsBuilder::new();
    let instance = format!("{:016x}", chance.next());
    builder.resource(
        &Attributes::new().with("service.name", "durability").with("service.instance.id", instance),
        "minicol-tests",
        "1",
    );
    let load = gauge("durability.load");
    let mut metric = builder.metric(&load);
    let time = Timestamp::from_nanos(1_767_225_600_000_000_000 + chance.next() % 1_000_000_000_000);
    for at in 0..points {
        let attributes = Attributes::new()
            .with("http.route", format!("/api/v1/things/{at}"))
            .with("http.request.method", chance.pick(&["GET", "GET", "PUT", "POST", "DELETE"]))
            .with("server.address", "localhost");
        let value = Some(Number::Double(chance.between(0.0, 1e6)));
        metric.number(&attributes, &NumberPoint { start: Timestamp::UNSET, time, value });
    }
    builder.build().encode()
}

fn unlike_one(chance: &Chance, points: usize) -> Bytes {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let word = |length: usize| -> String { (0..length).map(|_| char::from(chance.pick(LETTERS))).collect() };
    let mut builder = MetricsBuilder::new();
    builder.resource(&Attributes::new().with("service.instance.id", word(22)), "minicol-tests", "1");
    let load = gauge("durability.load");
    let mut metric = builder.metric(&load);
    for _ in 0..points {
        let attributes = Attributes::new().with("url.path", word(16)).with("session.id", word(48));
        let point = NumberPoint {
            start: Timestamp::UNSET,
            time: Timestamp::from_nanos(1_767_225_600_000_000_000 + chance.next() % 1_000_000_000_000),
            value: Some(Number::Double(chance.between(-1e9, 1e9))),
        };
        metric.number(&attributes, &point);
    }
    builder.build().encode()
}

impl Backend {
    /// Serves on a free port.
    pub async fn start(mood: Mood, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            mood: Mutex::new(mood),
            random: SeededRandom::from_seed(seed),
            arrived: Mutex::default(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port").into_std().expect("a socket");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let router = Router::new()
            .route("/v1/metrics", post(take))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { url, shared, runtime: Some(runtime) }
    }

    /// From now on it does so.
    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// How often each batch arrived.
    pub fn arrived(&self) -> HashMap<u64, u64> {
        self.shared.arrived.lock().unwrap().clone()
    }

    /// Requests that it took, and their bytes.
    pub fn taken(&self) -> (u64, u64) {
        (self.shared.requests.load(Relaxed), self.shared.bytes.load(Relaxed))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn take(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    let mood = *shared.mood.lock().unwrap();
    match mood {
        Mood::Refuses => return StatusCode::SERVICE_UNAVAILABLE,
        Mood::Moody => match shared.random.next_u64() % 16 {
            0..3 => return StatusCode::SERVICE_UNAVAILABLE,
            3 => std::future::pending().await,
            _ => {}
        },
        Mood::Takes | Mood::Counts => {}
    }
    if mood != Mood::Counts {
        let Ok(metrics) = Metrics::decode(body.clone()) else { return StatusCode::BAD_REQUEST };
        for metric in metrics.iter().filter(|metric| metric.name() == NUMBER) {
            for point in metric.points() {
                if let minicol_pdata::PointValue::Number(Number::Int(number)) = point.value {
                    *shared.arrived.lock().unwrap().entry(number.unsigned_abs()).or_default() += 1;
                }
            }
        }
    }
    shared.requests.fetch_add(1, Relaxed);
    shared.bytes.fetch_add(body.len() as u64, Relaxed);
    StatusCode::OK
}

/// Sends export requests to a relay.
#[derive(Clone, Debug)]
pub struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    address: String,
}

impl Sender {
    /// To the receiver `otlp` on this port.
    pub fn new(port: u16) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), address: format!("127.0.0.1:{port}") }
    }

    /// True where the relay said that it took the request.
    pub async fn send(&self, body: Bytes) -> bool {
        self.post("metrics", "application/x-protobuf", body).await
    }

    /// The same with OTLP/JSON of another signal: `logs`, `traces`.
    pub async fn send_json(&self, signal: &str, body: &serde_json::Value) -> bool {
        self.post(signal, "application/json", body.to_string().into()).await
    }

    async fn post(&self, signal: &str, content: &str, body: Bytes) -> bool {
        let url = format!("http://{}/v1/{signal}", self.address);
        let request = hyper::Request::post(url).header("content-type", content);
        let Ok(request) = request.body(Full::new(body)) else { return false };
        let Ok(response) = self.client.request(request).await else { return false };
        let taken = response.status().is_success();
        response.into_body().collect().await.is_ok() && taken
    }
}
