//! Where a source tells since when its counters count.

use std::sync::Arc;

use minicol_plugin::config::Problems;

use super::{Compiler, Path, rule};
use crate::{
    config::{RuleConfig, StartConfig},
    prometheus::Selector,
};

/// Somebody who tells a source's start.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    /// The same text in every cycle and over a reload: the tool, and where in its answer.
    pub(crate) name: Arc<str>,
    pub(crate) tool: Arc<str>,
    pub(crate) source: StartSource,
    /// Set where it tells an uptime: what makes seconds of it.
    pub(crate) uptime_scale: Option<f64>,
}

/// Where in an answer it is.
#[derive(Clone, Debug)]
pub(crate) enum StartSource {
    Path(Path),
    Series(Selector),
}

impl Compiler {
    /// The names of the tellers of a rule.
    pub(super) fn starts(&mut self, rule: &RuleConfig, problems: &mut Problems) -> Arc<[Arc<str>]> {
        let list = &rule.start;
        let mut names = Vec::new();
        problems.within("start", |problems| {
            for (index, start) in list.list.iter().enumerate() {
                let name = if list.is_list {
                    problems.item(index, |problems| self.start(start, rule, problems))
                } else {
                    self.start(start, rule, problems)
                };
                names.extend(name);
            }
            if list.is_list && list.list.is_empty() {
                problems
                    .error("", "is empty")
                    .help("leave it out, or write {tool: get_liveness, uptime: $.uptime_seconds}");
            }
        });
        names.into()
    }

    fn start(&mut self, start: &StartConfig, rule: &RuleConfig, problems: &mut Problems) -> Option<Arc<str>> {
        let tool = start.tool.as_deref().unwrap_or(&rule.tool);
        if start.tool.is_some() {
            rule::check_tool(tool, problems);
        }
        let of_rule = if tool == rule.tool { rule.format.as_deref() } else { None };
        let prometheus = rule::is_prometheus(start.format.as_deref().or(of_rule), problems);
        let (field, text) = match (&start.time, &start.uptime) {
            (Some(time), None) => ("time", time),
            (None, Some(uptime)) => ("uptime", uptime),
            (Some(_), Some(_)) => {
                problems
                    .error("uptime", "stands beside `time`")
                    .help("keep one of them; a list of starts holds several");
                return None;
            }
            (None, None) => {
                let help = "write `time: $.started_at`, or `uptime: $.uptime_seconds`";
                problems.error("", "says neither `time` nor `uptime`").help(help);
                return None;
            }
        };
        let source = if prometheus {
            StartSource::Series(rule::selector(field, text, problems)?)
        } else {
            StartSource::Path(rule::path(field, text, problems)?)
        };
        let uptime_scale = scale(start, problems)?;
        let factor = start.scale.map_or(String::new(), |scale| format!(" × {scale}"));
        let name: Arc<str> = format!("{tool} {field} {text}{factor}").into();
        if !self.tellers.iter().any(|teller| teller.name == name) {
            let teller = Teller { name: name.clone(), tool: tool.into(), source, uptime_scale };
            self.tellers.push(teller);
        }
        Some(name)
    }
}

/// `None` where it is wrong; else what makes seconds of an uptime, where it is one.
#[allow(clippy::option_option)] // wrong, a moment, or an uptime
fn scale(start: &StartConfig, problems: &mut Problems) -> Option<Option<f64>> {
    match (start.scale, &start.uptime) {
        (None, uptime) => Some(uptime.as_ref().map(|_| 1.0)),
        (Some(_), None) => {
            problems.error("scale", "is for `uptime`, and there is none").help("leave it out");
            None
        }
        (Some(scale), Some(_)) if scale.is_finite() && scale > 0.0 => Some(Some(scale)),
        (Some(scale), Some(_)) => {
            problems
                .error("scale", format!("must be above zero, but is {scale}"))
                .help("0.001 makes seconds of milliseconds");
            None
        }
    }
}
