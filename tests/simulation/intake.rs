//! Programs that send logs and traces to minicol, and remember what became of each request.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use minicol_plugin::net::Network;
use minicol_tests::Chance;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// Where minicol takes logs and traces in.
pub(crate) const INTAKE: (&str, u16) = ("intake", 4318);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// One request of a sender.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Since the simulation began.
    pub(crate) at: Duration,
    /// Its items, by name.
    pub(crate) items: Vec<String>,
    /// Whether the sender was told that they are taken.
    pub(crate) taken: bool,
}

/// All senders, and what they were told.
pub(crate) struct Senders {
    told: Arc<Mutex<Vec<Told>>>,
    enough: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Senders {
    /// They begin at once.
    pub(crate) fn start(network: &Arc<dyn Network>, seed: u64, count: usize) -> Self {
        let senders = Self { told: Arc::default(), enough: CancellationToken::new(), tasks: Mutex::default() };
        let began = Instant::now();
        let tasks = (0..count).map(|nth| {
            let (network, told, enough) = (Arc::clone(network), Arc::clone(&senders.told), senders.enough.clone());
            tokio::spawn(async move {
                let chance = Chance::of(seed, "sender", nth as u64);
                for request in 0.. {
                    let pause = chance.millis(300, 4_000);
                    if timeout(pause, enough.cancelled()).await.is_ok() {
                        return;
                    }
                    let items: Vec<_> = (0..=chance.below(4)).map(|item| format!("{nth}-{request}-{item}")).collect();
                    let (path, body) = request_of(&chance, &items);
                    let at = began.elapsed();
                    let status = timeout(PATIENCE, post(&*network, INTAKE, path, body)).await.ok().flatten();
                    lock(&told).push(Told { at, items, taken: status == Some(200) });
                }
            })
        });
        *lock(&senders.tasks) = tasks.collect();
        senders
    }

    /// They send what they have begun, and no more.
    pub(crate) async fn stop(&self) {
        self.enough.cancel();
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            task.await.expect("a sender does not panic");
        }
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        lock(&self.told).clone()
    }
}

/// Logs or traces, of a few bytes or of many.
fn request_of(chance: &Chance, items: &[String]) -> (&'static str, Bytes) {
    let padding = "x".repeat(chance.pick(&[10, 1_000, 8_000]));
    let value = any_value::Value::StringValue(padding);
    let attributes = vec![KeyValue {
        key: "padding".to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }];
    if chance.share(0.5) {
        let record = |item: &String| LogRecord {
            body: Some(AnyValue { value: Some(any_value::Value::StringValue(item.clone())) }),
            attributes: attributes.clone(),
            ..LogRecord::default()
        };
        let scope = ScopeLogs { log_records: items.iter().map(record).collect(), ..ScopeLogs::default() };
        let resource_logs = vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }];
        return ("/v1/logs", ExportLogsServiceRequest { resource_logs }.encode_to_vec().into());
    }
    let span = |item: &String| Span {
        name: item.clone(),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        attributes: attributes.clone(),
        ..Span::default()
    };
    let scope = ScopeSpans { spans: items.iter().map(span).collect(), ..ScopeSpans::default() };
    let resource_spans = vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }];
    ("/v1/traces", ExportTraceServiceRequest { resource_spans }.encode_to_vec().into())
}

/// One request over a connection of its own; the status, where there is an answer.
pub(crate) async fn post(network: &dyn Network, to: (&str, u16), path: &str, body: Bytes) -> Option<u16> {
    let stream = network.connect(to.0, to.1).await.ok()?;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = hyper::Request::post(path).header("host", to.0).header("content-type", "application/x-protobuf");
    let request = request.body(Full::new(body)).expect("a request");
    let answered = async move {
        let response = client.send_request(request).await;
        response.ok().map(|response| response.status().as_u16())
    };
    tokio::select! {
        biased;
        status = answered => status,
        _ = connection => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
