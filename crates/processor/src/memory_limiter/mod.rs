//! Processor `memory_limiter`: refuses what would not fit into memory, so that senders wait. It counts the bytes that are in flight, not those that
//! the process has: an allocator keeps pages that are free, and who refuses for those may refuse for ever.

mod account;
mod config;
mod gate;
mod meters;
mod system;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    ComponentError, Factory, Flow, Level, MemoryLimit, Next, Processor, Rejected, Scope, SharedMemory, Stability,
    async_trait, config::GoDuration,
};
use serde_json::json;

use account::{Account, NoRoom, Reservation};
use config::Limits;
pub use config::MemoryLimiterConfig;
use gate::{Gate, Look, Refusal};
use meters::Meters;
use system::{Memory, SystemMemory};

/// The factory of the processor `memory_limiter`.
#[derive(Debug)]
pub struct MemoryLimiterFactory;

/// Passes on what fits.
struct MemoryLimiter {
    watch: Arc<Watch>,
    interval: Duration,
    ticking: Once,
}

/// What looks at memory from time to time, and what each batch is judged by.
struct Watch {
    limits: Limits,
    account: Arc<Account>,
    /// What all components hold, what is in flight included: no more than the hard limit.
    shared: Arc<SharedMemory>,
    _limit: MemoryLimit,
    memory: Box<dyn Memory>,
    /// Bytes let through since memory was looked at.
    taken: AtomicU64,
    gate: Gate,
    meters: Meters,
    interval: Duration,
}

impl Factory for MemoryLimiterFactory {
    type Product = dyn Processor;
    type Config = MemoryLimiterConfig;
    const TYPE: &'static str = "memory_limiter";
    const DESCRIPTION: &'static str = "Refuses what would not fit into memory, so that senders wait";
    const STABILITY: Stability = Stability::Beta;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[
        Flow::through(Signal::Observations, Signal::Observations),
        Flow::through(Signal::Metrics, Signal::Metrics),
        Flow::through(Signal::Logs, Signal::Logs),
        Flow::through(Signal::Traces, Signal::Traces),
    ];
    const EXAMPLE: &'static str = "check_interval: 1s\nlimit_mib: 512\nspike_limit_mib: 128\n";

    fn build(config: MemoryLimiterConfig, scope: &Scope) -> Result<Box<dyn Processor>, ComponentError> {
        Ok(Box::new(MemoryLimiter::new(&config, Box::new(SystemMemory::new()), scope)?))
    }
}

impl MemoryLimiterFactory {
    /// A processor for which `resident` says how much memory the process takes: a simulation, or a program that knows better than the system.
    pub fn over(
        config: &MemoryLimiterConfig,
        resident: impl Fn() -> Option<u64> + Send + Sync + 'static,
        scope: &Scope,
    ) -> Result<Box<dyn Processor>, ComponentError> {
        Ok(Box::new(MemoryLimiter::new(config, Box::new(system::Told(resident)), scope)?))
    }
}

impl MemoryLimiter {
    fn new(config: &MemoryLimiterConfig, memory: Box<dyn Memory>, scope: &Scope) -> Result<Self, ComponentError> {
        let total = memory.total();
        let limits = Limits::resolve(config, total).ok_or_else(|| {
            ComponentError::new("limit_percentage: this system does not tell how much memory there is: use limit_mib")
        })?;
        if let Some(total) = total.filter(|_| limits.lowered) {
            let (wanted, total, hard) = (config.limit_mib, mib(total), mib(limits.hard));
            let message = format!(
                "limit_mib: {wanted} MiB are nearly all that this process may have ({total} MiB, by its control group or the machine), or more: the hard limit is {hard} MiB"
            );
            scope.notice(Level::Warn, "memory_limit_lowered", message);
        }
        let shared = SharedMemory::of(scope);
        let limit = shared.limit(limits.hard);
        let account = scope.shared("minicol_processor.memory_in_flight", Account::default);
        let meters = Meters::new(scope, &account, limits);
        let interval = config.check_interval.0;
        let gate = Gate::new(scope.clone());
        let watch = Arc::new(Watch {
            limits,
            account,
            shared,
            _limit: limit,
            memory,
            taken: AtomicU64::new(0),
            gate,
            meters,
            interval,
        });
        let shown = Arc::downgrade(&watch);
        scope.show(move || shown.upgrade().map(|watch| watch.to_json()).unwrap_or_default());
        Ok(Self { watch, interval, ticking: Once::new() })
    }

    /// Begins to look at memory, once. It ends with this.
    fn watch_memory(&self) {
        self.ticking.call_once(|| {
            let (watch, interval) = (Arc::downgrade(&self.watch), self.interval);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    let Some(watch) = watch.upgrade() else { return };
                    watch.look(Look::Timed);
                }
            });
        });
    }
}

#[async_trait]
impl Processor for MemoryLimiter {
    async fn process(&self, mut batch: Batch, next: &Next) -> Result<(), Rejected> {
        self.watch_memory();
        let (signal, items) = (batch.signal(), batch.items() as u64);
        // Another limiter before this one has counted it already.
        if batch.held::<Reservation>().is_none() {
            match self.watch.admit(batch.memory() as u64) {
                Ok(reservation) => batch.hold(Arc::new(reservation)),
                Err(refusal) => {
                    let rejected = self.watch.refuse(refusal, items);
                    self.watch.meters.refused(signal, items, refusal);
                    return Err(rejected);
                }
            }
        }
        let outcome = next.consume(batch).await;
        if outcome.is_ok() {
            self.watch.meters.accepted(signal, items);
        }
        outcome
    }
}

impl Watch {
    fn admit(&self, bytes: u64) -> Result<Reservation, Refusal> {
        if bytes > self.limits.soft {
            return Err(Refusal::TooLarge(bytes));
        }
        // Within one interval a fast sender fills any memory.
        if self.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= self.limits.step() {
            self.look(Look::Taken);
        }
        let limit = self.limits.soft.min(self.gate.ceiling());
        self.account.reserve(bytes, limit, &self.shared).map_err(|none| match none {
            NoRoom::Beside => Refusal::Received,
            NoRoom::InFlight if self.account.in_flight().saturating_add(bytes) > self.limits.soft => Refusal::Soft,
            NoRoom::InFlight => Refusal::Hard,
        })
    }

    fn refuse(&self, refusal: Refusal, items: u64) -> Rejected {
        let Limits { soft, hard, .. } = self.limits;
        let after = self.interval.max(Duration::from_secs(1));
        let rejected = match refusal {
            Refusal::TooLarge(bytes) => Rejected::permanent(
                "too_large",
                format!(
                    "a batch of {} MiB never fits the soft limit of {} MiB: send smaller ones",
                    mib(bytes),
                    mib(soft)
                ),
            ),
            Refusal::Soft => Rejected::retry_after(
                "memory",
                after,
                format!(
                    "{} MiB are in flight, the soft limit is {} MiB: come again later",
                    mib(self.account.in_flight()),
                    mib(soft)
                ),
            ),
            Refusal::Received => Rejected::retry_after(
                "memory",
                after,
                format!(
                    "{} MiB are in flight or being received, the hard limit is {} MiB: come again later",
                    mib(self.shared.held()),
                    mib(hard)
                ),
            ),
            Refusal::Hard => Rejected::retry_after(
                "memory",
                after,
                format!("the process's memory is near the hard limit of {} MiB: come again later", mib(hard)),
            ),
        };
        self.gate.refused(items, &rejected.message);
        rejected
    }

    fn look(&self, why: Look) {
        self.taken.store(0, Ordering::Relaxed);
        let resident = self.memory.resident();
        self.gate.look(why, resident, self.account.in_flight(), self.limits);
    }

    fn to_json(&self) -> serde_json::Value {
        json!({
            "in_flight_bytes": self.account.in_flight(),
            "held_bytes": self.shared.held(),
            "soft_limit_bytes": self.limits.soft,
            "hard_limit_bytes": self.limits.hard,
            "guard_bytes": self.limits.guard(),
            "resident_bytes": self.memory.resident(),
            "refused_items": self.gate.all_refused(),
            "check_interval": GoDuration(self.interval).to_string(),
        })
    }
}

const fn mib(bytes: u64) -> u64 {
    bytes >> 20
}
