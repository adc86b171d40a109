use std::{sync::Arc, time::Duration};

use minicol_pdata::{Batch, Metrics};
use minicol_plugin::ExportError;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::far_end::FarEnd;

/// Takes the metrics as they are now.
pub(crate) type Take = Arc<dyn Fn() -> Metrics + Send + Sync>;

/// Sends the program's own metrics again and again. What it sends are totals, so a push that failed is made good by the next: there is no queue
/// and no retry.
pub(crate) struct Push {
    pub(crate) to: FarEnd,
    pub(crate) interval: Duration,
    pub(crate) take: Take,
}

/// OpenTelemetry's own timeout of an export, where the interval is not shorter.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Push {
    /// Pushes until a deadline is told, then once more before it. What the last push could not do is the error.
    pub(crate) async fn run(mut self, mut deadline: watch::Receiver<Option<Instant>>) -> Result<(), String> {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let stop = deadline.wait_for(Option::is_some);
            let result = tokio::select! {
                biased;
                _ = stop => break,
                result = async { ticks.tick().await; self.push(self.interval.min(TIMEOUT)).await } => result,
            };
            self.to.tell(result.as_ref().copied());
        }
        let until = deadline.borrow().unwrap_or_else(Instant::now);
        let last = self.push(until.saturating_duration_since(Instant::now())).await;
        let shutdown = self.to.shutdown(until).await;
        last.map_err(|error| format!("own metrics were not sent to {} at the end: {error}", self.to.endpoint))?;
        shutdown
    }

    async fn push(&self, limit: Duration) -> Result<(), ExportError> {
        let refused = self.to.send(Batch::Metrics((self.take)()), limit).await?;
        refused.map_or(Ok(()), |refused| Err(refused.error(self.to.items)))
    }
}
