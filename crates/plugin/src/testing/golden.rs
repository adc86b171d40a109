//! Batches as text, to be compared with what was kept: with [`insta`](https://docs.rs/insta), or by hand. The text is the same on every run under a paused clock.

use std::fmt::Write;

use minicol_pdata::{Attributes, Batch, MetricKind, Metrics, Number, Observations, PointValue, Timestamp};

use super::Harness;

/// What a [`super::Sink`] was given: a heading per batch, then its lines. Times are seconds since [`Harness::START`]. Logs and traces are OTLP/JSON.
pub fn text(batches: &[Batch]) -> String {
    let mut all = String::new();
    for batch in batches {
        let lines = match batch {
            Batch::Observations(observations) => observed(observations, Harness::START),
            Batch::Metrics(metrics) => points(metrics, Harness::START),
            Batch::Logs(logs) => String::from_utf8_lossy(&logs.to_json()).into_owned(),
            Batch::Traces(traces) => String::from_utf8_lossy(&traces.to_json()).into_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(all, "{}:\n{lines}", batch.signal());
    }
    all
}

/// Points, a sorted line each: name, type, unit, attributes, start, time, value. Times are seconds from `origin`; a resource is not in it.
pub fn points(metrics: &Metrics, origin: Timestamp) -> String {
    let mut lines = Vec::new();
    for metric in metrics.iter() {
        let kind = metric.kind().map_or("?", MetricKind::name);
        for point in metric.points() {
            let value = match &point.value {
                PointValue::None => "no recorded value".to_owned(),
                PointValue::Number(Number::Int(value)) => value.to_string(),
                PointValue::Number(Number::Double(value)) => format!("{value:?}"),
                PointValue::Histogram { count, sum, min, max, buckets, .. } => {
                    format!("count {count} sum {sum:?} min {min:?} max {max:?} buckets {buckets:?}")
                }
                other => format!("{other:?}"),
            };
            let (start, time) = (seconds(point.start, origin), seconds(point.time, origin));
            let about = format!("{} {kind} {}", metric.name(), metric.unit());
            lines.push(format!("{about} {{{}}} {start}..{time} {value}", pairs(&point.attributes())));
        }
    }
    lines.sort();
    lines.join("\n")
}

/// Observations in order: tool, receiver, resource, arguments, when the answer had arrived and how long it took, whether it was cut, then the document.
pub fn observed(observations: &Observations, origin: Timestamp) -> String {
    let line = |one: &minicol_pdata::Observation| {
        let (tool, receiver, resource) = (&one.tool, &one.source.receiver, pairs(&one.source.resource));
        let arguments = one.arguments.iter().map(|arguments| format!(" asked with {}", sorted(arguments.as_ref())));
        let cut = one.cut.iter().map(|cut| format!(" cut, {} of {}", cut.returned, cut.total));
        let beside: String = arguments.chain(cut).collect();
        let (at, document) = (seconds(one.arrival.wall, origin), sorted(&one.document));
        format!("{tool} of {receiver} {{{resource}}}{beside} {at} in {:?}\n  {document}", one.took)
    };
    observations.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn seconds(time: Timestamp, origin: Timestamp) -> String {
    let seconds = (i128::from(time.as_nanos()) - i128::from(origin.as_nanos())) as f64 / 1e9;
    if time.is_unset() { "-".to_owned() } else { format!("{seconds:+}s") }
}

fn pairs(attributes: &Attributes) -> String {
    attributes.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// JSON, its members in the order of their names.
fn sorted(value: &(impl serde::Serialize + ?Sized)) -> String {
    let Ok(mut value) = serde_json::to_value(value) else { return "no JSON".to_owned() };
    value.sort_all_objects();
    value.to_string()
}
