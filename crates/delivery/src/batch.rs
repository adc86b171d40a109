//! `sending_queue.batch`: what waits in the queue leaves it in larger batches.

use minicol_plugin::config::{GoDuration, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Sizer;

/// `sending_queue.batch`: batches are gathered at the queue's exit, and sent as one. Off where it is not written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// The longest that a batch waits for others; it is sent then, however small.
    pub flush_timeout: GoDuration,
    /// So much is enough: it is sent at once. 0 gathers nothing.
    pub min_size: usize,
    /// What is larger is sent in parts of at most this size; 0 is without limit.
    pub max_size: usize,
    /// What the sizes count: `items` or `bytes`. Default: what the queue's `sizer` counts, `items` where that is `requests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["items", "bytes", null]))]
    pub sizer: Option<Sizer>,
}

impl BatchConfig {
    /// With the sizer that it has beside a queue of this one.
    pub(crate) fn beside(mut self, queue: Sizer) -> Self {
        let inherited = if queue == Sizer::Requests { Sizer::Items } else { queue };
        self.sizer.get_or_insert(inherited);
        self
    }

    pub(crate) fn validate(&self, queue: (Sizer, usize), problems: &mut Problems) {
        if self.flush_timeout.0.is_zero() {
            problems.error("flush_timeout", "must be longer than 0s").help("200ms is the default");
        }
        if self.sizer == Some(Sizer::Requests) {
            problems.error("sizer", "`requests` cannot be the size of a batch (valid values: [items, bytes])");
        }
        if self.max_size > 0 && self.max_size < self.min_size {
            let message = format!("must not be smaller than min_size ({}), but is {}", self.min_size, self.max_size);
            problems.error("max_size", message).help("0 is without limit");
        }
        let (sizer, queue_size) = queue;
        if sizer != Sizer::Requests && self.sizer == Some(sizer) && self.min_size > queue_size {
            let message = format!(
                "{} {sizer} never come together in a queue that holds {queue_size} (sending_queue.queue_size)",
                self.min_size
            );
            problems.error("min_size", message);
        }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { flush_timeout: GoDuration::from_millis(200), min_size: 8192, max_size: 0, sizer: None }
    }
}

/// A section that is written without a body is there, with its defaults.
pub(crate) fn written<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BatchConfig>, D::Error> {
    Option::deserialize(from).map(|body| Some(body.unwrap_or_default()))
}
