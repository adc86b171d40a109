use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use minicol_plugin::Random;

use crate::RetryConfig;

/// The waits between the attempts of one batch.
pub(crate) struct Waits {
    nominal: ExponentialBackoff,
    spread: f64,
    longest: Duration,
    random: Arc<dyn Random>,
}

/// What a far end may ask for at most; a larger wish is taken for this.
const MAX_ASKED: Duration = Duration::from_secs(24 * 60 * 60);

impl Waits {
    pub(crate) fn new(config: &RetryConfig, random: Arc<dyn Random>) -> Self {
        #[allow(clippy::cast_possible_truncation)] // the multiplier lies between 1 and 100
        let factor = config.multiplier as f32;
        // The library's own jitter only lengthens; the collector's lies on both sides, and its randomness must be the scope's.
        let nominal = ExponentialBuilder::new()
            .with_min_delay(config.initial_interval.0)
            .with_max_delay(config.max_interval.0)
            .with_factor(factor)
            .without_max_times();
        Self { nominal: nominal.build(), spread: config.randomization_factor, longest: config.max_interval.0, random }
    }

    /// The next wait: the longer of the backoff and what the far end asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let nominal = self.nominal.next().unwrap_or(self.longest);
        let factor = 1.0 + self.spread * (2.0 * self.random.next_f64() - 1.0);
        let spread = Duration::try_from_secs_f64(nominal.as_secs_f64() * factor).unwrap_or(nominal);
        spread.max(asked.unwrap_or_default().min(MAX_ASKED))
    }
}

#[cfg(test)]
mod tests {
    use minicol_plugin::{SeededRandom, config::GoDuration};

    use super::*;

    fn waits(config: &RetryConfig, seed: u64) -> Waits {
        Waits::new(config, Arc::new(SeededRandom::from_seed(seed)))
    }

    #[test]
    fn waits_grow_to_the_longest() {
        let config = RetryConfig { randomization_factor: 0.0, ..RetryConfig::default() };
        let mut waits = waits(&config, 1);
        let millis: Vec<u128> = (0..8).map(|_| waits.next(None).as_millis()).collect();
        assert_eq!(millis, [5_000, 7_500, 11_250, 16_875, 25_312, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_wait_lies_within_the_factor_on_both_sides_of_its_nominal_length() {
        let config = RetryConfig { multiplier: 1.0, ..RetryConfig::default() };
        let mut waits = waits(&config, 2);
        let all: Vec<f64> = (0..2_000).map(|_| waits.next(None).as_secs_f64()).collect();
        let (least, most) = all.iter().fold((f64::MAX, 0.0_f64), |(a, b), one| (a.min(*one), b.max(*one)));
        assert!((2.5..2.6).contains(&least) && (7.4..7.5).contains(&most), "{least} {most}");
        let mean = all.iter().sum::<f64>() / 2_000.0;
        assert!((mean - 5.0).abs() < 0.15, "{mean}");
    }

    #[test]
    fn the_far_end_can_ask_for_a_longer_wait_but_not_for_a_shorter_one() {
        let config = RetryConfig {
            randomization_factor: 0.0,
            initial_interval: GoDuration::from_secs(2),
            multiplier: 1.0,
            ..RetryConfig::default()
        };
        let mut waits = waits(&config, 3);
        assert_eq!(waits.next(Some(Duration::from_secs(60))), Duration::from_secs(60));
        assert_eq!(waits.next(Some(Duration::from_millis(1))), Duration::from_secs(2));
        assert_eq!(waits.next(Some(Duration::MAX)), MAX_ASKED);
    }
}
