//! Delivers in parts what is larger than the far end takes at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use minicol_pdata::Batch;
use minicol_plugin::{Delivered, ExportError, Retry};

/// A request that failed.
pub(crate) enum Failed {
    /// The far end says that it is too large. Smaller ones may be taken.
    TooLarge(ExportError),
    /// For another reason.
    Otherwise(ExportError),
}

/// What the far end has been found not to take.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// The smallest size in bytes that was refused for being too large.
    refused: AtomicUsize,
}

impl Sizes {
    pub(crate) fn new() -> Self {
        Self { refused: AtomicUsize::new(usize::MAX) }
    }

    /// Sends a batch, in halves of halves where it is too large; none is tried that is as large as one that was refused before. One item that is
    /// too large alone is counted as rejected, the others are delivered. An error means that the whole batch is to be delivered again,
    /// or is lost: after an error that may pass, parts that were taken already come twice.
    pub(crate) async fn deliver<F>(&self, batch: Batch, send: impl Fn(Batch) -> F) -> Result<Delivered, ExportError>
    where
        F: Future<Output = Result<Delivered, Failed>>,
    {
        let (mut parts, mut total, mut taken) = (vec![batch], Delivered::default(), false);
        while let Some(part) = parts.pop() {
            let (items, bytes) = (part.items(), part.bytes());
            if items > 1 && bytes >= self.refused.load(Ordering::Relaxed) {
                parts.extend(halves(part));
                continue;
            }
            match send(part.clone()).await {
                Ok(delivered) => {
                    taken = true;
                    total.rejected += delivered.rejected;
                    total.message = delivered.message.or(total.message);
                }
                Err(Failed::TooLarge(_)) if items > 1 => {
                    self.refused.fetch_min(bytes, Ordering::Relaxed);
                    parts.extend(halves(part));
                }
                Err(Failed::TooLarge(error)) if taken || !parts.is_empty() => {
                    total.rejected += items as u64;
                    total.message = Some(error.message);
                }
                Err(Failed::Otherwise(error)) if taken && error.retry == Retry::Never => {
                    // Some is delivered: what is left is lost, and counted so.
                    total.rejected += (items + parts.iter().map(Batch::items).sum::<usize>()) as u64;
                    total.message = Some(error.message);
                    return Ok(total);
                }
                Err(Failed::TooLarge(error) | Failed::Otherwise(error)) => return Err(error),
            }
        }
        Ok(total)
    }
}

/// Two halves, the second first: the last is sent next.
fn halves(batch: Batch) -> [Batch; 2] {
    let keep = batch.items() / 2;
    match batch {
        Batch::Metrics(batch) => turned(batch.split_at(keep)),
        Batch::Logs(batch) => turned(batch.split_at(keep)),
        Batch::Traces(batch) => turned(batch.split_at(keep)),
        // They are no OTLP and are refused before.
        Batch::Observations(batch) => [Batch::Observations(batch), Batch::Metrics(minicol_pdata::Metrics::default())],
    }
}

fn turned<T: Into<Batch>>((first, second): (T, T)) -> [Batch; 2] {
    [second.into(), first.into()]
}

impl From<ExportError> for Failed {
    fn from(error: ExportError) -> Self {
        Self::Otherwise(error)
    }
}
