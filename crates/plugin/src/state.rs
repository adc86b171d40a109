use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

type Slots = HashMap<(String, String, TypeId), Arc<dyn Any + Send + Sync>>;

/// State that outlives an instance of a component: MCP sessions, counter starts, histograms, breakers. One store lives as long as
/// the program; a component sees the slots under its own id through [`crate::Scope::state`].
#[derive(Clone, Default)]
pub struct StateStore(Arc<Mutex<Slots>>);

impl StateStore {
    /// Nothing kept yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is kept for `owner` under `key`; made by `init` where there is nothing, or something of another type.
    pub fn slot<T: Any + Send + Sync>(&self, owner: &str, key: &str, init: impl FnOnce() -> T) -> Arc<T> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (owner.to_owned(), key.to_owned(), TypeId::of::<T>());
        if let Some(kept) = slots.get(&name).and_then(|slot| Arc::clone(slot).downcast::<T>().ok()) {
            return kept;
        }
        let made = Arc::new(init());
        slots.insert(name, Arc::clone(&made) as Arc<dyn Any + Send + Sync>);
        made
    }

    /// Forgets what `owner` kept: its component left the configuration.
    pub fn forget(&self, owner: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, ..), _| of != owner);
    }
}

impl fmt::Debug for StateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateStore")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_outlives_its_first_user_and_is_told_apart_by_owner_key_and_type() {
        let store = StateStore::new();
        store.slot("a", "k", || Mutex::new(1)).lock().unwrap().clone_from(&7);
        assert_eq!(*store.slot("a", "k", || Mutex::new(1)).lock().unwrap(), 7);
        assert_eq!(*store.slot("b", "k", || Mutex::new(1)).lock().unwrap(), 1);
        assert_eq!(*store.slot("a", "k", || 3_u8), 3);
        store.forget("a");
        assert_eq!(*store.slot("a", "k", || Mutex::new(2)).lock().unwrap(), 2);
    }
}
