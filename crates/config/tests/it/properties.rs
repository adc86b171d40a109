//! What holds for any input.

use std::collections::BTreeMap;

use minicol_config::{Environment, Path, Problems, Request, Style, decode, load};
use proptest::prelude::*;

use crate::demo::Demo;

/// Text that looks like a configuration more often than mere chance has it.
fn yamlish() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "receivers:", "session_buddy:", "endpoint: ", "rules:", "- ", "\n", "\n  ", "\n    ", "\t", "{", "}", "[", "]", ", ", ": ", "\"", "'", "#",
            "&a ", "*a", "<<: ", "---", "...", "|\n", ">-\n", "!!str ", "!x ", "${env:A}", "${", "$$", "${A:-", "~", "0x1f", "1e9", "%YAML 1.2\n", "? ",
            "\u{feff}", "\u{85}", "\r", "\u{1b}[31m", "headers:", "::", "processors: {mapping: {",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn scalar_map() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z]{1,3}", "[a-z]{1,4}", 0..6)
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf =
        prop_oneof!["[a-z]{1,4}".prop_map(serde_json::Value::from), any::<i32>().prop_map(serde_json::Value::from)];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::btree_map("[a-c]{1,2}", inner, 1..4).prop_map(|map| map.into_iter().collect())
    });
    prop::collection::btree_map("[a-c]{1,2}", tree, 1..4).prop_map(|map| map.into_iter().collect())
}

/// What becomes of several configurations.
fn merged(configs: &[&serde_json::Value]) -> serde_json::Value {
    let request =
        Request { configs: configs.iter().map(|config| format!("yaml:{config}")).collect(), ..Request::default() };
    let loaded = load(&request).unwrap();
    let mut problems = Problems::new();
    decode(&loaded.root, &Path::root(), &mut problems).unwrap()
}

proptest! {
    #[test]
    fn no_text_panics_and_nothing_reaches_the_terminal_raw(text in yamlish(), set in yamlish(), value in yamlish()) {
        let environment = [("A", value.as_str()), ("POLLING__TOOLS", value.as_str()), ("CONFIG", text.as_str())];
        for config in [format!("yaml:{text}"), "env:CONFIG".to_owned()] {
            let demo = Demo::of(&[&config], &[&set, &format!("receivers::session_buddy={set}")], &environment);
            for line in demo.told().lines() {
                prop_assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
            }
            let color = demo.problems.render(Style { color: false, unicode: true });
            prop_assert_eq!(color.lines().filter(|line| line.starts_with("error: ")).count(), demo.problems.errors().count());
        }
    }

    #[test]
    fn every_text_can_be_written_with_its_dollars_doubled(text in "[ -~]{0,40}") {
        let quoted = text.replace('\'', "''").replace('$', "$$");
        let request = Request { configs: vec![format!("yaml:v: '{quoted}'")], ..Request::default() };
        let loaded = load(&request).unwrap();
        let mut problems = loaded.problems;
        prop_assert_eq!(decode::<String>(&loaded.root, &Path::keys(["v"]), &mut problems), Some(text));
    }

    #[test]
    fn a_variable_of_any_text_arrives_as_it_is(value in "\\PC{0,40}", quoted in any::<bool>()) {
        let reference = if quoted { "'${env:V}'" } else { "${env:V}" };
        let request = Request {
            configs: vec![format!("yaml:v: {reference}")],
            environment: Environment::from(vec![("V", value.as_str())]),
            ..Request::default()
        };
        let loaded = load(&request).unwrap();
        let mut problems = loaded.problems;
        prop_assert_eq!(decode::<String>(&loaded.root, &Path::keys(["v"]), &mut problems), Some(value));
    }

    #[test]
    fn mappings_of_different_keys_merge_in_any_order(a in scalar_map(), b in scalar_map(), c in scalar_map()) {
        let json = |map: &BTreeMap<String, String>, part: &str| serde_json::json!({part: map, "shared": {part: map}});
        let (a, b, c) = (json(&a, "a"), json(&b, "b"), json(&c, "c"));
        let all = merged(&[&a, &b, &c]);
        prop_assert_eq!(&merged(&[&c, &a, &b]), &all);
        prop_assert_eq!(&merged(&[&merged(&[&a, &b]), &c]), &all);
        prop_assert_eq!(&merged(&[&a, &merged(&[&b, &c])]), &all);
    }

    #[test]
    fn what_lies_over_itself_stays_and_the_last_word_counts(a in tree(), b in tree()) {
        prop_assert_eq!(&merged(&[&a, &a]), &a);
        let both = merged(&[&a, &b]);
        prop_assert_eq!(&merged(&[&both, &b]), &both);
    }
}

#[test]
fn aliases_of_aliases_are_stopped() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.extend([format!("a{level}: &a{level} [{aliases}]\n")]);
    }
    let told = Demo::of(&["env:BOMB"], &[], &[("BOMB", &bomb)]).told();
    assert!(told.contains("the configuration is too large from here on"), "{told}");
    assert_eq!(told.matches("error:").count(), 1, "{told}");
}

#[test]
fn aliases_of_a_long_text_are_stopped() {
    let bomb = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 10_000].join(", "));
    let told = Demo::of(&["env:BOMB"], &[], &[("BOMB", &bomb)]).told();
    assert!(told.contains("too large"), "{told}");
}

#[test]
fn references_to_a_long_text_are_stopped() {
    let bomb = format!("a: [{}]\n", vec!["'${LONG}'"; 10_000].join(", "));
    let long = "x".repeat(100_000);
    let told = Demo::of(&["env:BOMB"], &[], &[("BOMB", &bomb), ("LONG", &long)]).told();
    assert!(told.contains("too large"), "{}", &told[..1000]);
}

#[test]
fn deep_nesting_is_an_error() {
    for bomb in ["[".repeat(10_000), "a: ".to_owned() + &"{a: ".repeat(200), "- ".repeat(10_000), "? ".repeat(10_000)] {
        let told = Demo::of(&["env:BOMB"], &[], &[("BOMB", &bomb)]).told();
        assert!(told.starts_with("error: "), "{told}");
    }
    let deep = format!(
        "a: &a {}x{}\nb: &b {}*a{}\nc: {}*b{}\n",
        "[".repeat(30),
        "]".repeat(30),
        "[".repeat(30),
        "]".repeat(30),
        "[".repeat(30),
        "]".repeat(30)
    );
    let told = Demo::of(&["env:BOMB"], &[], &[("BOMB", &deep)]).told();
    assert!(told.contains("nested more than 64 deep"), "{told}");
}

#[test]
fn what_is_as_deep_as_may_be_decodes() {
    let deep = format!("v: {}1{}", "[".repeat(60), "]".repeat(60));
    let request = Request {
        configs: vec!["env:DEEP".to_owned()],
        environment: Environment::from(vec![("DEEP", deep)]),
        ..Request::default()
    };
    let loaded = load(&request).unwrap();
    let mut problems = loaded.problems;
    assert!(decode::<serde_json::Value>(&loaded.root, &Path::root(), &mut problems).is_some(), "{problems}");
}
