//! Environment variables that override keys of one component.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::environment::{Environment, NoText};
use crate::mark::{Mark, SourceText};
use crate::nearest::nearest;
use crate::node::{Mapping, Node};
use crate::path::Path;
use crate::problem::{Problem, Problems};
use crate::secret::{is_secret_name, is_secret_path};
use crate::source::{variable_source_name, wrap};
use crate::substitute::from_variable;
use crate::text::quoted;
use crate::yaml::{Budget, MAX_DEPTH};

/// Every variable whose name begins with `prefix` sets a key of the mapping at `target`.
///
/// The rest of the name is the key, lower-cased; `__` in it nests. Where keys are free (names of headers), one that is written already in
/// another capitalisation is meant. The value is taken as it is (nothing is substituted in it): text where
/// text is wanted, a number or a switch where one is wanted, and a list or a mapping written as JSON.
#[derive(Debug, Clone)]
pub struct EnvOverride {
    /// For example `MAHAVISHNU_SESSION_BUDDY_POLLING__`.
    pub prefix: String,
    /// For example `receivers::session_buddy`.
    pub target: Path,
    /// The keys that there are.
    pub keys: KeyTree,
}

/// A variable that took effect. Its value is not told: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedOverride {
    /// The variable.
    pub variable: String,
    /// What it sets.
    pub path: Path,
    /// Whether it only gives what is written nowhere, and overrides nothing.
    pub fills_in: bool,
}

/// Which keys a mapping takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeyTree {
    /// Any key, or none: what is right there, decoding tells.
    #[default]
    Any,
    /// These keys.
    Keys(BTreeMap<String, KeyTree>),
}

impl KeyTree {
    /// These keys, each with anything below.
    pub fn of<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        Self::Keys(keys.into_iter().map(|key| (key.into(), Self::Any)).collect())
    }

    /// The keys that a JSON Schema's `properties` name, nested; what is not closed by properties takes any key.
    pub fn from_json_schema(schema: &Json) -> Self {
        Self::read_schema(schema, schema, 0)
    }

    fn read_schema(root: &Json, schema: &Json, depth: usize) -> Self {
        if depth > 16 {
            return Self::Any;
        }
        if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
            let pointed = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            return pointed.map_or(Self::Any, |schema| Self::read_schema(root, schema, depth + 1));
        }
        if let Some(Json::Object(properties)) = schema.get("properties") {
            let key = |(key, schema): (&String, &Json)| (key.clone(), Self::read_schema(root, schema, depth + 1));
            return Self::Keys(properties.iter().map(key).collect());
        }
        // `Option<T>` is "T or null"; a choice between several shapes takes any key.
        let choices = ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema.get(word)?.as_array());
        let mut shapes = choices.flatten().filter(|choice| choice.get("type").and_then(Json::as_str) != Some("null"));
        match (shapes.next(), shapes.next()) {
            (Some(only), None) => Self::read_schema(root, only, depth + 1),
            _ => Self::Any,
        }
    }

    /// Takes free keys as they are written already, where they differ in nothing but capitalisation.
    fn as_written(&self, keys: &mut [String], written: &[&Node]) {
        let mut tree = self;
        let mut nodes = written.to_vec();
        for key in keys {
            match tree {
                Self::Keys(known) => tree = known.get(key).unwrap_or(&Self::Any),
                Self::Any if nodes.iter().any(|node| node.get(key).is_some()) => {}
                Self::Any => {
                    let names = nodes.iter().filter_map(|node| node.as_mapping()).flat_map(Mapping::keys);
                    if let Some(name) = names.into_iter().find(|name| name.eq_ignore_ascii_case(key)) {
                        name.clone_into(key);
                    }
                }
            }
            nodes = nodes.iter().filter_map(|node| node.get(key)).collect();
        }
    }

    /// The first key that is not known, with the known ones beside it.
    fn first_unknown<'a>(&'a self, keys: &[String]) -> Option<(usize, &'a BTreeMap<String, Self>)> {
        let mut tree = self;
        for (at, key) in keys.iter().enumerate() {
            let Self::Keys(known) = tree else { return None };
            let Some(next) = known.get(key) else { return Some((at, known)) };
            tree = next;
        }
        None
    }
}

impl EnvOverride {
    /// What the environment sets, as a tree from the root, with what it does.
    ///
    /// `written`: what the configuration has at the target, layer by layer. Where it has nothing, each variable is a warning.
    pub(crate) fn read(
        &self,
        environment: &Environment,
        written: &[&Node],
        budget: &mut Budget,
        problems: &mut Problems,
    ) -> Vec<(Node, AppliedOverride)> {
        let mut set = Vec::new();
        for variable in environment.names().filter(|name| name.starts_with(&self.prefix)) {
            if written.is_empty() {
                problems.push(self.without_target(variable));
                continue;
            }
            match self.read_one(variable, environment, written, budget) {
                Ok(one) => set.push(one),
                Err(problem) => problems.push(problem),
            }
        }
        set
    }

    fn read_one(
        &self,
        variable: &str,
        environment: &Environment,
        written: &[&Node],
        budget: &mut Budget,
    ) -> Result<(Node, AppliedOverride), Problem> {
        let name_mark = mark_of(variable, "");
        let mut keys: Vec<String> = variable[self.prefix.len()..].split("__").map(str::to_lowercase).collect();
        if keys.iter().any(String::is_empty) || keys.len() + self.target.segments().len() > MAX_DEPTH / 2 {
            let problem = Problem::error("this variable's name has an empty part, or too many parts")
                .at(&name_mark)
                .in_path(&self.target);
            return Err(problem.with_help(format!("write `{}KEY` or `{}KEY__NESTED_KEY`", self.prefix, self.prefix)));
        }
        if let Some((at, known)) = self.keys.first_unknown(&keys) {
            return Err(self.unknown_key(&name_mark, &keys, at, known));
        }
        self.keys.as_written(&mut keys, written);
        let path = keys.iter().fold(self.target.clone(), |path, key| path.join(key));
        let text = match environment.text(variable) {
            Ok(text) => text,
            Err(NoText::Unset | NoText::NotUtf8) => {
                return Err(Problem::error("the environment variable is not valid UTF-8")
                    .at(&name_mark)
                    .in_path(&path));
            }
        };
        if !budget.take(1, text.len()) {
            return Err(Problem::error("the environment variable holds too much").at(&name_mark).in_path(&path));
        }
        let secret = is_secret_name(variable) || is_secret_path(&path);
        let mark = mark_of(variable, text);
        let value = from_variable(text, secret, &mark, path.segments().len(), budget);
        let all = path.segments().iter().map(|segment| match segment {
            crate::path::Segment::Key(key) => key.clone(),
            crate::path::Segment::Index(index) => index.to_string(),
        });
        let tree = wrap(all.collect::<Vec<_>>().into_iter(), &mark, value);
        Ok((tree, AppliedOverride { variable: variable.to_owned(), path, fills_in: false }))
    }

    fn unknown_key(&self, mark: &Mark, keys: &[String], at: usize, known: &BTreeMap<String, KeyTree>) -> Problem {
        let path = keys[..=at].iter().fold(self.target.clone(), |path, key| path.join(key));
        let variable = |key: &str| {
            let meant: Vec<&str> = keys[..at].iter().map(String::as_str).chain([key]).collect();
            format!("`{}{}`", self.prefix, meant.join("__").to_uppercase())
        };
        let problem = Problem::error(format!("the environment variable sets the unknown key {}", quoted(&keys[at])))
            .at(mark)
            .in_path(&path);
        match nearest(&keys[at], known.keys()) {
            Some(meant) => problem.with_help(format!("did you mean {}?", variable(meant))),
            None => problem.with_help(format!(
                "unset it; valid keys: {}",
                known.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
            )),
        }
    }

    fn without_target(&self, variable: &str) -> Problem {
        Problem::warning(format!(
            "the environment variable overrides {}, which is not configured",
            quoted(&self.target.to_string())
        ))
        .at(&mark_of(variable, ""))
        .in_path(&self.target)
        .with_help("it has no effect: unset it, or add what it overrides")
    }
}

/// The place of a variable: its name, and its value too where that is what is meant.
pub(crate) fn mark_of(variable: &str, text: &str) -> Mark {
    let line = if text.is_empty() { variable.to_owned() } else { format!("{variable}={text}") };
    Mark::new(SourceText::new(variable_source_name(variable), line), 1, 1, usize::MAX)
}

/// Whether what overrides can change is there: a mapping, or a key without a body.
pub(crate) fn can_take(root: &Node, target: &Path) -> bool {
    root.find(target).is_some_and(|node| node.is_null() || node.as_mapping().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "the schema is what is tested")]
    struct Config {
        endpoint: String,
        tls: Tls,
        queue: Option<Queue>,
        headers: BTreeMap<String, String>,
        tools: BTreeMap<String, Queue>,
    }

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "the schema is what is tested")]
    struct Tls {
        insecure: bool,
        /// Refers to itself, as a schema may.
        fallback: Option<Box<Tls>>,
    }

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "the schema is what is tested")]
    struct Queue {
        size: usize,
    }

    fn unknown(keys: &[&str]) -> Option<String> {
        let tree = KeyTree::from_json_schema(schemars::schema_for!(Config).as_value());
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        tree.first_unknown(&keys).map(|(at, _)| keys[at].clone())
    }

    #[test]
    fn keys_are_known_from_a_schema() {
        for known in [
            &["endpoint"][..],
            &["tls", "insecure"],
            &["tls", "fallback", "insecure"],
            &["queue", "size"],
            &["headers", "anything"],
            &["tools", "get_x", "whatever decoding says"],
        ] {
            assert_eq!(unknown(known), None, "{known:?}");
        }
        assert_eq!(unknown(&["endpont"]).as_deref(), Some("endpont"));
        assert_eq!(unknown(&["tls", "insecur"]).as_deref(), Some("insecur"));
        assert_eq!(unknown(&["queue", "sise"]).as_deref(), Some("sise"));
    }
}
