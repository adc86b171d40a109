use std::{sync::Arc, time::Duration};

use minicol_pdata::{
    Arrival, Attributes, Cut, ExponentialBuckets, ExponentialHistogramPoint, HistogramPoint, MetricDescriptor,
    MetricKind, Metrics, MetricsBuilder, Number, NumberPoint, Observation, Observations, Source, Timestamp,
};
use minicol_plugin::Retry;
use serde_json::json;

use super::*;

const NOON: Timestamp = Timestamp::from_nanos(1_767_268_800_000_000_000);

fn metrics() -> Batch {
    let mut builder = MetricsBuilder::new();
    let resource = Attributes::new()
        .with("service.name", "session-buddy")
        .with("server.address", "localhost")
        .with("server.port", 8678);
    builder.resource(&resource, "minicol/mapping", "0.1.0");
    let descriptor = |name: &str, unit: &str, kind| MetricDescriptor {
        name: name.into(),
        description: "What it is \u{1b}[31mred\u{1b}[0m".into(),
        unit: unit.into(),
        kind,
    };
    let point = |value| NumberPoint { start: NOON, time: NOON + Duration::from_secs(30), value };
    builder
        .metric(&descriptor("session_buddy.sessions.total", "{session}", MetricKind::COUNTER))
        .number(&Attributes::new(), &point(Some(Number::Int(42))));
    let gauge = |value| NumberPoint { start: Timestamp::UNSET, ..point(value) };
    builder
        .metric(&descriptor("session_buddy.quality.score", "{score}", MetricKind::Gauge))
        .number(&Attributes::new().with("component", "evil\u{1b}[2J\nname"), &gauge(Some(Number::Double(43.123_456))))
        .number(&Attributes::new().with("component", "gone"), &gauge(None));
    let buckets = HistogramPoint {
        start: NOON,
        time: NOON + Duration::from_secs(30),
        count: 3,
        sum: Some(123.5),
        min: Some(0.5),
        max: Some(100.0),
        bounds: &[1.0, 60.0],
        buckets: &[1, 1, 1],
    };
    builder
        .metric(&descriptor("session_buddy.session.duration", "s", MetricKind::HISTOGRAM))
        .histogram(&Attributes::new().with("project", "/home/dev/x"), &buckets);
    let point = ExponentialHistogramPoint {
        start: NOON,
        time: NOON + Duration::from_secs(30),
        count: 5,
        sum: None,
        min: Some(-2.0),
        max: Some(8.0),
        scale: 0,
        zero_count: 1,
        positive: ExponentialBuckets { offset: 1, counts: &[2, 1] },
        negative: ExponentialBuckets { offset: 0, counts: &[1] },
    };
    builder
        .metric(&descriptor("session_buddy.session.drift", "s", MetricKind::EXPONENTIAL_HISTOGRAM))
        .exponential(&Attributes::new(), &point);
    builder.build().into()
}

fn observations() -> Batch {
    let source = Arc::new(Source {
        resource: Attributes::new().with("service.name", "session-buddy"),
        receiver: "session_buddy".into(),
        interval: Duration::from_secs(30),
    });
    let one = |tool: &str, document, cut| Observation {
        source: Arc::clone(&source),
        tool: tool.into(),
        arguments: Some(Arc::new(serde_json::Map::from_iter([("limit".to_owned(), json!(500))]))),
        arrival: Arrival { wall: NOON, monotonic: Duration::ZERO },
        took: Duration::from_micros(3_140),
        document: Arc::new(document),
        cut,
    };
    let list = vec![
        one("get_liveness", json!({"status": "ok", "uptime_seconds": 0.69}), None),
        one(
            "get_activity_summary",
            json!("prose\u{1b}[31m \u{202e} ".repeat(20)),
            Some(Cut { returned: 24, total: 25 }),
        ),
    ];
    Observations::from(list).into()
}

fn everything(verbosity: Verbosity) -> String {
    [metrics(), observations(), Batch::Logs(minicol_pdata::Logs::default()), Batch::Metrics(Metrics::default())]
        .iter()
        .map(|batch| render(batch, verbosity))
        .collect()
}

#[test]
fn basic_is_a_line_per_batch() {
    insta::assert_snapshot!(everything(Verbosity::Basic));
}

#[test]
fn normal_is_a_line_per_point() {
    insta::assert_snapshot!(everything(Verbosity::Normal));
}

#[test]
fn detailed_is_everything() {
    insta::assert_snapshot!(everything(Verbosity::Detailed));
}

#[test]
fn no_control_character_reaches_the_terminal() {
    for verbosity in [Verbosity::Basic, Verbosity::Normal, Verbosity::Detailed] {
        let text = everything(verbosity);
        assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
    }
}

#[tokio::test]
async fn a_closed_pipe_is_a_permanent_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = DebugExporter::writing_to(DebugConfig::default(), Closed).export(metrics()).await.unwrap_err();
    assert_eq!(error.retry, Retry::Never);
    assert!(error.message.starts_with("cannot print to standard output"), "{error}");
}
