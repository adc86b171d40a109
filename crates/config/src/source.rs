//! Where configuration comes from: files, variables, the command line.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use indexmap::map::Entry as Slot;

use crate::environment::{Environment, NoText};
use crate::mark::{Mark, SourceText};
use crate::merge::merge;
use crate::node::{Entry, Mapping, Node, Value};
use crate::problem::{Problem, Problems};
use crate::text::quoted;
use crate::yaml::{self, Budget, MAX_DEPTH};

/// One `--config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// `pipelines/x.yaml`, `file:pipelines/x.yaml`
    File(PathBuf),
    /// `env:NAME`: the variable holds YAML.
    Variable(String),
    /// `yaml:TEXT`; in its keys `::` nests.
    Text(String),
}

/// The largest source that is read, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

impl Source {
    /// Takes a `--config` apart.
    pub(crate) fn of(uri: &str) -> Result<Self, Problem> {
        let Some((scheme, rest)) = uri.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
            if uri.is_empty() {
                return Err(Problem::error("an empty name of a configuration").with_help("write `--config FILE`"));
            }
            return Ok(Self::File(uri.into()));
        };
        match scheme {
            "file" if !rest.is_empty() => Ok(Self::File(rest.into())),
            "env" if !rest.is_empty() => Ok(Self::Variable(rest.to_owned())),
            "yaml" => Ok(Self::Text(rest.to_owned())),
            "file" | "env" => {
                Err(Problem::error(format!("nothing after {}", quoted(uri)))
                    .with_help("write `file:PATH` or `env:NAME`"))
            }
            _ => Err(Problem::error(format!(
                "unknown scheme {} in the configuration's name {}",
                quoted(scheme),
                quoted(uri)
            ))
            .with_help("valid: a path, `file:PATH`, `env:NAME`, `yaml:TEXT`")),
        }
    }

    /// Reads and parses it. Nothing is substituted yet.
    pub(crate) fn load(&self, environment: &Environment, budget: &mut Budget) -> Result<Node, Problems> {
        let source = self.read(environment)?;
        let Some(mut node) = yaml::parse(&source, budget)? else { return Err(self.empty(&source).into()) };
        match node.value {
            Value::Mapping(_) => {}
            Value::Null => return Err(self.empty(&source).into()),
            _ => {
                let problem =
                    Problem::error(format!("expected a mapping, found {}", node.describe(true))).at(&node.mark);
                return Err(problem
                    .with_help("a configuration begins with keys such as `receivers:` and `service:`")
                    .into());
            }
        }
        if matches!(self, Self::Text(_)) {
            nest(&mut node, 0)?;
        }
        Ok(node)
    }

    fn read(&self, environment: &Environment) -> Result<Arc<SourceText>, Problem> {
        match self {
            Self::File(path) => read_file(path),
            Self::Variable(name) => {
                let source_name = variable_source_name(name);
                match environment.text(name) {
                    Ok(text) if text.len() as u64 > MAX_BYTES => Err(too_large(&source_name)),
                    Ok(text) => Ok(SourceText::new(source_name, text)),
                    Err(NoText::Unset) => Err(Problem::error("the environment variable is not set")
                        .at(&Mark::start(SourceText::new(source_name, "")))
                        .with_help("set it to the configuration, as YAML")),
                    Err(NoText::NotUtf8) => Err(not_utf8(&source_name, 0, &[])),
                }
            }
            Self::Text(text) if text.len() as u64 > MAX_BYTES => Err(too_large("<yaml:>")),
            Self::Text(text) => Ok(SourceText::new("<yaml:>", text.as_str())),
        }
    }

    fn empty(&self, source: &Arc<SourceText>) -> Problem {
        let what = match self {
            Self::File(_) => "the file",
            Self::Variable(_) => "the variable",
            Self::Text(_) => "the text",
        };
        Problem::error(format!("{what} holds no configuration"))
            .at(&Mark::start(Arc::clone(source)))
            .with_help("it needs at least a receiver, an exporter, and a pipeline under `service`")
    }
}

/// What errors call a source that is an environment variable.
pub(crate) fn variable_source_name(name: &str) -> String {
    format!("<environment variable {name}>")
}

/// One `--set KEY=VALUE`, as a tree of its own.
pub(crate) fn load_set(set: &str, budget: &mut Budget) -> Result<Node, Problems> {
    let source = SourceText::new("<--set>", set);
    let start = Mark::start(Arc::clone(&source));
    let help = "write `--set receivers::session_buddy::interval_seconds=10`, or with `.` between the keys";
    let Some((key, text)) = set.split_once('=') else {
        return Err(Problem::error("a `--set` without `=`").at(&start).with_help(help).into());
    };
    let width = key.chars().count();
    let key_mark = start.moved(1, 1, width);
    let keys: Vec<&str> = if key.contains("::") { key.split("::").collect() } else { key.split('.').collect() };
    if keys.iter().any(|key| key.trim().is_empty()) {
        return Err(Problem::error("a `--set` with an empty key").at(&key_mark).with_help(help).into());
    }
    if keys.len() > MAX_DEPTH {
        return Err(Problem::error(format!("a `--set` more than {MAX_DEPTH} keys deep")).at(&key_mark).into());
    }
    // Parsed where it stands, so that an error in it is shown there.
    let padded = SourceText::new("<--set>", format!("{}{text}", " ".repeat(width + 1)));
    let mut value = yaml::parse_value(&padded, budget).map_err(|problems| on_line_of(&source, problems))?;
    value.rebase(&source);
    if keys.len() + yaml::depth(&value) > MAX_DEPTH {
        return Err(Problem::error(format!("a `--set` more than {MAX_DEPTH} deep")).at(&key_mark).into());
    }
    Ok(wrap(keys.iter().map(|key| key.trim().to_owned()), &key_mark, value))
}

/// The value under so many keys, all written at `mark`.
pub(crate) fn wrap(keys: impl DoubleEndedIterator<Item = String>, mark: &Mark, value: Node) -> Node {
    keys.rev().fold(value, |value, key| {
        let entry = Entry { key_mark: mark.clone(), value };
        Node::new(mark.clone(), Value::Mapping(Mapping(IndexMap::from([(key, entry)]))))
    })
}

/// The same problems, as places of `source`.
fn on_line_of(source: &Arc<SourceText>, problems: Problems) -> Problems {
    let moved = problems.into_iter().map(|mut problem| {
        problem.mark = problem.mark.map(|mark| Mark::new(Arc::clone(source), mark.line(), mark.column(), mark.width()));
        problem
    });
    moved.collect()
}

/// Whether this is the name of a scheme: at least two characters, so that a drive letter is none.
fn is_scheme(name: &str) -> bool {
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'))
}

fn read_file(path: &std::path::Path) -> Result<Arc<SourceText>, Problem> {
    let name = path.display().to_string();
    let wrong = |message: String| Problem::error(message).at(&Mark::start(SourceText::new(name.as_str(), "")));
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => wrong("there is no such file".to_owned()),
        ErrorKind::PermissionDenied => {
            wrong("this file may not be read".to_owned()).with_help("give yourself the right to read it")
        }
        _ => wrong(format!("this file cannot be read: {error}")),
    };
    if path.is_dir() {
        return Err(wrong("this is a folder, not a file".to_owned())
            .with_help("name the file in it; `--config` may be repeated"));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large(&name));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceText::new(name, text.strip_prefix('\u{feff}').unwrap_or(&text))),
        Err(error) => Err(not_utf8(&name, error.utf8_error().valid_up_to(), error.as_bytes())),
    }
}

fn too_large(name: &str) -> Problem {
    Problem::error(format!("this is larger than {} MiB", MAX_BYTES / 1024 / 1024))
        .at(&Mark::start(SourceText::new(name, "")))
}

fn not_utf8(name: &str, valid: usize, bytes: &[u8]) -> Problem {
    let text = String::from_utf8_lossy(bytes);
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    let help = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        "it looks like UTF-16: save it as UTF-8"
    } else {
        "save it as UTF-8"
    };
    Problem::error("this is not valid UTF-8")
        .at(&Mark::new(SourceText::new(name, text), line, column, 1))
        .with_help(help)
}

/// Takes keys such as `exporters::debug` apart, as otelcol does in a `yaml:` text.
fn nest(node: &mut Node, depth: usize) -> Result<(), Problem> {
    match &mut node.value {
        Value::Mapping(mapping) => {
            for (key, Entry { key_mark, mut value }) in std::mem::take(&mut mapping.0) {
                let keys: Vec<&str> = key.split("::").collect();
                if keys.iter().any(|key| key.is_empty()) {
                    return Err(Problem::error(format!("the key {} has an empty part", quoted(&key))).at(&key_mark));
                }
                if depth + keys.len() > MAX_DEPTH {
                    return Err(Problem::error(format!("lists and mappings are nested more than {MAX_DEPTH} deep"))
                        .at(&key_mark));
                }
                nest(&mut value, depth + keys.len())?;
                let rest = keys.iter().skip(1).map(|key| (*key).to_owned());
                let value = wrap(rest, &key_mark, value);
                match mapping.0.entry(keys[0].to_owned()) {
                    Slot::Vacant(slot) => drop(slot.insert(Entry { key_mark, value })),
                    Slot::Occupied(mut slot) => merge(&mut slot.get_mut().value, value),
                }
            }
            Ok(())
        }
        Value::Sequence(items) => items.iter_mut().try_for_each(|item| nest(item, depth + 1)),
        Value::Null | Value::Scalar(_) | Value::Invalid => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_named_in_four_ways() {
        assert_eq!(Source::of("a/b.yaml"), Ok(Source::File("a/b.yaml".into())));
        assert_eq!(Source::of("file:a/b.yaml"), Ok(Source::File("a/b.yaml".into())));
        assert_eq!(Source::of("C:\\b.yaml"), Ok(Source::File("C:\\b.yaml".into())));
        assert_eq!(Source::of("env:CONFIG"), Ok(Source::Variable("CONFIG".into())));
        assert_eq!(Source::of("yaml:a: b"), Ok(Source::Text("a: b".into())));
        for wrong in ["", "env:", "file:", "https://x/y.yaml"] {
            assert!(Source::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn in_a_yaml_text_double_colons_nest() {
        let source = Source::Text("{exporters::debug::verbosity: detailed, exporters::otlp: }".to_owned());
        let node = source.load(&Environment::default(), &mut Budget::default()).unwrap();
        let exporters = node.get("exporters").unwrap();
        assert_eq!(exporters.as_mapping().unwrap().keys().collect::<Vec<_>>(), ["debug", "otlp"]);
        assert_eq!(
            exporters.get("debug").and_then(|debug| debug.get("verbosity")).and_then(Node::as_text),
            Some("detailed")
        );
    }

    #[test]
    fn a_set_is_a_path_and_a_value() {
        let mut budget = Budget::default();
        let node = load_set("a.b.c=[1, x]", &mut budget).unwrap();
        let path = crate::Path::keys(["a", "b", "c"]);
        assert_eq!(node.find(&path).and_then(Node::as_sequence).map(<[Node]>::len), Some(2));
        assert_eq!(node.mark_of_value(&path.join(1)).to_string(), "<--set>:1:11");
        let node = load_set("a::b.c=x=y", &mut budget).unwrap();
        assert_eq!(node.find(&crate::Path::keys(["a", "b.c"])).and_then(Node::as_text), Some("x=y"));
        for wrong in ["a", "=1", "a..b=1", "a=[", &format!("{}=1", ["a"; 100].join("."))] {
            assert!(load_set(wrong, &mut budget).is_err(), "{wrong}");
        }
    }
}
