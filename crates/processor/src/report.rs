//! What the processor tells about itself: counters, and notices that are told once until what they tell changes.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use minicol_pdata::{Arrival, Source};
use minicol_plugin::{Level, Scope, text};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge},
};
use serde_json::{Value, json};

use crate::{
    compile::{Rule, Ruleset},
    extract::{Complaint, Extracted, Place, Reason, Unusable},
    sample::Tally,
};

/// Sources beyond this many share no memory of what was told: the one that was silent longest is forgotten.
const MAX_SOURCES: usize = 10_000;
/// What was told of a source that is silent for so long is forgotten.
const SILENCE: Duration = Duration::from_secs(24 * 3600);

/// Instruments in the program's own telemetry. Each has the attribute `processor`.
#[derive(Clone, Debug)]
pub(crate) struct OwnMetrics {
    processor: KeyValue,
    usable: Counter<u64>,
    unusable: Counter<u64>,
    dropped: Counter<u64>,
    overflowed: Counter<u64>,
    expired: Counter<u64>,
    forgotten_keys: Counter<u64>,
    live: Gauge<u64>,
}

/// What was told of each source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Complaints(HashMap<u64, Told>);

/// What was told of one source.
#[derive(Clone, Debug)]
struct Told {
    receiver: String,
    last: Duration,
    /// By rule and metric, as the message names them: the reasons, and the message.
    unusable: BTreeMap<String, (Vec<Reason>, String)>,
    /// Kinds of loss in the latest cycle: values that were dropped, that overflowed, that occurred twice.
    losses: [bool; 3],
}

impl OwnMetrics {
    pub(crate) fn new(scope: &Scope) -> Self {
        let meter = scope.meter();
        let own = Self {
            processor: KeyValue::new("processor", scope.id().to_string()),
            usable: meter
                .u64_counter("minicol_mapping_usable_values")
                .with_description("Values that the rules found and could use")
                .with_unit("{value}")
                .build(),
            unusable: meter
                .u64_counter("minicol_mapping_unusable_values")
                .with_description("Values that made no point, by rule, metric and reason")
                .with_unit("{value}")
                .build(),
            dropped: meter
                .u64_counter("minicol_mapping_dropped_values")
                .with_description("Usable values that made no point, by reason: max_series, duplicate, late")
                .with_unit("{value}")
                .build(),
            overflowed: meter
                .u64_counter("minicol_mapping_overflowed_values")
                .with_description("Values that went to the series otel.metric.overflow=true")
                .with_unit("{value}")
                .build(),
            expired: meter
                .u64_counter("minicol_mapping_expired_series")
                .with_description("Series that were forgotten because they got no more values")
                .with_unit("{series}")
                .build(),
            forgotten_keys: meter
                .u64_counter("minicol_mapping_forgotten_keys")
                .with_description("Keys of counted items that were forgotten because a metric has max_keys already")
                .with_unit("{key}")
                .build(),
            live: meter
                .u64_gauge("minicol_mapping_live_series")
                .with_description("Series that have not ended, of all targets")
                .with_unit("{series}")
                .build(),
        };
        // They stand at 0 before they count.
        for counter in [&own.overflowed, &own.expired, &own.forgotten_keys] {
            counter.add(0, std::slice::from_ref(&own.processor));
        }
        own
    }

    pub(crate) fn usable(&self, values: u64) {
        self.usable.add(values, std::slice::from_ref(&self.processor));
    }

    pub(crate) fn unusable(&self, ruleset: &Ruleset, unusable: &Unusable) {
        for (place, complaints) in unusable.iter() {
            let Some(rule) = ruleset.rules.get(place.0) else { continue };
            for complaint in complaints {
                let mut attributes = vec![
                    self.processor.clone(),
                    KeyValue::new("rule", rule.label.to_string()),
                    KeyValue::new("reason", complaint.reason.name()),
                ];
                if let Some(name) = metric_name(ruleset, rule, *place) {
                    attributes.push(KeyValue::new("metric", name.to_string()));
                }
                self.unusable.add(complaint.count, &attributes);
            }
        }
    }

    pub(crate) fn tally(&self, tally: &Tally) {
        let processor = std::slice::from_ref(&self.processor);
        for (reason, count) in [("max_series", tally.dropped), ("duplicate", tally.duplicates), ("late", tally.late)] {
            if count > 0 {
                self.dropped.add(count, &[self.processor.clone(), KeyValue::new("reason", reason)]);
            }
        }
        for (counter, count) in [
            (&self.overflowed, tally.overflowed),
            (&self.expired, tally.expired),
            (&self.forgotten_keys, tally.forgotten_keys),
        ] {
            if count > 0 {
                counter.add(count, processor);
            }
        }
        self.live.record(tally.live as u64, processor);
    }
}

impl Complaints {
    /// Tells what of an answer could not be used, where that is not what was told last.
    pub(crate) fn hear(&mut self, ruleset: &Ruleset, source: &Source, one: &Extracted, now: Arrival, scope: &Scope) {
        let told = self.of(source, now);
        if one.unusable.is_empty() && told.unusable.is_empty() {
            return; // as nearly always: nothing to tell, and nothing that was told before is over
        }
        let tool = &one.answer.tool;
        let Some(rules) = ruleset.tools.get(tool) else { return };
        for index in &rules.rules {
            let Some(rule) = ruleset.rules.get(*index) else { continue };
            let places =
                std::iter::once((*index, None)).chain((0..rule.metrics.len()).map(|metric| (*index, Some(metric))));
            for place in places {
                let name = named(ruleset, rule, place);
                told.place(&name, tool, one.unusable.at(place), one.applied.contains(index), scope);
            }
        }
        // What this tool tells of a start is told for the rule that asks, and that is another tool's, mostly.
        for teller in rules.tellers.iter().filter_map(|at| ruleset.tellers.get(*at)) {
            let Some((index, rule)) = ruleset.asks(teller).filter(|(_, rule)| rule.tool != *tool) else { continue };
            let name = format!("the start of {}", rule.label);
            told.place(&name, tool, one.unusable.at((index, None)), true, scope);
        }
    }

    /// Forgets what was told of rules that are there no more.
    pub(crate) fn keep(&mut self, ruleset: &Ruleset) {
        let mut names = HashSet::new();
        for (index, rule) in ruleset.rules.iter().enumerate() {
            names.extend((0..rule.metrics.len()).map(|metric| named(ruleset, rule, (index, Some(metric)))));
            names.extend([named(ruleset, rule, (index, None)), format!("the start of {}", rule.label)]);
        }
        for told in self.0.values_mut() {
            told.unusable.retain(|name, _| names.contains(name));
        }
    }

    /// Tells what the data model had to leave out, where it did not in the cycle before.
    pub(crate) fn tally(&mut self, source: &Source, tally: &Tally, now: Arrival, scope: &Scope) {
        let receiver = &source.receiver;
        if tally.clock_set_back {
            let message = format!(
                "the wall clock was set back; every series of {receiver} begins anew, as after a restart of minicol"
            );
            scope.notice(Level::Warn, "clock_set_back", message);
        }
        let told = self.of(source, now);
        let losses = [
            (tally.dropped, "series_dropped", "values dropped: a metric has max_series already"),
            (
                tally.overflowed,
                "series_overflowed",
                "values in otel.metric.overflow=true: a metric has max_series already",
            ),
            (
                tally.duplicates,
                "series_twice",
                "values dropped: another of the same series, or with the same key, stood before it in the answer; an attribute that tells them apart may be missing",
            ),
        ];
        for (was, (count, name, what)) in told.losses.iter_mut().zip(losses) {
            if count > 0 && !*was {
                scope.notice(Level::Warn, name, format!("{receiver}: {count} {what}"));
            }
            *was = count > 0;
        }
    }

    /// What could not be used at last, for the status page.
    pub(crate) fn to_json(&self) -> Value {
        let mut list: Vec<_> = self
            .0
            .values()
            .flat_map(|told| told.unusable.values().map(|(_, what)| json!({ "receiver": told.receiver, "what": what })))
            .take(100)
            .collect();
        list.sort_by_key(ToString::to_string);
        list.into()
    }

    fn of(&mut self, source: &Source, now: Arrival) -> &mut Told {
        let mut hasher = DefaultHasher::new();
        (&source.receiver, &source.resource).hash(&mut hasher);
        let key = hasher.finish();
        if !self.0.contains_key(&key) {
            self.0.retain(|_, told| now.monotonic.saturating_sub(told.last) < SILENCE);
            if self.0.len() >= MAX_SOURCES
                && let Some(oldest) = self.0.iter().min_by_key(|(_, told)| told.last).map(|(key, _)| *key)
            {
                self.0.remove(&oldest);
            }
        }
        let told = self.0.entry(key).or_insert_with(|| Told {
            receiver: source.receiver.clone(),
            last: now.monotonic,
            unusable: BTreeMap::new(),
            losses: [false; 3],
        });
        told.last = now.monotonic;
        told
    }
}

impl Told {
    /// `applied` is false where the rule's guard did not hold: then there was nothing to use.
    fn place(&mut self, name: &str, tool: &str, complaints: &[Complaint], applied: bool, scope: &Scope) {
        if complaints.is_empty() {
            if self.unusable.remove(name).is_some() && applied {
                let message = format!("{}: {name} from {} is usable again", self.receiver, text::foreign(tool));
                scope.notice(Level::Info, "values_usable", message);
            }
            return;
        }
        let mut reasons: Vec<Reason> = complaints.iter().map(|one| one.reason).collect();
        reasons.sort_unstable();
        let known = self.unusable.get(name).is_some_and(|(told, _)| *told == reasons);
        if known {
            return;
        }
        let what: Vec<String> = complaints.iter().map(sentence).collect();
        let message = format!("{}: {name} from {}: {}", self.receiver, text::foreign(tool), what.join("; "));
        // A point that lacks an attribute is less than a point that is missing.
        let level = if reasons.iter().all(|reason| reason.keeps_the_point()) { Level::Info } else { Level::Warn };
        scope.notice(level, "values_unusable", message.clone());
        self.unusable.insert(name.to_owned(), (reasons, message));
    }
}

fn sentence(complaint: &Complaint) -> String {
    let more = if complaint.count > 1 { format!(" ({} values)", complaint.count) } else { String::new() };
    format!("{} {}{more}", complaint.example, complaint.reason.words())
}

/// How messages name a place.
fn named(ruleset: &Ruleset, rule: &Rule, place: Place) -> String {
    let metric = place.1.and_then(|metric| rule.metrics.get(metric));
    match (metric, metric_name(ruleset, rule, place)) {
        (Some(metric), Some(name)) => format!("{name} ({}.metrics[{}])", rule.label, metric.number),
        _ => rule.label.to_string(),
    }
}

fn metric_name(ruleset: &Ruleset, rule: &Rule, place: Place) -> Option<Arc<str>> {
    let metric = rule.metrics.get(place.1?)?;
    Some(ruleset.instruments.get(metric.instrument)?.descriptor.name.clone())
}

#[cfg(test)]
mod tests {
    use minicol_pdata::Resource;

    use super::*;

    #[test]
    fn of_very_many_sources_the_one_silent_longest_is_forgotten() {
        let mut complaints = Complaints::default();
        let source = |nth: usize| Source {
            resource: Resource::default(),
            receiver: format!("session_buddy/{nth}"),
            interval: Duration::from_secs(1),
        };
        let at = |millis: usize| Arrival { monotonic: Duration::from_millis(millis as u64), ..Arrival::default() };
        for nth in 0..MAX_SOURCES + 3 {
            complaints.of(&source(nth), at(nth));
        }
        assert_eq!(complaints.0.len(), MAX_SOURCES);
        let there = |nth: usize| complaints.0.values().any(|told| told.receiver == format!("session_buddy/{nth}"));
        assert!(!there(0) && !there(2) && there(3) && there(MAX_SOURCES + 2));
    }
}
