//! Text that came from outside, made fit for a terminal or a log.

use std::fmt::Write;

use crate::{
    config::Secret,
    hidden::{Known, hidden_at},
};

/// How much of a foreign text a message carries, in characters.
pub const MAX_CHARS: usize = 200;

/// What a far end said: `text` without what the program keeps secret ([`hidden`](crate::hidden)), without control characters (escaped as Rust would),
/// directional overrides and the like, and at most [`MAX_CHARS`] long.
pub fn foreign(text: &str) -> String {
    foreign_within(text, MAX_CHARS)
}

/// The same with another limit.
pub fn foreign_within(text: &str, max_chars: usize) -> String {
    let known = Known::now();
    let hidden = known.all();
    written(text, max_chars, |rest| hidden_at(rest, &hidden))
}

/// The same of a text in which secrets do not matter.
pub fn shortened(text: &str, max_chars: usize) -> String {
    written(text, max_chars, |_| None)
}

/// The same of at most [`MAX_CHARS`]: of telemetry that is shown as it is.
pub fn plain(text: &str) -> String {
    shortened(text, MAX_CHARS)
}

/// `hidden` tells how much of a text is not to be shown, at its beginning.
fn written(text: &str, max_chars: usize, hidden: impl Fn(&str) -> Option<usize>) -> String {
    let mut out = String::with_capacity(text.len().min(max_chars + 16));
    let (mut rest, mut count) = (text.trim(), 0);
    while let Some(c) = rest.chars().next() {
        if count >= max_chars {
            out.push('…');
            break;
        }
        if let Some(length) = hidden(rest) {
            out.push_str(Secret::REDACTED);
            rest = &rest[length..];
            count += Secret::REDACTED.len();
            continue;
        }
        rest = &rest[c.len_utf8()..];
        count += 1;
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Characters that change how a line is shown without being seen: bidirectional controls, zero-width, line separators, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(foreign("\u{1b}[31mred\u{7}\r\nx\u{202e}y"), "\\u{1b}[31mred\\u{7}\\r\\nx\\u{202e}y");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let cut = shortened("ééééé", 3);
        assert_eq!(cut, "ééé…");
    }
}
