use std::time::Duration;

use minicol_plugin::config::{ComponentConfig, GoDuration, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the processor `memory_limiter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryLimiterConfig {
    /// How often the process's memory is looked at.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub check_interval: GoDuration,
    /// The hard limit, in MiB; 0: `limit_percentage` says it.
    pub limit_mib: u32,
    /// How far below the hard limit the soft one lies, in MiB; 0: a fifth of the hard limit.
    pub spike_limit_mib: u32,
    /// The hard limit in percent of the memory that the process may have; 0: `limit_mib` says it.
    #[schemars(extend("maximum" = 100))]
    pub limit_percentage: u32,
    /// The same for the soft one, in percent of the same; 0: a fifth of the hard limit.
    #[schemars(extend("maximum" = 100))]
    pub spike_limit_percentage: u32,
}

/// The limits in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// What may be in flight.
    pub(crate) soft: u64,
    /// What the process shall not take.
    pub(crate) hard: u64,
    /// The hard one is lower than was asked for: the process may not have so much.
    pub(crate) lowered: bool,
}

const MIB: u64 = 1 << 20;

impl Default for MemoryLimiterConfig {
    fn default() -> Self {
        Self {
            check_interval: GoDuration::from_secs(1),
            limit_mib: 0,
            spike_limit_mib: 0,
            limit_percentage: 0,
            spike_limit_percentage: 0,
        }
    }
}

impl ComponentConfig for MemoryLimiterConfig {
    fn validate(&self, problems: &mut Problems) {
        if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&self.check_interval.0) {
            problems
                .error("check_interval", format!("must be between 100ms and 1h, but is {}", self.check_interval))
                .help("1s is the default");
        }
        for (field, percent) in
            [("limit_percentage", self.limit_percentage), ("spike_limit_percentage", self.spike_limit_percentage)]
        {
            problems.range(field, f64::from(percent), 0.0, 100.0);
        }
        if self.limit_mib == 0 && self.limit_percentage == 0 {
            problems
                .error("", "has no limit: limit_mib or limit_percentage must be set")
                .help("for example limit_mib: 512, or limit_percentage: 75 in a container");
        }
        if self.limit_mib > 0 && self.spike_limit_mib >= self.limit_mib {
            problems
                .error("spike_limit_mib", format!("must be less than limit_mib ({})", self.limit_mib))
                .help("without it, a fifth of the limit is kept free");
        }
        if self.limit_percentage > 0 && self.spike_limit_percentage >= self.limit_percentage {
            problems
                .error(
                    "spike_limit_percentage",
                    format!("must be less than limit_percentage ({})", self.limit_percentage),
                )
                .help("without it, a fifth of the limit is kept free");
        }
        if self.limit_mib > 0 && self.limit_percentage > 0 {
            problems.warning("limit_percentage", "says nothing: limit_mib is set, and goes before it");
        }
        if self.limit_mib == 0 && self.spike_limit_mib > 0 {
            problems.warning("spike_limit_mib", "says nothing without limit_mib");
        }
        if self.limit_percentage == 0 && self.spike_limit_percentage > 0 {
            problems.warning("spike_limit_percentage", "says nothing without limit_percentage");
        }
    }
}

impl Limits {
    /// From here on the process's memory counts: half of the way from the soft to the hard limit. Who waits for the hard one has passed it.
    pub(crate) const fn guard(&self) -> u64 {
        self.hard - (self.hard - self.soft) / 2
    }

    /// By less the process has not grown.
    pub(crate) const fn tolerance(&self) -> u64 {
        (self.hard - self.soft) / 16
    }

    /// After so much was taken the process's memory is looked at, whatever the time.
    pub(crate) const fn step(&self) -> u64 {
        (self.hard - self.soft) / 16
    }

    /// `total` is the memory that the process may have. The hard limit stays a tenth below it: at it, the system ends the process before anything is
    /// shed.
    pub(crate) fn resolve(config: &MemoryLimiterConfig, total: Option<u64>) -> Option<Self> {
        let (asked, spike) = if config.limit_mib > 0 {
            (u64::from(config.limit_mib) * MIB, u64::from(config.spike_limit_mib) * MIB)
        } else {
            let total = total?;
            let share = |percent: u32| total / 100 * u64::from(percent);
            (share(config.limit_percentage), share(config.spike_limit_percentage))
        };
        let most = total.filter(|_| config.limit_mib > 0).map_or(u64::MAX, |total| total / 10 * 9);
        let hard = asked.min(most);
        // A spike that leaves nothing of a lowered limit is as none.
        let spike = if spike == 0 || spike >= hard { hard / 5 } else { spike };
        Some(Self { soft: hard.saturating_sub(spike), hard, lowered: hard < asked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(config: MemoryLimiterConfig) -> Option<(u64, u64)> {
        Limits::resolve(&config, Some(1000 * MIB)).map(|limits| (limits.soft / MIB, limits.hard / MIB))
    }

    fn problems(config: &MemoryLimiterConfig) -> Vec<String> {
        let mut problems = Problems::default();
        config.validate(&mut problems);
        problems
            .into_vec()
            .into_iter()
            .map(|problem| format!("{:?} {}", problem.path.last(), problem.message))
            .collect()
    }

    #[test]
    fn the_soft_limit_lies_a_spike_below_the_hard_one() {
        let config = MemoryLimiterConfig::default();
        assert_eq!(limits(MemoryLimiterConfig { limit_mib: 500, ..config }), Some((400, 500)));
        assert_eq!(limits(MemoryLimiterConfig { limit_mib: 500, spike_limit_mib: 200, ..config }), Some((300, 500)));
        assert_eq!(limits(MemoryLimiterConfig { limit_percentage: 75, ..config }), Some((600, 750)));
        let both = MemoryLimiterConfig { limit_percentage: 75, spike_limit_percentage: 25, ..config };
        assert_eq!(limits(both), Some((500, 750)));
        assert_eq!(limits(MemoryLimiterConfig { limit_mib: 100, ..both }), Some((80, 100)), "MiB go before percent");
        let percent = MemoryLimiterConfig { limit_percentage: 75, ..config };
        assert_eq!(Limits::resolve(&percent, None), None);
    }

    #[test]
    fn no_limit_lies_above_what_the_process_may_have() {
        let config = MemoryLimiterConfig { limit_mib: 512, ..MemoryLimiterConfig::default() };
        let resolved = |config: &MemoryLimiterConfig, total: Option<u64>| {
            let limits = Limits::resolve(config, total.map(|mib| mib * MIB)).unwrap();
            (limits.soft / MIB, limits.hard / MIB, limits.lowered)
        };
        assert_eq!(resolved(&config, Some(400)), (288, 360, true), "as MemoryHigh=400M does");
        assert_eq!(resolved(&config, Some(512)), (368, 460, true), "the system's own limit comes first");
        assert_eq!(resolved(&config, Some(600)), (409, 512, false));
        assert_eq!(resolved(&config, None), (409, 512, false));
        let spike = MemoryLimiterConfig { spike_limit_mib: 128, ..config };
        assert_eq!(resolved(&spike, Some(400)), (232, 360, true));
        assert_eq!(resolved(&spike, Some(100)), (72, 90, true));
    }

    #[test]
    fn what_limits_nothing_or_cannot_be_is_told() {
        let config = MemoryLimiterConfig { limit_mib: 100, ..MemoryLimiterConfig::default() };
        assert!(problems(&config).is_empty());
        for (wrong, told) in [
            (MemoryLimiterConfig::default(), "has no limit"),
            (MemoryLimiterConfig { spike_limit_mib: 100, ..config }, "less than limit_mib (100)"),
            (MemoryLimiterConfig { check_interval: GoDuration::default(), ..config }, "between 100ms and 1h"),
            (MemoryLimiterConfig { limit_mib: 0, limit_percentage: 101, ..config }, "between 0 and 100"),
            (MemoryLimiterConfig { limit_percentage: 10, ..config }, "goes before it"),
            (MemoryLimiterConfig { spike_limit_percentage: 10, ..config }, "without limit_percentage"),
        ] {
            let found = problems(&wrong);
            assert!(found.len() == 1 && found[0].contains(told), "{told}: {found:?}");
        }
    }
}
