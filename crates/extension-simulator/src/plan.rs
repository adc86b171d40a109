use std::{collections::BTreeMap, time::Duration};

use minicol_plugin::{Random, SeededRandom};

use crate::{FaultKind, Faults};

/// Decides by the clock and the seed what goes wrong. The nth call of a tool fares the same whatever other tools are asked, and in whatever order.
#[derive(Debug)]
pub(crate) struct Plan {
    faults: Faults,
    seed: u64,
    /// When the plan began, on the monotonic clock.
    since: Duration,
    calls: BTreeMap<String, u64>,
    /// Periods of restarts and of lost sessions that have passed.
    restarts: u128,
    losses: u128,
    /// Until when a freeze was told.
    frozen: Duration,
    /// Tools that were seen in a window of theirs.
    failing: BTreeMap<String, Duration>,
}

/// What becomes of one call.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// How long it takes before anything is said.
    pub(crate) delay: Duration,
    /// How it fails.
    pub(crate) failure: Option<FaultKind>,
    /// How it fails where it does.
    pub(crate) kind: FaultKind,
    /// What is worth telling: it fails from now on for so long, or (zero) no more.
    pub(crate) told: Option<Duration>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The process starts anew; it did so at this moment of the monotonic clock.
    Restart(Duration),
    /// The sessions are forgotten.
    LoseSessions,
}

impl Plan {
    pub(crate) fn new(faults: Faults, seed: u64, now: Duration) -> Self {
        Self {
            faults,
            seed,
            since: now,
            calls: BTreeMap::new(),
            restarts: 0,
            losses: 0,
            frozen: Duration::ZERO,
            failing: BTreeMap::new(),
        }
    }

    /// What has come due since it was asked last.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Due> {
        let elapsed = now.saturating_sub(self.since);
        let (restarts, began) = passed(elapsed, self.faults.restart.every.0);
        let (losses, _) = passed(elapsed, self.faults.lose_sessions_every.0);
        let begins_anew = std::mem::replace(&mut self.restarts, restarts) < restarts;
        let forgets = std::mem::replace(&mut self.losses, losses) < losses;
        if begins_anew { Some(Due::Restart(self.since + began)) } else { forgets.then_some(Due::LoseSessions) }
    }

    /// Whether there are sessions to lose.
    pub(crate) fn loses_sessions(&self) -> bool {
        !self.faults.lose_sessions_every.0.is_zero()
    }

    /// Whether the process is down.
    pub(crate) fn is_down(&self, now: Duration) -> bool {
        self.faults.restart.open_until(now.saturating_sub(self.since)).is_some()
    }

    /// How long nothing is answered, and whether that is news.
    pub(crate) fn frozen(&mut self, now: Duration) -> Option<(Duration, bool)> {
        let elapsed = now.saturating_sub(self.since);
        let until = self.faults.freeze.open_until(elapsed)?;
        let news = std::mem::replace(&mut self.frozen, until) != until;
        Some((until.saturating_sub(elapsed), news))
    }

    /// What becomes of the next call of a tool.
    pub(crate) fn call(&mut self, tool: &str, now: Duration) -> Fate {
        let count = self.calls.entry(tool.to_owned()).or_default();
        *count += 1;
        let chance = SeededRandom::from_seed(self.seed ^ hash(tool) ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let delay = self.faults.latency.0 + self.faults.jitter.0.mul_f64(chance.next_f64());
        let Some(fault) = self.faults.of(tool).copied() else { return Fate { delay, ..Fate::default() } };
        let elapsed = now.saturating_sub(self.since);
        let until = fault.window().open_until(elapsed);
        let told = match until {
            Some(until) if self.failing.insert(tool.to_owned(), until) != Some(until) => {
                Some(until.saturating_sub(elapsed))
            }
            None => self.failing.remove(tool).map(|_| Duration::ZERO),
            Some(_) => None,
        };
        let always = fault.every.0.is_zero();
        if (always || until.is_some()) && chance.next_f64() < fault.rate {
            Fate { delay: delay + fault.delay.0, failure: Some(fault.kind), kind: fault.kind, told }
        } else {
            Fate { delay, failure: None, kind: fault.kind, told }
        }
    }

    /// How often each tool was called.
    pub(crate) fn calls(&self) -> &BTreeMap<String, u64> {
        &self.calls
    }

    /// Another plan from now on; what was counted stays.
    pub(crate) fn replace(&mut self, faults: Faults, now: Duration) {
        let calls = std::mem::take(&mut self.calls);
        *self = Self { calls, ..Self::new(faults, self.seed, now) };
    }
}

/// How many periods have passed, and when the last one ended.
fn passed(elapsed: Duration, every: Duration) -> (u128, Duration) {
    if every.is_zero() {
        return (0, Duration::ZERO);
    }
    let periods = elapsed.as_nanos() / every.as_nanos();
    (periods, Duration::from_nanos(u64::try_from(periods * every.as_nanos()).unwrap_or(u64::MAX)))
}

/// FNV-1a: the same on every machine.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use minicol_plugin::config::GoDuration;

    use super::*;
    use crate::{ToolFault, Window};

    fn plan(seed: u64) -> Plan {
        let fault = ToolFault { rate: 0.5, ..ToolFault::default() };
        let mut faults = Faults { jitter: GoDuration::from_secs(1), ..Faults::default() };
        faults.tools.insert("*".to_owned(), fault);
        Plan::new(faults, seed, Duration::ZERO)
    }

    #[test]
    fn a_call_fares_the_same_by_the_seed_whatever_else_is_asked() {
        let fates = |plan: &mut Plan, other: bool| -> Vec<_> {
            let mut fates = Vec::new();
            for _ in 0..50 {
                if other {
                    plan.call("other", Duration::ZERO);
                }
                let fate = plan.call("tool", Duration::ZERO);
                fates.push((fate.failure, fate.delay));
            }
            fates
        };
        let (alone, beside, seed) = (fates(&mut plan(7), false), fates(&mut plan(7), true), fates(&mut plan(8), false));
        assert_eq!(alone, beside);
        assert_ne!(alone, seed);
        let failed = alone.iter().filter(|(failure, _)| failure.is_some()).count();
        assert!((10..40).contains(&failed), "{failed} of 50 failed");
    }

    #[test]
    fn restarts_are_due_once_at_their_moment_and_down_before() {
        let restart = Window { every: GoDuration::from_secs(60), lasting: GoDuration::from_secs(10) };
        let start = Duration::from_secs(1000);
        let mut plan = Plan::new(Faults { restart, ..Faults::default() }, 1, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!((plan.due(at(55)), plan.is_down(at(49)), plan.is_down(at(55))), (None, false, true));
        // Two periods have passed unseen: it restarted at the second's end.
        assert_eq!((plan.due(at(125)), plan.is_down(at(125))), (Some(Due::Restart(at(120))), false));
        assert_eq!(plan.due(at(126)), None);
    }

    #[test]
    fn windows_are_told_when_they_open_and_when_they_have_closed() {
        let mut faults = Faults::default();
        let (every, lasting) = (GoDuration::from_secs(20), GoDuration::from_secs(5));
        faults.tools.insert("tool".to_owned(), ToolFault { every, lasting, ..ToolFault::default() });
        faults.freeze = Window { every, lasting };
        let mut plan = Plan::new(faults, 1, Duration::ZERO);
        let told: Vec<_> = [0, 16, 17, 21, 22].map(|at| plan.call("tool", Duration::from_secs(at)).told).to_vec();
        assert_eq!(told, [None, Some(Duration::from_secs(4)), None, Some(Duration::ZERO), None]);
        assert_eq!(plan.frozen(Duration::from_secs(16)), Some((Duration::from_secs(4), true)));
        assert_eq!(plan.frozen(Duration::from_secs(17)), Some((Duration::from_secs(3), false)));
        assert_eq!(plan.frozen(Duration::from_secs(20)), None);
    }
}
