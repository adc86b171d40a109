//! The variables that OpenTelemetry's SDKs know (`specification/protocol/exporter.md`): what they give where the file is silent.

use minicol_pdata::Signal;
use minicol_plugin::{EnvironmentDefault, config::Problem};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::lanes::SIGNALS;

type Key = Vec<&'static str>;
type Reading = Result<Option<Value>, Problem>;
type Read = fn(&str) -> Reading;

/// What both exporters have: the variable's last part, the key that it gives, and what its text means.
const COMMON: [(&str, &[&str], Read); 6] = [
    ("HEADERS", &["headers"], headers),
    ("COMPRESSION", &["compression"], compression),
    ("CERTIFICATE", &["tls", "ca_file"], text),
    ("CLIENT_CERTIFICATE", &["tls", "cert_file"], text),
    ("CLIENT_KEY", &["tls", "key_file"], text),
    ("INSECURE", &["tls", "insecure"], switch),
];

/// What tells the far end who speaks. As in the SDKs it goes to whatever endpoint there is.
const IDENTIFIES: [&str; 2] = ["HEADERS", "CLIENT_CERTIFICATE"];

/// Of `otlp`.
pub(crate) fn of_grpc() -> Vec<EnvironmentDefault> {
    let mut all = common(|signal| vec![signal.name(), "endpoint"]);
    for signal in each() {
        // It gives nothing: it is looked at where the endpoint may come from a variable, too.
        all.push(EnvironmentDefault::otlp(signal, "PROTOCOL", vec!["endpoint"], Vec::new(), grpc_protocol));
        all.push(EnvironmentDefault::otlp(
            signal,
            "ENDPOINT",
            under(signal, &["endpoint"]),
            vec![vec!["endpoint"]],
            text,
        ));
    }
    all
}

/// Of `otlphttp`.
pub(crate) fn of_http() -> Vec<EnvironmentDefault> {
    let own = |signal| match signal {
        Signal::Logs => "logs_endpoint",
        Signal::Traces => "traces_endpoint",
        Signal::Metrics | Signal::Observations => "metrics_endpoint",
    };
    let mut all = common(|signal| vec![own(signal)]);
    for signal in each() {
        let endpoint = signal.map_or("endpoint", own);
        all.push(EnvironmentDefault::otlp(signal, "ENDPOINT", vec![endpoint], vec![vec!["endpoint"]], text));
        all.push(EnvironmentDefault::otlp(
            signal,
            "PROTOCOL",
            under(signal, &["encoding"]),
            vec![vec!["encoding"]],
            http_protocol,
        ));
    }
    all
}

/// `own` is the key of a signal's own endpoint.
fn common(own: impl Fn(Signal) -> Key) -> Vec<EnvironmentDefault> {
    let mut all = Vec::new();
    for signal in each() {
        let signals = SIGNALS.into_iter().filter(|one| signal.is_none_or(|signal| signal == *one));
        let ways: Vec<Vec<Key>> = signals.map(|one| vec![own(one), vec!["endpoint"]]).collect();
        for (name, key, read) in COMMON {
            let mut unless = vec![key.to_vec()];
            if name == "HEADERS" {
                unless.push(vec!["header_files"]);
            }
            let default = EnvironmentDefault::otlp(signal, name, under(signal, key), unless, read);
            let shown = IDENTIFIES.contains(&name);
            all.push(if shown { default.shown_to(ways.clone()) } else { default });
        }
        let key = signal.map_or(vec!["timeout"], |signal| vec!["timeouts", signal.name()]);
        all.push(EnvironmentDefault::otlp(signal, "TIMEOUT", key, vec![vec!["timeout"]], milliseconds));
    }
    // They are for what makes metrics, which an exporter here does not.
    let metrics = Some(Signal::Metrics);
    all.push(EnvironmentDefault::otlp(metrics, "TEMPORALITY_PREFERENCE", Vec::new(), Vec::new(), temporality));
    all.push(EnvironmentDefault::otlp(metrics, "DEFAULT_HISTOGRAM_AGGREGATION", Vec::new(), Vec::new(), aggregation));
    all
}

/// Those of one signal go before those of all.
fn each() -> impl Iterator<Item = Option<Signal>> {
    SIGNALS.into_iter().map(Some).chain([None])
}

/// A key, in the section of a signal.
fn under(signal: Option<Signal>, key: &[&'static str]) -> Key {
    signal.map(Signal::name).into_iter().chain(key.iter().copied()).collect()
}

fn wrong(message: impl Into<String>, help: &str) -> Reading {
    Err(Problem { path: Vec::new(), message: message.into(), help: Some(help.to_owned()), warning: false })
}

/// What an SDK warns of, and goes on as if the variable were not there.
fn passed_over(message: &str, help: &str) -> Reading {
    let message = format!("{message}, and is passed over");
    Err(Problem { path: Vec::new(), message, help: Some(help.to_owned()), warning: true })
}

#[expect(clippy::unnecessary_wraps, reason = "one of several that read a text")]
fn text(text: &str) -> Reading {
    Ok(Some(text.trim().into()))
}

fn switch(text: &str) -> Reading {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(Some(true.into())),
        "false" => Ok(Some(false.into())),
        _ => passed_over(&format!("`{text}` is neither true nor false"), "write true or false"),
    }
}

fn milliseconds(text: &str) -> Reading {
    match text.trim().parse::<u32>() {
        Ok(millis) => Ok(Some(format!("{millis}ms").into())),
        Err(_) => passed_over(&format!("`{text}` is no number of milliseconds"), "write 10000 for ten seconds"),
    }
}

fn compression(text: &str) -> Reading {
    let name = text.trim().to_ascii_lowercase();
    match name.as_str() {
        "gzip" | "zstd" | "none" => Ok(Some(name.into())),
        _ => passed_over(&format!("`{text}` is no compression that is known here"), "write gzip, zstd or none"),
    }
}

/// `name=value,name=value`, percent-encoded as in W3C Baggage. Nothing of it is repeated: it may be a secret.
fn headers(text: &str) -> Reading {
    const HELP: &str = "write name=value,name=value; in a value, %2C is a comma";
    let mut map = Map::new();
    for (index, entry) in text.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty()) {
        let number = index + 1;
        let Some((name, value)) = entry.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            return wrong(format!("header {number} is not written name=value"), HELP);
        };
        let Ok(value) = percent_decode_str(value.trim()).decode_utf8() else {
            return wrong(format!("the value of header {number} is not UTF-8 once it is decoded"), HELP);
        };
        map.insert(name.trim().to_owned(), json!(value));
    }
    Ok((!map.is_empty()).then_some(Value::Object(map)))
}

fn grpc_protocol(text: &str) -> Reading {
    match EnvironmentDefault::otlp_protocol(text)?.as_str() {
        "grpc" => Ok(None),
        other => another(other, "`otlp` speaks gRPC", "use the exporter `otlphttp`, or write this exporter's endpoint"),
    }
}

fn http_protocol(text: &str) -> Reading {
    match EnvironmentDefault::otlp_protocol(text)?.as_str() {
        "http/protobuf" => Ok(Some("proto".into())),
        "http/json" => Ok(Some("json".into())),
        other => another(other, "`otlphttp` speaks HTTP", "use the exporter `otlp`, or write this exporter's encoding"),
    }
}

fn temporality(text: &str) -> Reading {
    not_used(text, "cumulative", "write `temporality: delta` into the rules of the processor that makes the metrics")
}

fn aggregation(text: &str) -> Reading {
    let help = "write `type: exponential_histogram` into the rules of the processor that makes the metrics";
    not_used(text, "explicit_bucket_histogram", help)
}

/// A preference that is not followed: a warning, unless it is what happens anyhow.
fn not_used(text: &str, default: &str, help: &str) -> Reading {
    if text.trim().eq_ignore_ascii_case(default) {
        return Ok(None);
    }
    let message = format!("it is not used: what is exported is what was made, and minicol's own metrics are {default}");
    Err(Problem { path: Vec::new(), message, help: Some(help.to_owned()), warning: true })
}

/// The type of an exporter goes before the variable: a warning.
fn another(protocol: &str, but: &str, help: &str) -> Reading {
    let message = format!("the protocol shall be {protocol}, but {but}");
    Err(Problem { path: Vec::new(), message, help: Some(help.to_owned()), warning: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_baggage_and_never_repeated() {
        let read = |text| headers(text).map_err(|problem| problem.message);
        let all = json!({"api-key": "a b,c", "x": "1=2", "Authorization": "Basic dTpw=="});
        assert_eq!(read("api-key=a%20b%2Cc, x = 1=2 ,,Authorization=Basic dTpw=="), Ok(Some(all)));
        assert_eq!(read(" , "), Ok(None));
        for wrong in ["hunter2", "a=1,hunter2", "=hunter2", "a=%ffhunter2"] {
            let said = read(wrong).unwrap_err();
            assert!(said.contains("header") && !said.contains("hunter2"), "{wrong}: {said}");
        }
    }

    #[test]
    fn texts_mean_what_the_specification_says() {
        let good: [(Read, &str, Value); 13] = [
            (temporality, "Cumulative", Value::Null),
            (aggregation, "explicit_bucket_histogram", Value::Null),
            (milliseconds, "1500", json!("1500ms")),
            (milliseconds, "0", json!("0ms")),
            (switch, "True", json!(true)),
            (switch, "false", json!(false)),
            (compression, "GZIP", json!("gzip")),
            (compression, "none", json!("none")),
            (compression, "zstd", json!("zstd")),
            (http_protocol, "http/json", json!("json")),
            (http_protocol, "http/protobuf", json!("proto")),
            (grpc_protocol, "grpc", Value::Null),
            (text, " http://x:1 ", json!("http://x:1")),
        ];
        for (read, text, value) in good {
            assert_eq!(read(text).map(Option::unwrap_or_default), Ok(value), "{text}");
        }
        let bad: [(Read, &str, bool); 10] = [
            (temporality, "delta", true),
            (aggregation, "base2_exponential_bucket_histogram", true),
            (milliseconds, "10s", true),
            (milliseconds, "-1", true),
            (switch, "1", true),
            (compression, "snappy", true),
            (http_protocol, "thrift", true),
            (http_protocol, "grpc", true),
            (grpc_protocol, "http/protobuf", true),
            (headers, "x", false),
        ];
        for (read, text, warning) in bad {
            assert_eq!(read(text).map_err(|problem| problem.warning), Err(warning), "{text}");
        }
    }

    #[test]
    fn each_option_has_a_variable_for_all_signals_and_one_for_each() {
        for (all, options) in [(of_grpc(), 9), (of_http(), 9)] {
            let all: Vec<_> = all.into_iter().filter(|one| !one.key.is_empty()).collect();
            assert_eq!(all.len(), options * 4);
            let signal = |one: &EnvironmentDefault| one.signal;
            assert_eq!(all.iter().filter(|one| signal(one).is_none()).count(), options);
            for one in all.iter().filter(|one| one.signal.is_none()) {
                let of_metrics = one.variable.replace("OTLP_", "OTLP_METRICS_");
                assert!(all.iter().any(|other| other.variable == of_metrics && signal(other) == Some(Signal::Metrics)));
            }
        }
    }
}
