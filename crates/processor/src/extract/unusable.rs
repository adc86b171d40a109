//! Why a value makes no point, and how often.

use std::collections::BTreeMap;

/// Why a value makes no point. The name is the metric attribute `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reason {
    /// The path, or the selector, found nothing.
    Missing,
    /// JSON `null`.
    Null,
    /// Text that is no number.
    Text,
    /// A list or a map.
    NotAScalar,
    /// Not a number.
    Nan,
    /// Infinite, also by scaling.
    Infinite,
    /// Below zero where that cannot be: a counter, a histogram whose boundaries begin at zero or above.
    Negative,
    /// The path found more than one value.
    Several,
    /// The regular expression does not match.
    NoMatch,
    /// The answer holds more items than `max_items`.
    TooManyItems,
    /// An item without a usable key.
    NoKey,
    /// A time that cannot be read, or that no clock can show.
    BadTime,
    /// `format: prometheus`, and the answer is none.
    NotPrometheus,
    /// A line of Prometheus text that cannot be read.
    BadLine,
    /// A counter's rule on what the Prometheus text calls a gauge.
    TypeMismatch,
    /// An attribute whose value is a list or a map: it is left out.
    Attribute,
    /// An attribute whose value is longer than `max_attribute_length`: it is cut.
    AttributeCut,
    /// The answer nests too deep to be looked into.
    TooDeep,
}

/// What could not be used in one answer: bounded by rules × metrics × reasons.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unusable(BTreeMap<Place, Vec<Complaint>>);

/// A rule, by its index, and the metric of it, where it is about one.
pub(crate) type Place = (usize, Option<usize>);

/// One reason at one place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Complaint {
    pub(crate) reason: Reason,
    /// How many values.
    pub(crate) count: u64,
    /// The first one, for a person: the path and what was there, escaped and shortened.
    pub(crate) example: String,
}

impl Unusable {
    /// Counts one value. `example` is made only for the first of a kind.
    pub(crate) fn add(&mut self, place: Place, reason: Reason, example: impl FnOnce() -> String) {
        let list = self.0.entry(place).or_default();
        match list.iter_mut().find(|one| one.reason == reason) {
            Some(one) => one.count += 1,
            None => list.push(Complaint { reason, count: 1, example: example() }),
        }
    }

    /// True where everything was usable.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Place, &[Complaint])> {
        self.0.iter().map(|(place, list)| (place, list.as_slice()))
    }

    /// What is told of one place.
    pub(crate) fn at(&self, place: Place) -> &[Complaint] {
        self.0.get(&place).map_or(&[], Vec::as_slice)
    }
}

impl Reason {
    /// As the metric attribute `reason` has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Null => "null",
            Self::Text => "text",
            Self::NotAScalar => "not_a_scalar",
            Self::Nan => "nan",
            Self::Infinite => "infinite",
            Self::Negative => "negative",
            Self::Several => "several",
            Self::NoMatch => "no_match",
            Self::TooManyItems => "too_many_items",
            Self::NoKey => "no_key",
            Self::BadTime => "bad_time",
            Self::NotPrometheus => "not_prometheus",
            Self::BadLine => "bad_line",
            Self::TypeMismatch => "type_mismatch",
            Self::Attribute => "attribute",
            Self::AttributeCut => "attribute_cut",
            Self::TooDeep => "too_deep",
        }
    }

    /// The same in a sentence that begins with what it is about.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Missing => "is missing",
            Self::Null => "is null",
            Self::Text => "is no number",
            Self::NotAScalar => "is a list or a map",
            Self::Nan => "is not a number",
            Self::Infinite => "is infinite",
            Self::Negative => "is negative",
            Self::Several => "is more than one value; `each` gives one point per item",
            Self::NoMatch => "does not match",
            Self::TooManyItems => "has more items than max_items",
            Self::NoKey => "has no usable key",
            Self::BadTime => "is no time",
            Self::NotPrometheus => "is no Prometheus text",
            Self::BadLine => "has a line that is no Prometheus text",
            Self::TypeMismatch => "is a gauge in the Prometheus text, not a counter",
            Self::Attribute => "is a list or a map; the attribute is left out",
            Self::AttributeCut => "is longer than max_attribute_length; the attribute is cut",
            Self::TooDeep => "nests too deep",
        }
    }

    /// True where the value still made a point.
    pub(crate) const fn keeps_the_point(self) -> bool {
        matches!(self, Self::Attribute | Self::AttributeCut)
    }
}
