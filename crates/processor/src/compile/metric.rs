//! One metric of a rule.

use std::{collections::BTreeMap, sync::Arc};

use minicol_pdata::{AttributeValue, MetricKind, Number, Temporality};
use minicol_plugin::config::Problems;
use regex::Regex;

use super::{
    Attribute, Compiler, Kind, Metric, Path, Scalar, Source, buckets,
    instruments::instrument,
    rule::{self, NAME},
    words,
};
use crate::{
    config::{AttributeConfig, Literal, MetricConfig, RuleConfig, ValueConfig},
    extract::is_negative,
};

const TYPES: [&str; 5] = ["counter", "updowncounter", "gauge", "histogram", "exponential_histogram"];
/// A compiled regular expression may take so many bytes.
const MAX_REGEX: usize = 1 << 20;

impl Compiler {
    /// Compiles a metric. Everything wrong with it is told; `None` where it cannot run.
    pub(super) fn metric(
        &mut self,
        metric: &MetricConfig,
        rule: &RuleConfig,
        prometheus: bool,
        label: &str,
        problems: &mut Problems,
    ) -> Option<Metric> {
        let named = check_names(metric, problems);
        let kind = kind(&metric.kind, problems);
        let value = value(metric, prometheus, problems);
        let pattern = pattern(metric, prometheus, problems);
        let is_time = is_time(metric, kind, problems);
        let when = metric.when.as_ref().map(|when| rule::condition(when, prometheus, problems));
        let attributes = attributes(metric, rule, prometheus, problems);
        let buckets = buckets::buckets(metric, kind, problems);
        let temporality = temporality(metric, kind, problems);
        let (kind, buckets, temporality) = (kind?, buckets?, temporality?);
        if !prometheus {
            check_kind(metric, rule, kind, problems);
        }
        let scaled = check_scale(metric, kind, problems);
        let otlp = match kind {
            Kind::Counter => MetricKind::Sum { monotonic: true, temporality },
            Kind::UpDownCounter => MetricKind::UP_DOWN_COUNTER,
            Kind::Gauge => MetricKind::Gauge,
            Kind::Histogram => MetricKind::Histogram { temporality },
            Kind::ExponentialHistogram => MetricKind::ExponentialHistogram { temporality },
        };
        let (value, pattern, attributes) = (value?, pattern?, attributes?);
        let when = rule::flat(when)?;
        if !named || !scaled {
            return None;
        }
        let instrument = instrument(&metric.name, &metric.unit, &metric.description, otlp, buckets);
        let negative = match kind {
            Kind::Counter => false,
            Kind::Histogram => instrument.negative,
            Kind::Gauge | Kind::UpDownCounter | Kind::ExponentialHistogram => true,
        };
        let instrument = self.instruments.add(instrument, label, problems)?;
        Some(Metric {
            number: 0,
            instrument,
            kind,
            value,
            pattern,
            is_time,
            scale: metric.scale,
            negative,
            when,
            attributes,
        })
    }
}

fn check_names(metric: &MetricConfig, problems: &mut Problems) -> bool {
    let name = words::wrong_metric_name(&metric.name);
    if let Some(why) = name {
        let shown = minicol_plugin::text::foreign(&metric.name);
        let help = "write it like session_buddy.sessions.active";
        problems.error("name", format!("the metric name `{shown}` {why}")).help(help);
    }
    let unit = words::wrong_unit(&metric.unit);
    if let Some(why) = unit {
        let shown = minicol_plugin::text::foreign(&metric.unit);
        problems.error("unit", format!("the unit `{shown}` {why}")).help("units are UCUM: s, By, %, {session}");
    }
    name.is_none() && unit.is_none()
}

fn kind(text: &str, problems: &mut Problems) -> Option<Kind> {
    match text {
        "counter" => Some(Kind::Counter),
        "updowncounter" => Some(Kind::UpDownCounter),
        "gauge" => Some(Kind::Gauge),
        "histogram" => Some(Kind::Histogram),
        "exponential_histogram" => Some(Kind::ExponentialHistogram),
        other => {
            let shown = minicol_plugin::text::foreign(other);
            let message = format!("unknown type: `{shown}` (valid values: [{}])", TYPES.join(", "));
            problems.error("type", message).help(words::suggest(other, &TYPES));
            None
        }
    }
}

/// `None` where it is wrong.
fn temporality(metric: &MetricConfig, kind: Option<Kind>, problems: &mut Problems) -> Option<Temporality> {
    let Some(text) = metric.temporality.as_deref() else { return Some(Temporality::Cumulative) };
    let (message, help) = match (text, kind) {
        ("cumulative" | "delta", Some(Kind::Gauge)) => {
            ("is for counters and histograms: a gauge has none".to_owned(), "leave it out".to_owned())
        }
        ("delta", Some(Kind::UpDownCounter)) => {
            let help = "leave it out, or use a counter where the total never falls".to_owned();
            ("`delta` does not go with a balance: only the whole of it says where it stands".to_owned(), help)
        }
        ("cumulative", _) => return Some(Temporality::Cumulative),
        ("delta", _) => return Some(Temporality::Delta),
        (other, _) => {
            let shown = minicol_plugin::text::foreign(other);
            let message = format!("unknown temporality `{shown}` (valid values: [cumulative, delta])");
            (message, words::suggest(other, &["cumulative", "delta"]))
        }
    };
    problems.error("temporality", message).help(help);
    None
}

fn value(metric: &MetricConfig, prometheus: bool, problems: &mut Problems) -> Option<Source> {
    match &metric.value {
        None if metric.pattern.is_some() && !prometheus => Path::parse("$").ok().map(Source::Path),
        None => {
            let example = if prometheus { "process_cpu_seconds_total" } else { "$.total" };
            problems.error("", "has no `value`").help(format!("say where it is: `value: {example}`"));
            None
        }
        Some(ValueConfig::Path(text)) if prometheus => rule::selector("value", text, problems).map(Source::Series),
        Some(ValueConfig::Path(text)) => rule::path("value", text, problems).map(Source::Path),
        Some(ValueConfig::Number(_)) if prometheus || metric.pattern.is_some() => {
            let what = if prometheus { "`format: prometheus`" } else { "`match`" };
            problems.error("value", format!("a number does not go with {what}")).help("say where the value is");
            None
        }
        Some(ValueConfig::Number(number)) => match number {
            Number::Double(value) if !value.is_finite() => {
                problems.error("value", format!("{value} is no value")).help("write a number, or a path");
                None
            }
            _ if metric.kind == "counter" && is_negative(*number) => {
                problems.error("value", "a counter's value cannot be negative").help("use an updowncounter");
                None
            }
            _ => Some(Source::Number(*number)),
        },
    }
}

/// `None` where it is wrong.
#[allow(clippy::option_option)] // wrong, none, or one
fn pattern(metric: &MetricConfig, prometheus: bool, problems: &mut Problems) -> Option<Option<Regex>> {
    let Some(text) = &metric.pattern else { return Some(None) };
    if prometheus {
        problems.error("match", "does not go with `format: prometheus`").help("select the series with `value`");
        return None;
    }
    let regex = match regex::RegexBuilder::new(text).size_limit(MAX_REGEX).build() {
        Ok(regex) => regex,
        Err(error) => {
            // The last line of the library's message is the reason; those before draw the place.
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            problems
                .error("match", format!("is no regular expression: {reason}"))
                .help("write it like (\\d+) sessions");
            return None;
        }
    };
    let captures = regex.captures_len() - 1;
    if captures != 1 {
        let message = format!(
            "must have one capture, but has {}",
            if captures == 0 { "none".into() } else { captures.to_string() }
        );
        let help = "put parentheses around the number, (\\d+); write (?:...) for those that capture nothing";
        problems.error("match", message).help(help);
        return None;
    }
    Some(Some(regex))
}

fn is_time(metric: &MetricConfig, kind: Option<Kind>, problems: &mut Problems) -> bool {
    match metric.reading.as_deref() {
        None | Some("number") => false,
        Some("time") => {
            if kind.is_some_and(|kind| kind != Kind::Gauge) {
                problems.error("as", "a time is a gauge's value only").help("set `type: gauge`, or leave `as` out");
            }
            true
        }
        Some(other) => {
            let message = format!("unknown reading `{other}` (valid values: [number, time])");
            problems.error("as", message).help(words::suggest(other, &["number", "time"]));
            false
        }
    }
}

fn check_kind(metric: &MetricConfig, rule: &RuleConfig, kind: Kind, problems: &mut Problems) {
    if rule.key.is_some() && !matches!(kind, Kind::Counter | Kind::Histogram | Kind::ExponentialHistogram) {
        let message =
            format!("{} does not go with `key`: an item that is counted once has no level", words::one(&metric.kind));
        problems.error("type", message).help("use a histogram or a counter; or leave the rule's `key` out");
    }
}

fn check_scale(metric: &MetricConfig, kind: Kind, problems: &mut Problems) -> bool {
    let Some(scale) = metric.scale else { return true };
    let why = if scale == 0.0 {
        "is zero: every value would be".to_owned()
    } else if !scale.is_finite() {
        format!("is {scale}")
    } else if scale < 0.0 && kind == Kind::Counter {
        "is negative, and a counter cannot be".to_owned()
    } else {
        return true;
    };
    problems
        .error("scale", why)
        .help("write what the value is multiplied by: 60 makes seconds of minutes; or leave it out");
    false
}

type Attributes = Vec<(Arc<str>, Attribute)>;

/// Those of the rule, and those of the metric over them. `None` where one is wrong. A rule's own are looked at with its first metric.
fn attributes(
    metric: &MetricConfig,
    rule: &RuleConfig,
    prometheus: bool,
    problems: &mut Problems,
) -> Option<Attributes> {
    let mut all: BTreeMap<&str, Attribute> = BTreeMap::new();
    let mut good = true;
    let mut take = |list: &'_ BTreeMap<String, AttributeConfig>, problems: &mut Problems| {
        let mut taken = Vec::new();
        problems.within("attributes", |problems| {
            for (name, value) in list {
                let value = attribute(name, value, rule.each.is_some(), prometheus, problems);
                good &= value.is_some();
                taken.extend(value.map(|value| (name.clone(), value)));
            }
        });
        taken
    };
    let of_metric = take(&metric.attributes, problems);
    // Told once, by the rule itself: see `rule_attributes`.
    let of_rule = take(&rule.attributes, &mut Problems::default());
    let all_taken: Vec<_> = of_rule.into_iter().chain(of_metric).collect();
    for (name, value) in &all_taken {
        all.insert(name, value.clone());
    }
    good.then(|| all.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())
}

/// Tells what is wrong with a rule's own attributes.
pub(super) fn check_rule_attributes(rule: &RuleConfig, prometheus: bool, problems: &mut Problems) {
    problems.within("attributes", |problems| {
        for (name, value) in &rule.attributes {
            attribute(name, value, rule.each.is_some(), prometheus, problems);
        }
    });
}

fn attribute(
    name: &str,
    value: &AttributeConfig,
    each: bool,
    prometheus: bool,
    problems: &mut Problems,
) -> Option<Attribute> {
    if let Some(why) = words::wrong_attribute_name(name) {
        let shown = minicol_plugin::text::foreign(name);
        problems
            .error(name, format!("the attribute name `{shown}` {why}"))
            .help("write it like project, or vcs.ref.name");
        return None;
    }
    let text = match value {
        AttributeConfig::Literal(Literal::String(text)) => return Some(Attribute::Literal(text.as_str().into())),
        AttributeConfig::Literal(Literal::Bool(value)) => return Some(Attribute::Literal((*value).into())),
        AttributeConfig::Literal(Literal::Int(value)) => return Some(Attribute::Literal((*value).into())),
        AttributeConfig::Literal(Literal::Double(value)) => {
            return Some(Attribute::Literal(AttributeValue::Double(*value)));
        }
        AttributeConfig::Text(text) => text.as_str(),
    };
    if text == NAME {
        if each && !prometheus {
            return Some(Attribute::Scalar(Scalar::Name));
        }
        let help = "say which items there are: `each: $.map.*`";
        problems
            .error(name, "`$~` is the name under which `each` found an item, and the rule has no `each`")
            .help(help);
        return None;
    }
    if !text.starts_with('$') && !text.starts_with("@.") && !text.starts_with("@[") {
        return Some(Attribute::Literal(text.into()));
    }
    if prometheus {
        let label = text
            .strip_prefix("$.")
            .filter(|label| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        if label.is_none() {
            let shown = minicol_plugin::text::foreign(text);
            let help = "with `format: prometheus` write `$.label`; a text that begins with `$` is {literal: \"$...\"}";
            problems.error(name, format!("`{shown}` names no label")).help(help);
        }
        return label.map(|label| Attribute::Label(label.to_owned()));
    }
    match Path::parse(text) {
        Ok(path) => Some(Attribute::Scalar(Scalar::Path(path))),
        Err(error) => {
            let help = format!("{}; a text that begins with `$` is {{literal: \"$...\"}}", error.help);
            problems.error(name, error.tell(text)).help(help);
            None
        }
    }
}
