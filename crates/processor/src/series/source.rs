//! Everything that is known of one source.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use indexmap::IndexMap;
use minicol_pdata::{Arrival, MetricsBuilder, Source, Timestamp};

use super::{
    clock::StampClock,
    life::Moment,
    metric::{Metric, Taking},
    teller::Tellers,
};
use crate::sample::{Answer, Cycle, Instrument, Limits, Tally, Told};

/// A tool is silent when it has given no answer for so many intervals, less a tenth of one: answers do not take equally long.
const SILENT_INTERVALS: u32 = 2;
/// A series is remembered for at least so many intervals, so that it can end before it is forgotten.
const REMEMBERED_INTERVALS: u32 = 3;

/// One source.
#[derive(Debug)]
pub(super) struct SourceState {
    clock: StampClock,
    /// When minicol began to watch it.
    began: Timestamp,
    tellers: Tellers,
    tools: BTreeMap<Arc<str>, Tool>,
    metrics: IndexMap<Arc<str>, Metric>,
    /// Numbers the answers.
    answers: u64,
    /// When it was heard of last, and how long it is remembered from then.
    pub(super) heard: Duration,
    pub(super) remembered: Duration,
    /// Series that live.
    pub(super) live: usize,
}

/// When a tool answered, and whom: several receivers may poll what a backend knows as one target, each at an interval of its own.
#[derive(Debug)]
struct Tool {
    asked_by: Arc<Source>,
    first: Timestamp,
    latest: Timestamp,
    heard: Duration,
    /// The number of its latest answer.
    answer: u64,
}

/// Stamps of a cycle.
struct Stamped {
    now: Timestamp,
    answers: Vec<Timestamp>,
    told: Vec<Timestamp>,
}

impl SourceState {
    pub(super) fn new(began: Timestamp) -> Self {
        Self {
            clock: StampClock::default(),
            began,
            tellers: Tellers::default(),
            tools: BTreeMap::new(),
            metrics: IndexMap::new(),
            answers: 0,
            heard: Duration::ZERO,
            remembered: Duration::ZERO,
            live: 0,
        }
    }

    /// Takes a cycle in, and writes the points that follow from it.
    pub(super) fn apply(
        &mut self,
        cycle: Cycle,
        instruments: &[Instrument],
        limits: Limits,
        out: &mut MetricsBuilder,
        tally: &mut Tally,
    ) {
        let stamps = self.stamp(&cycle, tally);
        let Cycle { source, now, answers, told } = cycle;
        self.hear(&told, &stamps.told);
        self.adopt(instruments, now.monotonic);
        // Of one series there is one point in a write. A tool that answered twice gets two.
        let mut round: Vec<Arc<str>> = Vec::with_capacity(answers.len());
        for (answer, stamp) in answers.into_iter().zip(stamps.answers) {
            if round.contains(&answer.tool) {
                round.clear();
                self.write(instruments, out);
            }
            round.push(Arc::clone(&answer.tool));
            self.take(answer, stamp, (&source, instruments), limits, tally);
        }
        self.end_silent(&source, now.monotonic, stamps.now);
        self.write(instruments, out);
        let longest = self.tools.values().map(|tool| tool.asked_by.interval).fold(source.interval, Duration::max);
        self.remembered = limits.expiry.max(longest.saturating_mul(REMEMBERED_INTERVALS));
        self.heard = self.heard.max(now.monotonic);
        self.expire(stamps.now, limits, tally);
    }

    /// Stamps everything that arrived. After a setting back of the wall clock that cannot be bridged nothing is known any more.
    fn stamp(&mut self, cycle: &Cycle, tally: &mut Tally) -> Stamped {
        let answers = cycle.answers.iter().map(|answer| answer.arrival);
        let told = cycle.told.iter().map(|told| told.arrival);
        let arrivals: Vec<Arrival> = answers.chain(told).chain([cycle.now]).collect();
        let mut stamps = self.clock.stamps(&arrivals);
        if stamps.set_back {
            let began = stamps.list.iter().copied().min().unwrap_or(cycle.now.wall);
            let clock = std::mem::take(&mut self.clock);
            *self = Self { clock, answers: self.answers, live: self.live, ..Self::new(began) };
            tally.clock_set_back = true;
        }
        let now = stamps.list.pop().unwrap_or(cycle.now.wall);
        let told = stamps.list.split_off(cycle.answers.len());
        Stamped { now, answers: stamps.list, told }
    }

    /// In the order in which it was told.
    fn hear(&mut self, told: &[Told], stamps: &[Timestamp]) {
        let mut order: Vec<(&Told, Timestamp)> = told.iter().zip(stamps.iter().copied()).collect();
        order.sort_by_key(|(told, _)| told.arrival.monotonic);
        for (told, stamp) in order {
            self.tellers.hear(&told.teller, told.start, told.arrival, stamp);
        }
    }

    fn adopt(&mut self, instruments: &[Instrument], now: Duration) {
        for instrument in instruments {
            if let Some(metric) = self.metrics.get_mut(&instrument.descriptor.name) {
                metric.adopt(instrument);
                metric.wanted = now;
            }
        }
    }

    /// Takes one answer.
    fn take(
        &mut self,
        answer: Answer,
        stamp: Timestamp,
        (source, instruments): (&Arc<Source>, &[Instrument]),
        limits: Limits,
        tally: &mut Tally,
    ) {
        let Answer { tool, arrival, cut, samples, feeds } = answer;
        let heard = arrival.monotonic;
        if self.tools.get(&tool).is_some_and(|tool| heard < tool.heard) {
            // What the tool said later was taken already: this would look like a fall.
            tally.late += samples.len() as u64;
            return;
        }
        let moment = self.moment(source, tool, (heard, stamp), cut.is_some());
        let mut taking = Taking { moment: &moment, tellers: &self.tellers, limits, tally };
        for sample in samples {
            let Some(instrument) = instruments.get(sample.instrument) else { continue };
            let metric = match self.metrics.get_mut(&instrument.descriptor.name) {
                Some(metric) => metric,
                None => self
                    .metrics
                    .entry(Arc::clone(&instrument.descriptor.name))
                    .or_insert(Metric::new(instrument.clone(), heard)),
            };
            metric.take(sample, &mut taking);
        }
        let latest: Vec<u64> = self.tools.values().map(|tool| tool.answer).collect();
        for instrument in feeds.iter().filter_map(|&at| instruments.get(at)) {
            if let Some(metric) = self.metrics.get_mut(&instrument.descriptor.name) {
                tally.forgotten_keys += metric.answered(&moment, limits, &latest);
            }
        }
    }

    /// Notes that a tool has answered.
    fn moment(
        &mut self,
        source: &Arc<Source>,
        tool: Arc<str>,
        (heard, stamp): (Duration, Timestamp),
        cut: bool,
    ) -> Moment {
        self.answers += 1;
        let answer = self.answers;
        let known = self.tools.get_mut(&tool);
        let previous = known.as_ref().map(|known| known.latest);
        let first = known.as_ref().map_or(stamp, |known| known.first);
        if let Some(known) = known {
            (known.latest, known.heard, known.answer) = (stamp, heard, answer);
            known.asked_by = Arc::clone(source);
        } else {
            let asked_by = Arc::clone(source);
            self.tools.insert(Arc::clone(&tool), Tool { asked_by, first, latest: stamp, heard, answer });
        }
        Moment { tool, answer, heard, stamp, cut, first, previous, began: self.began }
    }

    /// Ends the series of tools that have given no answer for two intervals. A source that is not polled is never silent. Whether a tool
    /// is silent that another receiver asks is for that one's cycles to tell.
    fn end_silent(&mut self, source: &Source, now: Duration, stamp: Timestamp) {
        let Self { tools, metrics, .. } = self;
        if source.interval.is_zero() {
            return;
        }
        let patience = source.interval.saturating_mul(SILENT_INTERVALS).saturating_sub(source.interval / 10);
        let silent = |tool: &str| {
            tools.get(tool).is_none_or(|tool| {
                tool.asked_by.receiver == source.receiver && now.saturating_sub(tool.heard) >= patience
            })
        };
        for metric in metrics.values_mut().filter(|metric| metric.wanted == now) {
            metric.silent(silent, stamp);
        }
    }

    /// In the order of the instruments, so that a batch always reads the same.
    fn write(&mut self, instruments: &[Instrument], out: &mut MetricsBuilder) {
        for instrument in instruments {
            if let Some(metric) = self.metrics.get_mut(&instrument.descriptor.name) {
                metric.write(out);
            }
        }
    }

    /// Forgets what got no more values, and what no rule has asked for as long.
    fn expire(&mut self, stamp: Timestamp, limits: Limits, tally: &mut Tally) {
        let (now, remembered) = (self.heard, self.remembered);
        self.live = 0;
        for metric in self.metrics.values_mut() {
            self.live += metric.expire(now, remembered, limits, tally);
        }
        let stale = |heard: Duration| now.saturating_sub(heard) > remembered;
        let began = &mut self.began;
        self.metrics.retain(|_, metric| {
            let keep = !stale(metric.wanted) || !metric.is_empty();
            if !keep && metric.instrument.is_delta() {
                // Nothing is known any more of what was told: should a rule come back, it counts from here.
                *began = stamp;
            }
            keep
        });
        self.tools.retain(|_, tool| !stale(tool.heard));
    }

    /// Series, keys, hidden values and graves, at most in one metric.
    #[cfg(test)]
    pub(super) fn largest(&self) -> [usize; 4] {
        self.metrics.values().map(Metric::size).fold([0; 4], |a, b| std::array::from_fn(|at| a[at].max(b[at])))
    }
}
