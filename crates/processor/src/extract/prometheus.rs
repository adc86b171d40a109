//! Rules on Prometheus text.

use std::borrow::Cow;

use minicol_pdata::Number;
use minicol_plugin::text;
use serde_json::Value;

use super::{Extraction, Item, Reason};
use crate::{
    compile::{Attribute, Kind, Metric, Rule, Source},
    prometheus::{self, Selector, Series},
};

impl Extraction<'_> {
    pub(super) fn prometheus(&mut self, index: usize, rule: &Rule) {
        let (ruleset, tool) = (self.ruleset, self.observation.tool.clone());
        let (bad, example) = match self.document.exposition(ruleset, &tool) {
            Ok(exposition) => (exposition.bad_lines, exposition.bad_line.clone()),
            Err(reason) => return self.unusable.add((index, None), reason, || "the answer".into()),
        };
        if bad > 0 {
            let example = example.unwrap_or_default();
            self.unusable.add((index, None), Reason::BadLine, || format!("the answer (`{example}`)"));
        }
        for (number, metric) in rule.metrics.iter().enumerate() {
            let Source::Series(selector) = &metric.value else { continue };
            if self.document.meets(metric.when.as_ref(), ruleset, &tool) {
                self.series((index, Some(number)), (rule, metric), selector);
            }
        }
    }

    fn series(&mut self, place: super::Place, (rule, metric): (&Rule, &Metric), selector: &Selector) {
        let (ruleset, tool) = (self.ruleset, self.observation.tool.clone());
        let max = ruleset.max_items;
        let Ok(exposition) = self.document.exposition(ruleset, &tool) else { return };
        let kind = exposition.kind(&selector.name);
        let mut found: Vec<Series> = exposition.select(selector).take(max + 1).cloned().collect();
        let name = || format!("`{}`", text::foreign(selector.text()));
        if found.is_empty() {
            // A metric that the text declares has no series before its first labels are used: nothing is missing.
            if kind.is_none() {
                self.unusable.add(place, Reason::Missing, name);
            }
            return;
        }
        if kind == Some(prometheus::Kind::Gauge) && metric.kind == Kind::Counter {
            return self.unusable.add(place, Reason::TypeMismatch, name);
        }
        if found.len() > max {
            self.unusable.add(place, Reason::TooManyItems, name);
            found.truncate(max);
        }
        for series in &found {
            let number = if series.value.is_nan() {
                Err(Reason::Nan)
            } else if series.value.is_infinite() {
                Err(Reason::Infinite)
            } else {
                Ok(Number::Double(series.value))
            };
            let look = |attribute: &Attribute| match attribute {
                Attribute::Label(label) => series
                    .labels
                    .iter()
                    .find(|(name, _)| name == label)
                    .map(|(_, value)| Ok(Cow::Owned(Value::from(value.as_str())))),
                Attribute::Scalar(_) | Attribute::Literal(_) => None,
            };
            let item = Item { attributes: self.attributes(place, metric, "", look), once: None };
            self.sample(place, (rule, metric), number, item, || format!("{} ({})", name(), series.value));
        }
    }
}
