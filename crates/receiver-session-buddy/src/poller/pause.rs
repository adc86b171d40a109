//! Whether an operator told the receiver to rest.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The target that is not asked. It outlives an instance of the receiver: who paused a target did not mean until somebody changes an option. It does
/// not outlive the receiver, another target in its place, or the program.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<Option<String>>);

impl Pause {
    pub(super) fn is_of(&self, endpoint: &str) -> bool {
        self.paused().as_deref() == Some(endpoint)
    }

    pub(super) fn begin(&self, endpoint: &str) {
        *self.paused() = Some(endpoint.to_owned());
    }

    pub(super) fn end(&self) {
        *self.paused() = None;
    }

    /// Forgets the pause of another target.
    pub(super) fn keep_of(&self, endpoint: &str) {
        self.paused().take_if(|paused| paused != endpoint);
    }

    fn paused(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
