//! Promise: what a page of docs names as the test that holds a promise is a test that there is.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Every test of the workspace, by its name and the modules that its file's path names.
pub(crate) struct Tests(BTreeSet<(String, Vec<String>)>);

impl Tests {
    pub(crate) fn all() -> Self {
        let mut tests = BTreeSet::new();
        let mut folders: Vec<PathBuf> = ["crates", "tests", "fuzz"].map(|folder| Path::new(ROOT).join(folder)).into();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.extend((!path.ends_with("target")).then_some(path));
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let modules: Vec<_> =
                        path.components().map(|part| part.as_os_str().to_string_lossy().replace(".rs", "")).collect();
                    tests.extend(tests_in(&fs::read_to_string(&path).unwrap()).map(|name| (name, modules.clone())));
                }
            }
        }
        Self(tests)
    }

    /// Whether there is a test `name`, in a file whose path names all of `modules`. A name that ends in `...` may go on.
    pub(crate) fn has(&self, modules: &[&str], name: &str) -> bool {
        let begins = name.strip_suffix("...");
        self.0.iter().any(|(test, path)| {
            let named = begins.map_or(test == name, |begins| test.starts_with(begins));
            named && modules.iter().all(|module| *module == "tests" || path.iter().any(|part| part == module))
        })
    }
}

/// The functions below a `#[test]`, `#[tokio::test]`, or within a macro that makes tests of them.
fn tests_in(text: &str) -> impl Iterator<Item = String> {
    let mut under_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[") && line.contains("test") && !line.contains("cfg(") {
            under_test = true;
            return None;
        }
        if line.starts_with("#[") || line.starts_with("//") {
            return None;
        }
        let declared = line.trim_start_matches("pub(crate) ").trim_start_matches("async ").strip_prefix("fn ");
        let name = declared.filter(|_| under_test).map(|rest| rest.split('(').next().unwrap_or_default().to_owned());
        under_test = false;
        name
    })
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join("docs").join(name)).unwrap()
}

/// What stands in code on a page.
fn code(page: &str) -> Vec<&str> {
    page.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn each_test_that_the_page_on_reliability_names_is_there() {
    let (tests, page) = (Tests::all(), page("reliability.md"));
    let mut held = 0;
    for name in code(&page).into_iter().filter(|code| code.contains("::") && !code.contains([' ', '(', '/'])) {
        let mut parts: Vec<_> = name.split("::").collect();
        let test = parts.pop().unwrap();
        if name.contains(char::is_uppercase) {
            continue; // a type
        }
        assert!(tests.has(&parts, test), "docs/reliability.md names `{name}`, which is no test");
        held += 1;
    }
    assert!(held >= 40, "{held}");
}

/// Every row of a table of promises names something that holds it.
#[test]
fn each_promise_of_the_page_on_reliability_names_what_holds_it() {
    let page = page("reliability.md");
    let mut promises = 0;
    let mut within = false;
    for line in page.lines() {
        match line {
            "| promise | held by |" | "| what goes wrong | test |" => within = true,
            line if !line.starts_with('|') => within = false,
            line if within && !line.starts_with("| ---") => {
                let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
                assert_eq!(cells.len(), 2, "{line}");
                assert!(cells[1].contains('`') || cells[1].contains("the same"), "nothing holds: {line}");
                promises += 1;
            }
            _ => {}
        }
    }
    assert!(promises >= 40, "{promises}");
}

#[test]
fn each_test_that_the_page_on_security_names_is_there() {
    let (tests, page) = (Tests::all(), page("security.md"));
    let mut held = 0;
    let long = |code: &&str| code.matches('_').count() >= 3 && !code.contains(['/', '=']);
    for name in code(&page).into_iter().filter(|code| long(code) && !code.contains(char::is_uppercase)) {
        assert!(tests.has(&[], name), "docs/security.md names `{name}`, which is no test");
        held += 1;
    }
    assert!(held >= 8, "{held}");
}
