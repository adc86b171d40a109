//! Promise: imports go one way, and a component crate knows the plugin API only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Which of our crates each of our crates names, tests included.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let ours = |name: &Value| name.as_str().and_then(|name| name.strip_prefix("minicol-")).map(str::to_owned);
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter_map(|package| {
            let name = ours(&package["name"])?;
            let imports = package["dependencies"].as_array()?.iter().filter_map(|one| ours(&one["name"])).collect();
            Some((name, imports))
        })
        .collect()
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "pdata" | "config" => &[],
        "plugin" => &["pdata"],
        "mcp" | "delivery" | "telemetry" => &["pdata", "plugin"],
        "host" => &["pdata", "plugin", "config", "delivery", "telemetry"],
        // The program itself, and the tests and the benchmark of all: they may know everything.
        "collector" | "tests" | "bench" => return None,
        receiver if receiver.starts_with("receiver-") => &["pdata", "plugin", "mcp"],
        // Every other crate is a component.
        _ => &["pdata", "plugin"],
    })
}

#[test]
fn imports_go_one_way() {
    let imports = imports();
    assert!(imports.len() >= 14, "cargo told of too few crates: {:?}", imports.keys());
    for (name, imported) in imports {
        let Some(allowed) = allowed(&name) else { continue };
        // A crate's tests may switch its own features on by naming itself.
        let wrong: Vec<_> = imported.iter().filter(|one| **one != name && !allowed.contains(&one.as_str())).collect();
        assert!(wrong.is_empty(), "crates/{name} imports {wrong:?}; it may import {allowed:?} only");
    }
}

#[test]
fn only_the_program_and_the_tests_name_components() {
    for (name, imported) in imports() {
        if matches!(name.as_str(), "collector" | "tests" | "bench") {
            continue;
        }
        for component in ["receiver-", "exporter-", "extension-", "processor"] {
            assert!(!imported.iter().any(|one| one.starts_with(component)), "crates/{name} names a component");
        }
    }
}
