//! What the tools of 0.23.0 answer: what was recorded, but for what lives: the process and the sessions that it is told of.

use serde_json::{Map, Value, json};

use super::{arguments, recorded};
use crate::{
    Model,
    server::{Life, Shared},
};

/// The tools that the simulator has of the server's 199.
pub(crate) const NAMES: [&str; 10] = [
    "get_liveness",
    "get_readiness",
    "health_check_all",
    "get_activity_summary",
    "get_real_time_metrics",
    "get_prometheus_metrics",
    "get_metrics_summary",
    "get_session_length_distribution",
    "get_workflow_metrics",
    "get_session_analytics",
];

/// With more sessions than this, the one that is still open is among them, and the server's query fails.
const MOST_SESSIONS: i64 = 24;
/// The one component whose sessions are tracked live.
const COMPONENT: &str = "mahavishnu";

/// The result of a call, as JSON.
pub(super) fn call(shared: &Shared, tool: &str, given: &Map<String, Value>) -> String {
    if let Some(wrong) = arguments::wrong(tool, given) {
        return error(&wrong);
    }
    match tool {
        "get_liveness" => shared.with_model(|_, life| answer(&liveness(life))),
        "get_metrics_summary" => shared.with_model(|model, _| answer(&metrics_summary(model))),
        "get_prometheus_metrics" => shared.with_model(|model, life| wrapped(&prometheus_metrics(model, life))),
        "get_session_analytics" => session_analytics(given),
        "get_activity_summary" => recorded::result(recorded::ACTIVITY_SUMMARY).to_owned(),
        "get_workflow_metrics" => recorded::result(recorded::WORKFLOW_METRICS).to_owned(),
        "get_readiness" => recorded::result(recorded::READINESS).to_owned(),
        "health_check_all" => recorded::result(recorded::HEALTH_CHECK_ALL).to_owned(),
        "get_session_length_distribution" => recorded::result(recorded::LENGTH_DISTRIBUTION).to_owned(),
        "get_real_time_metrics" => recorded::REAL_TIME_METRICS.trim_end().to_owned(),
        unknown => error(&format!("Unknown tool: '{unknown}'")),
    }
}

/// The session metrics alone, which the server's page `/metrics` shows.
pub(super) fn session_metrics(shared: &Shared) -> String {
    let all = shared.with_model(prometheus_metrics);
    let end = all.find("# HELP python_").unwrap_or(all.len());
    all[..end].to_owned()
}

/// A document twice, as text and as structured content.
fn answer(document: &Value) -> String {
    let text = document.to_string();
    json!({"content": [{"type": "text", "text": text}], "structuredContent": document, "isError": false}).to_string()
}

/// A text, as `FastMCP` wraps what a tool returns that declares to return text.
fn wrapped(text: &str) -> String {
    json!({
        "_meta": {"fastmcp": {"wrap_result": true}},
        "content": [{"type": "text", "text": text}],
        "structuredContent": {"result": text},
        "isError": false,
    })
    .to_string()
}

fn error(text: &str) -> String {
    json!({"content": [{"type": "text", "text": text}], "isError": true}).to_string()
}

fn liveness(life: &Life) -> Value {
    let uptime = hundredths(life.age.as_secs_f64());
    json!({"status": "ok", "service": "mcp-server", "version": "0.0.0", "uptime_seconds": uptime})
}

/// The live counters of the process: they know of no session that began before it.
fn metrics_summary(model: &Model) -> Value {
    let (started, ended) = (model.total_sessions(), model.finished_sessions());
    let mut summary = json!({
        "total_sessions_started": started, "total_sessions_ended": ended, "active_sessions": {}, "quality_scores": {},
        "mcp_events_success": 0, "mcp_events_failure": 0,
    });
    if started > 0 {
        summary["active_sessions"][COMPONENT] = (started - ended).into();
        summary["quality_scores"][COMPONENT] = quality(ended).into();
    }
    summary
}

/// Moves with each session that ended.
fn quality(ended: u64) -> f64 {
    43.0 + (ended * 7 % 40) as f64
}

fn session_analytics(given: &Map<String, Value>) -> String {
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
    let limit = given.get("limit").and_then(number).unwrap_or(20);
    if !(0..=MOST_SESSIONS).contains(&limit) {
        return recorded::result(recorded::SESSION_ANALYTICS_FAILED).to_owned();
    }
    let sort = given.get("sort_by").and_then(Value::as_str).unwrap_or("duration");
    if (limit, sort) == (MOST_SESSIONS, "duration") {
        return recorded::result(recorded::SESSION_ANALYTICS).to_owned();
    }
    let mut document = recorded::document(recorded::SESSION_ANALYTICS);
    let by = match sort {
        "quality" => "avg_quality",
        "commits" => "commit_count",
        "checkpoints" => "checkpoint_count",
        // Any other word is taken, and sorts by duration, too.
        _ => "duration_minutes",
    };
    if let Some(sessions) = document["sessions"].as_array_mut() {
        let key = |session: &Value| session[by].as_f64().unwrap_or_default();
        sessions.sort_by(|a, b| key(b).total_cmp(&key(a)));
        sessions.truncate(usize::try_from(limit).unwrap_or_default());
    }
    document["sort_field"] = sort.into();
    answer(&document)
}

/// The recorded page, with what lives in its place.
fn prometheus_metrics(model: &Model, life: &Life) -> String {
    let page = recorded::document(recorded::PROMETHEUS_METRICS);
    let mut out = String::new();
    for line in page["result"].as_str().unwrap_or_default().lines() {
        let value = match line.split_once(' ') {
            Some(("process_start_time_seconds", _)) => Some(hundredths(life.started_at.as_seconds())),
            // A start costs 2.5 s; then it is idle at 0.4 % of a core, and a call costs 4 ms.
            Some(("process_cpu_seconds_total", _)) => {
                Some(hundredths(2.5 + 0.004 * life.age.as_secs_f64() + 0.004 * life.calls as f64))
            }
            Some(("process_resident_memory_bytes", _)) => {
                Some(216_010_752.0 + 4096.0 * (model.total_sessions().min(1_000) * 40 + life.calls.min(5_000)) as f64)
            }
            _ => None,
        };
        match (value, line.split_once(' ')) {
            (Some(value), Some((name, _))) => out.extend([name, " ", &number(value), "\n"]),
            _ => out.extend([line, "\n"]),
        }
        out.push_str(&session_samples(line, model));
    }
    out
}

/// The samples below a `# TYPE` line of the session metrics; a counter that never counted has none.
fn session_samples(line: &str, model: &Model) -> String {
    let (started, ended) = (model.total_sessions(), model.finished_sessions());
    let (name, labels, value) = match line {
        "# TYPE session_start_total counter" if started > 0 => {
            ("session_start_total", ",shell_type=\"MahavishnuShell\"", started as f64)
        }
        "# TYPE session_end_total counter" if ended > 0 => ("session_end_total", ",status=\"success\"", ended as f64),
        "# TYPE active_sessions gauge" if started > 0 => ("active_sessions", "", (started - ended) as f64),
        "# TYPE session_quality_score gauge" if started > 0 => ("session_quality_score", "", quality(ended)),
        _ => return String::new(),
    };
    format!("{name}{{component_name=\"{COMPONENT}\"{labels}}} {}\n", number(value))
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// As the Prometheus client of Python writes it.
fn number(value: f64) -> String {
    if value.abs() < 1e6 {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => format!("{mantissa}e+{exponent:0>2}"),
        Some((mantissa, exponent)) => format!("{mantissa}.0e+{exponent:0>2}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_does() {
        assert_eq!(
            [2.56, 12.0, 1_063_272_448.0, 1_795_382_504.46, 0.0].map(number),
            ["2.56", "12.0", "1.063272448e+09", "1.79538250446e+09", "0.0"]
        );
    }

    #[test]
    fn the_tools_are_those_of_the_recorded_list() {
        let list: Value = serde_json::from_str(recorded::TOOLS_LIST).unwrap();
        let names: Vec<_> =
            list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, NAMES);
    }

    #[test]
    fn analytics_fail_where_the_open_session_would_be_returned() {
        let call =
            |given: Value| -> Value { serde_json::from_str(&session_analytics(given.as_object().unwrap())).unwrap() };
        for limit in [json!(25), json!(500), json!(-1), json!("25")] {
            assert_eq!(call(json!({"limit": limit}))["structuredContent"]["error"], "engine_failure", "{limit}");
        }
        let most = call(json!({"limit": 24}));
        assert_eq!(most, recorded::value(recorded::SESSION_ANALYTICS), "what was recorded is replayed");
        let some = call(json!({"limit": 2, "sort_by": "commits"}));
        assert_eq!(some["structuredContent"]["total_analyzed"], 25);
        assert_eq!(some["structuredContent"]["sessions"][0]["commit_count"], 11);
        assert_eq!(some["structuredContent"]["sessions"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn wrong_arguments_are_refused_in_the_servers_words() {
        let wrong = |given: Value| arguments::wrong("get_workflow_metrics", given.as_object().unwrap());
        assert_eq!(wrong(json!({})), None);
        assert_eq!(wrong(json!({"days_back": "7", "project_path": null})), None);
        let told = wrong(json!({"days_back": "abc"})).unwrap();
        assert_eq!(
            told,
            "1 validation error for call[get_workflow_metrics]\ndays_back\n  Input should be a valid integer, unable to parse string as an integer [type=int_parsing, input_value='abc', input_type=str]\n    For further information visit https://errors.pydantic.dev/2.14/v/int_parsing"
        );
        let told = wrong(json!({"nope": 1})).unwrap();
        assert!(
            told.contains(
                "Unexpected keyword argument [type=unexpected_keyword_argument, input_value=1, input_type=int]"
            ),
            "{told}"
        );
    }
}
