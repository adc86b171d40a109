use std::{any::Any, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Logs, Metrics, Observations, Traces, memory::Held};

/// The kinds of telemetry that an arrow between two components can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// JSON documents as a source answered them.
    Observations,
    /// OTLP metrics.
    Metrics,
    /// OTLP log records.
    Logs,
    /// OTLP spans.
    Traces,
}

/// What passes an arrow at once. Cloning is cheap: what is shared is copied only when somebody writes.
#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    /// JSON documents as a source answered them.
    Observations(Observations),
    /// OTLP metrics.
    Metrics(Metrics),
    /// OTLP log records.
    Logs(Logs),
    /// OTLP spans.
    Traces(Traces),
}

impl Signal {
    /// Every signal, in the order of the enum.
    pub const ALL: [Self; 4] = [Self::Observations, Self::Metrics, Self::Logs, Self::Traces];

    /// As a pipeline's id names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observations => "observations",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }

    /// As metric names call its items: `observations`, `metric_points`, `log_records`, `spans`.
    pub const fn items(self) -> &'static str {
        match self {
            Self::Observations => "observations",
            Self::Metrics => "metric_points",
            Self::Logs => "log_records",
            Self::Traces => "spans",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Batch {
    /// Which signal this is.
    pub const fn signal(&self) -> Signal {
        match self {
            Self::Observations(_) => Signal::Observations,
            Self::Metrics(_) => Signal::Metrics,
            Self::Logs(_) => Signal::Logs,
            Self::Traces(_) => Signal::Traces,
        }
    }

    /// How many observations, data points, log records or spans it holds.
    pub fn items(&self) -> usize {
        match self {
            Self::Observations(batch) => batch.len(),
            Self::Metrics(batch) => batch.items(),
            Self::Logs(batch) => batch.items(),
            Self::Traces(batch) => batch.items(),
        }
    }

    /// Its size in bytes: OTLP as it is encoded; observations as the length of their JSON text.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Observations(batch) => batch.bytes(),
            Self::Metrics(batch) => batch.bytes(),
            Self::Logs(batch) => batch.bytes(),
            Self::Traces(batch) => batch.bytes(),
        }
    }

    /// With all that `more` holds at its end. Of another signal there is nothing to add.
    #[must_use]
    pub fn joined(mut self, more: Self) -> Self {
        match (&mut self, more) {
            (Self::Metrics(batch), Self::Metrics(more)) => batch.append(more),
            (Self::Logs(batch), Self::Logs(more)) => batch.append(more),
            (Self::Traces(batch), Self::Traces(more)) => batch.append(more),
            (Self::Observations(batch), Self::Observations(more)) => batch.append(&more),
            _ => {}
        }
        self
    }

    /// In two: the first `keep` items, and the others.
    #[must_use]
    pub fn split_at(self, keep: usize) -> (Self, Self) {
        fn both<T: Into<Batch>>((first, others): (T, T)) -> (Batch, Batch) {
            (first.into(), others.into())
        }
        match self {
            Self::Observations(batch) => both(batch.split_at(keep)),
            Self::Metrics(batch) => both(batch.split_at(keep)),
            Self::Logs(batch) => both(batch.split_at(keep)),
            Self::Traces(batch) => both(batch.split_at(keep)),
        }
    }

    /// About how many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        match self {
            Self::Observations(batch) => batch.memory(),
            Self::Metrics(batch) => batch.memory(),
            Self::Logs(batch) => batch.memory(),
            Self::Traces(batch) => batch.memory(),
        }
    }

    /// Keeps `what` until this batch and every clone and part of it are gone.
    pub fn hold<T: Any + Send + Sync>(&mut self, what: Arc<T>) {
        self.held_mut().hold(what);
    }

    /// Keeps what `other` keeps: for what was made of it and stands in its place.
    pub fn hold_as(&mut self, other: &Self) {
        self.held_mut().add(other.held_ref());
    }

    /// What of this type is kept with it.
    pub fn held<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.held_ref().find()
    }

    fn held_ref(&self) -> &Held {
        match self {
            Self::Observations(batch) => &batch.held,
            Self::Metrics(batch) => &batch.held,
            Self::Logs(batch) => &batch.held,
            Self::Traces(batch) => &batch.held,
        }
    }

    fn held_mut(&mut self) -> &mut Held {
        match self {
            Self::Observations(batch) => &mut batch.held,
            Self::Metrics(batch) => &mut batch.held,
            Self::Logs(batch) => &mut batch.held,
            Self::Traces(batch) => &mut batch.held,
        }
    }

    /// True where nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.items() == 0
    }
}

impl From<Observations> for Batch {
    fn from(batch: Observations) -> Self {
        Self::Observations(batch)
    }
}

impl From<Metrics> for Batch {
    fn from(batch: Metrics) -> Self {
        Self::Metrics(batch)
    }
}

impl From<Logs> for Batch {
    fn from(batch: Logs) -> Self {
        Self::Logs(batch)
    }
}

impl From<Traces> for Batch {
    fn from(batch: Traces) -> Self {
        Self::Traces(batch)
    }
}
