//! Environment variables that give what is written nowhere.

use serde_json::Value as Json;

use crate::environment::{Environment, NoText};
use crate::load::Loaded;
use crate::merge::merge;
use crate::node::Node;
use crate::overrides::{AppliedOverride, mark_of};
use crate::path::{Path, Segment};
use crate::problem::Problem;
use crate::secret::{is_secret_name, is_secret_path};
use crate::source::wrap;
use crate::substitute::from_json;
use crate::yaml::Budget;

impl Loaded {
    /// Sets what is at `path` to what `read` makes of a variable. Nothing happens where the variable is not set or holds nothing. What is wrong is told
    /// at the variable; its text is not shown where it looks like a secret. Whether something is written at `path` already is the caller's to see.
    pub fn fill_in(
        &mut self,
        environment: &Environment,
        variable: &str,
        path: &Path,
        read: impl FnOnce(&str) -> Result<Option<Json>, Problem>,
    ) {
        let secret = is_secret_name(variable) || is_secret_path(path);
        let (mark, result) = match environment.text(variable) {
            Err(NoText::Unset) | Ok("") => return,
            Err(NoText::NotUtf8) => {
                (mark_of(variable, ""), Err(Problem::error("the environment variable is not valid UTF-8")))
            }
            Ok(text) => (mark_of(variable, if secret { "" } else { text }), read(text)),
        };
        let json = match result {
            Ok(None) => return,
            Ok(Some(json)) => json,
            Err(problem) => return self.problems.push(problem.at(&mark).in_path(path)),
        };
        let Some(mut node) = from_json(&json, &mark, &mut Budget::default()) else {
            let problem = Problem::error("the environment variable holds too much");
            return self.problems.push(problem.at(&mark).in_path(path));
        };
        if secret {
            node.hide();
        }
        let Some((base, keys)) = below_lists(&mut self.root, path) else { return };
        merge(base, wrap(keys.into_iter(), &mark, node));
        self.overrides.push(AppliedOverride { variable: variable.to_owned(), path: path.clone(), fills_in: true });
    }
}

/// What the path's last list item is (without a list the root), and the keys from there on; a list as such is replaced, never merged.
fn below_lists<'a>(root: &'a mut Node, path: &Path) -> Option<(&'a mut Node, Vec<String>)> {
    let mut keys = Vec::new();
    let mut item = path.clone();
    while let Some((before, last)) = item.split_last() {
        match last {
            Segment::Index(_) => break,
            Segment::Key(key) => keys.insert(0, key.clone()),
        }
        item = before;
    }
    root.find_mut(&item).map(|base| (base, keys))
}
