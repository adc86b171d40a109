//! One rule.

use minicol_pdata::POLL_REPORT;
use minicol_plugin::config::Problems;

use super::{Attribute, Body, Compiler, Condition, Guard, Kind, Metric, Once, Path, Rule, Scalar, metric, words};
use crate::{config::RuleConfig, prometheus::Selector};

/// How the name under which `each` found an item is written.
pub(super) const NAME: &str = "$~";

impl Compiler {
    /// Compiles a rule. Everything wrong with it is told; `None` where it cannot run.
    pub(super) fn rule(&mut self, rule: &RuleConfig, label: &str, problems: &mut Problems) -> Option<Rule> {
        check_tool(&rule.tool, problems);
        let prometheus = is_prometheus(rule.format.as_deref(), problems);
        let body = body(rule, prometheus, problems);
        let when = flat(rule.when.as_ref().map(|when| condition(when, prometheus, problems)));
        metric::check_rule_attributes(rule, prometheus, problems);
        let tellers = self.starts(rule, problems);
        if rule.metrics.is_empty() {
            let help = "add {name: ..., type: gauge, value: $...., unit: ...}";
            problems.error("metrics", "is empty: the rule makes nothing").help(help);
        }
        let metrics: Vec<Metric> = problems.within("metrics", |problems| {
            let compile = |(number, metric)| {
                let compiled = problems.item(number, |problems| self.metric(metric, rule, prometheus, label, problems));
                compiled.map(|metric| Metric { number, ..metric })
            };
            rule.metrics.iter().enumerate().filter_map(compile).collect()
        });
        let (body, when) = (body?, when?);
        check_start(rule, &metrics, problems);
        check_items(rule, &body, &metrics, problems);
        Some(Rule { label: label.into(), tool: rule.tool.as_str().into(), when, body, tellers, metrics })
    }
}

/// Tool names as MCP has them, and the poll's report.
pub(super) fn check_tool(tool: &str, problems: &mut Problems) {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if tool.is_empty() {
        problems.error("tool", "is empty").help("name the tool whose answers the rule is for");
    } else if tool != POLL_REPORT && (tool.len() > 128 || !tool.chars().all(fits)) {
        let shown = minicol_plugin::text::foreign(tool);
        let help = "write it as the server's tools/list does; the poll's own report is `@poll`";
        problems.error("tool", format!("`{shown}` is no name of a tool")).help(help);
    }
}

/// Whether `format` says so; what is unknown is told.
pub(super) fn is_prometheus(format: Option<&str>, problems: &mut Problems) -> bool {
    match format {
        None | Some("json") => false,
        Some("prometheus") => true,
        Some(other) => {
            let message = format!("unknown format `{other}` (valid values: [json, prometheus])");
            problems.error("format", message).help(words::suggest(other, &["json", "prometheus"]));
            false
        }
    }
}

/// The path under `field`; what is wrong with it is told.
pub(super) fn path(field: &str, text: &str, problems: &mut Problems) -> Option<Path> {
    match Path::parse(text) {
        Ok(path) => Some(path),
        Err(error) => {
            // `total` where `$.total` was meant is the most common of mistakes.
            let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
            let help = if plain { format!("did you mean `$.{text}`?") } else { error.help.to_owned() };
            problems.error(field, error.tell(text)).help(help);
            None
        }
    }
}

/// The selector under `field`; what is wrong with it is told.
pub(super) fn selector(field: &str, text: &str, problems: &mut Problems) -> Option<Selector> {
    match Selector::parse(text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            let shown = minicol_plugin::text::foreign(text);
            let help = "with `format: prometheus` write process_cpu_seconds_total, or name{label=\"value\"}";
            problems.error(field, format!("`{shown}` selects no Prometheus series: {error}")).help(help);
            None
        }
    }
}

/// What stands under `when`.
pub(super) fn condition(text: &str, prometheus: bool, problems: &mut Problems) -> Option<Condition> {
    if prometheus {
        return selector("when", text, problems).map(Condition::Series);
    }
    match Guard::parse(text) {
        Ok(guard) => Some(Condition::Guard(guard)),
        Err(error) => {
            problems.error("when", error.tell(text).replace("is no path", "is no condition")).help(error.help);
            None
        }
    }
}

fn body(rule: &RuleConfig, prometheus: bool, problems: &mut Problems) -> Option<Body> {
    let mut good = true;
    let mut wrong = |problems: &mut Problems, field: &str, message: &str, help: &str| {
        problems.error(field, message).help(help);
        good = false;
    };
    if prometheus {
        for (field, set) in [("each", rule.each.is_some()), ("key", rule.key.is_some()), ("time", rule.time.is_some())]
        {
            if set {
                let help = "leave it out: each series that `value` selects gives a point, and `$.label` is its label";
                wrong(problems, field, "does not go with `format: prometheus`", help);
            }
        }
        return good.then_some(Body::Prometheus);
    }
    if rule.key.is_some() && rule.each.is_none() {
        wrong(problems, "key", "is set without `each`", "say which items there are: `each: $.list[*]`");
    }
    if rule.time.is_some() && rule.key.is_none() {
        wrong(
            problems,
            "time",
            "is set without `key`",
            "say what tells the items apart: `key: $.id`; or leave `time` out",
        );
    }
    let each = rule.each.as_ref().map(|each| path("each", each, problems));
    let key = rule.key.as_ref().map(|key| match key.as_str() {
        NAME => Some(Scalar::Name),
        key => path("key", key, problems).map(Scalar::Path),
    });
    let time = rule.time.as_ref().map(|time| path("time", time, problems));
    let Some(each) = each else { return good.then_some(Body::Document) };
    let (path, time) = (each?, flat(time)?);
    let once = flat(key)?.map(|key| Once { key, time });
    let attributes = rule.metrics.iter().flat_map(|metric| metric.attributes.values()).chain(rule.attributes.values());
    let names = matches!(once, Some(Once { key: Scalar::Name, .. })) || attributes.into_iter().any(is_name);
    if names && path.descends() {
        let help = "name the members on the way: `each: $.list.*`";
        wrong(problems, "each", "`..` does not go with `$~`, the name of the item", help);
    }
    good.then_some(Body::Each { path, once, names })
}

fn is_name(attribute: &crate::config::AttributeConfig) -> bool {
    matches!(attribute, crate::config::AttributeConfig::Text(text) if text == NAME)
}

/// Not set is good; set and wrong is not.
#[allow(clippy::option_option)] // not set, wrong, or right
pub(super) fn flat<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(right) => Some(right),
    }
}

fn check_start(rule: &RuleConfig, metrics: &[Metric], problems: &mut Problems) {
    let counts = metrics.iter().any(|metric| metric.kind == Kind::Counter);
    if !rule.start.is_empty() && metrics.len() == rule.metrics.len() && (!counts || rule.key.is_some()) {
        let help = "leave it out: gauges have no start, and what minicol itself counts starts when it began to watch";
        problems.error("start", "is for counters whose total the source tells; the rule has none").help(help);
    }
}

/// Items that nothing tells apart all feed one series.
fn check_items(rule: &RuleConfig, body: &Body, metrics: &[Metric], problems: &mut Problems) {
    let Body::Each { once: None, .. } = body else { return };
    let literal = |metric: &Metric| metric.attributes.iter().all(|(_, value)| matches!(value, Attribute::Literal(_)));
    if metrics.iter().any(literal) && metrics.len() == rule.metrics.len() {
        let help = "add an attribute that differs from item to item ($.name, or $~ for the item's own name), or count each item once by `key`";
        problems.warning("each", "nothing tells the items' series apart: only the first item counts").help(help);
    }
}
