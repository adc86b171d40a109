//! One metric of one source: its series, within bounds.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use minicol_pdata::{Attributes, MetricKind, MetricsBuilder, Number, NumberPoint, Timestamp};

use super::{
    histogram::Histogram,
    life::{Body, JUST_BEFORE, Moment, Series, add, as_f64},
    memory::{Forgotten, Keys, Seen},
    teller::Tellers,
};
use crate::sample::{Instrument, Limits, Measured, Sample, Tally};

/// The attribute of the series that takes what no other series has room for (OpenTelemetry, metrics SDK, cardinality limits).
const OVERFLOW: &str = "otel.metric.overflow";
/// The least step between two points of one series.
const STEP: Duration = Duration::from_nanos(1);

/// The series of one metric.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) instrument: Instrument,
    series: IndexMap<Attributes, Series>,
    overflow: Option<Box<(Attributes, Series)>>,
    /// The latest values of series that only the overflow series knows, and when they came: only a change is observed.
    hidden: Seen<Attributes, (f64, Duration)>,
    /// The items that were counted.
    keys: Keys,
    forgotten: Forgotten,
    /// When a rule fed this metric last.
    pub(super) wanted: Duration,
    /// Points that the cycle owes.
    due: bool,
}

/// An answer that is being taken.
#[derive(Debug)]
pub(super) struct Taking<'a> {
    pub(super) moment: &'a Moment,
    pub(super) tellers: &'a Tellers,
    pub(super) limits: Limits,
    pub(super) tally: &'a mut Tally,
}

impl Metric {
    pub(super) fn new(instrument: Instrument, wanted: Duration) -> Self {
        Self {
            instrument,
            series: IndexMap::new(),
            overflow: None,
            hidden: Seen::default(),
            keys: Keys::default(),
            forgotten: Forgotten::default(),
            wanted,
            due: false,
        }
    }

    /// Takes on what a reload made of the metric. Under another kind, unit or boundaries its points mean something else: every series
    /// begins anew, after the points it had. Items that were counted stay counted.
    pub(super) fn adopt(&mut self, instrument: &Instrument) {
        if !self.instrument.is_one_with(instrument) {
            let overflow = self.overflow.take();
            let ends = self.series.values().chain(overflow.iter().map(|pair| &pair.1)).map(|one| one.last);
            if let Some(last) = ends.max() {
                self.forgotten.bury_all(last);
            }
            self.series.clear();
            self.hidden.clear();
        }
        if self.instrument != *instrument {
            self.instrument = instrument.clone();
        }
    }

    /// Takes one sample of an answer.
    pub(super) fn take(&mut self, sample: Sample, taking: &mut Taking<'_>) {
        self.due = true;
        let Sample { attributes, value, tellers, .. } = sample;
        match (self.instrument.descriptor.kind, value) {
            (MetricKind::Gauge, Measured::Level(value)) => self.polled(attributes, Polled::Level(value), taking),
            (MetricKind::Sum { monotonic: false, .. }, Measured::UpDown(value)) => {
                self.polled(attributes, Polled::UpDown(value), taking);
            }
            (MetricKind::Sum { monotonic: true, .. }, Measured::Total(value)) if as_f64(value) >= 0.0 => {
                self.polled(attributes, Polled::Total(value, tellers), taking);
            }
            (MetricKind::Histogram { .. }, Measured::Change(value)) => self.change(attributes, value, taking),
            (MetricKind::Histogram { .. }, Measured::Item { key, ended, value }) => {
                self.item(&attributes, Item { key, ended, value }, taking);
            }
            (MetricKind::Sum { monotonic: true, .. }, Measured::Item { key, ended, value }) if as_f64(value) >= 0.0 => {
                self.item(&attributes, Item { key, ended, value }, taking);
            }
            // The rules make only the pairs above.
            _ => taking.tally.dropped += 1,
        }
    }

    /// What follows from an answer as a whole, after its samples: accumulated series are due, and polled ones that it does not hold end.
    pub(super) fn answered(&mut self, moment: &Moment, limits: Limits, latest: &[u64]) {
        for one in self.series.values_mut().chain(self.overflow.iter_mut().map(|pair| &mut pair.1)) {
            if one.tool != moment.tool {
                continue;
            }
            if !one.polled() {
                one.due = Some(moment.stamp);
            } else if !one.ended && one.answer != moment.answer {
                one.end(moment.stamp);
            }
        }
        self.due = true;
        self.keys.trim(limits.max_keys, latest);
        self.hidden.trim(limits.max_keys, latest);
    }

    /// Ends the polled series of tools that have given no answer for too long.
    pub(super) fn silent(&mut self, silent: impl Fn(&str) -> bool, stamp: Timestamp) {
        for one in self.series.values_mut() {
            if one.polled() && !one.ended && one.due.is_none() && silent(&one.tool) {
                one.end(stamp);
                self.due = true;
            }
        }
    }

    /// Writes the points that are due.
    pub(super) fn write(&mut self, out: &mut MetricsBuilder) {
        if !std::mem::take(&mut self.due) {
            return;
        }
        let bounds = &self.instrument.bounds;
        let mut writer = out.metric(&self.instrument.descriptor);
        let overflow = self.overflow.iter_mut().map(|pair| (&pair.0, &mut pair.1));
        for (attributes, one) in self.series.iter_mut().chain(overflow) {
            let Some(stamp) = one.due.take() else { continue };
            let (start, time) = (one.start, stamp.max(one.last + STEP));
            one.last = time;
            if let Body::Histogram(histogram) = &one.body {
                writer.histogram(attributes, &histogram.point(bounds, start, time));
            } else {
                let value = one.number().filter(|_| !one.ended);
                writer.number(attributes, &NumberPoint { start, time, value });
            }
        }
    }

    /// Forgets series that got no more values, and counts them; returns how many live.
    pub(super) fn expire(&mut self, now: Duration, expiry: Duration, limits: Limits, tally: &mut Tally) -> usize {
        let stale = |heard: Duration| now.saturating_sub(heard) > expiry;
        let Self { series, overflow, forgotten, .. } = self;
        if series.values().any(|one| stale(one.heard)) {
            series.retain(|attributes, one| {
                let keep = !stale(one.heard);
                if !keep {
                    tally.expired += 1;
                    if let Some(grave) = one.grave() {
                        forgotten.bury(attributes, grave, limits.max_series);
                    }
                }
                keep
            });
        }
        if let Some((attributes, one)) = overflow.take_if(|pair| stale(pair.1.heard)).map(|pair| *pair) {
            tally.expired += 1;
            if let Some(grave) = one.grave() {
                forgotten.bury(&attributes, grave, limits.max_series);
            }
        }
        self.hidden.retain(|&(_, heard)| !stale(heard));
        self.series.values().filter(|one| !one.ended).count() + usize::from(self.overflow.is_some())
    }

    /// Nothing is known of it that anything could come back to.
    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty() && self.overflow.is_none() && self.hidden.is_empty()
    }

    fn polled(&mut self, attributes: Attributes, value: Polled, taking: &mut Taking<'_>) {
        let moment = taking.moment;
        if let Some(one) = self.series.get_mut(&attributes) {
            if one.taken() {
                taking.tally.duplicates += 1;
            } else if value.update(one, taking) {
                one.seen(moment);
            } else {
                taking.tally.dropped += 1;
            }
            return;
        }
        if !self.has_room(taking.limits) {
            taking.tally.dropped += 1;
            return;
        }
        let one = match value {
            Polled::Level(value) => Series::level(moment, value),
            Polled::UpDown(value) => Series::up_down(moment, value),
            Polled::Total(value, tellers) => {
                let grave = self.forgotten.exhume(&attributes);
                Series::total(moment, value, taking.tellers.process(&tellers, moment), grave)
            }
        };
        self.series.insert(attributes, one);
    }

    fn change(&mut self, attributes: Attributes, value: f64, taking: &mut Taking<'_>) {
        let moment = taking.moment;
        let start = moment.watched_since();
        let bounds = Arc::clone(&self.instrument.bounds);
        let hidden = self.hidden.contains(&attributes);
        if let Some((one, new)) = self.accumulating(&attributes, !hidden, taking) {
            if !new && one.answer == moment.answer {
                taking.tally.duplicates += 1;
                return;
            }
            one.seen(moment);
            one.begins_by(moment, start);
            if let Body::Histogram(histogram) = &mut one.body {
                histogram.observe_change(&bounds, value);
            }
            return;
        }
        let before = self.hidden.see(attributes, (value, moment.heard), moment.answer);
        if before.is_some_and(|(_, answer)| answer == moment.answer) {
            taking.tally.duplicates += 1;
            return;
        }
        let one = self.overflowing(moment);
        one.seen(moment);
        one.begins_by(moment, start);
        if before.map(|((before, _), _)| before) != Some(value)
            && let Body::Histogram(histogram) = &mut one.body
        {
            taking.tally.overflowed += 1;
            histogram.observe(&bounds, value);
        }
    }

    fn item(&mut self, attributes: &Attributes, item: Item, taking: &mut Taking<'_>) {
        let moment = taking.moment;
        if let Some(((), answer)) = self.keys.see(item.key, (), moment.answer) {
            let overflow = self.overflow.as_mut().map(|pair| &mut pair.1);
            if answer == moment.answer {
                taking.tally.duplicates += 1;
            } else if let Some(one) = self.series.get_mut(attributes).or(overflow) {
                // Counted before; what it was counted in lives on.
                one.seen(moment);
            }
            return;
        }
        let start = match item.ended {
            _ if moment.cut => moment.first.min(moment.stamp),
            Some(ended) => ended.min(moment.stamp) - JUST_BEFORE,
            None => moment.watched_since(),
        };
        let bounds = Arc::clone(&self.instrument.bounds);
        let one = if let Some((one, _)) = self.accumulating(attributes, true, taking) {
            one
        } else {
            taking.tally.overflowed += 1;
            self.overflowing(moment)
        };
        one.seen(moment);
        one.begins_by(moment, start);
        match &mut one.body {
            Body::Histogram(histogram) => histogram.observe(&bounds, as_f64(item.value)),
            Body::Items(sum) => *sum = add(*sum, item.value),
            Body::Level(_) | Body::UpDown(_) | Body::Total(_) => taking.tally.dropped += 1,
        }
    }

    /// The series of these attributes; a new one (true) where there is none, it may be made, and there is room.
    fn accumulating(
        &mut self,
        attributes: &Attributes,
        may_make: bool,
        taking: &Taking<'_>,
    ) -> Option<(&mut Series, bool)> {
        if let Some(at) = self.series.get_index_of(attributes) {
            return self.series.get_index_mut(at).map(|(_, one)| (one, false));
        }
        if !may_make || !self.has_room(taking.limits) {
            return None;
        }
        let grave = self.forgotten.exhume(attributes);
        let one = Series::accumulated(taking.moment, self.empty_body(), grave);
        Some((self.series.entry(attributes.clone()).or_insert(one), true))
    }

    /// The series that takes what has no room.
    fn overflowing(&mut self, moment: &Moment) -> &mut Series {
        let body = self.empty_body();
        let forgotten = &mut self.forgotten;
        let pair = self.overflow.get_or_insert_with(|| {
            let attributes = Attributes::new().with(OVERFLOW, true);
            let grave = forgotten.exhume(&attributes);
            Box::new((attributes, Series::accumulated(moment, body, grave)))
        });
        &mut pair.1
    }

    fn empty_body(&self) -> Body {
        match self.instrument.descriptor.kind {
            MetricKind::Histogram { .. } => {
                Body::Histogram(Box::new(Histogram::new(self.instrument.bounds.len(), self.instrument.negative)))
            }
            _ => Body::Items(Number::Int(0)),
        }
    }

    /// True where one more series fits, the longest dead making room for it.
    fn has_room(&mut self, limits: Limits) -> bool {
        if self.series.len() < limits.max_series {
            return true;
        }
        let dead = self.series.values().enumerate().filter(|(_, one)| one.ended && one.due.is_none());
        let Some((at, _)) = dead.min_by_key(|(_, one)| one.last) else { return false };
        if let Some((attributes, one)) = self.series.shift_remove_index(at)
            && let Some(grave) = one.grave()
        {
            self.forgotten.bury(&attributes, grave, limits.max_series);
        }
        self.series.len() < limits.max_series
    }
}

/// Something that is counted once.
#[derive(Debug)]
struct Item {
    key: Arc<str>,
    ended: Option<Timestamp>,
    value: Number,
}

/// A polled value.
#[derive(Debug)]
enum Polled {
    Level(Number),
    UpDown(Number),
    /// With the names of those who tell the process's start.
    Total(Number, Arc<[Arc<str>]>),
}

impl Polled {
    /// Makes it the series' next value; false where the series is none of its kind.
    fn update(&self, one: &mut Series, taking: &Taking<'_>) -> bool {
        match (self, &mut one.body) {
            (Self::Level(value), Body::Level(known)) | (Self::UpDown(value), Body::UpDown(known)) => {
                *known = *value;
                true
            }
            (Self::Total(value, tellers), Body::Total(_)) => {
                one.next_total(*value, tellers, taking.tellers, taking.moment)
            }
            _ => false,
        }
    }
}
