//! `new receiver NAME`: a crate of its own for a new receiver, made of the one in `xtask/template-receiver`, and entered wherever a component has to be known.
//!
//! The template is a crate like any other: it is built, linted and tested with the workspace. What is made is that crate under another name.

mod name;
mod tree;

use std::{path::Path, process::Command};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{Chore, docs, root};
pub use name::Name;
use tree::Tree;

/// Makes a component.
pub const CHORE: Chore =
    Chore { name: "new", about: "new receiver NAME: a crate for a new receiver, which works as it is", run };

/// Where the template stands.
const TEMPLATE: &str = "xtask/template-receiver";
/// What the template is called.
const OWN: &str = "my-source";
/// The template's file that goes to the other pipelines.
const PIPELINE: &str = "pipeline.yaml";
const USAGE: &str =
    "usage: cargo run -p xtask -- new receiver NAME\nfor example: cargo run -p xtask -- new receiver weather";

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let name = match arguments {
        [kind, name] if kind == "receiver" => name,
        [kind, _] => bail!("a {kind} cannot be made from a template, only a receiver\n{USAGE}"),
        _ => bail!("{USAGE}"),
    };
    let name: Name = name.parse()?;
    let made = receiver(&root(), &name)?;
    // What follows needs cargo, and can fail: then nothing stays.
    if let Err(error) = finish(&name) {
        made.undo().context("what was made could not be taken away again: see `git status`")?;
        return Err(error.context("nothing was made"));
    }
    tell(&name);
    Ok(())
}

/// Writes the crate and enters it in a checkout. Either all of it is there afterwards, or nothing is changed.
pub fn receiver(root: &Path, name: &Name) -> anyhow::Result<Tree> {
    is_free(root, name)?;
    let mut tree = Tree::new(root);
    // Cargo writes it.
    tree.remember("Cargo.lock")?;
    for (path, text) in tree.read_folder(TEMPLATE)? {
        let place =
            if path == PIPELINE { name.pipeline() } else { format!("{}/{}", name.folder(), name.within(&path)) };
        tree.create(place, name.within(&text));
    }
    let dependency = format!("{} = {{ path = \"{}\" }}\n", name.package(), name.folder());
    tree.edit("Cargo.toml", |text| after_last(text, "minicol-receiver-", &dependency))?;
    let dependency = format!("{}.workspace = true\n", name.package());
    tree.edit("crates/collector/Cargo.toml", |text| after_last(text, "minicol-receiver-", &dependency))?;
    let entry = format!("{}::ENTRY,", name.library());
    tree.edit("crates/collector/src/components.rs", |text| into_list(text, "const RECEIVERS:", &entry))?;
    tree.write()?;
    Ok(tree)
}

/// Nothing has the name yet.
fn is_free(root: &Path, name: &Name) -> anyhow::Result<()> {
    ensure!(name.as_str() != OWN, "`{OWN}` is the template's own name: take another one");
    for place in [name.folder(), name.pipeline()] {
        ensure!(!root.join(&place).exists(), "{place} is there already: take another name, or take it away first");
    }
    let path = root.join(docs::FOLDER).join(docs::SCHEMA);
    let schema = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let schema: Value = serde_json::from_str(&schema).with_context(|| format!("{} is no JSON", path.display()))?;
    let components = schema["$defs"].as_object().into_iter().flatten().map(|(_, one)| &one["x-component"]);
    for component in components.filter(|one| one["kind"] == "receiver") {
        let aliases = component["aliases"].as_array().into_iter().flatten();
        let taken = aliases.chain([&component["type"]]).any(|called| *called == name.component_type());
        ensure!(!taken, "there is a receiver `{}` already: take another name", name.component_type());
    }
    Ok(())
}

/// The new line behind the last one that begins so.
fn after_last(text: &str, begins: &str, line: &str) -> Option<String> {
    let last = text.rfind(&format!("\n{begins}"))? + 1;
    let end = last + text[last..].find('\n')? + 1;
    Some(format!("{}{line}{}", &text[..end], &text[end..]))
}

/// The new element at the end of a list in Rust. Formatting is left to `cargo fmt`.
fn into_list(text: &str, begins: &str, element: &str) -> Option<String> {
    let start = text.find(begins)?;
    let end = start + text[start..].find("];")?;
    let before = text[..end].trim_end();
    let comma = if before.ends_with([',', '[']) { "" } else { "," };
    Some(format!("{before}{comma} {element}{}", &text[end..]))
}

/// Formats what the new names made longer or shorter, and writes the reference, which builds the program with the new crate in it.
fn finish(name: &Name) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let formatted = Command::new(cargo)
        .args(["fmt", "--package", &name.package(), "--package", "minicol-collector"])
        .current_dir(root())
        .status()
        .context("cargo does not run")?;
    ensure!(formatted.success(), "the new crate cannot be formatted");
    docs::write()
}

fn tell(name: &Name) {
    let (folder, package, pipeline, component) =
        (name.folder(), name.package(), name.pipeline(), name.component_type());
    crate::say(&format!(
        "The receiver `{component}` is there, and works: it polls a JSON document over HTTP.

  {folder}/src/client.rs    how the document is got: the part to replace first
  {folder}/src/config.rs    what a user can write
  {folder}/src/receiver.rs  when it polls, what it emits, how it ends
  {folder}/src/tests.rs     what is promised
  {pipeline}    a pipeline with it, which needs nothing else
  docs/reference/receiver-{component}.md    its options, made of config.rs by `cargo run -p xtask -- docs`

See it run, and hold what it promises:

  cargo run -- run --config {pipeline}
  cargo test -p {package}

How to make it yours: docs/write-a-receiver.md. Before it is merged, name it in README.md, docs/architecture.md and CHANGELOG.md.
"
    ));
}
