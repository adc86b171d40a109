use std::process::ExitCode;

use super::print;
use crate::components::REGISTRY;

/// The JSON Schema of a pipeline file, or of a test file.
pub(crate) fn schema(test: bool) -> anyhow::Result<ExitCode> {
    let schema = if test { minicol_pipeline_test::schema() } else { REGISTRY.schema() };
    print(&(serde_json::to_string_pretty(&schema)? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
