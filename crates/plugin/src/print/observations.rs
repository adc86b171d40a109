use std::fmt::Write;

use minicol_pdata::{Observation, Observations};

use super::{
    Verbosity,
    words::{aligned, attributes, count, moment},
};
use crate::text;

/// How much of a document a line shows, in characters.
const SHOWN: usize = 100;
/// How many lines of a document `detailed` prints at most.
const MAX_LINES: usize = 2_000;

pub(super) fn render(observations: &Observations, verbosity: Verbosity) -> String {
    let head = count(observations.len(), "observation");
    match verbosity {
        Verbosity::Basic => format!("observations: {head}, {} bytes\n", observations.bytes()),
        Verbosity::Normal => {
            let lines: Vec<_> = observations.iter().map(line).collect();
            let from =
                observations.iter().next().map(|one| format!(" from {}", one.source.receiver)).unwrap_or_default();
            format!("observations: {head}{from}\n{}", aligned(&lines))
        }
        Verbosity::Detailed => {
            let all: String = observations.iter().map(detailed).collect();
            format!("observations: {head}\n{all}")
        }
    }
}

fn line(one: &Observation) -> Vec<String> {
    vec![text::plain(&one.tool), took(one), text::shortened(&one.document.to_string(), SHOWN)]
}

fn detailed(one: &Observation) -> String {
    let mut out = format!("observation {}\n", text::plain(&one.tool));
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "  receiver: {}", one.source.receiver);
    let _ = writeln!(out, "  resource: {}", attributes(&one.source.resource));
    if let Some(arguments) = &one.arguments {
        let _ =
            writeln!(out, "  arguments: {}", text::plain(&serde_json::Value::from((**arguments).clone()).to_string()));
    }
    let _ = writeln!(out, "  arrived: {}", moment(one.arrival.wall));
    let _ = writeln!(out, "  took: {}", took(one));
    if let Some(cut) = one.cut {
        let _ = writeln!(out, "  cut: {} of {}", cut.returned, cut.total);
    }
    out.push_str("  document:\n");
    let pretty = serde_json::to_string_pretty(&*one.document).unwrap_or_default();
    for line in pretty.lines().take(MAX_LINES) {
        let indent = line.len() - line.trim_start().len();
        let _ = writeln!(out, "    {}{}", " ".repeat(indent), text::shortened(line, 2_000));
    }
    if pretty.lines().nth(MAX_LINES).is_some() {
        out.push_str("    …\n");
    }
    out
}

fn took(one: &Observation) -> String {
    format!("{:.1} ms", one.took.as_secs_f64() * 1e3)
}
