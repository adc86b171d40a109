//! What a target does below its policies: sessions, the list of tools, one attempt of one request.

use std::{future::Future, sync::Arc, time::Duration};

use minicol_plugin::{Clock, Random, trace::Span};
use tokio::time::Instant;

use crate::{
    Cause, Failure, Step, TargetSettings, TargetState,
    breaker::BreakerRules,
    catalog::Listing,
    cycle::Cycle,
    retry::Retries,
    session::Session,
    telemetry::{Operations, failed},
    transport::{Handshake, Link, Server},
};

/// How long a server is waited for that does not answer whether it speaks without sessions, at most.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What an attempt goes over, and so what its spans are.
#[derive(Clone, Copy)]
pub(crate) enum Over<'a> {
    /// A session: the attempt is one request, and has one span.
    Session(Option<&'a Session>),
    /// None yet: the messages that make one have a span each.
    Handshake(&'a Handshake<'a>),
}

/// One MCP server, without policies.
pub(crate) struct Engine {
    pub(crate) settings: TargetSettings,
    pub(crate) server: Arc<Server>,
    pub(crate) state: Arc<TargetState>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) operations: Operations,
}

impl Engine {
    pub(crate) fn breaker_rules(&self) -> BreakerRules {
        BreakerRules { threshold: self.settings.breaker_threshold.max(1), cooldown: self.settings.breaker_cooldown }
    }

    /// Makes sure of a session and a list of tools, with the cycle's retries, within the cycle.
    pub(crate) async fn set_up(&self, cycle: &Cycle) -> Result<Arc<Session>, Failure> {
        let mut retries = Retries::new(&self.settings, &self.random);
        let work = async {
            loop {
                let failure = match Box::pin(self.set_up_once(cycle)).await {
                    Ok(session) => return Ok(session),
                    Err(failure) => failure,
                };
                let wait = if cycle.retries_set_up { retries.next(&failure, cycle.deadline) } else { None };
                match wait {
                    Some(wait) => wait.await,
                    None => return Err(failure),
                }
            }
        };
        let step = || match self.held_session() {
            None => Step::Initialize,
            Some(session) if self.pings(&session, cycle) => Step::Ping,
            Some(_) => Step::ListTools,
        };
        let result = cycle.bounded(work, |cause| cause.at(&self.settings.name, &step())).await;
        self.state.lock().rests.set_up(result.as_ref().err());
        match &result {
            Ok(session) => cycle.use_session(session),
            Err(failure) => cycle.note_set_up_failure(failure),
        }
        result
    }

    /// The session that the cycle's set-up made sure of.
    pub(crate) fn session_of(&self, cycle: &Cycle) -> Result<Arc<Session>, Failure> {
        cycle.session().ok_or_else(|| Cause::Cancelled.at(&self.settings.name, &Step::Initialize))
    }

    /// Makes the session anew after `lost` was lost: one flight for all tools, once per cycle; `None` where that has been.
    pub(crate) async fn remake_session(
        &self,
        cycle: &Cycle,
        lost: &Session,
        why: &Cause,
    ) -> Result<Option<Arc<Session>>, Failure> {
        let mut remade = cycle.remade.lock().await;
        if let Some(made) = &*remade {
            let session = made.clone()?;
            return Ok((session.number != lost.number).then_some(session));
        }
        self.let_go(lost, why);
        if !cycle.take_remake() {
            return Ok(None);
        }
        let made = self.set_up(cycle).await;
        *remade = Some(made.clone());
        made.map(Some)
    }

    /// Asks for all pages of the tools, and remembers them.
    pub(crate) async fn list_tools(&self, session: &Session, cycle: &Cycle) -> Result<(), Failure> {
        let mut listing = Listing::default();
        let mut cursor = None;
        loop {
            let asked = Box::pin(session.list_tools(cursor));
            let over = Over::Session(Some(session));
            let page = self.attempt(cycle, &Step::ListTools, self.settings.timeout, over, asked).await?;
            cursor = listing.page(&page).map_err(|cause| cause.at(&self.settings.name, &Step::ListTools))?;
            if cursor.is_none() {
                break;
            }
        }
        let mut known = self.state.lock();
        known.catalog = Some(Arc::new(listing.finish(session.number, cycle.tick)));
        known.stale = false;
        Ok(())
    }

    /// One attempt of one request: bounded, measured, traced, and told by its place.
    pub(crate) async fn attempt<T>(
        &self,
        cycle: &Cycle,
        step: &Step,
        limit: Duration,
        over: Over<'_>,
        work: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Failure> {
        let span = match over {
            Over::Session(session) => self.operations.span_of_step(step, session),
            Over::Handshake(_) => Span::default(),
        };
        let work = span.around(work);
        let mut measured = Measured { core: self, cycle, step, over, span, started: Instant::now(), done: None };
        let result = tokio::time::timeout(limit, work).await.unwrap_or(Err(Cause::TimedOut(limit)));
        let result = result.map_err(|cause| match over {
            Over::Session(Some(session)) if !session.has_id() && cycle.found(session) => cause.of_another_kind(),
            _ => cause,
        });
        if result.as_ref().err().is_none_or(Cause::is_mcp) {
            cycle.heard();
        }
        if let Err(cause) = &result {
            measured.failed(cause);
        }
        measured.done = Some(result.as_ref().map(drop).map_err(Cause::clone));
        drop(measured);
        result.map_err(|cause| cause.at(&self.settings.name, step))
    }

    /// A session that can be used, where one is held.
    pub(crate) fn held_session(&self) -> Option<Arc<Session>> {
        self.state.lock().session.clone().filter(|session| !session.is_closed())
    }

    async fn set_up_once(&self, cycle: &Cycle) -> Result<Arc<Session>, Failure> {
        let session = match self.held_session() {
            Some(session) => session,
            None => self.connect(cycle).await?,
        };
        let failure = match self.list_or_ping(&session, cycle).await {
            Ok(()) => return Ok(session),
            Err(failure) => failure,
        };
        if !matches!(failure.cause(), Cause::SessionLost(_)) {
            return Err(failure);
        }
        self.let_go(&session, failure.cause());
        if !cycle.take_remake() {
            return Err(failure.without_session());
        }
        let session = self.connect(cycle).await?;
        self.list_or_ping(&session, cycle).await.map_err(Failure::without_session)?;
        Ok(session)
    }

    async fn connect(&self, cycle: &Cycle) -> Result<Arc<Session>, Failure> {
        let handshake = Handshake::new(&self.operations);
        let (number, probe) = {
            let mut known = self.state.lock();
            (known.next_session_number(), known.probe_is_due(cycle.tick, &self.settings))
        };
        let probe_timeout = probe.then(|| PROBE_TIMEOUT.min(self.settings.timeout / 3));
        let made = Box::pin(Session::connect(Link::new(&self.server), &handshake, number, probe_timeout));
        let made =
            self.attempt(cycle, &Step::Initialize, self.settings.timeout, Over::Handshake(&handshake), made).await;
        let made = made.map_err(Failure::without_session).inspect_err(|failure| {
            // It is there, and does not want to be initialized: it may be another by now.
            if !probe && failure.cause().is_reply() {
                self.state.lock().forget_kind();
            }
        });
        let session = Arc::new(made?);
        cycle.made_session(&session);
        self.state.lock().keep_session(&session, probe.then_some(cycle.tick));
        Ok(session)
    }

    /// Lists the tools where that is due. Where it is not, and none will be called either, a ping tells whether the target is there; servers without
    /// sessions know none, and are asked for the list.
    async fn list_or_ping(&self, session: &Session, cycle: &Cycle) -> Result<(), Failure> {
        if self.pings(session, cycle) {
            let asked = Box::pin(session.ping());
            let over = Over::Session(Some(session));
            return self.attempt(cycle, &Step::Ping, self.settings.timeout, over, asked).await;
        }
        if !cycle.calls_tools || self.list_is_due(session, cycle) {
            return self.list_tools(session, cycle).await;
        }
        Ok(())
    }

    fn pings(&self, session: &Session, cycle: &Cycle) -> bool {
        session.initialized && !cycle.calls_tools && !self.list_is_due(session, cycle)
    }

    fn list_is_due(&self, session: &Session, cycle: &Cycle) -> bool {
        self.state.lock().list_is_due(session.number, cycle.tick, &self.settings)
    }

    /// A session that the server may still know is ended politely.
    fn let_go(&self, lost: &Session, why: &Cause) {
        if why.is_forgotten_session() {
            lost.mark_lost();
        }
        let mut known = self.state.lock();
        known.drop_session(lost.number);
        if !lost.has_id() {
            known.forget_kind();
        }
    }
}

/// An attempt that is measured also where it is cut.
struct Measured<'a> {
    core: &'a Engine,
    cycle: &'a Cycle,
    step: &'a Step,
    over: Over<'a>,
    span: Span,
    started: Instant,
    done: Option<Result<(), Cause>>,
}

impl Measured<'_> {
    fn failed(&self, cause: &Cause) {
        match self.over {
            Over::Session(_) => failed(&self.span, cause),
            Over::Handshake(handshake) => handshake.ended(Err(cause)),
        }
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let done = self.done.take().unwrap_or_else(|| {
            let cause = if self.cycle.cancel.is_cancelled() { Cause::Cancelled } else { Cause::CutAtCycleEnd };
            self.failed(&cause);
            Err(cause)
        });
        let version = match self.over {
            Over::Session(session) => session.map(|session| session.protocol_version.as_str()),
            // It measures each of its messages.
            Over::Handshake(handshake) if handshake.began() => return,
            Over::Handshake(_) => None,
        };
        self.core.operations.record(self.step, self.started.elapsed(), done.as_ref().err(), version);
    }
}
