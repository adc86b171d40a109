//! When the same is tried again within a cycle.

use std::{sync::Arc, time::Duration};

use minicol_plugin::Random;
use tokio::time::{Instant, Sleep, sleep};
use tower::{
    retry::{
        Policy,
        backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff},
    },
    util::rng::Rng,
};

use crate::{Answer, Failure, RetryRule, TargetSettings, stack::Call};

/// How much of a wait is added to it at random, at most.
const JITTER: f64 = 0.5;
/// No wait is longer than the longest interval.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The retries of one call, or of one set-up. A clone of an unused one is as good as new.
#[derive(Clone)]
pub(crate) struct Retries {
    left: u32,
    backoff: Option<ExponentialBackoff<Dice>>,
}

/// The scope's randomness, for tower.
#[derive(Clone)]
struct Dice(Arc<dyn Random>);

impl Retries {
    pub(crate) fn new(settings: &TargetSettings, random: &Arc<dyn Random>) -> Self {
        let longest = MAX_WAIT.max(settings.retry_delay);
        // Refused only where the longest wait is zero or shorter than the first: neither can be.
        let maker = ExponentialBackoffMaker::new(settings.retry_delay, longest, JITTER, Dice(Arc::clone(random)));
        Self { left: settings.max_retries, backoff: maker.ok().map(|mut maker| maker.make_backoff()) }
    }

    /// The wait before the next try, where `failure` allows one, one is left, and it would begin before `deadline`.
    pub(crate) fn next(&mut self, failure: &Failure, deadline: Instant) -> Option<Sleep> {
        self.left = self.left.checked_sub(1)?;
        let wait = match failure.class().policy().retry {
            RetryRule::Backoff => self.backoff.as_mut()?.next_backoff(),
            RetryRule::After => {
                let asked = sleep(failure.cause().retry_after()?);
                // A server that says 0, or a time that is over, shall not be asked in a tight loop.
                let ours = self.backoff.as_mut()?.next_backoff();
                if asked.deadline() > ours.deadline() { asked } else { ours }
            }
            RetryRule::No | RetryRule::NewSession => return None,
        };
        (wait.deadline() < deadline).then_some(wait)
    }
}

impl Policy<Call, Answer, Failure> for Retries {
    type Future = Sleep;

    fn retry(&mut self, call: &mut Call, result: &mut Result<Answer, Failure>) -> Option<Sleep> {
        let failure = result.as_ref().err()?;
        // A set-up within the call had its own retries.
        if call.probe || failure.tool().is_none() {
            return None;
        }
        self.next(failure, call.cycle.deadline)
    }

    fn clone_request(&mut self, call: &Call) -> Option<Call> {
        Some(call.clone())
    }
}

impl Rng for Dice {
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// tower takes 0 for a broken generator.
    fn next_f64(&mut self) -> f64 {
        self.0.next_f64().max(f64::EPSILON)
    }
}
