//! What a source tells of its process's start, and when that means a restart.

use std::{sync::Arc, time::Duration};

use minicol_pdata::{Arrival, Timestamp};

use super::life::Moment;
use crate::sample::ToldStart;

/// A told start that moves by no more than this (in nanoseconds) is the same start, told by a clock that is being corrected.
const SAME_START: i128 = 2_000_000_000;
/// Tellers of one source that are remembered. A configuration has a handful; reloads can leave some behind.
const MAX_TELLERS: usize = 64;

/// Everyone who tells when the source's process began.
#[derive(Debug, Default)]
pub(super) struct Tellers(Vec<Teller>);

/// One of them: a tool's answer and a place in it.
#[derive(Debug)]
struct Teller {
    name: Arc<str>,
    /// What it said last.
    told: ToldStart,
    /// When it said so.
    heard: Arrival,
    heard_stamp: Timestamp,
    /// The start that holds, and the one before.
    start: Start,
    before: Option<Start>,
    /// How often it has told, and at which of these it told of a restart last.
    tellings: u64,
    moved_at: u64,
    /// How many restarts it has told of.
    restarts: u64,
}

/// When a process began.
#[derive(Clone, Copy, Debug)]
struct Start {
    exact: Timestamp,
    /// What points carry: an uptime's is rounded down to a second, so that a restart of minicol computes the same.
    carried: Timestamp,
}

/// What was known of the process when an answer was made.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    /// Who told.
    pub(super) teller: Option<Arc<str>>,
    /// When it began, where that was told.
    pub(super) start: Option<Timestamp>,
    /// How many restarts were told of.
    pub(super) restarts: u64,
    /// How often something was told until then.
    pub(super) tellings: u64,
    /// Which of these told of the latest restart.
    pub(super) moved_at: u64,
}

impl Tellers {
    /// Takes one telling; `stamp` is what its arrival is stamped with. What cannot be a start (the epoch itself, an uptime that reaches beyond it) is
    /// as if it were not told.
    pub(super) fn hear(&mut self, name: &Arc<str>, told: ToldStart, arrival: Arrival, stamp: Timestamp) {
        let Some(start) = Start::new(told, stamp) else { return };
        if let Some(teller) = self.0.iter_mut().find(|teller| teller.name == *name) {
            teller.hear(told, start, arrival, stamp);
            return;
        }
        if self.0.len() >= MAX_TELLERS
            && let Some((oldest, _)) = self.0.iter().enumerate().min_by_key(|(_, teller)| teller.heard.monotonic)
        {
            self.0.swap_remove(oldest);
        }
        self.0.push(Teller {
            name: Arc::clone(name),
            told,
            heard: arrival,
            heard_stamp: stamp,
            start,
            before: None,
            tellings: 1,
            moved_at: 0,
            restarts: 0,
        });
    }

    /// What was known when an answer arrived, from the first of `names` that ever told anything.
    pub(super) fn process(&self, names: &[Arc<str>], moment: &Moment) -> Process {
        let teller = names.iter().find_map(|name| self.0.iter().find(|teller| teller.name == *name));
        teller.map(|teller| teller.process(moment.heard, moment.stamp)).unwrap_or_default()
    }

    /// What was known when an answer arrived, from this one.
    pub(super) fn told_by(&self, name: &str, moment: &Moment) -> Process {
        let teller = self.0.iter().find(|teller| &*teller.name == name);
        teller.map(|teller| teller.process(moment.heard, moment.stamp)).unwrap_or_default()
    }
}

impl Teller {
    /// What was known when an answer arrived, at `heard` and `stamp`. A restart that was told later in the same cycle, and that lies
    /// after the answer, is not known yet: the answer came from the old process.
    fn process(&self, heard: Duration, stamp: Timestamp) -> Process {
        let now = Process {
            teller: Some(Arc::clone(&self.name)),
            start: Some(self.start.carried),
            restarts: self.restarts,
            tellings: self.tellings,
            moved_at: self.moved_at,
        };
        if self.heard.monotonic <= heard {
            return now;
        }
        let earlier = Process { tellings: now.tellings - 1, ..now };
        // A start that lies even after its telling was told by a clock that runs ahead of ours, and can be compared with nothing.
        let comparable = self.start.exact <= self.heard_stamp;
        match self.before {
            Some(before) if self.moved_at == self.tellings && comparable && self.start.exact > stamp => {
                Process { start: Some(before.carried), restarts: earlier.restarts - 1, moved_at: 0, ..earlier }
            }
            _ => earlier,
        }
    }

    fn hear(&mut self, told: ToldStart, start: Start, arrival: Arrival, stamp: Timestamp) {
        // What comes late, in a batch of another receiver, is known better already.
        if arrival.monotonic < self.heard.monotonic {
            return;
        }
        let restarted = match (self.told, told) {
            (ToldStart::At(before), ToldStart::At(now)) => {
                let moved = nanos(now) - nanos(before);
                // Many a process computes its start from the wall clock: where that was set, the start moves along.
                moved.abs() > SAME_START && (moved - stepped(self.heard, arrival)).abs() > SAME_START
            }
            (ToldStart::Uptime(before), ToldStart::Uptime(now)) => now < before,
            // The rule was changed: from now on, the other kind is compared.
            _ => false,
        };
        self.tellings += 1;
        if restarted {
            self.before = Some(self.start);
            self.start = start;
            self.restarts += 1;
            self.moved_at = self.tellings;
        }
        self.told = told;
        self.heard = arrival;
        self.heard_stamp = stamp;
    }
}

/// By how much the wall clock was set between two arrivals, in nanoseconds.
fn stepped(before: Arrival, now: Arrival) -> i128 {
    let passed = now.monotonic.as_nanos().cast_signed() - before.monotonic.as_nanos().cast_signed();
    nanos(now.wall) - nanos(before.wall) - passed
}

fn nanos(moment: Timestamp) -> i128 {
    i128::from(moment.as_nanos())
}

impl Start {
    fn new(told: ToldStart, stamp: Timestamp) -> Option<Self> {
        let start = match told {
            ToldStart::At(at) => Self { exact: at, carried: at },
            ToldStart::Uptime(uptime) => {
                let exact = stamp - uptime;
                Self { exact, carried: exact.floor_to_second() }
            }
        };
        (!start.carried.is_unset()).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: u64) -> Timestamp {
        Timestamp::from_nanos(second * 1_000_000_000)
    }

    fn arrival(at: u64) -> Arrival {
        Arrival { wall: second(at), monotonic: Duration::from_secs(at) }
    }

    fn known(tellers: &Tellers, at: u64) -> (Option<Timestamp>, u64) {
        let Some(teller) = tellers.0.first() else { return (None, 0) };
        let process = teller.process(Duration::from_secs(at), second(at));
        (process.start, process.restarts)
    }

    #[test]
    fn a_start_that_creeps_is_held_and_one_that_jumps_either_way_is_a_restart() {
        let mut tellers = Tellers::default();
        let mut tell = |start, at| {
            tellers.hear(&Arc::from("t"), ToldStart::At(second(start)), arrival(at), second(at));
            known(&tellers, at)
        };
        assert_eq!(tell(100, 200), (Some(second(100)), 0));
        assert_eq!(tell(102, 230), (Some(second(100)), 0));
        assert_eq!(tell(104, 260), (Some(second(100)), 0));
        assert_eq!(tell(107, 290), (Some(second(107)), 1));
        assert_eq!(tell(50, 320), (Some(second(50)), 2));
    }

    #[test]
    fn an_uptime_is_a_restart_when_it_is_shorter_by_however_little() {
        let mut tellers = Tellers::default();
        let mut tell = |millis, at| {
            let told = ToldStart::Uptime(Duration::from_millis(millis));
            tellers.hear(&Arc::from("t"), told, arrival(at), second(at));
            known(&tellers, at)
        };
        assert_eq!(tell(30_000, 200), (Some(second(170)), 0));
        assert_eq!(tell(30_000, 230), (Some(second(170)), 0));
        assert_eq!(tell(29_999, 260), (Some(second(230)), 1));
    }

    #[test]
    fn an_uptime_that_comes_late_is_no_restart() {
        let mut tellers = Tellers::default();
        for (uptime, at) in [(100, 200), (90, 190), (105, 205)] {
            tellers.hear(&Arc::from("t"), ToldStart::Uptime(Duration::from_secs(uptime)), arrival(at), second(at));
        }
        assert_eq!(known(&tellers, 205), (Some(second(100)), 0));
    }

    #[test]
    fn what_cannot_be_a_start_is_not_heard() {
        let mut tellers = Tellers::default();
        let name = Arc::from("t");
        for told in [Duration::from_secs(10), Duration::MAX].map(ToldStart::Uptime) {
            tellers.hear(&name, told, arrival(9), second(9));
        }
        tellers.hear(&name, ToldStart::At(Timestamp::UNSET), arrival(9), second(9));
        assert_eq!(known(&tellers, 9), (None, 0));
    }

    #[test]
    fn extreme_starts_and_clocks_do_no_harm() {
        let mut tellers = Tellers::default();
        let name = Arc::from("t");
        let end = Timestamp::from_nanos(u64::MAX);
        for (start, wall, monotonic) in [(1, end, Duration::ZERO), (u64::MAX, second(1), Duration::MAX)] {
            let told = ToldStart::At(Timestamp::from_nanos(start));
            tellers.hear(&name, told, Arrival { wall, monotonic }, wall);
        }
        assert_eq!(known(&tellers, 9), (Some(end), 1));
    }

    #[test]
    fn tellers_are_bounded_and_the_longest_silent_one_goes() {
        let mut tellers = Tellers::default();
        for nth in 0..=MAX_TELLERS as u64 {
            tellers.hear(&Arc::from(nth.to_string()), ToldStart::At(second(1)), arrival(nth), second(nth + 1));
        }
        assert_eq!(tellers.0.len(), MAX_TELLERS);
        assert!(tellers.0.iter().all(|teller| &*teller.name != "0"));
    }
}
