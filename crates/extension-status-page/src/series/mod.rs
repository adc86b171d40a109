//! Every series that pipelines give to exporters, with its last value and its last hour. What is kept is bounded, and so is the work.

mod one;

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use minicol_pdata::Metrics;
use minicol_plugin::Redactor;

use crate::StatusPageConfig;
pub(crate) use one::{Labels, Series, step};
use one::{describe, hash};

/// The last hour is kept in so many steps, of each the last value.
pub(crate) const STEPS: u32 = 120;
/// How long a step is.
pub(crate) const STEP: Duration = Duration::from_secs(STEP_SECONDS as u64);
pub(crate) const STEP_SECONDS: u32 = 30;
/// What was silent for so long is forgotten.
const HOUR: Duration = STEP.saturating_mul(STEPS);
/// The options that bound what is remembered.
const MAX_SERIES: &str = "max_series";
const MAX_SERIES_MIB: &str = "max_series_mib";
/// So many points are looked at in a second at most: who relays more sees some of it.
const POINTS_PER_SECOND: f64 = 5_000.0;
/// What is known of all series.
#[derive(Debug)]
pub(crate) struct Store {
    series: HashMap<u64, Series>,
    most: usize,
    /// How many bytes they may take, and how many they do.
    most_bytes: usize,
    held: usize,
    /// How many points may be looked at now, and as of when.
    budget: (f64, Duration),
    /// Points that were not looked at: there were too many.
    pub(crate) passed_over: u64,
    /// Points of series for which there was no room.
    pub(crate) left_out: u64,
    /// The options for want of which series were left out, and when that was last.
    wanting: BTreeMap<&'static str, Duration>,
    /// Those of them that were told.
    told: Vec<&'static str>,
    /// Goes up whenever something changes.
    pub(crate) version: u64,
}

impl Store {
    pub(crate) fn new(config: &StatusPageConfig) -> Self {
        let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            series: HashMap::new(),
            most: whole(config.max_series),
            most_bytes: whole(config.max_series_mib).saturating_mul(1 << 20),
            held: 0,
            budget: (POINTS_PER_SECOND, Duration::ZERO),
            passed_over: 0,
            left_out: 0,
            wanting: BTreeMap::new(),
            told: Vec::new(),
            version: 0,
        }
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
                    continue;
                }
                let wanting = match self.room() {
                    Ok(room) => {
                        let of = described.get_or_insert_with(|| {
                            let resource = Labels::of(&resource, redactor);
                            Arc::new(describe(pipeline, resource, &metric, kind))
                        });
                        let mut series = Series::new(Arc::clone(of), Labels::of(&attributes, redactor), at);
                        // The first of those that share a description brings it.
                        let shared = if Arc::strong_count(of) > 2 { 0 } else { of.bytes() };
                        let bytes = series.bytes() + shared;
                        if bytes <= room {
                            series.take(&point, at);
                            self.series.insert(key, series);
                            self.held += bytes;
                            continue;
                        }
                        MAX_SERIES_MIB
                    }
                    Err(wanting) => wanting,
                };
                self.left_out += 1;
                self.wanting.insert(wanting, at);
            }
        }
    }

    /// Forgets what has been silent for the whole hour.
    pub(crate) fn forget(&mut self, at: Duration) {
        self.series.retain(|_, series| at.saturating_sub(series.seen) < HOUR);
        self.wanting.retain(|_, last| at.saturating_sub(*last) < HOUR);
        let mut told = HashSet::new();
        let shared = self.series.values().filter(|series| told.insert(Arc::as_ptr(&series.of)));
        let shared: usize = shared.map(|series| series.of.bytes()).sum();
        self.held = shared + self.series.values().map(Series::bytes).sum::<usize>();
    }

    /// How many bytes there are for one series more, else the option that would have to be larger.
    fn room(&self) -> Result<usize, &'static str> {
        let room = self.most_bytes.saturating_sub(self.held);
        match () {
            () if self.series.len() >= self.most => Err(MAX_SERIES),
            () if room < Series::FIXED => Err(MAX_SERIES_MIB),
            () => Ok(room),
        }
    }

    /// The options for want of which series were left out within the last hour.
    pub(crate) fn wanting(&self) -> impl Iterator<Item = &'static str> {
        self.wanting.keys().copied()
    }

    /// Each of those once, however often it happens.
    pub(crate) fn newly_wanting(&mut self) -> Vec<&'static str> {
        let new: Vec<_> = self.wanting.keys().copied().filter(|option| !self.told.contains(option)).collect();
        self.told.extend(&new);
        new
    }

    /// How many bytes they take.
    pub(crate) fn held(&self) -> usize {
        self.held
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

#[cfg(test)]
mod tests;
