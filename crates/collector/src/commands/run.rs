use std::{process::ExitCode, time::Duration};

use minicol_config::Problem;
use minicol_host::{Plan, ShutdownReport, StartError, Started};
use minicol_telemetry::{LogEncoding, logs};
use tracing::{error, info, warn};

use super::{host, read, signals::Signals, tell_warnings};
use crate::cli::Sources;

/// Parses and checks everything before anything binds, starts, waits, and stops under one deadline.
pub(crate) async fn run(sources: Sources, shutdown_timeout: Duration) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let plan = read(sources)?;
    let (host, environment) = host();
    logs::init(&plan.telemetry().logs, environment.clock)?;
    warn_of(&plan);
    info!(version = env!("CARGO_PKG_VERSION"), "minicol starts");
    let told = async {
        let name = signals.next().await;
        info!(signal = name, "told to stop before everything had started");
        shutdown_timeout
    };
    let running = match host.start_unless(&plan, told).await {
        Ok(Started::Running(running)) => *running,
        Ok(Started::Stopped(report)) => return Ok(exit_code(&report)),
        Err(why) => return Ok(not_started(why)),
    };
    tokio::select! {
        name = signals.next() => info!(signal = name, "told to stop"),
        fatal = running.wait_fatal() => error!(component = %fatal.component, why = fatal.message, "a component cannot go on"),
    }
    tokio::select! {
        report = running.shutdown(shutdown_timeout) => {
            Ok(exit_code(&report))
        }
        name = signals.next() => {
            error!(signal = name, "a second signal: ended at once, without delivering what was queued");
            Ok(ExitCode::FAILURE)
        }
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
