//! What decoding finds wrong, in a user's words.

use std::fmt::{self, Display};

use serde::de::{Expected, Unexpected};

use crate::text::{quoted, visible};

/// What is wrong with a value, as decoding finds it. Where, [`decode_with`](crate::decode_with) knows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Another type was wanted.
    Type {
        /// What was wanted.
        expected: String,
        /// What stands there.
        found: String,
        /// The cure, where the value tells it.
        help: Option<String>,
    },
    /// A list was wanted and the key has no body: its default is taken.
    NoList,
    /// A key that the mapping does not take.
    UnknownKey {
        /// The key.
        key: String,
        /// Those that it takes.
        known: Vec<String>,
    },
    /// A name that is none of a choice.
    UnknownChoice {
        /// What stands there.
        found: String,
        /// The names of the choice.
        known: Vec<String>,
    },
    /// A key that has to be there.
    MissingKey(String),
    /// Whatever else a component has to say.
    Other(String),
}

impl Fault {
    /// Another type was wanted; what was found, the node tells.
    pub(super) fn expected(expected: impl Into<String>) -> Self {
        Self::Type { expected: expected.into(), found: String::new(), help: None }
    }

    /// What a message of serde's says, where it lost its kind on its way (a flattened or untagged type).
    pub(crate) fn from_message(message: String) -> Self {
        let named = |prefix: &str| {
            let (name, rest) = message.strip_prefix(prefix)?.split_once('`')?;
            Some((name.to_owned(), rest.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()))
        };
        if let Some((key, known)) = named("unknown field `") {
            Self::UnknownKey { key, known }
        } else if let Some((found, known)) = named("unknown variant `") {
            Self::UnknownChoice { found, known }
        } else if let Some((key, _)) = named("missing field `") {
            Self::MissingKey(key)
        } else if message.starts_with("data did not match any variant of untagged enum") {
            Self::Other("this has none of the shapes that are possible here".to_owned())
        } else {
            Self::Other(message)
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { expected, found, .. } => write!(f, "expected {expected}, found {found}"),
            Self::NoList => f.write_str("expected a list, found nothing"),
            Self::UnknownKey { key, .. } => write!(f, "unknown key {}", quoted(key)),
            Self::UnknownChoice { found, known } => {
                let known: Vec<_> = known.iter().map(|name| format!("`{}`", visible(name))).collect();
                write!(f, "expected {}, found {}", one_of(&known), quoted(found))
            }
            Self::MissingKey(key) => write!(f, "the required key {} is missing", quoted(key)),
            Self::Other(message) => f.write_str(message),
        }
    }
}

/// `a`, `a or b`, `one of a, b, c`.
fn one_of(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [one, other] => format!("{one} or {other}"),
        _ => format!("one of {}", names.join(", ")),
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::from_message(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(in_words(&expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(in_words(&expected.to_string()))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::Other(format!("expected {}, found {length} items", in_words(&expected.to_string())))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownChoice {
            found: variant.to_owned(),
            known: expected.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownKey { key: field.to_owned(), known: expected.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::MissingKey(field.to_owned())
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Other(format!("the key `{field}` is given twice, under two names"))
    }
}

/// What serde calls a type, in a user's words. What a component's own visitor expects, it says in such words already.
fn in_words(expected: &str) -> String {
    let words = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" | "bool" => "`true` or `false`",
        "a string" | "string" | "str" | "a formatted string" | "path string" => "text",
        "a character" | "char" => "one character",
        "a map" | "map" => "a mapping",
        "a sequence" | "sequence" => "a list",
        "unit" | "a unit" | "null" => "nothing",
        "variant identifier" | "string or map" => "one of the names that are possible here",
        _ if expected.starts_with("a nonzero ") => "a whole number other than 0",
        _ if expected.starts_with("struct variant") || expected.starts_with("struct ") => "a mapping",
        _ if expected.starts_with("internally tagged enum") || expected.starts_with("adjacently tagged enum") => {
            "a mapping"
        }
        _ if expected.starts_with("enum ") => "one of the names that are possible here",
        _ if expected.starts_with("unit variant") => "a name without anything below it",
        _ if expected.starts_with("tuple") || expected.starts_with("an array") || expected.starts_with("a tuple") => {
            "a list of another length"
        }
        _ => expected,
    };
    words.to_owned()
}
