use std::sync::Arc;

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use minicol_plugin::{HostView, Phase, Snapshot};
use serde_json::json;

/// Where every component's status stands.
pub(crate) const STATUS: &str = "/status";

pub(crate) fn router(path: &str, host: Arc<dyn HostView>) -> Router {
    let for_status = Arc::clone(&host);
    Router::new()
        .route(path, get(move || async move { health(&host.snapshot()) }))
        .route(STATUS, get(move || async move { status(&for_status.snapshot()) }))
}

/// The collector's own page: users' probes know its fields.
fn health(snapshot: &Snapshot) -> Response {
    if snapshot.phase == Phase::Running {
        let uptime = snapshot.now.since(snapshot.up_since).as_secs();
        let since = rfc3339(snapshot.up_since.as_nanos());
        let body = json!({ "status": "Server available", "upSince": since, "uptime": go_duration(uptime) });
        (StatusCode::OK, Json(body)).into_response()
    } else {
        let body = json!({ "status": "Server not available", "upSince": "0001-01-01T00:00:00Z", "uptime": "" });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

/// For a person: always 200, the truth is in the body.
fn status(snapshot: &Snapshot) -> Response {
    Json(snapshot).into_response()
}

fn rfc3339(nanos: u64) -> String {
    Timestamp::from_nanosecond(i128::from(nanos)).map(|at| at.to_string()).unwrap_or_default()
}

/// Whole seconds as Go prints a duration: `1h2m3s`.
fn go_duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}
