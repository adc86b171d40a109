//! What stands around every exporter, the same for all: a timeout per attempt, retries, a bounded queue, a drain at shutdown, and books that
//! balance to the item. Start from [`Delivery`]: the host makes one per exporter, hands its [`Delivery::consumer`] to the arrows that lead there,
//! and calls [`Delivery::drain`] in the end.

mod attempt;
mod backoff;
mod batch;
mod config;
mod current;
mod delivery;
mod drain;
mod gather;
mod health;
mod lane;
mod ledger;
mod memory;
mod meters;
mod queue;
mod stored;

pub use batch::BatchConfig;
pub use config::{DeliveryConfig, DeliverySettings, QueueConfig, RetryConfig, Sizer, Timeouts};
pub use current::Predecessor;
pub use delivery::{Delivery, DeliveryConsumer};
pub use drain::DrainReport;
pub use ledger::DeliveryCounts;
