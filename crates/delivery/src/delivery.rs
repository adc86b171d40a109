use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::FutureExt;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{CancellationToken, Consumer, Exporter, Rejected, Scope, Status, async_trait, storage::Storage};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::{
    DeliveryConfig, DeliveryCounts, Predecessor,
    attempt::{Unsettled, panic_text},
    current::Current,
    health::Health,
    lane::{Lane, Rest, stopping},
    ledger::Settlement,
    queue::{Place, Popped, Queue, Queued},
};

/// One exporter with everything that stands around it. Dropping it abandons what is queued; [`Delivery::drain`] is the way to end it.
///
/// It may outlive its exporter: [`Delivery::take_on`] puts another in its place, and what is queued stays.
pub struct Delivery(pub(crate) Arc<Shared>);

/// The arrow's end: where batches for the exporter are handed in. Clones lead to the same exporter.
#[derive(Clone)]
pub struct DeliveryConsumer(Arc<Shared>);

pub(crate) struct Shared {
    /// The exporter that the next attempt goes through, and how.
    pub(crate) current: ArcSwap<Current>,
    pub(crate) lanes: ArcSwap<Vec<Arc<Lane>>>,
    pub(crate) health: Health,
    /// Every queue consumer, and every delivery that its sender waits for.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the drain begins; the deadline is set before.
    pub(crate) draining: CancellationToken,
    pub(crate) deadline: OnceLock<Instant>,
    /// Cancelled when what is in flight shall be dropped.
    pub(crate) abandon: CancellationToken,
}

/// How long a queue's consumer rests after it panicked outside of a delivery.
pub(crate) const AFTER_PANIC: Duration = Duration::from_secs(1);

impl Delivery {
    /// Around `exporter`, for batches of `signals`. With a queue its consumers are spawned here, so this must run inside of a tokio
    /// runtime. Status and notices are reported, and metrics made, through `scope`, which is the exporter's own.
    pub fn start(exporter: Arc<dyn Exporter>, config: DeliveryConfig, signals: &[Signal], scope: Scope) -> Self {
        Self::start_stored(exporter, config, signals, scope, None)
    }

    /// The same with its queues in a storage, which is ready: what an earlier life left there is delivered first. Observations are queued in
    /// memory all the same.
    pub fn start_stored(
        exporter: Arc<dyn Exporter>,
        config: DeliveryConfig,
        signals: &[Signal],
        scope: Scope,
        storage: Option<&Arc<dyn Storage>>,
    ) -> Self {
        let shared = Arc::new(Shared {
            health: Health::new(scope.clone()),
            current: ArcSwap::from_pointee(Current::new(exporter, config, scope)),
            lanes: ArcSwap::default(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            deadline: OnceLock::new(),
            abandon: CancellationToken::new(),
        });
        shared.open_lanes(signals, storage);
        Self(shared)
    }

    /// Whether [`Delivery::take_on`] can make this delivery what `config` wants: its queue stays where it is, and counts what it counts.
    pub fn can_take_on(&self, config: &DeliveryConfig) -> bool {
        let (now, then) = (&self.0.current.load_full().config.sending_queue, &config.sending_queue);
        let gathers_alike = now.batch == then.batch && (now.batch.is_none() || now.num_consumers == then.num_consumers);
        now.enabled == then.enabled && now.storage == then.storage && now.sizer == then.sizer && gathers_alike
    }

    /// Whether a delivery of its own with `config` would read and write the queue that this one has in a storage: two must not.
    pub fn would_share_its_queue(&self, config: &DeliveryConfig) -> bool {
        let (now, then) = (&self.0.current.load_full().config.sending_queue, &config.sending_queue);
        let same_storage = now.storage.is_some() && now.storage == then.storage;
        now.enabled && then.enabled && same_storage && !self.can_take_on(config)
    }

    /// From now on delivers through another exporter, also what is queued already and what waits for its next attempt; attempts in flight end as
    /// they began. Books and queues stay; further `signals` get their own. What this returns is to be ended.
    pub fn take_on(
        &self,
        exporter: Arc<dyn Exporter>,
        config: DeliveryConfig,
        signals: &[Signal],
        scope: Scope,
        storage: Option<&Arc<dyn Storage>>,
    ) -> Predecessor {
        let shared = &self.0;
        for lane in shared.lanes.load().iter() {
            if let Some(queue) = &lane.queue {
                queue.resize(&config.sending_queue);
                lane.meters.queue_capacity(queue.capacity());
            }
        }
        shared.health.succeed(scope.clone());
        let before = shared.current.swap(Arc::new(Current::new(exporter, config, scope)));
        shared.open_lanes(signals, storage);
        before.superseded.cancel();
        Predecessor(before)
    }

    /// Delivers `signals`, too.
    pub fn also_take(&self, signals: &[Signal], storage: Option<&Arc<dyn Storage>>) {
        self.0.open_lanes(signals, storage);
    }

    /// Where batches are handed in.
    pub fn consumer(&self) -> DeliveryConsumer {
        DeliveryConsumer(Arc::clone(&self.0))
    }

    /// The books, all signals together; they balance at every moment.
    pub fn counts(&self) -> DeliveryCounts {
        let mut all = DeliveryCounts::default();
        for lane in self.0.lanes.load().iter() {
            all.add(&lane.ledger.counts());
        }
        all
    }

    /// The books of one signal.
    pub fn counts_of(&self, signal: Signal) -> DeliveryCounts {
        self.0.counts_of(signal)
    }

    /// How it is configured.
    pub fn config(&self) -> DeliveryConfig {
        self.0.current.load().config.clone()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.0.close();
        self.0.abandon.cancel();
    }
}

impl DeliveryConsumer {
    /// The signals that it takes, in their order.
    pub fn signals(&self) -> Vec<Signal> {
        let mut signals: Vec<Signal> = self.0.lanes.load().iter().map(|lane| lane.signal).collect();
        signals.sort_unstable();
        signals
    }

    /// The books of one signal.
    pub fn counts_of(&self, signal: Signal) -> DeliveryCounts {
        self.0.counts_of(signal)
    }
}

#[async_trait]
impl Consumer for DeliveryConsumer {
    /// With a queue: `Ok` once the batch is in it. Without one: once it is delivered, retries included.
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if batch.is_empty() {
            return Ok(());
        }
        let shared = &self.0;
        let signal = batch.signal();
        let lane = shared.lane(signal).ok_or_else(|| {
            let id = shared.current.load().scope.id().to_string();
            Rejected::permanent("invalid", format!("exporter `{id}` was not set up for {signal}"))
        })?;
        match &lane.queue {
            Some(queue) => lane.enqueue(queue, batch, &shared.health).await,
            None => shared.tasks.track_future(shared.deliver_inline(&lane, batch)).await,
        }
    }
}

impl Shared {
    pub(crate) fn lane(&self, signal: Signal) -> Option<Arc<Lane>> {
        self.lanes.load().iter().find(|lane| lane.signal == signal).map(Arc::clone)
    }

    /// A lane for each of `signals` that has none yet, and as many consumers for each as the configuration says.
    fn open_lanes(self: &Arc<Self>, signals: &[Signal], storage: Option<&Arc<dyn Storage>>) {
        let current = self.current.load_full();
        let mut lanes = Vec::clone(&self.lanes.load());
        let mut wanted = signals.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        for signal in wanted {
            if !lanes.iter().any(|lane| lane.signal == signal) {
                lanes.push(Arc::new(Lane::new(signal, &current.config, &current.scope, storage)));
            }
        }
        let queue = &current.config.sending_queue;
        for lane in lanes.iter().filter(|lane| lane.queue.is_some()) {
            if let Some(batch) = &queue.batch {
                if lane.consumers.swap(1, Ordering::Relaxed) == 0 {
                    let gathering = Arc::clone(self).gather(Arc::clone(lane), batch.clone(), queue.num_consumers);
                    self.tasks.spawn(gathering);
                }
                continue;
            }
            let there = lane.consumers.load(Ordering::Relaxed);
            for _ in there..queue.num_consumers {
                lane.consumers.fetch_add(1, Ordering::Relaxed);
                self.tasks.spawn(Arc::clone(self).consume_queue(Arc::clone(lane)));
            }
        }
        self.lanes.store(Arc::new(lanes));
    }

    /// Whether one consumer of this lane is more than there shall be: it is to end.
    fn is_one_too_many(&self, lane: &Lane) -> bool {
        let wanted = self.current.load().config.sending_queue.num_consumers;
        let fewer = |there: usize| (there > wanted).then(|| there - 1);
        lane.consumers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
    }

    fn counts_of(&self, signal: Signal) -> DeliveryCounts {
        self.lane(signal).map(|lane| lane.ledger.counts()).unwrap_or_default()
    }

    /// Takes nothing more.
    pub(crate) fn close(&self) {
        self.health.stops();
        self.draining.cancel();
        self.tasks.close();
        for queue in self.lanes.load().iter().filter_map(|lane| lane.queue.as_ref()) {
            queue.close();
        }
    }

    /// One consumer: delivers from the queue until that is closed and empty. It outlives every panic: without it the queue would stand still.
    async fn consume_queue(self: Arc<Self>, lane: Arc<Lane>) {
        let lane = &*lane;
        let Some(queue) = &lane.queue else { return };
        while !self.is_one_too_many(lane) {
            match AssertUnwindSafe(self.consume_next(lane, queue)).catch_unwind().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(panic) => {
                    self.panicked(lane, 0, panic.as_ref());
                    // Where it panics again at once, nothing else would run.
                    sleep(AFTER_PANIC).await;
                }
            }
        }
    }

    /// False where nothing more comes.
    async fn consume_next(&self, lane: &Lane, queue: &Queue) -> bool {
        let next = tokio::select! {
            biased;
            () = self.abandon.cancelled() => return false,
            next = queue.pop() => next,
        };
        match next {
            None => return false,
            Some(Popped::Batch(Queued { batch, place })) => {
                self.deliver_queued(lane, Unsettled::queued(batch), vec![place]).await;
            }
            Some(Popped::Restored(items)) => self.restored(lane, queue, items),
            Some(Popped::Lost(lost)) => lane.settle_lost(queue, &lost, &self.health),
        }
        true
    }

    /// Items of an earlier life were found in the storage.
    pub(crate) fn restored(&self, lane: &Lane, queue: &Queue, items: u64) {
        self.health.restored(lane.signal, items);
        queue.tell_size(|size| lane.meters.queue_size(size));
    }

    /// Delivers what had these places in a queue, and gives them back.
    pub(crate) async fn deliver_queued(&self, lane: &Lane, mut unsettled: Unsettled, places: Vec<Place>) {
        let Some(queue) = &lane.queue else { return };
        let delivered = AssertUnwindSafe(self.deliver(lane, &mut unsettled)).catch_unwind().await;
        if let Err(panic) = delivered {
            // What is not booked yet is lost with it, and its places are free again.
            self.panicked(lane, unsettled.take(), panic.as_ref());
        }
        let left = unsettled.take_left();
        let rest = left.map(|left| if unsettled.begun() { Rest::Part(left) } else { Rest::Whole });
        lane.release(queue, places, rest).await;
    }

    /// A bug in what stands around the exporter: told as what it is, and `items` are lost by it. Whoever hears of it may be what panics.
    pub(crate) fn panicked(&self, lane: &Lane, items: u64, panic: &(dyn Any + Send)) {
        let why = format!("the delivery panicked, which is a bug in minicol: {}", panic_text(panic));
        let how = Settlement::Failed { reason: "panic".to_owned() };
        let _ = catch_unwind(AssertUnwindSafe(|| lane.settle(items, &how, &why, &self.health)));
        let _ = catch_unwind(AssertUnwindSafe(|| self.current.load().scope.report(Status::PermanentError, why)));
    }

    /// Without a queue the sender waits, and learns how it ended. What is not delivered stays with it: nothing was taken on.
    async fn deliver_inline(&self, lane: &Lane, batch: Batch) -> Result<(), Rejected> {
        let items = batch.items() as u64;
        if self.draining.is_cancelled() {
            let rejected = stopping();
            lane.refuse(items, &rejected, &self.health);
            return Err(rejected);
        }
        let mut waited = WaitedFor { shared: self, lane, batch: Unsettled::waited_for(batch) };
        let outcome = self.deliver(lane, &mut waited.batch).await;
        let lost = waited.batch.take_lost();
        let reason = match outcome.settlement {
            // Offered again, it would arrive twice: what is lost of it is counted and told.
            _ if waited.batch.arrived() => {
                for (items, outcome) in &lost {
                    self.book(lane, *items, outcome);
                }
                return Ok(());
            }
            Settlement::Sent { .. } => return Ok(()),
            Settlement::Failed { .. } => "send_failed",
            Settlement::Dropped => "shutdown",
        };
        let rejected = Rejected { retry: outcome.retry, reason, message: outcome.why };
        lane.hand_back(items, &rejected, &self.health);
        Err(rejected)
    }
}

/// A delivery whose sender may stop waiting: then what is not delivered stays with it.
struct WaitedFor<'a> {
    shared: &'a Shared,
    lane: &'a Lane,
    batch: Unsettled,
}

impl Drop for WaitedFor<'_> {
    fn drop(&mut self) {
        let left = self.batch.take() + self.batch.take_lost().iter().map(|(items, _)| items).sum::<u64>();
        if left > 0 {
            let rejected = Rejected::retryable("cancelled", "the sender stopped waiting");
            self.lane.hand_back(left, &rejected, &self.shared.health);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.0.current.load();
        f.debug_struct("Delivery").field("exporter", current.scope.id()).field("counts", &self.counts()).finish()
    }
}

impl fmt::Debug for DeliveryConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeliveryConsumer({})", self.0.current.load().scope.id())
    }
}
