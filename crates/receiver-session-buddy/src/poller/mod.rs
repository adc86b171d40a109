//! Polls one Session-Buddy: [`SessionBuddyPoller`]. Inside, [`Engine`] is one cycle and what it leaves behind; [`Ticks`] says when.

mod engine;
mod instruments;
mod pause;
mod report;
mod schedule;
mod standalone;
mod status;
mod steering;
mod target;
#[cfg(test)]
mod tests;
mod traces;
mod voice;
mod wording;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use minicol_mcp::{EndpointError, PollTarget, ProxyError};
use minicol_pdata::PollReport;
use minicol_plugin::{CancellationToken, ComponentKind, IdError, Next, Scope, Ticks, net::TlsError};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::SessionBuddyConfig;
use engine::Engine;
pub use status::{LastError, PollerStatus};
pub(crate) use target::target;

/// With more pollers than this in a program, first polls are spread over the interval.
const SPREAD_ABOVE: u32 = 16;
/// How long a cycle that was cancelled may take to end.
const CANCELLED_GRACE: Duration = Duration::from_secs(1);

/// Polls one Session-Buddy at its interval and hands what it answers to the next consumer.
///
/// Dropping it cancels a poll in flight; [`SessionBuddyPoller::stop`] waits for it.
#[derive(Debug)]
pub struct SessionBuddyPoller {
    engine: Arc<Engine>,
    scope: Scope,
    interval: Duration,
    started: Mutex<Option<Started>>,
}

/// A poller that could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PollerError {
    /// The endpoint is none.
    #[error("endpoint {0}")]
    Endpoint(#[from] EndpointError),
    /// The system has no authorities that could vouch for the `https://` endpoint, or the authorization server.
    #[error(
        "https is to be spoken, but the system has no certificate authorities to trust{0}: install the package ca-certificates"
    )]
    NoAuthorities(String),
    /// TLS for it cannot be set up for another reason.
    #[error("https is to be spoken, but {0}")]
    Tls(#[source] TlsError),
    /// A proxy that cannot be used.
    #[error("{key} {error}")]
    Proxy {
        /// The key, or the environment.
        key: &'static str,
        /// Why.
        #[source]
        error: ProxyError,
    },
    /// `oauth2` without what it needs.
    #[error(
        "oauth2 needs a client_id, one of client_secret_file and private_key_file, and a token_url or issuer that is an http(s) URL"
    )]
    OAuth2,
    /// A header that no HTTP request can carry.
    #[error("headers: `{0}` has a name or a value that no HTTP request can carry")]
    Header(String),
    /// The id of a poller without a host is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// It polls already.
    #[error("the poller is running: stop it before it is started again")]
    Running,
    /// There is no tokio runtime to run in.
    #[error("the poller can be started within a tokio runtime only")]
    NoRuntime,
    /// The next consumer did not take what a single poll brought.
    #[error("the observations of the poll were refused: {0}")]
    Refused(String),
    /// A single poll was cancelled before it ended.
    #[error("the poll was cancelled")]
    Cancelled,
}

/// How a poller stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was not running.
    NotRunning,
    /// What was in flight has ended.
    Finished,
    /// What was in flight had not ended by the deadline, and was cancelled.
    Cancelled,
}

#[derive(Debug)]
struct Started {
    task: JoinHandle<()>,
    signals: Signals,
}

/// How a running poller is told to end.
#[derive(Clone, Debug)]
struct Signals {
    /// Begin no new cycle.
    stopping: CancellationToken,
    /// Drop what is in flight.
    abandoned: CancellationToken,
}

impl SessionBuddyPoller {
    /// A poller that hands its observations to `next`. Everything from outside (clocks, connections, status, metrics) comes from `scope`;
    /// what it learns of the server is kept in the scope's state.
    pub fn new(config: &SessionBuddyConfig, next: Next, scope: Scope) -> Result<Self, PollerError> {
        let target = target::target(config, &scope)?;
        Self::with_target(config, target, next, scope)
    }

    /// A poller without a host: on this machine's clocks and network, telling what changes through `tracing`. `id` is `type` or
    /// `type/name`, as a pipeline file would name the receiver: it tells two pollers of one server apart.
    pub fn standalone(id: &str, config: &SessionBuddyConfig, next: Next) -> Result<Self, PollerError> {
        Self::new(config, next, standalone::scope(id.parse()?))
    }

    /// The same for something else than an MCP server.
    fn with_target(
        config: &SessionBuddyConfig,
        target: Arc<dyn PollTarget>,
        next: Next,
        scope: Scope,
    ) -> Result<Self, PollerError> {
        let engine = Arc::new(Engine::new(config, target, next, scope.clone())?);
        let shown = Arc::downgrade(&engine);
        scope.show(move || {
            let status = shown.upgrade().map(|engine| engine.status());
            serde_json::to_value(status).unwrap_or_default()
        });
        scope.offer(steering::Steering::of(&engine, config.interval()));
        Ok(Self { engine, scope, interval: config.interval(), started: Mutex::new(None) })
    }

    /// Begins to poll: at once, then at every interval from there.
    pub fn start(&self) -> Result<(), PollerError> {
        let runtime = Handle::try_current().map_err(|_| PollerError::NoRuntime)?;
        let mut started = self.started();
        if started.as_ref().is_some_and(|started| !started.task.is_finished()) {
            return Err(PollerError::Running);
        }
        let signals = Signals {
            stopping: self.scope.stopping_token().child_token(),
            abandoned: self.scope.abandoned_token().child_token(),
        };
        let task = runtime.spawn(run(
            Arc::clone(&self.engine),
            self.interval,
            first_offset(&self.scope, self.interval),
            signals.clone(),
        ));
        *started = Some(Started { task, signals });
        Ok(())
    }

    /// Stops polling. A cycle in flight is waited for up to `deadline`, then cancelled. The session with the server is ended.
    pub async fn stop(&self, deadline: Duration) -> Stopped {
        let Some(Started { mut task, signals }) = self.started().take() else { return Stopped::NotRunning };
        signals.stopping.cancel();
        if timeout(deadline, &mut task).await.is_ok() {
            return Stopped::Finished;
        }
        signals.abandoned.cancel();
        if timeout(CANCELLED_GRACE, &mut task).await.is_err() {
            task.abort();
        }
        Stopped::Cancelled
    }

    /// Runs exactly one cycle now, whether the poller runs or not, and hands over what it brought; a cycle in flight is waited for. The
    /// session with the server is kept: [`SessionBuddyPoller::close`] ends it.
    pub async fn poll_once(&self) -> Result<PollReport, PollerError> {
        self.engine.once(self.interval, self.scope.abandoned_token()).await
    }

    /// How it is.
    pub fn get_status(&self) -> PollerStatus {
        self.engine.status()
    }

    /// Ends the session with the server. The next cycle makes a new one.
    pub async fn close(&self) {
        self.engine.close(self.scope.abandoned_token()).await;
    }

    /// Polls until the scope is told to stop: what the receiver does.
    pub(crate) async fn run(&self) {
        let signals =
            Signals { stopping: self.scope.stopping_token().clone(), abandoned: self.scope.abandoned_token().clone() };
        run(Arc::clone(&self.engine), self.interval, first_offset(&self.scope, self.interval), signals).await;
    }

    fn started(&self) -> MutexGuard<'_, Option<Started>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SessionBuddyPoller {
    fn drop(&mut self) {
        if let Some(started) = self.started().take() {
            started.signals.stopping.cancel();
            started.signals.abandoned.cancel();
        }
    }
}

/// Polls until it is told to stop, then lets what is in flight end. Of a receiver's instances one polls at a time, and the next goes on where the one
/// before was.
async fn run(engine: Arc<Engine>, interval: Duration, offset: Duration, signals: Signals) {
    let schedule = engine.schedule();
    let _turn = tokio::select! {
        biased;
        () = signals.stopping.cancelled() => return,
        turn = schedule.turn() => turn,
    };
    let _running = engine.running();
    engine.take_over();
    let first = schedule.next(interval).unwrap_or_else(|| Instant::now() + offset);
    let mut ticks = Ticks::new(first, interval);
    loop {
        tokio::select! {
            biased;
            () = signals.stopping.cancelled() => break,
            () = sleep_until(ticks.next()) => {}
        }
        engine.cycle(ticks.take(Instant::now()), &signals.abandoned).await;
    }
    engine.delivered(&signals.abandoned).await;
    if engine.is_replaced() {
        schedule.leave(ticks.next(), interval);
    } else {
        engine.close(&signals.abandoned).await;
        engine.leave();
    }
}

/// How long after the start the first poll is: at once, but where there are many pollers each has its own place in the interval, so that
/// they do not all poll at the same moment for ever.
fn first_offset(scope: &Scope, interval: Duration) -> Duration {
    let place = scope.host().place(ComponentKind::Receiver, scope.id());
    match place.map(|(place, count)| (u32::try_from(place), u32::try_from(count))) {
        Some((Ok(place), Ok(count))) if count > SPREAD_ABOVE => interval / count * place,
        _ => Duration::ZERO,
    }
}
