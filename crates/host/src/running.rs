//! The running program, and how it ends.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::join_all;
use indexmap::IndexMap;
use minicol_delivery::DrainReport;
use minicol_plugin::{
    Books, ComponentId, ComponentKind, EdgeName, HostView, Level, Snapshot, Status, StatusChange, StopReason, Tap,
};
use minicol_telemetry::{Telemetry, TelemetryConfig};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::{
    Host, Plan, books,
    deadline::Deadline,
    events::Events,
    graph::{Chain, ExporterNode, Graph},
    life::Life,
    reload::{self, ConfigSource, Core, Reloader},
    workshop::Workshop,
};

/// A program at work. [`Running::shutdown`] ends it; dropping it breaks everything off.
pub struct Running {
    // Fields are dropped in this order.
    reloading: Option<AbortOnDropHandle<()>>,
    core: Arc<Core>,
    telemetry: Telemetry,
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
    /// How long it took, from when it was asked for.
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
    /// What a reload is ending.
    pub(super) const RELOAD: u32 = 20;
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
    pub(crate) fn new(
        host: Host,
        graph: Graph,
        workshop: Workshop,
        telemetry: Telemetry,
        configured: TelemetryConfig,
    ) -> Self {
        let view = Arc::downgrade(&workshop.view);
        telemetry.leave_out(move |attribute| {
            let gone = Weak::upgrade(&view).and_then(|view| view.gone());
            gone.is_some_and(|gone| gone.has(attribute))
        });
        Self { reloading: None, core: Arc::new(Core::new(host, graph, workshop, configured)), telemetry }
    }

    /// From now on the configuration can be reloaded: it is read from `source` again whenever that is asked for, by what this returns or by an
    /// extension ([`HostView::reload`]). Called once.
    pub fn reload_from(&mut self, source: impl ConfigSource) -> Reloader {
        let reloader = Reloader::new();
        self.core.workshop.view.reloads_by(reloader.clone());
        let serving = reload::serve(Arc::clone(&self.core), Arc::new(source), reloader.clone());
        self.reloading = Some(AbortOnDropHandle::new(tokio::spawn(serving)));
        reloader
    }

    /// Waits until a component reports that the program must end, and gives its report.
    pub async fn wait_fatal(&self) -> StatusChange {
        self.core.workshop.events.fatal().await
    }

    /// What became of every item.
    pub fn books(&self) -> Books {
        self.core.workshop.view.books()
    }

    /// The arrows that are there now.
    pub fn edges(&self) -> Vec<EdgeName> {
        self.core.workshop.view.edges()
    }

    /// Looks at what passes an arrow from now on. `None` where it is not there.
    pub fn tap(&self, edge: &EdgeName) -> Option<Tap> {
        self.core.workshop.view.tap(edge)
    }

    /// How everything is.
    pub fn snapshot(&self) -> Snapshot {
        self.core.workshop.view.snapshot()
    }

    /// The stream of status changes and notices.
    pub fn events(&self) -> &Arc<Events> {
        &self.core.workshop.events
    }

    /// The program's own metrics and where they are served.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// As [`Running::shutdown_since`], asked for now.
    pub async fn shutdown(self, within: Duration) -> ShutdownReport {
        self.shutdown_since(Instant::now(), within).await
    }

    /// Stops receivers, flushes processors, drains exporters, stops extensions, and last the own telemetry, all before `within` (at most a day) has passed since
    /// it was `asked` for. No error
    /// on the way keeps the rest from being done.
    pub async fn shutdown_since(self, asked: Instant, within: Duration) -> ShutdownReport {
        let within = within.min(LONGEST_SHUTDOWN);
        let until = |percent: u32| asked + within * percent / 100;
        info!(within_seconds = within.as_secs_f64(), "shutting down");
        let Self { reloading, core, telemetry } = self;
        let workshop = &core.workshop;
        workshop.view.stopping();
        // A reload that is on its way is given up, or ends in time what it has replaced.
        core.closing.cancel();
        core.hurry.send_replace(Some(until(share::RELOAD)));
        if let Some(reloading) = reloading {
            let _ = timeout_at(until(share::RELOAD) + GRACE * 4, reloading).await;
        }
        let mut graph = core.graph.lock().await;
        let mut errors = Vec::new();

        let receivers = std::mem::take(&mut graph.receivers).into_values().filter_map(|node| node.life);
        let stop = Deadline::at(until(share::RECEIVERS));
        let stops = receivers.map(|life| life.stop(StopReason::Shutdown, stop.clone()));
        errors.extend(join_all(stops).await.into_iter().filter_map(Result::err));

        let flush_until = Deadline::at(until(share::PROCESSORS));
        let flushes = graph.chains.iter().map(|chain| flush(chain, &workshop.events, &flush_until));
        errors.extend(join_all(flushes).await.into_iter().flatten());

        let exporters = drain(std::mem::take(&mut graph.exporters), workshop, until(share::EXPORTERS)).await;
        errors.extend(exporters.iter().filter_map(ExporterReport::error));
        // What went on without its sender has its answer now.
        workshop.forks.ended(GRACE).await;

        // The last to start is the first to stop. Where one took all the time there was, the others stop together, so that they share what is left.
        let mut extensions: Vec<_> = std::mem::take(&mut graph.extensions).into_iter().map(|node| node.life).collect();
        let last = until(share::EXTENSIONS);
        let stop = |life: Life| life.stop(StopReason::Shutdown, Deadline::at(last));
        while Instant::now() < last
            && let Some(life) = extensions.pop()
        {
            errors.extend(stop(life).await.err());
        }
        errors.extend(join_all(extensions.into_iter().rev().map(stop)).await.into_iter().filter_map(Result::err));
        for why in telemetry.shutdown(until(share::TELEMETRY)).await {
            // A backend that is down is no fault of ours.
            warn!(why, "own telemetry");
        }
        let mut broken = workshop.events.stood_at(Status::PermanentError);
        broken.extend(workshop.events.stood_at(Status::FatalError));
        let books = workshop.view.books();
        let report = ShutdownReport { errors, broken, exporters, books, took: asked.elapsed() };
        report.tell();
        report
    }

    /// Says once what runs.
    pub(crate) async fn has_started(&self, plan: &Plan) {
        self.core.workshop.view.running();
        let pipelines: Vec<&str> = plan.pipelines.iter().map(|one| one.id.as_str()).collect();
        let graph = self.core.graph.lock().await;
        info!(
            pipelines = pipelines.join(", "),
            receivers = graph.receivers.values().filter(|node| node.life.is_some()).count(),
            exporters = graph.exporters.len(),
            extensions = graph.extensions.len(),
            "everything has started"
        );
    }
}

async fn drain(
    exporters: IndexMap<ComponentId, ExporterNode>,
    workshop: &Workshop,
    until: Instant,
) -> Vec<ExporterReport> {
    let events = &workshop.events;
    let drains = exporters.into_iter().map(async |(id, one): (ComponentId, ExporterNode)| {
        events.report(ComponentKind::Exporter, &id, Status::Stopping, "");
        one.governed.tell_to_stop(StopReason::Shutdown);
        let drain = one.delivery.drain(until).await;
        one.governed.abandoned.cancel();
        let report = ExporterReport { id, drain };
        events.report(ComponentKind::Exporter, &report.id, Status::Stopped, report.in_words());
        report
    });
    join_all(drains).await
}

/// Lets each processor of a chain pass on what it holds, from the first to the last.
async fn flush(chain: &Chain, events: &Events, until: &Deadline) -> Vec<String> {
    let mut errors = Vec::new();
    for (stage, _) in &chain.stages {
        if let Err(what) = stage.finish(&stage.worker(), StopReason::Shutdown, until).await {
            events.notice(ComponentKind::Processor, &stage.id, Level::Error, "flush_failed", what.clone());
            errors.push(what);
        }
    }
    for (stage, _) in &chain.stages {
        stage.worker().governed.voice.report(Status::Stopped, "");
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
        f.debug_struct("Running").field("events", self.events()).finish_non_exhaustive()
    }
}
