//! The environment variables, taken once, so that everything after is a function of its input.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Environment variables, as they stood when this was made.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, Variable>);

#[derive(Clone)]
enum Variable {
    Text(String),
    NotUtf8,
}

/// Why a variable has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoText {
    Unset,
    NotUtf8,
}

impl Environment {
    /// The variables of this process. The only place in the crate where the process is asked.
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The text of a variable; none where it is not set or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.text(name).ok()
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, NoText> {
        match self.0.get(name) {
            Some(Variable::Text(text)) => Ok(text),
            Some(Variable::NotUtf8) => Err(NoText::NotUtf8),
            None => Err(NoText::Unset),
        }
    }

    /// The names of all variables, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl std::fmt::Debug for Environment {
    /// The names alone: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> From<Vec<(K, V)>> for Environment {
    fn from(variables: Vec<(K, V)>) -> Self {
        Self(variables.into_iter().map(|(name, text)| (name.into(), Variable::Text(text.into()))).collect())
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    /// A variable whose name is not UTF-8 cannot be named in a configuration: it is left out.
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        let text = |(name, value): (OsString, OsString)| {
            let value = value.into_string().map_or(Variable::NotUtf8, Variable::Text);
            Some((name.into_string().ok()?, value))
        };
        Self(variables.into_iter().filter_map(text).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugging_shows_no_value() {
        let environment = Environment::from(vec![("TOKEN", "hunter2")]);
        assert_eq!(format!("{environment:?}"), r#"{"TOKEN"}"#);
        assert_eq!(environment.get("TOKEN"), Some("hunter2"));
    }
}
