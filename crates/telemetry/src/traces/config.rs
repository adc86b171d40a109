use minicol_pdata::Signal;
use minicol_plugin::config::{GoDuration, Problems};
use opentelemetry_sdk::trace::Sampler as SdkSampler;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PushExporter;

/// `service.telemetry.traces`: nothing is traced where nothing is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// Where spans are sent; where nowhere, there are none.
    #[schemars(extend("maxItems" = MAX_PROCESSORS, "examples" = [[{"batch": {"exporter": {"otlp": {"endpoint": "http://localhost:4317"}}}}]]))]
    pub processors: Vec<SpanProcessor>,
    /// Which traces are kept.
    pub sampler: Sampler,
}

/// One way out for the program's spans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpanProcessor {
    /// Spans are gathered and sent many at once.
    Batch(BatchProcessor),
}

/// `batch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchProcessor {
    /// How long a span waits for others, at most.
    #[serde(default = "default_schedule_delay")]
    #[schemars(extend("x-minimum" = MIN_DELAY))]
    pub schedule_delay: GoDuration,
    /// How long sending one batch may take.
    #[serde(default = "default_export_timeout")]
    #[schemars(extend("x-minimum" = MIN_DELAY))]
    pub export_timeout: GoDuration,
    /// How many spans may wait; what comes beyond is lost, and counted.
    #[serde(default = "default_queue_size")]
    #[schemars(extend("minimum" = 1, "maximum" = MAX_QUEUE_SIZE))]
    pub max_queue_size: usize,
    /// How many spans are sent at once, at most.
    #[serde(default = "default_batch_size")]
    #[schemars(extend("minimum" = 1, "maximum" = MAX_QUEUE_SIZE))]
    pub max_export_batch_size: usize,
    /// How and where to.
    pub exporter: PushExporter,
}

/// Which traces are kept, in the words of OpenTelemetry's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Every trace.
    AlwaysOn(Option<NoOptions>),
    /// None.
    AlwaysOff(Option<NoOptions>),
    /// A share of all traces, chosen by their ids.
    TraceIdRatioBased(Ratio),
    /// A span as its parent; one without a parent by `root`.
    ParentBased(ParentBased),
}

/// Nothing can be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// `trace_id_ratio_based`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// The share.
    #[schemars(extend("minimum" = 0, "maximum" = 1, "examples" = [0.1]))]
    pub ratio: f64,
}

/// `parent_based`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentBased {
    /// For spans without a parent.
    pub root: Box<Sampler>,
}

/// Like the metrics' readers.
const MAX_PROCESSORS: usize = 16;
/// A span that waits takes about a kibibyte.
const MAX_QUEUE_SIZE: usize = 1_000_000;
const MIN_DELAY: GoDuration = GoDuration::from_millis(10);

impl TracesConfig {
    pub(crate) fn validate(&self, problems: &mut Problems) {
        if self.processors.len() > MAX_PROCESSORS {
            let count = self.processors.len();
            problems.error("processors", format!("at most {MAX_PROCESSORS} can be had, but there are {count}"));
        }
        problems.within("processors", |problems| {
            for (index, SpanProcessor::Batch(batch)) in self.processors.iter().enumerate() {
                problems.item(index, |problems| problems.within("batch", |problems| batch.validate(problems)));
            }
        });
        problems.within("sampler", |problems| self.sampler.validate(problems));
    }
}

impl BatchProcessor {
    fn validate(&self, problems: &mut Problems) {
        for (key, duration) in [("schedule_delay", self.schedule_delay), ("export_timeout", self.export_timeout)] {
            if duration < MIN_DELAY {
                problems.error(key, format!("must be at least {MIN_DELAY}, but is {duration}"));
            }
        }
        if !(1..=MAX_QUEUE_SIZE).contains(&self.max_queue_size) {
            problems.error("max_queue_size", format!("must be from 1 to {MAX_QUEUE_SIZE}"));
        }
        if !(1..=self.max_queue_size).contains(&self.max_export_batch_size) {
            problems.error("max_export_batch_size", "must be from 1 to max_queue_size");
        }
        self.exporter.validate(Signal::Traces, problems);
    }
}

impl Sampler {
    fn validate(&self, problems: &mut Problems) {
        match self {
            Self::AlwaysOn(_) | Self::AlwaysOff(_) => {}
            Self::TraceIdRatioBased(Ratio { ratio }) => problems.within("trace_id_ratio_based", |problems| {
                if !(0.0..=1.0).contains(ratio) {
                    problems.error("ratio", format!("must be from 0.0 to 1.0, but is {ratio}"));
                }
            }),
            Self::ParentBased(ParentBased { root }) => problems.within("parent_based", |problems| {
                problems.within("root", |problems| root.validate(problems));
            }),
        }
    }

    pub(crate) fn for_sdk(&self) -> SdkSampler {
        match self {
            Self::AlwaysOn(_) => SdkSampler::AlwaysOn,
            Self::AlwaysOff(_) => SdkSampler::AlwaysOff,
            Self::TraceIdRatioBased(Ratio { ratio }) => SdkSampler::TraceIdRatioBased(*ratio),
            Self::ParentBased(ParentBased { root }) => SdkSampler::ParentBased(Box::new(root.for_sdk())),
        }
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::ParentBased(ParentBased { root: Box::new(Self::AlwaysOn(None)) })
    }
}

fn default_schedule_delay() -> GoDuration {
    GoDuration::from_secs(5)
}

fn default_export_timeout() -> GoDuration {
    GoDuration::from_secs(30)
}

fn default_queue_size() -> usize {
    2048
}

fn default_batch_size() -> usize {
    512
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(config: Value) -> TracesConfig {
        serde_json::from_value(config).unwrap()
    }

    fn problems(config: Value) -> Vec<String> {
        let mut problems = Problems::default();
        read(config).validate(&mut problems);
        problems.into_vec().into_iter().map(|problem| format!("{:?} {}", problem.path, problem.message)).collect()
    }

    fn batch(with: &Value) -> Value {
        let mut batch = json!({"exporter": {"otlp": {"endpoint": "http://x:4317"}}});
        batch.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        json!({"processors": [{"batch": batch}]})
    }

    #[test]
    fn what_users_of_the_collector_write_is_understood() {
        let config = read(batch(&json!({"schedule_delay": "1s"})));
        let SpanProcessor::Batch(batch) = &config.processors[0];
        assert_eq!((batch.schedule_delay, batch.max_queue_size), (GoDuration::from_secs(1), 2048));
        for (written, sampler) in [
            (json!({"always_on": null}), Sampler::AlwaysOn(None)),
            (json!({"always_off": {}}), Sampler::AlwaysOff(Some(NoOptions {}))),
            (json!({"trace_id_ratio_based": {"ratio": 0.5}}), Sampler::TraceIdRatioBased(Ratio { ratio: 0.5 })),
            (json!({"parent_based": {"root": {"always_on": null}}}), Sampler::default()),
        ] {
            assert_eq!(read(json!({"sampler": written})).sampler, sampler);
        }
    }

    #[test]
    fn what_cannot_work_is_told_at_its_place() {
        for (wrong, told) in [
            (batch(&json!({"schedule_delay": "0s"})), "schedule_delay"),
            (batch(&json!({"export_timeout": "0s"})), "export_timeout"),
            (batch(&json!({"max_queue_size": 0, "max_export_batch_size": 1})), "max_queue_size"),
            (batch(&json!({"max_export_batch_size": 4096})), "max_export_batch_size"),
            (batch(&json!({"exporter": {"otlp": {"metrics_endpoint": "http://x/m"}}})), "metrics_endpoint"),
            (json!({"sampler": {"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 2.0}}}}}), "ratio"),
        ] {
            let problems = problems(wrong);
            assert!(problems.iter().any(|problem| problem.contains(told)), "{told}: {problems:?}");
        }
        assert!(problems(batch(&json!({}))).is_empty());
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for wrong in [json!({"propagators": ["b3"]}), json!({"level": "none"}), json!({"processors": [{"simple": {}}]})]
        {
            assert!(serde_json::from_value::<TracesConfig>(wrong).is_err());
        }
    }
}
