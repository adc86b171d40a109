//! The configuration as a tree that knows where each part of it was written.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::mark::{Mark, SourceText};
use crate::path::{Path, Segment};
use crate::problem::{Problem, Problems};
use crate::scalar::Plain;
use crate::text::quoted;
use crate::yaml::{Budget, parse};

/// A value of the configuration and the place where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Mapping),
    /// What could not be read or substituted, and has been reported. Whatever is wanted of it, it gives, so that the rest can be looked at.
    Invalid,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) style: ScalarStyle,
    /// What the text is where a list or a map is wanted, when it came from a variable.
    pub(crate) expanded: Option<Box<Node>>,
    /// Whether it came from a variable whose name says that it holds a secret: it is never shown.
    pub(crate) secret: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScalarStyle {
    /// Unquoted: its type is what YAML's core schema makes of it, unless text is wanted.
    Plain,
    /// Quoted, a block, tagged `!!str`, or put together from references: text.
    Text,
}

/// A mapping: keys in the order in which they were first written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping(pub(crate) IndexMap<String, Entry>);

/// The value under a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub(crate) key_mark: Mark,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) const fn new(mark: Mark, value: Value) -> Self {
        Self { mark, value }
    }

    /// No value, as written at `mark`: what a key without a body has.
    pub const fn null(mark: Mark) -> Self {
        Self::new(mark, Value::Null)
    }

    /// A mapping without keys, of a source of that name. What a test starts from.
    pub fn empty(name: &str) -> Self {
        Self::new(Mark::start(SourceText::new(name, "")), Value::Mapping(Mapping::default()))
    }

    /// What `text` says in YAML (or JSON), as one source of that name. References in it are left as they stand.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, Problems> {
        let source = SourceText::new(name, text);
        Ok(parse(&source, &mut Budget::default())?.unwrap_or_else(|| Self::null(Mark::start(source))))
    }

    /// Where the value was written.
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Whether both hold the same values, wherever and however they are written: places, comments, the order of keys and where a value came
    /// from do not count. What is quoted is text, and so not the same as a number.
    pub fn means_the_same(&self, other: &Self) -> bool {
        match (&self.expanded().value, &other.expanded().value) {
            (Value::Null, _) | (_, Value::Null) => self.is_null() && other.is_null(),
            (Value::Scalar(one), Value::Scalar(other)) => one.text == other.text && one.style == other.style,
            (Value::Sequence(some), Value::Sequence(others)) => {
                some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.means_the_same(other))
            }
            (Value::Mapping(some), Value::Mapping(others)) => {
                let is_there = |(key, entry): (&String, &Entry)| {
                    others.0.get(key).is_some_and(|other| entry.value.means_the_same(&other.value))
                };
                some.len() == others.len() && some.0.iter().all(is_there)
            }
            _ => false,
        }
    }

    /// Whether the key has no body (or `null`, or a variable that holds nothing).
    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Scalar(Scalar { text, style: ScalarStyle::Plain, .. }) => Plain::of(text.trim()) == Plain::Null,
            _ => false,
        }
    }

    /// Whether this could not be read, which has been reported already: say nothing more about it.
    pub const fn is_invalid(&self) -> bool {
        matches!(self.value, Value::Invalid)
    }

    /// Whether this, or anything in it, could not be read.
    pub fn contains_invalid(&self) -> bool {
        match &self.value {
            Value::Invalid => true,
            Value::Sequence(items) => items.iter().any(Self::contains_invalid),
            Value::Mapping(mapping) => mapping.0.values().any(|entry| entry.value.contains_invalid()),
            Value::Scalar(scalar) => scalar.expanded.as_ref().is_some_and(|node| node.contains_invalid()),
            Value::Null => false,
        }
    }

    /// The mapping, if it is one (or a variable that holds one).
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.expanded().value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// The list, if it is one (or a variable that holds one).
    pub fn as_sequence(&self) -> Option<&[Self]> {
        match &self.expanded().value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The text of a scalar, as written, without quotes; none for `null`, lists and maps.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The value under a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key)
    }

    /// What is at the path below this node.
    pub fn find(&self, path: &Path) -> Option<&Self> {
        path.segments().iter().try_fold(self, |node, segment| node.step(segment))
    }

    /// The place of the value at the path below this node, or of the nearest thing above it.
    pub fn mark_of_value(&self, path: &Path) -> Mark {
        self.nearest_marks(path).1
    }

    /// The place of the key at the path below this node (of the item, where the path ends in a list), or of the nearest thing above it.
    pub fn mark_of_key(&self, path: &Path) -> Mark {
        self.nearest_marks(path).0
    }

    /// The keys of a section such as `receivers`, with what is under them.
    ///
    /// A section without a body has none. Anything but a mapping is an error at `path` (the section's own), once.
    pub fn section<'a>(
        &'a self,
        path: &Path,
        problems: &mut Problems,
    ) -> impl Iterator<Item = (&'a str, &'a Entry)> + use<'a> {
        let mapping = self.as_mapping();
        if mapping.is_none() && !self.is_null() && !self.is_invalid() {
            let message = format!("expected a mapping, found {}", self.describe(crate::secret::is_secret_path(path)));
            problems.push(Problem::error(message).at(&self.mark).in_path(path));
        }
        mapping.into_iter().flat_map(Mapping::iter)
    }

    /// What this is, for a message: "the text `fast`", "a list". A value that must stay secret is not told.
    pub(crate) fn describe(&self, secret: bool) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Invalid => "something unreadable".to_owned(),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Scalar(scalar) => scalar.describe(secret),
        }
    }

    /// The list or mapping that a variable holds, else the node itself.
    pub(crate) fn expanded(&self) -> &Self {
        match &self.value {
            Value::Scalar(Scalar { expanded: Some(node), .. }) => node,
            _ => self,
        }
    }

    /// As [`Node::expanded`], for good.
    pub(crate) fn expand(&mut self) -> &mut Self {
        if let Value::Scalar(Scalar { expanded, .. }) = &mut self.value
            && let Some(node) = expanded.take()
        {
            *self = *node;
        }
        self
    }

    /// Says of all text in this node that it is never to be shown.
    pub(crate) fn hide(&mut self) {
        match &mut self.value {
            Value::Scalar(scalar) => scalar.secret = true,
            Value::Sequence(items) => items.iter_mut().for_each(Self::hide),
            Value::Mapping(mapping) => mapping.0.values_mut().for_each(|entry| entry.value.hide()),
            Value::Null | Value::Invalid => {}
        }
    }

    /// Says of this node and all in it that they were written at `mark`.
    pub(crate) fn move_to(&mut self, mark: &Mark) {
        self.mark = mark.clone();
        match &mut self.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.move_to(mark)),
            Value::Mapping(mapping) => mapping.0.values_mut().for_each(|entry| {
                entry.key_mark = mark.clone();
                entry.value.move_to(mark);
            }),
            Value::Null | Value::Scalar(_) | Value::Invalid => {}
        }
    }

    /// Says of this node and all in it that the marks are places of `source`.
    pub(crate) fn rebase(&mut self, source: &Arc<SourceText>) {
        let rebased = |mark: &Mark| Mark::new(Arc::clone(source), mark.line(), mark.column(), mark.width());
        self.mark = rebased(&self.mark);
        match &mut self.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.rebase(source)),
            Value::Mapping(mapping) => mapping.0.values_mut().for_each(|entry| {
                entry.key_mark = rebased(&entry.key_mark);
                entry.value.rebase(source);
            }),
            Value::Null | Value::Scalar(_) | Value::Invalid => {}
        }
    }

    pub(crate) fn step(&self, segment: &Segment) -> Option<&Self> {
        match segment {
            Segment::Key(key) => self.get(key),
            Segment::Index(index) => self.as_sequence()?.get(*index),
        }
    }

    /// The node at a path, to change it.
    pub(crate) fn find_mut(&mut self, path: &Path) -> Option<&mut Self> {
        path.segments().iter().try_fold(self, |node, segment| match (segment, &mut node.expand().value) {
            (Segment::Key(key), Value::Mapping(mapping)) => mapping.0.get_mut(key).map(|entry| &mut entry.value),
            (Segment::Index(index), Value::Sequence(items)) => items.get_mut(*index),
            _ => None,
        })
    }

    /// The marks of the key and of the value at the path, or of what is nearest above.
    fn nearest_marks(&self, path: &Path) -> (Mark, Mark) {
        let mut node = self;
        let mut key = &self.mark;
        for segment in path.segments() {
            let Some(next) = node.step(segment) else { return (key.clone(), key.clone()) };
            key = match (segment, node.as_mapping()) {
                (Segment::Key(name), Some(mapping)) => mapping.0.get(name).map_or(&next.mark, |entry| &entry.key_mark),
                _ => &next.mark,
            };
            node = next;
        }
        // A key without a body is all that there is to point at.
        let value = if matches!(node.value, Value::Null) { key } else { &node.mark };
        (key.clone(), value.clone())
    }
}

impl Scalar {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: ScalarStyle::Plain, expanded: None, secret: false }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { style: ScalarStyle::Text, ..Self::plain(text) }
    }

    pub(crate) fn describe(&self, secret: bool) -> String {
        if secret || self.secret {
            return "a text that is not shown here".to_owned();
        }
        let shown = quoted(&self.text);
        match (self.style, Plain::of(self.text.trim())) {
            (ScalarStyle::Plain, Plain::Null) => "nothing".to_owned(),
            (ScalarStyle::Plain, Plain::Bool(_)) => shown,
            (ScalarStyle::Plain, Plain::Unsigned(_) | Plain::Signed(_) | Plain::Float(_)) => {
                format!("the number {shown}")
            }
            _ => format!("the text {shown}"),
        }
    }
}

impl Mapping {
    /// The keys and what is under them, in the order in which they were first written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.get(key).map(Entry::value)
    }

    /// The keys, in the order in which they were first written.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Entry {
    /// Where the key was written.
    pub const fn key_mark(&self) -> &Mark {
        &self.key_mark
    }

    /// What is under the key.
    pub const fn value(&self) -> &Node {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use crate::{Environment, Request, load};

    #[test]
    fn two_trees_mean_the_same_wherever_and_however_they_are_written() {
        let environment: Environment = vec![("PORT", "4317")].into();
        let tree = |yaml: &str| {
            let request = Request {
                configs: vec![format!("yaml:{yaml}")],
                environment: environment.clone(),
                ..Request::default()
            };
            load(&request).unwrap().root
        };
        let one = tree("{a: {b: 4317, c: [x, 'y']}, d: }");
        for same in ["{d: null, a: {c: [x, 'y'], b: 4317}}", "a: # why\n  b: ${env:PORT}\n  c:\n  - x\n  - \"y\"\nd: ~"]
        {
            assert!(one.means_the_same(&tree(same)), "{same}");
        }
        for other in [
            "{a: {b: '4317', c: [x, 'y']}, d: }",
            "{a: {b: 4317, c: ['y', x]}, d: }",
            "{a: {b: 4317, c: [x, 'y']}}",
            "{a: {b: 4317, c: [x]}, d: }",
            "{a: {b: 4317, c: [x, 'y']}, d: {}}",
        ] {
            assert!(!one.means_the_same(&tree(other)) && !tree(other).means_the_same(&one), "{other}");
        }
    }
}
