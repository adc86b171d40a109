//! `cargo run -p xtask -- CHORE`.

use std::{
    io::{Write, stderr},
    process::ExitCode,
};

use xtask::CHORES;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = arguments.first().and_then(|name| CHORES.iter().find(|chore| chore.name == name));
    let done = match named {
        Some(chore) => (chore.run)(&arguments[1..]),
        None => Err(anyhow::anyhow!("usage: cargo run -p xtask -- CHORE\n{}", list())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is gone there is nobody left to tell.
            let _ = writeln!(stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> String {
    CHORES.iter().map(|chore| format!("  {:<10}{}", chore.name, chore.about)).collect::<Vec<_>>().join("\n")
}
