//! The policies around a call, as one tower stack per target. From the outside in: the cycle's end, the tool's circuit breaker, its own way
//! of asking, retries, the session, the time of one attempt, the call. Each layer boxes the one below: without that their futures nest to a
//! size that a thread's stack does not hold.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt, retry::RetryLayer, service_fn, util::BoxCloneSyncService};

use crate::{
    Answer, Ask, CallTool, Cause, Failure, Step,
    breaker::{Admission, Verdict},
    cycle::Cycle,
    document::{document, says_unknown_tool},
    engine::{Engine, Over},
    retry::Retries,
    session::Session,
};

/// One call of one tool in one cycle.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) tool: Arc<str>,
    pub(crate) arguments: Map<String, Value>,
    /// The time of one attempt.
    pub(crate) timeout: Duration,
    pub(crate) ask: Option<Arc<dyn Ask>>,
    pub(crate) cycle: Arc<Cycle>,
    /// Set by the breaker: no retries.
    pub(crate) probe: bool,
    /// Set by the session layer.
    pub(crate) session: Option<Arc<Session>>,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Its breaker is open.
    BreakerOpen,
    Failed(Failure),
}

/// The whole stack.
pub(crate) type Stack = BoxCloneSyncService<Call, Answer, Stopped>;

pub(crate) fn build(core: &Arc<Engine>) -> Stack {
    let [breaker, sessions, attempts, calls] = [(); 4].map(|()| Arc::clone(core));
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .layer_fn(|inner| service_fn(move |call| within_cycle(call, Clone::clone(&inner))))
            .layer_fn(move |inner| {
                let core = Arc::clone(&breaker);
                service_fn(move |call| behind_breaker(Arc::clone(&core), call, Clone::clone(&inner)))
            })
            .layer_fn(|inner| service_fn(move |call| asked(call, Clone::clone(&inner))))
            .layer(RetryLayer::new(Retries::new(&core.settings, &core.random)))
            .layer_fn(move |inner| {
                let core = Arc::clone(&sessions);
                service_fn(move |call| on_a_session(Arc::clone(&core), call, Clone::clone(&inner)))
            })
            .layer_fn(move |inner| {
                let core = Arc::clone(&attempts);
                service_fn(move |call| one_attempt(Arc::clone(&core), call, Clone::clone(&inner)))
            })
            .service(service_fn(move |call| called(Arc::clone(&calls), call))),
    )
}

/// A layer below the breaker.
trait Inner<E>: Service<Call, Response = Answer, Error = E, Future: Send> + Clone + Send + Sync + 'static {}
impl<E, S: Service<Call, Response = Answer, Error = E, Future: Send> + Clone + Send + Sync + 'static> Inner<E> for S {}

/// Cuts the call at the cycle's end. What is cut counts, by the guard of [`behind_breaker`].
async fn within_cycle(call: Call, inner: impl Inner<Stopped>) -> Result<Answer, Stopped> {
    let Call { cycle, tool, .. } = call.clone();
    let work = async { Ok(Box::pin(inner.oneshot(call)).await) };
    cycle
        .bounded(work, |cause| cause.at(&cycle.target, &Step::Call(tool)))
        .await
        .unwrap_or_else(|failure| Err(Stopped::Failed(failure)))
}

/// Lets the call through where the tool's breaker does, and tells the breaker how it ended.
async fn behind_breaker(core: Arc<Engine>, mut call: Call, inner: impl Inner<Failure>) -> Result<Answer, Stopped> {
    let mut permit = {
        let mut known = core.state.lock();
        match known.breakers.admission(&call.tool, call.cycle.tick, core.breaker_rules()) {
            Admission::Refused => return Err(Stopped::BreakerOpen),
            Admission::Probe => {
                call.probe = true;
                known.breakers.begin_probe(&call.tool);
            }
            Admission::Call => {}
        }
        Permit { core: &core, tool: Arc::clone(&call.tool), cycle: Arc::clone(&call.cycle), verdict: None }
    };
    let (tool, started) = (Arc::clone(&call.tool), Instant::now());
    let result = Box::pin(inner.oneshot(call)).await;
    permit.verdict = Some(match &result {
        Ok(_) => Verdict::Success,
        Err(failure) if failure.class().policy().counts_for_breaker => Verdict::Failure,
        Err(_) => Verdict::Neither,
    });
    drop(permit);
    // What a set-up within the call met stands for the whole target already.
    if result.as_ref().err().is_none_or(|failure| failure.tool().is_some()) {
        core.state.lock().rests.called(&tool, result.as_ref().err());
    }
    result.map(|answer| Answer { took: started.elapsed(), ..answer }).map_err(Stopped::Failed)
}

/// Asks in the tool's own way, or calls it once.
async fn asked(call: Call, inner: impl Inner<Failure>) -> Result<Answer, Failure> {
    let Some(way) = call.ask.clone() else { return Box::pin(inner.oneshot(call)).await };
    let (tool, arguments) = (Arc::clone(&call.tool), call.arguments.clone());
    way.ask(&tool, arguments, &Caller { call, inner }).await
}

/// Gives the call its session. A lost one is made anew once per cycle, and the call repeated on it; not for a tool that a new one did not help before.
async fn on_a_session(core: Arc<Engine>, mut call: Call, inner: impl Inner<Failure>) -> Result<Answer, Failure> {
    let tool = Arc::clone(&call.tool);
    let session = core.session_of(&call.cycle)?;
    call.session = Some(Arc::clone(&session));
    let failure = match Box::pin(inner.clone().oneshot(call.clone())).await {
        Err(failure) if matches!(failure.cause(), Cause::SessionLost(_)) => failure,
        result => {
            if result.is_ok() {
                core.state.lock().beyond_help.remove(&tool);
            }
            return result;
        }
    };
    let is_forgotten = session.has_id() && failure.cause().is_forgotten_session();
    if !is_forgotten && core.state.lock().beyond_help.contains(&tool) {
        return Err(failure.without_session());
    }
    let remade = Box::pin(core.remake_session(&call.cycle, &session, failure.cause())).await?;
    let failure = failure.without_session();
    let Some(session) = remade else { return Err(failure) };
    if !core.state.lock().offers(&tool) {
        return Err(Cause::NotOffered.at(&core.settings.name, &Step::Call(tool)));
    }
    call.session = Some(session);
    let result = Box::pin(inner.oneshot(call)).await.map_err(Failure::without_session);
    if result.as_ref().is_err_and(|again| again.cause() == failure.cause()) {
        core.state.lock().beyond_help.insert(tool);
    }
    result
}

/// Bounds one attempt, and measures it.
async fn one_attempt(core: Arc<Engine>, call: Call, inner: impl Inner<Cause>) -> Result<Answer, Failure> {
    let Call { tool, timeout, cycle, session, .. } = call.clone();
    let over = Over::Session(session.as_deref());
    let result = core.attempt(&cycle, &Step::Call(tool), timeout, over, Box::pin(inner.oneshot(call))).await;
    if result.as_ref().is_err_and(|failure| says_unknown_tool(failure.cause())) {
        cycle.doubt_list();
    }
    result
}

/// Calls the tool, with the arguments that it declares.
async fn called(core: Arc<Engine>, call: Call) -> Result<Answer, Cause> {
    let session = call.session.ok_or(Cause::Cancelled)?;
    let catalog = core.state.lock().catalog.clone();
    let (arguments, heads) = match catalog {
        Some(catalog) => {
            let arguments = catalog.split(&call.tool, &call.arguments).0;
            let heads = if session.initialized { Vec::new() } else { catalog.heads(&call.tool, &arguments)? };
            (arguments, heads)
        }
        None => (call.arguments, Vec::new()),
    };
    let started = Instant::now();
    let result = session.call_tool(&call.tool, arguments.clone(), heads).await?;
    let arrival = core.clock.now();
    Ok(Answer { document: document(result)?, arguments, arrival, took: started.elapsed() })
}

/// A call that has been let through. Where it is dropped undecided, the cycle's end cut it, or the shutdown did.
struct Permit<'a> {
    core: &'a Engine,
    tool: Arc<str>,
    cycle: Arc<Cycle>,
    verdict: Option<Verdict>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let verdict = self
            .verdict
            .unwrap_or_else(|| if Instant::now() >= self.cycle.deadline { Verdict::Failure } else { Verdict::Neither });
        let rules = self.core.breaker_rules();
        self.core.state.lock().breakers.settle(&self.tool, verdict, self.cycle.tick, rules);
    }
}

/// Calls the tool of `call` for an [`Ask`].
struct Caller<S> {
    call: Call,
    inner: S,
}

#[async_trait]
impl<S: Inner<Failure>> CallTool for Caller<S> {
    async fn call(&self, arguments: Map<String, Value>) -> Result<Answer, Failure> {
        self.inner.clone().oneshot(Call { arguments, ..self.call.clone() }).await
    }
}
