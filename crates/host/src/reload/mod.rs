//! Another configuration takes the place of the one that runs, and what did not change runs on.
//!
//! In this order: the new configuration is read and checked ([`Core::reload_from`]), what changed is built and started beside the old (`prepare`),
//! and bound; in one step without waiting everything is pointed to the new (`swap`); then what is old ends (`retire`). Until the swap an error
//! leaves everything as it was.

mod diff;
mod prepare;
mod requests;
mod retire;
mod swap;

use std::{sync::Arc, time::Duration};

use minicol_config::{Problem, Problems, Severity};
use minicol_plugin::{CancellationToken, Level, Reload, ReloadChanges, ReloadOutcome, StopReason};
use minicol_telemetry::{LogLevel, TelemetryConfig};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tracing::{error, info, warn};

use crate::{Host, Plan, StartError, graph::Graph, life::with_causes, workshop::Workshop};
use diff::Diff;
pub use requests::Reloader;
pub(crate) use requests::serve;
use retire::Retiring;

/// Where a program's configuration is read from, again at each reload.
pub trait ConfigSource: Send + Sync + 'static {
    /// Reads and checks it. May block.
    fn load(&self) -> Result<Plan, Problems>;

    /// Takes on another level of the logs; false where that cannot be done while the program runs.
    fn set_log_level(&self, _level: LogLevel) -> bool {
        false
    }
}

/// What outlives a reload.
pub(crate) struct Core {
    // Fields are dropped in this order: what runs before what it was built with.
    pub(crate) graph: Mutex<Graph>,
    pub(crate) host: Host,
    pub(crate) workshop: Workshop,
    /// What of `service.telemetry` is in force.
    pub(crate) telemetry: std::sync::Mutex<TelemetryConfig>,
    /// Cancelled when the program ends: no reload begins any more, and one that has not come to the swap is given up.
    pub(crate) closing: CancellationToken,
    /// By when a reload is to be through with what it ends, because the program ends.
    pub(crate) hurry: watch::Sender<Option<Instant>>,
}

/// So many errors of one reload are kept for `/status`; all are logged.
const TOLD: usize = 20;

impl Core {
    pub(crate) fn new(host: Host, graph: Graph, workshop: Workshop, telemetry: TelemetryConfig) -> Self {
        Self {
            graph: Mutex::new(graph),
            host,
            workshop,
            telemetry: std::sync::Mutex::new(telemetry),
            closing: CancellationToken::new(),
            hurry: watch::Sender::new(None),
        }
    }

    /// Reads the configuration and makes it what runs; what is to be ended after that.
    async fn reload_from(&self, source: &Arc<dyn ConfigSource>) -> (Reload, Retiring) {
        let reads = Arc::clone(source);
        let read = tokio::task::spawn_blocking(move || reads.load());
        let plan = tokio::select! {
            biased;
            () = self.closing.cancelled() => return (self.ignored(), Retiring::default()),
            read = read => match read {
                Ok(Ok(plan)) => plan,
                Ok(Err(problems)) => return (self.invalid(&problems), Retiring::default()),
                Err(error) => return (self.failed(format!("reading it broke off: {error}")), Retiring::default()),
            },
        };
        plan.warnings().iter().for_each(warn_of);
        let mut graph = self.graph.lock().await;
        let diff = Diff::between(&graph, &plan);
        let prepared = tokio::select! {
            biased;
            () = self.closing.cancelled() => None,
            prepared = self.prepare(&graph, &plan, &diff) => Some(prepared),
        };
        let prepared = match prepared {
            Some(Ok(prepared)) => prepared,
            None => {
                // What had started is gone with the future.
                self.call_off().await;
                return (self.ignored(), Retiring::default());
            }
            Some(Err(error)) => {
                self.call_off().await;
                return (self.failed(in_words(&plan, &error)), Retiring::default());
            }
        };
        let mut warnings: Vec<String> = plan.warnings().iter().map(said).collect();
        let (adopted, restart) = self.adopt(&plan, source.as_ref());
        warnings.extend(restart);
        warnings.extend(diff.warnings.iter().cloned());
        warnings[plan.warnings().len()..].iter().for_each(|what| warn!(what, "reload"));
        let changes = diff.changes.clone();
        let retiring = self.swap(&mut graph, &plan, &diff, prepared);
        self.workshop.view.configured(&plan.settings());
        (self.done(changes, adopted, warnings), retiring)
    }

    /// The old ones have their places again.
    async fn call_off(&self) {
        for why in self.workshop.handover.call_off(&*self.workshop.environment.network).await {
            error!(why, "the reload was given up, and a port could not be taken back");
        }
    }

    /// Takes on what can be taken on of `service.telemetry`: whether something was, and what cannot.
    fn adopt(&self, plan: &Plan, source: &dyn ConfigSource) -> (bool, Vec<String>) {
        let mut now = self.telemetry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let then = plan.telemetry();
        let adopted = now.logs.level != then.logs.level && source.set_log_level(then.logs.level);
        if adopted {
            now.logs.level = then.logs.level;
        }
        let TelemetryConfig { logs, resource, metrics, traces } = &*now;
        let parts = [
            ("logs.level", logs.level != then.logs.level),
            ("logs.encoding", logs.encoding != then.logs.encoding),
            ("resource", *resource != then.resource),
            ("metrics", *metrics != then.metrics),
            ("traces", *traces != then.traces),
        ];
        let changed = parts.into_iter().filter(|(_, differs)| *differs);
        let restart = changed.map(|(part, _)| {
            format!("service.telemetry.{part} has changed: that takes effect when minicol is started again")
        });
        (adopted, restart.collect())
    }

    fn done(&self, changes: ReloadChanges, adopted: bool, warnings: Vec<String>) -> Reload {
        let ReloadChanges { kept, replaced, added, removed, pipelines } = &changes;
        let nothing = changes.is_empty() && !adopted;
        let outcome = if nothing { ReloadOutcome::Unchanged } else { ReloadOutcome::Success };
        let list = |names: &[String]| (!names.is_empty()).then(|| names.join(", "));
        let (replaced, added, removed, pipelines) = (list(replaced), list(added), list(removed), list(pipelines));
        info!(%outcome, kept, replaced, added, removed, pipelines, "the configuration is reloaded");
        self.told(Reload { warnings, changes, ..self.reload(outcome) })
    }

    fn invalid(&self, problems: &Problems) -> Reload {
        problems
            .iter()
            .for_each(|problem| if problem.severity == Severity::Error { error_of(problem) } else { warn_of(problem) });
        error!(errors = problems.errors().count(), "the configuration does not hold: the one before goes on");
        let errors = problems.errors().take(TOLD).map(said).collect();
        self.told(Reload { errors, ..self.reload(ReloadOutcome::Invalid) })
    }

    fn failed(&self, why: String) -> Reload {
        error!(why, "the configuration cannot be started: the one before goes on");
        self.told(Reload { errors: vec![why], ..self.reload(ReloadOutcome::Failed) })
    }

    fn ignored(&self) -> Reload {
        info!("the configuration is not reloaded, because the program ends");
        self.told(self.reload(ReloadOutcome::Ignored))
    }

    fn told(&self, reload: Reload) -> Reload {
        if let Some((level, name)) = event(reload.outcome) {
            self.workshop.events.of_program(level, name, reload.in_words());
        }
        self.workshop.view.reloaded(reload.clone());
        reload
    }

    fn reload(&self, outcome: ReloadOutcome) -> Reload {
        let (errors, warnings, changes) = (Vec::new(), Vec::new(), ReloadChanges::default());
        Reload { at: self.workshop.environment.clock.wall(), outcome, errors, warnings, changes }
    }

    fn drain(&self) -> Duration {
        self.host.limits().drain
    }
}

/// How loud, and by which name, a reload is told among the events. One that changed nothing is none.
const fn event(outcome: ReloadOutcome) -> Option<(Level, &'static str)> {
    match outcome {
        ReloadOutcome::Success => Some((Level::Info, "config_reloaded")),
        ReloadOutcome::Unchanged => None,
        ReloadOutcome::Invalid | ReloadOutcome::Failed => Some((Level::Warn, "config_reload_failed")),
        ReloadOutcome::Ignored => Some((Level::Info, "config_reload_ignored")),
    }
}

/// With the place where the component is configured.
fn in_words(plan: &Plan, error: &StartError) -> String {
    let mark = match error {
        StartError::Build { kind, id, .. } | StartError::Start { kind, id, .. } => plan.mark_of(*kind, id),
        StartError::Telemetry(_) => None,
    };
    let words = with_causes(error);
    mark.map_or_else(|| words.clone(), |mark| format!("{mark}: {words}"))
}

fn said(problem: &Problem) -> String {
    let place = problem.mark.as_ref().map(|mark| format!("{mark}: ")).unwrap_or_default();
    let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{place}{}{help}", problem.message)
}

fn error_of(problem: &Problem) {
    let place = problem.mark.as_ref().map(ToString::to_string);
    error!(what = problem.message, place, path = %problem.path, help = problem.help, "configuration");
}

fn warn_of(problem: &Problem) {
    let place = problem.mark.as_ref().map(ToString::to_string);
    warn!(what = problem.message, place, path = %problem.path, help = problem.help, "configuration");
}

/// Why an instance ends that another does, or does not, take the place of.
const fn reason(replaced: bool) -> StopReason {
    if replaced { StopReason::Replaced } else { StopReason::Removed }
}
