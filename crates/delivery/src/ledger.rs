use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// What became of the items that an exporter was given, since it started. At every moment
/// `accepted + restored = sent + failed + dropped + kept + queued`: see [`DeliveryCounts::is_balanced`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeliveryCounts {
    /// Items that were taken on: into the queue or, without one, into an attempt.
    pub accepted: u64,
    /// Items that an earlier life had left in the storage.
    pub restored: u64,
    /// Items that the far end has.
    pub sent: u64,
    /// Items that were tried and lost, by reason: `max_elapsed_time`, `partial_success`, `panic`, or the kind of a permanent failure.
    pub failed: BTreeMap<String, u64>,
    /// Items that were lost without a final attempt, by reason: `shutdown`.
    pub dropped: BTreeMap<String, u64>,
    /// Items that wait or are on their way.
    pub queued: u64,
    /// Items that are left in the storage at the end: the next life delivers them.
    pub kept: u64,
    /// Items that were never taken on, by reason: `queue_full`, `too_large`, `shutdown`; without a queue also `send_failed`, `cancelled`. They
    /// stay with the sender.
    pub refused: BTreeMap<String, u64>,
}

/// How the delivery of one batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The far end has all of it but `rejected` items.
    Sent { rejected: u64 },
    /// Tried and lost.
    Failed { reason: String },
    /// The shutdown's deadline came first.
    Dropped,
}

/// The books of one exporter and signal. Closing them turns whatever is not settled into a loss, once, unless it is in a storage.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    counts: DeliveryCounts,
    closed: bool,
    /// What is not settled outlives the process.
    keeps: bool,
}

/// Why items were dropped, in the only case there is.
pub(crate) const SHUTDOWN: &str = "shutdown";
/// The reason for items that the far end refused out of a batch that it took.
pub(crate) const PARTIAL_SUCCESS: &str = "partial_success";
/// Reasons come from exporters; beyond so many, further ones are counted as `other`.
const MAX_REASONS: usize = 32;

impl DeliveryCounts {
    /// Items that are gone for good: failed and dropped.
    pub fn lost(&self) -> u64 {
        self.failed.values().chain(self.dropped.values()).sum()
    }

    /// True where every item that was taken on is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.accepted + self.restored == self.sent + self.lost() + self.queued + self.kept
    }

    /// Adds what another exporter or signal counted.
    pub fn add(&mut self, more: &Self) {
        self.accepted += more.accepted;
        self.restored += more.restored;
        self.sent += more.sent;
        self.queued += more.queued;
        self.kept += more.kept;
        for (into, from) in
            [(&mut self.failed, &more.failed), (&mut self.dropped, &more.dropped), (&mut self.refused, &more.refused)]
        {
            for (reason, items) in from {
                *into.entry(reason.clone()).or_default() += items;
            }
        }
    }
}

impl Ledger {
    pub(crate) fn counts(&self) -> DeliveryCounts {
        self.books().counts.clone()
    }

    /// Takes items on. Where the books were closed meanwhile, they are dropped at once, or kept.
    pub(crate) fn accept(&self, items: u64) {
        let mut books = self.books();
        books.counts.accepted += items;
        if books.closed {
            books.leave(items);
        } else {
            books.counts.queued += items;
        }
    }

    /// From now on what is not settled is kept in a storage.
    pub(crate) fn keep(&self) {
        self.books().keeps = true;
    }

    /// Takes on what an earlier life left in the storage. Where the books were closed meanwhile, it stays there.
    pub(crate) fn restore(&self, items: u64) {
        let mut books = self.books();
        books.counts.restored += items;
        if books.closed {
            books.leave(items);
        } else {
            books.counts.queued += items;
        }
    }

    pub(crate) fn refuse(&self, items: u64, reason: &str) {
        count(&mut self.books().counts.refused, reason, items);
    }

    /// Books how a batch of `items` ended; false where the books were closed before, which counted it already.
    pub(crate) fn settle(&self, items: u64, how: &Settlement) -> bool {
        let mut books = self.books();
        if books.closed {
            return false;
        }
        let counts = &mut books.counts;
        counts.queued = counts.queued.saturating_sub(items);
        match how {
            Settlement::Sent { rejected } => {
                let rejected = items.min(*rejected);
                counts.sent += items - rejected;
                count(&mut counts.failed, PARTIAL_SUCCESS, rejected);
            }
            Settlement::Failed { reason } => count(&mut counts.failed, reason, items),
            Settlement::Dropped => books.leave(items),
        }
        true
    }

    /// Drops everything that is not settled, or keeps it; how many items that were. Nothing changes the books afterwards.
    pub(crate) fn close(&self) -> u64 {
        let mut books = self.books();
        books.closed = true;
        let left = std::mem::take(&mut books.counts.queued);
        books.leave(left);
        left
    }

    /// After the end: of what is kept the storage holds no more than `held` items. How many are kept, and how many are lost for this reason.
    pub(crate) fn reckon(&self, held: u64, reason: &str) -> (u64, u64) {
        let counts = &mut self.books().counts;
        let gone = counts.kept.saturating_sub(held);
        counts.kept -= gone;
        count(&mut counts.failed, reason, gone);
        (counts.kept, gone)
    }

    /// Whether what is not settled outlives the process.
    pub(crate) fn keeps(&self) -> bool {
        self.books().keeps
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn leave(&mut self, items: u64) {
        if self.keeps {
            self.counts.kept += items;
        } else {
            count(&mut self.counts.dropped, SHUTDOWN, items);
        }
    }
}

fn count(into: &mut BTreeMap<String, u64>, reason: &str, items: u64) {
    if items == 0 {
        return;
    }
    let reason = if into.len() < MAX_REASONS || into.contains_key(reason) { reason } else { "other" };
    *into.entry(reason.to_owned()).or_default() += items;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_always_somewhere() {
        let ledger = Ledger::default();
        for items in [10, 5, 3, 2] {
            ledger.accept(items);
        }
        ledger.settle(10, &Settlement::Sent { rejected: 4 });
        ledger.settle(5, &Settlement::Failed { reason: "timeout".into() });
        assert_eq!(ledger.counts().queued, 5);
        assert!(ledger.counts().is_balanced());
        assert_eq!(ledger.close(), 5);
        let counts = ledger.counts();
        assert_eq!((counts.sent, counts.lost(), counts.queued), (6, 14, 0));
        assert!(counts.is_balanced());
    }

    #[test]
    fn what_ends_after_the_books_were_closed_is_counted_once() {
        let ledger = Ledger::default();
        ledger.accept(3);
        ledger.close();
        assert!(!ledger.settle(3, &Settlement::Sent { rejected: 0 }));
        assert_eq!(ledger.counts().sent, 0);
        assert!(ledger.counts().is_balanced());
        ledger.accept(4);
        assert!(!ledger.settle(4, &Settlement::Sent { rejected: 0 }));
        assert_eq!(ledger.counts().lost(), 7);
        assert!(ledger.counts().is_balanced());
    }

    #[test]
    fn what_is_stored_is_kept_where_the_rest_is_dropped() {
        let ledger = Ledger::default();
        ledger.keep();
        ledger.restore(7);
        for items in [5, 3] {
            ledger.accept(items);
        }
        ledger.settle(7, &Settlement::Sent { rejected: 0 });
        ledger.settle(5, &Settlement::Dropped);
        assert_eq!(ledger.close(), 3);
        ledger.accept(2);
        ledger.restore(4);
        let counts = ledger.counts();
        assert_eq!((counts.accepted, counts.restored, counts.sent, counts.kept, counts.lost()), (10, 11, 7, 14, 0));
        assert!(counts.is_balanced());
    }

    #[test]
    fn a_far_end_that_claims_to_have_refused_more_than_it_got_does_not_break_the_books() {
        let ledger = Ledger::default();
        ledger.accept(3);
        ledger.settle(3, &Settlement::Sent { rejected: 99 });
        assert_eq!((ledger.counts().sent, ledger.counts().lost()), (0, 3));
        assert!(ledger.counts().is_balanced());
    }

    #[test]
    fn reasons_are_bounded() {
        let ledger = Ledger::default();
        for number in 0..100 {
            ledger.accept(1);
            ledger.settle(1, &Settlement::Failed { reason: format!("reason {number}") });
        }
        let counts = ledger.counts();
        assert!(counts.failed.len() <= MAX_REASONS + 1 && counts.failed["other"] == 68);
        assert!(counts.is_balanced());
    }
}
