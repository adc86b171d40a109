//! A component's name in all its spellings.

use std::str::FromStr;

use super::{OWN, TEMPLATE};

/// The name of a new component, in small letters with dashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// Longer ones would make lines of the template longer than a line may be.
const MAX: usize = 32;

/// Text that is no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoName(String);

impl FromStr for Name {
    type Err = NoName;

    /// Dashes and underscores are the same: each place has its own.
    fn from_str(text: &str) -> Result<Self, NoName> {
        let name = text.replace('_', "-");
        let is_word =
            |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let wrong = if name.is_empty() {
            "it is empty"
        } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            "it must begin with a small letter"
        } else if !name.split('-').all(is_word) {
            "it may hold small letters, digits, and single dashes between them"
        } else if name.len() > MAX {
            "it may have 32 characters"
        } else if name.starts_with("receiver-") || name.ends_with("-receiver") {
            "leave `receiver` out: the crate's name has it anyway"
        } else {
            return Ok(Self(name));
        };
        Err(NoName(format!(
            "`{}` is no name for a receiver: {wrong}; for example `weather` or `github-issues`",
            text.escape_debug()
        )))
    }
}

impl std::fmt::Display for NoName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoName {}

impl Name {
    /// `github-issues`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a pipeline file names it: `github_issues`.
    pub fn component_type(&self) -> String {
        self.0.replace('-', "_")
    }

    /// As Rust names its types: `GithubIssues`.
    fn rust_type(&self) -> String {
        let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        self.0.split('-').map(capital).collect()
    }

    /// The crate's folder: `crates/receiver-github-issues`.
    pub fn folder(&self) -> String {
        format!("crates/receiver-{}", self.0)
    }

    /// The crate, as Cargo names it: `minicol-receiver-github-issues`.
    pub fn package(&self) -> String {
        format!("minicol-receiver-{}", self.0)
    }

    /// The crate, as Rust names it: `minicol_receiver_github_issues`.
    pub fn library(&self) -> String {
        self.package().replace('-', "_")
    }

    /// The pipeline that shows it: `pipelines/github-issues.yaml`.
    pub fn pipeline(&self) -> String {
        format!("pipelines/{}.yaml", self.0)
    }

    /// The template's text with this name in the place of its own.
    pub fn within(&self, text: &str) -> String {
        let own = Self(OWN.to_owned());
        text.replace(TEMPLATE, &self.folder())
            .replace(&own.rust_type(), &self.rust_type())
            .replace(&own.component_type(), &self.component_type())
            .replace(OWN, &self.0)
    }
}
