//! What is wrong is reported, and put right in a copy, so that the rest can be looked at.

use super::Part;
use crate::de::Fault;
use crate::nearest::nearest;
use crate::node::{Entry, Mapping, Node, Value};
use crate::path::{Path, Segment};
use crate::problem::{Problem, Problems};
use crate::secret::is_secret_path;
use crate::text::quoted;

/// A copy of a component's configuration, in which each error is put right after it was reported.
pub(super) struct Repair<'a> {
    root: &'a Node,
    base: &'a Path,
    part: Part<'a>,
    pub(super) tree: Node,
    problems: &'a mut Problems,
    /// Whether nothing was wrong so far.
    pub(super) intact: bool,
    /// What is no longer in the copy, because nothing could be made of it.
    removed: Vec<Path>,
    /// Lists without a body, which are no longer in the copy, so that their default is taken.
    defaulted: Vec<Path>,
}

impl<'a> Repair<'a> {
    pub(super) fn new(root: &'a Node, base: &'a Path, part: Part<'a>, problems: &'a mut Problems) -> Self {
        let mut tree = root.find(base).cloned().unwrap_or_else(|| Node::null(root.mark_of_key(base)));
        // A variable that holds a list or a mapping is its text too, for a type that takes text: it is not taken apart without need.
        if part != Part::All
            && tree.as_mapping().is_some()
            && let Value::Mapping(mapping) = &mut tree.expand().value
        {
            mapping.0.retain(|key, _| part.has(key));
        }
        let intact = !tree.contains_invalid();
        Self { root, base, part, tree, problems, intact, removed: Vec::new(), defaulted: Vec::new() }
    }

    /// Reports a fault and puts it right; `false` where there is no going on.
    pub(super) fn handle(&mut self, path: &Path, fault: Fault) -> bool {
        if let Some(invalid) = self.invalid_at(path) {
            // Reported already, and standing in for what is wanted was not enough.
            self.removed.push(invalid.clone());
            return self.remove(&invalid);
        }
        match fault {
            Fault::NoList if self.is_entry(path) => {
                self.defaulted.push(path.clone());
                return self.remove(path);
            }
            Fault::MissingKey(key) => {
                let full = path.join(key.as_str());
                if self.removed.contains(&full) {
                    return self.invalidate(path);
                }
                if self.defaulted.contains(&full) {
                    self.report(&full, &Fault::NoList);
                } else {
                    self.report(path, &Fault::MissingKey(key.clone()));
                }
                return self.insert_invalid(path, key);
            }
            Fault::UnknownKey { ref key, .. } => {
                let full = path.join(key.as_str());
                self.report(path, &fault);
                if let Fault::UnknownKey { key, known } = &fault
                    && let Some(meant) = nearest(key, known)
                    && self.relative(path).and_then(|path| self.tree.find(&path.join(meant))).is_none()
                {
                    // A required key that is misspelt is not missing as well.
                    self.insert_invalid(path, meant.to_owned());
                }
                if self.remove(&full) {
                    return true;
                }
            }
            fault => self.report(path, &fault),
        }
        self.invalidate(path)
    }

    /// The places that are wrong, as far as the user meant them: what is unknown was meant for another.
    pub(super) fn wrong(&self) -> Vec<Path> {
        let mut wrong: Vec<Path> = self.removed.iter().chain(&self.defaulted).cloned().collect();
        note_invalid(&self.tree, self.base.clone(), &mut wrong);
        wrong
    }

    /// The copy without what stands in for something: there the defaults are taken.
    pub(super) fn with_defaults(&self) -> Node {
        let mut tree = self.tree.clone();
        remove_invalid(&mut tree);
        tree
    }

    fn report(&mut self, path: &Path, fault: &Fault) {
        self.intact = false;
        let mut message = fault.to_string();
        let node = self.root.find(path);
        if let (Some(Value::Scalar(scalar)), Fault::Other(_) | Fault::UnknownChoice { .. }) =
            (node.map(|node| &node.value), fault)
            && (scalar.secret || is_secret_path(path))
            && !scalar.text.is_empty()
        {
            message = message.replace(scalar.text.as_str(), "***");
        }
        let problem = Problem::error(message);
        let problem = match fault {
            Fault::UnknownKey { key, known } => {
                let problem = problem.at_key(self.root, &path.join(key.as_str()));
                let beside = if path == self.base { self.part.hidden() } else { &[] };
                let known: Vec<&str> = known.iter().map(String::as_str).chain(beside.iter().copied()).collect();
                problem.with_help(key_help(key, &known))
            }
            Fault::MissingKey(key) => {
                let full = path.join(key.as_str());
                problem.at_key(self.root, path).in_path(&full).with_help(format!("add `{key}:` here"))
            }
            Fault::UnknownChoice { found, known } => {
                let problem = problem.at_value(self.root, path);
                match nearest(found, known) {
                    Some(meant) => problem.with_help(format!("did you mean {}?", quoted(meant))),
                    None => problem,
                }
            }
            Fault::Type { help: Some(help), .. } => problem.at_value(self.root, path).with_help(help),
            Fault::NoList => problem.at_value(self.root, path).with_help("write its items after the key, or `[]`"),
            Fault::Type { help: None, .. } | Fault::Other(_) => problem.at_value(self.root, path),
        };
        self.problems.push(problem);
    }

    /// The part of a path in the copy, if it is in the copy.
    fn relative(&self, path: &Path) -> Option<Path> {
        path.starts_with(self.base).then(|| path.segments()[self.base.segments().len()..].iter().cloned().collect())
    }

    /// What is invalid at the path or above it.
    fn invalid_at(&self, path: &Path) -> Option<Path> {
        let mut node = &self.tree;
        let mut at = self.base.clone();
        if node.is_invalid() {
            return Some(at);
        }
        for segment in self.relative(path)?.segments() {
            node = node.step(segment)?;
            at.push(segment.clone());
            if node.is_invalid() {
                return Some(at);
            }
        }
        None
    }

    /// Whether the path ends in a key of the copy.
    fn is_entry(&self, path: &Path) -> bool {
        self.relative(path).is_some_and(|path| {
            matches!(path.split_last(), Some((_, Segment::Key(_)))) && self.tree.find(&path).is_some()
        })
    }

    fn remove(&mut self, path: &Path) -> bool {
        let Some((above, last)) =
            self.relative(path).and_then(|path| path.split_last().map(|(above, last)| (above, last.clone())))
        else {
            return false;
        };
        match (self.tree.find_mut(&above).map(|node| &mut node.expand().value), last) {
            (Some(Value::Mapping(mapping)), Segment::Key(key)) => mapping.0.shift_remove(&key).is_some(),
            // An item cannot go without the others changing their places: the list as a whole stands in for what is wanted.
            (Some(value @ Value::Sequence(_)), Segment::Index(_)) => {
                *value = Value::Invalid;
                true
            }
            _ => false,
        }
    }

    /// Makes what is at the path, or nearest above it, stand in for whatever is wanted.
    fn invalidate(&mut self, path: &Path) -> bool {
        let Some(mut path) = self.relative(path) else { return false };
        while self.tree.find(&path).is_none() {
            let Some((above, _)) = path.split_last() else { break };
            path = above;
        }
        match self.tree.find_mut(&path) {
            Some(node) if !node.is_invalid() => {
                node.value = Value::Invalid;
                true
            }
            _ => false,
        }
    }

    /// Gives the mapping at the path a key that stands in for whatever is wanted.
    fn insert_invalid(&mut self, path: &Path, key: String) -> bool {
        let Some(node) = self.relative(path).and_then(|path| self.tree.find_mut(&path)) else { return false };
        if node.as_mapping().is_none() {
            if !node.is_null() && node.as_text().is_none_or(|text| !text.trim().is_empty()) {
                return self.invalidate(path);
            }
            node.value = Value::Mapping(Mapping::default());
        }
        let mark = node.mark.clone();
        let Value::Mapping(mapping) = &mut node.expand().value else { return false };
        let entry = Entry { key_mark: mark.clone(), value: Node::new(mark, Value::Invalid) };
        mapping.0.insert(key, entry).is_none()
    }
}

/// Where something stands in for what is wanted.
fn note_invalid(node: &Node, at: Path, into: &mut Vec<Path>) {
    match &node.expanded().value {
        Value::Invalid => into.push(at),
        Value::Mapping(mapping) => {
            for (key, entry) in mapping.iter() {
                note_invalid(&entry.value, at.join(key), into);
            }
        }
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                note_invalid(item, at.join(index), into);
            }
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

fn remove_invalid(node: &mut Node) {
    if !node.contains_invalid() {
        return;
    }
    match &mut node.expand().value {
        Value::Mapping(mapping) => {
            mapping.0.retain(|_, entry| !entry.value.is_invalid());
            mapping.0.values_mut().for_each(|entry| remove_invalid(&mut entry.value));
        }
        Value::Sequence(items) => items.iter_mut().for_each(remove_invalid),
        Value::Null | Value::Scalar(_) | Value::Invalid => {}
    }
}

/// The cure for an unknown key.
fn key_help<S: AsRef<str>>(key: &str, known: &[S]) -> String {
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    if known.is_empty() {
        return "remove it: there are no keys here".to_owned();
    }
    let valid = format!("valid keys: {}", known.join(", "));
    match nearest(key, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`? {valid}"),
        None => valid,
    }
}
