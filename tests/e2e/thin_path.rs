//! Promise: one true answer of the released Session-Buddy 0.23.0 travels through receiver, mapping and exporter to a real OTLP backend over a
//! socket, by gRPC and by HTTP, and arrives as what it is.

use std::collections::BTreeMap;

use minicol_tests::{OtlpSink, Point, Program, RecordedBuddy, Value, wait_until};

fn pipeline(endpoint: &str, exporter: &str) -> String {
    format!(
        "yaml:
receivers:
  session_buddy: {{endpoint: \"{endpoint}\", interval_seconds: 1}}
processors:
  mapping: {{presets: [session_buddy]}}
exporters:
  {exporter}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics: {{receivers: [session_buddy], processors: [mapping], exporters: [{}]}}
",
        exporter.split(':').next().unwrap()
    )
}

/// The first point of each series that arrived.
async fn arrived(exporter: &str, sink: &OtlpSink) -> Vec<Point> {
    let buddy = RecordedBuddy::start().await;
    let config = pipeline(&buddy.endpoint, exporter);
    let program = Program::start(&["run", "--config", &config], &[]);
    wait_until("two cycles' points", || sink.points_of("session_buddy.up").len() >= 2).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let mut first: BTreeMap<_, Point> = BTreeMap::new();
    for point in sink.points() {
        first.entry((point.name.clone(), point.attributes.clone())).or_insert(point);
    }
    first.into_values().collect()
}

fn check(points: &[Point]) {
    let value = |name: &str| -> Vec<Value> {
        points.iter().filter(|point| point.name == name).map(|point| point.value.clone()).collect()
    };
    assert_eq!(value("session_buddy.up"), [Value::Int(1)]);
    let text: Vec<String> = points
        .iter()
        // What the machine or the moment decides is left out.
        .map(|point| {
            let attributes: Vec<_> = point.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let value = match &point.value {
                _ if point.name == "session_buddy.poll.duration" => "(a duration)".to_owned(),
                value => format!("{value:?}"),
            };
            format!("{} {} {} {{{}}} {value}", point.name, point.kind, point.unit, attributes.join(", "))
        })
        .collect();
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("release_0_23_0", text.join("\n"));
    });
    for point in points {
        assert_eq!(point.resource["service.name"], "session-buddy");
        assert_eq!(point.resource["server.address"], "127.0.0.1");
        assert_eq!(point.resource["url.scheme"], "http");
        assert!(point.resource.contains_key("service.instance.id") && point.resource.contains_key("server.port"));
        assert!(point.start <= point.time && point.time > 0, "{point:?}");
        assert_eq!(point.kind == "gauge", point.start == 0, "a gauge has no start, all others have one: {point:?}");
    }
}

#[tokio::test]
async fn recorded_answers_arrive_over_grpc() {
    let sink = OtlpSink::start().await;
    let exporter = format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc);
    check(&arrived(&exporter, &sink).await);
}

#[tokio::test]
async fn recorded_answers_arrive_over_http() {
    let sink = OtlpSink::start().await;
    let exporter = format!("otlphttp: {{endpoint: \"http://{}\"}}", sink.http);
    check(&arrived(&exporter, &sink).await);
}
