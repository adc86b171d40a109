use std::{collections::BTreeMap, time::Duration};

use minicol_plugin::config::{GoDuration, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What goes wrong, and when: a plan that depends on nothing but the time since the simulator started and the seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// How long each call of a tool takes at least.
    pub latency: GoDuration,
    /// How much longer it takes at most, by chance.
    pub jitter: GoDuration,
    /// When the simulated process is down (503). At the end of each period it starts anew: totals begin at 0, sessions are unknown.
    pub restart: Window,
    /// How often the server forgets its sessions (404), and nothing else. Where it does, the profile `contract` speaks no version of MCP without sessions
    /// (2026-07-28). 0 is never.
    pub lose_sessions_every: GoDuration,
    /// When the server takes connections and requests, but answers none.
    pub freeze: Window,
    /// Which tools fail, by name; `*` stands for those that are not named.
    #[schemars(extend("examples" = [{"get_workflow_metrics": {"kind": "cut", "rate": 0.3}}]))]
    pub tools: BTreeMap<String, ToolFault>,
}

/// The last part of each period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Window {
    /// The period. 0 is never.
    pub every: GoDuration,
    /// How long it lasts.
    #[serde(rename = "for")]
    pub lasting: GoDuration,
}

/// How a tool fails.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToolFault {
    /// In which way.
    pub kind: FaultKind,
    /// The share of calls that fail.
    #[schemars(extend("minimum" = 0, "maximum" = 1))]
    pub rate: f64,
    /// How long a call that fails takes, beside the latency.
    pub delay: GoDuration,
    /// It fails in the last part of each such period only. 0 is always.
    pub every: GoDuration,
    /// How long that last part is.
    #[serde(rename = "for")]
    pub lasting: GoDuration,
}

/// The ways in which a call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A result with `isError: true`.
    #[default]
    IsError,
    /// A result with `success: false` in it, as Session-Buddy's own tools do.
    SuccessFalse,
    /// A JSON-RPC error.
    JsonRpcError,
    /// 200 with a body that is no JSON-RPC message.
    Garbage,
    /// 200, then the end of the connection in mid-reply.
    Cut,
    /// No answer at all.
    Hang,
    /// 503, as a proxy answers before a server that is gone.
    Unavailable,
    /// The right answer, after `delay`.
    Slow,
}

impl Default for ToolFault {
    fn default() -> Self {
        let never = GoDuration::default();
        Self { kind: FaultKind::default(), rate: 1.0, delay: never, every: never, lasting: never }
    }
}

impl FaultKind {
    /// Its name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IsError => "is_error",
            Self::SuccessFalse => "success_false",
            Self::JsonRpcError => "json_rpc_error",
            Self::Garbage => "garbage",
            Self::Cut => "cut",
            Self::Hang => "hang",
            Self::Unavailable => "unavailable",
            Self::Slow => "slow",
        }
    }
}

impl ToolFault {
    /// The part of each period in which it fails.
    pub(crate) fn window(&self) -> Window {
        Window { every: self.every, lasting: self.lasting }
    }
}

impl Window {
    /// When the window that `elapsed` lies in ends, counted from the same moment as `elapsed`; `None` outside of all windows.
    pub(crate) fn open_until(&self, elapsed: Duration) -> Option<Duration> {
        let (every, lasting) = (self.every.0.as_nanos(), self.lasting.0.as_nanos());
        if every == 0 {
            return None;
        }
        let end = (elapsed.as_nanos() / every + 1) * every;
        let open = elapsed.as_nanos() + lasting >= end;
        // Too long for 64 bits of nanoseconds is 584 years.
        open.then(|| Duration::from_nanos(u64::try_from(end).unwrap_or(u64::MAX)))
    }

    fn check(&self, problems: &mut Problems) {
        let (every, lasting) = (self.every, self.lasting);
        if every.0.is_zero() && !lasting.0.is_zero() {
            problems.error("for", "stands without `every`").help("write both, such as {every: 1m, for: 10s}");
        } else if !every.0.is_zero() && lasting >= every {
            problems.error("for", format!("must be shorter than `every`, but {lasting} is not shorter than {every}"));
        }
    }
}

impl Faults {
    /// The fault of a tool: its own, or that of all others.
    pub(crate) fn of(&self, tool: &str) -> Option<&ToolFault> {
        self.tools.get(tool).or_else(|| self.tools.get("*"))
    }

    /// Adds what is wrong, where the simulator offers `tools`.
    pub(crate) fn check(&self, tools: &[&str], problems: &mut Problems) {
        problems.within("restart", |problems| self.restart.check(problems));
        problems.within("freeze", |problems| self.freeze.check(problems));
        if !self.freeze.every.0.is_zero() && self.freeze.lasting.0.is_zero() {
            problems
                .within("freeze", |p| p.error("for", "is missing").help("say how long, such as {every: 1m, for: 10s}"));
        }
        problems.within("tools", |problems| {
            for (tool, fault) in &self.tools {
                if tool != "*" && !tools.contains(&tool.as_str()) {
                    problems
                        .error(tool, format!("the simulator has no tool `{tool}` in this profile"))
                        .help(format!("it has {}, and `*` stands for those that are not named", tools.join(", ")));
                }
                problems.within(tool, |problems| fault.check(problems));
            }
        });
    }
}

impl ToolFault {
    fn check(&self, problems: &mut Problems) {
        problems.range("rate", self.rate, 0.0, 1.0);
        self.window().check(problems);
        if !self.every.0.is_zero() && self.lasting.0.is_zero() {
            problems.error("for", "is missing").help("say how long it fails, such as `every: 1m` and `for: 10s`");
        }
        if self.kind == FaultKind::Slow && self.delay.0.is_zero() {
            problems.error("delay", "is missing: `slow` needs to know how slow").help("for example `delay: 5s`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_the_last_part_of_each_period() {
        let window = Window { every: GoDuration::from_secs(10), lasting: GoDuration::from_secs(3) };
        let open = |seconds| window.open_until(Duration::from_secs(seconds)).map(|until| until.as_secs());
        assert_eq!([0, 6, 7, 9, 10, 16, 17].map(open), [None, None, Some(10), Some(10), None, None, Some(20)]);
        assert_eq!(Window::default().open_until(Duration::from_secs(5)), None);
        let nearly_always = Window { lasting: GoDuration(Duration::from_nanos(9_999_999_999)), ..window };
        assert!(nearly_always.open_until(Duration::MAX).is_some(), "nothing overflows");
    }
}
