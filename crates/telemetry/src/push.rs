use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use minicol_pdata::{Batch, Metrics};
use minicol_plugin::{ExportError, Exporter, export_all, text};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at},
};
use tracing::{info, warn};

/// Takes the metrics as they are now.
pub(crate) type Take = Arc<dyn Fn() -> Metrics + Send + Sync>;

/// Sends the program's own metrics again and again. What it sends are totals, so a push that failed is made good by the next: there is no queue
/// and no retry.
pub(crate) struct Push {
    pub(crate) endpoint: String,
    pub(crate) interval: Duration,
    pub(crate) exporter: Arc<dyn Exporter>,
    pub(crate) take: Take,
}

/// OpenTelemetry's own timeout of an export, where the interval is not shorter.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Push {
    /// Pushes until a deadline is told, then once more before it. What the last push could not do is the error.
    pub(crate) async fn run(self, mut deadline: watch::Receiver<Option<Instant>>) -> Result<(), String> {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut told: Option<String> = None;
        loop {
            let stop = deadline.wait_for(Option::is_some);
            tokio::select! {
                biased;
                _ = stop => break,
                result = async { ticks.tick().await; self.push(self.interval.min(TIMEOUT)).await } => self.tell(&mut told, result),
            }
        }
        let until = deadline.borrow().unwrap_or_else(Instant::now);
        let last = self.push(until.saturating_duration_since(Instant::now())).await;
        let shutdown = timeout_at(until, AssertUnwindSafe(self.exporter.shutdown()).catch_unwind()).await;
        if let Err(error) = last {
            return Err(format!("own metrics were not sent to {} at the end: {error}", self.endpoint));
        }
        match shutdown {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => {
                Err(format!("the exporter of own metrics to {} did not shut down: {error}", self.endpoint))
            }
            Ok(Err(_)) => Err(format!("the exporter of own metrics to {} panicked", self.endpoint)),
            Err(_) => Err(format!("the exporter of own metrics to {} did not shut down in time", self.endpoint)),
        }
    }

    async fn push(&self, limit: Duration) -> Result<(), ExportError> {
        let batch = Batch::Metrics((self.take)());
        let export = AssertUnwindSafe(export_all(&*self.exporter, batch)).catch_unwind();
        match timeout(limit, export).await {
            Ok(Ok(Ok(delivered))) if delivered.rejected > 0 => {
                let message = text::foreign(delivered.message.as_deref().unwrap_or("no reason given"));
                Err(ExportError::permanent(
                    "partial_success",
                    format!("{} points were refused: {message}", delivered.rejected),
                ))
            }
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(ExportError::permanent("panic", "the exporter panicked, which is a bug in minicol")),
            Err(_) => Err(ExportError::retryable("timeout", format!("no answer within {} s", limit.as_secs_f64()))),
        }
    }

    /// Once per change: it fails, it fails in another way, it works again.
    fn tell(&self, told: &mut Option<String>, result: Result<(), ExportError>) {
        match result {
            Ok(()) if told.take().is_some() => info!(endpoint = %self.endpoint, "own metrics are sent again"),
            Ok(()) => {}
            Err(error) if told.as_ref() == Some(&error.error_type) => {}
            Err(error) => {
                let message = text::shortened(&error.message, 400);
                warn!(endpoint = %self.endpoint, error.type = %error.error_type, error = %message, "own metrics cannot be sent");
                *told = Some(error.error_type);
            }
        }
    }
}
