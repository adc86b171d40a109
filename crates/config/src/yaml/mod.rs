//! YAML text to a tree with marks.

mod build;
mod explain;

use std::sync::Arc;

use saphyr_parser::{Event, Parser, Span};

use self::build::Builder;
use crate::mark::{Mark, SourceText};
use crate::node::Node;
use crate::problem::{Problem, Problems};

/// What one source may grow to. A few lines of anchors and aliases can stand for more than any machine holds.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    nodes: usize,
    bytes: usize,
}

/// How deeply lists and mappings may nest.
pub(crate) const MAX_DEPTH: usize = 64;

impl Default for Budget {
    fn default() -> Self {
        Self { nodes: 200_000, bytes: 16 * 1024 * 1024 }
    }
}

impl Budget {
    /// Takes room for so much, if there is.
    pub(crate) fn take(&mut self, nodes: usize, bytes: usize) -> bool {
        match (self.nodes.checked_sub(nodes), self.bytes.checked_sub(bytes)) {
            (Some(nodes), Some(bytes)) => {
                *self = Self { nodes, bytes };
                true
            }
            _ => false,
        }
    }
}

/// Parses one YAML document. `None` where the text holds none (it is empty, or all comments).
///
/// A syntax error ends the reading; duplicate keys and the like are all told.
pub(crate) fn parse(source: &Arc<SourceText>, budget: &mut Budget) -> Result<Option<Node>, Problems> {
    let mut builder = Builder::new(source, budget);
    let mut documents = 0;
    for event in Parser::new_from_str(source.text()) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                builder.problems.push(explain::syntax(source, &error));
                return Err(builder.problems);
            }
        };
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                let problem = Problem::error("a second YAML document begins here, and a configuration is one document")
                    .at(&mark(source, span))
                    .with_help("remove the `---`, or put the second document into a file of its own and name both with `--config`");
                builder.problems.push(problem);
                return Err(builder.problems);
            }
        }
        if let Err(problem) = builder.event(event, span) {
            builder.problems.push(problem);
            return Err(builder.problems);
        }
    }
    builder.finish()
}

/// How deep the lists and mappings of a tree nest.
pub(crate) fn depth(node: &Node) -> usize {
    build::size(node).depth
}

/// As a value that stands on one line: a flow list or mapping, or a scalar.
pub(crate) fn parse_value(source: &Arc<SourceText>, budget: &mut Budget) -> Result<Node, Problems> {
    Ok(parse(source, budget)?.unwrap_or_else(|| Node::null(Mark::start(Arc::clone(source)))))
}

/// The place of a span: what of it is on its first line.
fn mark(source: &Arc<SourceText>, span: Span) -> Mark {
    let width =
        if span.end.line() == span.start.line() { span.end.col().saturating_sub(span.start.col()) } else { usize::MAX };
    Mark::new(Arc::clone(source), span.start.line(), span.start.col() + 1, width)
}
