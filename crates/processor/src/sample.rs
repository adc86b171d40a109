//! What the rules make of a cycle's answers, and what the data model ([`crate::series`]) works on. No clock is read from here on:
//! every time comes from an [`Arrival`].

use std::{sync::Arc, time::Duration};

use minicol_pdata::{Arrival, Attributes, Cut, MetricDescriptor, MetricKind, Number, Source, Temporality, Timestamp};

/// A metric that rules feed. Two are one stream where name, unit, kind and boundaries are the same (the rules hold that one name has one
/// of each); only the description may differ, and goes with the sample that was seen last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Instrument {
    /// Name, description, unit, kind.
    pub(crate) descriptor: MetricDescriptor,
    /// A histogram's upper boundaries, rising; empty for every other kind.
    pub(crate) bounds: Arc<[f64]>,
    /// The buckets of an exponential histogram; `None` for every other kind.
    pub(crate) exponents: Option<Exponents>,
    /// A histogram with boundaries that takes values below zero (its lowest boundary lies there); it carries no sum.
    pub(crate) negative: bool,
}

/// How fine an exponential histogram may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exponents {
    /// Buckets for the values above zero, and as many for those below; at least 2.
    pub(crate) max_size: u16,
    /// The scale to begin with: bucket boundaries are powers of `2^(2^-scale)`.
    pub(crate) max_scale: i8,
}

/// Everything that one source said in one cycle.
#[derive(Clone, Debug)]
pub(crate) struct Cycle {
    /// Who was asked.
    pub(crate) source: Arc<Source>,
    /// When the cycle was over: the arrival of its report, or of its last answer where none came.
    pub(crate) now: Arrival,
    /// In the order of the batch, the poll's report (tool [`minicol_pdata::POLL_REPORT`]) among them.
    pub(crate) answers: Vec<Answer>,
    /// What the source told of its process's start, also where no sample refers to it in this cycle.
    pub(crate) told: Vec<Told>,
}

/// What one tool's answer says.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Which tool.
    pub(crate) tool: Arc<str>,
    /// When the answer had arrived.
    pub(crate) arrival: Arrival,
    /// Set where the source holds more items than the answer.
    pub(crate) cut: Option<Cut>,
    /// In the order of the rules. Two of one series (instrument and attributes) can occur: the first counts.
    pub(crate) samples: Vec<Sample>,
    /// Every instrument that a rule of this tool feeds, whether it did or not: a series of one of them that this tool fed last, and
    /// that has no sample here, has ended.
    pub(crate) feeds: Arc<[usize]>,
}

/// One usable value of one series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Index into the instruments that go with the cycle.
    pub(crate) instrument: usize,
    /// What tells the series from the others of the instrument.
    pub(crate) attributes: Attributes,
    /// The value.
    pub(crate) value: Measured,
    /// Whose word ([`Told::teller`]) counts for the start of the series: the first of these that ever told anything of this source, in
    /// this cycle or before. Empty where the rule names none.
    pub(crate) tellers: Arc<[Arc<str>]>,
}

/// A value, by how it is to be read. Numbers are finite and scaled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Measured {
    /// A gauge's.
    Level(Number),
    /// A counter's: the source's running total, not below zero.
    Total(Number),
    /// An updowncounter's.
    UpDown(Number),
    /// A histogram's that observes changes: observed first, and whenever it differs from the one before.
    Change(f64),
    /// An item that is counted once, by its key: observed by a histogram, added (not below zero) by a counter.
    Item {
        /// Tells it from the other items of the instrument.
        key: Arc<str>,
        /// When it ended, where it tells.
        ended: Option<Timestamp>,
        /// How much it counts.
        value: Number,
    },
}

/// The start of a source's process, in its own words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    /// Which tool and path said so; the same text in every cycle and over a reload that leaves the rule alone.
    pub(crate) teller: Arc<str>,
    /// What it said.
    pub(crate) start: ToldStart,
    /// When: the arrival of the answer that said it.
    pub(crate) arrival: Arrival,
}

impl Exponents {
    /// At this scale two buckets hold every double.
    pub(crate) const MIN_SCALE: i8 = -10;
    /// The finest (OpenTelemetry, metrics SDK): beyond it a double's own precision is reached.
    pub(crate) const MAX_SCALE: i8 = 20;
}

impl Instrument {
    /// True where each point tells what came since the one before.
    pub(crate) fn is_delta(&self) -> bool {
        match self.descriptor.kind {
            MetricKind::Sum { temporality, .. }
            | MetricKind::Histogram { temporality }
            | MetricKind::ExponentialHistogram { temporality } => temporality == Temporality::Delta,
            MetricKind::Gauge | MetricKind::Summary => false,
        }
    }

    /// True where the points of both belong to one stream.
    pub(crate) fn is_one_with(&self, other: &Self) -> bool {
        self.descriptor.name == other.descriptor.name
            && self.descriptor.unit == other.descriptor.unit
            && self.descriptor.kind == other.descriptor.kind
            && self.bounds == other.bounds
            && self.exponents == other.exponents
    }
}

/// How a source can tell its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToldStart {
    /// The moment.
    At(Timestamp),
    /// How long ago, seen from the arrival.
    Uptime(Duration),
}

/// How much the data model keeps. A reload may change it while series live (`SeriesStore::set_limits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Series of one metric of one source.
    pub(crate) max_series: usize,
    /// Keys of items that one metric of one source remembers; those in the latest answer are never forgotten.
    pub(crate) max_keys: usize,
    /// How long a series that gets no more values is remembered.
    pub(crate) expiry: Duration,
}

/// What happened in a cycle, for the processor's own metrics and notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Values dropped because a metric has `max_series` already (gauges, totals).
    pub(crate) dropped: u64,
    /// Values that went to the overflow series (`otel.metric.overflow`), for the same reason.
    pub(crate) overflowed: u64,
    /// Values dropped because another of the same series came before in the same answer.
    pub(crate) duplicates: u64,
    /// Values dropped because a later answer of their tool was taken before.
    pub(crate) late: u64,
    /// Series forgotten because they got no more values.
    pub(crate) expired: u64,
    /// Keys of counted items forgotten because a metric has `max_keys` already.
    pub(crate) forgotten_keys: u64,
    /// Series that live after the cycle, of all sources.
    pub(crate) live: usize,
    /// The wall clock was set back by more than the stamps can go on by themselves: every series of the source begins anew.
    pub(crate) clock_set_back: bool,
}
