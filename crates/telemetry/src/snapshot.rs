use minicol_pdata::{
    Attributes, HistogramPoint, MetricDescriptor, MetricKind, Metrics, MetricsBuilder, Number, NumberPoint, Resource,
    Temporality, Timestamp,
};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::metrics::{
    Temporality as SdkTemporality,
    data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics},
};

use crate::telemetry::LeftOut;

/// When a snapshot was taken, and since when its totals count, by the clock of the program's environment: the SDK reads the machine's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) start: Timestamp,
    pub(crate) now: Timestamp,
}

/// What the SDK collected, as a batch that any exporter takes. Scopes and metrics stand in the order of their names.
///
/// Exponential histograms are left out: no view here asks the SDK for one.
pub(crate) fn to_metrics(
    collected: &ResourceMetrics,
    resource: &Resource,
    times: Times,
    left_out: Option<&LeftOut>,
) -> Metrics {
    let mut scopes: Vec<_> = collected.scope_metrics().collect();
    scopes.sort_by_key(|scope| scope.scope().name().to_owned());
    let mut builder = MetricsBuilder::new();
    for scope in scopes {
        builder.resource(resource, scope.scope().name(), scope.scope().version().unwrap_or_default());
        let mut metrics: Vec<_> = scope.metrics().collect();
        metrics.sort_by_key(|metric| metric.name());
        for metric in metrics {
            match metric.data() {
                AggregatedMetrics::F64(data) => write(&mut builder, metric, data, times, left_out),
                AggregatedMetrics::U64(data) => write(&mut builder, metric, data, times, left_out),
                AggregatedMetrics::I64(data) => write(&mut builder, metric, data, times, left_out),
            }
        }
    }
    builder.build()
}

fn write<T: Numeric>(
    builder: &mut MetricsBuilder,
    metric: &Metric,
    data: &MetricData<T>,
    times: Times,
    left_out: Option<&LeftOut>,
) {
    let Some(kind) = kind_of(data) else { return };
    let mut writer = builder.metric(&MetricDescriptor {
        name: metric.name().into(),
        description: metric.description().into(),
        unit: metric.unit().into(),
        kind,
    });
    let told = |attributes: &Attributes| {
        let text = |key: &str| attributes.get(key).map(ToString::to_string);
        left_out.is_none_or(|left_out| !left_out(&text))
    };
    let number = |start, value: T| NumberPoint { start, time: times.now, value: Some(value.number()) };
    match data {
        MetricData::Gauge(gauge) => {
            for point in gauge.data_points() {
                let attributes = attributes(point.attributes());
                if !told(&attributes) {
                    continue;
                }
                writer.number(&attributes, &number(Timestamp::UNSET, point.value()));
            }
        }
        MetricData::Sum(sum) => {
            for point in sum.data_points() {
                let attributes = attributes(point.attributes());
                if !told(&attributes) {
                    continue;
                }
                writer.number(&attributes, &number(times.start, point.value()));
            }
        }
        MetricData::Histogram(histogram) => {
            for point in histogram.data_points() {
                let attributes = attributes(point.attributes());
                if !told(&attributes) {
                    continue;
                }
                let (bounds, buckets) = (point.bounds().collect::<Vec<_>>(), point.bucket_counts().collect::<Vec<_>>());
                let whole = HistogramPoint {
                    start: times.start,
                    time: times.now,
                    count: point.count(),
                    sum: Some(point.sum().double()),
                    min: point.min().map(Numeric::double),
                    max: point.max().map(Numeric::double),
                    bounds: &bounds,
                    buckets: &buckets,
                };
                writer.histogram(&attributes, &whole);
            }
        }
        MetricData::ExponentialHistogram(_) => {}
    }
}

fn kind_of<T>(data: &MetricData<T>) -> Option<MetricKind> {
    let temporality = |sdk| match sdk {
        SdkTemporality::Delta => Temporality::Delta,
        _ => Temporality::Cumulative,
    };
    match data {
        MetricData::Gauge(_) => Some(MetricKind::Gauge),
        MetricData::Sum(sum) => {
            Some(MetricKind::Sum { monotonic: sum.is_monotonic(), temporality: temporality(sum.temporality()) })
        }
        MetricData::Histogram(histogram) => {
            Some(MetricKind::Histogram { temporality: temporality(histogram.temporality()) })
        }
        MetricData::ExponentialHistogram(_) => None,
    }
}

fn attributes<'a>(pairs: impl Iterator<Item = &'a KeyValue>) -> Attributes {
    pairs.map(|pair| (pair.key.as_str().to_owned(), value(&pair.value))).collect()
}

fn value(value: &Value) -> minicol_pdata::AttributeValue {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(Array::String(texts)) => {
            texts.iter().map(opentelemetry::StringValue::as_str).collect::<Vec<_>>().join(",").into()
        }
        other => other.to_string().into(),
    }
}

/// What the SDK counts in.
trait Numeric: Copy {
    fn number(self) -> Number;
    fn double(self) -> f64;
}

impl Numeric for f64 {
    fn number(self) -> Number {
        Number::Double(self)
    }
    fn double(self) -> f64 {
        self
    }
}

impl Numeric for u64 {
    fn number(self) -> Number {
        // OTLP's whole numbers are signed; no counter of ours gets there.
        Number::Int(i64::try_from(self).unwrap_or(i64::MAX))
    }
    fn double(self) -> f64 {
        self as f64
    }
}

impl Numeric for i64 {
    fn number(self) -> Number {
        Number::Int(self)
    }
    fn double(self) -> f64 {
        self as f64
    }
}
