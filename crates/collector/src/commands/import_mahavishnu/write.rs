//! The pipeline file, with comments: what each key became, and what the tools are worth.

use std::fmt::Write;

use super::settings::{BLOCK, Backend, Became, Settings};
use crate::commands::quoted;

/// What the tools that the old poller knew, and those worth adding, are on the released server.
const KNOWN: [(&str, &str); 7] = [
    (
        "get_activity_summary",
        "session-buddy 0.23.0 answers prose without a number: no metric. `session-buddy start` does not have it",
    ),
    (
        "get_workflow_metrics",
        "session-buddy 0.23.0 answers figures of 30 days: gauges session_buddy.window.*. `session-buddy start` does not have it",
    ),
    (
        "get_session_analytics",
        "session-buddy 0.23.0 lists sessions: each finished one is counted once. `session-buddy start` does not have it",
    ),
    ("get_performance_metrics", "session-buddy 0.23.0 does not have it: said once, not polled, and no failure"),
    (
        "get_metrics_summary",
        "sessions started, ended and active by component, and quality; the live counters of 0.23.0",
    ),
    ("get_liveness", "the server's uptime; also in `session-buddy start`"),
    ("get_prometheus_metrics", "CPU time and memory of the server's process, and when it started"),
];

/// Which of them are worth adding: the old poller did not know them.
const WORTH: [&str; 3] = ["get_metrics_summary", "get_liveness", "get_prometheus_metrics"];

pub(super) fn pipeline(file: &str, settings: &Settings) -> String {
    // Writing to a String cannot fail, here and below.
    let mut out = format!(
        "# Made by `minicol import-mahavishnu` from `{BLOCK}` of {file}. Run it: minicol run --config THIS_FILE
# What it polls and how the numbers change: docs/from-mahavishnu.md. MAHAVISHNU_SESSION_BUDDY_POLLING__* variables still
# override the receiver, key by key; there, max_retries counts what comes after the first attempt.
"
    );
    for key in &settings.unknown {
        let _ = writeln!(out, "# Left out: the key {key} of `{BLOCK}` is not known.");
    }
    out.push_str("receivers:\n  session_buddy:\n");
    line(&mut out, "enabled", &settings.enabled.value.to_string(), &settings.enabled);
    line(&mut out, "endpoint", &quoted(&settings.endpoint.value), &settings.endpoint);
    for (key, became) in [
        ("interval_seconds", &settings.interval_seconds),
        ("timeout_seconds", &settings.timeout_seconds),
        ("max_retries", &settings.max_retries),
        ("retry_delay_seconds", &settings.retry_delay_seconds),
        ("circuit_breaker_threshold", &settings.circuit_breaker_threshold),
    ] {
        line(&mut out, key, &became.value.to_string(), became);
    }
    let _ = writeln!(
        out,
        "    circuit_breaker_cooldown_seconds: {}  # five intervals, as the old poller waited; without this line, one interval",
        settings.interval_seconds.value * 5.0
    );
    tools(&mut out, &settings.metrics_to_collect);
    let Backend { exporter, endpoint, .. } = &settings.backend;
    let _ = write!(
        out,
        "processors:\n  mapping:\n    presets: [session_buddy]\nexporters:\n  {exporter}:\n    endpoint: {}{}\n\
         service:\n  pipelines:\n    metrics:\n      receivers: [session_buddy]\n      processors: [mapping]\n      exporters: [{exporter}]\n",
        quoted(&endpoint.value),
        comment(endpoint.note.as_deref())
    );
    out
}

fn tools(out: &mut String, wanted: &Became<Vec<String>>) {
    let _ = writeln!(out, "    metrics_to_collect:{}", comment(wanted.note.as_deref()));
    let same = |name: &str, tool: &str| name == tool || tool.strip_prefix("get_") == Some(name);
    for name in &wanted.value {
        let about = KNOWN.iter().find(|(tool, _)| same(name, tool)).map(|(_, about)| *about);
        let about = about.unwrap_or("the preset has no rule for it: to get a metric, add one under `rules` of mapping");
        let _ = writeln!(out, "      - {}  # {about}", quoted(name));
    }
    let missing: Vec<_> = WORTH.into_iter().filter(|tool| !wanted.value.iter().any(|name| same(name, tool))).collect();
    if !missing.is_empty() {
        out.push_str("      # Worth adding, the old poller did not know them:\n");
    }
    for (tool, about) in KNOWN.iter().filter(|(tool, _)| missing.contains(tool)) {
        let _ = writeln!(out, "      # - {tool}  # {about}");
    }
}

fn line<T>(out: &mut String, key: &str, value: &str, became: &Became<T>) {
    let _ = writeln!(out, "    {key}: {value}{}", comment(became.note.as_deref()));
}

fn comment(note: Option<&str>) -> String {
    note.map(|note| format!("  # {note}")).unwrap_or_default()
}
