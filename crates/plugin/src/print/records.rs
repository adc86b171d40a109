//! Log records and spans. They are read as OTLP/JSON: nothing else needs to look inside of them.

use std::fmt::Write;

use minicol_pdata::{Logs, Timestamp, Traces};
use serde_json::{Map, Value};

use super::{
    Verbosity,
    words::{aligned, count, moment},
};
use crate::text;

/// How much of a body or an attribute a line shows, in characters.
const SHOWN: usize = 200;
/// How many lines `detailed` prints of a batch at most.
const MAX_LINES: usize = 2_000;

pub(super) fn logs(logs: &Logs, verbosity: Verbosity) -> String {
    let head = format!("logs: {}", count(logs.items(), "log record"));
    if verbosity == Verbosity::Basic || logs.is_empty() {
        return format!("{head}, {} bytes\n", logs.bytes());
    }
    let request = read(&logs.to_json());
    let record = |record: &Value| {
        let at = time(record, "timeUnixNano").or_else(|| time(record, "observedTimeUnixNano"));
        let severity = record["severityText"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let severity = severity.or_else(|| record["severityNumber"].as_u64().filter(|n| *n > 0).map(|n| n.to_string()));
        vec![
            at.unwrap_or_else(|| "no time".to_owned()),
            text::plain(&severity.unwrap_or_else(|| "-".to_owned())),
            text::shortened(&any(&record["body"]), SHOWN),
            attributes(&record["attributes"]),
        ]
    };
    let lines: Vec<_> = records(&request, ["resourceLogs", "scopeLogs", "logRecords"]).map(record).collect();
    whole(&head, &request, &lines, verbosity)
}

pub(super) fn traces(traces: &Traces, verbosity: Verbosity) -> String {
    let head = format!("traces: {}", count(traces.items(), "span"));
    if verbosity == Verbosity::Basic || traces.is_empty() {
        return format!("{head}, {} bytes\n", traces.bytes());
    }
    let request = read(&traces.to_json());
    let span = |span: &Value| {
        let (start, end) = (nanos(span, "startTimeUnixNano"), nanos(span, "endTimeUnixNano"));
        let took = start.zip(end).map(|(start, end)| format!("{:.1} ms", end.saturating_sub(start) as f64 / 1e6));
        let failed = span["status"]["code"].as_u64() == Some(2);
        vec![
            time(span, "startTimeUnixNano").unwrap_or_else(|| "no time".to_owned()),
            text::plain(span["name"].as_str().unwrap_or_default()),
            took.unwrap_or_else(|| "not ended".to_owned()),
            if failed { "error" } else { "ok" }.to_owned(),
            text::plain(span["traceId"].as_str().unwrap_or_default()),
            attributes(&span["attributes"]),
        ]
    };
    let lines: Vec<_> = records(&request, ["resourceSpans", "scopeSpans", "spans"]).map(span).collect();
    whole(&head, &request, &lines, verbosity)
}

fn whole(head: &str, request: &Value, lines: &[Vec<String>], verbosity: Verbosity) -> String {
    if verbosity == Verbosity::Normal {
        return format!("{head}\n{}", aligned(lines));
    }
    let pretty = serde_json::to_string_pretty(request).unwrap_or_default();
    let mut out = format!("{head}\n");
    for line in pretty.lines().take(MAX_LINES) {
        let indent = line.len() - line.trim_start().len();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {}{}", " ".repeat(indent), text::shortened(line, 2_000));
    }
    if pretty.lines().nth(MAX_LINES).is_some() {
        out.push_str("  …\n");
    }
    out
}

fn read(json: &[u8]) -> Value {
    // What was written a moment ago can be read.
    serde_json::from_slice(json).unwrap_or_default()
}

/// What stands in lists in lists in lists.
fn records<'a>(request: &'a Value, keys: [&'static str; 3]) -> impl Iterator<Item = &'a Value> {
    let [resources, scopes, records] = keys;
    let list = |value: &'a Value, key: &str| value[key].as_array().map(Vec::as_slice).unwrap_or_default();
    list(request, resources).iter().flat_map(move |one| list(one, scopes)).flat_map(move |one| list(one, records))
}

fn nanos(record: &Value, key: &str) -> Option<u64> {
    let told = match &record[key] {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    told.filter(|nanos| *nanos > 0)
}

fn time(record: &Value, key: &str) -> Option<String> {
    nanos(record, key).map(|nanos| moment(Timestamp::from_nanos(nanos)))
}

fn attributes(list: &Value) -> String {
    let pairs = list.as_array().into_iter().flatten().map(|pair| {
        let name = pair["key"].as_str().unwrap_or_default();
        format!("{}={}", text::plain(name), text::plain(&any(&pair["value"])))
    });
    text::shortened(&pairs.collect::<Vec<_>>().join(" "), SHOWN * 5)
}

/// An `AnyValue` of OTLP/JSON as text.
fn any(value: &Value) -> String {
    let Some((_, value)) = value.as_object().and_then(|kinds: &Map<String, Value>| kinds.iter().next()) else {
        return String::new();
    };
    match value {
        Value::String(text) => text.clone(),
        Value::Object(nested) => match nested.get("values").and_then(Value::as_array) {
            Some(values) if values.iter().any(|one| one.get("key").is_some()) => {
                let pair = |one: &Value| format!("{}: {}", one["key"].as_str().unwrap_or_default(), any(&one["value"]));
                format!("{{{}}}", values.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
            Some(values) => format!("[{}]", values.iter().map(any).collect::<Vec<_>>().join(", ")),
            None => String::new(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn so_many_lines_of_a_batch_are_printed_and_it_shows_that_there_are_more() {
        let records: Vec<_> = (0..1_000).map(|number| json!({"severityText": format!("S{number}")})).collect();
        let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]});
        let shown = logs(&Logs::from_json(request.to_string().as_bytes()).unwrap(), Verbosity::Detailed);
        assert_eq!(shown.lines().count(), MAX_LINES + 2);
        assert!(shown.ends_with("  …\n"));
    }

    #[test]
    fn a_log_record_and_a_span_are_a_line_each() {
        let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{
            "timeUnixNano": "1767268800000000000", "severityText": "WARN",
            "body": {"kvlistValue": {"values": [{"key": "said", "value": {"stringValue": "\u{1b}[31mno"}}]}},
            "attributes": [{"key": "n", "value": {"intValue": "3"}}, {"key": "l", "value": {"arrayValue": {"values": [{"boolValue": true}]}}}],
        }]}]}]});
        let read = Logs::from_json(request.to_string().as_bytes()).unwrap();
        let shown = logs(&read, Verbosity::Normal);
        assert_eq!(shown, "logs: 1 log record\n  2026-01-01T12:00:00Z  WARN  {said: \\u{1b}[31mno}  n=3 l=[true]\n");
        assert!(logs(&read, Verbosity::Detailed).contains("\"severityText\": \"WARN\""));
        let request = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "poll",
            "startTimeUnixNano": "1767268800000000000", "endTimeUnixNano": "1767268800012000000", "status": {"code": 2},
        }]}]}]});
        let read = Traces::from_json(request.to_string().as_bytes()).unwrap();
        let shown = traces(&read, Verbosity::Normal);
        let expected =
            "traces: 1 span\n  2026-01-01T12:00:00Z  poll  12.0 ms  error  0af7651916cd43dd8448eb211c80319c\n";
        assert_eq!(shown, expected);
        assert_eq!(traces(&read, Verbosity::Basic), format!("traces: 1 span, {} bytes\n", read.bytes()));
    }
}
