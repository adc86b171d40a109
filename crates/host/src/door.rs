//! What the arrows to an exporter lead to.

use std::sync::Arc;

use arc_swap::ArcSwap;
use minicol_delivery::DeliveryConsumer;
use minicol_pdata::Batch;
use minicol_plugin::{Consumer, Rejected, async_trait};

/// Leads to an exporter's delivery. Another can be put behind it: who waits before the old one for room goes on to the new one.
pub(crate) struct Door(ArcSwap<DeliveryConsumer>);

/// The end of the arrows, so that they hold the door and not the delivery.
pub(crate) struct DoorEntry(pub(crate) Arc<Door>);

/// What a delivery that takes nothing more says.
const CLOSED: &str = "shutdown";

impl Door {
    pub(crate) fn new(to: DeliveryConsumer) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(to)))
    }

    pub(crate) fn lead_to(&self, to: DeliveryConsumer) {
        self.0.store(Arc::new(to));
    }
}

#[async_trait]
impl Consumer for DoorEntry {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let mut behind = self.0.0.load_full();
        loop {
            let taken = behind.consume(batch.clone()).await;
            let now = self.0.0.load_full();
            match taken {
                Err(rejected) if rejected.reason == CLOSED && !Arc::ptr_eq(&now, &behind) => behind = now,
                taken => return taken,
            }
        }
    }
}
