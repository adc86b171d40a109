//! From the command line's `--config` and `--set` to one tree.

use std::path::PathBuf;

use crate::environment::Environment;
use crate::merge::merge;
use crate::node::{Node, Value};
use crate::overrides::{AppliedOverride, EnvOverride};
use crate::path::Path;
use crate::problem::{Problem, Problems};
use crate::source::{Source, load_set};
use crate::substitute::substitute;
use crate::yaml::Budget;

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Each `--config`, in order: a path, `file:PATH`, `env:NAME` or `yaml:TEXT`.
    pub configs: Vec<String>,
    /// Each `--set`, in order: `a.b.c=v` or `a::b::c=v`.
    pub sets: Vec<String>,
    /// What references and overrides are taken from.
    pub environment: Environment,
    /// Which variables override which component's keys.
    pub overrides: Vec<EnvOverride>,
}

/// A configuration that could be read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The merged tree.
    pub root: Node,
    /// Warnings, and errors that do not keep the rest from being looked at (an unset variable): add what decoding and validation find, and tell
    /// all at once. The configuration holds only where [`Problems::has_errors`] says no in the end.
    pub problems: Problems,
    /// The overrides that took effect, in the order in which they were applied.
    pub overrides: Vec<AppliedOverride>,
}

impl Request {
    /// The files among the sources, in order: what to watch for changes.
    pub fn files(&self) -> Vec<PathBuf> {
        let file = |config: &String| match Source::of(config) {
            Ok(Source::File(path)) => Some(path),
            _ => None,
        };
        self.configs.iter().filter_map(file).collect()
    }
}

/// Reads all sources, replaces references, and lays one over the other: files in order, then the environment, then `--set`.
///
/// # Errors
/// Where there is no source, or one cannot be read or parsed, there is nothing to look at further. All such problems of all sources are told.
pub fn load(request: &Request) -> Result<Loaded, Problems> {
    let mut problems = Problems::new();
    if request.configs.is_empty() {
        let problem = Problem::error("no configuration: at least one `--config` is needed");
        problems.push(problem.with_help("for example `--config pipelines/demo.yaml`"));
    }
    let mut trees = Vec::new();
    for config in &request.configs {
        let mut budget = Budget::default();
        match Source::of(config)
            .map_err(Problems::from)
            .and_then(|source| source.load(&request.environment, &mut budget))
        {
            Ok(tree) => trees.push((tree, budget)),
            Err(more) => problems.append(more),
        }
    }
    let mut sets = Vec::new();
    let mut set_budget = Budget::default();
    for set in &request.sets {
        match load_set(set, &mut set_budget) {
            Ok(tree) => sets.push(tree),
            Err(more) => problems.append(more),
        }
    }
    if problems.has_errors() {
        return Err(problems);
    }
    let mut over = Node::empty("<--set>");
    for mut set in sets {
        substitute(&mut set, &request.environment, &mut set_budget, &mut problems);
        merge(&mut over, set);
    }
    let mut trees = trees.into_iter().map(|(mut tree, mut budget)| {
        substitute(&mut tree, &request.environment, &mut budget, &mut problems);
        tree
    });
    let mut root = trees.next().unwrap_or_else(|| Node::empty(""));
    trees.for_each(|tree| merge(&mut root, tree));
    let overrides = apply_overrides(&mut root, &over, request, &mut problems);
    merge(&mut root, over);
    warn_of_placeholders(&root, &Path::root(), &mut problems);
    Ok(Loaded { root, problems, overrides })
}

/// What a printed configuration shows in place of a secret, and what nobody means as one.
const PLACEHOLDER: &str = "[REDACTED]";

/// A printed configuration can be read again, but its secrets are gone: without a word the first to notice would be the far end.
fn warn_of_placeholders(node: &Node, path: &Path, problems: &mut Problems) {
    match &node.value {
        Value::Scalar(scalar) if scalar.text.contains(PLACEHOLDER) => problems.push(
            Problem::warning(format!("`{PLACEHOLDER}` stands here in place of a secret, and is sent as it is"))
                .at(node.mark())
                .in_path(path)
                .with_help("write the secret, or a reference to a variable that holds it: `${env:NAME}`"),
        ),
        Value::Mapping(mapping) => {
            mapping.iter().for_each(|(key, entry)| warn_of_placeholders(entry.value(), &path.join(key), problems));
        }
        Value::Sequence(items) => {
            items.iter().enumerate().for_each(|(at, item)| warn_of_placeholders(item, &path.join(at), problems));
        }
        Value::Scalar(_) | Value::Null | Value::Invalid => {}
    }
}

fn apply_overrides(root: &mut Node, sets: &Node, request: &Request, problems: &mut Problems) -> Vec<AppliedOverride> {
    let mut budget = Budget::default();
    let mut applied = Vec::new();
    for kind in &request.overrides {
        // What only a `--set` brings is there in the end too.
        let written: Vec<_> = [&*root, sets].into_iter().filter_map(|layer| layer.find(&kind.target)).collect();
        let set = kind.read(&request.environment, &written, &mut budget, problems);
        if root.find(&kind.target).is_some() && !crate::overrides::can_take(root, &kind.target) {
            // Decoding says what is wrong there; laying a mapping over it would hide that.
            continue;
        }
        for (tree, one) in set {
            merge(root, tree);
            applied.push(one);
        }
    }
    applied
}
