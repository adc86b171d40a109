use std::fmt::Write;

use minicol_pdata::{MetricKind, MetricView, Metrics, Number, PointValue, PointView, Resource, Temporality};

use super::{
    Verbosity,
    words::{aligned, attributes, count, moment},
};
use crate::text;

pub(super) fn render(metrics: &Metrics, verbosity: Verbosity) -> String {
    let views: Vec<_> = metrics.iter().collect();
    let head = format!("{} of {}", count(metrics.items(), "data point"), count(views.len(), "metric"));
    match verbosity {
        Verbosity::Basic => format!("metrics: {head}, {} bytes\n", metrics.bytes()),
        Verbosity::Normal => normal(&views, &head),
        Verbosity::Detailed => detailed(&views, &head),
    }
}

/// A line per point: name, type, value and unit, attributes.
fn normal(views: &[MetricView<'_>], head: &str) -> String {
    let mut out = String::new();
    for (resource, views) in by_resource(views) {
        let lines: Vec<_> =
            views.iter().flat_map(|metric| metric.points().into_iter().map(|point| line(metric, &point))).collect();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "metrics: {head} from {}", name_of(&resource));
        out.push_str(&aligned(&lines));
    }
    if out.is_empty() { format!("metrics: {head}\n") } else { out }
}

fn line(metric: &MetricView<'_>, point: &PointView<'_>) -> Vec<String> {
    let unit = match metric.unit() {
        "" | "1" => String::new(),
        _ if point.value == PointValue::None => String::new(),
        unit => format!(" {}", text::plain(unit)),
    };
    vec![
        text::plain(metric.name()),
        metric.kind().map_or("no data", MetricKind::name).to_owned(),
        format!("{}{unit}", point.value),
        attributes(&point.attributes()),
    ]
}

/// Everything, a block per metric.
fn detailed(views: &[MetricView<'_>], head: &str) -> String {
    let mut out = format!("metrics: {head}\n");
    for (resource, views) in by_resource(views) {
        out.push_str("resource\n");
        for (name, value) in resource.iter() {
            let _ = writeln!(out, "  {}: {}", text::plain(name), text::plain(&value.to_string()));
        }
        for metric in views {
            let kind = metric.kind().map_or_else(|| "no data".to_owned(), described);
            let _ = writeln!(out, "metric {}", text::plain(metric.name()));
            let _ = writeln!(out, "  scope: {}", text::plain(metric.scope_name()));
            let _ = writeln!(out, "  type: {kind}");
            let _ = writeln!(out, "  unit: {}", text::plain(metric.unit()));
            let _ = writeln!(out, "  description: {}", text::plain(metric.description()));
            for point in metric.points() {
                let _ = writeln!(out, "  point {{{}}}", attributes(&point.attributes()));
                let _ = writeln!(out, "    start: {}", moment(point.start));
                let _ = writeln!(out, "    time: {}", moment(point.time));
                let flags = if point.no_recorded_value { "no recorded value" } else { "none" };
                let _ = writeln!(out, "    flags: {flags}");
                out.push_str(&full(&point.value));
            }
        }
    }
    out
}

fn full(value: &PointValue<'_>) -> String {
    let optional = |value: &Option<f64>| value.map_or_else(|| "not told".to_owned(), |value| value.to_string());
    let mut out = String::new();
    match value {
        PointValue::None => {}
        PointValue::Number(Number::Int(value)) => {
            let _ = writeln!(out, "    value: {value} (int)");
        }
        PointValue::Number(Number::Double(value)) => {
            let _ = writeln!(out, "    value: {value} (double)");
        }
        PointValue::Histogram { count, sum, min, max, bounds, buckets } => {
            let (sum, min, max) = (optional(sum), optional(min), optional(max));
            let _ = writeln!(out, "    count: {count}, sum: {sum}, min: {min}, max: {max}");
            for (index, number) in buckets.iter().enumerate() {
                let upper = bounds.get(index).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
                let _ = writeln!(out, "    bucket up to {upper}: {number}");
            }
        }
        PointValue::ExponentialHistogram {
            count,
            sum,
            min,
            max,
            scale,
            zero_count,
            positive_offset,
            positive,
            negative_offset,
            negative,
        } => {
            let (sum, min, max) = (optional(sum), optional(min), optional(max));
            let _ = writeln!(out, "    count: {count}, sum: {sum}, min: {min}, max: {max}");
            let _ = writeln!(out, "    scale: {scale}, zero: {zero_count}");
            let _ = writeln!(out, "    positive from {positive_offset}: {positive:?}");
            let _ = writeln!(out, "    negative from {negative_offset}: {negative:?}");
        }
        PointValue::Summary { count, sum, quantiles } => {
            let _ = writeln!(out, "    count: {count}, sum: {sum}");
            for (quantile, value) in quantiles {
                let _ = writeln!(out, "    quantile {quantile}: {value}");
            }
        }
    }
    out
}

fn described(kind: MetricKind) -> String {
    let temporality = match kind {
        MetricKind::Sum { temporality, .. }
        | MetricKind::Histogram { temporality }
        | MetricKind::ExponentialHistogram { temporality } => temporality,
        MetricKind::Gauge | MetricKind::Summary => return kind.name().to_owned(),
    };
    let temporality = match temporality {
        Temporality::Cumulative => "cumulative",
        Temporality::Delta => "delta",
        Temporality::Unspecified => "of unspecified temporality",
    };
    format!("{} ({temporality})", kind.name())
}

/// Neighbours of one resource together.
fn by_resource<'a>(views: &'a [MetricView<'a>]) -> Vec<(Resource, Vec<MetricView<'a>>)> {
    let mut groups: Vec<(Resource, Vec<MetricView<'a>>)> = Vec::new();
    for view in views {
        let resource = view.resource();
        match groups.last_mut() {
            Some((last, group)) if *last == resource => group.push(*view),
            _ => groups.push((resource, vec![*view])),
        }
    }
    groups
}

fn name_of(resource: &Resource) -> String {
    let told = |name| resource.get(name).map(|value| text::plain(&value.to_string()));
    let service = told("service.name").unwrap_or_else(|| "an unnamed service".to_owned());
    match (told("server.address"), told("server.port")) {
        (Some(address), Some(port)) => format!("{service} at {address}:{port}"),
        _ => service,
    }
}
