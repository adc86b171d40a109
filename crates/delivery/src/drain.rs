use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::{Delivery, DeliveryCounts, delivery::Shared, queue::Queue};

/// What a drain did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DrainReport {
    /// Items that were sent while it drained.
    pub sent: u64,
    /// Items that were lost while it drained: those that failed, and those that the deadline or a retry beyond it left.
    pub lost: u64,
    /// Items that are left in the storage: the next start delivers them.
    pub kept: u64,
    /// True where the deadline cut it.
    pub cut: bool,
    /// The books at the end; nothing is queued any more.
    pub counts: DeliveryCounts,
    /// Why the exporter could not let go of what it held.
    pub shutdown_error: Option<String>,
}

/// For tasks that were told to drop what they do: they need no more than to be polled once.
const GRACE: Duration = Duration::from_millis(250);

impl Delivery {
    /// Takes nothing more, delivers what is queued until `deadline` (or until the scope is abandoned), drops and counts the rest, or keeps it in the
    /// storage, then shuts the exporter down. A retry whose wait would end after the deadline is not begun. A second call finds nothing left to do.
    pub async fn drain(&self, deadline: Instant) -> DrainReport {
        let shared = &*self.0;
        let (before, current) = (self.counts(), shared.current.load_full());
        // Only the first drain has a deadline to keep.
        let first = shared.deadline.set(deadline).is_ok();
        shared.close();
        let finished = tokio::select! {
            biased;
            () = shared.tasks.wait() => true,
            () = current.scope.abandoned() => false,
            () = tokio::time::sleep_until(deadline) => false,
        };
        let left = shared.close_books();
        shared.abandon.cancel();
        if !finished {
            // Nothing is owed to who does not react: its items are in the books already.
            let _ = timeout(GRACE, shared.tasks.wait()).await;
        }
        let shutdown_error = current.shut_down(deadline).await.err().map(|error| error.to_string());
        if first {
            // Later the queue in the storage may be another exporter's.
            shared.lanes.load().iter().for_each(|lane| lane.reckon(&shared.health));
        }
        shared.health.tell_the_rest();
        let counts = self.counts();
        DrainReport {
            sent: counts.sent - before.sent,
            lost: counts.lost() - before.lost(),
            kept: counts.kept,
            cut: !finished && left > 0,
            counts,
            shutdown_error,
        }
    }
}

impl Delivery {
    /// After a drain, where the program goes on: what is left in a storage has no exporter until another takes it up.
    pub fn let_go(&self) {
        self.0.lanes.load().iter().filter_map(|lane| lane.queue.as_ref()).for_each(Queue::let_go);
    }
}

impl Shared {
    fn close_books(&self) -> u64 {
        let mut left = 0;
        for lane in self.lanes.load().iter() {
            left += lane.close_books("the shutdown's deadline came before they were delivered", &self.health);
            if let Some(queue) = &lane.queue {
                queue.clear();
                queue.tell_size(|size| lane.meters.queue_size(size));
            }
        }
        left
    }
}
