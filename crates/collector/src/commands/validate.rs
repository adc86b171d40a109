use std::process::ExitCode;

use super::{host, load, tell_overrides};
use crate::cli::Sources;

/// Resolves, decodes, and builds the graph without starting it.
pub(crate) fn validate(sources: Sources) -> anyhow::Result<ExitCode> {
    let plan = load(sources)?;
    tell_overrides(&plan);
    host().0.check(&plan)?;
    Ok(ExitCode::SUCCESS)
}
