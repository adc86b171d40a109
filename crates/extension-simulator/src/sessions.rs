//! The sessions of one life of the simulated process, whichever profile it has.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use minicol_plugin::{Clock, Random};
use tokio_util::sync::CancellationToken;

/// Sessions that may be open at once; beyond it a new one is refused with 503.
const MAX_SESSIONS: usize = 256;
/// A session that nobody uses ends after this, as the real server's does.
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);

/// Those that are open. They end with `end`, too.
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Arc<Session>>>,
    end: CancellationToken,
}

pub(crate) struct Session {
    /// When it was used last, on the monotonic clock.
    used: Mutex<Duration>,
    ended: CancellationToken,
    replies: AtomicU64,
}

impl Sessions {
    pub(crate) fn new(end: CancellationToken) -> Self {
        Self { open: Mutex::default(), end }
    }

    /// Opens a session; false where there are too many.
    pub(crate) fn open(&self, id: &str, now: Duration) -> bool {
        let mut open = self.lasting(now);
        let room = open.len() < MAX_SESSIONS;
        if room {
            let session =
                Session { used: Mutex::new(now), ended: self.end.child_token(), replies: AtomicU64::default() };
            open.insert(id.to_owned(), Arc::new(session));
        }
        room
    }

    /// A session that holds; it is used now.
    pub(crate) fn using(&self, id: &str, now: Duration) -> Option<Arc<Session>> {
        let session = self.lasting(now).get(id).cloned()?;
        *session.used.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Some(session)
    }

    pub(crate) fn close(&self, id: &str) {
        let closed = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(session) = closed {
            session.ended.cancel();
        }
    }

    /// Those that were used not too long ago.
    fn lasting(&self, now: Duration) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| !session.left_at(now).is_zero());
        open
    }
}

impl Session {
    /// How many replies there were before this one.
    pub(crate) fn next_reply(&self) -> u64 {
        self.replies.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits until it is over: closed, not used for too long, or gone with its process.
    pub(crate) async fn over(self: Arc<Self>, clock: Arc<dyn Clock>) {
        loop {
            let left = self.left_at(clock.monotonic());
            if left.is_zero() || self.ended.run_until_cancelled(tokio::time::sleep(left)).await.is_none() {
                return;
            }
        }
    }

    /// How much longer it may be without use.
    fn left_at(&self, now: Duration) -> Duration {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        SESSION_IDLE.saturating_sub(now.saturating_sub(used))
    }
}

/// An id that nobody guesses.
pub(crate) fn new_id(random: &dyn Random) -> String {
    format!("{:016x}{:016x}", random.next_u64(), random.next_u64())
}
