//! A poll over connections inside the process: a server that keeps the contract, the receiver's own poller, the mapping, and nothing behind it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use minicol_pdata::Batch;
use minicol_plugin::{ComponentKind, Consumer, Next, Processor, Rejected, async_trait, testing::Harness};
use minicol_receiver_session_buddy::{SessionBuddyConfig, SessionBuddyPoller};
use serde_json::{Value, json};

use crate::{contract, mapper};

/// One target, ready to be polled.
pub struct World {
    poller: SessionBuddyPoller,
    served: Arc<AtomicUsize>,
}

struct Mapped(Box<dyn Processor>, Next);

#[async_trait]
impl Consumer for Mapped {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.0.process(batch, &self.1).await
    }
}

impl World {
    /// Starts the server.
    pub async fn start() -> Self {
        let harness = Harness::default();
        let served = Arc::new(AtomicUsize::new(0));
        let mut listener = harness.network.listen("buddy:80").await.expect("an address");
        let documents = Arc::new(contract::documents(1).remove(0).map(|document| contract::result(&document)));
        let count = Arc::clone(&served);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (documents, count) = (Arc::clone(&documents), Arc::clone(&count));
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&documents), Arc::clone(&count), request));
                    let serving = hyper::server::conn::http1::Builder::new();
                    let _ = serving.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let config: SessionBuddyConfig = serde_json::from_value(json!({
            "endpoint": "http://buddy/mcp",
            "metrics_to_collect": contract::TOOLS,
        }))
        .expect("a configuration");
        let mapping = Mapped(mapper::processor(&harness), mapper::nowhere());
        let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
        let poller = SessionBuddyPoller::new(&config, Next::new(mapping), scope).expect("a poller");
        Self { poller, served }
    }

    /// One cycle, mapped.
    pub async fn cycle(&self) {
        let report = self.poller.poll_once().await.expect("a cycle");
        assert_eq!((report.up, report.tools.len()), (Some(1), 4));
    }

    /// How many calls were answered.
    pub fn served(&self) -> usize {
        self.served.load(Relaxed)
    }
}

async fn answer(
    documents: Arc<[Value; 4]>,
    count: Arc<AtomicUsize>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bench", "version": "1"},
        }),
        Some("tools/list") => contract::list(),
        Some("tools/call") => {
            count.fetch_add(1, Relaxed);
            let tool = contract::TOOLS.iter().position(|tool| message["params"]["name"] == *tool);
            documents[tool.expect("one of the tools")].clone()
        }
        Some("server/discover") => return Ok(status(StatusCode::BAD_REQUEST)),
        _ => return Ok(status(StatusCode::ACCEPTED)),
    };
    let reply = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
    let mut response = Response::new(Full::new(Bytes::from(format!("event: message\r\ndata: {reply}\r\n\r\n"))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert("mcp-session-id", HeaderValue::from_static("one"));
    Ok(response)
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
