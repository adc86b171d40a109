//! The recordings, as they came: see `fixtures/session-buddy-0.23.0`.

use serde_json::Value;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../fixtures/session-buddy-0.23.0/", $name))
    };
}

pub(super) const INITIALIZE: &str = recording!("initialize.http");
pub(super) const TOOLS_LIST: &str = recording!("tools_list.json");
pub(super) const ACTIVITY_SUMMARY: &str = recording!("get_activity_summary.http");
pub(super) const WORKFLOW_METRICS: &str = recording!("get_workflow_metrics.http");
pub(super) const SESSION_ANALYTICS: &str = recording!("get_session_analytics.http");
pub(super) const SESSION_ANALYTICS_FAILED: &str = recording!("get_session_analytics.open_session.http");
pub(super) const PROMETHEUS_METRICS: &str = recording!("get_prometheus_metrics.http");
pub(super) const READINESS: &str = recording!("get_readiness.http");
pub(super) const HEALTH_CHECK_ALL: &str = recording!("health_check_all.http");
pub(super) const LENGTH_DISTRIBUTION: &str = recording!("get_session_length_distribution.http");
pub(super) const REAL_TIME_METRICS: &str = recording!("get_real_time_metrics.json");

/// The result that a recorded reply holds, in its own bytes; `null` where there is none.
pub(super) fn result(recording: &'static str) -> &'static str {
    recording.split_once("\"result\":").and_then(|(_, rest)| rest.trim_end().strip_suffix('}')).unwrap_or("null")
}

/// The same, to be changed.
pub(super) fn value(recording: &'static str) -> Value {
    serde_json::from_str(result(recording)).unwrap_or_default()
}

/// The document of a recorded result.
pub(super) fn document(recording: &'static str) -> Value {
    value(recording).get_mut("structuredContent").map(Value::take).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recording_holds_a_result() {
        assert_eq!(value(INITIALIZE)["serverInfo"]["version"], "0.23.0");
        for recording in [
            ACTIVITY_SUMMARY,
            WORKFLOW_METRICS,
            SESSION_ANALYTICS,
            SESSION_ANALYTICS_FAILED,
            PROMETHEUS_METRICS,
            READINESS,
            HEALTH_CHECK_ALL,
            LENGTH_DISTRIBUTION,
        ] {
            let result = value(recording);
            assert!(result["content"][0]["text"].is_string() && result["structuredContent"].is_object(), "{recording}");
        }
        assert_eq!(document(SESSION_ANALYTICS)["sessions"].as_array().map(Vec::len), Some(24));
    }
}
