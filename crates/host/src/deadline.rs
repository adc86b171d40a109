//! Until when something may take: its own deadline, or an earlier one that a shutdown sets meanwhile.

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// A moment that can come nearer.
#[derive(Clone)]
pub(crate) struct Deadline {
    own: Instant,
    hurry: Option<watch::Receiver<Option<Instant>>>,
}

impl Deadline {
    /// One that stays where it is.
    pub(crate) const fn at(own: Instant) -> Self {
        Self { own, hurry: None }
    }

    /// One that whoever holds the other end of `hurry` can bring nearer.
    pub(crate) const fn unless(own: Instant, hurry: watch::Receiver<Option<Instant>>) -> Self {
        Self { own, hurry: Some(hurry) }
    }

    /// When it is, as things are.
    pub(crate) fn now_at(&self) -> Instant {
        let sooner = self.hurry.as_ref().and_then(|hurry| *hurry.borrow());
        sooner.map_or(self.own, |sooner| sooner.min(self.own))
    }

    /// Waits until it has passed.
    pub(crate) async fn passed(&self) {
        let Some(mut hurry) = self.hurry.clone() else { return sleep_until(self.own).await };
        loop {
            hurry.borrow_and_update();
            tokio::select! {
                biased;
                changed = hurry.changed() => if changed.is_err() {
                    return sleep_until(self.now_at()).await;
                },
                () = sleep_until(self.now_at()) => return,
            }
        }
    }

    /// Waits for `work` until then.
    pub(crate) async fn cut<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.passed() => None,
        }
    }
}
