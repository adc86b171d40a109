use std::{cell::Cell, time::Duration};

/// Chance from a seed, in the words of a scenario. `SplitMix64`: cheap to begin, and as random as a test needs it.
#[derive(Debug)]
pub struct Chance(Cell<u64>);

impl Chance {
    /// Of the nth thing of a kind: what becomes of it depends on nothing else.
    pub fn of(seed: u64, kind: &str, nth: u64) -> Self {
        let kind = kind
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let nth = nth.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(Cell::new(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ kind ^ nth))
    }

    /// 64 random bits.
    pub fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mixed = (self.0.get() ^ (self.0.get() >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    fn unit(&self) -> f64 {
        // 53 bits are what a double can hold.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something happens that does so in this share of all cases.
    pub fn share(&self, share: f64) -> bool {
        self.unit() < share
    }

    /// One of 0, 1, ... below `end`.
    pub fn below(&self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    /// One of these.
    pub fn pick<T: Copy>(&self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    /// A number from `low` to `high`.
    pub fn between(&self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Whole milliseconds, which is what tokio's timers count in.
    pub fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.next() % (high - low + 1))
    }
}
