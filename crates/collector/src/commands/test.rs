//! Tests of pipelines, offline.

use std::{
    fmt::Write,
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use minicol_config::{Environment, Problems, Style};
use minicol_pipeline_test::{CaseResult, Loaded, Paint, expectations, failures, load, run, updated};

use super::print;
use crate::{cli::Tests, components::REGISTRY, rendered, tell};

/// A file that cannot be read, or a step that makes no sense.
const WRONG: u8 = 2;

/// How it went so far.
#[derive(Default)]
struct Tally {
    held: usize,
    failed: usize,
    updated: usize,
    wrong: usize,
}

/// Runs every test of every file. What differs goes to standard output, what is wrong with a file to standard error.
pub(crate) fn test(wanted: &Tests) -> anyhow::Result<ExitCode> {
    let style = Style::for_terminal(io::stdout().is_terminal(), &Environment::of_process());
    let paint = if style.color { Paint::Ansi } else { Paint::Plain };
    let mut tally = Tally::default();
    for path in files(&wanted.files)? {
        match load(&path, REGISTRY).and_then(|loaded| run(&loaded).map(|results| (loaded, results))) {
            Ok((loaded, results)) => file(wanted, &path, &loaded, &results, paint, &mut tally)?,
            Err(problems) => wrong(&problems, &mut tally),
        }
    }
    let Tally { held, failed, updated, wrong } = tally;
    if held + failed + updated + wrong == 0 {
        anyhow::bail!("no test is called so: leave --name away, or name another part of its name");
    }
    if !wanted.print {
        let told = |count: usize, what: &str| if count == 0 { String::new() } else { format!(", {count} {what}") };
        let all = held + failed + updated;
        let counted = if all == 1 { "1 test".to_owned() } else { format!("{all} tests") };
        print(&format!(
            "{counted}{}{}{}\n",
            told(failed, "failed"),
            told(updated, "updated"),
            told(wrong, if wrong == 1 { "file is wrong" } else { "files are wrong" })
        ))?;
    }
    Ok(match (wrong, failed) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::FAILURE,
        _ => ExitCode::from(WRONG),
    })
}

fn wrong(problems: &Problems, tally: &mut Tally) {
    tell(&rendered(problems));
    tally.wrong += 1;
}

fn file(
    wanted: &Tests,
    path: &Path,
    loaded: &Loaded,
    results: &[CaseResult],
    paint: Paint,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let is_wanted = |name: &str| wanted.name.as_deref().is_none_or(|part| name.contains(part));
    let mut changes: Vec<CaseResult> = Vec::new();
    for (index, (case, result)) in loaded.file.tests.iter().zip(results).enumerate() {
        let mut change = result.clone();
        if !is_wanted(&case.name) {
            change.steps.iter_mut().for_each(|step| step.differences.clear());
            changes.push(change);
            continue;
        }
        for what in &result.unread {
            tell(&format!("warning: {what}\n"));
        }
        if wanted.print {
            print(&came(loaded, index, result))?;
            tally.held += 1;
        } else if result.holds() {
            tally.held += 1;
            print(&format!("{} {}: {} ({result})\n", paint.green("ok    "), loaded.name, case.name))?;
        } else if wanted.update && result.steps.iter().all(|step| step.refused.is_none()) {
            tally.updated += 1;
            print(&format!("{} {}: {}\n", paint.bold("update"), loaded.name, case.name))?;
        } else {
            tally.failed += 1;
            print(&format!("{} {}: {}\n", paint.red("FAILED"), loaded.name, case.name))?;
            print(&failures(loaded, index, result, paint))?;
        }
        changes.push(change);
    }
    if wanted.update && changes.iter().flat_map(|one| &one.steps).any(|step| !step.differences.is_empty()) {
        let text = updated(loaded, &changes).with_context(|| {
            format!("nothing is written to {}: `minicol test --print` shows what would be", path.display())
        })?;
        replace(path, &text)?;
    }
    Ok(())
}

/// A file is there whole, before and after.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be written", path.display());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    fs::write(&beside, text).with_context(cannot)?;
    fs::set_permissions(&beside, fs::metadata(path).with_context(cannot)?.permissions()).with_context(cannot)?;
    fs::rename(&beside, path).with_context(cannot)
}

/// What came in a test, step by step, as YAML.
fn came(loaded: &Loaded, index: usize, result: &CaseResult) -> String {
    let case = &loaded.file.tests[index];
    let mut out = format!("# {}: {}\n", loaded.name, case.name);
    for (step, became) in case.steps.iter().zip(&result.steps) {
        // Writing to a String cannot fail.
        let _ = write!(out, "# at {}\nexpect:{}", step.at, expectations(case, step, &became.came, 2));
    }
    out
}

/// The test files that are meant.
fn files(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in named {
        if path.is_dir() {
            let before = all.len();
            within(path, &mut all)?;
            if all.len() == before {
                anyhow::bail!("{} holds no file whose name ends in .test.yaml", path.display());
            }
        } else {
            all.push(path.clone());
        }
    }
    Ok(all)
}

fn within(folder: &Path, all: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be read", folder.display());
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(cannot)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(cannot)?;
    entries.sort();
    for entry in entries {
        // A link may lead back to where it stands.
        if entry.is_dir() && !entry.is_symlink() {
            within(&entry, all)?;
        } else if entry.to_str().is_some_and(|name| name.ends_with(".test.yaml") || name.ends_with(".test.yml")) {
            all.push(entry);
        }
    }
    Ok(())
}
