//! Several sources: what lies over what.

use std::fs;

use crate::demo::{Demo, Verbosity};

const BASE: &str = "yaml:{receivers: {session_buddy: {endpoint: http://base, max_retries: 1, metrics_to_collect: [a, b], tools: {x: {timeout_seconds: 1}}}}, exporters: {debug: {verbosity: normal}}}";

#[test]
fn mappings_merge_and_the_rest_is_replaced() {
    let over =
        "yaml:receivers: {session_buddy: {max_retries: 2, metrics_to_collect: [c], tools: {y: {timeout_seconds: 2}}}}";
    let demo = Demo::of(&[BASE, over], &[], &[]);
    let receiver = demo.receiver();
    assert_eq!(receiver.endpoint, "http://base");
    assert_eq!(receiver.max_retries, 2);
    assert_eq!(receiver.metrics_to_collect, ["c"]);
    assert_eq!(receiver.tools.keys().collect::<Vec<_>>(), ["x", "y"]);
}

#[test]
fn a_key_without_a_body_leaves_a_mapping_as_it_is() {
    let demo = Demo::of(&[BASE, "yaml:exporters: {debug: }"], &[], &[]);
    assert_eq!(demo.exporters["debug"].verbosity, Verbosity::Normal);
    let demo = Demo::of(&["yaml:exporters: {debug: }", "yaml:exporters: {debug: {verbosity: detailed}}"], &[], &[]);
    assert_eq!(demo.exporters["debug"].verbosity, Verbosity::Detailed);
}

#[test]
fn the_environment_lies_over_files_and_a_set_over_both() {
    let environment = [
        ("POLLING__MAX_RETRIES", "7"),
        ("POLLING__ENDPOINT", "http://${env:NOT}$$"),
        ("POLLING__METRICS_TO_COLLECT", "[\"x\"]"),
        ("POLLING__TOOLS__GET_X__TIMEOUT_SECONDS", "0.5"),
        ("POLLING__ENABLED", "false"),
        ("POLLINGX", "not meant"),
    ];
    let demo = Demo::of(&[BASE], &["receivers.session_buddy.max_retries=9"], &environment);
    let receiver = demo.receiver();
    assert_eq!((receiver.max_retries, receiver.enabled), (9, false));
    assert_eq!(receiver.endpoint, "http://${env:NOT}$$", "an override is taken as it is");
    assert_eq!(receiver.metrics_to_collect, ["x"]);
    assert_eq!(receiver.tools["get_x"].timeout_seconds, Some(0.5));
    assert_eq!(receiver.tools["x"].timeout_seconds, Some(1.0));
    assert_eq!(
        demo.overrides,
        [
            "POLLING__ENABLED sets receivers::session_buddy::enabled",
            "POLLING__ENDPOINT sets receivers::session_buddy::endpoint",
            "POLLING__MAX_RETRIES sets receivers::session_buddy::max_retries",
            "POLLING__METRICS_TO_COLLECT sets receivers::session_buddy::metrics_to_collect",
            "POLLING__TOOLS__GET_X__TIMEOUT_SECONDS sets receivers::session_buddy::tools::get_x::timeout_seconds",
        ]
    );
}

#[test]
fn an_override_of_a_free_key_finds_it_in_whatever_capitalisation_it_is_written() {
    let file = "yaml:receivers: {session_buddy: {endpoint: http://x, headers: {Authorization: old, x-a: a}}}";
    let environment = [("POLLING__HEADERS__AUTHORIZATION", "new"), ("POLLING__HEADERS__X-B", "b")];
    let demo = Demo::of(&[file], &["receivers.session_buddy.headers.X-B=c"], &environment);
    let headers: Vec<_> = demo.receiver().headers.keys().map(String::as_str).collect();
    assert_eq!(headers, ["Authorization", "X-B", "x-a"]);
    assert_eq!(
        demo.overrides,
        [
            "POLLING__HEADERS__AUTHORIZATION sets receivers::session_buddy::headers::Authorization",
            "POLLING__HEADERS__X-B sets receivers::session_buddy::headers::X-B",
        ]
    );
    assert_eq!(demo.told(), "");
}

#[test]
fn an_override_finds_a_receiver_without_a_body_or_of_a_set_alone() {
    let environment = [("POLLING__ENDPOINT", "http://env")];
    let demo = Demo::of(&["yaml:receivers: {session_buddy: }"], &[], &environment);
    assert_eq!(demo.receiver().endpoint, "http://env");
    let demo = Demo::of(&["yaml:receivers: "], &["receivers::session_buddy::max_retries=3"], &environment);
    assert_eq!((demo.receiver().endpoint.as_str(), demo.receiver().max_retries), ("http://env", 3));
}

#[test]
fn an_override_does_not_hide_that_its_target_is_wrong() {
    let demo = Demo::of(&["yaml:receivers: {session_buddy: http://a}"], &[], &[("POLLING__ENDPOINT", "http://env")]);
    assert!(demo.told().contains("expected a mapping, found the text `http://a`"), "{}", demo.told());
    assert!(demo.overrides.is_empty());
}

#[test]
fn a_set_takes_yaml_and_references() {
    let sets = [
        "receivers::session_buddy::tools={x: {arguments: {limit: 500}}}",
        "receivers.session_buddy.endpoint=http://${HOST}/",
    ];
    let demo = Demo::of(&[BASE], &sets, &[("HOST", "h")]);
    assert_eq!(demo.receiver().endpoint, "http://h/");
    assert_eq!(demo.receiver().tools["x"].arguments["limit"], 500);
    assert_eq!(demo.receiver().tools["x"].timeout_seconds, Some(1.0), "mappings merge");
}

#[test]
fn a_secret_that_was_blotted_out_is_warned_of() {
    let over = "yaml:receivers: {session_buddy: {tools: {x: {arguments: {q: '[REDACTED]', r: [a, '[REDACTED]']}}}}}";
    let told = Demo::of(&[BASE, over], &[], &[]).told();
    assert_eq!(told.matches("warning: ").count(), 2, "{told}");
    assert!(told.contains("receivers::session_buddy::tools::x::arguments::r[1]"), "{told}");
    let again = Demo::of(&[BASE, over], &["receivers.session_buddy.tools.x.arguments={q: a, r: []}"], &[]);
    assert_eq!(again.told(), "", "what lies over it makes it good");
}

#[test]
fn files_and_variables_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a: b.yaml").display().to_string();
    fs::write(&path, "\u{feff}receivers:\r\n  session_buddy:\r\n    endpoint: http://file\r\n").unwrap();
    let variable = [("MORE", "receivers:\n  session_buddy:\n    max_retries: 4\n")];
    let demo = Demo::of(&[&format!("file:{path}"), "env:MORE"], &[], &variable);
    assert_eq!((demo.receiver().endpoint.as_str(), demo.receiver().max_retries), ("http://file", 4));
}
