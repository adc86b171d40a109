//! What the program keeps secret, wherever it is told: a far end may repeat what it was sent, in an error, a header or an address. A text that came from
//! outside ([`text::foreign`](crate::text::foreign)) shows none of it; nor do log lines, statuses and notices.
//!
//! It is one list for the process, as its log is one: what the configurations know that run or are read, and what was read from files and got from
//! servers since.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak},
};

use crate::{Redactor, config::Secret};

/// The list.
struct Hidden {
    configured: Vec<Weak<Redactor>>,
    /// By where it came from. What was there before may still be on its way.
    learned: BTreeMap<String, VecDeque<Secret>>,
}

static HIDDEN: RwLock<Hidden> = RwLock::new(Hidden { configured: Vec::new(), learned: BTreeMap::new() });

/// From one place so many are remembered, the latest; from so many places.
const OF_ONE_PLACE: usize = 2;
const PLACES: usize = 4096;
/// A shorter credential stands everywhere by chance.
const SHORTEST: usize = 4;
/// The same of a value that is hidden, but under a name that does not say that it lets somebody in, such as a tenant's.
const SHORTEST_OF_OTHERS: usize = 8;

/// Hides what a configuration knows as a secret, for as long as somebody holds `redactor`.
pub fn configured(redactor: &Arc<Redactor>) {
    let mut hidden = HIDDEN.write().unwrap_or_else(PoisonError::into_inner);
    hidden.configured.retain(|one| one.strong_count() > 0);
    hidden.configured.push(Arc::downgrade(redactor));
}

/// Hides a credential that was read or got at `place`: a file, a token endpoint.
pub fn learn(place: &str, secret: &str) {
    let known =
        |hidden: &Hidden| hidden.learned.get(place).is_some_and(|there| there.iter().any(|one| one.expose() == secret));
    if secret.is_empty() || known(&read()) {
        return;
    }
    let mut hidden = HIDDEN.write().unwrap_or_else(PoisonError::into_inner);
    if !hidden.learned.contains_key(place) && hidden.learned.len() == PLACES {
        hidden.learned.pop_first();
    }
    let there = hidden.learned.entry(place.to_owned()).or_default();
    if there.len() == OF_ONE_PLACE {
        there.pop_front();
    }
    there.push_back(Secret::new(secret));
}

/// A text of the program's own without the credentials in it. A value that is hidden for its place alone may be a word, and stays.
pub fn without(text: &str) -> Cow<'_, str> {
    let known = Known::now();
    let mut shown = Cow::Borrowed(text);
    for form in known.credentials() {
        if shown.contains(form) {
            shown = shown.replace(form, Secret::REDACTED).into();
        }
    }
    shown
}

/// What is hidden now.
pub(crate) struct Known {
    hidden: RwLockReadGuard<'static, Hidden>,
    configured: Vec<Arc<Redactor>>,
}

fn read() -> RwLockReadGuard<'static, Hidden> {
    HIDDEN.read().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    pub(crate) fn now() -> Self {
        let hidden = read();
        let configured = hidden.configured.iter().filter_map(Weak::upgrade).collect();
        Self { hidden, configured }
    }

    /// As it may stand in a text; the longest first, so that nothing is left of one that holds another.
    pub(crate) fn all(&self) -> Vec<&str> {
        let others = self.configured.iter().flat_map(|one| one.secrets());
        let others = others.flat_map(forms).filter(|form| form.len() >= SHORTEST_OF_OTHERS);
        let mut all = self.credentials();
        all.extend(others);
        all.sort_by_key(|form| Reverse(form.len()));
        all
    }

    fn credentials(&self) -> Vec<&str> {
        let configured = self.configured.iter().flat_map(|one| one.credentials());
        let all = configured.chain(self.hidden.learned.values().flatten()).flat_map(forms);
        let mut all: Vec<&str> = all.filter(|form| form.len() >= SHORTEST).collect();
        all.sort_by_key(|form| Reverse(form.len()));
        all
    }
}

/// How long what `text` begins with is, where it is one of `hidden`: all of it, or what is there of it where the text breaks off.
pub(crate) fn hidden_at(text: &str, hidden: &[&str]) -> Option<usize> {
    let whole = hidden.iter().find(|form| text.starts_with(**form)).map(|form| form.len());
    let begun = || text.len() >= SHORTEST_OF_OTHERS && hidden.iter().any(|form| form.starts_with(text));
    whole.or_else(|| begun().then_some(text.len()))
}

/// A secret as it is, and where it is `Bearer TOKEN` the token.
fn forms(secret: &Secret) -> impl Iterator<Item = &str> {
    let behind_scheme = secret
        .expose()
        .split_once(' ')
        .filter(|(scheme, token)| scheme.chars().all(|c| c.is_ascii_alphabetic() || c == '-') && !token.contains(' '));
    [Some(secret.expose()), behind_scheme.map(|(_, token)| token)].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{net::is_credential, text};

    #[test]
    fn what_a_far_end_repeats_is_hidden_before_its_words_are_cut_and_escaped() {
        let credential = Secret::new("Bearer pl\"nted-bearer");
        let redactor =
            Redactor::new([credential.clone(), Secret::new("short"), Secret::new("long-enough")], is_credential);
        let redactor = Arc::new(redactor.with_credentials([credential]));
        configured(&redactor);
        learn("a file", "learned-1");
        for (said, shown) in [
            ("denied for Bearer pl\"nted-bearer.", "denied for [REDACTED]."),
            ("no pl\"nted-bearer pl\"nted-bearer", "no [REDACTED] [REDACTED]"),
            ("a short word, and long-enough\u{7}", "a short word, and [REDACTED]\\u{7}"),
            ("it was learned-1", "it was [REDACTED]"),
            ("it breaks off: pl\"nted-b", "it breaks off: [REDACTED]"),
        ] {
            assert_eq!(text::foreign(said), shown);
        }
        let cut = text::foreign(&format!("{}pl\"nted-bearer", "x".repeat(text::MAX_CHARS - 4)));
        assert_eq!(cut, format!("{}[REDACTED]", "x".repeat(text::MAX_CHARS - 4)));
        assert_eq!(without("é pl\"nted-bearer, learned-1; long-enough"), "é [REDACTED], [REDACTED]; long-enough");

        // A file is renewed: the one before is hidden still.
        learn("a file", "learned-2");
        assert_eq!(text::foreign("learned-1 learned-2"), "[REDACTED] [REDACTED]");
        learn("a file", "learned-3");
        assert_eq!(text::foreign("learned-1 learned-2"), "learned-1 [REDACTED]");
        // A configuration that nobody holds is forgotten.
        drop(redactor);
        assert_eq!(text::foreign("pl\"nted-bearer"), "pl\"nted-bearer");
    }
}
