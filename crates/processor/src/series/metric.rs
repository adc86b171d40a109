//! One metric of one source: its series, within bounds.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use minicol_pdata::{Attributes, MetricKind, MetricsBuilder, Number, NumberPoint, Timestamp};

use super::{
    accumulate::Item,
    life::{Body, Moment, STEP, Series, as_f64},
    memory::{Forgotten, Grave, Keys, Seen},
    teller::Tellers,
};
use crate::sample::{Instrument, Limits, Measured, Sample, Tally};

/// The series of one metric.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) instrument: Instrument,
    pub(super) series: IndexMap<Attributes, Series>,
    pub(super) overflow: Option<Box<(Attributes, Series)>>,
    /// The latest values of series that only the overflow series knows, and when they came: only a change is observed.
    pub(super) hidden: Seen<Attributes, (f64, Duration)>,
    /// The items that were counted.
    pub(super) keys: Keys,
    pub(super) forgotten: Forgotten,
    /// When a rule fed this metric last.
    pub(super) wanted: Duration,
    /// The answer in which no series was dead: none dies before the answer is over.
    full_in: u64,
    /// Points that the cycle owes.
    due: bool,
    /// An answer was taken in full.
    pub(super) answered: bool,
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
            full_in: 0,
            due: false,
            answered: false,
        }
    }

    /// Takes on what a reload made of the metric. Under another kind, unit or boundaries its points mean something else: every series
    /// begins anew, after the points it had. Items that were counted stay counted.
    pub(super) fn adopt(&mut self, instrument: &Instrument) {
        if !self.instrument.is_one_with(instrument) {
            let overflow = self.overflow.take().map(|pair| pair.1);
            for one in self.series.values().chain(&overflow) {
                self.forgotten.bury_nameless(&Grave { start: one.start, last: one.last, total: None });
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
            (MetricKind::Histogram { .. } | MetricKind::ExponentialHistogram { .. }, Measured::Change(value)) => {
                self.change(attributes, value, taking);
            }
            (
                MetricKind::Histogram { .. } | MetricKind::ExponentialHistogram { .. },
                Measured::Item { key, ended, value },
            ) => self.item(&attributes, Item { key, ended, value }, taking),
            (MetricKind::Sum { monotonic: true, .. }, Measured::Item { key, ended, value }) if as_f64(value) >= 0.0 => {
                self.item(&attributes, Item { key, ended, value }, taking);
            }
            // The rules make only the pairs above.
            _ => taking.tally.dropped += 1,
        }
    }

    /// What follows from an answer as a whole, after its samples: accumulated series are due, and polled ones that it does not hold end. How
    /// many keys are forgotten by it.
    pub(super) fn answered(&mut self, moment: &Moment, limits: Limits, latest: &[u64]) -> u64 {
        for one in self.series.values_mut().chain(self.overflow.iter_mut().map(|pair| &mut pair.1)) {
            if one.tool != moment.tool {
                continue;
            }
            if !one.polled() {
                one.owe(moment.stamp);
            } else if !one.ended && one.answer != moment.answer {
                one.end(moment.stamp);
            }
        }
        self.due = true;
        self.answered = true;
        self.hidden.trim(limits.max_keys, latest);
        self.keys.trim(limits.max_keys, latest)
    }

    /// Ends the polled series of tools that have given no answer for too long.
    pub(super) fn silent(&mut self, silent: impl Fn(&str) -> bool, stamp: Timestamp) {
        for one in self.series.values_mut() {
            if one.polled() && !one.ended && silent(&one.tool) {
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
        let delta = self.instrument.is_delta();
        let mut writer = out.metric(&self.instrument.descriptor);
        let overflow = self.overflow.iter_mut().map(|pair| (&pair.0, &mut pair.1));
        for (attributes, one) in self.series.iter_mut().chain(overflow) {
            let Some(stamp) = one.due.take() else { continue };
            if delta && one.ended {
                // A delta stream that ends just stops: what comes back counts from the last point.
                continue;
            }
            let time = stamp.max(one.last + STEP);
            let start = if delta { one.start.max(one.last) } else { one.start };
            one.last = time;
            if delta && let Some(rise) = one.rise() {
                // Of a life that begins with this very answer nothing came yet.
                if start < time {
                    writer.number(attributes, &NumberPoint { start, time, value: Some(rise) });
                }
                continue;
            }
            if let Body::Histogram(histogram) = &mut one.body {
                histogram.write(&mut writer, attributes, bounds, (start, time));
                if delta {
                    histogram.reset(&self.instrument);
                }
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

    #[cfg(test)]
    pub(super) fn size(&self) -> [usize; 4] {
        let series = self.series.len() + usize::from(self.overflow.is_some());
        [series, self.keys.len(), self.hidden.len(), self.forgotten.len()]
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
        if !self.has_room(moment.answer, taking.limits) {
            taking.tally.dropped += 1;
            return;
        }
        let one = match value {
            Polled::Level(value) => Series::level(moment, value),
            Polled::UpDown(value) => Series::up_down(moment, value),
            Polled::Total(value, tellers) => {
                let grave = self.forgotten.exhume(&attributes);
                let mut one = Series::total(moment, value, &tellers, taking.tellers, grave);
                if self.instrument.is_delta() {
                    one.counts_from_now(moment);
                }
                one
            }
        };
        self.series.insert(attributes, one);
    }

    /// True where one more series fits, the longest dead making room for it.
    pub(super) fn has_room(&mut self, answer: u64, limits: Limits) -> bool {
        if self.series.len() < limits.max_series {
            if self.series.is_empty() {
                // Most metrics of a target have one series: room for one, not for three.
                self.series.reserve_exact(1);
            }
            return true;
        }
        if self.full_in == answer {
            return false;
        }
        let dead = self.series.values().enumerate().filter(|(_, one)| one.ended && one.due.is_none());
        let Some((at, _)) = dead.min_by_key(|(_, one)| one.last) else {
            self.full_in = answer;
            return false;
        };
        if let Some((attributes, one)) = self.series.shift_remove_index(at)
            && let Some(grave) = one.grave()
        {
            self.forgotten.bury(&attributes, grave, limits.max_series);
        }
        self.series.len() < limits.max_series
    }
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
