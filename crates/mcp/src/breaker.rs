//! One circuit breaker per tool.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use minicol_pdata::Timestamp;
use tokio::time::Instant;

use crate::{BreakerSnapshot, BreakerState};

/// The breakers of the wanted tools that are not known as missing.
#[derive(Debug, Default)]
pub(crate) struct Breakers(BTreeMap<Arc<str>, Breaker>);

#[derive(Debug, Default)]
struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// The tick of the cycle that opened it, where it is open.
    opened: Option<Instant>,
    probing: bool,
}

/// The rules of a target's breakers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakerRules {
    pub(crate) threshold: u32,
    pub(crate) cooldown: Duration,
}

/// Whether a tool may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may, with retries.
    Call,
    /// It may, once: it decides whether the breaker closes.
    Probe,
    /// It may not.
    Refused,
}

/// What a call, with all its retries, means for its breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    Failure,
    /// Neither: throttled, cancelled. A closed breaker keeps its count; an open one stays due.
    Neither,
}

impl Breakers {
    /// From now on exactly `names` have breakers: a tool that is not offered has none.
    pub(crate) fn keep(&mut self, names: &[Arc<str>]) {
        self.0.retain(|name, _| names.contains(name));
        for name in names {
            self.0.entry(Arc::clone(name)).or_default();
        }
    }

    /// What was known as `from` is known as `to`.
    pub(crate) fn rename(&mut self, from: &str, to: &Arc<str>) {
        if let Some(breaker) = self.0.remove(from) {
            self.0.entry(Arc::clone(to)).or_insert(breaker);
        }
    }

    /// Whether `name` may be called in the cycle of `tick`.
    pub(crate) fn admission(&self, name: &str, tick: Instant, rules: BreakerRules) -> Admission {
        match self.0.get(name).and_then(|breaker| breaker.opened) {
            None => Admission::Call,
            Some(opened) if tick.saturating_duration_since(opened) >= rules.cooldown => Admission::Probe,
            Some(_) => Admission::Refused,
        }
    }

    /// True where there are breakers, and all are open.
    pub(crate) fn all_open(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|breaker| breaker.opened.is_some())
    }

    pub(crate) fn begin_probe(&mut self, name: &str) {
        if let Some(breaker) = self.0.get_mut(name) {
            breaker.probing = true;
        }
    }

    /// A call has ended.
    pub(crate) fn settle(&mut self, name: &str, verdict: Verdict, tick: Instant, rules: BreakerRules) {
        let Some(breaker) = self.0.get_mut(name) else { return };
        breaker.probing = false;
        match verdict {
            Verdict::Success => *breaker = Breaker::default(),
            Verdict::Failure => breaker.fail(tick, rules),
            Verdict::Neither => {}
        }
    }

    /// Forgets the failures of `name`; false where it is closed, or there is none.
    pub(crate) fn close(&mut self, name: &str) -> bool {
        let open = self.0.get_mut(name).filter(|breaker| breaker.opened.is_some());
        open.map(std::mem::take).is_some()
    }

    /// The set-up failed in the end: a failure of each tool whose breaker is closed; where all are open, all open again.
    pub(crate) fn set_up_failed(&mut self, tick: Instant, rules: BreakerRules) {
        let all_open = self.all_open();
        for breaker in self.0.values_mut() {
            if all_open || breaker.opened.is_none() {
                breaker.fail(tick, rules);
            }
        }
    }

    /// `until` tells when the cooldown of one that was opened at an instant is over, on the wall clock.
    pub(crate) fn snapshot(&self, until: impl Fn(Instant) -> Timestamp) -> BTreeMap<Arc<str>, BreakerSnapshot> {
        self.0.iter().map(|(name, breaker)| (Arc::clone(name), breaker.snapshot(&until))).collect()
    }
}

impl Breaker {
    fn fail(&mut self, tick: Instant, rules: BreakerRules) {
        self.failures = self.failures.saturating_add(1);
        if self.opened.is_some() || self.failures >= rules.threshold {
            self.opened = Some(tick);
        }
    }

    fn snapshot(&self, until: impl Fn(Instant) -> Timestamp) -> BreakerSnapshot {
        let state = match (self.opened, self.probing) {
            (None, _) => BreakerState::Closed,
            (Some(_), false) => BreakerState::Open,
            (Some(_), true) => BreakerState::Probing,
        };
        BreakerSnapshot { state, failures: self.failures, open_until: self.opened.map(until) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: BreakerSnapshot = BreakerSnapshot { state: BreakerState::Closed, failures: 0, open_until: None };

    fn until(_: Instant) -> Timestamp {
        Timestamp::from_nanos(7)
    }

    const RULES: BreakerRules = BreakerRules { threshold: 3, cooldown: Duration::from_secs(30) };

    fn breakers(names: &[&str]) -> (Breakers, Instant) {
        let mut breakers = Breakers::default();
        breakers.keep(&names.iter().map(|name| Arc::from(*name)).collect::<Vec<_>>());
        (breakers, Instant::now())
    }

    #[test]
    fn the_third_failure_in_a_row_opens_at_once_and_a_success_between_starts_anew() {
        let (mut breakers, tick) = breakers(&["a", "b"]);
        for verdict in [Verdict::Failure, Verdict::Failure, Verdict::Success, Verdict::Failure, Verdict::Failure] {
            breakers.settle("a", verdict, tick, RULES);
            breakers.settle("b", Verdict::Success, tick, RULES);
        }
        assert_eq!(breakers.admission("a", tick, RULES), Admission::Call);
        breakers.settle("a", Verdict::Neither, tick, RULES);
        breakers.settle("a", Verdict::Failure, tick, RULES);
        assert_eq!(breakers.admission("a", tick, RULES), Admission::Refused);
        assert_eq!(breakers.admission("b", tick, RULES), Admission::Call);
    }

    #[test]
    fn the_cooldown_counts_from_the_tick_and_a_failed_probe_opens_again() {
        let (mut breakers, tick) = breakers(&["a"]);
        for _ in 0..3 {
            breakers.settle("a", Verdict::Failure, tick, RULES);
        }
        let (early, due) = (tick + Duration::from_millis(29_999), tick + Duration::from_secs(30));
        assert_eq!(breakers.admission("a", early, RULES), Admission::Refused);
        assert_eq!(breakers.admission("a", due, RULES), Admission::Probe);
        breakers.begin_probe("a");
        let probing = breakers.snapshot(until)["a"];
        assert_eq!((probing.state, probing.open_until), (BreakerState::Probing, Some(until(tick))));
        breakers.settle("a", Verdict::Neither, due, RULES);
        assert_eq!(breakers.admission("a", due, RULES), Admission::Probe, "a probe that decides nothing stays due");
        breakers.settle("a", Verdict::Failure, due, RULES);
        assert_eq!(breakers.admission("a", due, RULES), Admission::Refused);
        breakers.settle("a", Verdict::Success, due, RULES);
        assert_eq!(breakers.snapshot(until)["a"], CLOSED);
    }

    #[test]
    fn one_that_is_closed_by_hand_calls_again_and_counts_from_nothing() {
        let (mut breakers, tick) = breakers(&["a"]);
        assert!(!breakers.close("a") && !breakers.close("b"), "there is nothing to close");
        for _ in 0..3 {
            breakers.settle("a", Verdict::Failure, tick, RULES);
        }
        assert!(breakers.close("a"));
        assert_eq!(breakers.admission("a", tick, RULES), Admission::Call);
        assert_eq!(breakers.snapshot(until)["a"], CLOSED);
    }

    #[test]
    fn a_failed_set_up_counts_for_closed_ones_and_opens_all_again_where_all_are_open() {
        let (mut breakers, tick) = breakers(&["a", "b"]);
        for _ in 0..3 {
            breakers.settle("a", Verdict::Failure, tick, RULES);
        }
        let later = tick + Duration::from_secs(40);
        for _ in 0..3 {
            breakers.set_up_failed(later, RULES);
        }
        assert_eq!(breakers.snapshot(until)["a"].failures, 3, "an open one does not count");
        assert_eq!(breakers.admission("a", later, RULES), Admission::Probe);
        assert!(breakers.all_open());
        breakers.set_up_failed(later, RULES);
        assert_eq!(breakers.admission("a", later, RULES), Admission::Refused, "all opened again");
    }

    #[test]
    fn a_tool_that_is_gone_has_no_breaker_and_a_renamed_one_keeps_it() {
        let (mut breakers, tick) = breakers(&["get_x", "b"]);
        breakers.settle("get_x", Verdict::Failure, tick, RULES);
        breakers.rename("get_x", &"x".into());
        breakers.keep(&["x".into()]);
        breakers.settle("b", Verdict::Failure, tick, RULES);
        let snapshot = breakers.snapshot(until);
        assert_eq!(snapshot.len(), 1);
        assert_eq!(snapshot["x"].failures, 1);
    }
}
