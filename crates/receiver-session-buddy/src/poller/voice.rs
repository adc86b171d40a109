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
    said: Said,
}

/// What was said last.
#[derive(Debug, Default)]
struct Said {
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
        Self { scope, endpoint, tools, limit, said: Said::default() }
    }

    /// A cycle has ended; `target` is as it is after it.
    pub(crate) fn cycle(&mut self, outcome: &CycleOutcome, target: &TargetSnapshot, missed_ticks: u64) {
        self.missed(missed_ticks);
        self.missing(outcome);
        self.undeclared(outcome);
        self.sessions(outcome);
        self.status(outcome);
        self.breakers(outcome, target);
    }

    /// The next component refused a batch.
    pub(crate) fn refused(&mut self, rejected: &Rejected) {
        let refusals = &mut self.said.refusals;
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
    pub(crate) fn accepted(&mut self) {
        let refusals = &mut self.said.refusals;
        if !std::mem::take(&mut refusals.told) {
            return;
        }
        let cycles = wording::cycles(std::mem::take(&mut refusals.lost));
        let message = format!("the next component takes observations again; those of {cycles} were lost");
        self.scope.notice(Level::Info, "batch_accepted", message);
    }

    fn missed(&mut self, ticks: u64) {
        if ticks > 0 && !self.said.missed {
            let polls = if ticks == 1 { "1 poll was".to_owned() } else { format!("{ticks} polls were") };
            let message = format!("{polls} missed: the program was suspended or had no time to run");
            self.scope.notice(Level::Warn, "ticks_missed", message);
        }
        self.said.missed = ticks > 0;
    }

    fn missing(&mut self, outcome: &CycleOutcome) {
        let Some(offered) = outcome.offered.as_deref().filter(|_| outcome.missing != self.said.missing) else { return };
        if outcome.missing.is_empty() {
            let message = format!("{} now offers every tool that is wanted", self.endpoint);
            self.scope.notice(Level::Info, "tools_offered", message);
        } else if let Some(level) = Class::NotOffered.policy().level {
            let message = wording::not_offered(&self.endpoint, &outcome.missing, offered);
            self.scope.notice(level, "tools_not_offered", message);
        }
        self.said.missing.clone_from(&outcome.missing);
    }

    fn undeclared(&mut self, outcome: &CycleOutcome) {
        for Undeclared { tool, arguments } in &outcome.undeclared {
            if self.said.undeclared.get(tool) == Some(arguments) {
                continue;
            }
            // That a server does not know the built-in arguments is nothing the user did.
            let level = if self.tools.has_built_in_arguments(tool) { Level::Info } else { Level::Warn };
            self.scope.notice(level, "arguments_not_sent", wording::undeclared(&self.endpoint, tool, arguments));
            self.said.undeclared.insert(Arc::clone(tool), arguments.clone());
        }
        let answered = outcome.tools.iter().filter(|(_, result)| matches!(result, ToolResult::Answered(_)));
        for (tool, _) in answered {
            if !outcome.undeclared.iter().any(|one| one.tool == *tool) {
                self.said.undeclared.remove(tool);
            }
        }
    }

    fn sessions(&mut self, outcome: &CycleOutcome) {
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
            if now == std::mem::replace(&mut self.said.sessions, now) {
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
    fn status(&mut self, outcome: &CycleOutcome) {
        if outcome.up.is_none() && outcome.setup.is_none() {
            return;
        }
        self.said.failing.retain(|tool, _| outcome.tools.iter().any(|(wanted, _)| wanted == tool));
        for (tool, result) in &outcome.tools {
            match result {
                ToolResult::Answered(_) | ToolResult::NotOffered => drop(self.said.failing.remove(tool)),
                ToolResult::Failed { failure, .. } if failure.class().policy().status.is_some() => {
                    self.said.failing.insert(Arc::clone(tool), failure.clone());
                }
                _ => {}
            }
        }
        let setup = outcome.setup.as_ref();
        let now = if let Some((failure, how)) = setup.and_then(|f| Some((f, status_and_level(f.class())?))) {
            Some((how, format!("{}/{}", failure.step(), failure.error_type()), failure.to_string()))
        } else if let Some(worst) = self.said.failing.values().filter_map(|f| status_and_level(f.class())).max() {
            let key: Vec<_> = self.said.failing.iter().map(|(tool, f)| format!("{tool}/{}", f.error_type())).collect();
            Some((worst, key.join(" "), wording::failing(&self.endpoint, &self.said.failing, outcome.tools.len())))
        } else if outcome.up == Some(true) {
            let before = self.said.status.as_ref().map(|standing| standing.status);
            let again = if matches!(before, Some(Status::Ok) | None) { "" } else { " again" };
            Some(((Status::Ok, Status::Ok.level()), String::new(), format!("{} answers{again}", self.endpoint)))
        } else {
            None // nothing was tried, or nothing that says how the target is
        };
        if let Some(((status, level), key, message)) = now
            && self.said.status.as_ref().is_none_or(|before| (before.status, &before.key) != (status, &key))
        {
            self.scope.report_as(status, level, message.clone());
            self.said.status = Some(Standing { status, level, key, message });
        }
    }

    /// Nobody is asked until it is resumed.
    pub(crate) fn paused(&self) {
        self.scope.report(Status::Paused, format!("{} is not asked until it is resumed", self.endpoint));
    }

    /// As it was before the pause, until the next cycle tells how it is.
    pub(crate) fn resumed(&self) {
        match self.said.status.clone() {
            Some(Standing { status, level, message, .. }) => self.scope.report_as(status, level, message),
            None => self.scope.report(Status::Starting, ""),
        }
    }

    /// The breaker of a tool was closed by hand: that is told where it was asked for.
    pub(crate) fn breaker_closed(&mut self, tool: &str) {
        self.said.open.retain(|open| &**open != tool);
    }

    fn breakers(&mut self, outcome: &CycleOutcome, target: &TargetSnapshot) {
        let open = |tool: &Arc<str>| target.breakers.get(tool).map(|breaker| breaker.state != BreakerState::Closed);
        let all = target.breakers.keys();
        let now: Vec<_> = all.filter(|tool| open(tool) == Some(true)).cloned().collect();
        let opened: Vec<_> = now.iter().filter(|tool| !self.said.open.contains(tool)).cloned().collect();
        // A tool that is not offered any more has no breaker: that is said as such.
        let closed: Vec<_> = self.said.open.iter().filter(|tool| open(tool) == Some(false)).cloned().collect();
        if let Some(first) = opened.first() {
            let failures = target.breakers.get(first).map_or(0, |breaker| breaker.failures);
            self.scope.notice(Level::Warn, "breaker_opened", wording::opened(&self.endpoint, &opened, failures));
        }
        // A probe that succeeds is told by what it does; of those that fail, the first since the breaker opened.
        let failed = |tool: &Arc<str>| {
            outcome.tools.iter().any(|(name, result)| name == tool && matches!(result, ToolResult::Failed { .. }))
        };
        self.said.probed.retain(|tool| now.contains(tool));
        let asked = self.said.open.iter().filter(|tool| now.contains(tool) && failed(tool));
        let probed: Vec<_> = asked.filter(|tool| !self.said.probed.contains(tool)).cloned().collect();
        if !probed.is_empty() {
            self.scope.notice(Level::Info, "breaker_probed", wording::probed(&self.endpoint, &probed));
            self.said.probed.extend(probed);
        }
        if !closed.is_empty() {
            self.scope.notice(Level::Info, "breaker_closed", wording::closed(&self.endpoint, &closed));
        }
        self.said.open = now;
    }
}

/// How the receiver stands while a failure of this class lasts, and how loud that is told, by the failure table.
fn status_and_level(class: Class) -> Option<(Status, Level)> {
    let policy = class.policy();
    policy.status.zip(policy.level)
}
