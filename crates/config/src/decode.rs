//! From a node to a component's configuration, with all that is wrong told at once.

use erased_serde::Deserializer;
use serde::de::DeserializeOwned;

use crate::de::{De, Fault, Trace};
use crate::nearest::nearest;
use crate::node::{Entry, Mapping, Node, Value};
use crate::path::{Path, Segment};
use crate::problem::{Problem, Problems};
use crate::secret::is_secret_path;
use crate::text::quoted;

/// Why a component did not take its configuration: what decoding said, or the component's own checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Where, from the component's own configuration on; the root where the whole of it is meant, or decoding itself failed (its place is
    /// known then).
    pub path: Path,
    /// What is wrong, in the user's words.
    pub message: String,
}

impl DecodeError {
    /// A fault at a path that begins at the component's own configuration.
    pub fn new(path: Path, message: impl Into<String>) -> Self {
        Self { path, message: message.into() }
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_root() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl std::error::Error for DecodeError {}

impl From<erased_serde::Error> for DecodeError {
    fn from(error: erased_serde::Error) -> Self {
        Self::new(Path::root(), error.to_string())
    }
}

impl<E: std::fmt::Display> From<serde_path_to_error::Error<E>> for DecodeError {
    fn from(error: serde_path_to_error::Error<E>) -> Self {
        use serde_path_to_error::Segment as Step;
        let known = error.path().iter().map_while(|step| match step {
            Step::Seq { index } => Some(Segment::Index(*index)),
            Step::Map { key } => Some(Segment::Key(key.clone())),
            Step::Enum { variant } => Some(Segment::Key(variant.clone())),
            Step::Unknown => None,
        });
        Self::new(known.collect(), error.inner().to_string())
    }
}

/// Decodes what is at `path` below `root`. As [`decode_with`], for a type that is known.
pub fn decode<T: DeserializeOwned>(root: &Node, path: &Path, problems: &mut Problems) -> Option<T> {
    decode_with(root, path, problems, |deserializer| Ok(T::deserialize(deserializer)?))
}

/// Decodes what is at `path` below `root` with a function that knows the type. What is absent there is decoded as a key without a body.
///
/// The function may be called several times: after an error, what is wrong is reported and put right in a copy, and the rest is decoded
/// again, so that all errors are told at once. `None` where anything was wrong (or could not be read in the first place).
pub fn decode_with<T>(
    root: &Node,
    path: &Path,
    problems: &mut Problems,
    decode: impl FnMut(&mut dyn Deserializer<'_>) -> Result<T, DecodeError>,
) -> Option<T> {
    decode_part(root, path, Part::All, problems, decode)
}

/// Which keys of a mapping a type decodes, where two types share one mapping (a component's own keys, and those that the host takes off).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// All of them.
    All,
    /// These alone; the type does not see the others.
    Only(&'a [&'a str]),
    /// All but these. Where a key is unknown, these are told among the valid ones.
    Without(&'a [&'a str]),
}

/// As [`decode_with`], for a part of the keys of the mapping at `path`. What is no mapping is decoded whole.
pub fn decode_part<T>(
    root: &Node,
    path: &Path,
    part: Part<'_>,
    problems: &mut Problems,
    mut decode: impl FnMut(&mut dyn Deserializer<'_>) -> Result<T, DecodeError>,
) -> Option<T> {
    let mut repair = Repair::new(root, path, part, problems);
    for _ in 0..MAX_ATTEMPTS {
        let trace = Trace::default();
        let deserializer = De::new(&repair.tree, path.clone(), &trace);
        let error = match decode(&mut <dyn Deserializer<'_>>::erase(deserializer)) {
            Ok(value) => return repair.intact.then_some(value),
            Err(error) => error,
        };
        let (at, fault) = trace.of(&error.message).unwrap_or_else(|| located(path, error));
        if !repair.handle(&at, fault) {
            return None;
        }
    }
    None
}

impl<'a> Part<'a> {
    fn has(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(keys) => keys.contains(&key),
            Self::Without(keys) => !keys.contains(&key),
        }
    }

    const fn hidden(self) -> &'a [&'a str] {
        match self {
            Self::Without(keys) => keys,
            Self::All | Self::Only(_) => &[],
        }
    }
}

/// How often one component is decoded at most: so many errors are told of it.
const MAX_ATTEMPTS: usize = 200;

/// An error that decoding knows nothing of: the component's own checks, at the path that they give.
fn located(base: &Path, error: DecodeError) -> (Path, Fault) {
    let path = base.join_all(&error.path);
    match Fault::from_message(error.message) {
        // Its path ends in the key itself.
        Fault::UnknownKey { key, known } => match path.split_last() {
            Some((above, Segment::Key(last))) if *last == key => (above, Fault::UnknownKey { key, known }),
            _ => (path, Fault::UnknownKey { key, known }),
        },
        fault => (path, fault),
    }
}

/// A copy of a component's configuration, in which each error is put right after it was reported.
struct Repair<'a> {
    root: &'a Node,
    base: &'a Path,
    part: Part<'a>,
    tree: Node,
    problems: &'a mut Problems,
    /// Whether nothing was wrong so far.
    intact: bool,
    /// What is no longer in the copy, because nothing could be made of it.
    removed: Vec<Path>,
    /// Lists without a body, which are no longer in the copy, so that their default is taken.
    defaulted: Vec<Path>,
}

impl<'a> Repair<'a> {
    fn new(root: &'a Node, base: &'a Path, part: Part<'a>, problems: &'a mut Problems) -> Self {
        let mut tree = root.find(base).cloned().unwrap_or_else(|| Node::null(root.mark_of_key(base)));
        // A variable that holds a list or a mapping is its text too, for a type that takes text: it is not taken apart without need.
        if part != Part::All
            && tree.as_mapping().is_some()
            && let Value::Mapping(mapping) = &mut tree.expand().value
        {
            mapping.0.retain(|key, _| part.has(key));
        }
        let intact = !tree.contains_invalid();
        Self { root, base, part, tree, problems, intact, removed: Vec::new(), defaulted: Vec::new() }
    }

    /// Reports a fault and puts it right; `false` where there is no going on.
    fn handle(&mut self, path: &Path, fault: Fault) -> bool {
        if let Some(invalid) = self.invalid_at(path) {
            // Reported already, and standing in for what is wanted was not enough.
            self.removed.push(invalid.clone());
            return self.remove(&invalid);
        }
        match fault {
            Fault::NoList if self.is_entry(path) => {
                self.defaulted.push(path.clone());
                return self.remove(path);
            }
            Fault::MissingKey(key) => {
                let full = path.join(key.as_str());
                if self.removed.contains(&full) {
                    return self.invalidate(path);
                }
                if self.defaulted.contains(&full) {
                    self.report(&full, &Fault::NoList);
                } else {
                    self.report(path, &Fault::MissingKey(key.clone()));
                }
                return self.insert_invalid(path, key);
            }
            Fault::UnknownKey { ref key, .. } => {
                let full = path.join(key.as_str());
                self.report(path, &fault);
                if let Fault::UnknownKey { key, known } = &fault
                    && let Some(meant) = nearest(key, known)
                    && self.relative(path).and_then(|path| self.tree.find(&path.join(meant))).is_none()
                {
                    // A required key that is misspelt is not missing as well.
                    self.insert_invalid(path, meant.to_owned());
                }
                if self.remove(&full) {
                    return true;
                }
            }
            fault => self.report(path, &fault),
        }
        self.invalidate(path)
    }

    fn report(&mut self, path: &Path, fault: &Fault) {
        self.intact = false;
        let mut message = fault.to_string();
        let node = self.root.find(path);
        if let (Some(Value::Scalar(scalar)), Fault::Other(_) | Fault::UnknownChoice { .. }) =
            (node.map(|node| &node.value), fault)
            && (scalar.secret || is_secret_path(path))
            && !scalar.text.is_empty()
        {
            message = message.replace(scalar.text.as_str(), "***");
        }
        let problem = Problem::error(message);
        let problem = match fault {
            Fault::UnknownKey { key, known } => {
                let problem = problem.at_key(self.root, &path.join(key.as_str()));
                let beside = if path == self.base { self.part.hidden() } else { &[] };
                let known: Vec<&str> = known.iter().map(String::as_str).chain(beside.iter().copied()).collect();
                problem.with_help(key_help(key, &known))
            }
            Fault::MissingKey(key) => {
                let full = path.join(key.as_str());
                problem.at_key(self.root, path).in_path(&full).with_help(format!("add `{key}:` here"))
            }
            Fault::UnknownChoice { found, known } => {
                let problem = problem.at_value(self.root, path);
                match nearest(found, known) {
                    Some(meant) => problem.with_help(format!("did you mean {}?", quoted(meant))),
                    None => problem,
                }
            }
            Fault::Type { help: Some(help), .. } => problem.at_value(self.root, path).with_help(help),
            Fault::NoList => problem.at_value(self.root, path).with_help("write its items after the key, or `[]`"),
            Fault::Type { help: None, .. } | Fault::Other(_) => problem.at_value(self.root, path),
        };
        self.problems.push(problem);
    }

    /// The part of a path in the copy, if it is in the copy.
    fn relative(&self, path: &Path) -> Option<Path> {
        path.starts_with(self.base).then(|| path.segments()[self.base.segments().len()..].iter().cloned().collect())
    }

    /// What is invalid at the path or above it.
    fn invalid_at(&self, path: &Path) -> Option<Path> {
        let mut node = &self.tree;
        let mut at = self.base.clone();
        if node.is_invalid() {
            return Some(at);
        }
        for segment in self.relative(path)?.segments() {
            node = node.step(segment)?;
            at.push(segment.clone());
            if node.is_invalid() {
                return Some(at);
            }
        }
        None
    }

    /// Whether the path ends in a key of the copy.
    fn is_entry(&self, path: &Path) -> bool {
        self.relative(path).is_some_and(|path| {
            matches!(path.split_last(), Some((_, Segment::Key(_)))) && self.tree.find(&path).is_some()
        })
    }

    fn remove(&mut self, path: &Path) -> bool {
        let Some((above, last)) =
            self.relative(path).and_then(|path| path.split_last().map(|(above, last)| (above, last.clone())))
        else {
            return false;
        };
        match (self.tree.find_mut(&above).map(|node| &mut node.expand().value), last) {
            (Some(Value::Mapping(mapping)), Segment::Key(key)) => mapping.0.shift_remove(&key).is_some(),
            // An item cannot go without the others changing their places: the list as a whole stands in for what is wanted.
            (Some(value @ Value::Sequence(_)), Segment::Index(_)) => {
                *value = Value::Invalid;
                true
            }
            _ => false,
        }
    }

    /// Makes what is at the path, or nearest above it, stand in for whatever is wanted.
    fn invalidate(&mut self, path: &Path) -> bool {
        let Some(mut path) = self.relative(path) else { return false };
        while self.tree.find(&path).is_none() {
            let Some((above, _)) = path.split_last() else { break };
            path = above;
        }
        match self.tree.find_mut(&path) {
            Some(node) if !node.is_invalid() => {
                node.value = Value::Invalid;
                true
            }
            _ => false,
        }
    }

    /// Gives the mapping at the path a key that stands in for whatever is wanted.
    fn insert_invalid(&mut self, path: &Path, key: String) -> bool {
        let Some(node) = self.relative(path).and_then(|path| self.tree.find_mut(&path)) else { return false };
        if node.as_mapping().is_none() {
            if !node.is_null() && node.as_text().is_none_or(|text| !text.trim().is_empty()) {
                return self.invalidate(path);
            }
            node.value = Value::Mapping(Mapping::default());
        }
        let mark = node.mark.clone();
        let Value::Mapping(mapping) = &mut node.expand().value else { return false };
        let entry = Entry { key_mark: mark.clone(), value: Node::new(mark, Value::Invalid) };
        mapping.0.insert(key, entry).is_none()
    }
}

/// The cure for an unknown key.
pub(crate) fn key_help<S: AsRef<str>>(key: &str, known: &[S]) -> String {
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    if known.is_empty() {
        return "remove it: there are no keys here".to_owned();
    }
    let valid = format!("valid keys: {}", known.join(", "));
    match nearest(key, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`? {valid}"),
        None => valid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Loaded, Request, load};

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Own {
        endpoint: String,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Beside {
        timeout: u64,
    }

    fn read(text: &str) -> (Option<Own>, Option<Beside>, Problems) {
        let request = Request { configs: vec![format!("yaml:{text}")], ..Request::default() };
        let Loaded { root, mut problems, .. } = load(&request).unwrap();
        let path = Path::keys(["otlp"]);
        let keys = ["timeout"];
        let own = decode_part(&root, &path, Part::Without(&keys), &mut problems, |from| {
            Ok(<Own as serde::Deserialize>::deserialize(from)?)
        });
        let beside = decode_part(&root, &path, Part::Only(&keys), &mut problems, |from| {
            Ok(<Beside as serde::Deserialize>::deserialize(from)?)
        });
        (own, beside, problems)
    }

    #[test]
    fn two_types_share_one_mapping() {
        let (own, beside, problems) = read("otlp: {timeout: 3, endpoint: here}");
        assert_eq!((own, beside), (Some(Own { endpoint: "here".to_owned() }), Some(Beside { timeout: 3 })));
        assert!(problems.is_empty());
    }

    #[test]
    fn an_unknown_key_is_told_once_with_the_keys_of_both() {
        let (own, _, problems) = read("otlp: {timeot: 3, endpoint: here}");
        assert_eq!(own, None);
        let [problem] = &problems.iter().collect::<Vec<_>>()[..] else { panic!("{problems}") };
        assert_eq!(
            problem.help.as_deref(),
            Some("did you mean `timeout`? valid keys: endpoint, timeout"),
            "{problem:?}"
        );
    }
}
