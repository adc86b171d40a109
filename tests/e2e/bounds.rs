//! Promise: `docs/bounds.md` tells every bound that the code has, as the code has it, and what it names as counting is a metric that there is.

mod tables;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::promises::Tests;
use tables::{BITES, HELD, NO_BOUNDS, NO_TEST};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn for_every_row_there_is_a_test_in_which_its_bound_bites() {
    let (page, tests) = (read("docs/bounds.md"), Tests::all());
    for row in rows(&page) {
        let own = BITES.iter().find(|(what, _)| row[0].starts_with(what));
        let untested = NO_TEST.iter().any(|(what, _)| row[0].starts_with(what));
        assert!(own.is_some() != untested, "one thing holds it, or a reason says why none does: {row:?}");
        if let Some((_, test)) = own {
            assert!(tests.has(&[], test), "`{test}` is no test: {row:?}");
        }
    }
}

fn read(path: &str) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of every row of the table of bounds: what, key, bound, what happens, counted.
fn rows(page: &str) -> Vec<Vec<&str>> {
    fn cells(line: &str) -> Vec<&str> {
        line.trim_matches('|').split('|').map(str::trim).collect()
    }
    // What follows is measured, not bounded.
    let page = page.split("\n## Memory").next().unwrap_or_default();
    let table = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("| --- |"));
    table.map(cells).filter(|cells| cells[0] != "what").collect()
}

#[test]
fn the_table_says_what_the_code_does() {
    let page = read("docs/bounds.md");
    let rows = rows(&page);
    assert!(rows.len() >= 40, "{}", rows.len());
    for (what, bound, file, code) in HELD {
        let row = rows.iter().find(|row| row[0].starts_with(what)).unwrap_or_else(|| panic!("no row for: {what}"));
        assert_eq!(row[2], *bound, "{what}");
        assert!(read(file).contains(*code), "{file} does not say `{code}`: does docs/bounds.md still hold?");
    }
}

#[test]
fn every_row_is_whole_and_what_counts_is_a_metric_that_is_told() {
    let (page, told) = (read("docs/bounds.md"), read("docs/own-telemetry.md"));
    let mut counted = 0;
    for row in rows(&page) {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(row.iter().enumerate().all(|(at, cell)| at == 1 || !cell.is_empty()), "{row:?}");
        let code = row[4].split('`').skip(1).step_by(2);
        let metrics = code
            .map(|name| name.split('{').next().unwrap())
            .filter(|name| name.contains('_') && name.len() > 12 && !name.contains('='));
        for metric in metrics {
            counted += 1;
            assert!(
                told.contains(&format!("`{metric}`")),
                "docs/own-telemetry.md does not tell of `{metric}`: {row:?}"
            );
        }
    }
    assert!(counted >= 30, "{counted}");
}

/// Words of a constant's name that make it a bound.
const WORDS: [&str; 15] = [
    "MAX",
    "MOST",
    "LONGEST",
    "LARGEST",
    "KEEP",
    "LIMIT",
    "CAPACITY",
    "TIMEOUT",
    "PATIENCE",
    "ROOM",
    "ROUND",
    "BYTES",
    "CHARS",
    "ATTRIBUTES",
    "CONNECTIONS",
];

#[test]
fn every_constant_that_is_named_as_a_bound_has_a_row_or_a_reason() {
    let (held, none): (Vec<_>, Vec<_>) = (
        HELD.iter().filter_map(|(_, _, file, code)| Some((*file, code.split_once(':')?.0))).collect(),
        NO_BOUNDS.iter().flat_map(|(_, constants)| constants.iter().copied()).collect(),
    );
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for path in sources() {
        let file = path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned();
        for name in bounds_in(&fs::read_to_string(&path).unwrap()) {
            let is_it = |(where_, constant): &(&str, &str)| *where_ == file && *constant == name;
            if held.iter().filter(|one| is_it(one)).count() + none.iter().filter(|one| is_it(one)).count() == 0 {
                unknown.push(format!("{name} in {file}"));
            }
            found.push((file.clone(), name));
        }
    }
    assert!(found.len() > 80, "{found:?}");
    assert!(
        unknown.is_empty(),
        "constants that are named as bounds, and are in no table:\n  {}\nFor each that bounds what a server, a client, a file or time lets grow: write its row in docs/bounds.md, then that row in \
         HELD and, with the test in which it bites, in BITES (tests/e2e/bounds/tables.rs). For another: list it in NO_BOUNDS there, below the reason.",
        unknown.join("\n  ")
    );
    for (file, constant) in none {
        let there = found.iter().any(|(where_, name)| where_ == file && name == constant);
        assert!(there, "{file} has no {constant} any more: take it out of NO_BOUNDS (tests/e2e/bounds/tables.rs)");
    }
}

/// The sources of all crates, without their tests.
fn sources() -> Vec<PathBuf> {
    let (mut sources, mut folders) = (Vec::new(), vec![Path::new(ROOT).join("crates")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.extend((!["target", "tests", "testing"].contains(&name.as_str())).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !["tests.rs", "testing.rs"].contains(&name.as_str())
            {
                sources.push(path);
            }
        }
    }
    sources.sort();
    sources
}

/// The numbers and durations of a file that are named as bounds are, but those of its tests.
fn bounds_in(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let declared = code.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("pub(").and_then(|rest| rest.split_once(") ")).map_or(line, |(_, rest)| rest);
        let (name, rest) = line.trim_start_matches("pub ").strip_prefix("const ")?.split_once(": ")?;
        let (kind, _) = rest.split_once(" = ")?;
        let counts = ["usize", "u8", "u16", "u32", "u64", "i8", "i64", "f64", "Duration", "GoDuration"].contains(&kind);
        (counts && name.split('_').any(|word| WORDS.contains(&word))).then(|| name.to_owned())
    });
    declared.collect()
}

#[test]
fn a_bound_is_known_by_its_name_and_type() {
    let text = "pub(crate) const MAX_A: usize = 1;\nconst B_TIMEOUT: Duration = X;\nconst MAX_KEY: &str = \"a\";\nconst OTHER: u8 = 1;\n    pub const MAX: u64 = 1;\n#[cfg(test)]\nmod tests {\nconst MAX_C: u8 = 1;";
    assert_eq!(bounds_in(text), ["MAX_A", "B_TIMEOUT", "MAX"]);
}
