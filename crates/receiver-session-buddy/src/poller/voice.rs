//! What is said, once per change of what it is about.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use minicol_mcp::{BreakerState, Class, CycleOutcome, Failure, TargetSnapshot, ToolResult, Undeclared};
use minicol_plugin::{Level, Rejected, Scope, Status, text::foreign};
use tokio::time::Instant;

use super::{report, wording};
use crate::{ToolTable, analytics::Coverage};

/// Tells the host's stream what changed since the last cycle.
#[derive(Debug)]
pub(crate) struct Voice {
    scope: Scope,
    endpoint: String,
    /// What is configured per tool, and the limit of `get_session_analytics`.
    tools: ToolTable,
    limit: Option<u64>,
}

/// What was said last. It outlives the receiver's instances, as long as they poll the same target.
#[derive(Debug, Default)]
pub(crate) struct Said {
    status: Option<Standing>,
    /// Tools whose last call failed, why in `error.type`'s words, and the failure.
    failing: BTreeMap<Arc<str>, Failure>,
    missing: Vec<Arc<str>>,
    undeclared: BTreeMap<Arc<str>, Vec<String>>,
    open: Vec<Arc<str>>,
    /// Of these, those of which it was told that a probe failed.
    probed: Vec<Arc<str>>,
    sessions: Sessions,
    missed: bool,
    refusals: Refusals,
}

impl Said {
    /// The breaker of a tool was closed by hand: that is told where it was asked for.
    pub(crate) fn breaker_closed(&mut self, tool: &str) {
        self.open.retain(|open| &**open != tool);
    }
}

/// How the target was said to be.
#[derive(Clone, Debug)]
struct Standing {
    status: Status,
    level: Level,
    /// What makes it another one, though the status is the same.
    key: String,
    message: String,
}

/// Batches that the next component did not take.
#[derive(Debug, Default)]
struct Refusals {
    /// Cycles that were lost and that no notice has told of yet.
    lost: u64,
    /// True from a told refusal to the batch that is taken.
    told: bool,
    /// When the last one that was told began.
    last: Option<Instant>,
}

/// A queue that is full gives room now and then: what comes and goes is told no more often than this.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(60);

/// Whether `get_session_analytics` answers with every session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sessions {
    #[default]
    All,
    /// The search lowered the limit.
    Lowered,
    /// The configured limit, or the server's own, leaves some out.
    Cut,
}

impl Voice {
    pub(crate) fn new(scope: Scope, endpoint: String, tools: ToolTable, limit: Option<u64>) -> Self {
        Self { scope, endpoint, tools, limit }
    }

    /// A cycle has ended; `target` is as it is after it.
    pub(crate) fn cycle(&self, said: &mut Said, outcome: &CycleOutcome, target: &TargetSnapshot, missed_ticks: u64) {
        self.missed(said, missed_ticks);
        self.missing(said, outcome);
        self.undeclared(said, outcome);
        self.sessions(said, outcome);
        self.status(said, outcome);
        self.breakers(said, outcome, target);
    }

    /// The next component refused a batch.
    pub(crate) fn refused(&self, said: &mut Said, rejected: &Rejected) {
        let refusals = &mut said.refusals;
        refusals.lost += 1;
        let now = Instant::now();
        if refusals.told || refusals.last.is_some_and(|last| now.duration_since(last) < BETWEEN_REFUSALS) {
            return;
        }
        (refusals.told, refusals.last) = (true, Some(now));
        let (why, cycles) = (foreign(&rejected.message), wording::cycles(refusals.lost));
        let message =
            format!("the next component refused the observations of {cycles}: {why}; they are lost, polling goes on");
        self.scope.notice(Level::Warn, "batch_refused", message);
    }

    /// The next component took a batch.
    pub(crate) fn accepted(&self, said: &mut Said) {
        let refusals = &mut said.refusals;
        if !std::mem::take(&mut refusals.told) {
            return;
        }
        let cycles = wording::cycles(std::mem::take(&mut refusals.lost));
        let message = format!("the next component takes observations again; those of {cycles} were lost");
        self.scope.notice(Level::Info, "batch_accepted", message);
    }

    fn missed(&self, said: &mut Said, ticks: u64) {
        if ticks > 0 && !said.missed {
            let polls = if ticks == 1 { "1 poll was".to_owned() } else { format!("{ticks} polls were") };
            let message = format!("{polls} missed: the program was suspended or had no time to run");
            self.scope.notice(Level::Warn, "ticks_missed", message);
        }
        said.missed = ticks > 0;
    }

    fn missing(&self, said: &mut Said, outcome: &CycleOutcome) {
        let Some(offered) = outcome.offered.as_deref().filter(|_| outcome.missing != said.missing) else { return };
        if outcome.missing.is_empty() {
            let message = format!("{} now offers every tool that is wanted", self.endpoint);
            self.scope.notice(Level::Info, "tools_offered", message);
        } else if let Some(level) = Class::NotOffered.policy().level {
            let message = wording::not_offered(&self.endpoint, &outcome.missing, offered);
            self.scope.notice(level, "tools_not_offered", message);
        }
        said.missing.clone_from(&outcome.missing);
    }

    fn undeclared(&self, said: &mut Said, outcome: &CycleOutcome) {
        for Undeclared { tool, arguments } in &outcome.undeclared {
            if said.undeclared.get(tool) == Some(arguments) {
                continue;
            }
            // That a server does not know the built-in arguments is nothing the user did.
            let level = if self.tools.has_built_in_arguments(tool) { Level::Info } else { Level::Warn };
            self.scope.notice(level, "arguments_not_sent", wording::undeclared(&self.endpoint, tool, arguments));
            said.undeclared.insert(Arc::clone(tool), arguments.clone());
        }
        let answered = outcome.tools.iter().filter(|(_, result)| matches!(result, ToolResult::Answered(_)));
        for (tool, _) in answered {
            if !outcome.undeclared.iter().any(|one| one.tool == *tool) {
                said.undeclared.remove(tool);
            }
        }
    }

    fn sessions(&self, said: &mut Said, outcome: &CycleOutcome) {
        let answers = outcome.tools.iter().filter_map(|(tool, result)| match result {
            ToolResult::Answered(answer) => Some((tool, answer, report::coverage(tool, answer)?)),
            _ => None,
        });
        for (tool, answer, coverage) in answers {
            let Coverage { returned, total } = coverage;
            let now = if returned >= total {
                Sessions::All
            } else if report::cut(tool, answer, self.limit).is_some() {
                Sessions::Cut
            } else {
                Sessions::Lowered
            };
            if now == std::mem::replace(&mut said.sessions, now) {
                continue;
            }
            match now {
                Sessions::All => {}
                Sessions::Lowered => {
                    self.scope.notice(
                        Level::Info,
                        "answer_cut",
                        wording::lowered(&self.endpoint, tool, returned, total),
                    );
                }
                Sessions::Cut => {
                    self.scope.notice(Level::Warn, "answer_cut", wording::cut(&self.endpoint, tool, returned, total));
                }
            }
        }
    }

    /// A set-up that failed goes before tools that fail, and those before everything being well. A cycle that tried nothing changes nothing.
    fn status(&self, said: &mut Said, outcome: &CycleOutcome) {
        if outcome.up.is_none() && outcome.setup.is_none() {
            return;
        }
        said.failing.retain(|tool, _| outcome.tools.iter().any(|(wanted, _)| wanted == tool));
        for (tool, result) in &outcome.tools {
            match result {
                ToolResult::Answered(_) | ToolResult::NotOffered => drop(said.failing.remove(tool)),
                ToolResult::Failed { failure, .. } if failure.class().policy().status.is_some() => {
                    said.failing.insert(Arc::clone(tool), failure.clone());
                }
                _ => {}
            }
        }
        let setup = outcome.setup.as_ref();
        let now = if let Some((failure, how)) = setup.and_then(|f| Some((f, status_and_level(f.class())?))) {
            Some((how, format!("{}/{}", failure.step(), failure.error_type()), failure.to_string()))
        } else if let Some(worst) = said.failing.values().filter_map(|f| status_and_level(f.class())).max() {
            let key: Vec<_> = said.failing.iter().map(|(tool, f)| format!("{tool}/{}", f.error_type())).collect();
            Some((worst, key.join(" "), wording::failing(&self.endpoint, &said.failing, outcome.tools.len())))
        } else if outcome.up == Some(true) {
            let before = said.status.as_ref().map(|standing| standing.status);
            let again = if matches!(before, Some(Status::Ok) | None) { "" } else { " again" };
            Some(((Status::Ok, Status::Ok.level()), String::new(), format!("{} answers{again}", self.endpoint)))
        } else {
            None // nothing was tried, or nothing that says how the target is
        };
        if let Some(((status, level), key, message)) = now
            && said.status.as_ref().is_none_or(|before| (before.status, &before.key) != (status, &key))
        {
            self.scope.report_as(status, level, message.clone());
            said.status = Some(Standing { status, level, key, message });
        }
    }

    /// Nobody is asked until it is resumed.
    pub(crate) fn paused(&self) {
        self.scope.report(Status::Paused, format!("{} is not asked until it is resumed", self.endpoint));
    }

    /// As it was before the pause, until the next cycle tells how it is.
    pub(crate) fn resumed(&self, said: &Said) {
        if said.status.is_none() {
            self.scope.report(Status::Starting, "");
        }
        self.stands(said);
    }

    /// As it was said to be by the instance before, whose last cycle may have ended when that one was not heard any more.
    pub(crate) fn stands(&self, said: &Said) {
        if let Some(Standing { status, level, message, .. }) = said.status.clone() {
            self.scope.report_as(status, level, message);
        }
    }

    fn breakers(&self, said: &mut Said, outcome: &CycleOutcome, target: &TargetSnapshot) {
        let open = |tool: &Arc<str>| target.breakers.get(tool).map(|breaker| breaker.state != BreakerState::Closed);
        let all = target.breakers.keys();
        let now: Vec<_> = all.filter(|tool| open(tool) == Some(true)).cloned().collect();
        let opened: Vec<_> = now.iter().filter(|tool| !said.open.contains(tool)).cloned().collect();
        // A tool that is not offered any more has no breaker: that is said as such.
        let closed: Vec<_> = said.open.iter().filter(|tool| open(tool) == Some(false)).cloned().collect();
        if let Some(first) = opened.first() {
            let failures = target.breakers.get(first).map_or(0, |breaker| breaker.failures);
            self.scope.notice(Level::Warn, "breaker_opened", wording::opened(&self.endpoint, &opened, failures));
        }
        // A probe that succeeds is told by what it does; of those that fail, the first since the breaker opened.
        let failed = |tool: &Arc<str>| {
            outcome.tools.iter().any(|(name, result)| name == tool && matches!(result, ToolResult::Failed { .. }))
        };
        said.probed.retain(|tool| now.contains(tool));
        let asked = said.open.iter().filter(|tool| now.contains(tool) && failed(tool));
        let probed: Vec<_> = asked.filter(|tool| !said.probed.contains(tool)).cloned().collect();
        if !probed.is_empty() {
            self.scope.notice(Level::Info, "breaker_probed", wording::probed(&self.endpoint, &probed));
            said.probed.extend(probed);
        }
        if !closed.is_empty() {
            self.scope.notice(Level::Info, "breaker_closed", wording::closed(&self.endpoint, &closed));
        }
        said.open = now;
    }
}

/// How the receiver stands while a failure of this class lasts, and how loud that is told, by the failure table.
fn status_and_level(class: Class) -> Option<(Status, Level)> {
    let policy = class.policy();
    policy.status.zip(policy.level)
}
