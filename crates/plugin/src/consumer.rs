use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use minicol_pdata::{Batch, Signal};

use crate::Retry;

/// The far end of an arrow.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Takes a batch. `Ok` means that responsibility has passed on; an error means that nothing of the batch was taken.
    async fn consume(&self, batch: Batch) -> Result<(), Rejected>;

    /// A sender gives items up that it does not even offer, such as those that came while this had not answered for the ones before. Nothing is taken;
    /// whoever keeps books counts them as refused.
    fn passed_over(&self, _signal: Signal, _items: u64, _reason: &'static str) {}
}

/// A batch that was not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Rejected {
    /// Whether offering it again may help.
    pub retry: Retry,
    /// Why, short and from a small set, as a metric's `reason` names it: `queue_full`, `shutdown`, `invalid`.
    pub reason: &'static str,
    /// Why, for a person.
    pub message: String,
}

/// An arrow to the next component. It can be pointed elsewhere while its owner runs; clones point to the same place.
#[derive(Clone)]
pub struct Next(Arc<ArcSwap<Box<dyn Consumer>>>);

impl Rejected {
    /// Offering it again may help.
    pub fn retryable(reason: &'static str, message: impl Into<String>) -> Self {
        Self { retry: Retry::Backoff, reason, message: message.into() }
    }

    /// Offering it again may help, but not before `after`.
    pub fn retry_after(reason: &'static str, after: Duration, message: impl Into<String>) -> Self {
        Self { retry: Retry::After(after), reason, message: message.into() }
    }

    /// Offering it again cannot help.
    pub fn permanent(reason: &'static str, message: impl Into<String>) -> Self {
        Self { retry: Retry::Never, reason, message: message.into() }
    }
}

impl Next {
    /// An arrow to `consumer`.
    pub fn new(consumer: impl Consumer + 'static) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Box::new(consumer))))
    }

    /// Hands a batch over.
    pub async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let consumer = self.0.load_full();
        consumer.consume(batch).await
    }

    /// Gives items up that are not even offered: see [`Consumer::passed_over`].
    pub fn passed_over(&self, signal: Signal, items: u64, reason: &'static str) {
        self.0.load().passed_over(signal, items, reason);
    }

    /// Whether both are one arrow: to point one elsewhere points the other.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Points this arrow, and every clone of it, elsewhere. A batch on its way still reaches the old place.
    pub fn point_to(&self, consumer: impl Consumer + 'static) {
        self.0.store(Arc::new(Box::new(consumer)));
    }
}

#[async_trait]
impl Consumer for Next {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        Self::consume(self, batch).await
    }

    fn passed_over(&self, signal: Signal, items: u64, reason: &'static str) {
        Self::passed_over(self, signal, items, reason);
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}
