//! What who looks may do: reload, and what components offer.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use minicol_plugin::{ActionError, ComponentId, ComponentKind, Level};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::live::Watch;

/// A page of another origin cannot send it without asking the browser, and the browser asks this server, which allows nothing.
const REQUESTED_BY: &str = "x-requested-by";

/// An action that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    kind: ComponentKind,
    id: ComponentId,
    name: String,
    #[serde(default)]
    subject: Option<String>,
}

/// `GET /api/v1/actions`: what can be asked for now.
pub(crate) async fn offered(State(watch): State<Arc<Watch>>) -> Response {
    let offers = if watch.acts() { watch.host().actions() } else { Vec::new() };
    Json(json!({ "enabled": watch.acts(), "actions": offers })).into_response()
}

/// `POST /api/v1/actions`.
pub(crate) async fn perform(State(watch): State<Arc<Watch>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refusal) = refusal(&watch, &headers) {
        return refusal;
    }
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => {
            let what = format!(
                "the body is no action: {error}; it takes kind, id, name and, where it is offered with one, subject"
            );
            return told(StatusCode::BAD_REQUEST, "refused", what);
        }
    };
    // It goes on where the browser goes away.
    match watch.host().perform(asked.kind, &asked.id, &asked.name, asked.subject.as_deref()).await {
        Ok(message) => told(StatusCode::OK, "done", message),
        Err(error) => {
            let status = match error {
                ActionError::NotOffered => StatusCode::NOT_FOUND,
                ActionError::Busy => StatusCode::CONFLICT,
                ActionError::Failed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            };
            told(status, "failed", error.to_string())
        }
    }
}

/// `POST /api/v1/reload`.
pub(crate) async fn reload(State(watch): State<Arc<Watch>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = refusal(&watch, &headers) {
        return refusal;
    }
    let Some(reloading) = watch.host().reload() else {
        return told(StatusCode::NOT_FOUND, "failed", "this program cannot reload");
    };
    let reload = reloading.await;
    let status = if reload.outcome.is_success() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let (message, succeeded) = (reload.in_words(), reload.outcome.is_success());
    let (outcome, level, event) =
        if succeeded { ("done", Level::Info, "action_done") } else { ("failed", Level::Warn, "action_failed") };
    // Who looked asked for it: as with what is asked of components, that is told beside what came of it.
    watch.tell(level, event, format!("reload: {message}"));
    (status, Json(json!({ "outcome": outcome, "message": message, "reload": reload }))).into_response()
}

/// Why nothing is done, where that is so.
fn refusal(watch: &Watch, headers: &HeaderMap) -> Option<Response> {
    if !watch.acts() {
        let cure = "actions are off: set `actions: true` in the configuration of status_page";
        return Some(told(StatusCode::FORBIDDEN, "refused", cure));
    }
    let own = headers.get(REQUESTED_BY).is_some_and(|value| !value.is_empty());
    // What a form of another page can send is not this.
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|media| {
        media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
    });
    let elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    (!own || !json || elsewhere).then(|| {
        let cure = "send it with the headers `X-Requested-By` (any value) and `Content-Type: application/json`, and not from another page";
        told(StatusCode::FORBIDDEN, "refused", cure)
    })
}

fn told(status: StatusCode, outcome: &'static str, message: impl Into<Value>) -> Response {
    (status, Json(json!({ "outcome": outcome, "message": message.into() }))).into_response()
}
