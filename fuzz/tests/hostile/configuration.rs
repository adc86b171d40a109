//! Configuration files.

use std::fmt::Write;

use minicol_config::{Environment, Problems, Request, Style, load};

use crate::{MIB, measured};

fn loaded(text: &str, variables: &[(&str, &str)]) -> Result<usize, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.yaml");
    std::fs::write(&file, text).unwrap();
    let request = Request {
        configs: vec![file.display().to_string()],
        environment: Environment::from(variables.to_vec()),
        ..Request::default()
    };
    let loaded = load(&request)?;
    if loaded.problems.has_errors() { Err(loaded.problems) } else { Ok(1) }
}

/// What is told, which is short, and how much memory it took.
fn refused(text: &str, variables: &[(&str, &str)]) -> (String, usize) {
    let (problems, peak) = measured(|| loaded(text, variables).expect_err("it is refused"));
    let told = problems.render(Style::PLAIN);
    assert!(
        told.len() < 4096 && !told.chars().any(|c| c.is_control() && c != '\n'),
        "{}",
        &told[..told.len().min(500)]
    );
    (told, peak)
}

/// Aliases of aliases: a file of a few lines that holds `10^levels` nodes.
fn laughs(levels: usize, item: &str) -> String {
    let mut text = format!("a0: &a0 {item}\n");
    for level in 1..=levels {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{before}]").unwrap();
    }
    text
}

#[test]
fn a_billion_laughs_are_refused_before_they_are_had() {
    let _alone = crate::alone();
    for item in ["ha", "{k: v}", "\"a text that is a little longer than most are\""] {
        let (told, peak) = refused(&laughs(9, item), &[]);
        assert!(told.contains("too large from here on"), "{told}");
        assert!(peak < 256 * MIB, "{} MiB", peak / MIB);
    }
    let merged =
        "a: &a {k: v}\n".to_owned() + &(0..30).map(|n| format!("b{n}: {{<<: *a, x: *a}}\n")).collect::<String>();
    assert!(loaded(&merged, &[]).is_ok(), "a few aliases are no bomb");
}

#[test]
fn laughs_in_variables_are_refused_too() {
    let _alone = crate::alone();
    let long = format!("[{}]", vec!["x"; 200_000].join(","));
    let text: String = (0..200).map(|n| format!("k{n}: ${{env:LONG}}\n")).collect();
    let (told, peak) = refused(&text, &[("LONG", &long)]);
    assert!(told.contains("too large"), "{told}");
    assert!(peak < 512 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn an_anchor_that_holds_itself_is_refused() {
    let _alone = crate::alone();
    for text in ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a\n  b: [1, {c: *a}]\n"] {
        let (told, _) = refused(text, &[]);
        assert!(told.contains("an alias stands inside its own anchor"), "{told}");
    }
}

#[test]
fn what_nests_too_deep_is_refused() {
    let _alone = crate::alone();
    for text in
        ["[".repeat(100_000), "{a: ".repeat(100_000), format!("a: {}", "- ".repeat(100_000)), "? ".repeat(100_000)]
    {
        let (told, peak) = refused(&text, &[]);
        assert!(told.starts_with("error: "), "{told}");
        assert!(peak < 64 * MIB, "{} MiB for {}", peak / MIB, &text[..8]);
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_unread() {
    let _alone = crate::alone();
    let (told, peak) = refused(&format!("a: {}\n", "x".repeat(10 * MIB)), &[]);
    assert!(told.contains("larger than 4 MiB"), "{told}");
    assert!(peak < 24 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn large_things_are_read_up_to_the_bounds() {
    let _alone = crate::alone();
    let (told, peak) = refused(&(0..150_000).map(|n| format!("k{n}: {n}\n")).collect::<String>(), &[]);
    assert!(told.contains("too large from here on") && peak < 256 * MIB, "{told} {} MiB", peak / MIB);
    let many: String = (0..50_000).map(|n| format!("k{n}: {n}\n")).collect();
    let (ok, peak) = measured(|| loaded(&many, &[]).is_ok());
    assert!(ok && peak < 256 * MIB, "{} MiB", peak / MIB);
    let long = format!("a: \"{}\"\n", "x".repeat(3 * MIB));
    let (ok, peak) = measured(|| loaded(&long, &[]).is_ok());
    assert!(ok && peak < 128 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn what_is_no_utf_8_is_refused_at_its_place() {
    let _alone = crate::alone();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.yaml");
    std::fs::write(&file, b"a: 1\nb: \xff\xfe\n").unwrap();
    let request = Request { configs: vec![file.display().to_string()], ..Request::default() };
    let told = load(&request).unwrap_err().render(Style::PLAIN);
    assert!(told.contains("x.yaml:2:4: this is not valid UTF-8"), "{told}");
}
