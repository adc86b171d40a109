//! The memory that the components of a program hold, counted together: one that limits it knows of what the others hold.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::Scope;

/// Counts bytes that components hold, and refuses more than the lowest limit that one of them set. Without a limit it only counts.
#[derive(Debug)]
pub struct SharedMemory {
    held: AtomicU64,
    limit: AtomicU64,
    limits: Mutex<Vec<u64>>,
}

/// Bytes of one holder; they are given back when this is dropped.
#[derive(Debug)]
pub struct HeldMemory {
    memory: Arc<SharedMemory>,
    bytes: u64,
}

/// A limit; it ends when this is dropped.
#[derive(Debug)]
pub struct MemoryLimit {
    memory: Arc<SharedMemory>,
    bytes: u64,
}

impl Default for SharedMemory {
    fn default() -> Self {
        Self { held: AtomicU64::new(0), limit: AtomicU64::new(u64::MAX), limits: Mutex::default() }
    }
}

impl SharedMemory {
    /// That of the program.
    pub fn of(scope: &Scope) -> Arc<Self> {
        scope.shared("minicol_plugin.memory", Self::default)
    }

    /// A holder that holds nothing yet.
    pub fn holder(self: &Arc<Self>) -> HeldMemory {
        HeldMemory { memory: Arc::clone(self), bytes: 0 }
    }

    /// From now on no more than `bytes` shall be held.
    #[must_use]
    pub fn limit(self: &Arc<Self>, bytes: u64) -> MemoryLimit {
        self.limits(|limits| limits.push(bytes));
        MemoryLimit { memory: Arc::clone(self), bytes }
    }

    /// What all hold.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    fn limits(&self, change: impl FnOnce(&mut Vec<u64>)) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut limits);
        self.limit.store(limits.iter().copied().min().unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl HeldMemory {
    /// Takes more where that is within the limit, or where nobody else holds anything: to refuse would free nothing, and could last for ever.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let (limit, own) = (self.memory.limit.load(Ordering::Relaxed), self.bytes);
        let fits = |all: u64| {
            let more = all.saturating_add(bytes);
            (more <= limit || all == own).then_some(more)
        };
        let taken = self.memory.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Takes more whatever the limit says.
    pub fn grow_anyway(&mut self, bytes: u64) {
        self.memory.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        self.memory.limits(|limits| {
            if let Some(at) = limits.iter().position(|limit| *limit == self.bytes) {
                limits.swap_remove(at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_hold_no_more_than_the_lowest_limit_and_one_alone_is_never_refused() {
        let memory = Arc::new(SharedMemory::default());
        let mut first = memory.holder();
        assert!(first.grow(1 << 40), "without a limit it only counts");
        let (high, low) = (memory.limit(200), memory.limit(100));
        let mut second = memory.holder();
        assert!(!second.grow(1) && first.grow(5), "who holds all of it may go on");
        drop(first);
        assert_eq!(memory.held(), 0);
        let mut first = memory.holder();
        assert!(first.grow(60) && second.grow(40) && !second.grow(1) && !first.grow(1));
        drop(low);
        assert!(second.grow(100) && !second.grow(1), "the other limit holds");
        second.grow_anyway(1);
        assert_eq!(memory.held(), 201);
        drop((first, high));
        assert!(second.grow(1 << 40));
        drop(second);
        assert_eq!(memory.held(), 0);
    }
}
