//! Splitting a request in two where a far end takes no request of its size. Resources, scopes and metric descriptions stand in both parts.

use opentelemetry_proto::tonic::{
    logs::v1::{ResourceLogs, ScopeLogs},
    metrics::v1::{Metric, ResourceMetrics, ScopeMetrics, metric::Data},
    trace::v1::{ResourceSpans, ScopeSpans},
};

use crate::metrics::points;

/// Leaves the first `keep` items in `metrics`; the others are returned.
pub(crate) fn metrics(metrics: &mut Vec<ResourceMetrics>, keep: usize) -> Vec<ResourceMetrics> {
    let in_scope = |scope: &ScopeMetrics| scope.metrics.iter().map(points).sum::<usize>();
    tail(
        metrics,
        keep,
        |resource| resource.scope_metrics.iter().map(in_scope).sum(),
        |resource, keep| {
            split(
                resource,
                |one| &mut one.scope_metrics,
                |scopes| {
                    tail(scopes, keep, in_scope, |scope, keep| {
                        split(scope, |one| &mut one.metrics, |metrics| tail(metrics, keep, points, split_metric))
                    })
                },
            )
        },
    )
}

/// Leaves the first `keep` items in `logs`; the others are returned.
pub(crate) fn logs(logs: &mut Vec<ResourceLogs>, keep: usize) -> Vec<ResourceLogs> {
    let in_scope = |scope: &ScopeLogs| scope.log_records.len();
    tail(
        logs,
        keep,
        |resource| resource.scope_logs.iter().map(in_scope).sum(),
        |resource, keep| {
            split(
                resource,
                |one| &mut one.scope_logs,
                |scopes| {
                    tail(scopes, keep, in_scope, |scope, keep| {
                        split(scope, |one| &mut one.log_records, |records| records.split_off(keep))
                    })
                },
            )
        },
    )
}

/// Leaves the first `keep` items in `spans`; the others are returned.
pub(crate) fn traces(spans: &mut Vec<ResourceSpans>, keep: usize) -> Vec<ResourceSpans> {
    let in_scope = |scope: &ScopeSpans| scope.spans.len();
    tail(
        spans,
        keep,
        |resource| resource.scope_spans.iter().map(in_scope).sum(),
        |resource, keep| {
            split(
                resource,
                |one| &mut one.scope_spans,
                |scopes| {
                    tail(scopes, keep, in_scope, |scope, keep| {
                        split(scope, |one| &mut one.spans, |spans| spans.split_off(keep))
                    })
                },
            )
        },
    )
}

/// What comes after the first `keep` items; the element in which the cut lies is cut by `cut`.
fn tail<T>(
    list: &mut Vec<T>,
    mut keep: usize,
    count: impl Fn(&T) -> usize,
    cut: impl Fn(&mut T, usize) -> T,
) -> Vec<T> {
    for index in 0..list.len() {
        let items = count(&list[index]);
        if items <= keep {
            keep -= items;
            continue;
        }
        if keep == 0 {
            return list.split_off(index);
        }
        let mut rest = vec![cut(&mut list[index], keep)];
        rest.extend(list.split_off(index + 1));
        return rest;
    }
    Vec::new()
}

/// A second `T` with everything of the first but its list, which holds what `cut` takes from the first's.
fn split<T: Clone, U>(one: &mut T, list: impl Fn(&mut T) -> &mut Vec<U>, cut: impl FnOnce(&mut Vec<U>) -> Vec<U>) -> T {
    let mut items = std::mem::take(list(one));
    let mut other = one.clone();
    *list(&mut other) = cut(&mut items);
    *list(one) = items;
    other
}

fn split_metric(metric: &mut Metric, keep: usize) -> Metric {
    let data = metric.data.take();
    let mut other = metric.clone();
    metric.data = data;
    other.data = match &mut metric.data {
        None => None,
        Some(Data::Gauge(data)) => {
            Some(Data::Gauge(split(data, |one| &mut one.data_points, |points| points.split_off(keep))))
        }
        Some(Data::Sum(data)) => {
            Some(Data::Sum(split(data, |one| &mut one.data_points, |points| points.split_off(keep))))
        }
        Some(Data::Histogram(data)) => {
            Some(Data::Histogram(split(data, |one| &mut one.data_points, |points| points.split_off(keep))))
        }
        Some(Data::ExponentialHistogram(data)) => {
            Some(Data::ExponentialHistogram(split(data, |one| &mut one.data_points, |points| points.split_off(keep))))
        }
        Some(Data::Summary(data)) => {
            Some(Data::Summary(split(data, |one| &mut one.data_points, |points| points.split_off(keep))))
        }
    };
    other
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use opentelemetry_proto::tonic::{
        collector::{
            logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
            trace::v1::ExportTraceServiceRequest,
        },
        logs::v1::LogRecord,
        metrics::v1::{Gauge, NumberDataPoint},
        trace::v1::Span,
    };
    use prost::Message;

    use super::*;
    use crate::{Logs, Metrics, Traces};

    fn encoded(message: &impl Message) -> Bytes {
        message.encode_to_vec().into()
    }

    /// Two resources of two scopes of two metrics of `points` points each, each point with its own number.
    fn sample(points: u32) -> Metrics {
        let mut number = 0;
        let mut two = 0..;
        let mut metric = || {
            let data_points = (0..points)
                .map(|_| {
                    number += 1;
                    NumberDataPoint { time_unix_nano: number, ..NumberDataPoint::default() }
                })
                .collect();
            let name = format!("metric {}", two.next().unwrap_or_default());
            Metric { name, unit: "s".into(), data: Some(Data::Gauge(Gauge { data_points })), ..Metric::default() }
        };
        let mut scope = || ScopeMetrics {
            metrics: vec![metric(), metric()],
            schema_url: "scope".into(),
            ..ScopeMetrics::default()
        };
        let mut resource = || ResourceMetrics {
            scope_metrics: vec![scope(), scope()],
            schema_url: "resource".into(),
            ..ResourceMetrics::default()
        };
        let request = ExportMetricsServiceRequest { resource_metrics: vec![resource(), resource()] };
        Metrics::decode(encoded(&request)).unwrap()
    }

    fn flat(metrics: &Metrics) -> Vec<(String, String, String, String, u64)> {
        let mut all = Vec::new();
        for resource in &metrics.request().resource_metrics {
            for scope in &resource.scope_metrics {
                for metric in &scope.metrics {
                    let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
                    all.extend(gauge.data_points.iter().map(|point| {
                        let url = (resource.schema_url.clone(), scope.schema_url.clone());
                        (url.0, url.1, metric.name.clone(), metric.unit.clone(), point.time_unix_nano)
                    }));
                }
            }
        }
        all
    }

    #[test]
    fn the_parts_hold_every_point_once_in_order_with_all_that_describes_it() {
        for points in [1, 2, 3, 7] {
            let whole = sample(points);
            let all = flat(&whole);
            for keep in 1..whole.items() {
                let (first, second) = whole.clone().split_at(keep);
                assert_eq!((first.items(), second.items()), (keep, whole.items() - keep));
                assert_eq!([flat(&first), flat(&second)].concat(), all, "{points} {keep}");
                assert_eq!(Metrics::decode(first.encode()).unwrap(), first, "it is encoded anew");
            }
        }
    }

    #[test]
    fn logs_and_traces_are_split_likewise() {
        let records = (0..3).map(|time| LogRecord { time_unix_nano: time, ..LogRecord::default() }).collect();
        let scope = ScopeLogs { log_records: records, ..ScopeLogs::default() };
        let resource_logs = vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }];
        let logs = Logs::decode(encoded(&ExportLogsServiceRequest { resource_logs })).unwrap();
        let (first, second) = logs.split_at(1);
        assert_eq!((first.items(), second.items()), (1, 2));
        let scope = ScopeSpans { spans: vec![Span::default(); 5], ..ScopeSpans::default() };
        let resource_spans = vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }];
        let traces = Traces::decode(encoded(&ExportTraceServiceRequest { resource_spans })).unwrap();
        let (first, second) = traces.split_at(2);
        assert_eq!((first.items(), second.items()), (2, 3));
    }

    #[test]
    fn json_says_the_same_as_protobuf() {
        let metrics = sample(2);
        let json = metrics.to_json();
        assert_eq!(Metrics::from_json(&json).unwrap(), metrics);
        let text = String::from_utf8(json.to_vec()).unwrap();
        assert!(text.starts_with(r#"{"resourceMetrics":[{"#) && !text.contains("null"), "{text}");
        assert!(Metrics::from_json(b"{\"resourceMetrics\": 7}").unwrap_err().to_string().contains("metrics request"));
        assert!(Logs::from_json(b"[").is_err());
    }
}
