//! Promise: `new receiver NAME` makes a crate that fits in, or changes nothing. That what it makes builds, passes its tests and runs is held by
//! `tests/new-receiver/run`, which takes longer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use xtask::new::{Name, receiver};

/// The files of a folder, without what was built, and without what git keeps.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut left, mut found) = (vec![folder.to_owned()], BTreeMap::new());
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            if path.is_dir() && name != "target" && name != ".git" && name != "node_modules" {
                left.push(path);
            } else if path.is_file() && name != ".git" {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A copy of this checkout.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files(&xtask::root()) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn cargo(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(folder).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&told).into_owned())
}

#[test]
fn a_crate_is_made_and_entered_and_nothing_else_is_touched() {
    let folder = copy();
    let before = files(folder.path());
    // Either spelling is taken.
    let made = receiver(folder.path(), &"github_issues".parse().unwrap()).unwrap();
    let after = files(folder.path());

    let changed: Vec<_> = before.iter().filter(|(path, bytes)| after[*path] != **bytes).map(|(path, _)| path).collect();
    let expected = ["Cargo.toml", "crates/collector/Cargo.toml", "crates/collector/src/components.rs"];
    assert_eq!(changed, expected.map(Path::new).iter().collect::<Vec<_>>());
    let new: Vec<_> =
        after.keys().filter(|path| !before.contains_key(*path)).map(|path| path.to_str().unwrap()).collect();
    for path in
        ["Cargo.toml", "README.md", "src/lib.rs", "src/config.rs", "src/tests.rs", "examples/github_issues.yaml"]
    {
        assert!(new.contains(&format!("crates/receiver-github-issues/{path}").as_str()), "{path} is not among {new:?}");
    }
    assert!(new.contains(&"pipelines/github-issues.yaml"), "{new:?}");
    for (path, bytes) in after.iter().filter(|(path, _)| !before.contains_key(*path)) {
        let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        for own in ["my-source", "my_source", "mysource", "template"] {
            assert!(!text.contains(own), "{} still speaks of {own}", path.display());
        }
    }
    let (formats, told) =
        cargo(folder.path(), &["fmt", "-p", "minicol-receiver-github-issues", "-p", "minicol-collector"]);
    assert!(formats, "{told}");
    let list = fs::read_to_string(folder.path().join("crates/collector/src/components.rs")).unwrap();
    assert!(
        list.contains("    minicol_receiver_github_issues::ENTRY,\n"),
        "one line in the list of components:\n{list}"
    );

    let (resolves, told) = cargo(folder.path(), &["tree", "--offline", "-p", "minicol-collector", "--depth", "1"]);
    assert!(resolves && told.contains("minicol-receiver-github-issues"), "{told}");

    made.undo().unwrap();
    assert!(files(folder.path()).keys().eq(before.keys()), "what was made is gone");
    for path in ["Cargo.toml", "Cargo.lock", "crates/collector/Cargo.toml"] {
        assert_eq!(fs::read(folder.path().join(path)).unwrap(), before[Path::new(path)], "{path} is as it was");
    }
    assert!(!folder.path().join("crates/receiver-github-issues").exists());
}

#[test]
fn a_name_that_is_taken_changes_nothing() {
    let folder = copy();
    let before = files(folder.path());
    for (name, why) in [
        ("otlp", "crates/receiver-otlp is there already"),
        ("session_buddy", "crates/receiver-session-buddy is there already"),
        ("demo", "pipelines/demo.yaml is there already"),
        ("my-source", "`my-source` is the template's own name"),
    ] {
        let error = receiver(folder.path(), &name.parse::<Name>().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(why), "{name}: {error}");
    }
    // A type that another crate gives, or an alias of one.
    let schema = folder.path().join("docs/reference/minicol.schema.json");
    let text = fs::read_to_string(&schema).unwrap();
    fs::write(&schema, text.replace("\"type\": \"otlp\"", "\"type\": \"otlp_intake\"")).unwrap();
    let error = receiver(folder.path(), &"otlp-intake".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("there is a receiver `otlp_intake` already"), "{error}");
    fs::write(&schema, text).unwrap();
    // A list of components that looks otherwise.
    let components = folder.path().join("crates/collector/src/components.rs");
    let list = fs::read_to_string(&components).unwrap();
    fs::write(&components, "").unwrap();
    let error = receiver(folder.path(), &"weather".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("components.rs does not look as expected"), "{error}");
    fs::write(&components, list).unwrap();
    assert_eq!(files(folder.path()), before);
}

#[test]
fn what_is_no_name_is_told_with_a_cure() {
    for (text, why) in [
        ("", "it is empty"),
        ("Weather", "it must begin with a small letter"),
        ("9lives", "it must begin with a small letter"),
        ("wetter-öl", "small letters, digits, and single dashes"),
        ("a--b", "small letters, digits, and single dashes"),
        ("a-", "small letters, digits, and single dashes"),
        ("../up", "it must begin with a small letter"),
        ("a/b", "small letters, digits, and single dashes"),
        ("a b", "small letters, digits, and single dashes"),
        ("weather-receiver", "leave `receiver` out"),
        ("a-name-that-is-far-longer-than-names-are", "32 characters"),
    ] {
        let error = text.parse::<Name>().unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("for example `weather`"), "{text}: {error}");
    }
    let name: Name = "r2-d2".parse().unwrap();
    assert_eq!((name.component_type().as_str(), name.library().as_str()), ("r2_d2", "minicol_receiver_r2_d2"));
}

#[test]
fn the_command_says_how_it_is_used_and_makes_nothing_where_it_is_wrong() {
    for (arguments, why) in [
        (&["new"][..], "usage: cargo run -p xtask -- new receiver NAME"),
        (&["new", "receiver"], "usage: cargo run -p xtask -- new receiver NAME"),
        (&["new", "processor", "scrub"], "a processor cannot be made from a template, only a receiver"),
        (&["new", "receiver", "Weather"], "`Weather` is no name for a receiver: it must begin with a small letter"),
        (&["new", "receiver", "otlp"], "crates/receiver-otlp is there already"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(why), "{arguments:?}: {told}");
        assert!(output.stdout.is_empty());
    }
}
