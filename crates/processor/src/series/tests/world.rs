//! A source and a minicol that polls it, both under a clock that the test sets.

use std::{sync::Arc, time::Duration};

use minicol_pdata::{
    Arrival, Attributes, Cut, MetricDescriptor, MetricKind, Metrics, MetricsBuilder, Source, Temporality, Timestamp,
};

use crate::{
    sample::{Answer, Cycle, Exponents, Instrument, Limits, Measured, Sample, Tally, Told, ToldStart},
    series::SeriesStore,
};

pub(super) const INTERVAL: Duration = Duration::from_secs(30);
/// The tool and path that tells the process's start, in every world.
const TELLER: &str = "liveness $.uptime_seconds";

/// Moments are told in nanoseconds of a clock that was never set.
pub(super) struct World {
    pub(super) store: SeriesStore,
    pub(super) instruments: Vec<Instrument>,
    pub(super) source: Arc<Source>,
    limits: Limits,
    /// How far the wall clock has been set from the true one.
    pub(super) wall_offset: i64,
    /// When the machine began: where monotonic time counts from.
    origin: u64,
}

/// What one tool says in a cycle.
pub(super) struct Says {
    pub(super) tool: String,
    pub(super) at: u64,
    pub(super) cut: bool,
    /// By the index of the instrument.
    pub(super) values: Vec<(usize, Attributes, Measured)>,
    pub(super) told: Option<ToldStart>,
    pub(super) feeds: Vec<usize>,
}

pub(super) const DELTA_COUNTER: MetricKind = MetricKind::Sum { monotonic: true, temporality: Temporality::Delta };
pub(super) const DELTA_HISTOGRAM: MetricKind = MetricKind::Histogram { temporality: Temporality::Delta };
pub(super) const DELTA_EXPONENTIAL: MetricKind = MetricKind::ExponentialHistogram { temporality: Temporality::Delta };

pub(super) fn instrument(name: &str, unit: &str, kind: MetricKind, bounds: &[f64]) -> Instrument {
    let descriptor = MetricDescriptor { name: name.into(), description: "d".into(), unit: unit.into(), kind };
    let exponential = matches!(kind, MetricKind::ExponentialHistogram { .. });
    // Few buckets, so that they are merged early.
    let exponents = exponential.then_some(Exponents { max_size: 4, max_scale: 20 });
    Instrument {
        descriptor,
        bounds: bounds.into(),
        exponents,
        negative: bounds.first().is_some_and(|&bound| bound < 0.0),
    }
}

impl World {
    pub(super) fn new(instruments: Vec<Instrument>, limits: Limits, began: u64) -> Self {
        let resource = Attributes::new().with("service.name", "s").with("service.instance.id", "1");
        let source = Arc::new(Source { resource, receiver: "session_buddy".into(), interval: INTERVAL });
        let origin = began.saturating_sub(3_600_000_000_000);
        let arrival = Arrival { wall: Timestamp::from_nanos(began), monotonic: Duration::from_nanos(began - origin) };
        Self { store: SeriesStore::new(limits, arrival), instruments, source, limits, wall_offset: 0, origin }
    }

    pub(super) fn arrival(&self, at: u64) -> Arrival {
        let wall = at.saturating_add_signed(self.wall_offset);
        Arrival { wall: Timestamp::from_nanos(wall), monotonic: Duration::from_nanos(at - self.origin) }
    }

    pub(super) fn restart(&mut self, at: u64) {
        self.store = SeriesStore::new(self.limits, self.arrival(at));
    }

    /// One cycle that is over at `now`.
    pub(super) fn cycle(&mut self, now: u64, says: Vec<Says>) -> (Metrics, Tally) {
        let tellers: Arc<[Arc<str>]> = [Arc::from(TELLER)].into();
        let mut cycle =
            Cycle { source: Arc::clone(&self.source), now: self.arrival(now), answers: Vec::new(), told: Vec::new() };
        for one in says {
            let arrival = self.arrival(one.at);
            cycle.told.extend(one.told.map(|start| Told { teller: TELLER.into(), start, arrival }));
            let sample = |(instrument, attributes, value)| Sample {
                instrument,
                attributes,
                value,
                tellers: Arc::clone(&tellers),
            };
            cycle.answers.push(Answer {
                tool: one.tool.into(),
                arrival,
                cut: one.cut.then_some(Cut { returned: 1, total: 2 }),
                samples: one.values.into_iter().map(sample).collect(),
                feeds: one.feeds.into(),
            });
        }
        let mut out = MetricsBuilder::new();
        out.resource(&self.source.resource, "mapping", "1");
        let tally = self.store.apply(cycle, &self.instruments, &mut out);
        (out.build(), tally)
    }
}
