//! Promise: what the program writes to standard error and standard output is what its reader can read. The rest of the command line is held
//! by the end-to-end tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
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

/// The program at work; it ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Name and type of every metric on the page at `level`, after a poll of a simulator.
fn page_at(level: &str) -> BTreeMap<String, String> {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stored = folder.path().join("stored").display().to_string();
    let configuration = format!(
        "yaml:{{extensions: {{file_storage: {{directory: '{stored}'}}, session_buddy_simulator: {{endpoint: '{free}'}}, status_page: {{endpoint: 127.0.0.1:0}}}}, receivers: {{session_buddy: {{endpoint: \
         'http://{free}/mcp'}}}}, processors: {{mapping: {{presets: [session_buddy]}}, memory_limiter: {{limit_mib: 1024}}}}, exporters: {{debug: {{sending_queue: \
         {{storage: file_storage}}, verbosity: basic}}}}, service: {{extensions: [file_storage, session_buddy_simulator, status_page], telemetry: {{metrics: {{level: {level}, \
         readers: [{{pull: {{exporter: {{prometheus: {{port: 0}}}}}}}}]}}}}, pipelines: {{metrics: {{receivers: \
         [session_buddy], processors: [mapping, memory_limiter], exporters: [debug]}}}}}}}}"
    );
    let mut program = Command::new(env!("CARGO_BIN_EXE_minicol"));
    program.args(["run", "--config", &configuration]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = Running(program.spawn().unwrap());
    let logs = BufReader::new(program.0.stderr.take().unwrap()).lines();
    let url = logs.map(Result::unwrap).find_map(|line| Some(line.split_once("url=http://")?.1.to_owned())).unwrap();
    let address = url.split('/').next().unwrap();
    // It prints a batch when it has polled, mapped and exported it.
    let printed = BufReader::new(program.0.stdout.take().unwrap()).lines().next();
    assert!(printed.is_some_and(|line| line.unwrap().starts_with("metrics: ")));
    for _ in 0..200 {
        let page = get(address);
        // The books are closed just after the batch is printed.
        if page.contains("otelcol_exporter_sent_metric_points{exporter=\"debug\"} 1") {
            let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
            return types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("nothing was sent:\n{}", get(address));
}

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn the_page_on_own_telemetry_lists_every_metric_with_its_type_and_level() {
    let text = include_str!("../../../docs/own-telemetry.md");
    // Name, whether it is there from the start, type, first level.
    let listed: Vec<(String, bool, &str, &str)> = text
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, kind @ ("counter" | "gauge" | "histogram"), _, _, level, _] = cells[..] else { return None };
            let (name, mark) = name.strip_prefix('`')?.split_once('`')?;
            let items = if name.contains("_receiver_") { "observations" } else { "metric_points" };
            Some((name.replace('.', "_").replace("<items>", items), mark.is_empty(), kind, level))
        })
        .collect();
    assert!(listed.len() > 20, "{listed:?}");
    for (rank, level) in ["basic", "normal", "detailed"].into_iter().enumerate() {
        let mut page = page_at(level);
        assert_eq!(page.remove("target_info").as_deref(), Some("gauge"));
        for (name, from_the_start, kind, from) in &listed {
            let due = ["basic", "normal", "detailed"].iter().position(|known| known == from).unwrap() <= rank;
            match page.remove(name) {
                Some(shown) => assert!(due && shown == *kind, "{name} at {level}: {shown}"),
                None => assert!(!due || !from_the_start, "{name} is missing at {level}"),
            }
        }
        assert!(page.is_empty(), "not in docs/own-telemetry.md: {page:?}");
    }
}
