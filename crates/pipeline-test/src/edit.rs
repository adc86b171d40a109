//! Writing what came into a test file, and leaving the rest of it as it is.

use minicol_config::{Node, Path, Request};

use crate::{load::Loaded, run::CaseResult, yaml::expectations};

/// A file that cannot be changed in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUpdated(
    /// Why.
    pub String,
);

impl std::fmt::Display for NotUpdated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotUpdated {}

/// The text of the file in which every expectation that does not hold is what came. Everything else stays as it is, comments included; only a
/// comment within an expectation that changes is lost.
///
/// # Errors
/// Where an expectation is not written in lines of its own.
pub fn updated(loaded: &Loaded, results: &[CaseResult]) -> Result<String, NotUpdated> {
    let mut changes = Vec::new();
    for (index, (case, result)) in loaded.file.tests.iter().zip(results).enumerate() {
        let steps = Path::keys(["tests"]).join(index).join("steps");
        for (nth, (step, became)) in case.steps.iter().zip(&result.steps).enumerate() {
            if became.differences.is_empty() {
                continue;
            }
            let mark = loaded.root.mark_of_key(&steps.join(nth).join("expect"));
            let column = mark.column();
            changes.push((mark.line(), column, expectations(case, step, &became.came, column + 1)));
        }
    }
    let lines: Vec<&str> = loaded.text.split_inclusive('\n').collect();
    let mut out = String::with_capacity(loaded.text.len());
    let mut at = 0;
    for (line, column, new) in &changes {
        let key = lines.get(line - 1).copied().unwrap_or_default();
        let before: String = key.chars().take(column - 1).collect();
        let alone = before.chars().all(|c| c == ' ' || c == '-');
        if !alone || !key[before.len()..].starts_with("expect:") {
            let told = format!("{}:{line}:{column}: `expect` does not stand on a line of its own", loaded.name);
            return Err(NotUpdated(told));
        }
        lines[at..line - 1].iter().for_each(|line| out.push_str(line));
        out.push_str(&before);
        out.push_str("expect:");
        out.push_str(new);
        at = end(&lines, *line, column - 1);
    }
    lines[at..].iter().for_each(|line| out.push_str(line));
    proven(loaded, &out)?;
    Ok(out)
}

/// The first line, from 0, that does not belong to the key on `line` (from 1) with `indent` blanks before it.
fn end(lines: &[&str], line: usize, indent: usize) -> usize {
    let mut end = line;
    for (at, text) in lines.iter().enumerate().skip(line) {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let blanks = text.len() - text.trim_start_matches(' ').len();
        // A list may stand as far left as its key.
        if blanks < indent || (blanks == indent && !trimmed.starts_with("- ") && trimmed != "-") {
            break;
        }
        end = at + 1;
    }
    end
}

/// Nothing but expectations has changed.
fn proven(loaded: &Loaded, text: &str) -> Result<(), NotUpdated> {
    let broken = || NotUpdated(format!("{} is written in a way in which nothing can be put safely", loaded.name));
    let read = |text: &str| {
        let request = Request { configs: vec![format!("yaml:{text}")], ..Request::default() };
        minicol_config::load(&request).map(|loaded| loaded.root).map_err(|_| broken())
    };
    let (before, after) = (read(&loaded.text)?, read(text)?);
    let same = |one: Option<&Node>, other: Option<&Node>| match (one, other) {
        (Some(one), Some(other)) => one.means_the_same(other),
        (None, None) => true,
        _ => false,
    };
    for key in ["config", "set", "environment"] {
        if !same(before.get(key), after.get(key)) {
            return Err(broken());
        }
    }
    let tests = Path::keys(["tests"]);
    for (index, case) in loaded.file.tests.iter().enumerate() {
        let at = tests.join(index);
        let keys = |node: &Node| {
            node.find(&at).and_then(Node::as_mapping).map(|map| map.keys().map(str::to_owned).collect::<Vec<_>>())
        };
        let own = keys(&before).unwrap_or_default();
        if keys(&after).as_ref() != Some(&own) {
            return Err(broken());
        }
        if own.iter().any(|key| key != "steps" && !same(before.find(&at.join(&**key)), after.find(&at.join(&**key)))) {
            return Err(broken());
        }
        for nth in 0..=case.steps.len() {
            let at = at.join("steps").join(nth);
            let (Some(one), Some(other)) = (before.find(&at), after.find(&at)) else {
                if before.find(&at).is_none() && after.find(&at).is_none() {
                    continue;
                }
                return Err(broken());
            };
            let keys =
                one.as_mapping().into_iter().flat_map(minicol_config::Mapping::keys).filter(|key| *key != "expect");
            if keys.into_iter().any(|key| !same(one.get(key), other.get(key))) {
                return Err(broken());
            }
        }
    }
    Ok(())
}
