//! What each command does.

mod components;
mod doctor;
mod ending;
mod files;
mod import_mahavishnu;
mod init;
mod page;
mod poll;
mod polled;
mod print_config;
mod record;
mod run;
mod schema;
mod shell;
mod signals;
mod simulate;
mod table;
mod tap;
mod test;
mod validate;

pub(crate) use components::components;
pub(crate) use doctor::doctor;
pub(crate) use import_mahavishnu::import_mahavishnu;
pub(crate) use init::init;
pub(crate) use page::{status, top};
pub(crate) use poll::poll;
pub(crate) use print_config::print_config;
pub(crate) use record::record;
pub(crate) use run::run;
pub(crate) use schema::schema;
pub(crate) use shell::{completions, man};
pub(crate) use simulate::simulate;
pub(crate) use tap::tap;
pub(crate) use test::test;
pub(crate) use validate::validate;

use std::{
    io::{self, Write},
    sync::Arc,
};

use minicol_host::{Host, Plan, Program};
use minicol_plugin::{Environment, SeededRandom, SystemClock, net::SystemNetwork};

use crate::{cli::Sources, components::REGISTRY, rendered, tell};

/// The configuration, checked as a whole. What the user should know all the same goes to standard error.
fn load(sources: Sources) -> anyhow::Result<Plan> {
    let plan = read(sources)?;
    tell_warnings(&plan);
    Ok(plan)
}

/// The configuration, checked as a whole.
fn read(sources: Sources) -> anyhow::Result<Plan> {
    Ok(Plan::load(sources.request(), REGISTRY)?)
}

fn tell_warnings(plan: &Plan) {
    if !plan.warnings().is_empty() {
        tell(&rendered(plan.warnings()));
    }
}

/// The overrides that took effect, by name: for the commands that have no log.
fn tell_overrides(plan: &Plan) {
    for one in plan.overrides() {
        let does = if one.fills_in { "gives" } else { "overrides" };
        tell(&format!("note: the environment variable {} {does} {}\n", one.variable, one.path));
    }
}

/// The host, over the machine's clocks, randomness and network.
fn host() -> (Host, Environment) {
    let environment = Environment {
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SeededRandom::from_machine()),
        network: Arc::new(SystemNetwork),
    };
    let program = Program { name: "minicol", version: env!("CARGO_PKG_VERSION") };
    (Host::new(program, environment.clone()), environment)
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// A text in double quotes, in which `$` begins no reference.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}
