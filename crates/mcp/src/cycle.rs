//! One cycle, as its parts see it.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{Cause, CyclePlan, Failure, session::Session};

/// What the calls of one cycle share.
pub(crate) struct Cycle {
    pub(crate) tick: Instant,
    pub(crate) deadline: Instant,
    pub(crate) cancel: CancellationToken,
    /// What messages call the target.
    pub(crate) target: Arc<str>,
    /// Whether a failed set-up is tried again: not where the cycle only probes.
    pub(crate) retries_set_up: bool,
    /// Whether a tool will be called; where none will, the set-up alone has to show how the target is.
    pub(crate) calls_tools: bool,
    /// The session made anew in this cycle, or why it could not be; one flight for all tools.
    pub(crate) remade: tokio::sync::Mutex<Option<Result<Arc<Session>, Failure>>>,
    may_remake: AtomicBool,
    /// The number of the session that was made in this cycle; 0 where none was.
    made: AtomicU64,
    spoke: AtomicBool,
    unknown_tool: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    session: Option<Arc<Session>>,
    set_up_failure: Option<Failure>,
}

impl Cycle {
    pub(crate) fn new(plan: &CyclePlan, target: Arc<str>, retries_set_up: bool, calls_tools: bool) -> Self {
        Self {
            tick: plan.tick,
            deadline: plan.deadline,
            cancel: plan.cancel.clone(),
            target,
            retries_set_up,
            calls_tools,
            remade: tokio::sync::Mutex::default(),
            may_remake: AtomicBool::new(true),
            made: AtomicU64::new(0),
            spoke: AtomicBool::new(false),
            unknown_tool: AtomicBool::new(false),
            inner: Mutex::default(),
        }
    }

    /// Cuts `work` at the cycle's end, and where the cycle is cancelled.
    pub(crate) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
        stopped: impl FnOnce(Cause) -> Failure,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.cancel.cancelled() => Err(stopped(Cause::Cancelled)),
            () = sleep_until(self.deadline) => Err(stopped(Cause::CutAtCycleEnd)),
        }
    }

    /// Takes the one right per cycle to make a lost session anew.
    pub(crate) fn take_remake(&self) -> bool {
        self.may_remake.swap(false, Ordering::Relaxed)
    }

    /// Whether that right was taken: the list may be another since.
    pub(crate) fn remade_session(&self) -> bool {
        !self.may_remake.load(Ordering::Relaxed)
    }

    pub(crate) fn made_session(&self, session: &Session) {
        self.made.store(session.number, Ordering::Relaxed);
    }

    /// Whether `session` is older than this cycle: the server may be another since.
    pub(crate) fn found(&self, session: &Session) -> bool {
        self.made.load(Ordering::Relaxed) != session.number
    }

    /// The target spoke valid MCP.
    pub(crate) fn heard(&self) {
        self.spoke.store(true, Ordering::Relaxed);
    }

    pub(crate) fn spoke(&self) -> bool {
        self.spoke.load(Ordering::Relaxed)
    }

    /// A tool of the list turned out to be unknown to the server.
    pub(crate) fn doubt_list(&self) {
        self.unknown_tool.store(true, Ordering::Relaxed);
    }

    pub(crate) fn doubts_list(&self) -> bool {
        self.unknown_tool.load(Ordering::Relaxed)
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.inner().session.clone()
    }

    pub(crate) fn use_session(&self, session: &Arc<Session>) {
        self.inner().session = Some(Arc::clone(session));
    }

    pub(crate) fn set_up_failure(&self) -> Option<Failure> {
        self.inner().set_up_failure.clone()
    }

    pub(crate) fn note_set_up_failure(&self, failure: &Failure) {
        self.inner().set_up_failure = Some(failure.clone());
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
