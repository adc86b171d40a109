//! What passes an arrow, as a stream of lines, each a JSON document: `GET /api/v1/tap`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::stream;
use minicol_pdata::Batch;
use minicol_plugin::{
    CancellationToken, Clock, ComponentKind, EdgeName, EdgeSnapshot, HostView, Scope, Seen, Tap,
    print::{Verbosity, render},
};
use opentelemetry::{KeyValue, metrics::Counter};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// How many may look at once.
const MAX_TAPS: usize = 4;
/// How many batches a second are shown, where nothing else is asked for, and at most.
const RATE: f64 = 2.0;
const MAX_RATE: f64 = 20.0;
/// How many items of one batch are shown at most, and how many bytes.
const MAX_ITEMS: usize = 500;
const MAX_BYTES: usize = 256 * 1024;
/// How often what was left out is told, and that nothing passes.
const TELL_SKIPPED: Duration = Duration::from_secs(1);
const ALIVE: Duration = Duration::from_secs(15);

/// Who may look, and how many do.
pub(crate) struct Taps {
    host: Arc<dyn HostView>,
    clock: Arc<dyn Clock>,
    allowed: bool,
    slots: Arc<Semaphore>,
    refused: Refused,
    stop: CancellationToken,
}

/// Counts those for whom there was no room.
struct Refused {
    counter: Counter<u64>,
    whose: [KeyValue; 1],
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    edge: Option<String>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    verbosity: Shown,
    rate: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shown {
    #[default]
    Normal,
    Detailed,
}

/// Somebody looks.
struct Look {
    taps: Arc<Taps>,
    tap: Tap,
    format: Format,
    verbosity: Verbosity,
    /// The time between two batches that are shown.
    every: Duration,
    next: Instant,
    /// Items that were not shown since that was told.
    skipped: u64,
    told: Instant,
    over: bool,
    _slot: OwnedSemaphorePermit,
}

impl Taps {
    pub(crate) fn new(scope: &Scope, allowed: bool) -> Arc<Self> {
        Arc::new(Self {
            host: Arc::clone(scope.host()),
            clock: Arc::clone(scope.clock()),
            allowed,
            slots: Arc::new(Semaphore::new(MAX_TAPS)),
            refused: Refused::new(scope),
            stop: scope.stopping_token().clone(),
        })
    }

    fn refusal(status: StatusCode, error: impl Into<String>) -> Response {
        (status, Json(json!({ "error": error.into() }))).into_response()
    }

    /// The arrow that is meant.
    fn edge(&self, called: &str) -> Result<EdgeName, Box<Response>> {
        let edges = self.host.edges();
        let mut meant = edges.iter().filter(|edge| edge.is_called(called));
        match (meant.next(), meant.next()) {
            (Some(edge), None) => Ok(edge.clone()),
            (Some(edge), Some(other)) => {
                let told = |edge: &EdgeName| format!("`{}:{}`", edge.pipeline, edge.label());
                let error =
                    format!("several arrows are called so: say which, such as {} or {}", told(edge), told(other));
                Err(Self::refusal(StatusCode::CONFLICT, error).into())
            }
            (None, _) => {
                let known: Vec<String> = edges.iter().map(|edge| format!("`{}`", edge.label())).collect();
                let error = format!("there is no such arrow; there are: {}", known.join(", "));
                Err(Self::refusal(StatusCode::NOT_FOUND, error).into())
            }
        }
    }
}

impl Refused {
    fn new(scope: &Scope) -> Self {
        let counter = scope.meter().u64_counter("minicol_status_page_refused_taps");
        let counter =
            counter.with_description("Number of looks at what passes that were refused, because too many look");
        let refused = Self {
            counter: counter.with_unit("{request}").build(),
            whose: [KeyValue::new("extension", scope.id().to_string())],
        };
        refused.count(0);
        refused
    }

    fn count(&self, requests: u64) {
        self.counter.add(requests, &self.whose);
    }
}

/// `/api/v1/tap`.
pub(crate) fn router(taps: Arc<Taps>) -> Router {
    Router::new().route("/api/v1/tap", get(answer)).with_state(taps)
}

async fn answer(State(taps): State<Arc<Taps>>, Query(wanted): Query<Wanted>) -> Response {
    if !taps.allowed {
        let error =
            "looking at telemetry is off: set `tap: true` in status_page; whoever reaches the page sees it then";
        return Taps::refusal(StatusCode::FORBIDDEN, error);
    }
    let Some(called) = &wanted.edge else {
        return Json(json!(in_order(&taps.host.snapshot().books.edges, &taps.host.edges()))).into_response();
    };
    let rate = wanted.rate.unwrap_or(RATE);
    if !(rate > 0.0 && rate <= MAX_RATE) {
        return Taps::refusal(
            StatusCode::BAD_REQUEST,
            format!("rate must be above 0 and at most {MAX_RATE}, batches a second"),
        );
    }
    let edge = match taps.edge(called) {
        Ok(edge) => edge,
        Err(refusal) => return *refusal,
    };
    let Ok(slot) = Arc::clone(&taps.slots).try_acquire_owned() else {
        taps.refused.count(1);
        return Taps::refusal(StatusCode::TOO_MANY_REQUESTS, format!("{MAX_TAPS} look already: end one of them first"));
    };
    let Some(tap) = taps.host.tap(&edge) else {
        return Taps::refusal(StatusCode::NOT_FOUND, "the arrow is gone");
    };
    let verbosity = match wanted.verbosity {
        Shown::Normal => Verbosity::Normal,
        Shown::Detailed => Verbosity::Detailed,
    };
    let now = Instant::now();
    let every = Duration::from_secs_f64(1.0 / rate);
    let look = Look {
        taps,
        tap,
        format: wanted.format,
        verbosity,
        every,
        next: now,
        skipped: 0,
        told: now,
        over: false,
        _slot: slot,
    };
    let lines = stream::unfold(look, |mut look| async move {
        let line = look.line().await?;
        Some((Ok::<_, Infallible>(Bytes::from(line)), look))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// Those of the arrows that are there now, from the receivers on, pipeline by pipeline.
fn in_order(edges: &[EdgeSnapshot], there: &[EdgeName]) -> Vec<EdgeName> {
    let before = |edge: &EdgeSnapshot| {
        let (mut steps, mut at) = (0, &edge.from);
        let into = |at: &str| {
            let of_it =
                edges.iter().filter(|one| one.pipeline == edge.pipeline && one.to_kind == ComponentKind::Processor);
            of_it.into_iter().find(|one| one.to == *at && one.from != *at)
        };
        // A chain is no longer than its arrows, whatever these say.
        while steps < edges.len()
            && let Some(into) = into(at)
        {
            (steps, at) = (steps + 1, &into.from);
        }
        steps
    };
    let there = edges.iter().filter(|edge| there.contains(&edge.edge()));
    let mut ordered: Vec<(String, usize, EdgeName)> =
        there.map(|edge| (edge.pipeline.clone(), before(edge), edge.edge())).collect();
    ordered.sort_by(|(pipeline, steps, _), (other, more, _)| (pipeline, steps).cmp(&(other, more)));
    ordered.into_iter().map(|(.., edge)| edge).collect()
}

impl Look {
    /// The next line; `None` where there is no more.
    async fn line(&mut self) -> Option<String> {
        if self.over {
            return None;
        }
        let quiet_until = Instant::now() + ALIVE;
        loop {
            let skipped_until = if self.skipped > 0 { self.told + TELL_SKIPPED } else { quiet_until };
            tokio::select! {
                biased;
                () = self.taps.stop.cancelled() => return Some(self.end("minicol stops")),
                () = sleep_until(skipped_until.min(quiet_until)) => {
                    return Some(match self.take_skipped() {
                        // An empty line keeps whoever listens from giving up.
                        0 => "\n".to_owned(),
                        skipped => line(&json!({ "skipped": skipped })),
                    });
                }
                seen = self.tap.next() => {
                    self.skipped += self.tap.take_missed();
                    let Some(seen) = seen else { return Some(self.end("the arrow is gone: a reload took it away")) };
                    let now = Instant::now();
                    if now < self.next {
                        self.skipped += seen.batch.items() as u64;
                        continue;
                    }
                    self.next = now + self.every;
                    return Some(self.shown(seen));
                }
            }
        }
    }

    fn end(&mut self, why: &str) -> String {
        self.over = true;
        line(&json!({ "end": why, "skipped": self.take_skipped() }))
    }

    fn take_skipped(&mut self) -> u64 {
        self.told = Instant::now();
        std::mem::take(&mut self.skipped)
    }

    fn shown(&mut self, seen: Seen) -> String {
        let Seen { batch, outcome } = seen;
        let items = batch.items();
        let mut told = json!({
            "at": self.taps.clock.wall().as_seconds(),
            "signal": batch.signal(),
            "items": items,
            "outcome": outcome.err().unwrap_or("taken"),
        });
        let first = if items > MAX_ITEMS { batch.split_at(MAX_ITEMS).0 } else { batch };
        let (name, shown, kept) = self.within_bounds(&first);
        self.skipped += (items - kept) as u64;
        told[name] = shown;
        told["skipped"] = self.take_skipped().into();
        line(&told)
    }

    /// As many of the first items as there is room for: under which key, what, and how many these are.
    fn within_bounds(&self, batch: &Batch) -> (&'static str, Value, usize) {
        let Some(mut batch) = self.taps.host.redactor().batch(batch) else {
            return ("text", "what passed cannot be shown without a secret in it\n".into(), 0);
        };
        loop {
            let items = batch.items();
            let (name, shown) = match self.format {
                Format::Text => ("text", render(&batch, self.verbosity).into()),
                Format::Json => ("batch", document(&batch)),
            };
            if shown.to_string().len() <= MAX_BYTES {
                return (name, shown, items);
            }
            if items < 2 {
                return ("text", format!("what passed is larger than {MAX_BYTES} bytes\n").into(), 0);
            }
            batch = batch.split_at(items / 2).0;
        }
    }
}

/// A batch as OTLP/JSON; observations as their documents.
fn document(batch: &Batch) -> Value {
    let request = |json: Bytes| serde_json::from_slice(&json).unwrap_or_default();
    match batch {
        Batch::Metrics(metrics) => request(metrics.to_json()),
        Batch::Logs(logs) => request(logs.to_json()),
        Batch::Traces(traces) => request(traces.to_json()),
        Batch::Observations(observations) => {
            let one = |one: &minicol_pdata::Observation| {
                json!({
                    "receiver": one.source.receiver,
                    "tool": one.tool,
                    "arguments": one.arguments,
                    "arrived": one.arrival.wall.as_seconds(),
                    "took_seconds": one.took.as_secs_f64(),
                    "document": *one.document,
                })
            };
            json!({ "observations": observations.iter().map(one).collect::<Vec<_>>() })
        }
    }
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

#[cfg(test)]
mod tests;
