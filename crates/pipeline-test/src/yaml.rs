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
            let Some(expected) = expected else { continue };
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
            let _ = write!(out, "          {}:", text(tool));
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
            for (key, value) in all {
                let _ = write!(out, "{pad}{}:", text(key));
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
            let pairs: Vec<_> = all.iter().map(|(key, value)| format!("{}: {}", text(key), flow(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Array(all) => format!("[{}]", all.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(one) => text(one),
        other => other.to_string(),
    }
}

/// A text, in quotes where YAML would take it for something else. In it `$` begins no reference.
pub(crate) fn text(text: &str) -> String {
    let mut letters = text.chars();
    let plain = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/'))
        && !WORDS.contains(&&*text.to_ascii_lowercase());
    let duration = || minicol_plugin::config::GoDuration::parse(text).is_ok();
    if plain || duration() { text.to_owned() } else { Value::from(text.replace('$', "$$")).to_string() }
}

/// What YAML, of one version or another, takes for something else than text.
const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];
