//! Wrong configurations, each a mistake that a person makes, and what is told of them. The files are in `wrong/`.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::demo::Demo;

const ENVIRONMENT: [(&str, &str); 4] =
    [("FAST", "fast"), ("TEN", "10"), ("API_TOKEN", "hunter2"), ("BUDDY_HOST", "localhost")];

/// What is told of a file; its folder is left out, since it is another one on every machine.
fn told(file: &Path) -> String {
    let name = file.display().to_string();
    let folder = format!("{}/", file.parent().unwrap().display());
    Demo::of(&[&name], &[], &ENVIRONMENT).told().replace(&folder, "")
}

#[test]
fn each_wrong_file_is_told_at_its_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/wrong");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 25, "{} files", files.len());
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let told = told(&file);
        assert!(told.starts_with("error: "), "{name} is not wrong: {told}");
        assert!(!told.contains("hunter2"), "{name} tells a secret: {told}");
        assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{name}");
        insta::assert_snapshot!(format!("wrong_{name}"), told);
    }
}

#[test]
fn every_first_line_has_its_place_written_contiguously() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/wrong");
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        for line in told(&file).lines().filter(|line| line.starts_with("error")) {
            let place = line.strip_prefix("error: ").and_then(|line| line.strip_prefix(&name)).expect(line);
            let numbers: Vec<_> = place.split(':').skip(1).take(2).map(str::parse::<usize>).collect();
            assert!(matches!(numbers[..], [Ok(1..), Ok(1..)]), "{line}");
        }
    }
}

#[test]
fn sources_that_cannot_be_read_are_all_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("latin1.yaml"), b"receivers:\n  gr\xf6\xdfe: 1\n").unwrap();
    fs::write(path("utf16.yaml"), b"\xff\xfea\0:\0").unwrap();
    fs::write(path("empty.yaml"), "").unwrap();
    fs::write(path("large.yaml"), "# x\n".repeat(2_000_000)).unwrap();
    fs::create_dir(path("folder.yaml")).unwrap();
    let names = ["latin1.yaml", "utf16.yaml", "empty.yaml", "large.yaml", "folder.yaml", "missing.yaml"].map(path);
    let mut configs: Vec<&str> = names.iter().map(String::as_str).collect();
    configs.extend(["env:NOT_SET", "env:EMPTY", "yaml:", "yaml:[a", "https://example.org/x.yaml", ""]);
    let demo = Demo::of(&configs, &["receivers", "a..b=1", "a=[1"], &[("EMPTY", "")]);
    assert_eq!(demo.problems.len(), 15);
    insta::assert_snapshot!(demo.told().replace(&format!("{}/", folder.path().display()), ""));
}

#[test]
fn no_source_at_all_is_an_error() {
    let told = Demo::of(&[], &[], &[]).told();
    assert!(told.starts_with("error: no configuration: at least one `--config` is needed\n"), "{told}");
}

#[test]
fn what_is_wrong_in_an_override_names_the_variable() {
    let config = "yaml:{receivers::session_buddy::endpoint: http://a}";
    let environment = [
        ("POLLING__INTERVAL_SECONDS", "fast"),
        ("POLLING__INTERVALL_SECONDS", "3"),
        ("POLLING__COLOUR", "red"),
        ("POLLING__", "x"),
        ("POLLING__METRICS_TO_COLLECT", "[liveness"),
        ("POLLING__HEADERS", "{\"Authorization\": [\"hunter2\"], \"Accept\": \"x\"}"),
        ("POLLING__TOOLS__GET_X__TIMEOUT", "3"),
    ];
    let demo = Demo::of(&[config], &["receivers.session_buddy.max_retries=many"], &environment);
    assert!(!demo.told().contains("hunter2"));
    insta::assert_snapshot!(demo.told());
}

#[test]
fn an_override_without_its_target_is_a_warning() {
    let demo = Demo::of(&["yaml:receivers: "], &[], &[("POLLING__ENDPOINT", "http://hunter2"), ("POLLING__X", "")]);
    assert!(!demo.problems.has_errors());
    insta::assert_snapshot!(demo.told());
}

#[test]
fn a_place_names_the_source_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("base.yaml"), "receivers:\n  session_buddy:\n    endpoint: http://a\n    max_retries: many\n")
        .unwrap();
    fs::write(path("over.yaml"), "receivers:\n  session_buddy:\n    interval_seconds: fast\n").unwrap();
    let environment = [("MORE", "receivers:\n  session_buddy:\n    enabled: perhaps\n")];
    let sets = ["receivers.session_buddy.tools=all", "receivers.session_buddy.tools={}"];
    let demo = Demo::of(&[&path("base.yaml"), &path("over.yaml"), "env:MORE"], &sets, &environment);
    insta::assert_snapshot!(demo.told().replace(&format!("{}/", folder.path().display()), ""));
}

#[test]
fn on_a_terminal_it_is_drawn() {
    use minicol_config::{Environment, Style};
    let demo = Demo::yaml("receivers: {session_buddy: {endpoint: http://a, intervall_seconds: 3}}");
    let style = Style::for_terminal(true, &Environment::default());
    assert_eq!(style, Style { color: true, unicode: true });
    assert!(demo.problems.render(style).contains("\u{1b}["));
    let style = Style::for_terminal(true, &Environment::from(vec![("NO_COLOR", "1")]));
    insta::assert_snapshot!(demo.problems.render(style));
    assert_eq!(Style::for_terminal(false, &Environment::default()), Style::PLAIN);
}

#[test]
fn very_many_problems_are_counted() {
    let demo = Demo::yaml(&"1: 1\n".repeat(300));
    assert_eq!(demo.problems.len(), 300);
    assert!(demo.told().ends_with("... and 100 more\n"));
}

/// Before, each of them cost a walk through the file: this one took half an hour.
#[test]
fn of_very_many_wrong_references_the_first_are_looked_for_and_the_rest_counted() {
    let mut lines = String::new();
    for number in 0..40_000 {
        writeln!(lines, "k{number}: \"so it begins, and ${{foo:{number}}} is wrong\"").unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &lines).unwrap();
    let told = Demo::of(&[&file.path().display().to_string()], &[], &ENVIRONMENT).told();
    assert!(told.contains(":150:26: unknown scheme `foo`"), "{}", &told[..1000]);
    assert!(told.ends_with("... and 39800 more\n"), "{}", &told[told.len() - 200..]);
}
