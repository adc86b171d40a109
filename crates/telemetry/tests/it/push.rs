//! Pushing over OTLP: when, what, and once more at the end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use minicol_pdata::{Batch, MetricKind, Metrics, Number, PointValue, Timestamp};
use minicol_plugin::{ComponentError, Delivered, ExportError, Exporter, OtlpProtocol, async_trait, testing::Harness};
use minicol_telemetry::{LogsConfig, TelemetryError, logs};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Paper, always, start, telemetry};

/// Keeps what it is given, or fails, or hangs.
#[derive(Default)]
struct FarEnd {
    got: Mutex<Vec<Metrics>>,
    down: Mutex<bool>,
    hangs: Mutex<bool>,
    shut: Mutex<bool>,
}

#[async_trait]
impl Exporter for FarEnd {
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError> {
        if *self.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        if *self.down.lock().unwrap() {
            return Err(ExportError::retryable("connection_refused", "nobody listens"));
        }
        let Batch::Metrics(metrics) = batch else { panic!("{batch:?}") };
        self.got.lock().unwrap().push(metrics);
        Ok(Delivered::default())
    }

    async fn shutdown(&self) -> Result<(), ComponentError> {
        *self.shut.lock().unwrap() = true;
        Ok(())
    }
}

fn every(interval: &str) -> serde_json::Value {
    let otlp = json!({"protocol": "http/protobuf", "endpoint": "http://backend:4318"});
    json!({"metrics": {"readers": [{"periodic": {"interval": interval, "exporter": {"otlp": otlp}}}]}})
}

fn value(metrics: &Metrics, name: &str) -> Option<Number> {
    let metric = metrics.iter().find(|metric| metric.name() == name)?;
    match metric.points()[0].value {
        PointValue::Number(number) => Some(number),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn totals_are_pushed_every_interval_and_once_more_at_the_end() {
    let harness = Harness::default();
    let far = Arc::new(FarEnd::default());
    let mut telemetry = telemetry(&harness, every("10s"));
    let counter = telemetry.meter().u64_counter("c").build();
    let mut asked = Vec::new();
    let mut build = always(&far);
    telemetry
        .start(|push| {
            asked.push((push.protocol.into(), push.endpoint.clone()));
            build(push)
        })
        .await
        .unwrap();
    assert_eq!(asked, [(OtlpProtocol::HttpProtobuf, "http://backend:4318".to_owned())]);
    counter.add(3, &[]);
    tokio::time::sleep(Duration::from_secs(25)).await;
    counter.add(4, &[]);
    assert!(telemetry.shutdown(Instant::now() + Duration::from_secs(5)).await.is_empty());
    let got = far.got.lock().unwrap();
    let values: Vec<_> = got.iter().map(|metrics| value(metrics, "c")).collect();
    assert_eq!(values, [3, 3, 7].map(|n| Some(Number::Int(n))));
    assert!(*far.shut.lock().unwrap());

    let metric = got[1].iter().find(|metric| metric.name() == "c").unwrap();
    assert_eq!(metric.kind(), Some(MetricKind::COUNTER));
    assert_eq!(metric.resource().get("service.version").and_then(|version| version.as_str()), Some("9.9.9"));
    let point = &metric.points()[0];
    let begun = Timestamp::from_nanos(1_767_225_600_000_000_000);
    assert_eq!((point.start, point.time), (begun, begun + Duration::from_secs(20)));
}

#[tokio::test(start_paused = true)]
async fn a_far_end_that_is_down_is_told_once_and_its_return_too() {
    let harness = Harness::default();
    let far = Arc::new(FarEnd::default());
    let paper = Paper::default();
    let logs =
        logs::subscriber(&LogsConfig::default(), &logs::Surroundings::default(), harness.clock.clone(), paper.clone());
    let _guard = tracing::dispatcher::set_default(&logs.unwrap());
    let mut telemetry = telemetry(&harness, every("10s"));
    telemetry.start(always(&far)).await.unwrap();
    *far.down.lock().unwrap() = true;
    tokio::time::sleep(Duration::from_secs(55)).await;
    *far.down.lock().unwrap() = false;
    tokio::time::sleep(Duration::from_secs(50)).await;
    let text = paper.text();
    assert_eq!(text.matches("own metrics cannot be sent").count(), 1, "{text}");
    assert_eq!(text.matches("own metrics are sent again").count(), 1, "{text}");
    assert!(text.contains("error.type=connection_refused"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_far_end_that_hangs_does_not_outlast_the_deadline() {
    let far = Arc::new(FarEnd::default());
    let mut telemetry = telemetry(&Harness::default(), every("10s"));
    telemetry.start(always(&far)).await.unwrap();
    *far.hangs.lock().unwrap() = true;
    tokio::time::sleep(Duration::from_secs(11)).await;
    let began = Instant::now();
    let errors = telemetry.shutdown(began + Duration::from_secs(3)).await;
    assert_eq!((began.elapsed().as_secs(), errors.len()), (3, 1));
    assert!(errors[0].contains("http://backend:4318"), "{errors:?}");
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_cannot_be_built_keeps_it_from_starting() {
    let mut telemetry = telemetry(&Harness::default(), every("10s"));
    let error = start(&mut telemetry).await.unwrap_err();
    assert!(matches!(&error, TelemetryError::Push { endpoint, .. } if endpoint == "http://backend:4318"), "{error}");
}
