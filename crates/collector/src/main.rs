//! `minicol`: the command line, and the one list of components. The life of the process stands in `commands::run`.

mod cli;
mod commands;
mod components;
#[cfg(test)]
mod described;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;
use cli::{Cli, Command};
use minicol_config::{Environment, Problems, Style};

/// It gives pages that are free back to the system by itself, without a call that would need `unsafe` (`docs/bounds.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("error: the runtime does not start: {error}\n")),
    };
    let done = runtime.block_on(async {
        match command {
            Command::Run { sources, shutdown_timeout, watch } => commands::run(sources, shutdown_timeout, watch).await,
            Command::Validate { sources } => commands::validate(sources),
            Command::Components => commands::components(),
            Command::Doctor { sources, timeout, format } => commands::doctor(sources, timeout, format).await,
            Command::Status { page, format } => commands::status(&page, format).await,
            Command::Top { page } => commands::top(&page).await,
            Command::Init(wanted) => commands::init(&wanted),
            Command::Schema { test } => commands::schema(test),
            Command::Tap(wanted) => commands::tap(&wanted).await,
            Command::Test(wanted) => commands::test(&wanted),
            Command::Record(wanted) => commands::record(wanted).await,
            Command::Completions { shell } => commands::completions(shell),
            Command::Man { command } => commands::man(command.as_deref()),
            Command::Poll { sources, output, receiver } => commands::poll(sources, output, receiver.as_deref()).await,
            Command::Simulate(wanted) => commands::simulate(wanted).await,
            Command::ImportMahavishnu { file } => commands::import_mahavishnu(&file),
            Command::PrintConfig { sources, format } => commands::print_config(sources, format),
        }
    });
    // What a component still does on a blocking thread does not keep the program from ending.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<Problems>() {
            Some(problems) => fail(&rendered(problems)),
            None if is_closed_pipe(&error) => ExitCode::SUCCESS,
            None => fail(&format!("error: {error:#}\n")),
        },
    }
}

/// Problems of a configuration, for standard error.
fn rendered(problems: &Problems) -> String {
    problems.render(Style::for_terminal(io::stderr().is_terminal(), &Environment::of_process()))
}

/// Writes to standard error; where even that is gone, there is nobody left to tell.
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn fail(text: &str) -> ExitCode {
    tell(text);
    ExitCode::FAILURE
}

/// `minicol components | head` is no error.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
