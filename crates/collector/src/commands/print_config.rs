use std::process::ExitCode;

use super::{load, print, tell_overrides};
use crate::cli::{Format, Sources};

/// The merged, defaulted configuration, secrets redacted.
pub(crate) fn print_config(sources: Sources, format: Format) -> anyhow::Result<ExitCode> {
    let plan = load(sources)?;
    tell_overrides(&plan);
    let value = plan.to_value();
    print(&match format {
        Format::Yaml => serde_yaml::to_string(&value)?,
        Format::Json => serde_json::to_string_pretty(&value)? + "\n",
    })?;
    Ok(ExitCode::SUCCESS)
}
