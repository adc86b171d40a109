//! Test files as text.

use std::fmt::Write;

use minicol_pdata::{Attributes, Timestamp};
use serde_json::{Map, Value};

use crate::{
    compare::is_like,
    file::{Case, ExpectedPoint, Scalar, Step, TestFile, scalars},
    series::Series,
};

/// What came, as the list that belongs below `expect:`, each line after `indent` blanks. `[]` with a blank before it where nothing came.
pub fn expectations(case: &Case, step: &Step, got: &[Series], indent: usize) -> String {
    let looked_at = |series: &&Series| case.only.is_empty() || case.only.iter().any(|one| is_like(one, &series.name));
    let got: Vec<&Series> = got.iter().filter(looked_at).collect();
    if got.is_empty() {
        return " []\n".to_owned();
    }
    let several = got.iter().any(|one| one.resource != got[0].resource);
    let (pad, time) = (" ".repeat(indent), case.start.0 + step.at.0);
    let mut out = "\n".to_owned();
    let mut before: Option<&Series> = None;
    for one in got {
        if !before.is_some_and(|before| same_metric(before, one)) {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(out, "{pad}- name: {}", text(&one.name));
            let _ = writeln!(out, "{pad}  type: {}", one.kind);
            if one.temporality == Some("delta") {
                let _ = writeln!(out, "{pad}  temporality: delta");
            }
            let _ = writeln!(out, "{pad}  unit: {}", text(&one.unit));
            if several {
                let _ = writeln!(out, "{pad}  resource: {}", attributes(&one.resource));
            }
            let _ = writeln!(out, "{pad}  points:");
        }
        let _ = writeln!(out, "{pad}    - {}", point(&one.point, time, case));
        before = Some(one);
    }
    out
}

fn same_metric(one: &Series, other: &Series) -> bool {
    (&one.name, one.kind, one.temporality, &one.unit) == (&other.name, other.kind, other.temporality, &other.unit)
        && one.resource == other.resource
}

/// A point on one line. That it is of the step's own time need not be said.
fn point(point: &ExpectedPoint, at: Timestamp, case: &Case) -> String {
    let mut told = point.clone();
    if told.time.is_some_and(|time| time.resolved(case.start) == at) {
        told.time = None;
    }
    let Ok(Value::Object(mut all)) = serde_json::to_value(told) else { return "{}".to_owned() };
    // What tells it from others comes last, as it is the longest.
    if let Some(attributes) = all.shift_remove("attributes") {
        all.insert("attributes".to_owned(), attributes);
    }
    flow(&Value::Object(all))
}

fn attributes(attributes: &Attributes) -> String {
    let all: Map<String, Value> =
        scalars(attributes).iter().map(|(name, value)| (name.clone(), scalar(value))).collect();
    flow(&Value::Object(all))
}

fn scalar(value: &Scalar) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// A whole test file, with what came in every step of every test; without that nothing is expected.
pub fn file(file: &TestFile, expected: Option<&[Vec<Vec<Series>>]>) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "config: {}", flow(&file.config.clone().into()));
    if !file.set.is_empty() {
        let _ = writeln!(out, "set: {}", flow(&file.set.clone().into()));
    }
    if !file.environment.is_empty() {
        let all: Map<String, Value> =
            file.environment.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let _ = writeln!(out, "environment: {}", flow(&Value::Object(all)));
    }
    out.push_str("tests:\n");
    for (index, case) in file.tests.iter().enumerate() {
        let _ = writeln!(out, "  - name: {}", text(&case.name));
        if let Some(pipeline) = &case.pipeline {
            let _ = writeln!(out, "    pipeline: {}", text(pipeline));
        }
        let _ = writeln!(out, "    start: {}", case.start);
        out.push_str("    steps:\n");
        for (nth, step) in case.steps.iter().enumerate() {
            write_step(&mut out, step);
            let Some(expected) = expected else {
                out.push_str("        expect:\n");
                continue;
            };
            let came = expected.get(index).and_then(|steps| steps.get(nth)).map_or(&[][..], |came| came);
            let _ = write!(out, "        expect:{}", expectations(case, step, came, 10));
        }
    }
    out
}

fn write_step(out: &mut String, step: &Step) {
    let _ = writeln!(out, "      - at: {}", step.at);
    let mut rest = step.clone();
    (rest.expect, rest.answers) = (None, None);
    if let Ok(Value::Object(mut all)) = serde_json::to_value(&rest) {
        all.shift_remove("at");
        for (key, value) in all {
            let _ = writeln!(out, "        {key}: {}", flow(&value));
        }
    }
    if let Some(answers) = &step.answers {
        if answers.is_empty() {
            out.push_str("        answers: {}\n");
        } else {
            out.push_str("        answers:\n");
        }
        for (tool, document) in answers {
            let _ = write!(out, "          {}:", key(tool));
            block(out, document, 12);
        }
    }
}

/// A document below its key: maps and lists in lines, prose as it is read.
fn block(out: &mut String, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(all) if !all.is_empty() => {
            out.push('\n');
            for (name, value) in all {
                let _ = write!(out, "{pad}{}:", key(name));
                block(out, value, indent + 2);
            }
        }
        Value::Array(all) if all.iter().any(|one| one.is_object() || one.is_array()) => {
            out.push('\n');
            for value in all {
                let _ = writeln!(out, "{pad}- {}", flow(value));
            }
        }
        Value::String(prose) if is_prose(prose) => {
            out.push_str(" |-\n");
            for line in prose.split('\n') {
                let line = line.replace('$', "$$");
                let _ = if line.is_empty() { writeln!(out) } else { writeln!(out, "{pad}{line}") };
            }
        }
        other => {
            let _ = writeln!(out, " {}", flow(other));
        }
    }
}

/// Whether a text can stand as it is in a block of lines.
fn is_prose(text: &str) -> bool {
    let plain =
        |c: char| c == '\n' || (!c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'));
    text.contains('\n') && text.chars().all(plain) && !text.starts_with([' ', '\n']) && !text.ends_with('\n')
}

/// A value on one line.
pub(crate) fn flow(value: &Value) -> String {
    match value {
        // That a number is kept as a double nobody needs to read.
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map(|double| double.to_string()).unwrap_or_default()
        }
        Value::Object(all) => {
            let pairs: Vec<_> = all.iter().map(|(name, value)| format!("{}: {}", key(name), flow(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Array(all) => format!("[{}]", all.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(one) => text(one),
        other => other.to_string(),
    }
}

/// A text, in quotes where YAML would take it for something else. In it `$` begins no reference.
fn text(text: &str) -> String {
    let duration = || minicol_plugin::config::GoDuration::parse(text).is_ok();
    if is_plain(text) || duration() { text.to_owned() } else { Value::from(text.replace('$', "$$")).to_string() }
}

/// The same of a key, in which `$` stands for itself.
fn key(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { Value::from(name).to_string() }
}

/// Whether it is a text without quotes, too.
fn is_plain(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/'))
        && !WORDS.contains(&&*text.to_ascii_lowercase())
}

/// What YAML, of one version or another, takes for something else than text.
const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];

#[cfg(test)]
mod tests {
    use minicol_config::{Path, Problems, Request, decode};
    use serde_json::json;

    use super::*;

    /// What is read of a file that was written.
    fn read(text: &str) -> TestFile {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.test.yaml");
        std::fs::write(&path, text).unwrap();
        let request = Request { configs: vec![format!("file:{}", path.display())], ..Request::default() };
        let loaded = minicol_config::load(&request).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let mut problems = Problems::new();
        let file = decode(&loaded.root, &Path::root(), &mut problems);
        file.unwrap_or_else(|| panic!("{problems}\n{text}"))
    }

    #[test]
    fn whatever_a_target_answers_is_read_as_it_was_answered() {
        let texts = [
            "",
            " ",
            "$",
            "${env:HOME}",
            "$$",
            "1",
            "-0",
            "1e3",
            "0x1f",
            "true",
            "No",
            "~",
            "null",
            "NaN",
            ".inf",
            "- a",
            "a: b",
            "# c",
            "a #b",
            "'",
            "\"",
            "\\",
            "[x]",
            "{y}",
            "&a",
            "*a",
            "!t",
            "|",
            ">",
            "%",
            "@",
            "`",
            "12:30",
            "2026-01-01",
            "5s",
            "tab\there",
            "\u{7}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "é",
            "🦀",
            "one\ntwo",
            "one\n\ntwo  \n  three",
            " a\nb",
            "a\nb\n",
            "a\r\nb",
            "\n",
            "${a}\n$b",
            "# a\n- b",
            "a\n\tb",
            "---\nx",
            "x\n---\n...",
        ];
        let mut map = serde_json::Map::new();
        for text in texts {
            map.insert(format!("key {text}"), json!({ "block": text, "flow": [[text, { text: text }], text] }));
            map.insert(text.to_owned(), text.into());
        }
        let numbers =
            json!([0, -1, u64::MAX, i64::MIN, 1.5, -2.5e-300, 1e300, 3.0, 0.1, true, false, null, {}, [], [[]], [{}]]);
        let answers = json!({ "texts": map, "numbers": numbers, "deep": {"a": {"b": {"c": [1, {"d": "e"}], "f": {}}}}, "prose": "a\nb" });
        let Value::Object(answers) = answers else { unreachable!() };
        let step = Step { answers: Some(answers), ..Step::default() };
        let case = Case { name: "it: what?".to_owned(), steps: vec![step], ..Case::default() };
        let written = TestFile { config: vec!["a b.yaml".to_owned()], tests: vec![case], ..TestFile::default() };
        let text = file(&written, None);
        let got = read(&text);
        assert_eq!((&got.config, &got.tests[0].name), (&written.config, &written.tests[0].name));
        let (got, wanted) =
            (got.tests[0].steps[0].answers.clone().unwrap(), written.tests[0].steps[0].answers.clone().unwrap());
        for (name, wanted) in &wanted["texts"].as_object().unwrap().clone() {
            assert_eq!(got["texts"].get(name), Some(wanted), "{name:?} in\n{text}");
        }
        let same = |one: &Value, other: &Value| match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => one.to_bits() == other.to_bits(),
            _ => one == other,
        };
        let lists = got["numbers"].as_array().unwrap().iter().zip(wanted["numbers"].as_array().unwrap());
        for (one, other) in lists {
            assert!(same(one, other), "{one} is not {other}");
        }
        assert_eq!((&got["deep"], &got["prose"]), (&wanted["deep"], &wanted["prose"]));
    }
}
