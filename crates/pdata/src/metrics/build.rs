use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::InstrumentationScope,
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
        HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
        exponential_histogram_data_point::Buckets, metric::Data, number_data_point::Value,
    },
    resource::v1,
};

use super::{MetricKind, Metrics, NO_RECORDED_VALUE, Temporality};
use crate::{Attributes, Resource, Timestamp};

/// What a metric is, apart from its points.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MetricDescriptor {
    /// Its name.
    pub name: Arc<str>,
    /// What it tells, for a person.
    pub description: Arc<str>,
    /// Its unit, in UCUM.
    pub unit: Arc<str>,
    /// How its points are to be read.
    pub kind: MetricKind,
}

/// The value of a gauge's or a sum's point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
}

/// A point of a gauge or a sum.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberPoint {
    /// Since when it counts; unset for a gauge.
    pub start: Timestamp,
    /// When it was so.
    pub time: Timestamp,
    /// The value; `None` ends the series (the `NoRecordedValue` flag).
    pub value: Option<Number>,
}

/// A point of a histogram with explicit boundaries.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramPoint<'a> {
    /// Since when it counts.
    pub start: Timestamp,
    /// When it was so.
    pub time: Timestamp,
    /// How many values.
    pub count: u64,
    /// Their sum; `None` where values can be negative.
    pub sum: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// Upper boundaries of the buckets, rising; the last bucket has none.
    pub bounds: &'a [f64],
    /// Values per bucket: one more than `bounds`.
    pub buckets: &'a [u64],
}

/// A point of an exponential histogram. Bucket `i` takes what is above `base^i` and up to `base^(i+1)`, where `base` is `2^(2^-scale)`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExponentialHistogramPoint<'a> {
    /// Since when it counts.
    pub start: Timestamp,
    /// When it was so.
    pub time: Timestamp,
    /// How many values.
    pub count: u64,
    /// Their sum; `None` where one was negative.
    pub sum: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// The resolution.
    pub scale: i32,
    /// Values that are zero.
    pub zero_count: u64,
    /// Values above zero.
    pub positive: ExponentialBuckets<'a>,
    /// Values below zero, by how far below they are.
    pub negative: ExponentialBuckets<'a>,
}

/// Neighbouring buckets of an exponential histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExponentialBuckets<'a> {
    /// The index of the first.
    pub offset: i32,
    /// Values per bucket.
    pub counts: &'a [u64],
}

/// Makes [`Metrics`]: name a resource and scope, then a metric, then write its points.
#[derive(Debug, Default)]
pub struct MetricsBuilder {
    request: ExportMetricsServiceRequest,
}

/// Writes the points of one metric.
#[derive(Debug)]
pub struct MetricWriter<'a> {
    metric: &'a mut Metric,
}

impl MetricsBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a resource with one instrumentation scope; the metrics that follow belong to it.
    pub fn resource(&mut self, resource: &Resource, scope_name: &str, scope_version: &str) {
        self.request.resource_metrics.push(ResourceMetrics {
            resource: Some(v1::Resource { attributes: resource.to_proto(), ..v1::Resource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: scope_name.to_owned(),
                    version: scope_version.to_owned(),
                    ..InstrumentationScope::default()
                }),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        });
    }

    /// Opens a metric under the last resource (one without attributes where none was opened).
    pub fn metric(&mut self, descriptor: &MetricDescriptor) -> MetricWriter<'_> {
        if self.request.resource_metrics.is_empty() {
            self.resource(&Resource::new(), "", "");
        }
        let last = self.request.resource_metrics.len() - 1;
        let scopes = &mut self.request.resource_metrics[last].scope_metrics;
        let last = scopes.len() - 1;
        let metrics = &mut scopes[last].metrics;
        metrics.push(Metric {
            name: descriptor.name.to_string(),
            description: descriptor.description.to_string(),
            unit: descriptor.unit.to_string(),
            data: Some(empty(descriptor.kind)),
            ..Metric::default()
        });
        let last = metrics.len() - 1;
        MetricWriter { metric: &mut metrics[last] }
    }

    /// What was written, without metrics that have no point and resources that have no metric.
    pub fn build(mut self) -> Metrics {
        for resource in &mut self.request.resource_metrics {
            for scope in &mut resource.scope_metrics {
                scope.metrics.retain(|metric| super::points(metric) > 0);
            }
            resource.scope_metrics.retain(|scope| !scope.metrics.is_empty());
        }
        self.request.resource_metrics.retain(|resource| !resource.scope_metrics.is_empty());
        Metrics::new(self.request)
    }
}

impl MetricWriter<'_> {
    /// Adds a point to a gauge or a sum. On another kind of metric it does nothing: the descriptor decides.
    pub fn number(&mut self, attributes: &Attributes, point: &NumberPoint) -> &mut Self {
        let point = NumberDataPoint {
            attributes: attributes.to_proto(),
            start_time_unix_nano: point.start.as_nanos(),
            time_unix_nano: point.time.as_nanos(),
            flags: if point.value.is_none() { NO_RECORDED_VALUE } else { 0 },
            value: point.value.map(|value| match value {
                Number::Int(value) => Value::AsInt(value),
                Number::Double(value) => Value::AsDouble(value),
            }),
            ..NumberDataPoint::default()
        };
        match &mut self.metric.data {
            Some(Data::Gauge(data)) => data.data_points.push(point),
            Some(Data::Sum(data)) => data.data_points.push(point),
            _ => debug_assert!(false, "a number point on {}", self.metric.name),
        }
        self
    }

    /// Adds a point to a histogram. On another kind of metric it does nothing: the descriptor decides.
    pub fn histogram(&mut self, attributes: &Attributes, point: &HistogramPoint<'_>) -> &mut Self {
        let point = HistogramDataPoint {
            attributes: attributes.to_proto(),
            start_time_unix_nano: point.start.as_nanos(),
            time_unix_nano: point.time.as_nanos(),
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
            explicit_bounds: point.bounds.to_vec(),
            bucket_counts: point.buckets.to_vec(),
            ..HistogramDataPoint::default()
        };
        match &mut self.metric.data {
            Some(Data::Histogram(data)) => data.data_points.push(point),
            _ => debug_assert!(false, "a histogram point on {}", self.metric.name),
        }
        self
    }

    /// Adds a point to an exponential histogram. On another kind of metric it does nothing: the descriptor decides.
    pub fn exponential(&mut self, attributes: &Attributes, point: &ExponentialHistogramPoint<'_>) -> &mut Self {
        let side = |side: ExponentialBuckets<'_>| {
            (!side.counts.is_empty()).then(|| Buckets { offset: side.offset, bucket_counts: side.counts.to_vec() })
        };
        let point = ExponentialHistogramDataPoint {
            attributes: attributes.to_proto(),
            start_time_unix_nano: point.start.as_nanos(),
            time_unix_nano: point.time.as_nanos(),
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
            scale: point.scale,
            zero_count: point.zero_count,
            positive: side(point.positive),
            negative: side(point.negative),
            ..ExponentialHistogramDataPoint::default()
        };
        match &mut self.metric.data {
            Some(Data::ExponentialHistogram(data)) => data.data_points.push(point),
            _ => debug_assert!(false, "an exponential histogram point on {}", self.metric.name),
        }
        self
    }
}

fn empty(kind: MetricKind) -> Data {
    let number = |temporality| match temporality {
        Temporality::Unspecified => AggregationTemporality::Unspecified as i32,
        Temporality::Delta => AggregationTemporality::Delta as i32,
        Temporality::Cumulative => AggregationTemporality::Cumulative as i32,
    };
    match kind {
        MetricKind::Gauge => Data::Gauge(Gauge::default()),
        MetricKind::Sum { monotonic, temporality } => {
            Data::Sum(Sum { is_monotonic: monotonic, aggregation_temporality: number(temporality), ..Sum::default() })
        }
        MetricKind::Histogram { temporality } => {
            Data::Histogram(Histogram { aggregation_temporality: number(temporality), ..Histogram::default() })
        }
        MetricKind::ExponentialHistogram { temporality } => Data::ExponentialHistogram(ExponentialHistogram {
            aggregation_temporality: number(temporality),
            ..ExponentialHistogram::default()
        }),
        MetricKind::Summary => Data::Summary(Summary::default()),
    }
}
