use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use minicol_pdata::Signal;
use minicol_plugin::config::{ComponentConfig, GoDuration, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::{PushExporter, TracesConfig};

/// `service.telemetry`: what the program tells about itself, and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// What the program writes to standard error.
    pub logs: LogsConfig,
    /// Attributes of the program's own resource, beside `service.name`, `service.version` and `service.instance.id`; null takes one away.
    #[schemars(extend("examples" = [{"deployment.environment.name": "production", "service.instance.id": null}]))]
    pub resource: BTreeMap<String, Option<ResourceValue>>,
    /// The program's own metrics.
    pub metrics: MetricsConfig,
    /// The program's own traces.
    pub traces: TracesConfig,
}

/// `service.telemetry.logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// The least severe that is written. The environment variable `RUST_LOG` overrides it.
    pub level: LogLevel,
    /// For a person (`console`) or for a machine (`json`, one object per line).
    pub encoding: LogEncoding,
}

/// How loud a log line must be to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything that may help to find a fault.
    Debug,
    /// What starts, changes and stops.
    #[default]
    Info,
    /// What is not as it should be.
    Warn,
    /// What is lost or does not work.
    Error,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogEncoding {
    /// For a person; in colour on a terminal.
    #[default]
    Console,
    /// For a machine: one JSON object per line.
    Json,
}

/// The value of a resource's attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ResourceValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Text.
    String(String),
}

/// `service.telemetry.metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// How much is measured.
    pub level: MetricsLevel,
    /// Where it can be read and where it is sent.
    #[schemars(extend("maxItems" = MAX_READERS))]
    pub readers: Vec<Reader>,
}

/// How much the program measures about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricsLevel {
    /// Nothing, and no page.
    None,
    /// Counters and gauges under the names that dashboards are built on; no histograms, nothing under `minicol_`.
    Basic,
    /// Also histograms, and minicol's own counters and gauges; not the counts per arrow (`minicol_edge_...`) and minicol's own histograms.
    #[default]
    Normal,
    /// Everything.
    Detailed,
}

/// One way out for the program's metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(clippy::large_enum_variant)] // a few, read once
pub enum Reader {
    /// Somebody asks for them.
    Pull(Pull),
    /// They are sent again and again.
    Periodic(Periodic),
}

/// `pull`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pull {
    /// What is served.
    pub exporter: PullExporter,
}

/// What a `pull` reader serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PullExporter {
    /// A page in the text format of Prometheus, at `/metrics`.
    Prometheus(PrometheusPage),
}

/// Where the Prometheus page is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusPage {
    /// The name or address to listen on.
    pub host: String,
    /// The port; 0 takes a free one. Where the default is taken, the program warns and goes on; where a port that is written here is
    /// taken, it does not start.
    #[serde(serialize_with = "port_or_default")]
    pub port: Option<u16>,
}

/// `periodic`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Periodic {
    /// The time between two pushes.
    #[serde(default = "default_interval")]
    #[schemars(extend("x-minimum" = MIN_INTERVAL))]
    pub interval: GoDuration,
    /// How and where to.
    pub exporter: PushExporter,
}

const DEFAULT_PORT: u16 = 8888;
const MAX_READERS: usize = 16;
const MIN_INTERVAL: GoDuration = GoDuration::from_millis(100);

impl ComponentConfig for TelemetryConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.within("resource", |problems| {
            for name in self.resource.keys().filter(|name| name.trim().is_empty()) {
                problems.error(name, "an attribute must have a name");
            }
        });
        problems.within("metrics", |problems| self.metrics.validate(problems));
        problems.within("traces", |problems| self.traces.validate(problems));
    }
}

impl MetricsConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.readers.len() > MAX_READERS {
            problems.error(
                "readers",
                format!("at most {MAX_READERS} readers can be had, but there are {}", self.readers.len()),
            );
        }
        let mut taken = BTreeSet::new();
        problems.within("readers", |problems| {
            for (index, reader) in self.readers.iter().enumerate() {
                problems.item(index, |problems| reader.validate(&mut taken, problems));
            }
        });
    }
}

impl Reader {
    fn validate(&self, taken: &mut BTreeSet<String>, problems: &mut Problems) {
        match self {
            Self::Pull(Pull { exporter: PullExporter::Prometheus(page) }) => problems.within("pull", |problems| {
                problems.within("exporter", |problems| {
                    problems.within("prometheus", |problems| page.validate(taken, problems));
                });
            }),
            Self::Periodic(periodic) => problems.within("periodic", |problems| {
                if periodic.interval < MIN_INTERVAL {
                    problems
                        .error("interval", format!("must be at least {MIN_INTERVAL}, but is {}", periodic.interval));
                }
                periodic.exporter.validate(Signal::Metrics, problems);
            }),
        }
    }
}

impl PrometheusPage {
    /// The port to listen on.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        if host.contains(':') { format!("[{host}]:{}", self.port()) } else { format!("{host}:{}", self.port()) }
    }

    /// Whether the program goes on without the page where listening failed so. What the user wrote must work; a default that does not (its port
    /// is taken, this machine knows no `localhost`) must not keep the program from starting.
    pub(crate) fn may_be_missing(&self, why: io::ErrorKind) -> bool {
        self.port.is_none() && (why == io::ErrorKind::AddrInUse || self.host == Self::default().host)
    }

    fn validate(&self, taken: &mut BTreeSet<String>, problems: &mut Problems) {
        if self.host.trim().is_empty() {
            problems
                .error("host", "is empty")
                .help("`localhost` is for this machine only; `0.0.0.0` is for everybody on the network");
        }
        if self.port() != 0 && !taken.insert(self.address()) {
            problems.error("port", format!("another reader listens on {} already", self.address()));
        }
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        let page = Pull { exporter: PullExporter::Prometheus(PrometheusPage::default()) };
        Self { level: MetricsLevel::default(), readers: vec![Reader::Pull(page)] }
    }
}

impl Default for PrometheusPage {
    fn default() -> Self {
        Self { host: "localhost".to_owned(), port: None }
    }
}

fn default_interval() -> GoDuration {
    GoDuration::from_secs(60)
}

#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)] // serde's signature
fn port_or_default<S: Serializer>(port: &Option<u16>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(port.unwrap_or(DEFAULT_PORT))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::OtlpPushProtocol;

    fn problems(config: serde_json::Value) -> Vec<String> {
        let config: TelemetryConfig = serde_json::from_value(config).unwrap();
        let mut problems = Problems::default();
        config.validate(&mut problems);
        problems.into_vec().into_iter().map(|problem| format!("{:?} {}", problem.path, problem.message)).collect()
    }

    #[test]
    fn nothing_written_is_a_page_on_localhost_8888() {
        let shown = serde_json::to_value(TelemetryConfig::default()).unwrap();
        let page = json!({"pull": {"exporter": {"prometheus": {"host": "localhost", "port": 8888}}}});
        assert_eq!(shown["metrics"], json!({"level": "normal", "readers": [page]}));
        assert_eq!(shown["logs"], json!({"level": "info", "encoding": "console"}));
    }

    #[test]
    fn what_users_of_the_collector_write_is_understood() {
        let config: TelemetryConfig = serde_json::from_value(json!({
            "resource": {"service.name": "edge", "service.instance.id": null, "shard": 3},
            "metrics": {"level": "detailed", "readers": [
                {"pull": {"exporter": {"prometheus": {"host": "0.0.0.0", "port": 8889}}}},
                {"periodic": {"interval": "10s", "exporter": {"otlp": {"protocol": "http/protobuf", "endpoint": "http://x:4318"}}}},
            ]},
        }))
        .unwrap();
        let Reader::Periodic(periodic) = &config.metrics.readers[1] else { panic!("{config:?}") };
        let PushExporter::Otlp(push) = &periodic.exporter;
        assert_eq!((push.protocol, periodic.interval), (OtlpPushProtocol::HttpProtobuf, GoDuration::from_secs(10)));
        assert_eq!(config.resource["shard"], Some(ResourceValue::Int(3)));
        assert!(problems(serde_json::to_value(&config).unwrap()).is_empty());
    }

    #[test]
    fn what_cannot_work_is_told_at_its_place() {
        let page = |host: &str, port: u16| json!({"pull": {"exporter": {"prometheus": {"host": host, "port": port}}}});
        let twice = problems(json!({"metrics": {"readers": [page("localhost", 1), page("localhost", 1)]}}));
        assert!(
            twice.len() == 1 && twice[0].contains("Index(1)") && twice[0].contains("localhost:1 already"),
            "{twice:?}"
        );
        assert!(problems(json!({"metrics": {"readers": [page("", 1)]}}))[0].contains("host"));
        let push = json!({"periodic": {"interval": "1ms", "exporter": {"otlp": {"traces_endpoint": "http://x/t"}}}});
        assert_eq!(problems(json!({"metrics": {"readers": [push]}})).len(), 2);
    }

    #[test]
    fn only_a_default_may_fail() {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable};
        let page = |host: &str, port| PrometheusPage { host: host.to_owned(), port };
        assert!(page("localhost", None).may_be_missing(AddrInUse));
        assert!(page("localhost", None).may_be_missing(AddrNotAvailable));
        assert!(page("0.0.0.0", None).may_be_missing(AddrInUse));
        assert!(!page("10.0.0.9", None).may_be_missing(AddrNotAvailable));
        assert!(!page("localhost", Some(8888)).may_be_missing(AddrInUse));
    }

    #[test]
    fn keys_of_later_versions_are_refused() {
        for wrong in [
            json!({"profiles": {}}),
            json!({"metrics": {"address": ":8888"}}),
            json!({"metrics": {"readers": [{"poll": {}}]}}),
        ] {
            assert!(serde_json::from_value::<TelemetryConfig>(wrong).is_err());
        }
    }

    #[test]
    fn the_example_of_the_readme_is_understood() {
        let readme = include_str!("../README.md");
        let yaml = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let written: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
        let config = written["service"]["telemetry"].clone();
        assert!(problems(config.clone()).is_empty());
        let config: TelemetryConfig = serde_json::from_value(config).unwrap();
        assert_eq!((config.metrics.readers.len(), config.traces.processors.len()), (2, 1));
        assert_eq!(config.resource["service.instance.id"], None);
    }
}
