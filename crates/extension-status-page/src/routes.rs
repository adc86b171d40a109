//! What is served where.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    extract::{Query, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response, Sse, sse},
    routing::{get, post},
};
use futures::{Stream, stream};
use minicol_plugin::CancellationToken;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    act,
    live::{Drawing, Watch},
    panel, views,
};

const STYLE: &str = include_str!("../assets/page.css");
const SCRIPT: &str = include_str!("../assets/page.js");
const TAP_SCRIPT: &str = include_str!("../assets/tap.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// No action takes more to ask for.
const MAX_BODY: usize = 16 * 1024;

/// Nothing from elsewhere, nothing inline: a name that a server gave cannot run here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

pub(crate) fn router(watch: Arc<Watch>, tap: Router, stop: CancellationToken) -> Router {
    let api = Router::new()
        .route("/status", part(&watch, |model| model.program))
        .route("/pipelines", part(&watch, |model| model.pipelines))
        .route("/targets", part(&watch, |model| model.targets))
        .route("/extensions", part(&watch, |model| model.extensions))
        .route("/events", part(&watch, |model| model.events))
        .route("/configuration", configuration(&watch))
        .route("/metrics", get(metrics))
        .route("/actions", get(act::offered).post(act::perform))
        .route("/reload", post(act::reload))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::clone(&watch));
    let (page, live) = (Arc::clone(&watch), watch);
    Router::new()
        .route("/", get(move || async move { whole(&page) }))
        .route("/series", get(series).with_state(Arc::clone(&live)))
        .route("/settings", get(settings).with_state(Arc::clone(&live)))
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
) -> axum::routing::MethodRouter<Arc<Watch>> {
    let watch = Arc::clone(watch);
    get(move || async move { Json(json!(of(watch.model()))) })
}

fn configuration(watch: &Arc<Watch>) -> axum::routing::MethodRouter<Arc<Watch>> {
    let watch = Arc::clone(watch);
    get(move || async move { Json(json!(*watch.host().settings())) })
}

/// What is looked for: `?q=words`.
#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

async fn metrics(State(watch): State<Arc<Watch>>, Query(search): Query<Search>) -> Response {
    match watch.series(|store, at| panel::told(store, &search.q, at, watch.now())) {
        Some(told) => Json(told).into_response(),
        None => {
            (StatusCode::NOT_FOUND, "the metrics are not shown: `metrics` of status_page is false\n").into_response()
        }
    }
}

/// The list of series, for the page.
async fn series(State(watch): State<Arc<Watch>>, Query(search): Query<Search>) -> Response {
    match watch.series(|store, at| panel::html(store, &search.q, at)) {
        Some(Ok(html)) => Html(html).into_response(),
        Some(Err(error)) => undrawn(&error),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The running configuration, for the page.
async fn settings(State(watch): State<Arc<Watch>>) -> Response {
    let html = views::settings(&watch.host().settings());
    html.map_or_else(|error| undrawn(&error), |html| Html(html).into_response())
}

fn undrawn(error: &askama::Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("the page cannot be drawn: {error}\n")).into_response()
}

fn asset(media_type: &'static str, text: &'static str) -> axum::routing::MethodRouter {
    get(move || async move { ([(header::CONTENT_TYPE, media_type)], text) })
}

fn whole(watch: &Watch) -> Response {
    let series = watch.series(|store, at| panel::html(store, "", at)).transpose();
    let page = series.and_then(|series| views::page(&watch.model(), &watch.host().settings(), series, watch.acts()));
    page.map_or_else(|error| undrawn(&error), |page| Html(page).into_response())
}

/// What has changed since this browser was last told, as often as the page is drawn.
fn changes(watch: &Watch, stop: CancellationToken) -> Response {
    let told = Told { drawn: watch.subscribe(), seen: 0, series: 0, stop };
    Sse::new(events(told)).keep_alive(sse::KeepAlive::default()).into_response()
}

/// Who looks: the last drawing that they were told of.
struct Told {
    drawn: watch::Receiver<Arc<Drawing>>,
    seen: u64,
    /// The series that they were told of.
    series: u64,
    stop: CancellationToken,
}

fn events(told: Told) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    stream::unfold(told, |mut told| async move {
        loop {
            let drawn = told.stop.run_until_cancelled(told.drawn.changed()).await;
            let Some(Ok(())) = drawn else { return None };
            let drawing = Arc::clone(&told.drawn.borrow_and_update());
            let parts = drawing.parts.iter().filter(|part| part.since > told.seen);
            let changed: Vec<_> =
                parts.map(|part| json!({ "id": part.fragment.id, "html": part.fragment.html })).collect();
            let first = std::mem::replace(&mut told.seen, drawing.number) == 0;
            let newer = std::mem::replace(&mut told.series, drawing.series) != drawing.series;
            if first || newer || !changed.is_empty() {
                let data = json!({
                    "layout": drawing.layout, "now": drawing.now, "series": drawing.series, "changed": changed,
                });
                return Some((Ok(sse::Event::default().data(data.to_string())), told));
            }
        }
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
