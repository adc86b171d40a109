//! `docs`: the JSON Schema and the reference pages, written anew from what the program says of itself.

#[allow(clippy::format_push_string)] // a page reads best so, and is made once
mod option;
#[allow(clippy::format_push_string)]
mod page;

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{Chore, root};

/// Writes `docs/reference` anew.
pub const CHORE: Chore = Chore { name: "docs", about: "write docs/reference anew, the JSON Schema included", run };

/// Where the pages and the schema stand.
pub const FOLDER: &str = "docs/reference";
/// The schemas' names there: of a pipeline file, and of a test file.
pub const SCHEMA: &str = "minicol.schema.json";
const TEST_SCHEMA: &str = "minicol-test.schema.json";

fn run(_: &[String]) -> anyhow::Result<()> {
    write()
}

/// Writes it, by what this checkout's program says. Nothing is written where that does not build.
pub fn write() -> anyhow::Result<()> {
    let text = schema(&[])?;
    let folder = root().join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let pages = pages(&serde_json::from_str(&text).context("the schema is no JSON")?);
    for name in written(&folder)?.keys().filter(|name| !pages.contains_key(*name)) {
        std::fs::remove_file(folder.join(name))?;
    }
    for (name, page) in &pages {
        std::fs::write(folder.join(name), page)?;
    }
    std::fs::write(folder.join(SCHEMA), text)?;
    std::fs::write(folder.join(TEST_SCHEMA), schema(&["--test"])?)?;
    Ok(())
}

/// The pages, by their names.
pub fn pages(schema: &Value) -> BTreeMap<String, String> {
    page::all(schema)
}

/// The pages that stand in a folder.
pub fn written(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(name, std::fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

/// What this checkout's program prints.
fn schema(more: &[&str]) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What the cargo that runs this says of this package: ring's build script would be run again for it, and all behind it compiled anew.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.to_string_lossy().starts_with(of)) {
            command.env_remove(name);
        }
    }
    let output = command
        .args(["run", "--quiet", "--package", "minicol-collector", "--", "schema"])
        .args(more)
        .current_dir(root())
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo does not run")?;
    ensure!(output.status.success(), "the program does not print its schema");
    String::from_utf8(output.stdout).context("the schema is no text")
}
