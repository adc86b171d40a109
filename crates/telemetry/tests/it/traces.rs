//! Own traces: when spans are sent, what becomes of those that cannot be, and once more at the end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use minicol_pdata::{Batch, Number, PointValue};
use minicol_plugin::{
    ComponentError, Delivered, ExportError, Exporter, async_trait,
    testing::Harness,
    trace::{SpanIds, current_trace_context},
};
use minicol_telemetry::{LogsConfig, Telemetry, logs};
use opentelemetry::{KeyValue, trace::SpanKind};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Paper, always, telemetry};

/// Keeps what it is given, or answers as it is told to.
#[derive(Default)]
struct Backend {
    got: Mutex<Vec<Value>>,
    fails: Mutex<Option<ExportError>>,
    hangs: Mutex<bool>,
}

#[async_trait]
impl Exporter for Backend {
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError> {
        if *self.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        let Batch::Traces(traces) = batch else { panic!("{batch:?}") };
        self.got.lock().unwrap().push(serde_json::from_slice(&traces.to_json()).unwrap());
        Ok(Delivered::default())
    }

    async fn shutdown(&self) -> Result<(), ComponentError> {
        Ok(())
    }
}

impl Backend {
    /// The spans of each batch.
    fn batches(&self) -> Vec<Vec<Value>> {
        let spans = |batch: &Value| batch["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
        self.got.lock().unwrap().iter().map(spans).collect()
    }

    fn names(&self) -> Vec<String> {
        self.batches().iter().flatten().map(|span| span["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn traced(harness: &Harness, batch: &Value, sampler: Value) -> Telemetry {
    let mut all = json!({"exporter": {"otlp": {"protocol": "grpc", "endpoint": "http://backend:4317"}}});
    all.as_object_mut().unwrap().extend(batch.as_object().unwrap().clone());
    let mut traces = json!({"processors": [{"batch": all}]});
    if !sampler.is_null() {
        traces["sampler"] = sampler;
    }
    telemetry(harness, json!({"resource": {"service.instance.id": "x"}, "traces": traces}))
}

fn say(telemetry: &Telemetry, name: &'static str) {
    drop(telemetry.tracer().span(SpanKind::Internal, || name.into()));
}

fn lost(telemetry: &Telemetry, reason: &str) -> u64 {
    let metrics = telemetry.snapshot();
    let Some(metric) = metrics.iter().find(|metric| metric.name() == "minicol_telemetry_lost_spans") else { return 0 };
    let of = |point: &minicol_pdata::PointView<'_>| {
        point.attributes().get("reason").and_then(|r| r.as_str().map(|r| r == reason)) == Some(true)
    };
    let points = metric.points();
    points.iter().find(|point| of(point)).map_or(0, |point| match point.value {
        PointValue::Number(Number::Int(count)) => count.try_into().unwrap(),
        _ => panic!("{point:?}"),
    })
}

#[tokio::test(start_paused = true)]
async fn a_span_arrives_with_parent_times_attributes_and_resource() {
    let harness = Harness::default();
    let far = Arc::new(Backend::default());
    let mut telemetry = traced(&harness, &json!({}), Value::Null);
    telemetry.start(always(&far)).await.unwrap();
    let spans = telemetry.tracer().clone();
    let parent = spans.span(SpanKind::Internal, || "poll".into());
    let seen = parent
        .around(async {
            let child = spans.span(SpanKind::Client, || "call".into());
            child.set(|| [KeyValue::new("tool", "x")]);
            child.fail("timeout", || "no answer".to_owned());
            child
                .around(async {
                    tokio::time::sleep(Duration::from_millis(1500)).await;
                    harness.clock.step(-3600.0);
                    (SpanIds::current(), current_trace_context())
                })
                .await
        })
        .await;
    drop(parent);
    assert_eq!((SpanIds::current(), current_trace_context()), (None, None));
    tokio::time::sleep(Duration::from_secs(6)).await;

    let batches = far.batches();
    let [child, parent] = &batches[0][..] else { panic!("{batches:?}") };
    assert_eq!(
        (&child["name"], &child["kind"], &parent["name"], &parent["kind"]),
        (&json!("call"), &json!(3), &json!("poll"), &json!(1))
    );
    assert_eq!((&child["traceId"], &child["parentSpanId"]), (&parent["traceId"], &parent["spanId"]));
    assert_eq!(parent["parentSpanId"].as_str().unwrap_or_default(), "");
    let ids = seen.0.unwrap();
    assert_eq!((&child["traceId"], &child["spanId"]), (&json!(ids.trace.to_string()), &json!(ids.span.to_string())));
    assert_eq!(seen.1.unwrap(), (format!("00-{}-{}-01", ids.trace, ids.span), String::new()));
    assert_eq!(child["status"], json!({"message": "no answer", "code": 2}));
    let attributes = child["attributes"].as_array().unwrap();
    assert_eq!(attributes[0], json!({"key": "tool", "value": {"stringValue": "x"}}));
    assert_eq!(attributes[1], json!({"key": "error.type", "value": {"stringValue": "timeout"}}));
    let nanos = |key: &str| child[key].as_str().unwrap().parse::<u64>().unwrap();
    let (start, end) = (nanos("startTimeUnixNano"), nanos("endTimeUnixNano"));
    assert_eq!((start, end - start), (1_767_225_600_000_000_000, 1_500_000_000), "a stepped clock changes no duration");
    let resource = &far.got.lock().unwrap()[0]["resourceSpans"][0]["resource"]["attributes"];
    assert!(
        resource.to_string().contains("9.9.9") && resource.to_string().contains("service.instance.id"),
        "{resource}"
    );
}

#[tokio::test(start_paused = true)]
async fn spans_are_sent_when_there_are_enough_or_after_the_delay_or_at_the_end() {
    let far = Arc::new(Backend::default());
    let mut telemetry =
        traced(&Harness::default(), &json!({"max_export_batch_size": 2, "schedule_delay": "10s"}), Value::Null);
    say(&telemetry, "before the start");
    telemetry.start(always(&far)).await.unwrap();
    say(&telemetry, "enough");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(far.names(), ["before the start", "enough"]);
    say(&telemetry, "alone");
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(far.batches().len(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(far.batches().len(), 2);
    for name in ["a", "b", "c"] {
        say(&telemetry, name);
    }
    assert!(telemetry.shutdown(Instant::now() + Duration::from_secs(5)).await.is_empty());
    assert_eq!(far.batches().iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_down_is_told_once_and_what_waits_arrives_when_it_is_back() {
    let harness = Harness::default();
    let far = Arc::new(Backend::default());
    let paper = Paper::default();
    let logs =
        logs::subscriber(&LogsConfig::default(), &logs::Surroundings::default(), harness.clock.clone(), paper.clone());
    let _guard = tracing::dispatcher::set_default(&logs.unwrap());
    let mut telemetry = traced(&harness, &json!({"max_export_batch_size": 2, "max_queue_size": 3}), Value::Null);
    telemetry.start(always(&far)).await.unwrap();
    *far.fails.lock().unwrap() = Some(ExportError::retryable("connection_refused", "nobody listens"));
    for round in 0..60 {
        if round < 5 {
            say(&telemetry, "kept");
        } else if round < 9 {
            say(&telemetry, "no place");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    *far.fails.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(far.names(), vec!["kept"; 5], "two in the batch that is offered again, three in the queue");
    assert_eq!(lost(&telemetry, "queue_full"), 4);
    let text = paper.text();
    assert_eq!(text.matches("own traces cannot be sent").count(), 1, "{text}");
    assert_eq!(text.matches("own spans are lost").count(), 1, "{text}");
    assert_eq!(text.matches("own traces are sent again").count(), 1, "{text}");
    assert!(text.contains("error.type=connection_refused") && !text.contains("metrics cannot"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_for_good_is_not_offered_again() {
    let far = Arc::new(Backend::default());
    let mut telemetry = traced(&Harness::default(), &json!({}), Value::Null);
    telemetry.start(always(&far)).await.unwrap();
    *far.fails.lock().unwrap() = Some(ExportError::permanent("400", "no"));
    say(&telemetry, "refused");
    tokio::time::sleep(Duration::from_secs(6)).await;
    *far.fails.lock().unwrap() = None;
    say(&telemetry, "taken");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((far.names(), lost(&telemetry, "send_failed")), (vec!["taken".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_does_not_outlast_the_deadline() {
    let far = Arc::new(Backend::default());
    let mut telemetry = traced(&Harness::default(), &json!({"max_export_batch_size": 1}), Value::Null);
    telemetry.start(always(&far)).await.unwrap();
    *far.hangs.lock().unwrap() = true;
    for _ in 0..3 {
        say(&telemetry, "stuck");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let errors = telemetry.shutdown(began + Duration::from_secs(3)).await;
    assert_eq!((began.elapsed().as_secs(), errors.len()), (3, 1));
    assert_eq!(errors[0], "3 spans of own traces were not delivered to http://backend:4317");
}

#[tokio::test(start_paused = true)]
async fn the_sampler_decides_at_the_root() {
    for (sampler, arrives) in [
        (Value::Null, 200..=200),
        (json!({"always_on": null}), 200..=200),
        (json!({"always_off": null}), 0..=0),
        // 100 of 200 expected; seeded.
        (json!({"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 0.5}}}}), 60..=140),
    ] {
        let far = Arc::new(Backend::default());
        let mut telemetry = traced(&Harness::default(), &json!({}), sampler.clone());
        telemetry.start(always(&far)).await.unwrap();
        for _ in 0..100 {
            let root = telemetry.tracer().span(SpanKind::Internal, || "root".into());
            root.around(async { say(&telemetry, "child") }).await;
        }
        telemetry.shutdown(Instant::now() + Duration::from_secs(5)).await;
        let names = far.names();
        assert!(arrives.contains(&names.len()), "{sampler}: {}", names.len());
        let roots = names.iter().filter(|name| *name == "root").count();
        assert_eq!(roots * 2, names.len(), "a trace is whole or not there");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_sent_there_are_no_spans() {
    let telemetry = telemetry(&Harness::default(), json!({}));
    assert!(!telemetry.tracer().is_on());
    let span = telemetry.tracer().span(SpanKind::Internal, || panic!("nobody asks for its name"));
    span.set(|| -> [KeyValue; 0] { panic!("nor for attributes") });
    assert_eq!(span.around(async { (SpanIds::current(), current_trace_context()) }).await, (None, None));
}
