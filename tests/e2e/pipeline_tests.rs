//! Promise: `minicol test` says whether a pipeline does what a file expects, offline, and where it does not, what differs; `minicol record` writes
//! such a file from what a target answers, without secrets.

use std::{collections::BTreeSet, fs, path::Path};

use minicol_tests::{Output, Program, free_port, wait_until};
use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const PIPELINE: &str = "receivers: {session_buddy: {endpoint: 'http://localhost:1/mcp'}}
processors:
  mapping:
    rules:
      - tool: get_liveness
        each: $.parts.*
        attributes: {part: $~}
        metrics: [{name: part.up, type: gauge, value: $, unit: '1'}]
exporters: {debug: }
service: {pipelines: {metrics: {receivers: [session_buddy], processors: [mapping], exporters: [debug]}}}
";

/// A folder with a pipeline file, and a test file with one test of this one's steps.
struct Folder(TempDir);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pipeline.yaml"), PIPELINE).unwrap();
        fs::write(folder.path().join("it.test.yaml"), test).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    async fn test(&self, more: &[&str]) -> Output {
        let file = self.path("it.test.yaml");
        let arguments: Vec<&str> = ["test", &*file].iter().chain(more).copied().collect();
        Program::run(&arguments, &[]).await
    }

    /// What it printed, with the folder's path left away.
    async fn printed(&self, more: &[&str]) -> (i32, String) {
        let output = self.test(more).await;
        let folder = format!("{}/", self.0.path().display());
        (output.code, (output.stdout + &output.stderr).replace(&folder, ""))
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path("it.test.yaml")).unwrap()
    }
}

#[tokio::test]
async fn every_test_of_a_pipeline_in_this_repository_holds() {
    let output = Program::run(&["test", "tests/pipelines"], &[]).await;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    assert!(output.stdout.lines().filter(|line| line.starts_with("ok ")).count() >= 16, "{}", output.stdout);
}

#[tokio::test]
async fn the_example_of_the_page_holds() {
    let page = fs::read_to_string(format!("{ROOT}/docs/test-a-pipeline.md")).unwrap();
    let example = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = Folder::new(example);
    fs::copy(format!("{ROOT}/pipelines/session-buddy.yaml"), folder.path("session-buddy.yaml")).unwrap();
    let (code, printed) = folder.printed(&[]).await;
    assert_eq!(
        (code, printed.as_str()),
        (0, "ok     it.test.yaml: workflows are counted (1 step, 6 points)\n1 test\n")
    );
}

const STEPS: &str = "config: [pipeline.yaml]
tests:
  - name: parts are up
    steps:
      - at: 0s
        answers: {get_liveness: {parts: {disk: 1}}}
";

#[tokio::test]
async fn a_test_that_looks_at_nothing_is_an_error() {
    let (code, printed) = Folder::new(STEPS).printed(&[]).await;
    let told = "it.test.yaml:3:5: the test looks at nothing: no step has `expect`";
    assert!(code == 2 && printed.contains(told), "{code}: {printed}");
    let folder = Folder::new(&format!("{STEPS}        expect:\n"));
    let (code, printed) = folder.printed(&["--update"]).await;
    assert!(code == 0 && folder.text().contains("name: part.up"), "{code}: {printed}");
}

#[tokio::test]
async fn an_answer_of_a_tool_that_no_rule_is_for_is_warned_of_at_its_place() {
    let wrong = STEPS.replace("get_liveness:", "get_livenes:");
    let (code, printed) = Folder::new(&format!("{wrong}        expect: []\n")).printed(&[]).await;
    let told = "it.test.yaml:6:19: no rule of the pipeline is for `get_livenes`; did you mean `get_liveness`?";
    assert!(code == 0 && printed.contains(told), "{code}: {printed}");
    let (code, printed) = Folder::new(&format!("{STEPS}        expect:\n")).printed(&[]).await;
    assert!(code == 1 && !printed.contains("no rule"), "{code}: {printed}");
    // One that is polled, too, where no rule reads the report, which would tell of it.
    let polled = STEPS.replace("get_liveness:", "get_workflow_metrics:");
    let folder = Folder::new(&format!("{polled}        expect: []\n"));
    let (code, printed) = folder.printed(&[]).await;
    assert!(
        code == 0 && printed.contains("no rule of the pipeline is for `get_workflow_metrics`"),
        "{code}: {printed}"
    );
    let reads =
        "    rules:\n      - {tool: '@poll', metrics: [{name: took, type: gauge, value: $.duration_seconds, unit: s}]}";
    fs::write(folder.path("pipeline.yaml"), PIPELINE.replace("    rules:", reads)).unwrap();
    let (_, printed) = folder.printed(&[]).await;
    assert!(!printed.contains("no rule"), "{printed}");
}

#[test]
fn every_rule_that_the_readme_of_the_mapping_shows_is_tested() {
    let readme = fs::read_to_string(format!("{ROOT}/crates/processor/README.md")).unwrap();
    let file = fs::read_to_string(format!("{ROOT}/tests/pipelines/mapping-examples.yaml")).unwrap();
    let tests = fs::read_to_string(format!("{ROOT}/tests/pipelines/mapping-examples.test.yaml")).unwrap();
    let (file, tests): (Value, Value) = (serde_yaml::from_str(&file).unwrap(), serde_yaml::from_str(&tests).unwrap());
    let shown: Vec<Value> = readme
        .split("```yaml\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .map(|block| serde_yaml::from_str(block).unwrap())
        .filter(|block: &Value| block.get("rules").is_some())
        .collect();
    assert!(shown.len() >= 12, "{shown:?}");
    let used: BTreeSet<&str> =
        tests["tests"].as_array().unwrap().iter().filter_map(|test| test["pipeline"].as_str()).collect();
    let pipelines = file["service"]["pipelines"].as_object().unwrap();
    for block in shown {
        let processors = file["processors"].as_object().unwrap();
        let named = processors.iter().find(|(_, body)| **body == block).map(|(id, _)| id.as_str());
        let id = named.unwrap_or_else(|| panic!("tests/pipelines/mapping-examples.yaml does not have\n{block:#}"));
        let tested = |(name, pipeline): (&String, &Value)| {
            pipeline["processors"].as_array().unwrap().iter().any(|one| one == id) && used.contains(name.as_str())
        };
        assert!(pipelines.iter().any(tested), "no test of tests/pipelines/mapping-examples.test.yaml is about {id}");
    }
}

#[tokio::test]
async fn a_failure_says_which_series_which_point_and_what_differs() {
    let folder = Folder::new(
        "config: [pipeline.yaml]
tests:
  - name: parts are up
    steps:
      - at: 30s
        answers: {get_liveness: {parts: {disk: 1, net: 0, cpu: 1}}}
        expect:
          - name: part.up
            type: gauge
            unit: s
            points:
              - {value: 0, time: 31s, attributes: {part: disk}}
              - {value: 1, attributes: {part: memory}}
",
    );
    let (code, printed) = folder.printed(&[]).await;
    let expected = "FAILED it.test.yaml: parts are up
  it.test.yaml:12:17: at 30s: part.up{part=disk}
      unit
      - expected  s
      + got       1
      time
      - expected  31s
      + got       30s
      value
      - expected  0
      + got       1
  it.test.yaml:13:17: at 30s: part.up{part=memory} did not come
      - expected  1
      there is   part.up{part=net}
      there is   part.up{part=cpu}
  it.test.yaml:7:9: at 30s: part.up{part=net} came and is not expected
      + got       0
  it.test.yaml:7:9: at 30s: part.up{part=cpu} came and is not expected
      + got       1
1 test, 1 failed
";
    assert_eq!((code, printed.as_str()), (1, expected));
}

#[tokio::test]
async fn what_is_looked_at_can_be_narrowed_and_what_comes_can_be_printed() {
    let test = |more: &str, expect: &str| {
        format!(
            "config: [pipeline.yaml]
tests:
  - name: parts
    {more}
    steps:
      - at: 1h
        receiver: session_buddy
        answers: {{get_liveness: {{parts: {{disk: 1, net: 0.5, odd: {{}}}}}}}}
        expect: {expect}
"
        )
    };
    let one = "[{name: part.up, resource: {server.port: 1}, points: [{value: 1, time: 2026-01-01T01:00:00Z, attributes: {part: disk}}]}]";
    for (more, expect, code) in [
        ("match: exact", one, 1),
        ("match: subset", one, 0),
        ("only: [other.*]", "[]", 0),
        ("only: ['part.*']", "[]", 1),
        (
            "match: subset",
            "[{name: part.up, resource: {server.port: 2}, points: [{value: 1, attributes: {part: disk}}]}]",
            1,
        ),
    ] {
        let (got, printed) = Folder::new(&test(more, expect)).printed(&[]).await;
        assert_eq!(got, code, "{more}, {expect}: {printed}");
        // What made no point is told where it may be why.
        assert_eq!(printed.contains("warning: processor mapping: "), code == 1, "{printed}");
    }
    let (code, printed) = Folder::new(&test("match: exact", "[]")).printed(&["--print"]).await;
    let expected = "# it.test.yaml: parts
# at 1h
expect:
  - name: part.up
    type: gauge
    unit: \"1\"
    points:
      - {value: 1, attributes: {part: disk}}
      - {value: 0.5, attributes: {part: net}}
";
    assert_eq!((code, printed.as_str()), (0, expected));
    let (code, printed) = Folder::new(&test("match: exact", "[]").replace("session_buddy", "other")).printed(&[]).await;
    let place = "it.test.yaml:7:19: the pipeline has no receiver `other`";
    assert!(code == 2 && printed.contains(place), "{printed}");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_at_its_place() {
    let folder = Folder::new(
        "config: [pipeline.yaml]
tests:
  - name: one
    pipeline: metric
    steps:
      - {at: 30s, answers: {get_liveness: {}}, expects: []}
      - at: 10s
        expect: [{name: part.up}]
",
    );
    let (code, printed) = folder.printed(&[]).await;
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("it.test.yaml:6:48: unknown key `expects`"), "{printed}");
    let right = folder.text().replace("expects", "expect");
    fs::write(folder.path("it.test.yaml"), &right).unwrap();
    let (_, printed) = folder.printed(&[]).await;
    for told in ["it.test.yaml:7:13: 10s lies before the step above", "it.test.yaml:8:18: the metric has no points"] {
        assert!(printed.contains(told), "{told}: {printed}");
    }
    let right = right.replace("at: 10s", "at: 40s").replace("[{name: part.up}]", "[]");
    fs::write(folder.path("it.test.yaml"), right).unwrap();
    let (_, printed) = folder.printed(&[]).await;
    assert!(
        printed.contains("it.test.yaml:4:15: there is no pipeline `metric`")
            && printed.contains("did you mean `metrics`?"),
        "{printed}"
    );
}

#[tokio::test]
async fn an_update_writes_what_comes_and_leaves_the_rest_alone() {
    let before = "# What this is about.
config: [pipeline.yaml]
tests:
  - name: parts are up   # at first
    match: exact
    steps:
      - at: 0s
        # The disk is there.
        answers: {get_liveness: {parts: {disk: 1}}}
        expect:
          - name: part.up
            points: [{value: 1, attributes: {part: disk}}]   # stays as it is
      # Then it is not.
      - expect: []
        at: 30s
        answers: {get_liveness: {parts: {disk: 0}}}

  - name: nothing comes
    steps:
      - {at: 0s, answers: {get_liveness: {parts: {}}}, expect: []}
";
    let folder = Folder::new(before);
    assert_eq!(folder.test(&[]).await.code, 1);
    let output = folder.test(&["--update"]).await;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    let expected = before.replace(
        "      - expect: []\n",
        "      - expect:
          - name: part.up
            type: gauge
            unit: \"1\"
            points:
              - {value: 0, attributes: {part: disk}}
",
    );
    assert_eq!(folder.text(), expected);
    let (code, printed) = folder.printed(&[]).await;
    assert_eq!((code, printed.lines().last()), (0, Some("2 tests")), "{printed}");
    // Where it stands on a line with other things, nothing is touched.
    fs::write(
        folder.path("it.test.yaml"),
        before.replace("{get_liveness: {parts: {}}}", "{get_liveness: {parts: {disk: 1}}}"),
    )
    .unwrap();
    let (code, printed) = folder.printed(&["--update"]).await;
    assert!(code == 1 && printed.contains("does not stand on a line of its own"), "{printed}");
}

#[tokio::test]
async fn what_a_target_answers_is_recorded_as_a_test_that_holds_and_tells_no_secret() {
    let port = free_port();
    let _simulated = Program::start(&["simulate", "--port", &port.to_string()], &[]);
    wait_until("the simulator", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    let folder = tempfile::tempdir().unwrap();
    let pipeline = format!(
        "receivers:
  session_buddy:
    endpoint: 'http://127.0.0.1:{port}/mcp?key=of-the-query'
    headers: {{Authorization: 'Bearer ${{env:BUDDY_TOKEN}}'}}
    metrics_to_collect: [activity_summary, workflow_metrics, no_such_tool]
processors: {{mapping: {{presets: [session_buddy]}}}}
exporters: {{debug: {{verbosity: '${{env:HOW_MUCH}}'}}}}
service: {{pipelines: {{metrics: {{receivers: [session_buddy], processors: [mapping], exporters: [debug]}}}}}}
"
    );
    fs::create_dir(folder.path().join("tests")).unwrap();
    let (file, recorded) = (folder.path().join("pipeline.yaml"), folder.path().join("tests/recorded.test.yaml"));
    fs::write(&file, pipeline).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let variables = [("BUDDY_TOKEN", "hunter2-of-the-header"), ("HOW_MUCH", "normal")];
    let arguments =
        ["record", "--config", &path(&file), "--output", &path(&recorded), "--cycles", "2", "--interval", "100ms"];
    let output = Program::run(&arguments, &variables).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let text = fs::read_to_string(&recorded).unwrap();
    for secret in ["hunter2", "of-the-query", "Bearer"] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    for told in [
        "config: [\"../pipeline.yaml\"]",
        "BUDDY_TOKEN: \"not-recorded\"",
        "HOW_MUCH: normal",
        "get_no_such_tool: {outcome: not_offered}",
    ] {
        assert!(text.contains(told), "{told} is not in\n{text}");
    }
    assert_eq!(text.matches("- at: ").count(), 2, "{text}");
    assert!(text.matches("name: session_buddy.workflows.completed").count() == 2, "{text}");
    // It needs neither the target nor the variables.
    let output = Program::run(&["test", &path(&recorded)], &[]).await;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    let again = Program::run(&arguments, &variables).await;
    assert!(again.code == 1 && again.stderr.contains("is there already"), "{}", again.stderr);
}

#[tokio::test]
async fn the_schema_of_test_files_takes_every_test_file_here_and_refuses_a_bad_one() {
    let output = Program::run(&["schema", "--test"], &[]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let written = fs::read_to_string(format!("{ROOT}/docs/reference/minicol-test.schema.json")).unwrap();
    assert!(output.stdout == written, "docs/reference/minicol-test.schema.json is old: run cargo run -p xtask -- docs");
    let schema = serde_json::from_str(&output.stdout).unwrap();
    jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("it is no JSON Schema: {error}"));
    let schema = jsonschema::validator_for(&schema).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(format!("{ROOT}/tests/pipelines")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with(".test.yaml") {
            let file: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let wrong: Vec<String> =
                schema.iter_errors(&file).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert_eq!(wrong, Vec::<String>::new(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 3);
    assert!(!schema.is_valid(&serde_json::json!({"config": ["x"], "tests": [{"name": "a", "step": []}]})));
}
