use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use minicol_pdata::{Arrival, Timestamp};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use crate::net::Network;

/// Everything that is not deterministic, in one place: take it from [`crate::Scope`], never from the standard library.
#[derive(Clone)]
pub struct Environment {
    /// The two clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// How connections are made and taken.
    pub network: Arc<dyn Network>,
}

/// The wall clock and the monotonic clock. Waiting is `tokio::time`'s, which a test can pause.
pub trait Clock: Send + Sync {
    /// What a calendar says; it can be set, forwards and backwards.
    fn wall(&self) -> Timestamp;

    /// Since the program's start; it only goes on.
    fn monotonic(&self) -> Duration;

    /// Both, read together.
    fn now(&self) -> Arrival {
        Arrival { wall: self.wall(), monotonic: self.monotonic() }
    }
}

/// Randomness for jitter and ids.
pub trait Random: Send + Sync {
    /// 64 random bits.
    fn next_u64(&self) -> u64;

    /// Evenly spread over `0.0..1.0`.
    fn next_f64(&self) -> f64 {
        // 53 bits are what a double can hold.
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

/// A wall clock that starts where it is told and goes on with tokio's clock, so that a paused test governs both.
#[derive(Debug)]
pub struct SimulatedClock {
    origin: Instant,
    start: Timestamp,
    stepped_nanos: AtomicI64,
}

/// Randomness from a seed, or from the machine.
#[derive(Debug)]
pub struct SeededRandom(Mutex<StdRng>);

impl SystemClock {
    /// The monotonic clock counts from now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types)] // this is the one place
fn system_wall() -> Timestamp {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::UNSET + elapsed
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        system_wall()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

impl SimulatedClock {
    /// The wall clock says `start` now.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { origin: Instant::now(), start, stepped_nanos: AtomicI64::new(0) }
    }

    /// Sets the wall clock forwards or backwards, as an administrator would.
    pub fn step(&self, seconds: f64) {
        #[allow(clippy::cast_possible_truncation)] // a step of more than 292 years is no test
        self.stepped_nanos.fetch_add((seconds * 1e9) as i64, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn wall(&self) -> Timestamp {
        let now = (self.start + self.origin.elapsed()).as_nanos();
        Timestamp::from_nanos(now.saturating_add_signed(self.stepped_nanos.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

impl SeededRandom {
    /// The same numbers for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// Numbers that nobody can foresee.
    pub fn from_machine() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).random()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}
