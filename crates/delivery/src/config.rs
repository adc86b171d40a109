use std::fmt;

use minicol_pdata::Signal;
use minicol_plugin::config::{GoDuration, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::{self, BatchConfig};

/// The keys of delivery as a user wrote them, beside an exporter's own. [`DeliverySettings::resolve`] fills in the defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeliverySettings {
    /// How long one attempt may take; `0s` is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GoDuration>,
    /// The same for one signal, where it shall be another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// What happens when an attempt failed and another may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_on_failure: Option<RetryConfig>,
    /// Where batches wait for their delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sending_queue: Option<QueueConfig>,
}

/// How one exporter's batches are delivered, with all defaults. It serializes in the shape of a pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeliveryConfig {
    /// How long one attempt may take; zero is without limit.
    pub timeout: GoDuration,
    /// The same for one signal, where it is another.
    #[serde(skip_serializing_if = "Timeouts::is_empty")]
    pub timeouts: Timeouts,
    /// What happens when an attempt failed and another may help.
    pub retry_on_failure: RetryConfig,
    /// Where batches wait for their delivery.
    pub sending_queue: QueueConfig,
}

/// `timeouts`: what `timeout` is for one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["10s"]))]
    pub metrics: Option<GoDuration>,
    /// For logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["10s"]))]
    pub logs: Option<GoDuration>,
    /// For traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["10s"]))]
    pub traces: Option<GoDuration>,
}

/// `retry_on_failure`: the wait before the next attempt grows, and is spread at random; where the far end asks for a longer one, that is waited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Whether to try again at all.
    pub enabled: bool,
    /// The wait after the first failure.
    pub initial_interval: GoDuration,
    /// How far a wait may lie from its nominal length, both ways: 0.5 is from half to one and a half of it.
    #[schemars(extend("minimum" = 0, "maximum" = 1))]
    pub randomization_factor: f64,
    /// What the wait is multiplied by after each failure.
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub multiplier: f64,
    /// The longest nominal wait.
    pub max_interval: GoDuration,
    /// How long a batch is tried before it is given up; `0s` is for ever.
    pub max_elapsed_time: GoDuration,
}

/// `sending_queue`: what was taken and not yet delivered, in memory or in a storage. One per exporter and signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Whether there is a queue; without one the sender waits for the delivery.
    pub enabled: bool,
    /// How many batches are delivered at once.
    #[schemars(extend("minimum" = 1, "maximum" = MAX_CONSUMERS))]
    pub num_consumers: usize,
    /// How much the queue holds, in what `sizer` counts, batches in delivery included.
    #[schemars(extend("minimum" = 1, "maximum" = MAX_QUEUE_SIZE))]
    pub queue_size: usize,
    /// What `queue_size` counts.
    pub sizer: Sizer,
    /// When the queue is full: make the sender wait (true) or refuse its batch (false).
    pub block_on_overflow: bool,
    /// The id of an extension that keeps the queue, so that it outlives the process; without one it is in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["file_storage"]))]
    pub storage: Option<String>,
    /// How batches are gathered at the queue's exit, and sent as one; without it each is sent as it came.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "batch::written")]
    pub batch: Option<BatchConfig>,
}

/// What the size of a queue counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sizer {
    /// Batches.
    #[default]
    Requests,
    /// Data points, spans, log records or observations.
    Items,
    /// Bytes as OTLP encodes them; of observations the length of their JSON text.
    Bytes,
}

/// What a queue may hold at most, in any unit: what the semaphore under it can count.
const MAX_QUEUE_SIZE: usize = u32::MAX as usize >> 1;
const MAX_CONSUMERS: usize = 1_000;

impl DeliverySettings {
    /// The keys that belong to delivery, not to the exporter.
    pub const KEYS: [&'static str; 4] = ["timeout", "timeouts", "retry_on_failure", "sending_queue"];

    /// With defaults for what is not written. `queued` is the exporter's `Entry::queued`: without it there is no queue and no retry unless the
    /// user wrote that section.
    pub fn resolve(&self, queued: bool) -> DeliveryConfig {
        let defaults = if queued { DeliveryConfig::default() } else { DeliveryConfig::unqueued() };
        DeliveryConfig {
            timeout: self.timeout.unwrap_or(defaults.timeout),
            timeouts: self.timeouts.unwrap_or_default(),
            retry_on_failure: self.retry_on_failure.clone().unwrap_or(defaults.retry_on_failure),
            sending_queue: self.sending_queue.clone().map_or(defaults.sending_queue, QueueConfig::resolve),
        }
    }
}

impl DeliveryConfig {
    /// No queue and no retries: for exporters that write on the spot, such as `debug`.
    pub fn unqueued() -> Self {
        Self {
            timeout: GoDuration::from_secs(5),
            timeouts: Timeouts::default(),
            retry_on_failure: RetryConfig { enabled: false, ..RetryConfig::default() },
            sending_queue: QueueConfig { enabled: false, ..QueueConfig::default() },
        }
    }

    /// How long one attempt to deliver `signal` may take; zero is without limit.
    pub fn timeout_of(&self, signal: Signal) -> GoDuration {
        let own = match signal {
            Signal::Metrics => self.timeouts.metrics,
            Signal::Logs => self.timeouts.logs,
            Signal::Traces => self.timeouts.traces,
            Signal::Observations => None,
        };
        own.unwrap_or(self.timeout)
    }

    /// The extension that keeps the queues, where there are any.
    pub fn storage(&self) -> Option<&str> {
        self.sending_queue.storage.as_deref().filter(|_| self.sending_queue.enabled)
    }

    /// Adds everything that is wrong with it, at the paths of a pipeline file.
    pub fn validate(&self, problems: &mut Problems) {
        problems.within("retry_on_failure", |problems| self.retry_on_failure.validate(problems));
        problems.within("sending_queue", |problems| self.sending_queue.validate(problems));
    }
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            timeout: GoDuration::from_secs(5),
            timeouts: Timeouts::default(),
            retry_on_failure: RetryConfig::default(),
            sending_queue: QueueConfig::default(),
        }
    }
}

impl Timeouts {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl RetryConfig {
    fn validate(&self, problems: &mut Problems) {
        if !self.enabled {
            return;
        }
        if self.initial_interval.0.is_zero() {
            problems.error("initial_interval", "must be longer than 0s").help("5s is the default");
        }
        problems.range("randomization_factor", self.randomization_factor, 0.0, 1.0);
        problems.range("multiplier", self.multiplier, 1.0, 100.0);
        if self.max_interval < self.initial_interval {
            let message = format!("must not be shorter than initial_interval ({})", self.initial_interval);
            problems.error("max_interval", message);
        }
        let elapsed = self.max_elapsed_time;
        if !elapsed.0.is_zero() && elapsed < self.initial_interval {
            let message = format!(
                "{elapsed} is shorter than initial_interval ({}): nothing may ever be tried again",
                self.initial_interval
            );
            problems.warning("max_elapsed_time", message).help("0s is for ever; `enabled: false` switches retries off");
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            initial_interval: GoDuration::from_secs(5),
            randomization_factor: 0.5,
            multiplier: 1.5,
            max_interval: GoDuration::from_secs(30),
            max_elapsed_time: GoDuration::from_secs(300),
        }
    }
}

impl QueueConfig {
    fn resolve(mut self) -> Self {
        self.batch = self.batch.map(|batch| batch.beside(self.sizer));
        self
    }

    fn validate(&self, problems: &mut Problems) {
        if !self.enabled {
            if let Some(storage) = &self.storage {
                let message = format!("`{storage}` keeps nothing: the queue is not enabled");
                problems.warning("storage", message).help("take it away, or set `enabled: true`");
            }
            return;
        }
        between(problems, "num_consumers", self.num_consumers, MAX_CONSUMERS);
        between(problems, "queue_size", self.queue_size, MAX_QUEUE_SIZE);
        if let Some(batch) = &self.batch {
            problems.within("batch", |problems| batch.validate((self.sizer, self.queue_size), problems));
        }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            num_consumers: 10,
            queue_size: 1000,
            sizer: Sizer::Requests,
            block_on_overflow: false,
            storage: None,
            batch: None,
        }
    }
}

impl fmt::Display for Sizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests => "requests",
            Self::Items => "items",
            Self::Bytes => "bytes",
        })
    }
}

fn between(problems: &mut Problems, field: &str, value: usize, max: usize) {
    if !(1..=max).contains(&value) {
        problems.error(field, format!("must be between 1 and {max}, but is {value}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(settings: serde_json::Value) -> Vec<String> {
        let settings: DeliverySettings = serde_json::from_value(settings).unwrap();
        let mut problems = Problems::default();
        settings.resolve(true).validate(&mut problems);
        problems
            .into_vec()
            .into_iter()
            .map(|problem| format!("{:?}: {}", problem.path.last(), problem.message))
            .collect()
    }

    #[test]
    fn defaults_are_those_that_users_of_the_collector_know() {
        let shown = serde_json::to_value(DeliverySettings::default().resolve(true)).unwrap();
        let known = json!({
            "timeout": "5s",
            "retry_on_failure": {
                "enabled": true, "initial_interval": "5s", "randomization_factor": 0.5, "multiplier": 1.5,
                "max_interval": "30s", "max_elapsed_time": "5m",
            },
            "sending_queue": {
                "enabled": true, "num_consumers": 10, "queue_size": 1000, "sizer": "requests", "block_on_overflow": false,
            },
        });
        assert_eq!(shown, known);
        let names: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
        assert!(names.iter().all(|name| DeliverySettings::KEYS.contains(&name.as_str())), "{names:?}");
    }

    #[test]
    fn an_exporter_without_a_queue_gets_one_only_where_it_is_written() {
        let bare = DeliverySettings::default().resolve(false);
        assert!(!bare.sending_queue.enabled && !bare.retry_on_failure.enabled);
        let written: DeliverySettings = serde_json::from_value(json!({"sending_queue": {"queue_size": 3}})).unwrap();
        let queued = written.resolve(false);
        assert!(queued.sending_queue.enabled && queued.sending_queue.queue_size == 3);
        assert!(!queued.retry_on_failure.enabled);
    }

    #[test]
    fn what_cannot_work_is_told_at_its_key() {
        assert!(problems(json!({})).is_empty());
        for (wrong, told) in [
            (json!({"sending_queue": {"queue_size": 0}}), "queue_size"),
            (json!({"sending_queue": {"num_consumers": 0}}), "num_consumers"),
            (json!({"sending_queue": {"enabled": false, "storage": "file_storage"}}), "`file_storage` keeps nothing"),
            (json!({"sending_queue": {"batch": {"flush_timeout": "0s"}}}), "flush_timeout"),
            (json!({"sending_queue": {"batch": {"sizer": "requests"}}}), "sizer"),
            (json!({"sending_queue": {"batch": {"min_size": 5, "max_size": 4}}}), "max_size"),
            (json!({"sending_queue": {"sizer": "items", "batch": {}}}), "min_size"),
            (json!({"retry_on_failure": {"initial_interval": "0"}}), "initial_interval"),
            (json!({"retry_on_failure": {"multiplier": 0.5}}), "multiplier"),
            (json!({"retry_on_failure": {"randomization_factor": 1.5}}), "randomization_factor"),
            (json!({"retry_on_failure": {"max_interval": "1s"}}), "max_interval"),
            (json!({"retry_on_failure": {"max_elapsed_time": "1s"}}), "max_elapsed_time"),
        ] {
            let found = problems(wrong);
            assert!(found.len() == 1 && found[0].contains(told), "{found:?}");
        }
        let off = json!({"sending_queue": {"enabled": false, "queue_size": 0}});
        assert!(problems(off).is_empty(), "what is switched off is not checked");
    }

    #[test]
    fn batches_are_gathered_where_that_is_written_with_the_collectors_defaults() {
        let batch = |written| {
            let settings: DeliverySettings = serde_json::from_value(json!({"sending_queue": written})).unwrap();
            serde_json::to_value(settings.resolve(true)).unwrap()["sending_queue"]["batch"].clone()
        };
        assert!(batch(json!({})).is_null());
        let defaults = json!({"flush_timeout": "200ms", "min_size": 8192, "max_size": 0, "sizer": "items"});
        assert_eq!(batch(json!({"batch": {}})), defaults);
        assert_eq!(batch(json!({"batch": null})), defaults, "a section without a body is there");
        assert_eq!(batch(json!({"sizer": "bytes", "batch": {}}))["sizer"], "bytes", "as the queue counts");
        assert_eq!(batch(json!({"sizer": "bytes", "batch": {"sizer": "items"}}))["sizer"], "items");
        assert!(serde_json::from_value::<DeliverySettings>(json!({"sending_queue": {"batch": {"size": 1}}})).is_err());
    }

    #[test]
    fn the_examples_of_the_readme_are_understood() {
        let readme = include_str!("../README.md");
        let examples: Vec<DeliveryConfig> = readme
            .split("```yaml\n")
            .skip(1)
            .map(|rest| {
                let mut written: serde_json::Value = serde_yaml::from_str(rest.split("```").next().unwrap()).unwrap();
                let mut otlp = written["exporters"]["otlp"].take();
                otlp.as_object_mut().unwrap().remove("endpoint").unwrap();
                assert_eq!(problems(otlp.clone()), Vec::<String>::new());
                serde_json::from_value::<DeliverySettings>(otlp).unwrap().resolve(true)
            })
            .collect();
        assert_eq!(examples[0].sending_queue.sizer, Sizer::Items);
        assert_eq!(examples[1].sending_queue.batch.as_ref().unwrap().sizer, Some(Sizer::Items));
    }
}
