//! A far end that does what it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use minicol_delivery::{Delivery, DeliveryConfig, DeliverySettings};
use minicol_pdata::{
    Arrival, Attributes, Batch, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint, Observation,
    Observations, Signal, Source, Timestamp,
};
use minicol_plugin::{
    ComponentError, ComponentKind, Delivered, ExportError, Exporter, Retry, async_trait, testing::Harness,
};
use tokio::{sync::Semaphore, time::Instant};

/// What one attempt does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Take,
    TakeBut {
        rejected: u64,
        message: &'static str,
    },
    /// It takes so many items of the batch; what is left comes in two parts.
    TakePart {
        items: usize,
        rejected: u64,
    },
    /// It says that it took a part, but leaves everything.
    TakeNothing,
    Warn(&'static str),
    Fail(Retry, &'static str),
    /// After a while it takes the batch.
    Slow(Duration),
    Hang,
    Panic,
}

/// Takes one step of its script per attempt, then the last one for ever.
pub(crate) struct Script {
    steps: Mutex<VecDeque<Step>>,
    last: Step,
    attempts: Mutex<Vec<Instant>>,
    taken: Mutex<u64>,
    sizes: Mutex<Vec<u64>>,
    /// Attempts wait for a permit where it is set.
    gate: Option<Arc<Semaphore>>,
    pub(crate) shutdown: Mutex<u32>,
    began: Instant,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Self::gated(steps, None)
    }

    pub(crate) fn gated(steps: impl IntoIterator<Item = Step>, gate: Option<Arc<Semaphore>>) -> Arc<Self> {
        let steps: VecDeque<Step> = steps.into_iter().collect();
        Arc::new(Self {
            last: steps.back().cloned().unwrap_or(Step::Take),
            steps: Mutex::new(steps),
            attempts: Mutex::default(),
            taken: Mutex::default(),
            sizes: Mutex::default(),
            gate,
            shutdown: Mutex::default(),
            began: Instant::now(),
        })
    }

    /// When each attempt began, in seconds since this was made.
    pub(crate) fn attempts(&self) -> Vec<f64> {
        self.attempts.lock().unwrap().iter().map(|at| (*at - self.began).as_secs_f64()).collect()
    }

    /// The items of each batch that arrived whole, in order.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        self.sizes.lock().unwrap().clone()
    }

    /// Items that arrived.
    pub(crate) fn taken(&self) -> u64 {
        *self.taken.lock().unwrap()
    }
}

#[async_trait]
impl Exporter for Script {
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError> {
        self.attempts.lock().unwrap().push(Instant::now());
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        let step = self.steps.lock().unwrap().pop_front().unwrap_or_else(|| self.last.clone());
        let items = batch.items() as u64;
        let (rejected, message) = match step {
            Step::Take => (0, None),
            Step::TakeBut { rejected, message } => (rejected, Some(message.to_owned())),
            Step::TakePart { items: wanted, rejected } if wanted < batch.items() => {
                let (_, rest) = split(batch, wanted);
                let half = rest.items() / 2;
                let rest = if half == 0 { vec![rest] } else { <[Batch; 2]>::from(split(rest, half)).into() };
                let rejected = rejected.min(wanted as u64);
                *self.taken.lock().unwrap() += wanted as u64 - rejected;
                return Ok(Delivered { rejected, message: None, rest });
            }
            Step::TakePart { rejected, .. } => (rejected, None),
            Step::TakeNothing => return Ok(Delivered { rest: vec![batch], ..Delivered::default() }),
            Step::Warn(message) => (0, Some(message.to_owned())),
            Step::Fail(retry, kind) => {
                return Err(ExportError {
                    retry,
                    error_type: kind.to_owned(),
                    message: format!("the far end says {kind}"),
                });
            }
            Step::Slow(time) => {
                tokio::time::sleep(time).await;
                (0, None)
            }
            Step::Hang => std::future::pending().await,
            Step::Panic => panic!("boom\u{1b}[31m"),
        };
        *self.taken.lock().unwrap() += items - rejected.min(items);
        self.sizes.lock().unwrap().push(items);
        Ok(Delivered { rejected, message, rest: Vec::new() })
    }

    async fn shutdown(&self) -> Result<(), ComponentError> {
        *self.shutdown.lock().unwrap() += 1;
        Ok(())
    }
}

/// A batch of `points` data points.
pub(crate) fn points(points: usize) -> Batch {
    let mut builder = MetricsBuilder::new();
    builder.resource(&Attributes::new(), "test", "1");
    let descriptor =
        MetricDescriptor { name: "m".into(), description: "".into(), unit: "1".into(), kind: MetricKind::Gauge };
    let mut metric = builder.metric(&descriptor);
    for number in 0..points {
        #[allow(clippy::cast_possible_wrap)] // small
        let point = NumberPoint {
            start: Timestamp::UNSET,
            time: Timestamp::from_nanos(1),
            value: Some(Number::Int(number as i64)),
        };
        metric.number(&Attributes::new(), &point);
    }
    Batch::Metrics(builder.build())
}

fn split(batch: Batch, keep: usize) -> (Batch, Batch) {
    let Batch::Metrics(metrics) = batch else { panic!("metrics") };
    let (first, second) = metrics.split_at(keep);
    (first.into(), second.into())
}

/// A batch of one observation.
pub(crate) fn observation() -> Batch {
    let source = Source { resource: Attributes::new(), receiver: "r".into(), interval: Duration::from_secs(30) };
    Batch::Observations(Observations::from(vec![Observation {
        source: Arc::new(source),
        tool: "t".into(),
        arguments: None,
        arrival: Arrival::default(),
        took: Duration::ZERO,
        document: Arc::new(serde_json::Value::Null),
        cut: None,
    }]))
}

/// From what a user writes.
pub(crate) fn config(written: serde_json::Value) -> DeliveryConfig {
    serde_json::from_value::<DeliverySettings>(written).unwrap().resolve(true)
}

/// Without spread, so that times can be told exactly.
pub(crate) fn steady() -> DeliveryConfig {
    config(serde_json::json!({"retry_on_failure": {"randomization_factor": 0.0}}))
}

pub(crate) fn start(harness: &Harness, script: &Arc<Script>, config: DeliveryConfig) -> Delivery {
    let scope = harness.scope(ComponentKind::Exporter, "otlp");
    Delivery::start(Arc::clone(script) as Arc<dyn Exporter>, config, &[Signal::Metrics, Signal::Observations], scope)
}

/// Lets every task run as far as it comes without time passing.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Far enough away.
pub(crate) fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}
