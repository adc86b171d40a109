//! The line that a problem is about, made fit to be shown: secrets covered, control characters made visible, not too long.

use std::ops::Range;

use crate::mark::{Mark, SourceText};
use crate::secret::{is_secret_container, is_secret_name};
use crate::text::{push_visible, userinfo};

/// One line as it is shown, and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) text: String,
    /// What is meant, in bytes of `text`.
    pub(crate) meant: Range<usize>,
}

/// What is shown in place of a secret.
const COVER: &str = "***";

/// How many characters of a line are shown before what is meant begins.
const BEFORE: usize = 60;

/// How many characters of a line are shown from where what is meant begins.
const AFTER: usize = 100;

/// How many lines above are looked at for the keys that a line stands under.
const MAX_LINES_ABOVE: usize = 2000;

impl Excerpt {
    /// The line at `mark`; `secret`: what is meant is a secret's value.
    pub(crate) fn of(mark: &Mark, secret: bool) -> Option<Self> {
        let line = mark.source().line(mark.line())?;
        if line.trim().is_empty() {
            return None;
        }
        let covered =
            if secret { Some(value_start(line).unwrap_or(0)) } else { first_secret(mark.source(), line, mark.line()) };
        let chars: Vec<char> = line.chars().collect();
        let covered = covered.into_iter().chain(userinfo(&chars)).min();
        let first = (mark.column() - 1).min(chars.len());
        let last = first.saturating_add(mark.width()).min(chars.len());
        let last = last - chars[first..last].iter().rev().take_while(|c| c.is_whitespace()).count();
        Some(Self::shown(&chars, first..last.max(first), covered.unwrap_or(chars.len())))
    }

    /// `meant` and `covered` (from where on values are covered) are places in `chars`.
    fn shown(chars: &[char], meant: Range<usize>, covered: usize) -> Self {
        let window = meant.start.saturating_sub(BEFORE)..meant.start.saturating_add(AFTER).min(chars.len());
        let mut text = if window.start > 0 { "...".to_owned() } else { String::new() };
        let (mut start, mut end) = (None, None);
        let mut at = window.start;
        while at < window.end {
            let step = if at < covered { 1 } else { covered_step(&chars[at..]) };
            let piece = at..at + step;
            if piece.contains(&meant.start) {
                start = Some(text.len());
            }
            if at < covered {
                push_visible(&mut text, chars[at]);
            } else if chars[at] == '$' && step > 1 {
                chars[piece.clone()].iter().for_each(|c| push_visible(&mut text, *c));
            } else {
                text.push_str(COVER);
            }
            if piece.start < meant.end && meant.end <= piece.end {
                end = Some(text.len());
            }
            at = piece.end;
        }
        if window.end < chars.len() && covered > window.end {
            text.push_str("...");
        }
        if start.is_none() {
            // What is missing at the end of a line: room to point at it.
            text.push(' ');
            start = Some(text.len() - 1);
        }
        let start = start.unwrap_or(text.len());
        let end = end.unwrap_or(if meant.end > window.end { text.len() } else { start });
        Self { meant: start..end.max(start), text }
    }
}

/// How many characters of a covered text are shown as one: a reference without a default (it tells nothing), or all up to the next such.
fn covered_step(chars: &[char]) -> usize {
    let reference = |chars: &[char]| {
        let inner = chars.strip_prefix(&['$', '{'])?;
        let end = inner.iter().position(|c| *c == '}')?;
        // What else is in braces may be a secret that was written there.
        let name = inner[..end].strip_prefix(&['e', 'n', 'v', ':']).unwrap_or(&inner[..end]);
        let is_name = !name.is_empty() && name.iter().all(|c| c.is_ascii_alphanumeric() || *c == '_');
        (is_name && !name[0].is_ascii_digit()).then_some(end + 3)
    };
    if let Some(length) = reference(chars) {
        return length;
    }
    (1..chars.len()).find(|at| chars[*at] == '$' && reference(&chars[*at..]).is_some()).unwrap_or(chars.len())
}

/// Where on a line the value begins, in characters: after the first `:` or `=` of its key.
fn value_start(line: &str) -> Option<usize> {
    let chars: Vec<char> = line.chars().collect();
    let divider = chars.iter().position(|c| matches!(c, ':' | '='))?;
    let blank = chars[divider + 1..].iter().take_while(|c| c.is_whitespace()).count();
    Some(divider + 1 + blank)
}

/// From where on a line holds a secret, going by the names of the keys on it and above it.
fn first_secret(source: &SourceText, line: &str, number: usize) -> Option<usize> {
    let chars: Vec<char> = line.chars().collect();
    let by_own_key = (0..chars.len()).filter(|at| matches!(chars[*at], ':' | '=')).find(|at| {
        let name = name_before(&chars[..*at]);
        let rest = chars[at + 1..].iter().any(|c| !c.is_whitespace());
        rest && (is_secret_name(&name) || is_secret_container(&name))
    });
    let by_own_key = by_own_key.map(|at| at + 1 + chars[at + 1..].iter().take_while(|c| c.is_whitespace()).count());
    by_own_key.or_else(|| keys_above(source, line, number).then(|| value_start(line).unwrap_or(0)))
}

/// Whether a key that the line stands under, going by indentation, says that there are secrets.
fn keys_above(source: &SourceText, line: &str, number: usize) -> bool {
    let indentation = |line: &str| line.chars().take_while(|c| *c == ' ').count();
    let mut least = indentation(line);
    let above = (1..number).rev().take(MAX_LINES_ABOVE).filter_map(|number| source.line(number));
    for line in above.filter(|line| !line.trim().is_empty()) {
        if least == 0 {
            break;
        }
        if indentation(line) < least {
            least = indentation(line);
            let chars: Vec<char> = line.chars().collect();
            let Some(colon) = chars.iter().position(|c| *c == ':') else { continue };
            let name = name_before(&chars[..colon]);
            if is_secret_name(&name) || is_secret_container(&name) {
                return true;
            }
        }
    }
    false
}

/// The word that ends the characters: a key, without its quotes.
fn name_before(chars: &[char]) -> String {
    let word = |c: &&char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let name: Vec<char> =
        chars.iter().rev().skip_while(|c| matches!(c, '"' | '\'' | ' ')).take_while(word).copied().collect();
    name.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn excerpt(text: &str, line: usize, column: usize, width: usize, secret: bool) -> (String, String) {
        let source = SourceText::new("x.yaml", text);
        let excerpt = Excerpt::of(&Mark::new(Arc::clone(&source), line, column, width), secret).unwrap();
        let meant = excerpt.text[excerpt.meant.clone()].to_owned();
        (excerpt.text, meant)
    }

    #[test]
    fn the_line_and_what_is_meant() {
        assert_eq!(
            excerpt("a:\n  größe: fast  \n", 2, 10, 6, false),
            ("  größe: fast  ".to_owned(), "fast".to_owned())
        );
        assert_eq!(excerpt("a: b", 1, 4, usize::MAX, false).1, "b");
        assert_eq!(excerpt("a: b", 1, 99, 5, false).1, "");
    }

    #[test]
    fn control_characters_are_made_visible() {
        assert_eq!(
            excerpt("a:\t\u{1b}[31mred", 1, 4, 8, false),
            ("a:\\t\\u{1b}[31mred".to_owned(), "\\u{1b}[31mred".to_owned())
        );
    }

    #[test]
    fn secrets_are_covered() {
        assert_eq!(
            excerpt("api_token: hunter2", 1, 1, 9, false),
            ("api_token: ***".to_owned(), "api_token".to_owned())
        );
        assert_eq!(excerpt("api_token: hunter2", 1, 12, 7, false).1, "***");
        assert_eq!(excerpt("headers: {x-a: hunter2}", 1, 1, 7, false).0, "headers: ***");
        assert_eq!(excerpt("headers:\n  x-a: hunter2\n  x-b: 'hunter3", 3, 8, 1, false).0, "  x-b: ***");
        assert_eq!(excerpt("password: |\n  hunter2\n", 2, 3, 1, false).0, "***");
        assert_eq!(excerpt("NAME={\"a\": 1}", 1, 1, usize::MAX, true).0, "NAME=***");
        assert_eq!(excerpt("other: 1\nheaders:\nnext: 2", 3, 1, 4, false).0, "next: 2");
        let url = "endpoint: \"http://me:hunter2@host/mcp\"";
        assert_eq!(excerpt(url, 1, 11, 28, false), ("endpoint: \"http://***".to_owned(), "\"http://***".to_owned()));
        assert_eq!(excerpt("endpoint: http://host/mcp # me@x", 1, 1, 8, false).0, "endpoint: http://host/mcp # me@x");
    }

    #[test]
    fn a_reference_in_a_secret_is_shown() {
        let line = "Authorization: \"Bearer ${env:TOKEN}x${A:-hunter2}\"";
        let (text, meant) = excerpt(line, 1, 24, 12, false);
        assert_eq!(text, "Authorization: ***${env:TOKEN}***");
        assert_eq!(meant, "${env:TOKEN}");
    }

    #[test]
    fn a_long_line_is_shortened_around_what_is_meant() {
        let line = format!("{}: {}", "k".repeat(500), "v".repeat(500));
        let (text, meant) = excerpt(&line, 1, 503, 500, false);
        assert!(text.chars().count() < 170, "{text}");
        assert!(text.starts_with("...kkk") && text.ends_with("vvv..."));
        assert!(meant.starts_with("vvv"));
    }
}
