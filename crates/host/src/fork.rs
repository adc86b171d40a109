//! One batch over several arrows at once. Who answers late keeps nobody waiting, but for a disk: what a sender is told was taken is stored
//! wherever it is to be stored.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use minicol_pdata::Batch;
use minicol_plugin::Rejected;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::arrow::Arrow;

/// How long a sender waits for an arrow after another took the batch. The first time: as long as an arrow is known to be late, nobody
/// waits for it at all. An arrow that leads to a disk is always waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Carries batches over forks, and what goes on without its sender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forks(TaskTracker);

/// How an arrow keeps up.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Its last answer took longer than [`PATIENCE`].
    late: AtomicBool,
    /// Batches that go on without their sender. While there are any, nothing more is offered to it, so that they stay few.
    alone: AtomicUsize,
}

/// A batch on its way over one arrow.
struct Going {
    arrow: Arc<Arrow>,
    carried: BoxFuture<'static, Result<(), Rejected>>,
}

impl Forks {
    /// `Ok` once any took the batch and the others answered, or are late: these go on alone. Where none takes it, every refusal. Where one that
    /// stores does not take it, its refusals, whoever else did: a sender that is told "taken" offers it no more.
    pub(crate) async fn carry(&self, arrows: &[&Arc<Arrow>], batch: Batch) -> Result<(), Vec<Rejected>> {
        let items = batch.items() as u64;
        let (mut going, mut ended) = (FuturesUnordered::new(), Vec::new());
        for arrow in arrows.iter().map(|arrow| Arc::clone(arrow)) {
            if !arrow.stores && arrow.pace.is_busy() {
                let busy = arrow.busy(&batch);
                ended.push((arrow, Err(busy)));
            } else {
                going.push(Going::new(arrow, batch.clone()));
            }
        }
        drop(batch);
        let patience = sleep(PATIENCE);
        tokio::pin!(patience);
        let (mut answered, mut impatient) = (false, false);
        while !going.is_empty() {
            let stores = going.iter().any(|one| one.arrow.stores);
            if answered && !stores && (impatient || going.iter().all(|one| one.arrow.pace.is_late())) {
                break;
            }
            tokio::select! {
                biased;
                Some((arrow, outcome)) = going.next() => {
                    answered |= outcome.is_ok() || arrow.stores;
                    ended.push((arrow, outcome));
                }
                // Where nobody has it yet, whoever may still take it is waited for.
                () = &mut patience, if answered && !impatient => impatient = true,
            }
        }
        let told = told(&ended);
        let torn = told.is_ok();
        for (arrow, outcome) in ended.iter().filter(|(_, outcome)| torn || outcome.is_ok()) {
            arrow.edge.tell_torn(items, outcome);
        }
        for one in going {
            self.let_go(one, items, torn);
        }
        told
    }

    /// Waits until nothing goes on alone any more. Nothing begins to after this.
    pub(crate) async fn ended(&self, within: Duration) {
        self.0.close();
        let _ = timeout(within, self.0.wait()).await;
    }

    /// Where it is refused after all, that is a loss if the batch is `torn`: if its sender does not offer it again.
    fn let_go(&self, one: Going, items: u64, torn: bool) {
        let Going { arrow, carried } = one;
        arrow.pace.alone.fetch_add(1, Ordering::Relaxed);
        arrow.pace.late.store(true, Ordering::Relaxed);
        self.0.spawn(async move {
            let alone = Instant::now();
            let outcome = carried.await;
            arrow.pace.late.store(alone.elapsed() > PATIENCE, Ordering::Relaxed);
            arrow.pace.alone.fetch_sub(1, Ordering::Relaxed);
            if torn || outcome.is_ok() {
                arrow.edge.tell_torn(items, &outcome);
            }
        });
    }
}

/// What the sender is told.
fn told(ended: &[(Arc<Arrow>, Result<(), Rejected>)]) -> Result<(), Vec<Rejected>> {
    let refusals = |stored: bool| {
        let of = ended.iter().filter(move |(arrow, _)| !stored || arrow.stores);
        of.filter_map(|(_, outcome)| outcome.as_ref().err().cloned()).collect::<Vec<_>>()
    };
    match refusals(true) {
        none if none.is_empty() && ended.iter().any(|(_, outcome)| outcome.is_ok()) => Ok(()),
        none if none.is_empty() => Err(refusals(false)),
        stored => Err(stored),
    }
}

impl Pace {
    fn is_busy(&self) -> bool {
        self.alone.load(Ordering::Relaxed) > 0
    }

    fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }
}

impl Going {
    fn new(arrow: Arc<Arrow>, batch: Batch) -> Self {
        let over = Arc::clone(&arrow);
        Self { arrow, carried: async move { over.carry(batch).await }.boxed() }
    }
}

impl Future for Going {
    type Output = (Arc<Arrow>, Result<(), Rejected>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.carried.poll_unpin(cx).map(|outcome| (Arc::clone(&self.arrow), outcome))
    }
}
