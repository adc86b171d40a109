//! Delivers in parts what is larger than the far end takes at once.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use minicol_pdata::Batch;
use minicol_plugin::{Delivered, ExportError, Level, Retry, Scope};

use crate::{config::Encoding, outcome::Request};

/// A request that failed.
pub(crate) enum Failed {
    /// The far end says that it is too large. Smaller ones may be taken.
    TooLarge(ExportError),
    /// For another reason.
    Otherwise(ExportError),
}

/// How large a request may be, in bytes as it is before it is compressed.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// As it is configured.
    max: usize,
    learnt: Mutex<Option<Learnt>>,
    told: AtomicBool,
    encoding: Encoding,
    peer: String,
    scope: Scope,
}

/// What a refusal has taught.
#[derive(Clone, Copy, Debug)]
struct Learnt {
    /// The smallest that was refused for being too large.
    refused: usize,
    /// By the monotonic clock.
    until: Duration,
}

/// How long that holds: a far end may be changed, and a gateway may have said so of another's request.
const REMEMBERED: Duration = Duration::from_secs(600);
/// No server worth the name takes less, and none can be configured: that a smaller one was refused tells nothing of others.
const SMALLEST_LIMIT: usize = 1024;

impl Sizes {
    /// `max`: the largest request; none: only the far end, `peer`, tells.
    pub(crate) fn new(encoding: Encoding, max: Option<usize>, peer: &str, scope: &Scope) -> Self {
        Self {
            max: max.unwrap_or(usize::MAX),
            learnt: Mutex::default(),
            told: AtomicBool::new(false),
            encoding,
            peer: peer.to_owned(),
            scope: scope.clone(),
        }
    }

    /// Sends a batch. What is too large is not sent but handed back in parts, each smaller than it and than what was refused lately. One item that
    /// is too large alone fails for good.
    pub(crate) async fn deliver<F>(
        &self,
        batch: Batch,
        send: impl FnOnce(Request) -> F,
    ) -> Result<Delivered, ExportError>
    where
        F: Future<Output = Result<Delivered, Failed>>,
    {
        let request = Request::of(&batch, self.encoding)?;
        let (items, bytes) = (batch.items(), request.body.len());
        if items > 1 && !self.fits(bytes) {
            return self.in_parts(batch, bytes);
        }
        if bytes > self.max {
            return Err(self.too_large(bytes));
        }
        match send(request).await {
            Ok(delivered) => Ok(delivered),
            Err(Failed::TooLarge(_)) if items > 1 => {
                self.learn(bytes);
                self.in_parts(batch, bytes)
            }
            // However its code reads: no other attempt makes it smaller.
            Err(Failed::TooLarge(error)) => Err(ExportError { retry: Retry::Never, ..error }),
            Err(Failed::Otherwise(error)) => Err(error),
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        let now = self.scope.clock().monotonic();
        let refused = self.learnt().filter(|learnt| now < learnt.until).map_or(usize::MAX, |learnt| learnt.refused);
        bytes <= self.max && bytes < refused
    }

    /// A request of so many bytes was refused for its size.
    fn learn(&self, bytes: usize) {
        let now = self.scope.clock().monotonic();
        let mut learnt = self.learnt();
        let before = learnt.filter(|learnt| now < learnt.until).map_or(usize::MAX, |learnt| learnt.refused);
        *learnt = Some(Learnt { refused: bytes.max(SMALLEST_LIMIT).min(before), until: now + REMEMBERED });
        drop(learnt);
        if !self.told.swap(true, Ordering::Relaxed) {
            let (peer, minutes) = (&self.peer, REMEMBERED.as_secs() / 60);
            let message = format!(
                "{peer} refused a request of {bytes} bytes for its size: such batches are sent in parts, and after {minutes} minutes one is tried whole again"
            );
            self.scope.notice(Level::Info, "sent_in_parts", message);
        }
    }

    fn learnt(&self) -> MutexGuard<'_, Option<Learnt>> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Halves, and halves of halves, until each is smaller than `whole` and fits, or is one item.
    fn in_parts(&self, batch: Batch, whole: usize) -> Result<Delivered, ExportError> {
        let (mut next, mut rest) = (vec![batch], Vec::new());
        while let Some(part) = next.pop() {
            let small = part.items() < 2 || {
                let bytes = Request::of(&part, self.encoding)?.body.len();
                bytes < whole && self.fits(bytes)
            };
            match part {
                part if small => rest.push(part),
                Batch::Metrics(part) => next.extend(halves(part.items(), |keep| part.split_at(keep))),
                Batch::Logs(part) => next.extend(halves(part.items(), |keep| part.split_at(keep))),
                Batch::Traces(part) => next.extend(halves(part.items(), |keep| part.split_at(keep))),
                // They are no OTLP, and were refused before.
                Batch::Observations(part) => rest.push(part.into()),
            }
        }
        Ok(Delivered { rest, ..Delivered::default() })
    }

    fn too_large(&self, bytes: usize) -> ExportError {
        let max = self.max;
        let message = format!("one item makes a request of {bytes} bytes, but none may be larger than {max}");
        ExportError::permanent("too_large", message)
    }
}

/// Two halves, the second first: the last is looked at next.
fn halves<T: Into<Batch>>(items: usize, split_at: impl FnOnce(usize) -> (T, T)) -> [Batch; 2] {
    let (first, second) = split_at(items / 2);
    [second.into(), first.into()]
}

impl From<ExportError> for Failed {
    fn from(error: ExportError) -> Self {
        Self::Otherwise(error)
    }
}
