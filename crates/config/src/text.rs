//! Text that a user wrote, made fit for a message: visible, and not too long.

use std::fmt::Write as _;

/// The longest text that a message quotes, in characters.
const MAX_QUOTED: usize = 80;

/// The text in back-ticks, shortened, with what a terminal would obey or hide made visible, and without a URL's user and password.
pub(crate) fn quoted(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    if let Some(at) = userinfo(&chars) {
        let before: String = chars[..at].iter().collect();
        return quoted(&(before + "***"));
    }
    let mut shown: String = text.chars().take(MAX_QUOTED).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    format!("`{}`", visible(&shown))
}

/// Where in a text a URL's user and password begin, if there are any: what stands between `://` and an `@`.
pub(crate) fn userinfo(chars: &[char]) -> Option<usize> {
    let mut begins = None;
    for (at, c) in chars.iter().enumerate() {
        if at >= 3 && chars[at - 3..at] == [':', '/', '/'] {
            begins = begins.or(Some(at));
        }
        match c {
            '@' if begins.is_some() => return begins,
            c if c.is_whitespace() || matches!(c, '"' | '\'' | '`') => begins = None,
            _ => {}
        }
    }
    None
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
    fn a_password_in_a_url_is_not_quoted() {
        assert_eq!(quoted("http://me:hunter2@host/mcp"), "`http://***`");
        assert_eq!(quoted("http://host/mcp me@host"), "`http://host/mcp me@host`");
        assert_eq!(quoted("${env:A}://@"), "`${env:A}://***`");
    }

    #[test]
    fn a_long_text_is_shortened() {
        let shown = quoted(&"x".repeat(1000));
        assert_eq!(shown, format!("`{}...`", "x".repeat(MAX_QUOTED)));
    }
}
