//! From a node to a component's configuration, with all that is wrong told at once.

mod repair;

use serde::de::DeserializeOwned;

use self::repair::Repair;
use crate::de::{Body, Fault, Trace};
use crate::node::Node;
use crate::path::Path;
use crate::problem::{Problem, Problems};

/// Decodes what is at `path` below `root`. As [`decode_with`], for a type that is known.
pub fn decode<T: DeserializeOwned>(root: &Node, path: &Path, problems: &mut Problems) -> Option<T> {
    decode_with(root, path, problems, |body| T::deserialize(body))
}

/// Decodes what is at `path` below `root` with a function that knows the type. What is absent there is decoded as a key without a body.
///
/// The function may be called several times: after an error, what is wrong is reported and put right in a copy, and the rest is decoded
/// again, so that all errors are told at once. `None` where anything was wrong (or could not be read in the first place).
pub fn decode_with<T>(
    root: &Node,
    path: &Path,
    problems: &mut Problems,
    decode: impl FnMut(Body<'_>) -> Result<T, Fault>,
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
    decode: impl FnMut(Body<'_>) -> Result<T, Fault>,
) -> Option<T> {
    decode_checked(root, path, part, problems, decode, |_| Vec::new())
}

/// As [`decode_part`], and tells what the component's own `check` finds in the value; its paths begin at the component. `Some` where decoding found
/// nothing wrong, whatever the check found.
///
/// Where decoding did find something, the check looks at the value that was put right, so that all is told at once. What it finds there may come of what
/// stands in for what is wrong. So it is told only if it lies neither at, below nor above a place that is wrong, and if it is found with the defaults of those
/// places, too.
pub fn decode_checked<T>(
    root: &Node,
    path: &Path,
    part: Part<'_>,
    problems: &mut Problems,
    mut decode: impl FnMut(Body<'_>) -> Result<T, Fault>,
    check: impl Fn(&T) -> Vec<Problem>,
) -> Option<T> {
    let mut repair = Repair::new(root, path, part, problems);
    let value = repaired(&mut repair, path, &mut decode)?;
    let mut found = check(&value);
    if !repair.intact {
        let (wrong, trace) = (repair.wrong(), Trace::default());
        found.retain(|one| {
            let at = path.join_all(&one.path);
            !wrong.iter().any(|wrong| at.starts_with(wrong) || wrong.starts_with(&at))
        });
        let tree = repair.with_defaults();
        if let Ok(other) = decode(Body::new(&tree, path.clone(), &trace)) {
            let also = check(&other);
            found.retain(|one| also.contains(one));
        }
    }
    let intact = repair.intact;
    for one in found {
        let at = path.join_all(&one.path);
        problems.push(one.at_value(root, &at));
    }
    intact.then_some(value)
}

/// The value, once all that is wrong is reported and put right.
fn repaired<T>(
    repair: &mut Repair<'_>,
    path: &Path,
    decode: &mut impl FnMut(Body<'_>) -> Result<T, Fault>,
) -> Option<T> {
    for _ in 0..MAX_ATTEMPTS {
        let trace = Trace::default();
        let fault = match decode(Body::new(&repair.tree, path.clone(), &trace)) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        let (at, fault) = trace.of(fault).unwrap_or_else(|fault| (path.clone(), fault));
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
            <Own as serde::Deserialize>::deserialize(from)
        });
        let beside = decode_part(&root, &path, Part::Only(&keys), &mut problems, |from| {
            <Beside as serde::Deserialize>::deserialize(from)
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
