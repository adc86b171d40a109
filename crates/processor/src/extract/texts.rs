use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The texts of attributes, each kept once: a series that every answer holds again costs no text anew. Texts that no answer holds any more are
/// forgotten.
#[derive(Debug, Default)]
pub(crate) struct Texts(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<Arc<str>>,
    old: HashSet<Arc<str>>,
}

/// So many texts are young; then they are old, and those that were old are forgotten.
pub(crate) const MAX_TEXTS: usize = 10_000;

impl Texts {
    /// The one that equals `text`.
    pub(crate) fn get(&self, text: &str) -> Arc<str> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.young.get(text) {
            return Arc::clone(known);
        }
        let kept = all.old.take(text).unwrap_or_else(|| text.into());
        if all.young.len() >= MAX_TEXTS {
            all.old = std::mem::take(&mut all.young);
        }
        all.young.insert(Arc::clone(&kept));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once() {
        let texts = Texts::default();
        assert!(Arc::ptr_eq(&texts.get("rust"), &texts.get("rust")));
        assert_eq!(&*texts.get("go"), "go");
    }

    #[test]
    fn what_is_seen_again_lives_on_and_what_is_not_is_forgotten() {
        let texts = Texts::default();
        let often = texts.get("often");
        let once = texts.get("once");
        for number in 0..5 * MAX_TEXTS {
            texts.get(&number.to_string());
            if number % 100 == 0 {
                assert!(Arc::ptr_eq(&often, &texts.get("often")));
            }
        }
        assert!(!Arc::ptr_eq(&once, &texts.get("once")));
        let all = texts.0.lock().unwrap();
        assert!(all.young.len() <= MAX_TEXTS && all.old.len() <= MAX_TEXTS);
    }
}
