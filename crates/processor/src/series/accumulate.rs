//! What minicol accumulates: histograms of changes, and items that are counted once each.

use std::sync::Arc;

use minicol_pdata::{Attributes, MetricKind, Number, Timestamp};

use super::{
    histogram::Histogram,
    life::{Body, JUST_BEFORE, Moment, Series, add, as_f64},
    metric::{Metric, Taking},
};

/// The attribute of the series that takes what no other series has room for (OpenTelemetry, metrics SDK, cardinality limits).
const OVERFLOW: &str = "otel.metric.overflow";

/// Something that is counted once.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Arc<str>,
    pub(super) ended: Option<Timestamp>,
    pub(super) value: Number,
}

impl Metric {
    /// A histogram's next value, which is observed where it differs from the one before. A delta begins with what it finds: another minicol may have
    /// told that.
    pub(super) fn change(&mut self, attributes: Attributes, value: f64, taking: &mut Taking<'_>) {
        let moment = taking.moment;
        let start = moment.watched_since();
        let bounds = Arc::clone(&self.instrument.bounds);
        let found = self.instrument.is_delta() && self.was_there(None, moment);
        let hidden = self.hidden.contains(&attributes);
        if let Some((one, new)) = self.accumulating(&attributes, !hidden, taking) {
            if !new && one.answer == moment.answer {
                taking.tally.duplicates += 1;
                return;
            }
            one.seen(moment);
            one.begins_by(moment, start);
            if let Body::Histogram(histogram) = &mut one.body {
                if found {
                    histogram.begin_with(value);
                } else {
                    histogram.observe_change(&bounds, value);
                }
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
        if !found
            && before.map(|((before, _), _)| before) != Some(value)
            && let Body::Histogram(histogram) = &mut one.body
        {
            taking.tally.overflowed += 1;
            histogram.observe(&bounds, value);
        }
    }

    /// An item, which is counted where its key is new.
    pub(super) fn item(&mut self, attributes: &Attributes, item: Item, taking: &mut Taking<'_>) {
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
        let delta = self.instrument.is_delta();
        if delta && self.was_there(item.ended, moment) {
            return;
        }
        let start = match item.ended {
            // Whatever is first seen came since minicol began to watch.
            _ if delta => moment.watched_since(),
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

    /// True for an item that was there when minicol looked for the first time: another minicol may have told it, and a delta is told once.
    fn was_there(&self, ended: Option<Timestamp>, moment: &Moment) -> bool {
        let first = !self.answered || moment.previous.is_none();
        first && ended.is_none_or(|ended| ended <= moment.began)
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
        if !may_make || !self.has_room(taking.moment.answer, taking.limits) {
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
            MetricKind::Histogram { .. } | MetricKind::ExponentialHistogram { .. } => {
                Body::Histogram(Box::new(Histogram::new(&self.instrument)))
            }
            _ => Body::Items(Number::Int(0)),
        }
    }
}
