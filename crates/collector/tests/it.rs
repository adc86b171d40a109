//! Promise: what the program writes to standard error and standard output is what its reader can read. The rest of the command line is held
//! by the end-to-end tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    net::TcpListener,
    process::{Command, Output},
};

use serde_json::Value;

fn minicol(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_minicol")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn configuration(metrics: &str, encoding: &str) -> String {
    format!(
        "yaml:{{receivers: {{session_buddy: {{endpoint: 'http://127.0.0.1:1/mcp', max_retries: 0}}}}, processors: \
         {{mapping: {{presets: [session_buddy]}}}}, exporters: {{debug: , debug/unused: }}, service: {{telemetry: {{logs: \
         {{encoding: {encoding}}}, metrics: {metrics}}}, pipelines: {{metrics: {{receivers: [session_buddy], processors: \
         [mapping], exporters: [debug]}}}}}}}}"
    )
}

#[test]
fn with_json_logs_every_line_is_json_also_of_a_start_that_fails() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let page = format!("{{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {port}}}}}}}}}]}}");
    let output = minicol(&["run", "--config", &configuration(&page, "json")]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    let lines: Vec<Value> =
        told.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{told}"))).collect();
    let said = |message: &str| lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{told}"));
    let unused = said("configuration");
    assert_eq!((&unused["level"], &unused["path"]), (&"WARN".into(), &"exporters::debug/unused".into()));
    assert!(unused["place"].as_str().is_some_and(|place| place.starts_with("<yaml:>:1:")), "{unused}");
    let why = said("minicol does not start")["why"].as_str().unwrap_or_default();
    assert!(why.contains(&format!("127.0.0.1:{port}")), "{why}");
    assert_eq!(why.matches("in use").count(), 1, "the cause is told once: {why}");
}

#[test]
fn a_person_gets_the_warning_with_its_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let page = format!("{{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {port}}}}}}}}}]}}");
    let told = text(&minicol(&["run", "--config", &configuration(&page, "console")]).stderr);
    assert!(told.contains("exporter \"debug/unused\" is used by no pipeline") && told.contains("1 | "), "{told}");
    assert!(told.contains("ERROR minicol does not start why=\"the metrics page cannot listen on"), "{told}");
}

#[test]
fn poll_tells_once_why_a_server_could_not_be_reached() {
    let output = minicol(&["poll", "--config", &configuration("{level: none}", "console")]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert_eq!(told.matches("cannot connect to 127.0.0.1:1").count(), 1, "{told}");
    assert!(told.contains("get_liveness") && !told.contains("no reason was given"), "{told}");
}
