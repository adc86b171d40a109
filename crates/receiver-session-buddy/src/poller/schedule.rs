//! What a poller leaves to the one that takes its place: when the next cycle is due.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::Instant,
};

/// The grid of a receiver, over its instances.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    turn: Arc<AsyncMutex<()>>,
    left: Mutex<Option<Left>>,
}

/// Where the one before was.
#[derive(Debug)]
struct Left {
    next: Instant,
    interval: Duration,
}

impl Schedule {
    /// Waits until no other instance polls.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Notes when the next cycle was due.
    pub(super) fn leave(&self, next: Instant, interval: Duration) {
        *self.left() = Some(Left { next, interval });
    }

    /// When the first cycle of an instance is due that takes another's place: an interval after the other's last one. Where that has passed, because
    /// the interval is shorter now, at once: nothing was missed by that.
    pub(super) fn next(&self, interval: Duration) -> Option<Instant> {
        let Left { next, interval: before } = self.left().take()?;
        if before == interval {
            return Some(next);
        }
        let now = Instant::now();
        Some(next.checked_sub(before).map_or(now, |last| (last + interval).max(now)))
    }

    fn left(&self) -> MutexGuard<'_, Option<Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn the_next_instance_goes_on_an_interval_after_the_last_cycle() {
        let (schedule, start) = (Schedule::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(schedule.next(MINUTE), None);
        // The last cycle was at the start; half a minute has passed.
        tokio::time::advance(MINUTE / 2).await;
        for (interval, next) in [(60, 60), (120, 120), (40, 40), (20, 30)] {
            schedule.leave(at(60), MINUTE);
            assert_eq!(schedule.next(Duration::from_secs(interval)), Some(at(next)), "{interval}");
        }
        assert_eq!(schedule.next(MINUTE), None, "it is left once");
    }
}
