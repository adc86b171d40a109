//! Rules as they are written become rules as they are run. Start from [`compile`]: whatever can never work is told here, at its place.

mod buckets;
mod instruments;
mod metric;
mod path;
mod rule;
mod start;
mod terms;
mod words;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use minicol_pdata::{AttributeValue, Number};
use minicol_plugin::config::Problems;
use regex::Regex;

pub(crate) use path::{Found, Guard, Path};
pub(crate) use start::{StartSource, Teller};

use crate::{
    config::MappingConfig,
    preset,
    prometheus::Selector,
    sample::{Instrument, Limits},
};
use instruments::Instruments;

/// Every rule of a configuration, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Ruleset {
    /// The user's rules first, then the presets'.
    pub(crate) rules: Vec<Rule>,
    /// What the samples refer to.
    pub(crate) instruments: Vec<Instrument>,
    /// Who tells starts.
    pub(crate) tellers: Vec<Teller>,
    /// What is for which tool.
    pub(crate) tools: HashMap<Arc<str>, ToolRules>,
    /// What the data model keeps.
    pub(crate) limits: Limits,
    /// Items of one answer that one rule looks at.
    pub(crate) max_items: usize,
    /// Characters of an attribute's value.
    pub(crate) max_attribute_length: usize,
}

impl Ruleset {
    /// The first rule that believes this teller.
    pub(crate) fn asks(&self, teller: &Teller) -> Option<(usize, &Rule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.tellers.contains(&teller.name))
    }
}

/// What is for the answers of one tool.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolRules {
    /// Indices of rules, in their order.
    pub(crate) rules: Vec<usize>,
    /// Indices of tellers.
    pub(crate) tellers: Vec<usize>,
    /// Every instrument that one of the rules feeds.
    pub(crate) feeds: Arc<[usize]>,
    /// Names of Prometheus metrics that are asked for.
    pub(crate) wanted: HashSet<Arc<str>>,
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Where it stands: `rules[0]`, or `session_buddy[3]` for the rule of a preset.
    pub(crate) label: Arc<str>,
    pub(crate) tool: Arc<str>,
    pub(crate) when: Option<Condition>,
    pub(crate) body: Body,
    /// The tellers of the start of its counters, in the order in which they are believed.
    pub(crate) tellers: Arc<[Arc<str>]>,
    pub(crate) metrics: Vec<Metric>,
}

/// What of an answer a rule looks at.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// The whole of it.
    Document,
    /// Its items.
    Each {
        path: Path,
        /// Set where an item is counted once.
        once: Option<Once>,
        /// True where an attribute, or the key, is the name under which an item was found.
        names: bool,
    },
    /// The series of a Prometheus text.
    Prometheus,
}

/// How items that are counted once are known.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    pub(crate) key: Scalar,
    pub(crate) time: Option<Path>,
}

/// A scalar of an item.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    /// What a path finds.
    Path(Path),
    /// The name of the member, or the index of the element, that the item is (`$~`).
    Name,
}

/// What must hold for a rule or a metric to have anything to say.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Of a JSON document.
    Guard(Guard),
    /// Of a Prometheus text: a series is there.
    Series(Selector),
}

/// One metric of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    /// Which of the rule's metrics, as it is written.
    pub(crate) number: usize,
    /// Index into the instruments.
    pub(crate) instrument: usize,
    /// How its values are read.
    pub(crate) kind: Kind,
    pub(crate) value: Source,
    /// One capture.
    pub(crate) pattern: Option<Regex>,
    /// A time, as Unix seconds.
    pub(crate) is_time: bool,
    pub(crate) scale: Option<f64>,
    /// Values below zero are taken.
    pub(crate) negative: bool,
    pub(crate) when: Option<Condition>,
    pub(crate) attributes: Vec<(Arc<str>, Attribute)>,
}

/// The types of a rule's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    UpDownCounter,
    Gauge,
    Histogram,
    ExponentialHistogram,
}

/// Where a value is.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Path(Path),
    Number(Number),
    Series(Selector),
}

/// Where an attribute's value is.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Scalar(Scalar),
    /// A label of a Prometheus series.
    Label(String),
    Literal(AttributeValue),
}

/// What is gathered while rules are compiled.
struct Compiler {
    instruments: Instruments,
    tellers: Vec<Teller>,
}

/// Compiles every rule of `config`, the presets' included. What it returns is whole only where `problems` got no error.
pub(crate) fn compile(config: &MappingConfig, problems: &mut Problems) -> Ruleset {
    let mut compiler = Compiler { instruments: Instruments::default(), tellers: Vec::new() };
    let presets = compiler.presets(config, problems);
    let mut rules: Vec<Rule> = problems.within("rules", |problems| {
        let compile =
            |(index, rule)| problems.item(index, |problems| compiler.rule(rule, &format!("rules[{index}]"), problems));
        config.rules.iter().enumerate().filter_map(compile).collect()
    });
    if config.presets.is_empty() && config.rules.is_empty() {
        let known = preset::NAMES.join(", ");
        problems
            .error("", "has nothing to do: it names neither presets nor rules")
            .help(format!("add `presets: [session_buddy]` (known presets: {known}), or rules of your own"));
    }
    rules.extend(compiler.not_replaced(presets, &rules));
    Ruleset {
        tools: tools(&rules, &compiler.tellers),
        rules,
        instruments: compiler.instruments.into_vec(),
        tellers: compiler.tellers,
        limits: Limits { max_series: config.max_series, max_keys: config.max_keys, expiry: config.expiry.0 },
        max_items: config.max_items,
        max_attribute_length: config.max_attribute_length,
    }
}

impl Compiler {
    /// The rules of every preset that is named. They come first, so that where a user's rule and a preset's cannot both be, the user's
    /// is told.
    fn presets(&mut self, config: &MappingConfig, problems: &mut Problems) -> Vec<Rule> {
        let mut rules = Vec::new();
        problems.within("presets", |problems| {
            for (index, name) in config.presets.iter().enumerate() {
                problems.item(index, |problems| {
                    if config.presets[..index].contains(name) {
                        problems.error("", format!("the preset `{name}` is named twice")).help("name it once");
                    } else if let Some(list) = preset::rules(name) {
                        let label = |index| format!("{name}[{index}]");
                        let list = list.iter().enumerate();
                        rules.extend(list.filter_map(|(index, rule)| self.rule(rule, &label(index), problems)));
                    } else {
                        let message = format!("unknown preset `{name}` (valid values: [{}])", preset::NAMES.join(", "));
                        problems.error("", message).help(words::suggest(name, preset::NAMES));
                    }
                });
            }
        });
        rules
    }
}

/// What tells the series of one metric of one rule from those of another: the tool, the metric, and its attributes, as far as they are known
/// before an answer is there.
type Series = (Arc<str>, Arc<str>, Vec<(Arc<str>, Option<AttributeValue>)>);

impl Compiler {
    /// The rules of presets without the metrics that a user's rule makes of the same answers: the user's replace them.
    fn not_replaced(&self, presets: Vec<Rule>, users: &[Rule]) -> Vec<Rule> {
        let of = |rule: &Rule| -> Vec<Series> { rule.metrics.iter().map(|metric| self.series(rule, metric)).collect() };
        let replaced: HashSet<Series> = users.iter().flat_map(of).collect();
        let rest = presets.into_iter().map(|mut rule| {
            let keep: Vec<bool> = of(&rule).iter().map(|series| !replaced.contains(series)).collect();
            let mut keep = keep.into_iter();
            rule.metrics.retain(|_| keep.next().unwrap_or(true));
            rule
        });
        rest.filter(|rule| !rule.metrics.is_empty()).collect()
    }

    fn series(&self, rule: &Rule, metric: &Metric) -> Series {
        let attributes = metric.attributes.iter().map(|(name, value)| {
            let value = if let Attribute::Literal(value) = value { Some(value.clone()) } else { None };
            (name.clone(), value)
        });
        (rule.tool.clone(), self.instruments.name(metric.instrument), attributes.collect())
    }
}

/// What is for which tool.
fn tools(rules: &[Rule], tellers: &[Teller]) -> HashMap<Arc<str>, ToolRules> {
    let mut tools: BTreeMap<Arc<str>, ToolRules> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let tool = tools.entry(rule.tool.clone()).or_default();
        tool.rules.push(index);
        let mut feeds: Vec<usize> = tool.feeds.to_vec();
        feeds.extend(rule.metrics.iter().map(|metric| metric.instrument));
        feeds.sort_unstable();
        feeds.dedup();
        tool.feeds = feeds.into();
        let selectors =
            rule.metrics.iter().flat_map(Metric::selectors).chain(rule.when.as_ref().and_then(Condition::selector));
        tool.wanted.extend(selectors.map(|selector| selector.name.clone()));
    }
    for (index, teller) in tellers.iter().enumerate() {
        let tool = tools.entry(teller.tool.clone()).or_default();
        tool.tellers.push(index);
        if let StartSource::Series(selector) = &teller.source {
            tool.wanted.insert(selector.name.clone());
        }
    }
    tools.into_iter().collect()
}

impl Metric {
    fn selectors(&self) -> impl Iterator<Item = &Selector> {
        let value = if let Source::Series(selector) = &self.value { Some(selector) } else { None };
        value.into_iter().chain(self.when.as_ref().and_then(Condition::selector))
    }
}

impl Condition {
    fn selector(&self) -> Option<&Selector> {
        if let Self::Series(selector) = self { Some(selector) } else { None }
    }
}

#[cfg(test)]
mod tests;
