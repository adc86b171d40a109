use std::{process::ExitCode, time::Duration};

use minicol_config::{Problem, Problems};
use minicol_host::{ConfigSource, Limits, Plan, ShutdownReport, StartError, Started};
use minicol_telemetry::{LogEncoding, LogLevel, logs};
use tracing::{error, info, warn};

use super::{ending::Ending, files::Files, host, read, signals::Hangup, tell_warnings};
use crate::{cli::Sources, components::REGISTRY};

/// Parses and checks everything before anything binds, starts, waits, and stops under one deadline.
pub(crate) async fn run(sources: Sources, shutdown_timeout: Duration, watch: bool) -> anyhow::Result<ExitCode> {
    let (mut ending, mut hangup) = (Ending::listen(shutdown_timeout)?, Hangup::listen()?);
    let files = watch.then(|| Files::of(&sources));
    let plan = read(sources.clone())?;
    let (host, environment) = host();
    let host = host.with_limits(Limits { drain: shutdown_timeout, ..Limits::default() });
    let level = logs::init(&plan.telemetry().logs, environment.clock)?;
    warn_of(&plan);
    info!(version = env!("CARGO_PKG_VERSION"), "minicol starts");
    let told = async {
        let told = ending.next().await;
        info!(signal = told.signal, "told to stop before everything had started");
        (told.at, shutdown_timeout)
    };
    let mut running = match host.start_unless(&plan, told).await {
        Ok(Started::Running(running)) => *running,
        Ok(Started::Stopped(report)) => return Ok(exit_code(&report)),
        Err(why) => return Ok(not_started(why)),
    };
    drop(plan);
    let reloader = running.reload_from(CommandLine { sources, level });
    let reloads = async {
        loop {
            tokio::select! {
                () = hangup.next() => info!(signal = "SIGHUP", "told to reload the configuration"),
                file = changed(files.as_ref()) => info!(file, "the configuration has changed"),
            }
            reloader.request();
        }
    };
    let asked = tokio::select! {
        told = ending.next() => {
            info!(signal = told.signal, "told to stop");
            told.at
        }
        fatal = running.wait_fatal() => {
            error!(component = %fatal.component, why = fatal.message, "a component cannot go on");
            ending.begins()
        }
        () = reloads => ending.begins(),
    };
    tokio::select! {
        report = running.shutdown_since(asked, shutdown_timeout) => {
            Ok(exit_code(&report))
        }
        told = ending.next() => {
            error!(signal = told.signal, "a second signal: ended at once, without delivering what was queued");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Waits until a file changes, where files are watched.
async fn changed(files: Option<&Files>) -> String {
    match files {
        Some(files) => files.changed().await,
        None => std::future::pending().await,
    }
}

/// The configuration that the command line names.
struct CommandLine {
    sources: Sources,
    level: logs::Level,
}

impl ConfigSource for CommandLine {
    fn load(&self) -> Result<Plan, Problems> {
        Plan::load(self.sources.clone().request(), REGISTRY)
    }

    fn set_log_level(&self, level: LogLevel) -> bool {
        self.level.set(level)
    }
}

/// A person gets the lines of the file; who reads one JSON object per line gets nothing else.
fn warn_of(plan: &Plan) {
    match plan.telemetry().logs.encoding {
        LogEncoding::Console => tell_warnings(plan),
        LogEncoding::Json => plan.warnings().iter().for_each(warn_of_one),
    }
}

fn warn_of_one(problem: &Problem) {
    let place = problem.mark.as_ref().map(|mark| format!("{}:{}:{}", mark.source().name(), mark.line(), mark.column()));
    warn!(what = problem.message, place, path = %problem.path, help = problem.help, "configuration");
}

fn exit_code(report: &ShutdownReport) -> ExitCode {
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn not_started(why: StartError) -> ExitCode {
    error!(why = format!("{:#}", anyhow::Error::from(why)), "minicol does not start");
    ExitCode::FAILURE
}
