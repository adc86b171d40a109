//! What is in flight, of all limiters of a program together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use minicol_plugin::{HeldMemory, SharedMemory};

/// Counts the bytes in flight.
#[derive(Debug, Default)]
pub(crate) struct Account(AtomicU64);

/// Bytes of one batch; they are given back when the last of its clones and parts is gone.
#[derive(Debug)]
pub(crate) struct Reservation {
    account: Arc<Account>,
    bytes: u64,
    /// The same in what all components hold.
    held: HeldMemory,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Too much is in flight.
    InFlight,
    /// What others hold beside it leaves too little.
    Beside,
}

impl Account {
    pub(crate) fn in_flight(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes `bytes` where no more than `limit` is in flight then, and `memory` has room for them. Where nothing is in flight there is always room: to
    /// refuse would free nothing, and could last for ever.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        bytes: u64,
        limit: u64,
        memory: &Arc<SharedMemory>,
    ) -> Result<Reservation, NoRoom> {
        let fits = |now: u64| (now == 0 || now.saturating_add(bytes) <= limit).then_some(now.saturating_add(bytes));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| NoRoom::InFlight)?;
        let mut reservation = Reservation { account: Arc::clone(self), bytes, held: memory.holder() };
        if before == 0 {
            reservation.held.grow_anyway(bytes);
        } else if !reservation.held.grow(bytes) {
            return Err(NoRoom::Beside);
        }
        Ok(reservation)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
