//! Text that a user wrote, made fit for a message: visible, and not too long.

use std::fmt::Write as _;

/// The longest text that a message quotes, in characters.
const MAX_QUOTED: usize = 80;

/// The text in back-ticks, shortened, with what a terminal would obey or hide made visible.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_QUOTED).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    format!("`{}`", visible(&shown))
}

/// The text with what a terminal would obey or hide (control characters, ANSI escapes, changes of direction) written as an escape; the ends of
/// lines too.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(&mut shown, c);
    }
    shown
}

/// Appends one character as [`visible`] shows it.
pub(crate) fn push_visible(shown: &mut String, c: char) {
    match c {
        '\t' => shown.push_str("\\t"),
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        // Writing to a `String` cannot fail.
        _ if is_hidden(c) => drop(write!(shown, "\\u{{{:x}}}", u32::from(c))),
        _ => shown.push(c),
    }
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_made_visible() {
        assert_eq!(visible("a\u{1b}[31mb\tc\n"), "a\\u{1b}[31mb\\tc\\n");
        assert_eq!(visible("\u{202e}gpj"), "\\u{202e}gpj");
        assert_eq!(visible("größe 模型"), "größe 模型");
    }

    #[test]
    fn a_long_text_is_shortened() {
        let shown = quoted(&"x".repeat(1000));
        assert_eq!(shown, format!("`{}...`", "x".repeat(MAX_QUOTED)));
    }
}
