use std::fmt;

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, SummaryDataPoint, metric::Data, number_data_point::Value,
    },
};

use super::{MetricKind, NO_RECORDED_VALUE, Number, Temporality};
use crate::{Attributes, Resource, Timestamp};

/// One metric, for reading.
#[derive(Clone, Copy, Debug)]
pub struct MetricView<'a> {
    resource: &'a ResourceMetrics,
    scope: &'a ScopeMetrics,
    metric: &'a Metric,
}

/// One data point, for reading.
#[derive(Clone, Debug)]
pub struct PointView<'a> {
    attributes: &'a [KeyValue],
    /// Since when it counts; unset for a gauge.
    pub start: Timestamp,
    /// When it was so.
    pub time: Timestamp,
    /// True for the point that ends a series: it has no value.
    pub no_recorded_value: bool,
    /// The value.
    pub value: PointValue<'a>,
}

/// What a data point says.
#[derive(Clone, Debug, PartialEq)]
pub enum PointValue<'a> {
    /// Nothing.
    None,
    /// The value of a gauge or a sum.
    Number(Number),
    /// A histogram with explicit boundaries.
    Histogram {
        /// How many values.
        count: u64,
        /// Their sum.
        sum: Option<f64>,
        /// The smallest.
        min: Option<f64>,
        /// The largest.
        max: Option<f64>,
        /// Upper boundaries.
        bounds: &'a [f64],
        /// Values per bucket.
        buckets: &'a [u64],
    },
    /// An exponential histogram.
    ExponentialHistogram {
        /// How many values.
        count: u64,
        /// Their sum.
        sum: Option<f64>,
        /// The smallest.
        min: Option<f64>,
        /// The largest.
        max: Option<f64>,
        /// The resolution.
        scale: i32,
        /// Values that count as zero.
        zero_count: u64,
        /// The index of the first positive bucket.
        positive_offset: i32,
        /// Values per positive bucket.
        positive: &'a [u64],
        /// The index of the first negative bucket.
        negative_offset: i32,
        /// Values per negative bucket.
        negative: &'a [u64],
    },
    /// Quantiles.
    Summary {
        /// How many values.
        count: u64,
        /// Their sum.
        sum: f64,
        /// Quantile (0 to 1) and value.
        quantiles: Vec<(f64, f64)>,
    },
}

impl<'a> MetricView<'a> {
    pub(super) fn new(resource: &'a ResourceMetrics, scope: &'a ScopeMetrics, metric: &'a Metric) -> Self {
        Self { resource, scope, metric }
    }

    /// The metric's name.
    pub fn name(&self) -> &'a str {
        &self.metric.name
    }

    /// What it tells, for a person.
    pub fn description(&self) -> &'a str {
        &self.metric.description
    }

    /// Its unit, in UCUM.
    pub fn unit(&self) -> &'a str {
        &self.metric.unit
    }

    /// The name of the instrumentation scope.
    pub fn scope_name(&self) -> &'a str {
        self.scope.scope.as_ref().map_or("", |scope| &scope.name)
    }

    /// The attributes of the resource.
    pub fn resource(&self) -> Resource {
        self.resource.resource.as_ref().map(|one| Attributes::from_proto(&one.attributes)).unwrap_or_default()
    }

    /// How its points are to be read; `None` where the sender gave no data.
    pub fn kind(&self) -> Option<MetricKind> {
        Some(match self.metric.data.as_ref()? {
            Data::Gauge(_) => MetricKind::Gauge,
            Data::Sum(data) => {
                MetricKind::Sum { monotonic: data.is_monotonic, temporality: temporality(data.aggregation_temporality) }
            }
            Data::Histogram(data) => MetricKind::Histogram { temporality: temporality(data.aggregation_temporality) },
            Data::ExponentialHistogram(data) => {
                MetricKind::ExponentialHistogram { temporality: temporality(data.aggregation_temporality) }
            }
            Data::Summary(_) => MetricKind::Summary,
        })
    }

    /// Its points in order.
    pub fn points(&self) -> Vec<PointView<'a>> {
        match &self.metric.data {
            Some(Data::Gauge(data)) => data.data_points.iter().map(PointView::from).collect(),
            Some(Data::Sum(data)) => data.data_points.iter().map(PointView::from).collect(),
            Some(Data::Histogram(data)) => data.data_points.iter().map(PointView::from).collect(),
            Some(Data::ExponentialHistogram(data)) => data.data_points.iter().map(PointView::from).collect(),
            Some(Data::Summary(data)) => data.data_points.iter().map(PointView::from).collect(),
            None => Vec::new(),
        }
    }
}

impl PointView<'_> {
    /// What tells its series from the others of the metric.
    pub fn attributes(&self) -> Attributes {
        Attributes::from_proto(self.attributes)
    }
}

impl<'a> PointView<'a> {
    fn new(attributes: &'a [KeyValue], start: u64, time: u64, flags: u32, value: PointValue<'a>) -> Self {
        Self {
            attributes,
            start: Timestamp::from_nanos(start),
            time: Timestamp::from_nanos(time),
            no_recorded_value: flags & NO_RECORDED_VALUE != 0,
            value,
        }
    }
}

/// As a person reads it, in one line: `42`, `43.123`, `count 3, sum 123.5`, `no recorded value`. Numbers are rounded to what a person reads.
impl fmt::Display for PointValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no recorded value"),
            Self::Number(Number::Int(value)) => write!(f, "{value}"),
            Self::Number(Number::Double(value)) => write_rounded(f, *value),
            Self::Histogram { count, sum, .. } | Self::ExponentialHistogram { count, sum, .. } => {
                write!(f, "count {count}")?;
                let Some(sum) = sum else { return Ok(()) };
                f.write_str(", sum ")?;
                write_rounded(f, *sum)
            }
            Self::Summary { count, sum, .. } => {
                write!(f, "count {count}, sum ")?;
                write_rounded(f, *sum)
            }
        }
    }
}

/// Three decimals, six for what is smaller than one.
fn write_rounded(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    let rounded = (value * 1e3).round() / 1e3;
    if value.abs() >= 1.0 || (rounded - value).abs() < 1e-12 { write!(f, "{rounded}") } else { write!(f, "{value:.6}") }
}

impl<'a> From<&'a NumberDataPoint> for PointView<'a> {
    fn from(point: &'a NumberDataPoint) -> Self {
        let value = match point.value {
            Some(Value::AsInt(value)) => PointValue::Number(Number::Int(value)),
            Some(Value::AsDouble(value)) => PointValue::Number(Number::Double(value)),
            None => PointValue::None,
        };
        Self::new(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags, value)
    }
}

impl<'a> From<&'a HistogramDataPoint> for PointView<'a> {
    fn from(point: &'a HistogramDataPoint) -> Self {
        let value = PointValue::Histogram {
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
            bounds: &point.explicit_bounds,
            buckets: &point.bucket_counts,
        };
        Self::new(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags, value)
    }
}

impl<'a> From<&'a ExponentialHistogramDataPoint> for PointView<'a> {
    fn from(point: &'a ExponentialHistogramDataPoint) -> Self {
        let side = |buckets: Option<&'a _>| {
            let buckets: Option<
                &'a opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets,
            > = buckets;
            buckets.map_or((0, [].as_slice()), |one| (one.offset, one.bucket_counts.as_slice()))
        };
        let (positive_offset, positive) = side(point.positive.as_ref());
        let (negative_offset, negative) = side(point.negative.as_ref());
        let value = PointValue::ExponentialHistogram {
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
            scale: point.scale,
            zero_count: point.zero_count,
            positive_offset,
            positive,
            negative_offset,
            negative,
        };
        Self::new(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags, value)
    }
}

impl<'a> From<&'a SummaryDataPoint> for PointView<'a> {
    fn from(point: &'a SummaryDataPoint) -> Self {
        let value = PointValue::Summary {
            count: point.count,
            sum: point.sum,
            quantiles: point.quantile_values.iter().map(|one| (one.quantile, one.value)).collect(),
        };
        Self::new(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags, value)
    }
}

fn temporality(number: i32) -> Temporality {
    match AggregationTemporality::try_from(number) {
        Ok(AggregationTemporality::Delta) => Temporality::Delta,
        Ok(AggregationTemporality::Cumulative) => Temporality::Cumulative,
        _ => Temporality::Unspecified,
    }
}
