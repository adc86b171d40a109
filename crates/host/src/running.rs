//! The running program, and how it ends.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::join_all;
use minicol_delivery::{Delivery, DeliveryCounts, DrainReport};
use minicol_plugin::{
    Books, CancellationToken, ComponentId, ComponentKind, HostView, Level, Snapshot, Status, StatusChange,
};
use minicol_telemetry::Telemetry;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use crate::{Plan, arrow::End, books, events::Events, graph::Chain, life::Life, workshop::Workshop};

/// A program at work. [`Running::shutdown`] ends it; dropping it breaks everything off.
pub struct Running {
    // Fields are dropped in this order: in the direction in which the data flows.
    pub(crate) receivers: Vec<Life>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) exporters: Vec<RunningExporter>,
    pub(crate) extensions: Vec<Life>,
    pub(crate) telemetry: Telemetry,
    pub(crate) workshop: Workshop,
}

pub(crate) struct RunningExporter {
    /// What the arrows of every pipeline lead to.
    pub(crate) end: End,
    pub(crate) delivery: Delivery,
    pub(crate) abandoned: CancellationToken,
}

/// How a shutdown went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownReport {
    /// What did not stop as it should.
    pub errors: Vec<String>,
    /// The components whose last word was that they cannot work (`PermanentError`), or that the program must end (`FatalError`).
    pub broken: Vec<String>,
    /// What became of the items of each exporter.
    pub exporters: Vec<ExporterReport>,
    /// What became of every item.
    pub books: Books,
    /// How long it took.
    pub took: Duration,
}

/// What became of the items of one exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExporterReport {
    /// Which exporter.
    pub id: ComponentId,
    /// What its drain did, and its books at the end.
    pub drain: DrainReport,
}

/// The share of the shutdown's time, in percent, by the end of which each step must be through. A step that needs less leaves the rest to the
/// next; none can take what the others need.
mod share {
    pub(super) const RECEIVERS: u32 = 50;
    pub(super) const PROCESSORS: u32 = 60;
    pub(super) const EXPORTERS: u32 = 90;
    pub(super) const EXTENSIONS: u32 = 95;
    pub(super) const TELEMETRY: u32 = 100;
}

/// For what needs no more than to be polled once.
const GRACE: Duration = Duration::from_millis(250);

/// A longer one is taken for this.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(24 * 60 * 60);

impl Running {
    pub(crate) fn new(workshop: Workshop, telemetry: Telemetry) -> Self {
        Self {
            receivers: Vec::new(),
            chains: Vec::new(),
            exporters: Vec::new(),
            extensions: Vec::new(),
            telemetry,
            workshop,
        }
    }

    /// Waits until a component reports that the program must end, and gives its report.
    pub async fn wait_fatal(&self) -> StatusChange {
        self.workshop.events.fatal().await
    }

    /// What became of every item.
    pub fn books(&self) -> Books {
        self.workshop.view.books()
    }

    /// How everything is.
    pub fn snapshot(&self) -> Snapshot {
        self.workshop.view.snapshot()
    }

    /// The stream of status changes and notices.
    pub fn events(&self) -> &Arc<Events> {
        &self.workshop.events
    }

    /// The program's own metrics and where they are served.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The books of every exporter.
    pub fn deliveries(&self) -> impl Iterator<Item = (&ComponentId, DeliveryCounts)> {
        self.exporters.iter().map(|one| (&one.end.id, one.delivery.counts()))
    }

    /// Stops receivers, flushes processors, drains exporters, stops extensions, and last the own telemetry, all before `within` (at most a day) has passed. No error
    /// on the way keeps the rest from being done.
    pub async fn shutdown(mut self, within: Duration) -> ShutdownReport {
        let begun = Instant::now();
        let within = within.min(LONGEST_SHUTDOWN);
        let until = |percent: u32| begun + within * percent / 100;
        info!(within_seconds = within.as_secs_f64(), "shutting down");
        self.workshop.view.stopping();
        let mut errors = Vec::new();

        let receivers = std::mem::take(&mut self.receivers);
        let stops = receivers.into_iter().map(|life| life.stop(until(share::RECEIVERS)));
        errors.extend(join_all(stops).await.into_iter().filter_map(Result::err));

        errors.extend(self.flush(until(share::PROCESSORS)).await);

        let exporters = self.drain(until(share::EXPORTERS)).await;
        errors.extend(exporters.iter().filter_map(ExporterReport::error));
        // What went on without its sender has its answer now.
        self.workshop.forks.ended(GRACE).await;

        // The last to start is the first to stop. Where one took all the time there was, the others stop together, so that they share what is left.
        let (mut extensions, deadline) = (std::mem::take(&mut self.extensions), until(share::EXTENSIONS));
        while Instant::now() < deadline
            && let Some(life) = extensions.pop()
        {
            errors.extend(life.stop(deadline).await.err());
        }
        let stops = extensions.into_iter().rev().map(|life| life.stop(deadline));
        errors.extend(join_all(stops).await.into_iter().filter_map(Result::err));
        let events = Arc::clone(&self.workshop.events);
        for why in self.telemetry.shutdown(until(share::TELEMETRY)).await {
            // A backend that is down is no fault of ours.
            warn!(why, "own telemetry");
        }
        let mut broken = events.stood_at(Status::PermanentError);
        broken.extend(events.stood_at(Status::FatalError));
        let books = self.workshop.view.books();
        let report = ShutdownReport { errors, broken, exporters, books, took: begun.elapsed() };
        report.tell();
        report
    }

    /// Says once what runs.
    pub(crate) fn has_started(&self, plan: &Plan) {
        self.workshop.view.running();
        let pipelines: Vec<&str> = plan.pipelines.iter().map(|one| one.id.as_str()).collect();
        info!(
            pipelines = pipelines.join(", "),
            receivers = self.receivers.len(),
            exporters = self.exporters.len(),
            extensions = self.extensions.len(),
            "everything has started"
        );
    }

    /// What arrows to an exporter lead to.
    pub(crate) fn end(&self, id: &ComponentId) -> Option<End> {
        self.exporters.iter().find(|one| one.end.id == *id).map(|one| one.end.clone())
    }

    async fn flush(&self, until: Instant) -> Vec<String> {
        let flushes = self.chains.iter().map(|chain| flush(chain, &self.workshop.events, until));
        join_all(flushes).await.into_iter().flatten().collect()
    }

    async fn drain(&mut self, until: Instant) -> Vec<ExporterReport> {
        let exporters = std::mem::take(&mut self.exporters);
        let events = &self.workshop.events;
        let drains = exporters.into_iter().map(async |one: RunningExporter| {
            events.report(ComponentKind::Exporter, &one.end.id, Status::Stopping, "");
            let drain = one.delivery.drain(until).await;
            one.abandoned.cancel();
            let report = ExporterReport { id: one.end.id, drain };
            events.report(ComponentKind::Exporter, &report.id, Status::Stopped, report.in_words());
            report
        });
        join_all(drains).await
    }
}

/// Lets each processor of a chain pass on what it holds, from the first to the last.
async fn flush(chain: &Chain, events: &Events, until: Instant) -> Vec<String> {
    let mut errors = Vec::new();
    for stage in &chain.stages {
        let id = stage.scope().id();
        events.report(ComponentKind::Processor, id, Status::Stopping, "");
        let why = match timeout_at(until, stage.flush()).await {
            Ok(Ok(())) => None,
            Ok(Err(rejected)) => Some(rejected.message),
            Err(_) => Some("it did not pass on in time what it still held".to_owned()),
        };
        if let Some(why) = why {
            let what = format!("processor `{id}` in pipeline `{}` could not be flushed: {why}", chain.pipeline);
            events.notice(ComponentKind::Processor, id, Level::Error, "flush_failed", what.clone());
            errors.push(what);
            stage.give_up();
        }
    }
    for stage in &chain.stages {
        events.report(ComponentKind::Processor, stage.scope().id(), Status::Stopped, "");
    }
    errors
}

impl ShutdownReport {
    /// Whether the program may say that all is well: nothing went wrong while stopping, and no component was broken. A target or backend that was
    /// down, and what was lost by that, is no failure of the program.
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.broken.is_empty()
    }

    /// Items that are left in storage, at all exporters together: the next start delivers them.
    pub fn kept(&self) -> u64 {
        self.exporters.iter().map(|one| one.drain.kept).sum()
    }

    /// Items that were lost during the shutdown, at all exporters together.
    pub fn lost(&self) -> u64 {
        self.exporters.iter().map(|one| one.drain.lost).sum()
    }

    fn tell(&self) {
        for why in &self.errors {
            error!(why, "not stopped as it should be");
        }
        for component in &self.broken {
            error!(component, "ended while it could not do its work");
        }
        books::tell(&self.books);
        let (lost, kept) = (self.lost(), self.kept());
        info!(
            took_seconds = self.took.as_secs_f64(),
            lost_while_stopping = lost,
            kept_in_storage = kept,
            "everything has stopped"
        );
    }
}

impl ExporterReport {
    fn in_words(&self) -> String {
        let counts = &self.drain.counts;
        let failed: u64 = counts.failed.values().sum();
        let dropped: u64 = counts.dropped.values().sum();
        let mut words = format!("{} items sent, {failed} failed, {dropped} dropped", counts.sent);
        if self.drain.lost > 0 {
            words.extend(["; ", &self.drain.lost.to_string(), " of them lost during the shutdown"]);
        }
        if counts.kept > 0 {
            words.extend(["; ", &counts.kept.to_string(), " items are kept in storage"]);
        }
        words
    }

    fn error(&self) -> Option<String> {
        self.drain.shutdown_error.as_ref().map(|why| format!("exporter `{}` did not shut down: {why}", self.id))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("events", &self.workshop.events).finish_non_exhaustive()
    }
}
