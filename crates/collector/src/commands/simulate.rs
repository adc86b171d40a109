use std::{process::ExitCode, sync::Arc, time::Duration};

use minicol_config::{Environment, Loaded, Path, Problem, Problems, Request, Segment, decode, load};
use minicol_extension_simulator::{Faults, Simulator, SimulatorConfig};
use minicol_plugin::{
    config::{self, ComponentConfig},
    net::exposure,
};

use super::{host, print, signals::Signals};
use crate::cli::Simulation;

/// How long what is in flight may take at the end.
const STOP: Duration = Duration::from_secs(5);

/// Runs a simulated Session-Buddy alone, until a signal.
pub(crate) async fn simulate(wanted: Simulation) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let config = configuration(wanted)?;
    let (_, environment) = host();
    let profile = config.profile;
    // Where nobody reads any more, it serves on.
    let tell = Arc::new(|_: &'static str, message: String| drop(print(&format!("{message}\n"))));
    let simulator = Simulator::start_telling(config, &environment, tell).await?;
    let url = simulator.url();
    print(&format!(
        "a simulated Session-Buddy ({}) serves {url}: {} tools; Ctrl-C ends it\n",
        profile.name(),
        profile.tools().len()
    ))?;
    if let Some(exposure) = exposure(simulator.address()) {
        print(&format!("it {exposure}\n"))?;
    }
    signals.next().await;
    tokio::select! {
        _ = tokio::time::timeout(STOP, simulator.stop()) => {}
        _ = signals.next() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration of the extension, from the command line.
fn configuration(wanted: Simulation) -> Result<SimulatorConfig, Problems> {
    let mut config = SimulatorConfig {
        endpoint: format!("{}:{}", wanted.host, wanted.port),
        profile: wanted.profile.into(),
        seed: wanted.seed,
        speed: wanted.speed,
        faults: Faults::default(),
    };
    if wanted.faults.is_empty() {
        return check(&config, |problem| problem).map(|()| config);
    }
    let request = Request { configs: wanted.faults, environment: Environment::of_process(), ..Request::default() };
    let Loaded { root, mut problems, .. } = load(&request)?;
    let Some(faults) = decode::<Faults>(&root, &Path::root(), &mut problems) else { return Err(problems) };
    if problems.has_errors() {
        return Err(problems);
    }
    config.faults = faults;
    check(&config, |problem| {
        // The plan is written without the key that it stands under in a pipeline file.
        let path = match problem.path.segments() {
            [Segment::Key(first), rest @ ..] if first == "faults" => rest.iter().cloned().collect(),
            _ => return problem,
        };
        problem.at_value(&root, &path)
    })?;
    Ok(config)
}

/// The component's own checks; `placed` says where each finding was written.
fn check(config: &SimulatorConfig, placed: impl Fn(Problem) -> Problem) -> Result<(), Problems> {
    let mut found = config::Problems::default();
    config.validate(&mut found);
    let mut problems = Problems::new();
    for one in found.into_vec() {
        problems.push(placed(one.into()));
    }
    if problems.has_errors() { Err(problems) } else { Ok(()) }
}
