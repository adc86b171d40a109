//! The grammar of references, in one text.
//!
//! `${env:NAME}` `${NAME}` `${env:NAME:-default}` `${NAME:-default}` `$$`; every other `$` is a `$`. A default may hold references.

use crate::environment::{Environment, NoText};
use crate::problem::Problems;
use crate::secret::is_secret_name;
use crate::text::quoted;

/// A text after its references are replaced.
#[derive(Debug, PartialEq)]
pub(super) enum Expansion {
    /// The text was one reference and nothing else.
    Whole { text: String, secret: bool },
    /// There were references, and other text.
    Mixed { text: String, secret: bool },
    /// There was no reference: at most `$$`.
    Unescaped { text: String },
}

/// What is wrong with a reference.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    /// The reference as written.
    pub(super) reference: String,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// How deep defaults may hold references that have defaults.
const MAX_DEPTH: usize = 8;

impl Expansion {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Whole { text, .. } | Self::Mixed { text, .. } | Self::Unescaped { text } => text,
        }
    }
}

/// Replaces the references in `text`, or tells all that is wrong with them.
pub(super) fn expand(text: &str, environment: &Environment) -> Result<Expansion, Vec<Fault>> {
    let mut expander = Expander { environment, secret: false, faults: Vec::new() };
    let mut result = String::with_capacity(text.len());
    let references = expander.text(text, 0, &mut result);
    let whole = references == 1 && text.starts_with("${") && closing(text).is_some_and(|end| end + 1 == text.len());
    let Expander { secret, faults, .. } = expander;
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(match references {
        0 => Expansion::Unescaped { text: result },
        _ if whole => Expansion::Whole { text: result, secret },
        _ => Expansion::Mixed { text: result, secret },
    })
}

struct Expander<'a> {
    environment: &'a Environment,
    secret: bool,
    faults: Vec<Fault>,
}

impl Expander<'_> {
    /// Appends the expanded text; gives how many references there were.
    fn text(&mut self, text: &str, depth: usize, expanded: &mut String) -> usize {
        let mut references = 0;
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            expanded.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            if rest.starts_with("$$") {
                expanded.push('$');
                rest = &rest[2..];
            } else if rest.starts_with("${") {
                references += 1;
                let Some(end) = closing(rest) else {
                    let help = "write `}` after the name, or `$$` for a `$` that is no reference";
                    self.fault(rest, "`${` without its `}`".to_owned(), Some(help));
                    return references;
                };
                self.reference(&rest[..=end], &rest[2..end], depth, expanded);
                rest = &rest[end + 1..];
            } else {
                expanded.push('$');
                rest = &rest[1..];
            }
        }
        expanded.push_str(rest);
        references
    }

    /// One reference: as written, and what is between its braces.
    fn reference(&mut self, written: &str, inner: &str, depth: usize, expanded: &mut String) {
        let (first, rest) = inner.find(':').map_or((inner, ""), |colon| inner.split_at(colon));
        let (name, default) = if let Some(default) = rest.strip_prefix(":-") {
            (first, Some(default))
        } else if let Some(name) = rest.strip_prefix(':') {
            if first != "env" {
                // What follows may be a secret that happens to look like a reference.
                let message = format!("unknown scheme {}", quoted(&name_part(first)));
                self.fault(
                    written,
                    message,
                    Some("environment variables are all that can be referred to: `${env:NAME}`"),
                );
                return;
            }
            name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)))
        } else {
            (inner, None)
        };
        if !is_variable_name(name) {
            let message = if name.is_empty() {
                "a reference that names no variable".to_owned()
            } else {
                format!("{} is no name of a variable", quoted(&name_part(name)))
            };
            self.fault(
                written,
                message,
                Some("a name is letters, digits and `_`, not beginning with a digit: `${env:NAME}`"),
            );
            return;
        }
        self.secret |= is_secret_name(name);
        match (self.environment.text(name), default) {
            (Ok(value), _) => expanded.push_str(value),
            (Err(NoText::NotUtf8), _) => {
                self.fault(written, format!("the environment variable {} is not valid UTF-8", quoted(name)), None);
            }
            (Err(NoText::Unset), None) => {
                let help = format!("set it, or give a default: `${{env:{name}:-default}}`");
                self.fault(written, format!("the environment variable {} is not set", quoted(name)), Some(&help));
            }
            (Err(NoText::Unset), Some(_)) if depth == MAX_DEPTH => {
                self.fault(written, format!("defaults within defaults, more than {MAX_DEPTH} deep"), None);
            }
            (Err(NoText::Unset), Some(default)) => {
                self.text(default, depth + 1, expanded);
            }
        }
    }

    fn fault(&mut self, reference: &str, message: String, help: Option<&str>) {
        // More are not kept anyway.
        if self.faults.len() <= Problems::MAX {
            self.faults.push(Fault { reference: reference.to_owned(), message, help: help.map(str::to_owned) });
        }
    }
}

/// Where the `}` is that closes the `${` at the beginning of `text`. Braces in a default come in pairs.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 1 => return Some(at),
            b'}' => open = open.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

/// What of a text could be a name: up to the first character that no name has.
fn name_part(text: &str) -> String {
    let name: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if name.len() < text.len() { name + "..." } else { name }
}

fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::from(vec![("HOST", "localhost"), ("EMPTY", ""), ("WILD", "${HOST} $$ {"), ("API_TOKEN", "s3cret")])
    }

    fn text(of: &str) -> String {
        expand(of, &environment()).unwrap().text().to_owned()
    }

    #[test]
    fn references_are_replaced() {
        assert_eq!(text("http://${env:HOST}:${PORT:-80}/"), "http://localhost:80/");
        assert_eq!(text("${env:NONE:-a:-b}"), "a:-b");
        assert_eq!(text("${env:NONE:-}"), "");
        assert_eq!(text("${EMPTY:-set but empty is set}"), "");
        assert_eq!(text("${NONE:-${env:HOST}}"), "localhost");
        assert_eq!(text("${NONE:-{a: {b: 1}}}"), "{a: {b: 1}}");
    }

    #[test]
    fn other_dollars_stay() {
        assert_eq!(text("$.sessions[?@.a == '$']"), "$.sessions[?@.a == '$']");
        assert_eq!(text("$HOST $ $"), "$HOST $ $");
        assert_eq!(text("$${env:HOST}"), "${env:HOST}");
        assert_eq!(text("$$${HOST}"), "$localhost");
        assert_eq!(text("^a$"), "^a$");
    }

    #[test]
    fn what_a_variable_holds_is_not_expanded_again() {
        assert_eq!(text("<${WILD}>"), "<${HOST} $$ {>");
    }

    #[test]
    fn a_text_that_is_one_reference_is_told_from_one_that_holds_some() {
        let kind = |of| expand(of, &environment()).unwrap();
        assert!(matches!(kind("${HOST}"), Expansion::Whole { .. }));
        assert!(matches!(kind("${NONE:-${HOST}}"), Expansion::Whole { .. }));
        assert!(matches!(kind("${HOST}${HOST}"), Expansion::Mixed { .. }));
        assert!(matches!(kind("${HOST} "), Expansion::Mixed { .. }));
        assert!(matches!(kind("a${HOST}"), Expansion::Mixed { .. }));
        assert!(matches!(kind("$$${HOST}"), Expansion::Mixed { .. }));
        assert!(matches!(kind("$$"), Expansion::Unescaped { .. }));
        assert!(matches!(kind("${API_TOKEN}"), Expansion::Whole { secret: true, .. }));
        assert!(matches!(kind("${HOST}"), Expansion::Whole { secret: false, .. }));
    }

    /// What is written wrong may be a secret that only looks like a reference.
    #[test]
    fn a_fault_tells_of_a_reference_only_what_could_be_a_name() {
        let faults = expand("${foo:hunter2} ${hunter2 x:y} ${env:NOPE:?hunter2} ${NO PE} ${:hunter2}", &environment());
        let messages: Vec<_> = faults.unwrap_err().into_iter().map(|fault| fault.message).collect();
        let expected = [
            "unknown scheme `foo`",
            "unknown scheme `hunter2...`",
            "`NOPE...` is no name of a variable",
            "`NO...` is no name of a variable",
            "unknown scheme ``",
        ];
        assert_eq!(messages, expected);
    }

    #[test]
    fn all_faults_are_told() {
        let faults = expand("${NONE} ${} ${foo:BAR} ${1A} ${env:", &environment()).unwrap_err();
        let messages: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "the environment variable `NONE` is not set",
                "a reference that names no variable",
                "unknown scheme `foo`",
                "`1A` is no name of a variable",
                "`${` without its `}`",
            ]
        );
    }

    #[test]
    fn defaults_do_not_nest_without_end() {
        let deep = format!("{}x{}", "${A:-".repeat(1000), "}".repeat(1000));
        assert_eq!(expand(&deep, &environment()).unwrap_err().len(), 1);
    }
}
