//! The parser's errors in a user's words.

use std::sync::Arc;

use saphyr_parser::ScanError;

use crate::mark::{Mark, SourceText};
use crate::problem::Problem;

/// A syntax error at its place, with the cure where one is known.
pub(super) fn syntax(source: &Arc<SourceText>, error: &ScanError) -> Problem {
    let (line, text, column) = place(source, error);
    if error.info().contains("plain scalar, found a tab")
        && let Some((line, tab)) = tab_below(source, line)
    {
        return tab_problem(&Mark::new(Arc::clone(source), line, tab, 1));
    }
    if let Some(tab) = tab_in_indentation(text, column) {
        return tab_problem(&Mark::new(Arc::clone(source), line, tab, 1));
    }
    let (message, help) = explain(error.info(), text, column);
    let problem = Problem::error(message).at(&Mark::new(Arc::clone(source), line, column, 1));
    match help {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}

/// The line, its text, and the column of an error. What is missing at the end is shown there, not on an empty line after it.
fn place<'a>(source: &'a SourceText, error: &ScanError) -> (usize, &'a str, usize) {
    let (line, column) = (error.marker().line().max(1), error.marker().col() + 1);
    let lines: Vec<&str> = source.lines().take(line).collect();
    let written = lines.iter().rposition(|text| !text.trim().is_empty());
    match (lines.get(line - 1), written) {
        (Some(text), _) if !text.trim().is_empty() => (line, text, column),
        (_, Some(last)) => (last + 1, lines[last], lines[last].trim_end().chars().count() + 1),
        (text, None) => (line, text.copied().unwrap_or_default(), column),
    }
}

fn tab_problem(mark: &Mark) -> Problem {
    Problem::error("a tab in the indentation, where YAML takes spaces only")
        .at(mark)
        .with_help("replace each tab by spaces")
}

/// The first tab in the indentation of the lines that go on a text: the parser tells where the text began.
fn tab_below(source: &SourceText, line: usize) -> Option<(usize, usize)> {
    source.lines().enumerate().skip(line).take(20).find_map(|(number, text)| {
        let tab = tab_in_indentation(text, 1)?;
        Some((number + 1, tab))
    })
}

/// The column of a tab before the text of a line, if the error is there too.
fn tab_in_indentation(text: &str, column: usize) -> Option<usize> {
    let blank = text.chars().take_while(|c| matches!(c, ' ' | '\t' | '-')).count();
    let tab = text.chars().take(blank).position(|c| c == '\t')?;
    (column <= blank + 1).then_some(tab + 1)
}

fn explain(info: &str, text: &str, column: usize) -> (String, Option<&'static str>) {
    let before: String = text.chars().take(column).collect();
    if before.contains("${") && (info.contains("flow") || info.contains("':' ") || info.contains("simple key")) {
        let message = "a `${...}` inside `{...}` or `[...]` is not quoted, so YAML reads its braces as a mapping";
        return (message.to_owned(), Some("quote the value: \"${env:NAME}\""));
    }
    let table: [(&str, &str, Option<&'static str>); 16] = [
        (
            "mapping values are not allowed",
            "a `key: value` stands where none can",
            Some(
                "align it with the keys beside it; a value that holds `: ` has to be quoted, and the key above needs its `:`",
            ),
        ),
        (
            "did not find expected key",
            "this line does not fit the mapping above it",
            Some("align it with the keys beside it"),
        ),
        (
            "simple key expect",
            "a key without a `:` after it",
            Some("write `key: value`; a text over several lines has to be quoted or indented"),
        ),
        (
            "did not find expected '-'",
            "this line does not fit the list above it",
            Some("begin it with `- `, aligned with the items beside it"),
        ),
        ("found unexpected end of stream", "a quote is opened and never closed", Some("close it")),
        (
            "found unknown escape",
            "an unknown escape in a double-quoted text",
            Some("write `\\\\` for a backslash, or use single quotes"),
        ),
        (
            "expected ',' or ']'",
            "a list that began with `[` goes wrong here",
            Some("items are divided by `,`, and the list ends with `]`"),
        ),
        (
            "expected ',' or '}'",
            "a mapping that began with `{` goes wrong here",
            Some("entries are divided by `,`, and the mapping ends with `}`"),
        ),
        ("misplaced bracket", "a bracket that nothing opened", Some("remove it, or quote the text")),
        (
            "unknown anchor",
            "an alias of an anchor that does not stand before it",
            Some("write `&name` at the first place; quote a text that begins with `*`"),
        ),
        ("unexpected character", "a character that cannot begin a value", Some("quote the text")),
        (
            "illegal placement of ':'",
            "a `key: value` stands inside brackets",
            Some("close the `[` that was opened before it"),
        ),
        (
            "invalid indentation in flow",
            "a list or mapping in brackets goes on with less indentation, or is not closed",
            Some("close it, or indent this line"),
        ),
        (
            "invalid indentation in quoted",
            "a quoted text goes on with less indentation, or its quote is never closed",
            Some("close the quote"),
        ),
        ("recursion limit", "lists and mappings are nested too deep", None),
        (
            "block sequence entries are not allowed",
            "a list item (`- `) stands where none can",
            Some("begin the list on a line of its own"),
        ),
    ];
    table.iter().find(|(part, ..)| info.contains(part)).map_or_else(
        || (format!("this is no valid YAML: {info}"), None),
        |(_, message, help)| ((*message).to_owned(), *help),
    )
}
