//! Measures what a poll costs, beside its floor. `cargo run --release -p minicol-bench` prints a table; `--help` tells the rest.
//!
//! Every role is a process of its own: the server of all targets and the OTLP backend (`server`), whose CPU nobody counts; the bare clients
//! that are the floor (`floor`); minicol's own pipeline, ticked faster than its configuration allows (`paced`); the program itself.

// A benchmark: it panics with a message rather than return errors, and prints.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::needless_pass_by_value)] // a role owns its options

mod driver;
mod floor;
mod link_order;
mod pace;
mod paced;
mod process;
mod program;
mod server;
mod tap;
mod world;

use clap::{Parser, Subcommand};

/// What a poll costs, beside its floor.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    wanted: driver::Wanted,
}

#[derive(Subcommand)]
enum Role {
    /// Throughput of an arrow that could be looked at, and is not, over that of one that could not: the two in turns, in one process.
    Tap(tap::Options),
    /// Looks which functions run, and writes the script by which the shipped program is linked (needs valgrind and nm).
    LinkOrder(link_order::Options),
    #[command(hide = true)]
    Server(server::Options),
    #[command(hide = true)]
    Floor(floor::Options),
    #[command(hide = true)]
    Paced(paced::Options),
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let Some(role) = cli.role else { return driver::run(&cli.wanted) };
    // As the program has it.
    tokio::runtime::Runtime::new()?.block_on(async {
        match role {
            Role::Server(options) => server::run(options).await,
            Role::Floor(options) => floor::run(options).await,
            Role::Paced(options) => paced::run(options).await,
            Role::Tap(options) => tap::run(options).await,
            Role::LinkOrder(options) => driver::link_order(cli.wanted, &options),
        }
    })
}
