use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// A moment on the wall clock: nanoseconds since the Unix epoch, as OTLP counts them. Zero means "not set".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment that OTLP takes for "not set".
    pub const UNSET: Self = Self(0);

    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From seconds since the Unix epoch; `None` when negative, not finite, or beyond what OTLP can say (the year 2554).
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        let elapsed = Duration::try_from_secs_f64(seconds).ok()?;
        u64::try_from(elapsed.as_nanos()).ok().map(Self)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the Unix epoch.
    pub fn as_seconds(self) -> f64 {
        Duration::from_nanos(self.0).as_secs_f64()
    }

    /// True for [`Timestamp::UNSET`].
    pub const fn is_unset(self) -> bool {
        self.0 == 0
    }

    /// The time that passed since `earlier`; zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Rounded down to a whole second.
    #[must_use]
    pub const fn floor_to_second(self) -> Self {
        Self(self.0 - self.0 % 1_000_000_000)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_that_no_clock_can_show_are_refused() {
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e308, 1.9e10] {
            assert_eq!(Timestamp::from_seconds(wrong), None, "{wrong}");
        }
        assert_eq!(Timestamp::from_seconds(1.5), Some(Timestamp::from_nanos(1_500_000_000)));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::from_nanos(5) - Duration::from_secs(1), Timestamp::UNSET);
        assert_eq!(Timestamp::from_nanos(u64::MAX) + Duration::from_secs(1), Timestamp::from_nanos(u64::MAX));
    }
}
