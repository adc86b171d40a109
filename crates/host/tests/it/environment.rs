//! Promise: a variable overrides what the file says, `--set` overrides the variable, and a wrong one is told by its name.

use crate::support::{GOOD, load_with, one_line};

#[test]
fn a_variable_lies_between_the_file_and_set() {
    let file = GOOD.replace("ticker: }", "ticker: {interval: 1s}}");
    let interval = |variables: &[(&str, &str)], sets: &[&str]| {
        let plan = load_with(&file, variables, sets).unwrap();
        plan.to_value()["receivers"]["ticker"]["interval"].as_str().unwrap().to_owned()
    };
    assert_eq!(interval(&[], &[]), "1s");
    assert_eq!(interval(&[("TICKER__INTERVAL", "2s")], &[]), "2s");
    assert_eq!(interval(&[("TICKER__INTERVAL", "2s")], &["receivers.ticker.interval=3s"]), "3s");
}

#[test]
fn the_host_tells_which_took_effect_and_lists_are_json() {
    let variables = [("TICKER__TAGS", r#"["a", "b"]"#), ("TICKER__ENABLED", "false"), ("TICKER__TOKEN", "hunter2")];
    let plan = load_with(GOOD, &variables, &[]).unwrap();
    let applied: Vec<String> = plan.overrides().iter().map(|one| format!("{} {}", one.variable, one.path)).collect();
    assert_eq!(
        applied,
        [
            "TICKER__ENABLED receivers::ticker::enabled",
            "TICKER__TAGS receivers::ticker::tags",
            "TICKER__TOKEN receivers::ticker::token",
        ]
    );
    let shown = plan.to_value();
    assert_eq!(shown["receivers"]["ticker"]["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(shown["receivers"]["ticker"]["enabled"], false);
    assert!(!shown.to_string().contains("hunter2"));
}

#[test]
fn a_wrong_one_names_the_variable() {
    let variables = [("TICKER__INTERVALL", "2s"), ("TICKER__ENABLED", "perhaps")];
    let Err(problems) = load_with(GOOD, &variables, &[]) else { panic!("it must not hold") };
    let told: Vec<String> = problems.errors().map(|one| one.render(minicol_config::Style::PLAIN)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("TICKER__INTERVALL") && told[0].contains("did you mean `TICKER__INTERVAL`?"),
        "{}",
        told[0]
    );
    assert!(told[1].contains("<environment variable TICKER__ENABLED>") && told[1].contains("`perhaps`"), "{}", told[1]);
}

#[test]
fn one_that_meets_no_receiver_is_a_warning() {
    let file = GOOD.replace("ticker", "ticker/other");
    let plan = load_with(&file, &[("TICKER__INTERVAL", "2s")], &[]).unwrap();
    let warnings: Vec<String> = plan.warnings().iter().map(one_line).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("`receivers::ticker`, which is not configured"), "{}", warnings[0]);
}
