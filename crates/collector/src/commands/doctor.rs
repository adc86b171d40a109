//! Is everything reachable? What was found, and what to do.

use std::{fmt::Write, process::ExitCode, time::Duration};

use minicol_host::Examined;
use minicol_plugin::{Check, Verdict};
use serde_json::json;

use super::{host, load, print, signals::Signals, tell_overrides};
use crate::{
    cli::{Output, Sources},
    tell,
};

/// Looks at every receiver and exporter that takes part, all at once.
pub(crate) async fn doctor(sources: Sources, limit: Duration, output: Output) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let plan = load(sources)?;
    tell_overrides(&plan);
    let host = host().0;
    let examined = tokio::select! {
        examined = host.diagnose(&plan, limit) => examined?,
        name = signals.next() => {
            tell(&format!("{name}: ended before everything was looked at\n"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let failed = checks(&examined).filter(|check| check.verdict == Verdict::Failed).count();
    match output {
        Output::Table => print(&rendered(&examined, failed))?,
        Output::Json => {
            let found = json!({ "ok": failed == 0, "failed": failed, "components": examined });
            print(&(serde_json::to_string_pretty(&found)? + "\n"))?;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn checks(examined: &[Examined]) -> impl Iterator<Item = &Check> {
    examined.iter().flat_map(|one| &one.checks)
}

fn rendered(examined: &[Examined], failed: usize) -> String {
    let width = checks(examined).map(|check| check.step.chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    for one in examined {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "{} {}", one.kind, one.name);
        if one.checks.is_empty() {
            out.push_str("  – it needs nothing from outside\n");
        }
        for Check { step, verdict, detail } in &one.checks {
            let sign = match verdict {
                Verdict::Passed => '✓',
                Verdict::Failed => '✗',
                Verdict::Skipped => '–',
            };
            let _ = writeln!(out, "  {sign} {step:<width$}  {detail}");
        }
    }
    let _ = match failed {
        0 => writeln!(out, "\neverything is reachable"),
        1 => writeln!(out, "\n1 check failed"),
        many => writeln!(out, "\n{many} checks failed"),
    };
    out
}
