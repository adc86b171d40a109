//! What is in flight, of all limiters of a program together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts the bytes in flight.
#[derive(Debug, Default)]
pub(crate) struct Account(AtomicU64);

/// Bytes of one batch; they are given back when the last of its clones and parts is gone.
#[derive(Debug)]
pub(crate) struct Reservation {
    account: Arc<Account>,
    bytes: u64,
}

impl Account {
    pub(crate) fn in_flight(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes `bytes` where no more than `limit` is in flight then. Where nothing is in flight there is always room: to refuse would free
    /// nothing, and could last for ever.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64, limit: u64) -> Option<Reservation> {
        let fits = |now: u64| (now == 0 || now.saturating_add(bytes) <= limit).then_some(now.saturating_add(bytes));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Reservation { account: Arc::clone(self), bytes })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
