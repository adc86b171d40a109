use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use minicol_pdata::Batch;
use minicol_plugin::{ExportError, Exporter, export_all, text};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use crate::OtlpPush;

/// Where own telemetry is sent. Whether that works is told once per change.
pub(crate) struct FarEnd {
    /// `own metrics`, `own traces`.
    pub(crate) what: &'static str,
    /// What one of them is called: `points`, `spans`.
    pub(crate) items: &'static str,
    pub(crate) endpoint: String,
    pub(crate) exporter: Arc<dyn Exporter>,
    /// What one request may take, where nothing shorter is said.
    timeout: Option<Duration>,
    told: Option<String>,
}

impl FarEnd {
    pub(crate) fn new(what: &'static str, items: &'static str, push: &OtlpPush, exporter: Arc<dyn Exporter>) -> Self {
        let timeout = push.timeout.map(|timeout| timeout.0).filter(|timeout| !timeout.is_zero());
        Self { what, items, endpoint: push.shown_endpoint().to_owned(), exporter, timeout, told: None }
    }

    /// Sends once. Whatever the exporter does, it ends within `limit`. Returns how many items the far end refused, and why, out of a batch that it took.
    pub(crate) async fn send(&self, batch: Batch, limit: Duration) -> Result<Option<Refused>, ExportError> {
        let limit = self.timeout.map_or(limit, |timeout| timeout.min(limit));
        let export = AssertUnwindSafe(export_all(&*self.exporter, batch)).catch_unwind();
        match timeout(limit, export).await {
            Ok(Ok(Ok(delivered))) if delivered.rejected > 0 => {
                let why = text::foreign(delivered.message.as_deref().unwrap_or("no reason given"));
                Ok(Some(Refused { count: delivered.rejected, why }))
            }
            Ok(Ok(Ok(_))) => Ok(None),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(ExportError::permanent("panic", "the exporter panicked, which is a bug in minicol")),
            Err(_) => Err(ExportError::retryable("timeout", format!("no answer within {} s", limit.as_secs_f64()))),
        }
    }

    /// Once per change: it fails, it fails in another way, it works again.
    pub(crate) fn tell(&mut self, result: Result<(), &ExportError>) {
        let Self { what, endpoint, told, .. } = self;
        match result {
            Ok(()) if told.take().is_some() => info!(%endpoint, "{what} are sent again"),
            Ok(()) => {}
            Err(error) if told.as_ref() == Some(&error.error_type) => {}
            Err(error) => {
                let message = text::shortened(&error.message, 400);
                warn!(%endpoint, error.type = %error.error_type, error = %message, "{what} cannot be sent");
                *told = Some(error.error_type.clone());
            }
        }
    }

    /// Lets go of the exporter; what did not work is the error.
    pub(crate) async fn shutdown(&self, until: Instant) -> Result<(), String> {
        let Self { what, endpoint, .. } = self;
        match timeout_at(until, AssertUnwindSafe(self.exporter.shutdown()).catch_unwind()).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(format!("the exporter of {what} to {endpoint} did not shut down: {error}")),
            Ok(Err(_)) => Err(format!("the exporter of {what} to {endpoint} panicked")),
            Err(_) => Err(format!("the exporter of {what} to {endpoint} did not shut down in time")),
        }
    }
}

/// What a far end did not want of a batch that it took.
pub(crate) struct Refused {
    pub(crate) count: u64,
    why: String,
}

impl Refused {
    pub(crate) fn error(&self, items: &str) -> ExportError {
        ExportError::permanent("partial_success", format!("{} {items} were refused: {}", self.count, self.why))
    }
}
