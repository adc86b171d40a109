//! What is made of the command line's definition: completions and man pages.

use std::process::ExitCode;

use anyhow::bail;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::print;
use crate::cli::Cli;

/// Completions for a shell.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "minicol", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The man page of the program, or of one of its commands.
pub(crate) fn man(command: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut program = Cli::command();
    // Gives each command its full name, as its page has it.
    program.build();
    let page = match command {
        None => Man::new(program),
        Some(name) => {
            let Some(command) = program.find_subcommand(name) else {
                let known: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
                let name = minicol_plugin::text::foreign(name);
                bail!("there is no command `{name}`; there are: {}", known.join(", "))
            };
            Man::new(command.clone())
        }
    };
    let mut text = Vec::new();
    page.render(&mut text)?;
    print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}
