//! What is served where.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response, Sse, sse},
    routing::get,
};
use futures::{Stream, stream};
use minicol_plugin::CancellationToken;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use crate::{live::Watch, views, views::Fragment};

const STYLE: &str = include_str!("../assets/page.css");
const SCRIPT: &str = include_str!("../assets/page.js");
const TAP_SCRIPT: &str = include_str!("../assets/tap.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// Nothing from elsewhere, nothing inline: a name that a server gave cannot run here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

pub(crate) fn router(watch: Arc<Watch>, tap: Router, stop: CancellationToken) -> Router {
    let api = Router::new()
        .route("/status", part(&watch, |model| model.program))
        .route("/pipelines", part(&watch, |model| model.pipelines))
        .route("/targets", part(&watch, |model| model.targets))
        .route("/extensions", part(&watch, |model| model.extensions))
        .route("/events", part(&watch, |model| model.events));
    let (page, live) = (Arc::clone(&watch), watch);
    Router::new()
        .route("/", get(move || async move { whole(&page) }))
        .route("/live", get(move || async move { changes(&live, stop) }))
        .route("/page.css", asset("text/css; charset=utf-8", STYLE))
        .route("/page.js", asset("text/javascript; charset=utf-8", SCRIPT))
        .route("/icon.svg", asset("image/svg+xml", ICON))
        .route("/tap.js", asset("text/javascript; charset=utf-8", TAP_SCRIPT))
        .nest("/api/v1", api)
        .merge(tap)
        .layer(middleware::from_fn(guarded))
}

fn part<T: Serialize + 'static>(
    watch: &Arc<Watch>,
    of: impl Fn(crate::model::Model) -> T + Clone + Send + Sync + 'static,
) -> axum::routing::MethodRouter {
    let watch = Arc::clone(watch);
    get(move || async move { Json(json!(of(watch.model()))) })
}

fn asset(media_type: &'static str, text: &'static str) -> axum::routing::MethodRouter {
    get(move || async move { ([(header::CONTENT_TYPE, media_type)], text) })
}

fn whole(watch: &Watch) -> Response {
    match views::page(&watch.model()) {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the page cannot be drawn: {error}\n")).into_response()
        }
    }
}

/// What has changed since this browser was last told, as often as the page is drawn.
fn changes(watch: &Watch, stop: CancellationToken) -> Response {
    let told = Told { drawn: watch.subscribe(), known: HashMap::new(), stop };
    Sse::new(events(told)).keep_alive(sse::KeepAlive::default()).into_response()
}

struct Told {
    drawn: watch::Receiver<Arc<[Fragment]>>,
    known: HashMap<String, String>,
    stop: CancellationToken,
}

fn events(told: Told) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    stream::unfold(told, |mut told| async move {
        let drawn = told.stop.run_until_cancelled(told.drawn.changed()).await;
        let Some(Ok(())) = drawn else { return None };
        let fragments = Arc::clone(&told.drawn.borrow_and_update());
        let changed: Vec<_> = fragments
            .iter()
            .filter(|fragment| told.known.get(&fragment.id) != Some(&fragment.html))
            .map(|fragment| json!({ "id": fragment.id, "html": fragment.html }))
            .collect();
        let ids: Vec<_> = fragments.iter().map(|fragment| &fragment.id).collect();
        let event = sse::Event::default().data(json!({ "parts": ids, "changed": changed }).to_string());
        told.known = fragments.iter().map(|fragment| (fragment.id.clone(), fragment.html.clone())).collect();
        Some((Ok(event), told))
    })
}

async fn guarded(request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
