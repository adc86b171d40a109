//! One cycle: ask, tell what changed, count, hand over.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use minicol_mcp::{Class, CycleOutcome, CyclePlan, Endpoint, Failure, PollTarget, ToolPlan, ToolResult};
use minicol_pdata::{Batch, PollReport, Signal, Source, Timestamp};
use minicol_plugin::{CancellationToken, Next, Rejected, Scope, StopReason, Tick, text::foreign, trace::Span};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    PollerError, PollerStatus,
    instruments::Instruments,
    pause::Pause,
    report::{self, Ended, observations, report},
    schedule::Schedule,
    status::{Standing, Tally},
    target::{plan, slot},
    traces::{self, CycleSpans},
    voice::{Said, Voice},
};
use crate::{SessionBuddyConfig, analytics::LimitMemory, config::SESSION_ANALYTICS, source::source};

/// What a poller is made of.
pub(crate) struct Engine {
    target: Arc<dyn PollTarget>,
    endpoint: String,
    tools: Vec<ToolPlan>,
    /// The configured `limit` of `get_session_analytics`.
    limit: Option<u64>,
    source: Arc<Source>,
    next: Next,
    scope: Scope,
    instruments: Instruments,
    spans: CycleSpans,
    memory: Arc<Memory>,
    schedule: Arc<Schedule>,
    pause: Arc<Pause>,
    polled: Arc<Polled>,
    tally: Arc<Mutex<Tally>>,
    voice: Voice,
    /// One cycle at a time.
    turn: tokio::sync::Mutex<()>,
    /// One hand-over at a time: a next component that takes its time does not delay the next cycle.
    hand_over: Arc<Semaphore>,
}

/// What outlives the receiver's instances, beside the target's own.
#[derive(Debug, Default)]
struct Memory {
    up: Mutex<Standing>,
    said: Mutex<Said>,
}

/// What is remembered of the target that is polled, by the instance that does so or did so last.
type Polled = Mutex<Option<Arc<Memory>>>;

/// What a cycle brought, and its span.
struct Brought {
    batch: Batch,
    report: PollReport,
    span: Span,
}

/// Sets the poller to not running when it ends, however it ends.
pub(crate) struct Running(Arc<Engine>);

impl Engine {
    pub(crate) fn new(
        config: &SessionBuddyConfig,
        target: Arc<dyn PollTarget>,
        next: Next,
        scope: Scope,
    ) -> Result<Self, PollerError> {
        let endpoint: Endpoint = config.endpoint.parse()?;
        let limits = scope.state(&slot("limit", &endpoint), LimitMemory::default);
        let memory = scope.state(&slot("poller", &endpoint), Memory::default);
        let tools = config.metrics_to_collect.iter().map(|tool| plan(config, tool, &limits)).collect();
        let limit = config.tools.options(SESSION_ANALYTICS).arguments.get("limit").and_then(serde_json::Value::as_u64);
        let shown = endpoint.shown();
        let polled = scope.state("polled", Polled::default);
        if lock(&polled).as_ref().is_some_and(|polled| Arc::ptr_eq(polled, &memory)) {
            scope.carries_on();
        }
        Ok(Self {
            instruments: Instruments::new(&scope, &target),
            spans: CycleSpans::new(&scope, &endpoint),
            source: source(config, &endpoint, &scope),
            voice: Voice::new(scope.clone(), shown.clone(), config.tools.clone(), limit),
            target,
            endpoint: shown,
            tools,
            limit,
            next,
            memory,
            schedule: scope.state("schedule", Schedule::default),
            pause: scope.state("pause", Pause::default),
            polled,
            tally: scope.state(&slot("tally", &endpoint), Mutex::default),
            scope,
            turn: tokio::sync::Mutex::default(),
            hand_over: Arc::new(Semaphore::new(1)),
        })
    }

    /// A cycle of the grid. What it brought is handed over in the background; where the next component is still busy with the cycle
    /// before, it has until the next tick.
    pub(crate) async fn cycle(self: &Arc<Self>, tick: Tick, cancel: &CancellationToken) {
        let Some((batch, span)) = self.brought(tick, cancel).await else { return };
        let items = batch.items() as u64;
        let (engine, until) = (Arc::clone(self), cancel.clone());
        // The cycle is over; what is said of its observations still belongs to it.
        let handing = span.around(async move { engine.consume(batch, &until).await });
        drop(span);
        let free = timeout_at(tick.deadline, Arc::clone(&self.hand_over).acquire_owned());
        tokio::select! {
            biased;
            permit = free => match permit {
                Ok(Ok(permit)) => give(handing, permit),
                _ => self.passed_over(items, &Rejected::retryable("busy", "it has not yet taken those of the cycle before")),
            },
            () = cancel.cancelled() => self.passed_over(items, &ended()),
        }
    }

    async fn brought(&self, tick: Tick, cancel: &CancellationToken) -> Option<(Batch, Span)> {
        let _turn = tokio::select! {
            biased;
            () = cancel.cancelled() => return None,
            turn = self.turn.lock() => turn,
        };
        if self.is_paused() {
            return Some((Batch::Observations(report::paused(self.scope.now(), &self.source)), Span::default()));
        }
        // Where a single poll took this cycle's whole time, its tick is missed as well.
        let late = Instant::now() >= tick.deadline;
        lock(&self.tally).missed(tick.missed + u64::from(late));
        if late {
            return None;
        }
        let Brought { batch, span, .. } = self.poll(tick, false, cancel).await?;
        Some((batch, span))
    }

    /// A cycle outside of the grid, its observations handed over before it ends.
    pub(crate) async fn once(
        self: &Arc<Self>,
        interval: Duration,
        cancel: &CancellationToken,
    ) -> Result<PollReport, PollerError> {
        let turn = self.turn.lock().await;
        let at = Instant::now();
        let tick = Tick { at, deadline: at + interval, missed: 0 };
        let Brought { batch, report, span } = self.poll(tick, true, cancel).await.ok_or(PollerError::Cancelled)?;
        // The grid goes on, however long what comes next takes.
        drop(turn);
        let items = batch.items() as u64;
        let (engine, until) = (Arc::clone(self), cancel.clone());
        let handing = span.around(async move { engine.consume(batch, &until).await });
        drop(span);
        let Ok(Ok(permit)) = timeout_at(tick.deadline, Arc::clone(&self.hand_over).acquire_owned()).await else {
            let busy = Rejected::retryable("busy", "it has not yet taken those of the cycle before");
            self.passed_over(items, &busy);
            return Err(PollerError::Refused(busy.message));
        };
        let handed = tokio::spawn(async move {
            let _permit = permit;
            handing.await
        });
        let Ok(handed) = timeout_at(tick.deadline, handed).await else {
            return Err(PollerError::Refused(
                "what was polled is offered still: what comes next takes its time".to_owned(),
            ));
        };
        match handed.unwrap_or_else(|_| Err(ended())) {
            Ok(()) => Ok(report),
            Err(rejected) => Err(PollerError::Refused(foreign(&rejected.message))),
        }
    }

    /// Waits until what was handed over is taken, or nothing more shall be waited for.
    pub(crate) async fn delivered(&self, cancel: &CancellationToken) {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            _ = self.hand_over.acquire() => {}
        }
    }

    /// Ends the session with the server.
    pub(crate) async fn close(&self, cancel: &CancellationToken) {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = self.target.close() => {}
        }
    }

    pub(crate) fn status(&self) -> PollerStatus {
        let up = *lock(&self.memory.up);
        let tally = lock(&self.tally).clone();
        tally.status(self.endpoint.clone(), self.is_paused(), up, self.target.snapshot())
    }

    /// Where it polls, as it may be shown.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_of(&self.endpoint)
    }

    /// An instance begins to poll: how the same target was stays so until a cycle tells more, and so does its pause. What was of another is forgotten.
    pub(super) fn take_over(&self) {
        self.pause.keep_of(&self.endpoint);
        let before = lock(&self.polled).replace(Arc::clone(&self.memory));
        if before.is_some_and(|before| !Arc::ptr_eq(&before, &self.memory)) {
            self.memory.forget();
        }
        if self.is_paused() {
            self.voice.paused();
        } else {
            self.voice.stands(&lock(&self.memory.said));
        }
    }

    /// An instance ends. Where none takes its place, whoever comes later does not know how the target is.
    pub(super) fn leave(&self) {
        if self.scope.stopping_token().is_cancelled() {
            self.memory.forget();
            *lock(&self.polled) = None;
        }
    }

    /// Begins no cycle from now on; waits for the one in flight, and ends the session.
    pub(super) async fn pause(&self) {
        self.pause.begin(&self.endpoint);
        let _turn = self.turn.lock().await;
        self.close(self.scope.abandoned_token()).await;
        if self.is_paused() {
            self.voice.paused();
        }
    }

    pub(super) fn resume(&self) {
        self.pause.end();
        self.voice.resumed(&lock(&self.memory.said));
    }

    pub(super) fn close_breaker(&self, tool: &str) -> bool {
        let closed = self.target.close_breaker(tool);
        lock(&self.memory.said).breaker_closed(tool);
        closed
    }

    /// Cancelled when what is in flight shall be dropped.
    pub(super) fn abandoned(&self) -> &CancellationToken {
        self.scope.abandoned_token()
    }

    /// When cycles are due, over all instances of the receiver.
    pub(super) fn schedule(&self) -> Arc<Schedule> {
        Arc::clone(&self.schedule)
    }

    /// Whether another instance goes on: with the session, and from the last cycle.
    pub(super) fn is_replaced(&self) -> bool {
        self.scope.stopping_token().is_cancelled() && self.scope.stop_reason() == StopReason::Replaced
    }

    /// The poller runs as long as what this returns is kept.
    pub(crate) fn running(self: &Arc<Self>) -> Running {
        lock(&self.tally).running = true;
        Running(Arc::clone(self))
    }

    /// Asks once, counts, and tells what changed; `None` where it was cancelled. `insists`: somebody wants it now.
    async fn poll(&self, tick: Tick, insists: bool, cancel: &CancellationToken) -> Option<Brought> {
        let span = self.spans.begin();
        let (batch, report) = span.around(self.polled(tick, insists, cancel, &span)).await?;
        Some(Brought { batch, report, span })
    }

    async fn polled(
        &self,
        tick: Tick,
        insists: bool,
        cancel: &CancellationToken,
        span: &Span,
    ) -> Option<(Batch, PollReport)> {
        let tools = self.tools.clone();
        let plan = CyclePlan { tick: tick.at, deadline: tick.deadline, tools, cancel: cancel.clone(), insists };
        let began = Instant::now();
        let outcome = self.target.cycle(&plan).await;
        if failures(&outcome).any(|(_, failure)| failure.class() == Class::Cancelled) {
            span.fail("cancelled", || "cancelled at shutdown".to_owned());
            return None;
        }
        traces::outcome(span, &outcome);
        let (at, took) = (self.scope.now(), began.elapsed());
        let missed_ticks = self.count(&outcome, at.wall, took);
        let target = self.target.snapshot();
        self.voice.cycle(&mut lock(&self.memory.said), &outcome, &target, missed_ticks);
        let ended = Ended { at, took, missed_ticks };
        let up = lock(&self.memory.up).tried(outcome.up, at.wall);
        let report = report(&outcome, up, ended);
        tracing::debug!(receiver = %self.source.receiver, up = ?report.up, seconds = report.duration_seconds, "polled");
        let observations = observations(outcome, &report, ended, &self.source, self.limit);
        Some((Batch::Observations(observations), report))
    }

    /// Returns the ticks that were missed since the last report.
    fn count(&self, outcome: &CycleOutcome, at: Timestamp, took: Duration) -> u64 {
        self.instruments.cycle(outcome, took.as_secs_f64());
        let mut tally = lock(&self.tally);
        tally.polled(at, took);
        tally.answered(outcome, at);
        for (tool, failure) in failures(outcome) {
            self.instruments.failed(tool, failure);
            tally.failed(tool, failure, at);
        }
        std::mem::take(&mut tally.unreported_ticks)
    }

    async fn consume(&self, batch: Batch, cancel: &CancellationToken) -> Result<(), Rejected> {
        let items = batch.items() as u64;
        let taken = tokio::select! {
            biased;
            taken = self.next.consume(batch) => taken,
            () = cancel.cancelled() => Err(ended()),
        };
        match &taken {
            Ok(()) => self.voice.accepted(&mut lock(&self.memory.said)),
            Err(rejected) => self.refused(items, rejected),
        }
        taken
    }

    /// What was polled and cannot even be offered is lost, and stands in the program's books as well.
    fn passed_over(&self, items: u64, rejected: &Rejected) {
        self.next.passed_over(Signal::Observations, items, rejected.reason);
        self.refused(items, rejected);
    }

    /// What was polled and not taken is lost: the next cycle tells the present, and nobody wants the past twice.
    fn refused(&self, items: u64, rejected: &Rejected) {
        self.instruments.lost(items, rejected.reason);
        lock(&self.tally).refused_batches += 1;
        self.voice.refused(&mut lock(&self.memory.said), rejected);
    }
}

/// Hands over in the background.
fn give(handing: impl Future<Output = Result<(), Rejected>> + Send + 'static, permit: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        let _permit = permit;
        let _ = handing.await; // counted and said there
    });
}

/// Told of observations that nobody had taken when no more was to be waited for.
fn ended() -> Rejected {
    Rejected::retryable("shutdown", "it had not taken them when the program ended")
}

/// What failed in a cycle, each once: the set-up, then the calls with their tools.
pub(super) fn failures(outcome: &CycleOutcome) -> impl Iterator<Item = (Option<&Arc<str>>, &Failure)> {
    let calls = outcome.tools.iter().filter_map(|(tool, result)| match result {
        ToolResult::Failed { failure, .. } => Some((Some(tool), failure)),
        _ => None,
    });
    outcome.setup.iter().map(|failure| (None, failure)).chain(calls)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    fn forget(&self) {
        *lock(&self.up) = Standing::default();
        *lock(&self.said) = Said::default();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.0.tally).running = false;
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("endpoint", &self.endpoint).field("tools", &self.tools).finish_non_exhaustive()
    }
}
