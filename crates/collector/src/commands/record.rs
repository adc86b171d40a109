//! Recording what a target answers, as a test.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use minicol_config::Environment;
use minicol_host::{Plan, PollResult, PolledReceiver};
use minicol_pdata::{Batch, Observation, Outcome, POLL_REPORT, PollReport, Timestamp};
use minicol_pipeline_test::{Case, Down, FailedTool, NotAnswered, Start, Step, TestFile, file, load_text, run};
use minicol_plugin::{Redactor, config::GoDuration};

use super::{host, init::write, load, print};
use crate::{cli::Recording, components::REGISTRY, tell};

/// What stands for the value of a variable that may be a secret.
const NOT_RECORDED: &str = "not-recorded";

/// Polls, and writes a test of what was answered. What is expected is what this minicol makes of it.
pub(crate) async fn record(wanted: Recording) -> anyhow::Result<ExitCode> {
    let to_stdout = wanted.output == Path::new("-");
    if !to_stdout && !wanted.force && wanted.output.exists() {
        bail!(
            "{} is there already: name another file with --output, or write over it with --force",
            wanted.output.display()
        );
    }
    let folder = if to_stdout { Path::new("") } else { wanted.output.parent().unwrap_or(Path::new("")) };
    let (configs, sets) = wanted.sources.written();
    let (configs, sets) = (configs.to_vec(), sets.to_vec());
    let process = Environment::of_process();
    let plan = load(wanted.sources.clone())?;
    let redactor = plan.redactor();
    let mut recorded = TestFile {
        config: configs.iter().map(|config| relative(config, folder)).collect::<anyhow::Result<_>>()?,
        set: sets.iter().map(|set| redactor.text(set).into_owned()).collect(),
        environment: variables(&configs, &sets, &process, &redactor),
        tests: Vec::new(),
    };
    let case = poll(&wanted, &plan, &redactor).await?;
    recorded.tests.push(case);
    // Once without expectations, to see what comes.
    let loaded = load_text(&file(&recorded, None), folder, REGISTRY).inspect_err(|_| {
        tell("nothing is written: what was recorded does not run by itself; a variable that the pipeline file needs may be missing\n");
    })?;
    let got: Vec<Vec<_>> =
        run(&loaded)?.into_iter().map(|result| result.steps.into_iter().map(|step| step.came).collect()).collect();
    let text = file(&recorded, Some(&got));
    if to_stdout {
        print(&text)?;
    } else {
        write(&wanted.output, wanted.force, &text)?;
        let file = wanted.output.display();
        tell(&format!(
            "wrote {file}. Read it before you share it: answers may tell more than you would. Next:\n  minicol test {file}\n"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The cycles, as the steps of one test.
async fn poll(wanted: &Recording, plan: &Plan, redactor: &Redactor) -> anyhow::Result<Case> {
    let (host, environment) = host();
    let start = environment.clock.wall().floor_to_second();
    let begun = tokio::time::Instant::now();
    let mut case = Case { start: Start(start), ..Case::default() };
    for cycle in 0..wanted.cycles {
        let outcome = host.poll(plan, wanted.receiver.as_deref()).await?;
        let mut polled = outcome.receivers.into_iter().filter(|one| one.result != PollResult::NotPolling);
        let (one, others) = (polled.next(), polled.next());
        let Some(one) = one else { bail!("no receiver polls: there is nothing to record") };
        if let Some(other) = others {
            bail!("several receivers poll: say which, such as `{}` or `{}`", one.id, other.id);
        }
        let interval = step(&one, start, redactor, &mut case)?;
        case.name = format!("what {} answered", one.id);
        if case.pipeline.is_none() && plan.pipeline_ids().len() > 1 {
            case.pipeline = outcome.pipelines.first().map(|pipeline| pipeline.id.clone());
        }
        tell(&format!("cycle {} of {} is recorded\n", cycle + 1, wanted.cycles));
        if cycle + 1 < wanted.cycles {
            let interval = wanted.interval.unwrap_or(interval);
            tokio::time::sleep_until(begun + interval * (cycle + 1)).await;
        }
    }
    Ok(case)
}

/// Adds what one cycle brought. Gives the receiver's interval.
fn step(
    polled: &PolledReceiver,
    start: Timestamp,
    redactor: &Redactor,
    case: &mut Case,
) -> anyhow::Result<std::time::Duration> {
    match &polled.result {
        PollResult::Polled => {}
        PollResult::Disabled => bail!("receiver `{}` is not enabled", polled.id),
        PollResult::NotPolling => bail!("receiver `{}` does not poll", polled.id),
        PollResult::Failed(why) => bail!("receiver `{}`: {}", polled.id, redactor.text(why)),
    }
    let observations = polled.batches.iter().filter_map(|batch| match batch {
        Batch::Observations(observations) => Some(observations),
        _ => None,
    });
    let all: Vec<&Observation> = observations.flatten().collect();
    let report = all.iter().find_map(|one| one.report());
    let Some((last, report)) = all.last().zip(report) else {
        bail!("receiver `{}` gave no observations: only what is polled can be recorded", polled.id)
    };
    let mut step = Step {
        at: millis(last.arrival.wall.since(start)),
        receiver: Some(polled.id.to_string()),
        duration: millis(last.took),
        missed_ticks: report.missed_ticks,
        ..Step::default()
    };
    if report.setup_error.is_none() {
        step.answers = Some(serde_json::Map::new());
    }
    for one in all.iter().filter(|one| &*one.tool != POLL_REPORT) {
        let mut document = (*one.document).clone();
        redactor.document(&mut document);
        step.answers.get_or_insert_default().insert(one.tool.to_string(), document);
        step.took.insert(one.tool.to_string(), millis(one.took));
    }
    failures(&report, redactor, &mut step);
    case.steps.push(step);
    Ok(last.source.interval)
}

fn failures(report: &PollReport, redactor: &Redactor, step: &mut Step) {
    let text = |told: &Option<String>| told.as_deref().map(|told| redactor.text(told).into_owned());
    step.down =
        report.setup_error.as_ref().map(|why| Down { error_type: why.error_type.clone(), message: text(&why.message) });
    for (tool, outcome) in &report.tools {
        let kind = match outcome.outcome {
            Outcome::Answered => continue,
            Outcome::Failed => NotAnswered::Failed,
            Outcome::NotOffered => NotAnswered::NotOffered,
            Outcome::BreakerOpen => NotAnswered::BreakerOpen,
        };
        let failed =
            FailedTool { outcome: kind, error_type: outcome.error_type.clone(), message: text(&outcome.message) };
        step.failures.insert(tool.clone(), failed);
        if let Some(took) = outcome.duration_seconds.and_then(|took| std::time::Duration::try_from_secs_f64(took).ok())
        {
            step.took.insert(tool.clone(), millis(took));
        }
    }
}

/// To the millisecond: nobody reads more.
fn millis(duration: std::time::Duration) -> GoDuration {
    GoDuration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A configuration's name, as it is called from a folder.
fn relative(config: &str, folder: &Path) -> anyhow::Result<String> {
    let path = match config.split_once(':') {
        Some(("file", path)) => path,
        Some(("env" | "yaml", _)) => bail!(
            "`--config {}` is no file, so that a test could not find it again: write it to a file",
            config.split(':').next().unwrap_or_default()
        ),
        _ => config,
    };
    let cannot = || format!("{path} cannot be found");
    let to = std::fs::canonicalize(path).with_context(cannot)?;
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let from = std::fs::canonicalize(here).with_context(|| format!("{} cannot be found", here.display()))?;
    let shared = to.components().zip(from.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(to.components().skip(shared)).collect();
    way.to_str().map(str::to_owned).with_context(|| format!("{path} has a name that is no text"))
}

/// The variables that the sources name, each with its value unless that may be a secret.
fn variables(
    configs: &[String],
    sets: &[String],
    process: &Environment,
    redactor: &Redactor,
) -> BTreeMap<String, String> {
    let files = configs
        .iter()
        .filter_map(|config| std::fs::read_to_string(config.strip_prefix("file:").unwrap_or(config)).ok());
    let mut found = BTreeMap::new();
    for text in files.chain(sets.iter().cloned()) {
        for (at, _) in text.match_indices("${") {
            let reference = &text[at + 2..];
            let reference = reference.strip_prefix("env:").unwrap_or(reference);
            let end = reference.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(reference.len());
            let name = &reference[..end];
            let Some(value) = process.get(name) else { continue };
            let shown = redactor.text(value);
            let value = if shown == value && !minicol_config::is_secret_name(name) { value } else { NOT_RECORDED };
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}
