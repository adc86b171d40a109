//! Promise: the code on docs/write-a-receiver.md is that of the crate which `new receiver weather` makes. The commands and diffs of the page are run by
//! `tests/new-receiver/run`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use xtask::new::Name;

/// The formatter may break lines otherwise under another name.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn its_code_is_what_is_made() {
    let root = xtask::root();
    let page = fs::read_to_string(root.join("docs/write-a-receiver.md")).unwrap();
    let name: Name = "weather".parse().unwrap();
    let (mut from, mut blocks) = (None, 0);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(path) = line.strip_prefix("<!-- from ").and_then(|rest| rest.strip_suffix(" -->")) {
            from = Some(path);
        } else if let Some(kind) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks += 1;
            if matches!(kind, "sh" | "diff" | "text") {
                continue;
            }
            let path = from.take().unwrap_or_else(|| panic!("where is this from?\n{}", block.join("\n")));
            let template = if path == name.pipeline() { "pipeline.yaml" } else { path };
            let text = fs::read_to_string(root.join("xtask/template-receiver").join(template)).unwrap();
            let made = flat(&name.within(&text));
            assert!(made.contains(&flat(&block.join("\n"))), "{path} has not:\n{}", block.join("\n"));
        }
    }
    assert!(blocks > 10, "{blocks}");
    for file in page.split('`').filter(|word| word.starts_with("crates/receiver-weather/")) {
        let own = file.replace("crates/receiver-weather", "xtask/template-receiver").replace("weather", "my_source");
        assert!(root.join(&own).exists(), "{file} is not made");
    }
}
