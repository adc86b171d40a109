use minicol_pdata::Signal;
use serde_json::Value;

use crate::config::Problem;

/// An environment variable that gives what the configuration does not write, as a standard has it. What is written goes before it; of two
/// variables for one key the first that is set is taken.
#[derive(Clone, Debug)]
pub struct EnvironmentDefault {
    /// Its name. Set to nothing, it counts as not set.
    pub variable: String,
    /// For an exporter: it is looked at only where this signal reaches the exporter.
    pub signal: Option<Signal>,
    /// What it gives: a key of the component, or one that the host takes off it (`timeout`).
    pub key: Vec<&'static str>,
    /// Keys of which none may be written beside `key`: the same thing, said in another way.
    pub unless: Vec<Vec<&'static str>>,
    /// Where it may be shown to others: the keys that say who they are, of each way that data takes the first one that is there. Where that one is written
    /// in the configuration, the variable may have been meant for another: that is warned of.
    pub shown_to: Vec<Vec<Vec<&'static str>>>,
    /// Makes a value of its text; `Ok(None)` where it gives nothing. The path of a problem is not used: it is told at the variable.
    pub read: fn(&str) -> Result<Option<Value>, Problem>,
}

impl EnvironmentDefault {
    /// A variable that OpenTelemetry's SDKs know (`specification/protocol/exporter.md`): `OTEL_EXPORTER_OTLP_<name>`, or that of one signal. Which is
    /// for one signal stands before that for all.
    pub fn otlp(
        signal: Option<Signal>,
        name: &str,
        key: Vec<&'static str>,
        unless: Vec<Vec<&'static str>>,
        read: fn(&str) -> Result<Option<Value>, Problem>,
    ) -> Self {
        let of = signal.map(|signal| format!("{}_", signal.name().to_uppercase())).unwrap_or_default();
        Self { variable: format!("OTEL_EXPORTER_OTLP_{of}{name}"), signal, key, unless, shown_to: Vec::new(), read }
    }

    /// It is shown to whoever these keys say.
    #[must_use]
    pub fn shown_to(mut self, ways: Vec<Vec<Vec<&'static str>>>) -> Self {
        self.shown_to = ways;
        self
    }

    /// A protocol as the variables `OTEL_EXPORTER_OTLP_..._PROTOCOL` name it.
    ///
    /// # Errors
    /// It is none of the three that there are: a warning, as the SDKs pass such a value over.
    pub fn otlp_protocol(text: &str) -> Result<String, Problem> {
        let name = text.trim().to_ascii_lowercase();
        match name.as_str() {
            "grpc" | "http/protobuf" | "http/json" => Ok(name),
            _ => Err(Problem {
                path: Vec::new(),
                message: format!("`{text}` is no protocol of OTLP, and is passed over"),
                help: Some("write grpc, http/protobuf or http/json".to_owned()),
                warning: true,
            }),
        }
    }
}
