use std::time::Duration;

use tokio::time::Instant;

/// The grid that a poller's cycles stand on: moments an interval apart. The first fixes the phase of all; how long a cycle takes moves none of them.
#[derive(Debug)]
pub struct Ticks {
    next: Instant,
    interval: Duration,
}

/// One moment of the grid, taken for a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The moment itself, not the one at which the cycle happens to begin.
    pub at: Instant,
    /// The next one: the cycle ends there at the latest.
    pub deadline: Instant,
    /// How many before it passed without a cycle.
    pub missed: u64,
}

impl Ticks {
    /// The first tick is `first`. An interval of nothing, which no configuration allows, is taken for a millisecond.
    pub fn new(first: Instant, interval: Duration) -> Self {
        Self { next: first, interval: interval.max(Duration::from_millis(1)) }
    }

    /// When the next cycle is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Takes the latest tick that `now` has reached. Those passed over (the machine slept, or was too busy) are counted, and never caught up.
    pub fn take(&mut self, now: Instant) -> Tick {
        let late = now.saturating_duration_since(self.next);
        let missed = u64::try_from(late.as_nanos() / self.interval.as_nanos()).unwrap_or(u64::MAX);
        let past =
            Duration::from_nanos(u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).saturating_mul(missed));
        let at = self.next.checked_add(past).unwrap_or(now);
        self.next = at + self.interval;
        Tick { at, deadline: self.next, missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn ticks_stay_on_the_grid_of_the_first_and_count_what_passed() {
        let first = Instant::now();
        let mut ticks = Ticks::new(first, INTERVAL);
        let at = |seconds| first + Duration::from_secs(seconds);
        assert_eq!(ticks.take(at(0)), Tick { at: at(0), deadline: at(30), missed: 0 });
        assert_eq!(ticks.take(at(31)), Tick { at: at(30), deadline: at(60), missed: 0 });
        assert_eq!(ticks.take(at(149)), Tick { at: at(120), deadline: at(150), missed: 2 });
        assert_eq!(ticks.next(), at(150));
        assert_eq!(ticks.take(at(150)), Tick { at: at(150), deadline: at(180), missed: 0 });
    }
}
