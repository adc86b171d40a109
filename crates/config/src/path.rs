//! Where in the merged configuration something is.

use std::fmt;

/// One step into the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// The value under a key of a mapping.
    Key(String),
    /// An item of a list, from 0.
    Index(usize),
}

/// A path from the root of the configuration, shown as `processors::mapping::rules[0]::tool`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Path(Vec<Segment>);

impl Path {
    /// The root itself, shown as nothing.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// A path of keys.
    pub fn keys<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        Self(keys.into_iter().map(|key| Segment::Key(key.into())).collect())
    }

    /// One step further; a `&str` or `String` is a key, a `usize` an item.
    #[must_use]
    pub fn join(&self, segment: impl Into<Segment>) -> Self {
        let mut longer = self.clone();
        longer.push(segment);
        longer
    }

    /// All of `other`'s steps further.
    #[must_use]
    pub fn join_all(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Goes one step further.
    pub fn push(&mut self, segment: impl Into<Segment>) {
        self.0.push(segment.into());
    }

    /// The steps.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path without its last step, and that step.
    pub fn split_last(&self) -> Option<(Self, &Segment)> {
        let (last, rest) = self.0.split_last()?;
        Some((Self(rest.to_vec()), last))
    }

    /// Whether `prefix` is this path or above it.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if at == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, "::{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FromIterator<Segment> for Path {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Self(segments.into_iter().collect())
    }
}

impl From<&str> for Segment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<&String> for Segment {
    fn from(key: &String) -> Self {
        Self::Key(key.clone())
    }
}

impl From<String> for Segment {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_collector_users_write_it() {
        let path = Path::keys(["processors", "mapping", "rules"]).join(0).join("tool");
        assert_eq!(path.to_string(), "processors::mapping::rules[0]::tool");
        assert_eq!(Path::root().to_string(), "");
    }
}
