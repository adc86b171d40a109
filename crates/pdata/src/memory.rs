//! How much memory a batch takes, and what is held as long as it is in memory.

use std::{any::Any, fmt, sync::Arc};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
        exponential_histogram_data_point::Buckets, metric::Data, summary_data_point::ValueAtQuantile,
    },
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span},
};
use serde_json::Value;

/// What is held as long as a batch, a clone or a part of it is in memory: a reservation of memory, for example.
#[derive(Clone, Default)]
pub(crate) struct Held(Vec<Arc<dyn Any + Send + Sync>>);

/// How much of the heap a value takes, about.
pub(crate) trait Heap {
    fn heap(&self) -> usize;
}

/// What an allocation costs beside what is asked for, about.
const ALLOCATION: usize = 16;

impl Held {
    pub(crate) fn hold(&mut self, what: Arc<dyn Any + Send + Sync>) {
        self.0.push(what);
    }

    pub(crate) fn find<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.iter().find_map(|one| Arc::clone(one).downcast().ok())
    }

    /// Holds also what `more` holds, each thing once.
    pub(crate) fn add(&mut self, more: &Self) {
        for one in &more.0 {
            if !self.0.iter().any(|here| Arc::ptr_eq(here, one)) {
                self.0.push(Arc::clone(one));
            }
        }
    }
}

/// What is held does not tell one batch from another.
impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} held", self.0.len())
    }
}

impl Heap for String {
    fn heap(&self) -> usize {
        if self.capacity() == 0 { 0 } else { self.capacity() + ALLOCATION }
    }
}

impl<T: Heap> Heap for Vec<T> {
    fn heap(&self) -> usize {
        if self.capacity() == 0 {
            return 0;
        }
        let inside: usize = self.iter().map(Heap::heap).sum();
        self.capacity() * size_of::<T>() + ALLOCATION + inside
    }
}

impl<T: Heap> Heap for Option<T> {
    fn heap(&self) -> usize {
        self.as_ref().map_or(0, Heap::heap)
    }
}

macro_rules! flat {
    ($($type:ty),*) => { $(impl Heap for $type { fn heap(&self) -> usize { 0 } })* };
}

/// The fields that lie on the heap.
macro_rules! fields {
    ($($type:ty: $($field:ident)*;)*) => {
        $(impl Heap for $type { fn heap(&self) -> usize { 0 $(+ self.$field.heap())* } })*
    };
}

flat!(u8, u64, f64, ValueAtQuantile);

fields! {
    KeyValue: key value;
    AnyValue: value;
    ArrayValue: values;
    KeyValueList: values;
    InstrumentationScope: name version attributes;
    EntityRef: schema_url r#type id_keys description_keys;
    Resource: attributes entity_refs;

    opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest: resource_metrics;
    ResourceMetrics: resource scope_metrics schema_url;
    ScopeMetrics: scope metrics schema_url;
    Metric: name description unit metadata data;
    Gauge: data_points;
    Sum: data_points;
    Histogram: data_points;
    ExponentialHistogram: data_points;
    Summary: data_points;
    NumberDataPoint: attributes exemplars;
    HistogramDataPoint: attributes bucket_counts explicit_bounds exemplars;
    ExponentialHistogramDataPoint: attributes positive negative exemplars;
    Buckets: bucket_counts;
    SummaryDataPoint: attributes quantile_values;
    Exemplar: filtered_attributes span_id trace_id;

    opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest: resource_logs;
    ResourceLogs: resource scope_logs schema_url;
    ScopeLogs: scope log_records schema_url;
    LogRecord: severity_text body attributes trace_id span_id event_name;

    opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest: resource_spans;
    ResourceSpans: resource scope_spans schema_url;
    ScopeSpans: scope spans schema_url;
    Span: trace_id span_id trace_state parent_span_id name attributes events links status;
    span::Event: name attributes;
    span::Link: trace_id span_id trace_state attributes;
    Status: message;
}

impl Heap for any_value::Value {
    fn heap(&self) -> usize {
        match self {
            Self::StringValue(text) => text.heap(),
            Self::BytesValue(bytes) => bytes.heap(),
            Self::ArrayValue(array) => array.heap(),
            Self::KvlistValue(list) => list.heap(),
            Self::BoolValue(_) | Self::IntValue(_) | Self::DoubleValue(_) | Self::StringValueStrindex(_) => 0,
        }
    }
}

impl Heap for Data {
    fn heap(&self) -> usize {
        match self {
            Self::Gauge(data) => data.heap(),
            Self::Sum(data) => data.heap(),
            Self::Histogram(data) => data.heap(),
            Self::ExponentialHistogram(data) => data.heap(),
            Self::Summary(data) => data.heap(),
        }
    }
}

impl Heap for Value {
    fn heap(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => text.heap(),
            Self::Array(items) => items.heap(),
            // Entries lie in a list, with a table of their places beside it.
            Self::Object(map) => map
                .iter()
                .map(|(key, value)| {
                    size_of::<(u64, String, Self)>() + 2 * size_of::<usize>() + key.heap() + value.heap()
                })
                .sum::<usize>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use serde_json::json;

    use super::*;
    use crate::{Batch, Metrics};

    fn metrics(points: usize) -> Metrics {
        let text = |text: &str| Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
        let attributes =
            vec![KeyValue { key: "host.name".to_owned(), value: text("somewhere"), ..KeyValue::default() }; 4];
        let data_points = vec![NumberDataPoint { attributes, ..NumberDataPoint::default() }; points];
        let metric = Metric { data: Some(Data::Gauge(Gauge { data_points })), ..Metric::default() };
        let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
        let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
        Metrics::new(ExportMetricsServiceRequest { resource_metrics: vec![resource] })
    }

    #[test]
    fn memory_is_more_than_the_encoding_and_grows_with_it() {
        let (one, thousand) = (metrics(1), metrics(1_000));
        let each = (thousand.memory() - one.memory()) / 999;
        // A point, and four times a pair with two short texts in allocations of their own.
        let at_least = size_of::<NumberDataPoint>() + 4 * (size_of::<KeyValue>() + 18);
        assert!((at_least..2 * at_least).contains(&each), "{each} {at_least}");
        let before = thousand.memory();
        let encoded = thousand.encode().len();
        assert_eq!(thousand.memory(), before + encoded, "the bytes are kept beside it");
    }

    #[test]
    fn documents_count_whatever_stands_in_them() {
        assert_eq!(json!(7).heap(), 0);
        let text = "x".repeat(1_000);
        let (short, long) = (json!([{"a": ""}]).heap(), json!([{"a": text}]).heap());
        assert!((1_000..1_100).contains(&(long - short)), "{short} {long}");
    }

    #[test]
    fn what_is_held_lives_as_long_as_any_clone_or_part() {
        let reservation = Arc::new(7_u32);
        let mut batch = Batch::from(metrics(4));
        batch.hold(Arc::clone(&reservation));
        assert_eq!(batch.held::<u32>().as_deref(), Some(&7));
        assert!(batch.held::<u64>().is_none());
        let Batch::Metrics(all) = batch.clone() else { panic!("metrics") };
        drop(batch);
        let (mut first, second) = all.split_at(1);
        assert_eq!(Arc::strong_count(&reservation), 3);
        first.append(second);
        assert_eq!(Arc::strong_count(&reservation), 2, "once in what was put together again");
        drop(first);
        assert_eq!(Arc::strong_count(&reservation), 1);
    }
}
