//! Metrics: made by [`MetricsBuilder`], read through [`MetricView`].

mod build;
mod view;

pub use build::{
    ExponentialBuckets, ExponentialHistogramPoint, HistogramPoint, MetricDescriptor, MetricWriter, MetricsBuilder,
    Number, NumberPoint,
};
pub use view::{MetricView, PointValue, PointView};

use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};

use crate::{Attributes, otlp};

/// OTLP metrics.
pub type Metrics = otlp::Otlp<otlp::kind::Metrics>;

/// The data point flag that says "this series has no value now" (OTLP `FLAG_NO_RECORDED_VALUE`).
pub(crate) const NO_RECORDED_VALUE: u32 = 1;

/// How a metric's points are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// A level.
    Gauge,
    /// A sum; a monotonic one is a counter.
    Sum {
        /// It never falls but by a restart.
        monotonic: bool,
        /// Since when each point counts.
        temporality: Temporality,
    },
    /// Counts per bucket with explicit boundaries.
    Histogram {
        /// Since when each point counts.
        temporality: Temporality,
    },
    /// Counts per exponential bucket.
    ExponentialHistogram {
        /// Since when each point counts.
        temporality: Temporality,
    },
    /// Quantiles that the source computed.
    Summary,
}

/// Since when a point counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Temporality {
    /// The sender did not say.
    Unspecified,
    /// Since the point before.
    Delta,
    /// Since the series' start time.
    Cumulative,
}

impl MetricKind {
    /// A cumulative monotonic sum.
    pub const COUNTER: Self = Self::Sum { monotonic: true, temporality: Temporality::Cumulative };
    /// A cumulative sum that may fall.
    pub const UP_DOWN_COUNTER: Self = Self::Sum { monotonic: false, temporality: Temporality::Cumulative };
    /// A cumulative histogram with explicit boundaries.
    pub const HISTOGRAM: Self = Self::Histogram { temporality: Temporality::Cumulative };

    /// A cumulative histogram with exponential buckets.
    pub const EXPONENTIAL_HISTOGRAM: Self = Self::ExponentialHistogram { temporality: Temporality::Cumulative };

    /// As a rule's `type` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum { monotonic: true, .. } => "counter",
            Self::Sum { monotonic: false, .. } => "updowncounter",
            Self::Histogram { .. } => "histogram",
            Self::ExponentialHistogram { .. } => "exponential_histogram",
            Self::Summary => "summary",
        }
    }
}

impl Metrics {
    /// Every metric with the resource and scope it belongs to, in order.
    pub fn iter(&self) -> impl Iterator<Item = MetricView<'_>> {
        self.request().resource_metrics.iter().flat_map(|resource| {
            resource
                .scope_metrics
                .iter()
                .flat_map(move |scope| scope.metrics.iter().map(move |metric| MetricView::new(resource, scope, metric)))
        })
    }

    /// Sets attributes on every resource; those of the same name are replaced.
    pub fn set_resource_attributes(&mut self, attributes: &Attributes) {
        for resource in &mut self.edit().resource_metrics {
            let resource = resource.resource.get_or_insert_default();
            resource.attributes.retain(|pair| attributes.get(&pair.key).is_none());
            resource.attributes.extend(attributes.to_proto());
        }
    }
}

pub(crate) fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Batch, Signal, Timestamp};

    fn sample() -> Metrics {
        let mut builder = MetricsBuilder::new();
        builder.resource(&Attributes::new().with("service.name", "session-buddy"), "mapping", "1");
        let descriptor = |name: &str, kind| MetricDescriptor {
            name: name.into(),
            description: Arc::from("d"),
            unit: Arc::from("{session}"),
            kind,
        };
        let (start, time) = (Timestamp::from_nanos(1), Timestamp::from_nanos(2));
        builder
            .metric(&descriptor("total", MetricKind::COUNTER))
            .number(&Attributes::new().with("a", 1_i64), &NumberPoint { start, time, value: Some(Number::Int(3)) })
            .number(&Attributes::new(), &NumberPoint { start, time, value: None });
        let buckets = HistogramPoint {
            start,
            time,
            count: 2,
            sum: Some(3.0),
            min: None,
            max: None,
            bounds: &[1.0],
            buckets: &[1, 1],
        };
        builder.metric(&descriptor("duration", MetricKind::HISTOGRAM)).histogram(&Attributes::new(), &buckets);
        builder.metric(&descriptor("empty", MetricKind::Gauge));
        builder.build()
    }

    #[test]
    fn what_is_written_is_read_and_survives_the_wire() {
        let metrics = Metrics::decode(sample().encode()).unwrap();
        assert_eq!(metrics, sample());
        assert_eq!(metrics.items(), 3);
        let views: Vec<_> = metrics.iter().collect();
        assert_eq!(views.iter().map(MetricView::name).collect::<Vec<_>>(), ["total", "duration"]);
        assert_eq!(views[0].kind(), Some(MetricKind::COUNTER));
        let points = views[0].points();
        assert_eq!(points[0].value, PointValue::Number(Number::Int(3)));
        assert!(points[1].no_recorded_value && points[1].value == PointValue::None);
        assert_eq!(views[0].resource().get("service.name").and_then(|v| v.as_str()), Some("session-buddy"));
    }

    #[test]
    fn an_exponential_histogram_survives_the_wire() {
        let mut builder = MetricsBuilder::new();
        let descriptor = MetricDescriptor {
            name: "e".into(),
            description: "d".into(),
            unit: "s".into(),
            kind: MetricKind::EXPONENTIAL_HISTOGRAM,
        };
        let point = ExponentialHistogramPoint {
            start: Timestamp::from_nanos(1),
            time: Timestamp::from_nanos(2),
            count: 6,
            sum: None,
            min: Some(-4.0),
            max: Some(3.0),
            scale: -1,
            zero_count: 1,
            positive: ExponentialBuckets { offset: -2, counts: &[1, 0, 3] },
            negative: ExponentialBuckets { offset: 0, counts: &[1] },
        };
        builder.metric(&descriptor).exponential(&Attributes::new().with("a", "b"), &point);
        let metrics = Metrics::decode(builder.build().encode()).unwrap();
        let view = metrics.iter().next().unwrap();
        assert_eq!(view.kind(), Some(MetricKind::EXPONENTIAL_HISTOGRAM));
        let read = &view.points()[0];
        assert_eq!((read.start, read.time), (point.start, point.time));
        assert_eq!(
            read.value,
            PointValue::ExponentialHistogram {
                count: 6,
                sum: None,
                min: Some(-4.0),
                max: Some(3.0),
                scale: -1,
                zero_count: 1,
                positive_offset: -2,
                positive: &[1, 0, 3],
                negative_offset: 0,
                negative: &[1],
            }
        );
    }

    #[test]
    fn a_value_is_told_as_a_person_reads_it() {
        let histogram = |sum| PointValue::Histogram { count: 3, sum, min: None, max: None, bounds: &[], buckets: &[3] };
        for (value, text) in [
            (PointValue::None, "no recorded value"),
            (PointValue::Number(Number::Int(-4)), "-4"),
            (PointValue::Number(Number::Double(43.123_456)), "43.123"),
            (PointValue::Number(Number::Double(0.000_123_4)), "0.000123"),
            (PointValue::Number(Number::Double(216_010_752.0)), "216010752"),
            (histogram(Some(123.5)), "count 3, sum 123.5"),
            (histogram(None), "count 3"),
        ] {
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn editing_a_shared_batch_leaves_the_other_alone_and_encodes_anew() {
        let (original, before) = (sample(), sample().encode());
        let mut copy = original.clone();
        assert_eq!(copy.encode(), before);
        copy.set_resource_attributes(&Attributes::new().with("host.name", "h"));
        assert_ne!(copy.encode(), before);
        assert_eq!(original.encode(), before);
        copy.append(original);
        assert_eq!(Batch::from(copy.clone()).items(), 6);
        assert_eq!(Batch::from(copy).signal(), Signal::Metrics);
    }

    #[test]
    fn garbage_is_an_error_that_names_the_signal() {
        let error = Metrics::decode(bytes::Bytes::from_static(b"\xff\xff")).unwrap_err();
        assert!(error.to_string().starts_with("not an OTLP metrics request"), "{error}");
    }
}
