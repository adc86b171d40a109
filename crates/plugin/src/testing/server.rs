//! A server that answers as a test wants it to, on the network inside the process.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use super::{Harness, lock};
use crate::net::HttpServer;

/// What a [`TestServer`] answers to each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    /// How long it takes to answer, on the test's clock.
    pub after: Duration,
}

/// An HTTP server on the harness's network. Dropped, it is gone: connections break, and nobody listens any more.
pub struct TestServer {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    task: JoinHandle<()>,
}

impl Answer {
    /// 200 with this body, at once.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::of(200, body)
    }

    /// This status with this body, at once.
    pub fn of(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), after: Duration::ZERO }
    }

    /// The same, but so much later.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }
}

impl Harness {
    /// A server on `host:port` that gives every request this answer.
    ///
    /// # Panics
    /// Where somebody listens there already.
    #[allow(clippy::expect_used)] // a test's own mistake
    pub async fn serve(&self, address: &str, answer: Answer) -> TestServer {
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(Mutex::new(Vec::new())));
        let listener = self.network.listen(address).await.expect("the address is free");
        let (answers, log) = (Arc::clone(&answer), Arc::clone(&asked));
        let service = service_fn(move |request: Request<Incoming>| {
            let asked = format!("{} {}", request.method(), request.uri());
            lock(&log).push((asked, request.headers().clone()));
            let answer = lock(&answers).clone();
            async move {
                tokio::time::sleep(answer.after).await;
                let mut response = Response::new(Full::new(answer.body));
                *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status");
                Ok::<_, Infallible>(response)
            }
        });
        // It is broken off, never told to stop.
        let task = tokio::spawn(HttpServer::new(listener).serve(service, CancellationToken::new()));
        TestServer { answer, asked, task }
    }
}

impl TestServer {
    /// What it answers from now on.
    pub fn answer(&self, answer: Answer) {
        *lock(&self.answer) = answer;
    }

    /// What it was asked, oldest first: `GET /path`.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).iter().map(|(asked, _)| asked.clone()).collect()
    }

    /// What a header was in each request, oldest first; empty where there was none.
    pub fn sent(&self, header: &str) -> Vec<String> {
        let text = |headers: &HeaderMap| headers.get(header).map_or_else(String::new, |value| format!("{value:?}"));
        lock(&self.asked).iter().map(|(_, headers)| text(headers).trim_matches('"').to_owned()).collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
