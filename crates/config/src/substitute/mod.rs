//! `${env:NAME}` and its kin, in the values of a tree.
//!
//! What a variable holds is taken as it is: a `$` in it means nothing, so no expansion can run away, and a password may hold anything.

mod reference;

use std::sync::Arc;

use serde_json::Value as Json;

use self::reference::{Expansion, Fault, expand};
use crate::environment::Environment;
use crate::mark::{Mark, SourceText};
use crate::node::{Entry, Mapping, Node, Scalar, ScalarStyle, Value};
use crate::path::Path;
use crate::problem::{Problem, Problems};
use crate::yaml::{self, Budget, MAX_DEPTH};

/// Replaces the references in every scalar; keys stay as they are. A scalar with a wrong reference is reported and becomes invalid.
pub(crate) fn substitute(node: &mut Node, environment: &Environment, budget: &mut Budget, problems: &mut Problems) {
    Substitution { environment, budget, problems, too_large: false }.node(node, &Path::root());
}

/// A text that comes from a variable as a whole: typed where a type is wanted, a list or a mapping where it is written as one.
///
/// `depth` is how deep in the tree it will stand.
pub(crate) fn from_variable(text: &str, secret: bool, mark: &Mark, depth: usize, budget: &mut Budget) -> Node {
    let mut expanded = flow(text, mark, depth, budget).map(Box::new);
    if secret && let Some(node) = &mut expanded {
        node.hide();
    }
    let scalar = Scalar { text: text.to_owned(), style: ScalarStyle::Plain, expanded, secret };
    Node::new(mark.clone(), Value::Scalar(scalar))
}

/// The list or mapping that a text is, if it is one in YAML's flow style (JSON is). Its parts are where the reference to it is.
fn flow(text: &str, mark: &Mark, depth: usize, budget: &mut Budget) -> Option<Node> {
    if !text.trim_start().starts_with(['[', '{']) {
        return None;
    }
    let yaml = yaml::parse(&SourceText::new("", text), budget).ok().flatten();
    // JSON that YAML does not take: indented by tabs, or with escaped surrogates.
    let mut node = yaml.or_else(|| from_json(&serde_json::from_str(text).ok()?, mark, budget))?;
    if (node.as_mapping().is_none() && node.as_sequence().is_none()) || depth + yaml::depth(&node) > MAX_DEPTH {
        return None;
    }
    node.move_to(mark);
    Some(node)
}

pub(crate) fn from_json(json: &Json, mark: &Mark, budget: &mut Budget) -> Option<Node> {
    let bytes = json.as_str().map_or(0, str::len);
    if !budget.take(1, bytes) {
        return None;
    }
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(_) | Json::Number(_) => Value::Scalar(Scalar::plain(json.to_string())),
        Json::String(text) => Value::Scalar(Scalar::text(text)),
        Json::Array(items) => {
            Value::Sequence(items.iter().map(|item| from_json(item, mark, budget)).collect::<Option<_>>()?)
        }
        Json::Object(entries) => {
            let mut mapping = Mapping::default();
            for (key, value) in entries {
                let entry = Entry { key_mark: mark.clone(), value: from_json(value, mark, budget)? };
                mapping.0.insert(key.clone(), entry);
            }
            Value::Mapping(mapping)
        }
    };
    Some(Node::new(mark.clone(), value))
}

struct Substitution<'a> {
    environment: &'a Environment,
    budget: &'a mut Budget,
    problems: &'a mut Problems,
    /// Said once: a file may refer a thousand times to what is too large.
    too_large: bool,
}

impl Substitution<'_> {
    fn node(&mut self, node: &mut Node, path: &Path) {
        match &mut node.value {
            Value::Scalar(scalar) if scalar.text.contains('$') => match self.scalar(scalar, &node.mark, path) {
                Ok(Some(replaced)) => *node = replaced,
                Ok(None) => {}
                Err(()) => node.value = Value::Invalid,
            },
            Value::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &path.join(index));
                }
            }
            Value::Mapping(mapping) => {
                for (key, entry) in &mut mapping.0 {
                    self.node(&mut entry.value, &path.join(key));
                }
            }
            Value::Scalar(_) | Value::Null | Value::Invalid => {}
        }
    }

    /// The node in place of a scalar; `None` where the scalar itself was changed.
    fn scalar(&mut self, scalar: &mut Scalar, mark: &Mark, path: &Path) -> Result<Option<Node>, ()> {
        let expansion = match expand(&scalar.text, self.environment) {
            Ok(expansion) => expansion,
            Err(faults) => {
                for fault in faults {
                    // Of what is only counted, nobody sees the place.
                    let at = if self.problems.is_full() { mark.clone() } else { locate(&fault.reference, mark) };
                    self.problems.push(fault_problem(&fault, &at, path));
                }
                return Err(());
            }
        };
        if self.too_large || !self.budget.take(0, expansion.text().len()) {
            if !std::mem::replace(&mut self.too_large, true) {
                let problem =
                    Problem::error("the configuration is too large: what its variables hold is more than can be taken");
                self.problems.push(problem.at(mark).in_path(path));
            }
            return Err(());
        }
        match expansion {
            Expansion::Whole { text, secret } if scalar.style == ScalarStyle::Plain => {
                return Ok(Some(from_variable(&text, secret, mark, path.segments().len(), self.budget)));
            }
            Expansion::Whole { text, secret } | Expansion::Mixed { text, secret } => {
                *scalar = Scalar { secret, ..Scalar::text(text) };
            }
            // `$$` alone leaves an unquoted text what it was: unquoted.
            Expansion::Unescaped { text } => scalar.text = text,
        }
        Ok(None)
    }
}

fn fault_problem(fault: &Fault, mark: &Mark, path: &Path) -> Problem {
    let problem = Problem::error(&fault.message).at(mark).in_path(path);
    match &fault.help {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}

/// How many lines of a long text are searched for a reference.
const MAX_LINES: usize = 1000;

/// Where a reference stands in the scalar that begins at `mark`: the first place where its text is found, else the scalar's beginning.
fn locate(reference: &str, mark: &Mark) -> Mark {
    let reference = reference.split(['\n', '\r']).next().unwrap_or_default();
    let source = Arc::clone(mark.source());
    for (number, line) in (mark.line()..).zip(source.lines_from(mark.line())).take(MAX_LINES) {
        let skipped = if number == mark.line() { mark.column() - 1 } else { 0 };
        let start = line.char_indices().nth(skipped).map_or(line.len(), |(at, _)| at);
        if let Some(found) = line[start..].find(reference) {
            let column = line[..start + found].chars().count() + 1;
            return mark.moved(number, column, reference.chars().count());
        }
    }
    mark.clone()
}
