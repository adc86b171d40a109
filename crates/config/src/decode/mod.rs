//! From a node to a component's configuration, with all that is wrong told at once.

mod repair;

use erased_serde::Deserializer;
use serde::de::DeserializeOwned;

use self::repair::Repair;
use crate::de::{De, Fault, Trace};
use crate::node::Node;
use crate::path::{Path, Segment};
use crate::problem::Problems;

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
