//! What a cycle is asked for and what it brought: the types between a receiver and a target.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use minicol_pdata::Arrival;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Failure, TargetSnapshot};

/// Something that is asked in cycles. [`Target`](crate::Target) is the one for MCP servers; a test puts its own in its place.
#[async_trait]
pub trait PollTarget: Send + Sync {
    /// Asks for everything in `plan` once. Ends at the plan's deadline at the latest, and never panics.
    async fn cycle(&self, plan: &CyclePlan) -> CycleOutcome;

    /// Ends the session, politely where the server answers soon. The next cycle would make a new one.
    async fn close(&self);

    /// Closes the circuit breaker of `tool`, as its next answer would; false where it is closed, or there is none.
    fn close_breaker(&self, tool: &str) -> bool;

    /// What is known of the target now.
    fn snapshot(&self) -> TargetSnapshot;
}

/// What one cycle shall ask for.
#[derive(Clone, Debug)]
pub struct CyclePlan {
    /// The moment the cycle belongs to, on the poller's grid: cooldowns count from it. Not the moment the cycle happened to begin.
    pub tick: Instant,
    /// When the cycle is cut: the next tick.
    pub deadline: Instant,
    /// The tools, each once.
    pub tools: Vec<ToolPlan>,
    /// Cancelled when the cycle shall drop what is in flight.
    pub cancel: CancellationToken,
    /// Whether somebody wants it now: what a server asked to be left alone with is asked all the same.
    pub insists: bool,
}

/// One tool that is wanted.
#[derive(Clone)]
pub struct ToolPlan {
    /// The name as configured: used as written where the server offers that or it begins with `get_`, else with `get_` before it.
    pub name: Arc<str>,
    /// The arguments. Those that the tool's input schema does not declare are not sent.
    pub arguments: Map<String, Value>,
    /// The time of one attempt; `None` takes the target's.
    pub timeout: Option<Duration>,
    /// A way of asking that is this tool's own; `None` calls it once.
    pub ask: Option<Arc<dyn Ask>>,
}

/// A tool's own way of being asked, such as with several calls. It stands inside the circuit breaker and outside retry and timeout: each
/// of its calls has its own attempts, and only its final result counts.
#[async_trait]
pub trait Ask: Send + Sync {
    /// Asks `tool` with `arguments`, those of the plan that the tool declares. `call` calls it once, with its retries.
    async fn ask(&self, tool: &str, arguments: Map<String, Value>, call: &dyn CallTool) -> Result<Answer, Failure>;
}

/// Calls one tool.
#[async_trait]
pub trait CallTool: Send + Sync {
    /// Calls the tool with `arguments`, with the retries that its failure table allows.
    async fn call(&self, arguments: Map<String, Value>) -> Result<Answer, Failure>;
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The document.
    pub document: Value,
    /// The arguments that were sent.
    pub arguments: Map<String, Value>,
    /// When the answer had arrived, whole.
    pub arrival: Arrival,
    /// How long it took, retries included.
    pub took: Duration,
}

/// What one cycle brought.
#[derive(Clone, Debug, Default)]
pub struct CycleOutcome {
    /// True where the target spoke valid MCP in this cycle (tool errors included), false where it was tried and did not, `None` where
    /// nothing was tried.
    pub up: Option<bool>,
    /// Why the set-up (connect, initialize, tools/list; a ping where no wanted tool is offered) failed in the end, where it did.
    pub setup: Option<Failure>,
    /// What became of each tool of the plan, by its resolved name, in the plan's order. Two that resolve to one name are asked once.
    pub tools: Vec<(Arc<str>, ToolResult)>,
    /// What the server offers, sorted; `None` while no list is known.
    pub offered: Option<Arc<[Arc<str>]>>,
    /// Wanted tools that the server does not offer, in the plan's order.
    pub missing: Vec<Arc<str>>,
    /// Arguments that were not sent because the tool's input schema does not declare them.
    pub undeclared: Vec<Undeclared>,
}

/// What became of one wanted tool in one cycle.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolResult {
    /// It answered.
    Answered(Answer),
    /// The server does not offer it.
    NotOffered,
    /// It was called, and no document came.
    Failed {
        /// Why.
        failure: Failure,
        /// How long it took, retries included.
        took: Duration,
    },
    /// It was not called, because the set-up failed: see [`CycleOutcome::setup`].
    SetupFailed,
    /// It was not called: its circuit breaker is open and not due.
    BreakerOpen,
    /// It was not called: the server asked to be left alone for longer than until this cycle (`Retry-After`).
    Resting {
        /// What the server said, in an earlier cycle.
        failure: Failure,
        /// How much of its time is left.
        left: Duration,
    },
}

/// Arguments of one tool that were not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undeclared {
    /// The tool.
    pub tool: Arc<str>,
    /// The names of the arguments.
    pub arguments: Vec<String>,
}

impl ToolPlan {
    /// The tool `name`, called once, without arguments, within the target's time.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), arguments: Map::new(), timeout: None, ask: None }
    }
}

impl fmt::Debug for ToolPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolPlan")
            .field("name", &self.name)
            .field("arguments", &self.arguments)
            .field("timeout", &self.timeout)
            .field("ask", &self.ask.is_some())
            .finish()
    }
}
