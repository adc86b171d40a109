//! What stands at a queue's exit where `sending_queue.batch` is written.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures::FutureExt;
use minicol_pdata::Batch;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    BatchConfig, Sizer,
    attempt::Unsettled,
    delivery::{AFTER_PANIC, Shared},
    lane::Lane,
    queue::{Place, Popped, Queued, size_of},
};

/// What was taken out of the queue and is not sent yet. It keeps its places.
#[derive(Default)]
struct Gathered {
    batches: Vec<Batch>,
    places: Vec<Place>,
    size: usize,
    /// When it is sent, however small.
    due: Option<Instant>,
}

impl Shared {
    /// One task per queue gathers, until the queue is closed and empty; what it gathered is delivered by a task of its own, as many at once as
    /// there are consumers. While all of them are busy nothing is taken out.
    pub(crate) async fn gather(self: Arc<Self>, of: Arc<Lane>, config: BatchConfig, consumers: usize) {
        let lane = &*of;
        let Some(queue) = &lane.queue else { return };
        let (sizer, max) = (config.sizer.unwrap_or(Sizer::Items), config.max_size);
        let consumers = Arc::new(Semaphore::new(consumers));
        let mut gathered = Gathered::default();
        // It goes on where it was: a queue is never left in the middle of a read.
        let mut next = std::pin::pin!(queue.pop());
        loop {
            let due = gathered.due;
            let (mut send, mut over) = (false, false);
            tokio::select! {
                biased;
                () = self.abandon.cancelled() => return,
                popped = AssertUnwindSafe(next.as_mut()).catch_unwind() => {
                    next.set(queue.pop());
                    match popped {
                        Ok(Some(Popped::Batch(queued))) => self.add(lane, &mut gathered, queued, sizer, &config).await,
                        Ok(Some(Popped::Restored(items))) => self.survive(lane, || self.restored(lane, queue, items)),
                        Ok(Some(Popped::Lost(lost))) => {
                            self.survive(lane, || lane.settle_lost(queue, &lost, &self.health));
                        }
                        Ok(None) => over = true,
                        Err(panic) => {
                            self.panicked(lane, 0, &*panic);
                            drop(panic);
                            // Where it panics again at once, nothing else would run.
                            sleep(AFTER_PANIC).await;
                        }
                    }
                }
                () = at_last(due) => send = true,
            }
            if !gathered.batches.is_empty() && (send || over || gathered.size >= config.min_size) {
                let consumer = tokio::select! {
                    biased;
                    () = self.abandon.cancelled() => return,
                    consumer = Arc::clone(&consumers).acquire_owned() => consumer,
                };
                let (shared, lane, gathered) = (Arc::clone(&self), Arc::clone(&of), std::mem::take(&mut gathered));
                self.tasks.spawn(async move {
                    shared.deliver_gathered(&lane, gathered, |batches| joined(batches, sizer, max)).await;
                    drop(consumer);
                });
            }
            if over {
                return;
            }
        }
    }
}

impl Shared {
    /// Adds what was taken out of the queue. What cannot even be measured is lost.
    async fn add(
        &self,
        lane: &Lane,
        gathered: &mut Gathered,
        Queued { batch, place }: Queued,
        sizer: Sizer,
        config: &BatchConfig,
    ) {
        match catch_unwind(AssertUnwindSafe(|| size_of(sizer, &batch))) {
            Ok(size) => gathered.add(batch, place, size, config),
            Err(panic) => self.lose(lane, batch.items() as u64, panic, vec![place]).await,
        }
    }

    /// A panic cost what had these places.
    async fn lose(&self, lane: &Lane, items: u64, panic: Box<dyn Any + Send>, places: Vec<Place>) {
        self.panicked(lane, items, &*panic);
        drop(panic);
        if let Some(queue) = &lane.queue {
            lane.release(queue, places, None).await;
        }
    }

    /// `make` says in which parts it is sent.
    async fn deliver_gathered(
        &self,
        lane: &Lane,
        gathered: Gathered,
        make: impl FnOnce(Vec<Batch>) -> VecDeque<Batch>,
    ) {
        let Gathered { batches, places, .. } = gathered;
        let items = batches.iter().map(|batch| batch.items() as u64).sum();
        match catch_unwind(AssertUnwindSafe(|| make(batches))) {
            Ok(parts) => self.deliver_queued(lane, Unsettled::in_parts(parts), places).await,
            Err(panic) => self.lose(lane, items, panic, places).await,
        }
    }

    /// Does what may panic: without the task that gathers, the queue would stand still.
    fn survive(&self, lane: &Lane, booked: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(booked)) {
            self.panicked(lane, 0, panic.as_ref());
        }
    }
}

impl Gathered {
    fn add(&mut self, batch: Batch, place: Place, size: usize, config: &BatchConfig) {
        self.size = self.size.saturating_add(size);
        self.batches.push(batch);
        self.places.push(place);
        self.due.get_or_insert_with(|| Instant::now() + config.flush_timeout.0);
    }
}

async fn at_last(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// One batch of them all, in parts where it is too large.
fn joined(batches: Vec<Batch>, sizer: Sizer, max: usize) -> VecDeque<Batch> {
    let whole = batches.into_iter().reduce(Batch::joined);
    whole.map(|whole| parts(whole, sizer, max)).unwrap_or_default()
}

/// Parts of at most `max`, but that a single item may be larger.
fn parts(batch: Batch, sizer: Sizer, max: usize) -> VecDeque<Batch> {
    let (mut parts, mut rest) = (VecDeque::new(), vec![batch]);
    while let Some(batch) = rest.pop() {
        let (size, items) = (size_of(sizer, &batch), batch.items());
        if max == 0 || size <= max || items < 2 {
            parts.push_back(batch);
            continue;
        }
        // As many as are needed, of one size; items of unlike size may need another cut.
        let (first, others) = batch.split_at(items.div_ceil(size.div_ceil(max)));
        rest.extend([others, first]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use minicol_pdata::{
        Attributes, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint, Observations, Signal, Timestamp,
    };
    use minicol_plugin::{
        ComponentKind, Consumer, Delivered, Event, ExportError, Exporter, Status, async_trait, testing::Harness,
    };

    use super::*;
    use crate::{Delivery, DeliveryConfig, QueueConfig};

    /// Takes everything.
    struct Takes;

    #[async_trait]
    impl Exporter for Takes {
        async fn export(&self, _: Batch) -> Result<Delivered, ExportError> {
            Ok(Delivered::default())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_joining_costs_what_was_joined_and_its_places_are_free_again() {
        let harness = Harness::default();
        let sending_queue =
            QueueConfig { queue_size: 2, batch: Some(BatchConfig::default()), ..QueueConfig::default() };
        let config = DeliveryConfig { sending_queue, ..DeliveryConfig::default() };
        let scope = harness.scope(ComponentKind::Exporter, "otlp");
        let delivery = Delivery::start(Arc::new(Takes), config, &[Signal::Metrics], scope);
        let (consumer, lane) = (delivery.consumer(), delivery.0.lane(Signal::Metrics).unwrap());
        let mut gathered = Gathered::default();
        for _ in 0..2 {
            consumer.consume(batch(&[5, 5])).await.unwrap();
            // Before whoever gathers: nothing here waits.
            let popped = lane.queue.as_ref().unwrap().pop().await;
            let Some(Popped::Batch(Queued { batch, place })) = popped else { panic!("nothing was queued") };
            gathered.batches.push(batch);
            gathered.places.push(place);
        }
        assert_eq!(consumer.consume(batch(&[5])).await.unwrap_err().reason, "queue_full");
        delivery.0.deliver_gathered(&lane, gathered, |_| panic!("a test's bug")).await;
        let counts = delivery.counts();
        assert_eq!(
            (counts.failed.get("panic"), counts.queued, counts.is_balanced()),
            (Some(&4), 0, true),
            "{counts:?}"
        );
        let told = |event: &Event| {
            matches!(event, Event::Status(change) if change.status == Status::PermanentError
                && change.message.contains("bug in minicol: a test's bug"))
        };
        assert!(harness.events().iter().any(told), "{:?}", harness.events());
        for _ in 0..2 {
            consumer.consume(batch(&[5, 5])).await.unwrap();
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!((delivery.counts().sent, delivery.counts().queued), (4, 0), "there is room, and somebody delivers");
    }

    /// A batch whose points take as many bytes as said, about.
    fn batch(lengths: &[usize]) -> Batch {
        let mut builder = MetricsBuilder::new();
        builder.resource(&Attributes::new(), "test", "1");
        let descriptor =
            MetricDescriptor { name: "m".into(), description: "".into(), unit: "1".into(), kind: MetricKind::Gauge };
        let mut metric = builder.metric(&descriptor);
        for length in lengths {
            let point = NumberPoint { start: Timestamp::UNSET, time: Timestamp::UNSET, value: Some(Number::Int(1)) };
            metric.number(&Attributes::new().with("a", "x".repeat(*length)), &point);
        }
        builder.build().into()
    }

    fn items(parts: &VecDeque<Batch>) -> Vec<usize> {
        parts.iter().map(Batch::items).collect()
    }

    #[test]
    fn parts_are_as_few_as_fit_and_alike() {
        for (all, max, want) in [
            (10, 0, vec![10]),
            (10, 10, vec![10]),
            (10, 9, vec![5, 5]),
            (10, 4, vec![4, 3, 3]),
            (3, 1, vec![1, 1, 1]),
            (7, 2, vec![2, 2, 2, 1]),
        ] {
            let parts = parts(batch(&vec![5; all]), Sizer::Items, max);
            assert_eq!(items(&parts), want, "{all} of at most {max}");
        }
    }

    #[test]
    fn no_part_has_more_bytes_than_allowed_but_one_of_a_single_item() {
        let lengths = [5, 900, 5, 5, 300, 5, 5, 5, 2000, 5];
        for max in [100, 400, 1000, 1500] {
            let parts = parts(batch(&lengths), Sizer::Bytes, max);
            assert_eq!(items(&parts).iter().sum::<usize>(), lengths.len());
            assert!(parts.iter().all(|part| part.bytes() <= max || part.items() == 1), "{max}: {:?}", items(&parts));
        }
        assert_eq!(parts(Observations::default().into(), Sizer::Bytes, 1).len(), 1);
    }
}
