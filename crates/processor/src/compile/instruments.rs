//! The metrics of all rules together: one name has one type, one unit, one set of boundaries.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use minicol_pdata::{MetricDescriptor, MetricKind};
use minicol_plugin::config::Problems;

use super::{buckets::Buckets, words};
use crate::sample::{Exponents, Instrument};

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Instruments {
    list: Vec<Instrument>,
    /// By name in lower case (names of instruments are compared so): the first of that name, and where it stands.
    first: HashMap<String, (usize, String)>,
}

impl Instruments {
    /// The index of an instrument. Where another rule gives the name another meaning, that is an error at the metric's own place.
    pub(super) fn add(&mut self, new: Instrument, label: &str, problems: &mut Problems) -> Option<usize> {
        let lower = new.descriptor.name.to_lowercase();
        let Some((first, place)) = self.first.get(&lower) else {
            self.first.insert(lower, (self.list.len(), label.to_owned()));
            self.list.push(new);
            return Some(self.list.len() - 1);
        };
        let known = &self.list[*first];
        if !known.is_one_with(&new) {
            let (field, differs) = difference(known, &new);
            let message = format!("{differs} in {place}: one metric has one type, one unit and one set of buckets");
            problems.error(field, message).help("make both alike, or give one of them another name");
            return None;
        }
        // One stream, told in other words: the words go with the rule.
        let same = self.list.iter().position(|one| *one == new);
        Some(same.unwrap_or_else(|| {
            self.list.push(new);
            self.list.len() - 1
        }))
    }

    /// The name of one of them.
    pub(super) fn name(&self, index: usize) -> Arc<str> {
        self.list[index].descriptor.name.clone()
    }

    pub(super) fn into_vec(self) -> Vec<Instrument> {
        self.list
    }
}

/// Where and how two metrics of one name differ.
fn difference(known: &Instrument, new: &Instrument) -> (&'static str, String) {
    let (old, new_one) = (&known.descriptor, &new.descriptor);
    let name = &new_one.name;
    if old.name != *name {
        ("name", format!("`{name}` is `{}`, but for the size of its letters,", old.name))
    } else if known.is_delta() != new.is_delta() && old.kind.name() == new_one.kind.name() {
        let word = |one: &Instrument| if one.is_delta() { "delta" } else { "cumulative" };
        ("temporality", format!("`{name}` is {} here, but {}", word(new), word(known)))
    } else if old.kind != new_one.kind {
        ("type", format!("`{name}` is {} here, but {}", words::one(new_one.kind.name()), words::one(old.kind.name())))
    } else if old.unit != new_one.unit {
        ("unit", format!("`{name}` is in `{}` here, but in `{}`", new_one.unit, old.unit))
    } else if let (Some(Exponents { max_size, max_scale }), Some(old)) = (new.exponents, known.exponents) {
        let (field, new_one, old) = if max_size == old.max_size {
            ("max_scale", i32::from(max_scale), i32::from(old.max_scale))
        } else {
            ("max_size", i32::from(max_size), i32::from(old.max_size))
        };
        (field, format!("`{name}` has the {field} {new_one} here, but {old}"))
    } else {
        ("boundaries", format!("`{name}` has the boundaries {} here, but {}", list(&new.bounds), list(&known.bounds)))
    }
}

fn list(bounds: &[f64]) -> String {
    let mut out = String::from("[");
    for (index, bound) in bounds.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(out, "{}{bound}", if index == 0 { "" } else { ", " });
    }
    out + "]"
}

/// An instrument of a rule.
pub(super) fn instrument(name: &str, unit: &str, description: &str, kind: MetricKind, buckets: Buckets) -> Instrument {
    let Buckets { bounds, exponents } = buckets;
    let negative = bounds.first().is_some_and(|lowest| *lowest < 0.0);
    Instrument {
        descriptor: MetricDescriptor {
            name: Arc::from(name),
            description: Arc::from(description),
            unit: Arc::from(unit),
            kind,
        },
        bounds: bounds.into(),
        exponents,
        negative,
    }
}
