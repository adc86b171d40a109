use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// When targets are polled.
#[derive(Args, Clone, Copy)]
pub(crate) struct Pace {
    /// Milliseconds from one cycle of a target to its next.
    #[arg(long)]
    pub(crate) every: u64,
    /// How many targets there are; their cycles are spread.
    #[arg(long)]
    pub(crate) targets: u32,
}

impl Pace {
    /// The ticks of one target.
    pub(crate) fn ticks(self, target: u32) -> Interval {
        let every = Duration::from_millis(self.every);
        let mut ticks = interval_at(Instant::now() + every / self.targets * target, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }
}
