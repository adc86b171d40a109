//! What is wrong with a configuration, where, and what would cure it.

use std::fmt;

use crate::mark::Mark;
use crate::node::Node;
use crate::path::Path;
use crate::render::Style;

/// Whether a problem keeps the program from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration does not hold.
    Error,
    /// The configuration holds; the user should know nevertheless.
    Warning,
}

/// One problem: a message, and where known its place, its path and the cure.
///
/// Messages and cures are in the user's words, lowercase, without a full stop. They may quote the user's text: control characters are
/// made visible when a problem is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Where in the configuration; the root where a source as a whole is meant.
    pub path: Path,
    /// Where the user wrote it.
    pub mark: Option<Mark>,
    /// What is wrong.
    pub message: String,
    /// What would cure it.
    pub help: Option<String>,
}

/// All the problems found so far, in the order in which they were found, each once; no more than [`Problems::MAX`] are kept, the rest is counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    errors_left_out: usize,
    warnings_left_out: usize,
}

impl Problem {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, path: Path::root(), mark: None, message: message.into(), help: None }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Gives the place.
    #[must_use]
    pub fn at(self, mark: &Mark) -> Self {
        Self { mark: Some(mark.clone()), ..self }
    }

    /// Gives the path in the configuration.
    #[must_use]
    pub fn in_path(self, path: &Path) -> Self {
        Self { path: path.clone(), ..self }
    }

    /// Gives the path, and the place of the **value** at that path below `root` (or, where that does not exist, of the nearest thing above it).
    #[must_use]
    pub fn at_value(self, root: &Node, path: &Path) -> Self {
        self.at(&root.mark_of_value(path)).in_path(path)
    }

    /// Gives the path, and the place of the **key** at that path below `root` (or, where that does not exist, of the nearest thing above it).
    #[must_use]
    pub fn at_key(self, root: &Node, path: &Path) -> Self {
        self.at(&root.mark_of_key(path)).in_path(path)
    }

    /// Says what would cure it.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl Problems {
    /// How many are kept.
    pub const MAX: usize = 200;

    /// None yet.
    pub const fn new() -> Self {
        Self { kept: Vec::new(), errors_left_out: 0, warnings_left_out: 0 }
    }

    /// Adds one, unless the same is there already (an alias repeats what its anchor has wrong).
    pub fn push(&mut self, problem: Problem) {
        if self.kept.contains(&problem) {
            return;
        }
        if self.kept.len() < Self::MAX {
            self.kept.push(problem);
        } else if problem.severity == Severity::Error {
            self.errors_left_out += 1;
        } else {
            self.warnings_left_out += 1;
        }
    }

    /// Adds all of another's.
    pub fn append(&mut self, others: Self) {
        self.errors_left_out += others.errors_left_out;
        self.warnings_left_out += others.warnings_left_out;
        self.extend(others.kept);
    }

    /// Whether further ones are only counted: it is not worth to find out more about them.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= Self::MAX
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many, errors and warnings, those that were not kept included.
    pub fn len(&self) -> usize {
        self.kept.len() + self.errors_left_out + self.warnings_left_out
    }

    /// Whether any of them keeps the program from starting.
    pub fn has_errors(&self) -> bool {
        self.errors_left_out > 0 || self.errors().next().is_some()
    }

    /// The errors.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.kept.iter().filter(|problem| problem.severity == Severity::Error)
    }

    /// The warnings.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.kept.iter().filter(|problem| problem.severity == Severity::Warning)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.kept.iter()
    }

    /// Source by source, as they were found first, and in each from top to bottom.
    fn in_order(&self) -> Vec<&Problem> {
        let mut sources = Vec::new();
        let mut placed: Vec<_> = self
            .kept
            .iter()
            .map(|problem| {
                let source = problem.mark.as_ref().map(|mark| mark.source().name());
                let number = sources.iter().position(|known| *known == source).unwrap_or_else(|| {
                    sources.push(source);
                    sources.len() - 1
                });
                let place = problem.mark.as_ref().map(|mark| (mark.line(), mark.column()));
                ((number, place), problem)
            })
            .collect();
        placed.sort_by_key(|(place, _)| *place);
        placed.into_iter().map(|(_, problem)| problem).collect()
    }

    /// All of them as text for a person, a blank line after each; source by source, and in each from top to bottom.
    pub fn render(&self, style: Style) -> String {
        let mut text = String::new();
        for problem in self.in_order() {
            text.push_str(&problem.render(style));
            text.push('\n');
        }
        let left_out = self.errors_left_out + self.warnings_left_out;
        if left_out > 0 {
            text.extend(["... and ", &left_out.to_string(), " more\n"]);
        }
        text
    }
}

impl fmt::Display for Problems {
    /// As [`Problems::render`] with [`Style::PLAIN`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::PLAIN))
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { kept: vec![problem], ..Self::new() }
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        for problem in problems {
            self.push(problem);
        }
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        let mut all = Self::new();
        all.extend(problems);
        all
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.iter()
    }
}
