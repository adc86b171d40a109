//! Promise: imports go one way, and a component crate knows the plugin API only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What cargo knows of each of our crates.
fn packages() -> Vec<Value> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array_mut().map(std::mem::take).expect("packages")
}

/// Which of our crates each of our crates names, tests included.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let ours = |name: &Value| name.as_str().and_then(|name| name.strip_prefix("minicol-")).map(str::to_owned);
    packages()
        .iter()
        .filter_map(|package| {
            let name = ours(&package["name"])?;
            let imports = package["dependencies"].as_array()?.iter().filter_map(|one| ours(&one["name"])).collect();
            Some((name, imports))
        })
        .collect()
}

/// The manifests of all our crates.
fn manifests() -> Vec<std::path::PathBuf> {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let crates = std::fs::read_dir(root.join("crates")).expect("crates").map(|one| one.expect("a crate").path());
    crates
        .chain([
            root.join("tests"),
            root.join("tests/bench"),
            root.join("fuzz"),
            root.join("xtask"),
            root.join("xtask/template-receiver"),
        ])
        .map(|folder| folder.join("Cargo.toml"))
        .filter(|file| file.exists())
        .collect()
}

#[test]
fn no_crate_of_ours_is_unsafe() {
    let root = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).expect("the workspace");
    // `forbid` cannot be lifted by an attribute further down.
    assert!(root.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\""), "the workspace forbids unsafe code");
    let manifests = manifests();
    assert!(manifests.len() >= 14, "too few crates: {manifests:?}");
    for manifest in manifests {
        let text = std::fs::read_to_string(&manifest).expect("a manifest");
        assert!(
            text.contains("[lints]\nworkspace = true\n"),
            "{} does not take the workspace's lints",
            manifest.display()
        );
    }
}

#[test]
fn one_crypto_provider_is_built_in() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).expect("the lock file");
    let count = |name: &str| lock.matches(&format!("name = \"{name}\"\n")).count();
    assert_eq!((count("ring"), count("rustls")), (1, 1));
    for banned in ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "mbedtls"] {
        assert_eq!(count(banned), 0, "{banned} is built in");
    }
}

/// Its client and its server can read and write every message of MCP, which makes a program large: they are for tests.
#[test]
fn of_rmcp_the_program_has_the_types_alone() {
    let packages = packages();
    let dependencies = packages.iter().filter_map(|package| package["dependencies"].as_array()).flatten();
    let shipped: Vec<_> = dependencies.filter(|one| one["name"] == "rmcp" && one["kind"].is_null()).collect();
    assert_eq!(shipped.len(), 2, "the poller's and the simulator's: {shipped:?}");
    for one in shipped {
        assert_eq!(
            (&one["features"], &one["uses_default_features"]),
            (&Value::Array(Vec::new()), &Value::Bool(false)),
            "{one}"
        );
    }
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "pdata" | "config" => &[],
        "plugin" => &["pdata", "config"],
        "mcp" | "delivery" | "telemetry" => &["pdata", "plugin"],
        "host" => &["pdata", "plugin", "config", "delivery", "telemetry"],
        "pipeline-test" => &["pdata", "plugin", "config", "host"],
        // The program itself, and the tests and the benchmark of all: they may know everything.
        "collector" | "tests" | "bench" | "fuzz" => return None,
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
        if matches!(name.as_str(), "collector" | "tests" | "bench" | "fuzz") {
            continue;
        }
        for component in ["receiver-", "exporter-", "extension-", "processor"] {
            assert!(!imported.iter().any(|one| one.starts_with(component)), "crates/{name} names a component");
        }
    }
}
