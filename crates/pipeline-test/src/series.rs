//! What came out, point by point, in the words of a test file.

use std::fmt;

use minicol_pdata::{Attributes, Batch, MetricKind, MetricView, Metrics, Number, PointValue, PointView, Temporality};

use crate::{
    file::{Buckets, ExpectedPoint, Scalar, scalars},
    moment::{Start, When},
};

/// One point that came out, with what it is a point of.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// Its type.
    pub kind: &'static str,
    /// `cumulative` or `delta`, of those that have one.
    pub temporality: Option<&'static str>,
    /// Its unit.
    pub unit: String,
    /// What it tells.
    pub description: String,
    /// The resource it belongs to.
    pub resource: Attributes,
    /// What tells it from other series of the metric.
    pub attributes: Attributes,
    /// Everything that it says.
    pub point: ExpectedPoint,
}

/// Every point of some batches, in order. What is no metric has none.
pub(crate) fn series(batches: &[Batch], start: Start) -> Vec<Series> {
    let metrics =
        batches.iter().filter_map(|batch| if let Batch::Metrics(metrics) = batch { Some(metrics) } else { None });
    let mut all = Vec::new();
    for metric in metrics.flat_map(Metrics::iter) {
        all.extend(metric.points().iter().map(|point| one(&metric, point, start)));
    }
    all
}

fn one(metric: &MetricView<'_>, point: &PointView<'_>, start: Start) -> Series {
    let kind = metric.kind();
    Series {
        name: metric.name().to_owned(),
        kind: kind.map_or("none", MetricKind::name),
        temporality: kind.and_then(temporality),
        unit: metric.unit().to_owned(),
        description: metric.description().to_owned(),
        resource: metric.resource(),
        attributes: point.attributes(),
        point: told(point, start),
    }
}

fn temporality(kind: MetricKind) -> Option<&'static str> {
    match kind {
        MetricKind::Sum { temporality, .. }
        | MetricKind::Histogram { temporality }
        | MetricKind::ExponentialHistogram { temporality } => match temporality {
            Temporality::Cumulative => Some("cumulative"),
            Temporality::Delta => Some("delta"),
            Temporality::Unspecified => None,
        },
        MetricKind::Gauge | MetricKind::Summary => None,
    }
}

fn told(point: &PointView<'_>, start: Start) -> ExpectedPoint {
    ExpectedPoint {
        start: (!point.start.is_unset()).then(|| When::of(point.start, start)),
        time: (!point.time.is_unset()).then(|| When::of(point.time, start)),
        ..values(point)
    }
}

/// Everything that a point says, but when.
pub fn values(point: &PointView<'_>) -> ExpectedPoint {
    let mut told = ExpectedPoint {
        attributes: scalars(&point.attributes()),
        no_recorded_value: point.no_recorded_value.then_some(true),
        ..ExpectedPoint::default()
    };
    match &point.value {
        PointValue::None => {}
        PointValue::Number(Number::Int(value)) => told.value = Some(Scalar::Int(*value)),
        PointValue::Number(Number::Double(value)) => told.value = Some(double(*value)),
        PointValue::Histogram { count, sum, min, max, bounds, buckets } => {
            told.count = Some(*count);
            (told.sum, told.min, told.max) = (sum.map(double), min.map(double), max.map(double));
            told.explicit_bounds = Some(bounds.to_vec());
            told.bucket_counts = Some(buckets.to_vec());
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
            told.count = Some(*count);
            (told.sum, told.min, told.max) = (sum.map(double), min.map(double), max.map(double));
            (told.scale, told.zero_count) = (Some(*scale), Some(*zero_count));
            told.positive = buckets(*positive_offset, positive);
            told.negative = buckets(*negative_offset, negative);
        }
        PointValue::Summary { count, sum, quantiles } => {
            (told.count, told.sum) = (Some(*count), Some(double(*sum)));
            told.quantiles = Some(quantiles.clone());
        }
    }
    told
}

fn buckets(offset: i32, counts: &[u64]) -> Option<Buckets> {
    (!counts.is_empty()).then(|| Buckets { offset, bucket_counts: counts.to_vec() })
}

fn double(value: f64) -> Scalar {
    match value {
        _ if value.is_nan() => Scalar::Text("NaN".to_owned()),
        f64::INFINITY => Scalar::Text("Infinity".to_owned()),
        f64::NEG_INFINITY => Scalar::Text("-Infinity".to_owned()),
        finite => Scalar::Double(finite),
    }
}

/// `name{a=1, b=two}`.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&named(&self.name, &self.attributes))
    }
}

/// A metric's name with the attributes of a series.
pub(crate) fn named(name: &str, attributes: &Attributes) -> String {
    let pairs: Vec<_> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let all = if pairs.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", pairs.join(", ")) };
    minicol_plugin::text::shortened(&all, 400)
}
