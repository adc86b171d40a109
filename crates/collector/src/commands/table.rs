//! What `poll` shows a person.

use std::fmt::Write;

use comfy_table::{Cell, ContentArrangement, Table, presets::NOTHING};
use minicol_host::{PollOutcome, PollResult, PolledReceiver};
use minicol_pdata::{Attributes, MetricKind, Outcome, ToolOutcome};
use minicol_plugin::text;

use super::polled::{metrics, report};

/// The metrics, then what became of each tool of each receiver.
pub(super) fn render(outcome: &PollOutcome) -> String {
    let mut out = String::new();
    for pipeline in &outcome.pipelines {
        let mut table = table(&["metric", "type", "value", "unit", "attributes"]);
        for metric in metrics(&pipeline.batches) {
            for point in metric.points() {
                table.add_row([
                    text::foreign(metric.name()),
                    metric.kind().map_or("", MetricKind::name).to_owned(),
                    point.value.to_string(),
                    text::foreign(metric.unit()),
                    attributes(&point.attributes()),
                ]);
            }
        }
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "pipeline {}", pipeline.id);
        let _ = if table.is_empty() { writeln!(out, "  no metrics\n") } else { writeln!(out, "{}\n", trimmed(&table)) };
    }
    for receiver in &outcome.receivers {
        out.push_str(&tools(receiver));
    }
    out
}

fn tools(receiver: &PolledReceiver) -> String {
    let mut out = format!("receiver {}\n", receiver.id);
    let report = match (&receiver.result, report(receiver)) {
        (PollResult::Polled, Some(report)) => report,
        (PollResult::Polled, None) => return out + "  polled; it reports nothing about tools\n",
        (PollResult::NotPolling, _) => return out + "  it does not poll\n",
        (PollResult::Disabled, _) => return out + "  not asked: enabled is false\n",
        (PollResult::Failed(why), _) => return out + &format!("  failed: {}\n", text::foreign(why)),
    };
    if let Some(why) = &report.setup_error {
        let _ = writeln!(out, "  {}", failed(why));
    }
    let mut table = table(&["tool", "outcome", "took", "why"]);
    for (tool, told) in &report.tools {
        let (outcome, why) = match told.outcome {
            Outcome::Answered => ("answered", String::new()),
            Outcome::NotOffered => ("not offered", "the server does not have it".to_owned()),
            Outcome::BreakerOpen => ("not asked", "its circuit breaker is open".to_owned()),
            Outcome::Failed => ("failed", failed(told)),
        };
        let took = told.duration_seconds.map(|seconds| format!("{:.1} ms", seconds * 1e3)).unwrap_or_default();
        table.add_row([text::foreign(tool), outcome.to_owned(), took, why]);
    }
    let _ = writeln!(out, "{}", trimmed(&table));
    out
}

fn failed(told: &ToolOutcome) -> String {
    // A tool that was not called because the set-up failed has the kind alone: the reason stands once, above the tools.
    match (&told.error_type, told.message.as_deref()) {
        (Some(kind), Some(message)) => format!("{}: {}", text::foreign(kind), text::shortened(message, 400)),
        (Some(kind), None) => text::foreign(kind),
        (None, message) => text::shortened(message.unwrap_or("no reason was given"), 400),
    }
}

fn attributes(attributes: &Attributes) -> String {
    let pairs: Vec<_> = attributes
        .iter()
        .map(|(name, value)| format!("{}={}", text::foreign(name), text::foreign(&value.to_string())))
        .collect();
    pairs.join(" ")
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(Cell::new));
    table
}

/// Without blanks at the ends of lines.
fn trimmed(table: &Table) -> String {
    table.to_string().lines().map(|line| format!(" {}", line.trim_end())).collect::<Vec<_>>().join("\n")
}
