use std::{process::ExitCode, time::Duration};

use minicol_telemetry::logs;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use super::{host, load};
use crate::cli::Sources;

/// The signals that end the program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// Parses and checks everything before anything binds, starts, waits, and stops under one deadline.
pub(crate) async fn run(sources: Sources, shutdown_timeout: Duration) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let plan = load(sources)?;
    let (host, environment) = host();
    logs::init(&plan.telemetry().logs, environment.clock)?;
    info!(version = env!("CARGO_PKG_VERSION"), "minicol starts");
    let running = tokio::select! {
        running = host.start(&plan) => running?,
        name = signals.next() => {
            info!(signal = name, "told to stop before everything had started");
            return Ok(ExitCode::SUCCESS);
        }
    };
    info!("everything is ready");
    tokio::select! {
        name = signals.next() => info!(signal = name, "told to stop"),
        fatal = running.wait_fatal() => error!(component = %fatal.component, why = fatal.message, "a component cannot go on"),
    }
    tokio::select! {
        report = running.shutdown(shutdown_timeout) => {
            Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        name = signals.next() => {
            error!(signal = name, "a second signal: ended at once, without delivering what was queued");
            Ok(ExitCode::FAILURE)
        }
    }
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
