//! Text that came from outside, made fit for a terminal or a log.

use std::fmt::Write;

/// How much of a foreign text a message carries, in characters.
pub const MAX_CHARS: usize = 200;

/// `text` without control characters (escaped as Rust would), directional overrides and the like, and at most [`MAX_CHARS`] long.
pub fn foreign(text: &str) -> String {
    shortened(text, MAX_CHARS)
}

/// The same with another limit.
pub fn shortened(text: &str, max_chars: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max_chars + 16));
    for (count, c) in text.trim().chars().enumerate() {
        if count == max_chars {
            out.push('…');
            break;
        }
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
