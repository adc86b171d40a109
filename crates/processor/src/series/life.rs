//! One series: when it began, what it says, when it ended.

use std::{sync::Arc, time::Duration};

use minicol_pdata::{Number, Timestamp};

use super::{
    histogram::Histogram,
    memory::Grave,
    teller::{Process, Tellers},
};

/// The answer that is being taken, as its series see it.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// The tool that answered.
    pub(super) tool: Arc<str>,
    /// The answer's number: no two of a source share one.
    pub(super) answer: u64,
    /// When it arrived.
    pub(super) heard: Duration,
    pub(super) stamp: Timestamp,
    /// The source holds more items than the answer.
    pub(super) cut: bool,
    /// The stamps of the tool's first answer and of the one before this.
    pub(super) first: Timestamp,
    pub(super) previous: Option<Timestamp>,
    /// When minicol began to watch the source.
    pub(super) began: Timestamp,
}

/// An accumulated series starts this long before the first thing that it counts.
pub(super) const JUST_BEFORE: Duration = Duration::from_millis(1);
/// The least step between two points, or two starts, of one series.
pub(super) const STEP: Duration = Duration::from_nanos(1);

impl Moment {
    /// Since when something was watched that is now observed for the first time.
    pub(super) fn watched_since(&self) -> Timestamp {
        self.began.min(self.stamp - JUST_BEFORE)
    }
}

/// A series that is known.
#[derive(Debug)]
pub(super) struct Series {
    /// The tool that fed it last, the answer that did, and when.
    pub(super) tool: Arc<str>,
    pub(super) answer: u64,
    pub(super) heard: Duration,
    /// Its start; unset for a gauge.
    pub(super) start: Timestamp,
    /// The answer it was first seen in, while the items in that answer may still put the start back.
    born: Option<u64>,
    /// The time of its last point.
    pub(super) last: Timestamp,
    /// The point that the cycle owes it.
    pub(super) due: Option<Timestamp>,
    /// Its latest point, given or due, says that it has no value.
    pub(super) ended: bool,
    pub(super) body: Body,
}

/// What a series says.
#[derive(Debug)]
pub(super) enum Body {
    /// A gauge.
    Level(Number),
    /// A polled total that may fall.
    UpDown(Number),
    /// A polled total.
    Total(Total),
    /// A counter of items, accumulated here.
    Items(Number),
    /// A histogram, accumulated here.
    Histogram(Box<Histogram>),
}

/// A polled total, and the life of the process that it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Total {
    value: Number,
    /// With delta temporality: what of it the points of this life have told, or what was there when minicol began to watch it.
    told: Option<Number>,
    /// Whose word counts, and how many restarts it had told of when the value was last heard.
    teller: Option<Arc<str>>,
    restarts: u64,
    /// Where this life began by a fall: how often the teller had told by then.
    fell_at: Option<u64>,
}

impl Series {
    fn new(moment: &Moment, start: Timestamp, body: Body) -> Self {
        Self {
            tool: Arc::clone(&moment.tool),
            answer: moment.answer,
            heard: moment.heard,
            start,
            born: None,
            last: Timestamp::UNSET,
            due: Some(moment.stamp),
            ended: false,
            body,
        }
    }

    /// A gauge's first value.
    pub(super) fn level(moment: &Moment, value: Number) -> Self {
        Self::new(moment, Timestamp::UNSET, Body::Level(value))
    }

    /// An updowncounter's first value: nothing tells since when it counts.
    pub(super) fn up_down(moment: &Moment, value: Number) -> Self {
        Self::new(moment, moment.stamp, Body::UpDown(value))
    }

    /// A total's first value, or its first after it was forgotten. Where its start is told, it goes on as it would have.
    pub(super) fn total(
        moment: &Moment,
        value: Number,
        names: &[Arc<str>],
        tellers: &Tellers,
        grave: Option<Grave>,
    ) -> Self {
        let process = tellers.process(names, moment);
        let fresh = Total { value, told: None, teller: process.teller, restarts: process.restarts, fell_at: None };
        let Some(grave) = grave else {
            let start = process.start.unwrap_or(moment.stamp).min(moment.stamp);
            return Self::new(moment, start, Body::Total(fresh));
        };
        let mut one = match grave.total {
            Some(total) if total.teller.is_some() && total.teller == fresh.teller => {
                let mut one = Self::new(moment, grave.start, Body::Total(total));
                one.last = grave.last;
                one.next_total(value, names, tellers, moment);
                return one;
            }
            // What it was when is not known, or its start was not. A start told after its last point is a new one all the same.
            _ => Self::new(moment, moment.stamp, Body::Total(fresh)),
        };
        one.last = grave.last;
        if let Some(told) = process.start.filter(|&told| told > grave.last) {
            one.start = told.min(moment.stamp);
        }
        one
    }

    /// An accumulated series before its first observation.
    pub(super) fn accumulated(moment: &Moment, body: Body, grave: Option<Grave>) -> Self {
        let Some(grave) = grave else {
            return Self { born: Some(moment.answer), ..Self::new(moment, moment.stamp, body) };
        };
        let previous = moment.previous.unwrap_or(grave.last).min(moment.stamp);
        let start = previous.max(grave.last).max(grave.start + STEP);
        Self { last: grave.last, ..Self::new(moment, start, body) }
    }

    /// Notes that the answer holds the series.
    pub(super) fn seen(&mut self, moment: &Moment) {
        if self.tool != moment.tool {
            self.tool = Arc::clone(&moment.tool);
        }
        self.answer = moment.answer;
        self.heard = moment.heard;
        self.owe(moment.stamp);
        self.ended = false;
    }

    /// A point is due; the latest arrival stamps it where several tools fed the series.
    pub(super) fn owe(&mut self, stamp: Timestamp) {
        self.due = self.due.max(Some(stamp));
    }

    /// Where the series was first seen in this answer, it begins no later than `start`.
    pub(super) fn begins_by(&mut self, moment: &Moment, start: Timestamp) {
        if self.born == Some(moment.answer) {
            self.start = self.start.min(start).max(EARLIEST);
        }
    }

    /// True where the series' latest value in this cycle came from this answer or another tool's.
    pub(super) fn taken(&self) -> bool {
        self.due.is_some() && !self.ended
    }

    /// True for what a source tells in full each time, and that ends when it no longer does.
    pub(super) const fn polled(&self) -> bool {
        matches!(self.body, Body::Level(_) | Body::UpDown(_) | Body::Total(_))
    }

    /// The flagged point is due.
    pub(super) fn end(&mut self, stamp: Timestamp) {
        self.ended = true;
        self.owe(stamp);
    }

    /// What is left of it; `None` where nothing is needed, as it begins at its first point anyhow.
    pub(super) fn grave(&self) -> Option<Grave> {
        let total = match &self.body {
            Body::Level(_) | Body::UpDown(_) => return None,
            Body::Total(total) => Some(total.clone()),
            Body::Items(_) | Body::Histogram(_) => None,
        };
        Some(Grave { start: self.start, last: self.last, total })
    }

    /// A total that began before minicol watched it: another minicol may have told what it is, so with delta temporality only its rise counts.
    pub(super) fn counts_from_now(&mut self, moment: &Moment) {
        if let Body::Total(Total { told: None, .. }) = self.body
            && self.start < moment.began
        {
            self.start = moment.stamp;
        }
    }

    /// What came since the last point, and counts as told from now on; `None` for what has no delta, and for a histogram.
    pub(super) fn rise(&mut self) -> Option<Number> {
        match &mut self.body {
            Body::Total(total) => {
                let before = total.told.replace(total.value);
                Some(before.map_or(total.value, |before| rise(before, total.value)))
            }
            Body::Items(sum) => {
                let none = if let Number::Int(_) = sum { Number::Int(0) } else { Number::Double(0.0) };
                Some(std::mem::replace(sum, none))
            }
            Body::Level(_) | Body::UpDown(_) | Body::Histogram(_) => None,
        }
    }

    /// A polled total's next value; false where this is none. Call it before [`Series::seen`].
    pub(super) fn next_total(&mut self, value: Number, names: &[Arc<str>], tellers: &Tellers, moment: &Moment) -> bool {
        let Body::Total(total) = &mut self.body else { return false };
        let process = tellers.process(names, moment);
        // Where somebody else tells from now on, a restart that the one before told of still counts; further back they cannot be compared.
        let restarted = if total.teller == process.teller {
            total.restarted(&process)
        } else {
            total.teller.as_ref().is_some_and(|teller| total.restarted(&tellers.told_by(teller, moment)))
        };
        // A life that began with a single point of unknown start has its start there. The next one must not share it.
        let earliest = self.last.max(self.start + STEP);
        if restarted {
            self.start = process.start.unwrap_or(earliest).min(moment.stamp).max(earliest);
            total.fell_at = None;
            total.told = None;
        } else if less(value, total.value) {
            self.start = earliest;
            total.fell_at = Some(process.tellings);
            total.told = None;
        }
        total.restarts = process.restarts;
        if total.teller != process.teller {
            total.teller = process.teller;
        }
        total.value = value;
        true
    }

    /// The value of a gauge's or a sum's point; `None` for a histogram.
    pub(super) const fn number(&self) -> Option<Number> {
        match &self.body {
            Body::Level(value) | Body::UpDown(value) | Body::Items(value) => Some(*value),
            Body::Total(total) => Some(total.value),
            Body::Histogram(_) => None,
        }
    }
}

impl Total {
    /// True where the process told of a restart that this life does not know yet. A life that began by a fall since the telling
    /// before has had that restart.
    fn restarted(&self, process: &Process) -> bool {
        let unknown = process.restarts.saturating_sub(self.restarts);
        let had = self.fell_at.is_some_and(|tellings| tellings + 1 == process.moved_at);
        unknown > u64::from(had)
    }
}

/// Zero means "not set".
pub(super) const EARLIEST: Timestamp = Timestamp::from_nanos(1);

/// True where `a` is below `b`. Whole numbers are compared as such.
fn less(a: Number, b: Number) -> bool {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => a < b,
        _ => as_f64(a) < as_f64(b),
    }
}

/// As a double.
pub(super) const fn as_f64(number: Number) -> f64 {
    match number {
        Number::Int(value) => value as f64,
        Number::Double(value) => value,
    }
}

/// The sum: whole as long as both are and it fits, and always finite.
pub(super) fn add(a: Number, b: Number) -> Number {
    if let (Number::Int(a), Number::Int(b)) = (a, b)
        && let Some(sum) = a.checked_add(b)
    {
        return Number::Int(sum);
    }
    Number::Double((as_f64(a) + as_f64(b)).min(f64::MAX))
}

/// By how much a total rose: whole as long as both are and it fits, and never below zero.
fn rise(from: Number, to: Number) -> Number {
    if let (Number::Int(from), Number::Int(to)) = (from, to)
        && let Some(rise) = to.checked_sub(from)
    {
        return Number::Int(rise.max(0));
    }
    Number::Double((as_f64(to) - as_f64(from)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_compared_as_such() {
        assert!(less(Number::Int(1 << 53), Number::Int((1 << 53) + 1)));
        assert!(!less(Number::Int(5), Number::Double(5.0)));
        assert!(less(Number::Double(4.9), Number::Int(5)));
    }

    #[test]
    fn a_sum_of_whole_numbers_stays_whole_as_long_as_it_fits() {
        assert_eq!(add(Number::Int(1), Number::Int(2)), Number::Int(3));
        assert_eq!(add(Number::Int(i64::MAX), Number::Int(1)), Number::Double(i64::MAX as f64));
        assert_eq!(add(Number::Double(f64::MAX), Number::Double(f64::MAX)), Number::Double(f64::MAX));
    }
}
