use std::process::ExitCode;

use super::print;
use crate::components::REGISTRY;

/// The JSON Schema of a pipeline file.
pub(crate) fn schema() -> anyhow::Result<ExitCode> {
    print(&(serde_json::to_string_pretty(&REGISTRY.schema())? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
