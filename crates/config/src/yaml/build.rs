//! The parser's events to a tree, without recursion.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use indexmap::map::Entry as Slot;
use saphyr_parser::{Event, ScalarStyle as Style, Span, Tag};

use super::{Budget, MAX_DEPTH, mark};
use crate::mark::{Mark, SourceText};
use crate::node::{Entry, Mapping, Node, Scalar, ScalarStyle, Value};
use crate::problem::{Problem, Problems};
use crate::scalar::Plain;
use crate::text::quoted;

pub(super) struct Builder<'a> {
    source: &'a Arc<SourceText>,
    budget: &'a mut Budget,
    stack: Vec<Open>,
    anchors: HashMap<usize, Anchor>,
    root: Option<Node>,
    pub(super) problems: Problems,
}

/// A list or mapping whose end has not come yet.
struct Open {
    anchor: usize,
    mark: Mark,
    body: Body,
}

enum Body {
    Sequence(Vec<Node>),
    Mapping { entries: IndexMap<String, Entry>, key: Key, merges: Vec<Node> },
}

/// What a mapping waits for.
enum Key {
    /// The next key.
    Awaited,
    /// The value of this key.
    Read(String, Mark),
    /// The value of `<<`.
    Merge,
    /// The value of a key that was reported as wrong.
    Wrong,
}

struct Anchor {
    node: Node,
    size: Size,
}

#[derive(Clone, Copy)]
pub(super) struct Size {
    nodes: usize,
    bytes: usize,
    pub(super) depth: usize,
}

type Told<T = ()> = Result<T, Problem>;

impl<'a> Builder<'a> {
    pub(super) fn new(source: &'a Arc<SourceText>, budget: &'a mut Budget) -> Self {
        Self { source, budget, stack: Vec::new(), anchors: HashMap::new(), root: None, problems: Problems::new() }
    }

    pub(super) fn event(&mut self, event: Event<'_>, span: Span) -> Told {
        let mark = mark(self.source, span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.take(&mark, 1, text.len())?;
                let node = scalar(&text, style, tag.as_deref(), mark)?;
                self.complete(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                expect_tag(tag.as_ref(), "seq", &mark)?;
                self.open(anchor, mark, Body::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                expect_tag(tag.as_ref(), "map", &mark)?;
                self.open(
                    anchor,
                    mark,
                    Body::Mapping { entries: IndexMap::new(), key: Key::Awaited, merges: Vec::new() },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, mark),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    /// The tree, if nothing was wrong.
    pub(super) fn finish(self) -> Result<Option<Node>, Problems> {
        if self.problems.is_empty() { Ok(self.root) } else { Err(self.problems) }
    }

    fn take(&mut self, mark: &Mark, nodes: usize, bytes: usize) -> Told {
        if self.budget.take(nodes, bytes) {
            return Ok(());
        }
        Err(Problem::error("the configuration is too large from here on").at(mark).with_help(
            "an alias (`*name`) repeats all that its anchor (`&name`) holds: aliases of aliases grow beyond any memory",
        ))
    }

    fn open(&mut self, anchor: usize, mark: Mark, body: Body) -> Told {
        self.take(&mark, 1, 0)?;
        self.check_depth(1, &mark)?;
        self.stack.push(Open { anchor, mark, body });
        Ok(())
    }

    fn check_depth(&self, more: usize, mark: &Mark) -> Told {
        if self.stack.len() + more <= MAX_DEPTH {
            return Ok(());
        }
        Err(Problem::error(format!("lists and mappings are nested more than {MAX_DEPTH} deep")).at(mark))
    }

    fn close(&mut self) -> Told {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let value = match open.body {
            Body::Sequence(items) => Value::Sequence(items),
            Body::Mapping { mut entries, merges, .. } => {
                self.merge(&mut entries, merges);
                Value::Mapping(Mapping(entries))
            }
        };
        self.complete(Node::new(open.mark, value), open.anchor)
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Told {
        let Some(Anchor { node, size }) = self.anchors.get(&anchor) else {
            return Err(Problem::error("an alias stands inside its own anchor").at(&mark));
        };
        let (node, size) = (node, *size);
        self.check_depth(size.depth, &mark)?;
        if !self.budget.take(size.nodes, size.bytes) {
            return self.take(&mark, size.nodes, size.bytes);
        }
        let node = node.clone();
        self.attach(node, Some(mark));
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Told {
        if anchor > 0 {
            let size = size(&node);
            self.take(&node.mark, size.nodes, size.bytes)?;
            self.anchors.insert(anchor, Anchor { node: node.clone(), size });
        }
        self.attach(node, None);
        Ok(())
    }

    /// Puts a finished node where it belongs; `alias` is where it was referred to, if not written there.
    fn attach(&mut self, node: Node, alias: Option<Mark>) {
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.body {
            Body::Sequence(items) => items.push(node),
            Body::Mapping { entries, key, merges } => match std::mem::replace(key, Key::Awaited) {
                Key::Awaited => match read_key(node, alias) {
                    Ok(read) => *key = read,
                    Err(problem) => {
                        self.problems.push(problem);
                        *key = Key::Wrong;
                    }
                },
                Key::Read(name, key_mark) => match entries.entry(name) {
                    Slot::Vacant(slot) => drop(slot.insert(Entry { key_mark, value: node })),
                    Slot::Occupied(slot) => {
                        let message = format!("the key {} is written twice", quoted(slot.key()));
                        let help = format!("it is already at {}: remove one of them", slot.get().key_mark);
                        self.problems.push(Problem::error(message).at(&key_mark).with_help(help));
                    }
                },
                Key::Merge => merges.push(node),
                Key::Wrong => {}
            },
        }
    }

    /// Merge keys (`<<: *base`): what the mapping itself has wins, then the earlier of several bases.
    fn merge(&mut self, entries: &mut IndexMap<String, Entry>, merges: Vec<Node>) {
        for base in merges {
            let bases = match base.value {
                Value::Sequence(items) => items,
                _ => vec![base],
            };
            for base in bases {
                let Value::Mapping(mapping) = base.value else {
                    let problem = Problem::error(format!(
                        "`<<` takes a mapping or a list of mappings, found {}",
                        base.describe(false)
                    ));
                    self.problems
                        .push(problem.at(&base.mark).with_help("write `<<: *name`, where `&name` marks a mapping"));
                    continue;
                };
                for (key, entry) in mapping.0 {
                    entries.entry(key).or_insert(entry);
                }
            }
        }
    }
}

fn read_key(node: Node, alias: Option<Mark>) -> Result<Key, Problem> {
    let mark = alias.unwrap_or_else(|| node.mark.clone());
    let wrong = |what: &str| {
        let problem = Problem::error(format!("{what} stands where a key belongs"));
        problem.at(&mark).with_help("a key is text: write a name, and where it looks like something else, quote it")
    };
    match node.value {
        Value::Scalar(Scalar { text, style: ScalarStyle::Text, .. }) => Ok(Key::Read(text, mark)),
        Value::Scalar(Scalar { text, .. }) if text == "<<" => Ok(Key::Merge),
        Value::Scalar(scalar) => match Plain::of(&scalar.text) {
            Plain::Text => Ok(Key::Read(scalar.text, mark)),
            Plain::Null | Plain::Bool(_) | Plain::Unsigned(_) | Plain::Signed(_) | Plain::Float(_) => {
                let problem = wrong(&scalar.describe(false));
                Err(problem.with_help(format!("a key is text: quote it, `\"{}\"`", scalar.text)))
            }
        },
        Value::Null => Err(wrong("nothing")),
        Value::Sequence(_) => Err(wrong("a list")),
        Value::Mapping(_) | Value::Invalid => Err(wrong("a mapping")),
    }
}

fn scalar(text: &str, style: Style, tag: Option<&Tag>, mut mark: Mark) -> Told<Node> {
    let plain = match tag {
        None => style == Style::Plain,
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => false,
        Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
            "str" => false,
            "int" | "float" | "bool" | "null" => true,
            _ => return Err(unsupported(tag, &mark)),
        },
        Some(tag) => return Err(unsupported(tag, &mark)),
    };
    if style == Style::Plain && mark.width() != usize::MAX {
        // The parser counts the blanks after it.
        mark = mark.moved(mark.line(), mark.column(), mark.width().min(text.chars().count()));
    }
    let value = match (plain, Plain::of(text)) {
        (true, Plain::Null) => Value::Null,
        (true, _) => Value::Scalar(Scalar::plain(text)),
        (false, _) => Value::Scalar(Scalar::text(text)),
    };
    Ok(Node::new(mark, value))
}

fn expect_tag(tag: Option<&Cow<'_, Tag>>, kind: &str, mark: &Mark) -> Told {
    match tag {
        None => Ok(()),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == kind => Ok(()),
        Some(tag) => Err(unsupported(tag, mark)),
    }
}

fn unsupported(tag: &Tag, mark: &Mark) -> Problem {
    let name =
        if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { format!("{}{}", tag.handle, tag.suffix) };
    Problem::error(format!("the YAML tag {} does not fit here or means nothing in a configuration", quoted(&name)))
        .at(mark)
        .with_help("remove it; where a text begins with `!`, quote the text")
}

pub(super) fn size(node: &Node) -> Size {
    let leaf = |bytes| Size { nodes: 1, bytes, depth: 0 };
    let sum = |total: Size, part: Size| Size {
        nodes: total.nodes + part.nodes,
        bytes: total.bytes + part.bytes,
        depth: total.depth.max(part.depth + 1),
    };
    match &node.value {
        Value::Null | Value::Invalid => leaf(0),
        Value::Scalar(scalar) => leaf(scalar.text.len()),
        Value::Sequence(items) => items.iter().map(size).fold(Size { depth: 1, ..leaf(0) }, sum),
        Value::Mapping(mapping) => {
            let entries = mapping.0.iter().map(|(key, entry)| {
                let value = size(&entry.value);
                Size { bytes: value.bytes + key.len(), ..value }
            });
            entries.fold(Size { depth: 1, ..leaf(0) }, sum)
        }
    }
}
