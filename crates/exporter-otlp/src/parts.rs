//! Delivers in parts what is larger than the far end takes at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use minicol_pdata::Batch;
use minicol_plugin::{Delivered, ExportError};

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
    /// The smallest that was refused for being too large.
    refused: AtomicUsize,
    encoding: Encoding,
}

impl Sizes {
    /// `max`: the largest request; none: only the far end tells.
    pub(crate) fn new(encoding: Encoding, max: Option<usize>) -> Self {
        Self { max: max.unwrap_or(usize::MAX), refused: AtomicUsize::new(usize::MAX), encoding }
    }

    /// Sends a batch. What is too large is not sent but handed back in parts, each smaller than all that was refused before. One item that is too
    /// large alone fails for good.
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
            return self.in_parts(batch);
        }
        if bytes > self.max {
            return Err(self.too_large(bytes));
        }
        match send(request).await {
            Ok(delivered) => Ok(delivered),
            Err(Failed::TooLarge(_)) if items > 1 => {
                self.refused.fetch_min(bytes, Ordering::Relaxed);
                self.in_parts(batch)
            }
            Err(Failed::TooLarge(error) | Failed::Otherwise(error)) => Err(error),
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        bytes <= self.max && bytes < self.refused.load(Ordering::Relaxed)
    }

    /// Halves, and halves of halves, until each fits or is one item.
    fn in_parts(&self, batch: Batch) -> Result<Delivered, ExportError> {
        let (mut next, mut rest) = (vec![batch], Vec::new());
        while let Some(part) = next.pop() {
            let small = part.items() < 2 || self.fits(Request::of(&part, self.encoding)?.body.len());
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
