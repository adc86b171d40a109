//! Requests of OTLP over gRPC, each with a number of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point},
    resource::v1::Resource,
};
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

/// The resource attribute that carries a request's number.
pub(crate) const NUMBER: &str = "request.number";

/// Makes requests of one shape.
#[derive(Clone)]
pub(crate) struct Shape(Arc<ScopeMetrics>);

/// What a load has done so far.
#[derive(Debug, Default)]
pub(crate) struct Done {
    next: AtomicU64,
    pub(crate) accepted: AtomicU64,
    /// Answers that asked to come again.
    pub(crate) refused: AtomicU64,
    /// Of these, how many said when.
    pub(crate) hinted: AtomicU64,
    /// Answers that were neither.
    pub(crate) broken: AtomicU64,
}

/// Senders that send without a pause until they are told to stop. What is refused they send again.
pub(crate) struct Load {
    pub(crate) done: Arc<Done>,
    stop: Arc<AtomicBool>,
    senders: JoinSet<Vec<u64>>,
}

impl Shape {
    /// `points` points of one metric, with five attributes each.
    pub(crate) fn of(points: usize) -> Self {
        let point = |index: usize| NumberDataPoint {
            attributes: (0..5)
                .map(|key| attribute(&format!("attribute.{key}"), &format!("value {}", index + key)))
                .collect(),
            time_unix_nano: 1_767_225_600_000_000_000,
            value: Some(number_data_point::Value::AsInt(i64::try_from(index).unwrap())),
            ..NumberDataPoint::default()
        };
        let data = Data::Gauge(Gauge { data_points: (0..points).map(point).collect() });
        let metric = Metric { name: "load".to_owned(), data: Some(data), ..Metric::default() };
        Self(Arc::new(ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }))
    }

    pub(crate) fn request(&self, number: u64) -> ExportMetricsServiceRequest {
        let value = Some(AnyValue { value: Some(Value::IntValue(i64::try_from(number).unwrap())) });
        let attributes = vec![KeyValue { key: NUMBER.to_owned(), value, ..KeyValue::default() }];
        let resource = Some(Resource { attributes, ..Resource::default() });
        let scope_metrics = vec![(*self.0).clone()];
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
        }
    }
}

impl Load {
    /// So many at once to `address`.
    pub(crate) async fn start(address: &str, senders: usize, shape: &Shape) -> Self {
        let (done, stop) = (Arc::new(Done::default()), Arc::new(AtomicBool::new(false)));
        let mut set = JoinSet::new();
        for _ in 0..senders {
            let client = client(address).await;
            set.spawn(send(client, shape.clone(), Arc::clone(&done), Arc::clone(&stop)));
        }
        Self { done, stop, senders: set }
    }

    /// The numbers of all requests that were taken.
    pub(crate) async fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.join_all().await.concat()
    }
}

/// A connection to `address`, after waiting for it.
pub(crate) async fn client(address: &str) -> MetricsServiceClient<Channel> {
    loop {
        if let Ok(client) = MetricsServiceClient::connect(format!("http://{address}")).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn send(
    mut client: MetricsServiceClient<Channel>,
    shape: Shape,
    done: Arc<Done>,
    stop: Arc<AtomicBool>,
) -> Vec<u64> {
    let mut taken = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = done.next.fetch_add(1, Ordering::Relaxed);
        // The same again until it is taken.
        while !stop.load(Ordering::Relaxed) {
            match client.export(shape.request(number)).await {
                Ok(_) => {
                    done.accepted.fetch_add(1, Ordering::Relaxed);
                    taken.push(number);
                    break;
                }
                Err(status) => wait(&status, &done).await,
            }
        }
    }
    taken
}

/// As long as the answer asks for.
async fn wait(status: &Status, done: &Done) {
    let counter =
        if matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) { &done.refused } else { &done.broken };
    counter.fetch_add(1, Ordering::Relaxed);
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    if asked.is_some() {
        done.hinted.fetch_add(1, Ordering::Relaxed);
    }
    tokio::time::sleep(asked.unwrap_or(Duration::from_millis(200))).await;
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
