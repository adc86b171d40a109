//! Where a piece of configuration was written.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The text of one source, kept so that an error can show the line it is about.
pub struct SourceText {
    name: String,
    text: String,
    /// Where in the text each line is; made when it is first asked for.
    lines: OnceLock<Vec<Range<usize>>>,
}

/// A place in a source: where a key or a value begins, and how far it goes on its line.
#[derive(Clone, PartialEq, Eq)]
pub struct Mark {
    source: Arc<SourceText>,
    line: usize,
    column: usize,
    width: usize,
}

impl SourceText {
    /// A source under the name that errors show: a path as the user wrote it, or `<--set>` and the like.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), lines: OnceLock::new() })
    }

    /// The name that errors show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines, ended as YAML ends them: by `\n`, `\r\n` or a lone `\r`.
    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.lines_from(1)
    }

    /// The same from this line on; they count from 1.
    pub(crate) fn lines_from(&self, line: usize) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        let lines = self.places();
        lines[line.saturating_sub(1).min(lines.len())..].iter().map(|place| &self.text[place.clone()])
    }

    /// One line, without what ends it.
    pub(crate) fn line(&self, line: usize) -> Option<&str> {
        self.lines_from(line).next()
    }

    fn places(&self) -> &[Range<usize>] {
        self.lines.get_or_init(|| {
            let (mut places, mut begin) = (Vec::new(), 0);
            while let Some(length) = self.text[begin..].find(['\n', '\r']) {
                let end = begin + length;
                places.push(begin..end);
                begin = end + if self.text[end..].starts_with("\r\n") { 2 } else { 1 };
            }
            places.push(begin..self.text.len());
            places
        })
    }
}

impl PartialEq for SourceText {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl Eq for SourceText {}

impl fmt::Debug for SourceText {
    /// The name alone: the text may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceText({:?})", self.name)
    }
}

impl Mark {
    /// A place: `line` and `column` count from 1, `column` and `width` in characters.
    pub fn new(source: Arc<SourceText>, line: usize, column: usize, width: usize) -> Self {
        Self { source, line: line.max(1), column: column.max(1), width }
    }

    /// The first character of a source.
    pub fn start(source: Arc<SourceText>) -> Self {
        Self::new(source, 1, 1, 0)
    }

    /// The source this place is in.
    pub fn source(&self) -> &Arc<SourceText> {
        &self.source
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// How many characters on this line belong to it; 0 for a place between characters.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The same source, another place.
    pub(crate) fn moved(&self, line: usize, column: usize, width: usize) -> Self {
        Self::new(Arc::clone(&self.source), line, column, width)
    }
}

impl fmt::Display for Mark {
    /// `pipelines/x.yaml:3:5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line, self.column)
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}+{}", self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_yaml_ends_them() {
        let source = SourceText::new("x", "a\r\nb\rc\nd");
        assert_eq!(source.lines().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(SourceText::new("x", "a\n").lines().collect::<Vec<_>>(), ["a", ""]);
        assert_eq!((source.line(1), source.line(4), source.line(5)), (Some("a"), Some("d"), None));
        assert_eq!(source.lines_from(3).rev().collect::<Vec<_>>(), ["d", "c"]);
        assert_eq!(SourceText::new("x", "").line(1), Some(""));
    }

    #[test]
    fn a_mark_reads_as_editors_and_grep_want_it() {
        let mark = Mark::new(SourceText::new("pipelines/x.yaml", "a: b"), 1, 4, 1);
        assert_eq!(mark.to_string(), "pipelines/x.yaml:1:4");
    }
}
