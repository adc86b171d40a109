//! Rules applied to answers: documents become samples. Start from [`extract`]. Nothing here remembers anything but [`Texts`], reads a clock or fails;
//! what cannot be used is told in [`Unusable`].

mod json;
mod prometheus;
mod texts;
mod unusable;
mod value;

use std::{borrow::Cow, cell::OnceCell, sync::Arc};

use minicol_pdata::{Attributes, Number, Observation, Timestamp};
use minicol_plugin::text;
use serde_json::Value;

pub(crate) use texts::Texts;
pub(crate) use unusable::{Complaint, Place, Reason, Unusable};
pub(crate) use value::is_negative;

use crate::{
    compile::{Attribute, Condition, Found, Kind, Metric, Path, Rule, Ruleset, Scalar, StartSource, Teller},
    prometheus::Exposition,
    sample::{Answer, Measured, Sample, Told, ToldStart},
};

/// Values nested deeper are not looked into: some libraries recurse. No JSON text that serde reads nests so deep.
const MAX_DEPTH: usize = 200;

/// What the rules made of one answer.
#[derive(Clone, Debug)]
pub(crate) struct Extracted {
    pub(crate) answer: Answer,
    pub(crate) told: Vec<Told>,
    pub(crate) unusable: Unusable,
    /// Which rules had anything to say: their guards held.
    pub(crate) applied: Vec<usize>,
}

/// One answer on its way to samples.
struct Extraction<'a> {
    ruleset: &'a Ruleset,
    texts: &'a Texts,
    observation: &'a Observation,
    document: Document<'a>,
    samples: Vec<Sample>,
    told: Vec<Told>,
    unusable: Unusable,
    applied: Vec<usize>,
}

/// An answer in the forms that rules ask for, each made at most once.
struct Document<'a> {
    json: &'a Value,
    wrapped: OnceCell<Value>,
    exposition: OnceCell<Result<Exposition, Reason>>,
}

/// What an item is, beside its values.
#[derive(Clone, Default)]
struct Item {
    attributes: Attributes,
    /// Set where it is counted once.
    once: Option<(Arc<str>, Option<Timestamp>)>,
}

/// Applies every rule of an answer's tool. `None` where no rule is for it.
pub(crate) fn extract(ruleset: &Ruleset, texts: &Texts, observation: &Observation) -> Option<Extracted> {
    let tool = ruleset.tools.get(&observation.tool)?;
    let document = Document { json: &observation.document, wrapped: OnceCell::new(), exposition: OnceCell::new() };
    let mut extraction = Extraction {
        ruleset,
        texts,
        observation,
        document,
        samples: Vec::new(),
        told: Vec::new(),
        unusable: Unusable::default(),
        applied: Vec::new(),
    };
    if deeper_than(&observation.document, MAX_DEPTH) {
        for index in &tool.rules {
            extraction.unusable.add((*index, None), Reason::TooDeep, || "the answer".into());
        }
    } else {
        for index in &tool.tellers {
            extraction.start(&ruleset.tellers[*index]);
        }
        for index in &tool.rules {
            extraction.rule(*index);
        }
    }
    let answer = Answer {
        tool: observation.tool.clone(),
        arrival: observation.arrival,
        cut: observation.cut,
        samples: extraction.samples,
        feeds: tool.feeds.clone(),
    };
    Some(Extracted { answer, told: extraction.told, unusable: extraction.unusable, applied: extraction.applied })
}

impl Extraction<'_> {
    fn rule(&mut self, index: usize) {
        let ruleset = self.ruleset;
        let rule = &ruleset.rules[index];
        if !self.document.meets(rule.when.as_ref(), ruleset, &self.observation.tool) {
            return;
        }
        self.applied.push(index);
        match &rule.body {
            crate::compile::Body::Prometheus => self.prometheus(index, rule),
            crate::compile::Body::Document => self.document(index, rule),
            crate::compile::Body::Each { path, once, names } => self.each(index, rule, path, once.as_ref(), *names),
        }
    }

    /// A usable number becomes a sample, anything else is counted. `shown` is what the value came from, for a person.
    fn sample(
        &mut self,
        place: Place,
        (rule, metric): (&Rule, &Metric),
        number: Result<Number, Reason>,
        item: Item,
        shown: impl FnOnce() -> String,
    ) {
        let number = number.and_then(|number| value::scaled(number, metric.scale));
        let number =
            number.and_then(
                |number| {
                    if is_negative(number) && !metric.negative { Err(Reason::Negative) } else { Ok(number) }
                },
            );
        let number = match number {
            Ok(number) => number,
            Err(reason) => return self.unusable.add(place, reason, shown),
        };
        let value = match (item.once, metric.kind) {
            (Some((key, ended)), _) => Measured::Item { key, ended, value: number },
            (None, Kind::Counter) => Measured::Total(number),
            (None, Kind::UpDownCounter) => Measured::UpDown(number),
            (None, Kind::Gauge) => Measured::Level(number),
            (None, Kind::Histogram | Kind::ExponentialHistogram) => Measured::Change(value::as_f64(number)),
        };
        let sample =
            Sample { instrument: metric.instrument, attributes: item.attributes, value, tellers: rule.tellers.clone() };
        self.samples.push(sample);
    }

    /// What a source tells of its start. That it tells nothing is no fault: there may be another who does.
    fn start(&mut self, teller: &Teller) {
        let found = match &teller.source {
            StartSource::Path(path) => match path.one(self.document.json) {
                Found::One(Value::Null) | Found::Nothing => return,
                Found::One(value) => Ok(value.clone()),
                Found::Several => Err(Reason::Several),
            },
            StartSource::Series(selector) => {
                let Ok(exposition) = self.document.exposition(self.ruleset, &self.observation.tool) else { return };
                let mut series = exposition.select(selector);
                match (series.next(), series.next()) {
                    (None, _) => return,
                    // JSON has no NaN: it becomes null, and so no time.
                    (Some(one), None) => Ok(Value::from(one.value)),
                    (Some(_), Some(_)) => Err(Reason::Several),
                }
            }
        };
        let arrival = self.observation.arrival;
        let start = found.and_then(|value| match teller.uptime_scale {
            None => value::time(&value).map(ToldStart::At),
            Some(scale) => {
                let seconds = value::as_f64(value::scaled(value::number(&value)?, Some(scale))?);
                let uptime = std::time::Duration::try_from_secs_f64(seconds).map_err(|_| Reason::BadTime)?;
                // A source that is older than the clock's own beginning tells nonsense.
                let began = arrival.wall - uptime;
                if began.is_unset() { Err(Reason::BadTime) } else { Ok(ToldStart::Uptime(uptime)) }
            }
        });
        match start {
            Ok(start) => self.told.push(Told { teller: teller.name.clone(), start, arrival }),
            Err(reason) => {
                // Where nobody asks any more, nobody misses it.
                let Some((index, _)) = self.ruleset.asks(teller) else { return };
                self.unusable.add((index, None), reason, || format!("the start `{}`", text::foreign(&teller.name)));
            }
        }
    }

    /// An item's attributes; `called` is its name. What is not there, or `null`, is left out.
    fn attributes<'v>(
        &mut self,
        place: Place,
        metric: &Metric,
        called: &str,
        look: impl Fn(&Attribute) -> Option<Result<Cow<'v, Value>, Reason>>,
    ) -> Attributes {
        let (max, texts) = (self.ruleset.max_attribute_length, self.texts);
        let mut attributes = Attributes::new();
        for (name, attribute) in &metric.attributes {
            if let Attribute::Literal(value) = attribute {
                attributes.insert(name.clone(), value.clone());
                continue;
            }
            let value = if let Attribute::Scalar(Scalar::Name) = attribute {
                Ok(Some(value::text(called, max, texts)))
            } else {
                let Some(found) = look(attribute) else { continue };
                found.and_then(|value| value::attribute(&value, max, texts))
            };
            match value {
                Ok(None) => {}
                Ok(Some((value, cut))) => {
                    if cut {
                        self.unusable.add(place, Reason::AttributeCut, || format!("the attribute `{name}`"));
                    }
                    attributes.insert(name.clone(), value);
                }
                Err(reason) => self.unusable.add(place, reason, || format!("the attribute `{name}`")),
            }
        }
        attributes
    }
}

impl Document<'_> {
    fn meets(&self, condition: Option<&Condition>, ruleset: &Ruleset, tool: &str) -> bool {
        match condition {
            None => true,
            Some(Condition::Guard(guard)) => guard.holds(self.json, || self.wrapped()),
            Some(Condition::Series(selector)) => {
                self.exposition(ruleset, tool).is_ok_and(|exposition| exposition.select(selector).next().is_some())
            }
        }
    }

    /// A list that holds the document alone: a filter looks at the elements of a list.
    fn wrapped(&self) -> &Value {
        self.wrapped.get_or_init(|| Value::Array(vec![self.json.clone()]))
    }

    fn exposition(&self, ruleset: &Ruleset, tool: &str) -> Result<&Exposition, Reason> {
        let read = || {
            let Value::String(text) = self.json else { return Err(Reason::NotPrometheus) };
            let wanted = ruleset.tools.get(tool).map(|tool| &tool.wanted);
            let empty = std::collections::HashSet::new();
            let exposition = Exposition::parse(text, wanted.unwrap_or(&empty), ruleset.max_items);
            // Prose has lines, and none of them is a sample.
            if exposition.lines == 0 && exposition.bad_lines > 0 { Err(Reason::NotPrometheus) } else { Ok(exposition) }
        };
        self.exposition.get_or_init(read).as_ref().map_err(|reason| *reason)
    }
}

/// What a scalar of an item is.
fn scalar<'v>(scalar: &Scalar, item: &'v Value, name: &str) -> Option<Result<Cow<'v, Value>, Reason>> {
    match scalar {
        Scalar::Name => Some(Ok(Cow::Owned(Value::from(name)))),
        Scalar::Path(path) => one(path, item),
    }
}

fn one<'v>(path: &Path, item: &'v Value) -> Option<Result<Cow<'v, Value>, Reason>> {
    match path.one(item) {
        Found::Nothing => None,
        // A list or a map is of no use as a scalar.
        Found::One(Value::Array(_) | Value::Object(_)) => Some(Err(Reason::Attribute)),
        Found::One(value) => Some(Ok(Cow::Borrowed(value))),
        Found::Several => Some(Err(Reason::Several)),
    }
}

/// A value as a message shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) => format!("a map of {}", map.len()),
        Value::String(text) => format!("\"{}\"", text::shortened(text, 60)),
        other => other.to_string(),
    }
}

/// Looks without recursion: the value may nest deeper than the stack reaches.
fn deeper_than(value: &Value, max: usize) -> bool {
    let mut level: Vec<&Value> = vec![value];
    for _ in 0..=max {
        let mut next = Vec::new();
        for value in level {
            match value {
                Value::Array(list) => next.extend(list.iter().filter(|one| one.is_array() || one.is_object())),
                Value::Object(map) => next.extend(map.values().filter(|one| one.is_array() || one.is_object())),
                _ => {}
            }
        }
        if next.is_empty() {
            return false;
        }
        level = next;
    }
    true
}
