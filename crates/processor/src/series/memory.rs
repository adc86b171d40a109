//! What is remembered of items and of series that are gone, within bounds.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use indexmap::IndexMap;
use minicol_pdata::{Attributes, Timestamp};

use super::life::Total;

/// Things that were seen, with a value each. Those in a tool's latest answer are never forgotten.
#[derive(Debug)]
pub(super) struct Seen<K, V>(IndexMap<K, Entry<V>>);

/// Keys of items that were counted.
pub(super) type Keys = Seen<Arc<str>, ()>;

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// The number of the answer that held it last.
    answer: u64,
}

impl<K, V> Default for Seen<K, V> {
    fn default() -> Self {
        Self(IndexMap::new())
    }
}

impl<K: Hash + Eq, V> Seen<K, V> {
    /// Notes that `answer` holds `key`. Returns what was known: its value, and the number of the answer that held it before.
    pub(super) fn see(&mut self, key: K, value: V, answer: u64) -> Option<(V, u64)> {
        self.0.insert(key, Entry { value, answer }).map(|entry| (entry.value, entry.answer))
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.0.retain(|_, entry| keep(&entry.value));
    }

    pub(super) fn clear(&mut self) {
        self.0 = IndexMap::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets the longest unseen beyond `max`, but none that one of the `latest` answers holds; how many that were.
    pub(super) fn trim(&mut self, max: usize, latest: &[u64]) -> u64 {
        let before = self.0.len();
        let excess = before.saturating_sub(max);
        if excess == 0 {
            return 0;
        }
        let mut old: Vec<u64> =
            self.0.values().map(|entry| entry.answer).filter(|answer| !latest.contains(answer)).collect();
        if old.is_empty() {
            return 0;
        }
        let last = excess.min(old.len()) - 1;
        let (sooner, &mut threshold, _) = old.select_nth_unstable(last);
        let older = sooner.iter().filter(|&&answer| answer < threshold).count();
        let mut at_threshold = last + 1 - older;
        self.0.retain(|_, entry| {
            if latest.contains(&entry.answer) || entry.answer > threshold {
                return true;
            }
            if entry.answer < threshold {
                return false;
            }
            let forget = at_threshold > 0;
            at_threshold = at_threshold.saturating_sub(1);
            !forget
        });
        (before - self.0.len()) as u64
    }
}

/// Series of one metric that expired: what is needed so that one that comes back does not overlap what it was.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    graves: IndexMap<u64, Grave>,
    /// One for all those whose own graves are forgotten, too. From then on a series that is not known may be one of them.
    mass: Option<Grave>,
}

/// What is left of a series.
#[derive(Clone, Debug)]
pub(super) struct Grave {
    /// Its start.
    pub(super) start: Timestamp,
    /// The time of its last point.
    pub(super) last: Timestamp,
    /// What it was, where it was a polled total.
    pub(super) total: Option<Total>,
}

impl Forgotten {
    /// Buries a series. Beyond `max` graves all are levelled.
    pub(super) fn bury(&mut self, attributes: &Attributes, grave: Grave, max: usize) {
        if self.graves.len() >= max {
            for (_, grave) in std::mem::take(&mut self.graves) {
                self.bury_nameless(&grave);
            }
        }
        if max == 0 {
            self.bury_nameless(&grave);
        } else {
            self.graves.insert(hash(attributes), grave);
        }
    }

    /// Buries a series that nobody is to be told from others by.
    pub(super) fn bury_nameless(&mut self, grave: &Grave) {
        let mass = self.mass.get_or_insert(Grave { total: None, ..*grave });
        mass.start = mass.start.max(grave.start);
        mass.last = mass.last.max(grave.last);
    }

    /// The series that comes back.
    pub(super) fn exhume(&mut self, attributes: &Attributes) -> Option<Grave> {
        if self.graves.is_empty() {
            return self.mass.clone();
        }
        self.graves.swap_remove(&hash(attributes)).or_else(|| self.mass.clone())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.graves.len()
    }
}

/// 64 bits of attributes are enough: two that share them would begin a little late.
fn hash(attributes: &Attributes) -> u64 {
    let mut hasher = DefaultHasher::new();
    attributes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unseen_are_forgotten_first_and_never_those_of_the_latest_answers() {
        let mut seen = Seen::default();
        for (key, answer) in [("a", 1), ("b", 2), ("c", 2), ("d", 3), ("e", 3)] {
            seen.see(key, (), answer);
        }
        seen.trim(4, &[3]);
        assert!(!seen.contains(&"a") && seen.contains(&"b"));
        seen.trim(3, &[3]);
        assert!(!seen.contains(&"b") && seen.contains(&"c"));
        seen.trim(1, &[3]);
        assert_eq!(seen.0.len(), 2, "two are in the latest answer");
        seen.trim(1, &[1, 2, 3]);
        assert_eq!(seen.0.len(), 2);
        assert_eq!(seen.see("d", (), 4), Some(((), 3)));
    }

    #[test]
    fn the_latest_answer_of_a_tool_that_has_been_silent_is_still_its_latest() {
        let mut seen = Seen::default();
        for (key, answer) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            seen.see(key, (), answer);
        }
        seen.trim(1, &[1, 4]);
        assert!(seen.contains(&"a") && seen.contains(&"d") && seen.len() == 2);
    }

    #[test]
    fn levelled_graves_hold_for_every_series() {
        let grave = |nanos| {
            let last = Timestamp::from_nanos(nanos);
            Grave { start: last, last, total: None }
        };
        let attributes = |text: &str| Attributes::new().with("a", text);
        let mut forgotten = Forgotten::default();
        assert!(forgotten.exhume(&attributes("1")).is_none());
        forgotten.bury(&attributes("1"), grave(10), 2);
        forgotten.bury(&attributes("2"), grave(20), 2);
        assert!(forgotten.exhume(&attributes("3")).is_none());
        assert_eq!(forgotten.exhume(&attributes("1")).map(|grave| grave.last), Some(Timestamp::from_nanos(10)));
        assert!(forgotten.exhume(&attributes("1")).is_none());
        forgotten.bury(&attributes("3"), grave(30), 2);
        forgotten.bury(&attributes("4"), grave(40), 2);
        for text in ["1", "2", "5"] {
            assert_eq!(forgotten.exhume(&attributes(text)).map(|grave| grave.last), Some(Timestamp::from_nanos(30)));
        }
        assert_eq!(forgotten.graves.len(), 1);
    }
}
