//! Rules on JSON documents, and on their items.

use std::{borrow::Cow, cell::OnceCell, sync::Arc};

use minicol_plugin::text;
use serde_json::Value;

use super::{Extraction, Item, Reason, scalar, shown, value};
use crate::compile::{Attribute, Condition, Found, Metric, Once, Path, Rule, Source};

impl Extraction<'_> {
    pub(super) fn document(&mut self, index: usize, rule: &Rule) {
        let json = self.document.json;
        for (number, metric) in rule.metrics.iter().enumerate() {
            if !self.document.meets(metric.when.as_ref(), self.ruleset, &self.observation.tool) {
                continue;
            }
            self.one(index, number, (rule, metric), json, "", None);
        }
    }

    /// One value per item. At most `max_items` are looked at; the others are counted.
    pub(super) fn each(&mut self, index: usize, rule: &Rule, path: &Path, once: Option<&Once>, names: bool) {
        let json = self.document.json;
        let items: Vec<(Cow<'_, str>, &Value)> =
            if names { path.named(json) } else { path.all(json).into_iter().map(|item| ("".into(), item)).collect() };
        let max = self.ruleset.max_items;
        if items.len() > max {
            for _ in max..items.len() {
                self.unusable.add((index, None), Reason::TooManyItems, || format!("`{}`", text::foreign(path.text())));
            }
        }
        for (name, item) in items.into_iter().take(max) {
            self.item(index, rule, once, item, &name);
        }
    }

    fn item(&mut self, index: usize, rule: &Rule, once: Option<&Once>, item: &Value, name: &str) {
        let wrapped = OnceCell::new();
        let wrap = || wrapped.get_or_init(|| Value::Array(vec![item.clone()]));
        let mut known = None;
        for (number, metric) in rule.metrics.iter().enumerate() {
            let meets = match &metric.when {
                None => true,
                Some(Condition::Guard(guard)) => guard.holds(item, wrap),
                Some(Condition::Series(_)) => false,
            };
            if !meets {
                continue;
            }
            if let Some(once) = once
                && known.is_none()
            {
                // An item that cannot be told from the others, or not placed in time, counts for none of the metrics.
                let Some(key) = self.known(index, once, item, name) else { return };
                known = Some(key);
            }
            self.one(index, number, (rule, metric), item, name, known.clone());
        }
    }

    /// What an item is known by, and when it ended, where it tells.
    fn known(
        &mut self,
        index: usize,
        once: &Once,
        item: &Value,
        name: &str,
    ) -> Option<(Arc<str>, Option<minicol_pdata::Timestamp>)> {
        let key = scalar(&once.key, item, name).and_then(Result::ok).and_then(|key| value::key(&key));
        let Some(key) = key else {
            self.unusable.add((index, None), Reason::NoKey, || format!("an item ({})", shown(item)));
            return None;
        };
        let ended = match once.time.as_ref().map(|path| (path, path.one(item))) {
            None | Some((_, Found::Nothing | Found::One(Value::Null))) => None,
            Some((path, found)) => {
                let time = if let Found::One(time) = found { value::time(time) } else { Err(Reason::Several) };
                match time {
                    Ok(time) => Some(time),
                    Err(reason) => {
                        self.unusable.add((index, None), reason, || format!("`{}`", text::foreign(path.text())));
                        return None;
                    }
                }
            }
        };
        Some((key.into(), ended))
    }

    /// One value of one metric.
    fn one(
        &mut self,
        index: usize,
        number: usize,
        (rule, metric): (&Rule, &Metric),
        json: &Value,
        name: &str,
        once: Option<(Arc<str>, Option<minicol_pdata::Timestamp>)>,
    ) {
        let place = (index, Some(number));
        let path = match &metric.value {
            Source::Path(path) => path,
            Source::Number(number) => {
                let item = self.described(place, metric, json, name, once);
                return self.sample(place, (rule, metric), Ok(*number), item, String::new);
            }
            Source::Series(_) => return,
        };
        let found = match path.one(json) {
            Found::One(value) => value,
            Found::Nothing => {
                return self.unusable.add(place, Reason::Missing, || format!("`{}`", text::foreign(path.text())));
            }
            Found::Several => {
                return self.unusable.add(place, Reason::Several, || format!("`{}`", text::foreign(path.text())));
            }
        };
        let measured = match &metric.pattern {
            Some(pattern) => match found {
                Value::Null => Err(Reason::Null),
                Value::String(text) => match pattern.captures(text).and_then(|captures| captures.get(1)) {
                    Some(capture) => read(metric, &Value::from(capture.as_str())),
                    None => Err(Reason::NoMatch),
                },
                _ => Err(Reason::NoMatch),
            },
            None => read(metric, found),
        };
        // Attributes of what makes no point are nobody's concern.
        let item = if measured.is_ok() { self.described(place, metric, json, name, once) } else { Item::default() };
        self.sample(place, (rule, metric), measured, item, || {
            format!("`{}` ({})", text::foreign(path.text()), shown(found))
        });
    }

    fn described(
        &mut self,
        place: super::Place,
        metric: &Metric,
        json: &Value,
        name: &str,
        once: Option<(Arc<str>, Option<minicol_pdata::Timestamp>)>,
    ) -> Item {
        let look = |attribute: &Attribute| match attribute {
            Attribute::Scalar(which) => scalar(which, json, name),
            Attribute::Label(_) | Attribute::Literal(_) => None,
        };
        Item { attributes: self.attributes(place, metric, name, look), once }
    }
}

fn read(metric: &Metric, value: &Value) -> Result<minicol_pdata::Number, Reason> {
    if !metric.is_time {
        return value::number(value);
    }
    value::time(value).map(|time| {
        let nanos = time.as_nanos();
        // A whole second stays whole.
        match (nanos % 1_000_000_000, i64::try_from(nanos / 1_000_000_000)) {
            (0, Ok(seconds)) => minicol_pdata::Number::Int(seconds),
            _ => minicol_pdata::Number::Double(time.as_seconds()),
        }
    })
}
