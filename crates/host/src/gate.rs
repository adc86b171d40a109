//! Counts at a place that items pass.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use minicol_plugin::{Reasons, Rejected};

/// Counts what is offered, and what becomes of it: `offered = taken + refused + waiting` whenever it is read.
#[derive(Default)]
pub(crate) struct Gate(Mutex<Passed>);

/// What a gate counted, in items.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) offered: u64,
    pub(crate) taken: u64,
    pub(crate) waiting: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// How it ended, for whoever counts elsewhere, too: taken, or why not.
pub(crate) type End = Result<(), &'static str>;

/// Why items were not taken whose sender stopped waiting for the answer.
const CANCELLED: &str = "cancelled";

/// Items on their way. Dropped before they arrived, they are refused.
struct Crossing<'a, T: FnOnce(End)> {
    gate: &'a Gate,
    items: u64,
    tell: Option<T>,
}

impl Gate {
    /// Waits for `consume`, and counts what became of the items. `tell` hears it, also where nobody waited for the end.
    pub(crate) async fn pass(
        &self,
        items: u64,
        consume: impl Future<Output = Result<(), Rejected>>,
        tell: impl FnOnce(End),
    ) -> Result<(), Rejected> {
        self.offer(items);
        let mut crossing = Crossing { gate: self, items, tell: Some(tell) };
        let outcome = consume.await;
        crossing.end(outcome.as_ref().copied().map_err(|rejected| rejected.reason));
        outcome
    }

    fn offer(&self, items: u64) {
        let mut passed = self.lock();
        passed.offered += items;
        passed.waiting += items;
    }

    /// Counts what is refused without a try.
    pub(crate) fn refuse(&self, items: u64, reason: &'static str) {
        let mut passed = self.lock();
        passed.offered += items;
        *passed.refused.entry(reason).or_default() += items;
    }

    pub(crate) fn passed(&self) -> Passed {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Passed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passed {
    pub(crate) fn refused(&self) -> Reasons {
        self.refused.iter().map(|(reason, items)| ((*reason).to_owned(), *items)).collect()
    }
}

impl<T: FnOnce(End)> Crossing<'_, T> {
    fn end(&mut self, end: End) {
        let Some(tell) = self.tell.take() else { return };
        let mut passed = self.gate.lock();
        passed.waiting -= self.items;
        match end {
            Ok(()) => passed.taken += self.items,
            Err(reason) => *passed.refused.entry(reason).or_default() += self.items,
        }
        drop(passed);
        tell(end);
    }
}

impl<T: FnOnce(End)> Drop for Crossing<'_, T> {
    fn drop(&mut self) {
        self.end(Err(CANCELLED));
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.passed(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_its_sender_does_not_wait_for_is_refused() {
        let gate = Gate::default();
        let slow = async {
            sleep(Duration::from_secs(5)).await;
            Ok(())
        };
        let mut told = None;
        let passing = gate.pass(3, slow, |end| told = Some(end));
        assert!(timeout(Duration::from_secs(1), passing).await.is_err());
        assert_eq!(told, Some(Err("cancelled")));
        assert_eq!(gate.passed().refused(), Reasons::from([("cancelled".to_owned(), 3)]));
        assert_eq!((gate.passed().offered, gate.passed().taken, gate.passed().waiting), (3, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_waits() {
        let gate = Gate::default();
        gate.pass(2, async { Ok(()) }, |_| ()).await.unwrap();
        let looks = async {
            assert_eq!((gate.passed().offered, gate.passed().taken, gate.passed().waiting), (6, 2, 4));
            Err(Rejected::retryable("queue_full", "full"))
        };
        gate.pass(4, looks, |_| ()).await.unwrap_err();
        assert_eq!((gate.passed().offered, gate.passed().taken, gate.passed().waiting), (6, 2, 0));
        assert_eq!(gate.passed().refused()["queue_full"], 4);
    }
}
