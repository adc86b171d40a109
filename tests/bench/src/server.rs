//! The far ends: MCP servers with a session each, and an OTLP backend. They answer as fast as they can, from what was made before.

use std::{
    collections::HashMap,
    convert::Infallible,
    io::{BufRead, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use clap::Args;
use futures::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use minicol_bench::contract;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    metrics_service_server::{MetricsService, MetricsServiceServer},
};
use prost::Message;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

use crate::world;

/// Cycles until the answers come again.
const CYCLES: usize = 512;

#[derive(Args)]
pub(crate) struct Options {
    /// How many MCP servers.
    #[arg(long)]
    targets: u32,
    /// Plain JSON replies instead of event streams.
    #[arg(long)]
    json: bool,
}

struct Server {
    json: bool,
    /// The results, as JSON, by cycle and tool.
    results: Vec<HashMap<&'static str, String>>,
    list: String,
    sessions: Mutex<HashMap<String, usize>>,
    calls: AtomicU64,
    exports: AtomicU64,
    points: AtomicU64,
    latest: Mutex<Vec<u8>>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    method: &'a str,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    params: Params,
}

#[derive(Default, Deserialize)]
struct Params {
    #[serde(default)]
    name: String,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let results = contract::documents(CYCLES).into_iter().map(|documents| {
        let result = |(tool, document)| (tool, contract::result(document).to_string());
        contract::TOOLS.into_iter().zip(&documents).map(result).collect()
    });
    let server = Arc::new(Server {
        json: options.json,
        results: results.collect(),
        list: contract::list().to_string(),
        sessions: Mutex::default(),
        calls: AtomicU64::new(0),
        exports: AtomicU64::new(0),
        points: AtomicU64::new(0),
        latest: Mutex::default(),
    });
    let mut port = 0;
    for target in 0..options.targets {
        let listener = TcpListener::bind(SocketAddr::from((world::address(target), port))).await?;
        port = listener.local_addr()?.port();
        tokio::spawn(accept(listener, Arc::clone(&server)));
    }
    let otlp = TcpListener::bind("127.0.0.1:0").await?;
    println!("{port} {}", otlp.local_addr()?.port());
    let backend = MetricsServiceServer::new(Backend(Arc::clone(&server)));
    tokio::spawn(tonic::transport::Server::builder().add_service(backend).serve_with_incoming(TcpIncoming::from(otlp)));
    tokio::task::spawn_blocking(move || obey(&server)).await?
}

/// One line for each line.
fn obey(server: &Server) -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        if let Some(("save", path)) = line?.split_once(' ') {
            std::fs::write(path, &*server.latest.lock().unwrap())?;
            println!("saved");
        } else {
            let [calls, exports, points] =
                [&server.calls, &server.exports, &server.points].map(|count| count.load(Relaxed));
            println!("{calls} {exports} {points} {}", server.sessions.lock().unwrap().len());
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&server), request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(server: Arc<Server>, request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let session = request.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    if request.method() != Method::POST {
        return Ok(empty(StatusCode::OK));
    }
    let body = request.into_body().collect().await?.to_bytes();
    let Ok(Asked { method, id, params }) = serde_json::from_slice(&body) else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    let Some(id) = id else { return Ok(empty(StatusCode::ACCEPTED)) };
    let mut sessions = server.sessions.lock().unwrap();
    if method == "initialize" {
        let session = format!("bench-{}", sessions.len());
        let result = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bench", "version": "1"},
        });
        sessions.insert(session.clone(), 0);
        let mut answer = server.reply(id, &result.to_string());
        answer.headers_mut().extend(HeaderValue::from_str(&session).ok().map(|id| (SESSION, id)));
        return Ok(answer);
    }
    // What asks without a session is told that this server needs one.
    let Some(calls) = session.and_then(|session| sessions.get_mut(&session)) else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    Ok(match method {
        "tools/list" => server.reply(id, &server.list),
        "tools/call" => {
            let cycle = &server.results[*calls / contract::TOOLS.len() % CYCLES];
            let Some(result) = cycle.get(params.name.as_str()) else { return Ok(empty(StatusCode::BAD_REQUEST)) };
            *calls += 1;
            server.calls.fetch_add(1, Relaxed);
            server.reply(id, result)
        }
        _ => empty(StatusCode::BAD_REQUEST),
    })
}

const SESSION: http::HeaderName = http::HeaderName::from_static("mcp-session-id");

impl Server {
    fn reply(&self, id: &RawValue, result: &str) -> Answer {
        let message = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}", id.get());
        let (kind, body) = if self.json {
            ("application/json", Full::new(message.into()).boxed_unsync())
        } else {
            // A stream, as Session-Buddy writes it: one event, with CRLF, then the end.
            let event = Bytes::from(format!("event: message\r\ndata: {message}\r\n\r\n"));
            ("text/event-stream", StreamBody::new(stream::iter([Ok(Frame::data(event))])).boxed_unsync())
        };
        let mut answer = Response::new(body);
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        answer
    }
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default().boxed_unsync());
    *answer.status_mut() = status;
    answer
}

struct Backend(Arc<Server>);

#[tonic::async_trait]
impl MetricsService for Backend {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let encoded = request.into_inner().encode_to_vec();
        let points = minicol_pdata::Metrics::decode(encoded.clone().into())
            .map_or(0, |metrics| minicol_pdata::Metrics::items(&metrics));
        self.0.exports.fetch_add(1, Relaxed);
        self.0.points.fetch_add(points as u64, Relaxed);
        *self.0.latest.lock().unwrap() = encoded;
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}
