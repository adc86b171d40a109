//! Every series that passes into exporters, with its last value and its last hour. What is kept is bounded, and so is the work.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use minicol_pdata::{
    Attributes, MetricKind, MetricView, Metrics, Number, PointValue, PointView, Temporality, Timestamp,
};
use minicol_plugin::{Redactor, text};
use serde_json::Value;

/// The last hour is kept in so many steps, of each the last value.
pub(crate) const STEPS: u64 = 120;
/// How long a step is.
pub(crate) const STEP: Duration = Duration::from_secs(30);
/// So many points are looked at in a second at most: who relays more sees some of it.
const POINTS_PER_SECOND: f64 = 5_000.0;
/// How long a name, a description, or an attribute's value may be, in characters.
const CHARS: usize = 200;
/// How many attributes of a series are shown.
const ATTRIBUTES: usize = 32;

/// What is known of all series.
#[derive(Debug)]
pub(crate) struct Store {
    series: HashMap<u64, Series>,
    most: usize,
    /// How many points may be looked at now, and as of when.
    budget: (f64, Duration),
    /// Points that were not looked at: there were too many.
    pub(crate) passed_over: u64,
    /// Points of series for which there was no room.
    pub(crate) left_out: u64,
    /// Goes up whenever something changes.
    pub(crate) version: u64,
}

/// One series.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) of: Arc<Described>,
    pub(crate) attributes: BTreeMap<String, String>,
    /// For a person; empty where it has ended.
    pub(crate) value: String,
    pub(crate) start: Timestamp,
    pub(crate) time: Timestamp,
    /// Its last point said that it has no value any more.
    pub(crate) ended: bool,
    /// How often it began anew in the last hour.
    pub(crate) past: VecDeque<Past>,
    /// When the last point came, on the monotonic clock.
    seen: Duration,
    /// The shortest time between two points.
    pace: Duration,
    /// What the last point said.
    number: f64,
}

/// What the points of a metric share.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) pipeline: String,
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) description: String,
    pub(crate) kind: &'static str,
    cumulative: bool,
    monotonic: bool,
}

/// How it was in one step of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Past {
    /// The step, from the program's start.
    pub(crate) step: u64,
    /// The last value; NaN where it ended.
    pub(crate) value: f64,
    /// It began anew in this step: the counter fell, or its source started again.
    pub(crate) reset: bool,
}

impl Store {
    /// Of at most so many series.
    pub(crate) fn new(most: usize) -> Self {
        let budget = (POINTS_PER_SECOND, Duration::ZERO);
        Self { series: HashMap::new(), most, budget, passed_over: 0, left_out: 0, version: 0 }
    }

    /// Looks at what passes in `pipeline`, `at` on the monotonic clock; what `redactor` knows as a secret is not kept.
    pub(crate) fn take(&mut self, pipeline: &str, metrics: &Metrics, redactor: &Redactor, at: Duration) {
        let points = metrics.items();
        if !self.affords(points, at) {
            self.passed_over += points as u64;
            return;
        }
        self.version += 1;
        for metric in metrics.iter() {
            let Some(kind) = metric.kind() else { continue };
            let mut described = None;
            let mut common = DefaultHasher::new();
            let resource = metric.resource();
            (pipeline, metric.scope_name(), metric.name(), metric.unit(), kind.name()).hash(&mut common);
            hash(&resource, &mut common);
            for point in metric.points() {
                let attributes = point.attributes();
                let mut key = common.clone();
                hash(&attributes, &mut key);
                let key = key.finish();
                if let Some(known) = self.series.get_mut(&key) {
                    known.take(&point, at);
                    described.get_or_insert_with(|| Arc::clone(&known.of));
                } else if self.series.len() < self.most {
                    let of = described.get_or_insert_with(|| {
                        let resource = told(&resource, redactor);
                        Arc::new(describe(pipeline, resource, &metric, kind))
                    });
                    let mut series = Series::new(Arc::clone(of), told(&attributes, redactor), at);
                    series.take(&point, at);
                    self.series.insert(key, series);
                } else {
                    self.left_out += 1;
                }
            }
        }
    }

    /// Forgets what has been silent for the whole hour.
    pub(crate) fn forget(&mut self, at: Duration) {
        let hour = STEP.saturating_mul(u32::try_from(STEPS).unwrap_or(u32::MAX));
        self.series.retain(|_, series| at.saturating_sub(series.seen) < hour);
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Those in which every word of `search` occurs, in the order of their names.
    pub(crate) fn found(&self, search: &str) -> Vec<&Series> {
        let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
        let mut found: Vec<_> =
            self.series.values().filter(|series| words.iter().all(|word| series.has(word))).collect();
        found.sort_by(|a, b| a.order().cmp(&b.order()));
        found
    }

    fn affords(&mut self, points: usize, at: Duration) -> bool {
        let (left, since) = self.budget;
        let passed = at.saturating_sub(since).as_secs_f64();
        let now = (left + passed * POINTS_PER_SECOND).min(POINTS_PER_SECOND);
        let wanted = points as f64;
        // One that is larger than a second's worth is looked at where nothing else was.
        let affords = wanted <= now || now >= POINTS_PER_SECOND;
        self.budget = (if affords { now - wanted } else { now }, at);
        affords
    }
}

impl Series {
    fn new(of: Arc<Described>, attributes: BTreeMap<String, String>, at: Duration) -> Self {
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

    fn take(&mut self, point: &PointView<'_>, at: Duration) {
        let number = if point.no_recorded_value { f64::NAN } else { number(&point.value) };
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
    pub(crate) fn patience(&self) -> u64 {
        if self.pace == Duration::MAX { STEPS } else { (self.pace.as_secs().saturating_mul(3) / STEP.as_secs()).max(1) }
    }

    /// No point has come for several times as long as usual.
    pub(crate) fn is_silent(&self, at: Duration) -> bool {
        at.saturating_sub(self.seen) > self.pace.saturating_mul(3).max(STEP)
    }

    fn has(&self, word: &str) -> bool {
        let of = &self.of;
        let plain = [of.name.as_str(), &of.unit, of.kind, &of.pipeline, &of.description];
        let of_attributes = self.attributes.iter().chain(&of.resource);
        plain.iter().any(|text| text.to_lowercase().contains(word))
            || of_attributes.into_iter().any(|(name, value)| format!("{name}={value}").to_lowercase().contains(word))
    }

    fn order(&self) -> impl Ord + '_ {
        (&self.of.name, &self.of.pipeline, &self.of.resource, &self.attributes)
    }
}

/// The step of time in which `at` lies.
pub(crate) fn step(at: Duration) -> u64 {
    at.as_secs() / STEP.as_secs()
}

fn describe(
    pipeline: &str,
    resource: BTreeMap<String, String>,
    metric: &MetricView<'_>,
    kind: MetricKind,
) -> Described {
    let temporality = match kind {
        MetricKind::Sum { temporality, .. }
        | MetricKind::Histogram { temporality }
        | MetricKind::ExponentialHistogram { temporality } => Some(temporality),
        MetricKind::Gauge | MetricKind::Summary => None,
    };
    Described {
        pipeline: pipeline.to_owned(),
        resource,
        name: text::shortened(metric.name(), CHARS),
        unit: text::shortened(metric.unit(), CHARS),
        description: text::shortened(metric.description(), CHARS),
        kind: kind.name(),
        cumulative: temporality == Some(Temporality::Cumulative),
        monotonic: !matches!(kind, MetricKind::Gauge | MetricKind::Sum { monotonic: false, .. }),
    }
}

fn told(attributes: &Attributes, redactor: &Redactor) -> BTreeMap<String, String> {
    let shown = attributes.iter().take(ATTRIBUTES);
    let mut all = Value::Object(shown.map(|(name, value)| (name.to_owned(), value.to_string().into())).collect());
    redactor.document(&mut all);
    let Value::Object(all) = all else { return BTreeMap::new() };
    let text = |value: &Value| text::shortened(value.as_str().unwrap_or_default(), CHARS);
    all.iter().map(|(name, value)| (text::shortened(name, CHARS), text(value))).collect()
}

fn hash(attributes: &Attributes, into: &mut DefaultHasher) {
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

#[cfg(test)]
mod tests {
    use minicol_pdata::{MetricDescriptor, MetricsBuilder, NumberPoint};

    use super::*;

    /// A counter's point at a second: what it says, and since which second it counts.
    fn point(name: &str, of: &str, second: u64, value: Option<i64>, start: u64) -> Metrics {
        let mut builder = MetricsBuilder::new();
        builder.resource(&Attributes::new().with("server.port", "1"), "scope", "1");
        let descriptor = MetricDescriptor {
            name: name.into(),
            description: "what it is".into(),
            unit: "{call}".into(),
            kind: MetricKind::COUNTER,
        };
        let (start, time) =
            (Timestamp::from_nanos(start * 1_000_000_000), Timestamp::from_nanos(second * 1_000_000_000));
        let point = NumberPoint { start, time, value: value.map(Number::Int) };
        builder.metric(&descriptor).number(&Attributes::new().with("tool", of), &point);
        builder.build()
    }

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn a_series_shows_its_last_value_its_resets_and_where_it_ended() {
        let mut store = Store::new(10);
        for (second, value, start) in
            [(60, Some(5), 1), (90, Some(8), 1), (120, Some(2), 95), (150, None, 95), (180, Some(4), 95)]
        {
            store.take("metrics", &point("calls", "a", second, value, start), &Redactor::default(), at(second));
        }
        let found = store.found("");
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (one.value.as_str(), one.of.kind, one.of.unit.as_str(), one.ended),
            ("4", "counter", "{call}", false)
        );
        let steps: Vec<_> = one.past.iter().map(|past| (past.step, past.reset, past.value.is_nan())).collect();
        assert_eq!(
            steps,
            [(2, false, false), (3, false, false), (4, true, false), (5, false, true), (6, false, false)]
        );
        assert_eq!(one.resets(), 1);
        assert!(!one.is_silent(at(200)) && one.is_silent(at(400)));
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_in_time() {
        let mut store = Store::new(3);
        for number in 0..10 {
            store.take(
                "metrics",
                &point("calls", &format!("{number}{}", "x".repeat(5_000)), 1, Some(1), 1),
                &Redactor::default(),
                at(1),
            );
        }
        assert_eq!((store.len(), store.left_out), (3, 7));
        assert!(store.found("").iter().all(|one| one.attributes["tool"].chars().count() < CHARS + 40));
        for second in (1..20_000).step_by(10) {
            store.take(
                "metrics",
                &point("calls", &format!("0{}", "x".repeat(5_000)), second, Some(1), 1),
                &Redactor::default(),
                at(second),
            );
        }
        assert_eq!(store.found("")[0].past.len() as u64, STEPS + 1);
        store.forget(at(20_000));
        assert_eq!(store.len(), 1, "what has been silent for an hour is forgotten");
    }

    #[test]
    fn the_work_of_a_second_is_bounded() {
        let mut store = Store::new(10);
        for _ in 0..5_040 {
            store.take("metrics", &point("calls", "a", 1, Some(1), 1), &Redactor::default(), at(1));
        }
        assert_eq!(store.passed_over, 40);
        store.take("metrics", &point("calls", "a", 2, Some(1), 1), &Redactor::default(), at(2));
        assert_eq!(store.passed_over, 40, "a second later there is room again");
    }

    #[test]
    fn a_search_finds_names_attributes_and_resources() {
        let mut store = Store::new(10);
        store.take("metrics", &point("calls", "alpha", 1, Some(1), 1), &Redactor::default(), at(1));
        store.take("metrics", &point("errors", "beta", 1, Some(1), 1), &Redactor::default(), at(1));
        let found = |search: &str| store.found(search).iter().map(|one| one.of.name.clone()).collect::<Vec<_>>();
        assert_eq!(found(""), ["calls", "errors"]);
        assert_eq!(found("CALL counter"), ["calls", "errors"], "the unit is {{call}}");
        assert_eq!(found("tool=beta"), ["errors"]);
        assert_eq!(found("server.port=1 alpha"), ["calls"]);
        assert!(found("nothing").is_empty());
    }
}
