//! Protobuf's JSON, where it differs from what serde makes of a message: a field that is not set is left away, and a double may be no finite number.
//! Between text and message stands YAML's tree, for it can hold such doubles and JSON's cannot.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

/// A message as OTLP/JSON.
pub(crate) fn write(message: &impl Serialize) -> Bytes {
    // Messages are maps with text keys: this cannot fail.
    let tree = serde_yaml::to_value(message).unwrap_or_default();
    tidy(tree).unwrap_or_default().to_string().into()
}

/// The message that OTLP/JSON says.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let mut tree: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    mend(&mut tree)?;
    serde_yaml::from_value(tree).map_err(|error| error.to_string())
}

/// The tree in JSON; none where it is not set.
fn tidy(tree: Value) -> Option<Json> {
    Some(match tree {
        Value::Null => return None,
        Value::Bool(set) => Json::Bool(set),
        Value::String(text) => Json::String(text),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(signed), _, _) => signed.into(),
            (_, Some(unsigned), _) => unsigned.into(),
            (_, _, double) => double_json(double.unwrap_or(f64::NAN)),
        },
        Value::Sequence(items) => items.into_iter().filter_map(tidy).collect(),
        Value::Mapping(fields) => Json::Object(fields.into_iter().filter_map(field).collect()),
        Value::Tagged(tagged) => tidy(tagged.value)?,
    })
}

fn field((key, value): (Value, Value)) -> Option<(String, Json)> {
    let Value::String(key) = key else { return None };
    Some((key, tidy(value)?))
}

fn double_json(double: f64) -> Json {
    match double {
        _ if double.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        finite => finite.into(),
    }
}

/// Fields that are doubles in OTLP, wherever they stand, and are not read from text by the messages themselves.
const DOUBLES: [&str; 7] = ["asDouble", "doubleValue", "explicitBounds", "max", "min", "sum", "zeroThreshold"];

/// Lists whose items must be there for the messages to be read, though an empty list is left away.
const LISTS: [&str; 2] = ["arrayValue", "kvlistValue"];

/// Takes out what is not set, and makes numbers of doubles that are written as text.
fn mend(tree: &mut Value) -> Result<(), String> {
    match tree {
        Value::Mapping(fields) => mend_fields(fields),
        Value::Sequence(items) => items.iter_mut().try_for_each(mend),
        _ => Ok(()),
    }
}

fn mend_fields(fields: &mut Mapping) -> Result<(), String> {
    fields.retain(|_, value| !value.is_null());
    for (key, value) in fields {
        if let (true, Value::Mapping(list)) = (key.as_str().is_some_and(|key| LISTS.contains(&key)), &mut *value)
            && list.get("values").is_none_or(Value::is_null)
        {
            list.insert("values".into(), Value::Sequence(Vec::new()));
        }
        match (key.as_str().filter(|key| DOUBLES.contains(key)), value) {
            (Some(key), Value::Sequence(items)) => items.iter_mut().try_for_each(|item| mend_double(key, item))?,
            (Some(key), value) => mend_double(key, value)?,
            (None, value) => mend(value)?,
        }
    }
    Ok(())
}

fn mend_double(key: &str, value: &mut Value) -> Result<(), String> {
    match value {
        Value::String(text) => {
            let double = match text.as_str() {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                // What else Rust takes for a number (`inf`, `nan`) is none in JSON.
                text => text.parse().ok().filter(|double: &f64| double.is_finite()).ok_or(()),
            };
            let double = double.map_err(|()| format!("{key}: the text is no number, NaN, Infinity or -Infinity"))?;
            *value = Value::Number(double.into());
            Ok(())
        }
        // `sum` is also a kind of metric.
        other => mend(other),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
        common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        metrics::v1::{
            Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
            Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
            metric::Data, number_data_point, summary_data_point::ValueAtQuantile,
        },
    };

    use super::*;
    use crate::{Logs, Metrics};

    /// Every field of metrics that is a double is `double`.
    fn metrics(double: f64) -> ExportMetricsServiceRequest {
        let number = NumberDataPoint {
            value: Some(number_data_point::Value::AsDouble(double)),
            exemplars: vec![Exemplar { value: Some(exemplar::Value::AsDouble(double)), ..Exemplar::default() }],
            ..NumberDataPoint::default()
        };
        let histogram = HistogramDataPoint {
            sum: Some(double),
            min: Some(double),
            max: Some(double),
            explicit_bounds: vec![1.0, double],
            ..HistogramDataPoint::default()
        };
        let exponential = ExponentialHistogramDataPoint {
            sum: Some(double),
            min: Some(double),
            max: Some(double),
            zero_threshold: double,
            ..ExponentialHistogramDataPoint::default()
        };
        let summary = SummaryDataPoint {
            sum: double,
            quantile_values: vec![ValueAtQuantile { quantile: double, value: double }],
            ..SummaryDataPoint::default()
        };
        let data = [
            Data::Gauge(Gauge { data_points: vec![number.clone()] }),
            Data::Sum(Sum { data_points: vec![number], ..Sum::default() }),
            Data::Histogram(Histogram { data_points: vec![histogram], ..Histogram::default() }),
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                ..ExponentialHistogram::default()
            }),
            Data::Summary(Summary { data_points: vec![summary] }),
        ];
        let metrics = data.into_iter().map(|data| Metric { data: Some(data), ..Metric::default() }).collect();
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics, ..Default::default() }] }
    }

    /// A log whose body holds `double` at every depth.
    fn logs(double: f64) -> ExportLogsServiceRequest {
        let any = |value| Some(AnyValue { value: Some(value) });
        let plain = || any(any_value::Value::DoubleValue(double));
        let list = any(any_value::Value::ArrayValue(ArrayValue { values: plain().into_iter().collect() }));
        let pair = |value| KeyValue { key: "sum".into(), value, ..KeyValue::default() };
        let body = any(any_value::Value::KvlistValue(KeyValueList { values: vec![pair(list), pair(plain())] }));
        let record = LogRecord { body, attributes: vec![pair(plain())], ..LogRecord::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] }
    }

    #[test]
    fn every_double_is_written_and_read_as_protobuf_json_has_it() {
        for (double, text) in [
            (f64::NAN, r#""NaN""#),
            (f64::INFINITY, r#""Infinity""#),
            (f64::NEG_INFINITY, r#""-Infinity""#),
            (0.5, "0.5"),
            (3.0, "3.0"),
            (-1e300, "-1e+300"),
            // What a quick reading gets wrong in the last bit.
            (-0.928_631_097_998_775_3, "-0.9286310979987753"),
        ] {
            let (metrics, logs) = (Metrics::new(metrics(double)), Logs::new(logs(double)));
            let (told, said) = (metrics.to_json(), logs.to_json());
            let count = |json: &Bytes| String::from_utf8(json.to_vec()).unwrap().matches(text).count();
            assert_eq!((count(&told), count(&said)), (15, 3), "{double}: {}", String::from_utf8_lossy(&told));
            // NaN is unequal to itself; as bytes it is not.
            assert_eq!(Metrics::from_json(&told).unwrap().encode(), metrics.encode(), "{double}");
            assert_eq!(Logs::from_json(&said).unwrap().encode(), logs.encode(), "{double}");
        }
    }

    fn point(json: &str) -> Result<Metrics, String> {
        let text = format!(
            r#"{{"resourceMetrics":[{{"resource":null,"scopeMetrics":[{{"schemaUrl":null,"metrics":[{{"name":"m","unit":null,"gauge":{{"dataPoints":[{json}]}}}}]}}]}}]}}"#
        );
        Metrics::from_json(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_other_senders_write_is_understood() {
        let plain = point(r#"{"asDouble":1.5}"#).unwrap();
        for same in [
            r#"{"asDouble":"1.5"}"#,
            r#"{"asDouble":"15e-1","attributes":null,"exemplars":null,"flags":null,"timeUnixNano":null}"#,
            r#"{"asDouble":1.5,"unknown":{"sum":[null,1]}}"#,
        ] {
            assert_eq!(point(same), Ok(plain.clone()), "{same}");
        }
        for list in ["arrayValue", "kvlistValue"] {
            let attribute = |list: String| format!(r#"{{"attributes":[{{"key":"k","value":{{{list}}}}}]}}"#);
            let empty = point(&attribute(format!(r#""{list}":{{"values":[]}}"#))).unwrap();
            for same in ["{}", r#"{"values":null}"#] {
                assert_eq!(point(&attribute(format!(r#""{list}":{same}"#))), Ok(empty.clone()), "{list} {same}");
            }
        }
        assert_eq!(point(r#"{"asDouble":3}"#), point(r#"{"asDouble":3.0}"#));
        for wrong in [r#"{"asDouble":"inf"}"#, r#"{"asDouble":"nan"}"#, r#"{"asDouble":""}"#, r#"{"asDouble":"1e999"}"#]
        {
            let said = point(wrong).unwrap_err();
            assert!(said.contains("asDouble: the text is no number"), "{wrong}: {said}");
        }
    }
}
