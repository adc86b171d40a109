//! The sentences that a poller says. Names that came from the server are escaped, and lists of them are short.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use minicol_mcp::Failure;
use minicol_plugin::text::foreign;

/// How many names a sentence carries.
const MAX_NAMES: usize = 8;

pub(super) fn not_offered(endpoint: &str, missing: &[Arc<str>], offered: &[Arc<str>]) -> String {
    let wanted = names(missing.iter().map(AsRef::as_ref), "");
    if offered.is_empty() {
        return format!("{endpoint} does not offer {wanted}; it offers no tools at all");
    }
    let mut near: Vec<_> = offered.iter().map(|tool| (likeness(tool, missing), tool.as_ref())).collect();
    near.sort_by(|(a, tool_a), (b, tool_b)| b.total_cmp(a).then_with(|| tool_a.cmp(tool_b)));
    let others = names(near.into_iter().map(|(_, tool)| tool), "others");
    let count = offered.len();
    format!("{endpoint} does not offer {wanted}: not polled, and no failure; it offers {count} tools: {others}")
}

pub(super) fn undeclared(endpoint: &str, tool: &str, arguments: &[String]) -> String {
    let list = names(arguments.iter().map(String::as_str), "others");
    let tool = foreign(tool);
    format!(
        "{tool} of {endpoint} does not take {list}: not sent; set it to null in tools.{tool}.arguments to silence this"
    )
}

/// Of a tool that is not asked: the server named a time that is not over yet.
pub(super) fn resting(failure: &Failure, left: Duration) -> String {
    format!("not asked for another {} s: {}", left.as_secs_f64().ceil(), failure.cause())
}

pub(super) fn lowered(endpoint: &str, tool: &str, returned: u64, total: u64) -> String {
    format!(
        "{tool} of {endpoint} answers with {returned} of {total} sessions: it fails where it would return one that is still open"
    )
}

pub(super) fn cut(endpoint: &str, tool: &str, returned: u64, total: u64) -> String {
    format!("{tool} of {endpoint} answers with {returned} of {total} sessions: raise limit in tools.{tool}.arguments")
}

pub(super) fn failing(endpoint: &str, failing: &BTreeMap<Arc<str>, Failure>, wanted: usize) -> String {
    // A cause that several share is told once.
    let mut causes: Vec<(String, Vec<&str>)> = Vec::new();
    for (tool, failure) in failing {
        let cause = failure.cause().to_string();
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, tools)) => tools.push(tool),
            None => causes.push((cause, vec![tool])),
        }
    }
    let more: usize = causes.iter().skip(3).map(|(_, tools)| tools.len()).sum();
    let told =
        causes.iter().take(3).map(|(cause, tools)| format!("{}: {cause}", names(tools.iter().copied(), "others")));
    let mut causes: Vec<_> = told.collect();
    if more > 0 {
        causes.push(format!("and {more} more"));
    }
    format!("{endpoint}: {} of {wanted} tools fail: {}", failing.len(), causes.join("; "))
}

pub(super) fn opened(endpoint: &str, tools: &[Arc<str>], failures: u32) -> String {
    let list = names(tools.iter().map(AsRef::as_ref), "others");
    format!("{list} of {endpoint} failed {failures} times in a row: asked once per cooldown until it answers")
}

pub(super) fn closed(endpoint: &str, tools: &[Arc<str>]) -> String {
    format!("{} of {endpoint} answers again: asked in every cycle", names(tools.iter().map(AsRef::as_ref), "others"))
}

pub(super) fn probed(endpoint: &str, tools: &[Arc<str>]) -> String {
    let list = names(tools.iter().map(AsRef::as_ref), "others");
    format!(
        "{list} of {endpoint} was asked once after the cooldown and failed again: the next probe is a cooldown later"
    )
}

/// Some names, and how many more there are.
fn names<'a>(all: impl Iterator<Item = &'a str>, rest: &str) -> String {
    let all: Vec<_> = all.collect();
    let mut list: Vec<_> = all.iter().take(MAX_NAMES).map(|name| foreign(name)).collect();
    if all.len() > MAX_NAMES {
        list.push(format!("and {} {rest}", all.len() - MAX_NAMES).trim_end().to_owned());
    }
    list.join(", ")
}

/// How much a tool's name is like the most similar of the wanted ones, 0 to 1. `get_` says nothing.
fn likeness(tool: &str, wanted: &[Arc<str>]) -> f64 {
    let plain = |name: &str| name.strip_prefix("get_").unwrap_or(name).chars().take(64).collect::<String>();
    let tool = plain(tool);
    wanted.iter().map(|name| strsim::normalized_damerau_levenshtein(&tool, &plain(name))).fold(0.0, f64::max)
}

/// `1 cycle`, `2 cycles`.
pub(super) fn cycles(number: u64) -> String {
    if number == 1 { "1 cycle".to_owned() } else { format!("{number} cycles") }
}

#[cfg(test)]
mod tests {
    use minicol_mcp::{Cause, Step};

    use super::*;

    fn tools(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn what_is_offered_instead_begins_with_what_is_most_alike() {
        let offered = tools(&["ask", "get_performance", "get_workflow_metrics", "zzz"]);
        let said = not_offered("http://buddy/mcp", &tools(&["get_performance_metrics"]), &offered);
        let expected = "http://buddy/mcp does not offer get_performance_metrics: not polled, and no failure; it offers 4 tools: \
                        get_performance, get_workflow_metrics, ask, zzz";
        assert_eq!(said, expected);
    }

    #[test]
    fn a_cause_that_several_tools_share_is_told_once() {
        let failure =
            |tool: &str, status| Failure::new("http://buddy/mcp", Step::Call(tool.into()), Cause::Refused(status));
        let all = [("a", 403), ("b", 401), ("c", 403)].map(|(tool, status)| (Arc::from(tool), failure(tool, status)));
        let said = super::failing("e", &all.into(), 4);
        let (forbidden, unknown) = (Cause::Refused(403), Cause::Refused(401));
        assert_eq!(said, format!("e: 3 of 4 tools fail: a, c: {forbidden}; b: {unknown}"));
    }

    #[test]
    fn long_lists_are_shortened_and_foreign_names_escaped() {
        let offered: Vec<Arc<str>> = (0..199).map(|n| format!("t{n:03}\u{1b}").into()).collect();
        let said = not_offered("e", &tools(&["get_t"]), &offered);
        assert!(said.ends_with("and 191 others") && said.contains("t000\\u{1b}"), "{said}");
        assert_eq!(not_offered("e", &tools(&["get_t"]), &[]), "e does not offer get_t; it offers no tools at all");
    }
}
