//! One series: what it is, its last value, and its last hour.

use std::{
    collections::{VecDeque, hash_map::DefaultHasher},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use minicol_pdata::{Attributes, MetricKind, MetricView, Number, PointValue, PointView, Temporality, Timestamp};
use minicol_plugin::{Redactor, text};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{STEP, STEPS};

/// How long a name, a description, or an attribute's value may be, in characters.
pub(super) const CHARS: usize = 200;
/// How many attributes of a series are shown.
const ATTRIBUTES: usize = 32;
/// The bytes of a value's text, and so much more than one series the table has room for.
const VALUE_BYTES: usize = 256;
const SLACK: usize = 2;

/// One series.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) of: Arc<Described>,
    pub(crate) attributes: Labels,
    /// For a person; empty where it has ended.
    pub(crate) value: String,
    pub(crate) start: Timestamp,
    pub(crate) time: Timestamp,
    /// Its last point said that it has no value any more.
    pub(crate) ended: bool,
    /// How often it began anew in the last hour.
    pub(crate) past: VecDeque<Past>,
    /// When the last point came, on the monotonic clock.
    pub(super) seen: Duration,
    /// The shortest time between two points.
    pace: Duration,
    /// What the last point said.
    number: f64,
}

/// What the points of a metric share.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) pipeline: Box<str>,
    pub(crate) resource: Labels,
    pub(crate) name: Box<str>,
    pub(crate) unit: Box<str>,
    pub(crate) description: Box<str>,
    pub(crate) kind: &'static str,
    cumulative: bool,
    monotonic: bool,
}

/// Attributes as they are shown: names and values, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels(Box<[(Box<str>, Box<str>)]>);

/// How it was in one step of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Past {
    /// The step, from the program's start.
    pub(crate) step: u32,
    /// The last value; NaN where it ended.
    pub(crate) value: f64,
    /// It began anew in this step: the counter fell, or its source started again.
    pub(crate) reset: bool,
}

impl Series {
    /// What one takes beside its labels: itself in the table, its last hour, and the text of its value.
    pub(super) const FIXED: usize =
        SLACK * size_of::<(u64, Self)>() + (STEPS + 1).next_power_of_two() as usize * size_of::<Past>() + VALUE_BYTES;

    pub(super) fn new(of: Arc<Described>, attributes: Labels, at: Duration) -> Self {
        Self {
            of,
            attributes,
            value: String::new(),
            start: Timestamp::UNSET,
            time: Timestamp::UNSET,
            ended: true,
            past: VecDeque::new(),
            seen: at,
            pace: Duration::MAX,
            number: f64::NAN,
        }
    }

    /// How many bytes it takes at most, beside what it shares.
    pub(super) fn bytes(&self) -> usize {
        Self::FIXED + self.attributes.bytes()
    }

    pub(super) fn take(&mut self, point: &PointView<'_>, at: Duration) {
        let number = if point.no_recorded_value { f64::NAN } else { number(&point.value) };
        // A sender that was refused offers it again, perhaps after what was newer: that tells nothing new.
        let same_life = point.start == self.start && !self.time.is_unset();
        let again = point.time == self.time && number.to_bits() == self.number.to_bits() && !point.time.is_unset();
        if same_life && (again || (self.of.cumulative && point.time < self.time)) {
            return;
        }
        let live = !self.number.is_nan() && !number.is_nan();
        // What follows an end goes on where it was told so, else it is new.
        let anew = self.of.cumulative && !self.start.is_unset() && point.start > self.start;
        let fell = self.of.monotonic && self.of.cumulative && live && number < self.number;
        let reset = !number.is_nan() && (anew || fell);
        if !self.time.is_unset() {
            let since = at.saturating_sub(self.seen);
            self.pace = if since.is_zero() { self.pace } else { self.pace.min(since) };
        }
        self.value = if number.is_nan() { String::new() } else { text::shortened(&point.value.to_string(), CHARS) };
        (self.start, self.time, self.ended) = (point.start, point.time, number.is_nan());
        (self.seen, self.number) = (at, number);
        let step = step(at);
        match self.past.back_mut() {
            Some(last) if last.step == step => (last.value, last.reset) = (number, last.reset || reset),
            _ => self.past.push_back(Past { step, value: number, reset }),
        }
        while self.past.front().is_some_and(|first| first.step + STEPS < step) {
            self.past.pop_front();
        }
    }

    /// How often it began anew in the last hour.
    pub(crate) fn resets(&self) -> usize {
        self.past.iter().filter(|past| past.reset).count()
    }

    /// So many steps without a value are a gap, not just a long way from point to point.
    pub(crate) fn patience(&self) -> u32 {
        if self.pace == Duration::MAX { STEPS } else { step(self.pace.saturating_mul(3)).max(1) }
    }

    /// No point has come for several times as long as usual.
    pub(crate) fn is_silent(&self, at: Duration) -> bool {
        at.saturating_sub(self.seen) > self.pace.saturating_mul(3).max(STEP)
    }

    pub(super) fn has(&self, word: &str) -> bool {
        let of = &self.of;
        let plain = [&*of.name, &of.unit, of.kind, &of.pipeline, &of.description];
        let of_attributes = self.attributes.iter().chain(of.resource.iter());
        plain.iter().any(|text| text.to_lowercase().contains(word)) || { of_attributes }
            .any(|(name, value)| format!("{name}={value}").to_lowercase().contains(word))
    }

    pub(super) fn order(&self) -> impl Ord + '_ {
        (&self.of.name, &self.of.pipeline, &self.of.resource, &self.attributes)
    }
}

/// The step of time in which `at` lies.
pub(crate) fn step(at: Duration) -> u32 {
    u32::try_from(at.as_secs() / STEP.as_secs()).unwrap_or(u32::MAX)
}

pub(super) fn describe(pipeline: &str, resource: Labels, metric: &MetricView<'_>, kind: MetricKind) -> Described {
    let temporality = match kind {
        MetricKind::Sum { temporality, .. }
        | MetricKind::Histogram { temporality }
        | MetricKind::ExponentialHistogram { temporality } => Some(temporality),
        MetricKind::Gauge | MetricKind::Summary => None,
    };
    Described {
        pipeline: pipeline.into(),
        resource,
        name: text::shortened(metric.name(), CHARS).into(),
        unit: text::shortened(metric.unit(), CHARS).into(),
        description: text::shortened(metric.description(), CHARS).into(),
        kind: kind.name(),
        cumulative: temporality == Some(Temporality::Cumulative),
        monotonic: !matches!(kind, MetricKind::Gauge | MetricKind::Sum { monotonic: false, .. }),
    }
}

impl Described {
    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let text = self.pipeline.len() + self.name.len() + self.unit.len() + self.description.len();
        size_of::<Self>() + text + self.resource.bytes()
    }
}

impl Labels {
    /// Those of them that are shown, without what `redactor` knows as a secret.
    pub(super) fn of(attributes: &Attributes, redactor: &Redactor) -> Self {
        let shown = attributes.iter().take(ATTRIBUTES);
        let mut all = Value::Object(shown.map(|(name, value)| (name.to_owned(), value.to_string().into())).collect());
        redactor.document(&mut all);
        let Value::Object(all) = all else { return Self::default() };
        let text = |value: &Value| text::shortened(value.as_str().unwrap_or_default(), CHARS).into();
        let mut labels: Vec<_> =
            all.iter().map(|(name, value)| (text::shortened(name, CHARS).into(), text(value))).collect();
        labels.sort();
        Self(labels.into())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| size_of::<(Box<str>, Box<str>)>() + name.len() + value.len()).sum()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

pub(super) fn hash(attributes: &Attributes, into: &mut DefaultHasher) {
    // The same whatever the order.
    let mut all: Vec<(String, String)> =
        attributes.iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    all.sort();
    all.hash(into);
}

/// What a line is drawn of: a number, or how many values a distribution has.
fn number(value: &PointValue<'_>) -> f64 {
    match value {
        PointValue::None => f64::NAN,
        PointValue::Number(Number::Int(number)) => *number as f64,
        PointValue::Number(Number::Double(number)) => *number,
        PointValue::Histogram { count, .. }
        | PointValue::ExponentialHistogram { count, .. }
        | PointValue::Summary { count, .. } => *count as f64,
    }
}
