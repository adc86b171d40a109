//! The floor: what four calls and one export cost without anything around them. A bare JSON-RPC exchange on hyper, and a bare tonic send of
//! the points that minicol would make of the answers, encoded each time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Args;
use futures::future::join_all;
use http::{HeaderValue, Request, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use minicol_bench::contract::TOOLS;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use tonic::{
    Status,
    codec::{Codec, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

use crate::{pace::Pace, world};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pace: Pace,
    #[arg(long)]
    mcp_port: u16,
    #[arg(long)]
    otlp_port: u16,
    /// An export request of minicol's, encoded: the points to send.
    #[arg(long)]
    points: PathBuf,
    /// One call after the other, over one connection, instead of all at once as minicol does.
    #[arg(long)]
    in_turn: bool,
}

type Http = Client<HttpConnector, Full<Bytes>>;

struct Target {
    http: Http,
    url: String,
    session: HeaderValue,
}

#[derive(Deserialize)]
struct Reply {
    id: u64,
    result: CallResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallResult {
    structured_content: Value,
    is_error: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // The same pool as minicol's.
    let http: Http = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(3))
        .build(connector);
    let backend = Endpoint::from_shared(format!("http://127.0.0.1:{}", options.otlp_port))?.connect().await?;
    let points = Arc::new(ExportMetricsServiceRequest::decode(&*std::fs::read(&options.points)?)?);
    let tasks = (0..options.pace.targets).map(|number| {
        let (http, backend, points) = (http.clone(), backend.clone(), Arc::clone(&points));
        let (url, pace, in_turn) = (world::endpoint(number, options.mcp_port), options.pace, options.in_turn);
        tokio::spawn(async move {
            let mut ticks = pace.ticks(number);
            ticks.tick().await;
            let target = Target::initialize(http, url).await;
            loop {
                if in_turn {
                    for (id, tool) in (1..).zip(TOOLS) {
                        target.call(id, tool).await;
                    }
                } else {
                    join_all((1..).zip(TOOLS).map(|(id, tool)| target.call(id, tool))).await;
                }
                send(backend.clone(), Arc::clone(&points)).await;
                ticks.tick().await;
            }
        })
    });
    join_all(tasks).await;
    Ok(())
}

impl Target {
    async fn initialize(http: Http, url: String) -> Self {
        let mut target = Self { http, url, session: HeaderValue::from_static("") };
        let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"floor","version":"1"}}}"#;
        target.session = target.post(hello.to_owned()).await.0.expect("a session");
        target.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned()).await;
        target
    }

    async fn call(&self, id: u64, tool: &str) {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#
        );
        let (_, body) = self.post(body).await;
        let json = if body.starts_with(b"{") {
            &body[..]
        } else {
            let text = std::str::from_utf8(&body).expect("text");
            text.lines().find_map(|line| line.strip_prefix("data:")).expect("an event").as_bytes()
        };
        let reply: Reply = serde_json::from_slice(json).expect("a reply");
        assert!(reply.id == id && !reply.result.is_error && reply.result.structured_content.is_object());
    }

    async fn post(&self, body: String) -> (Option<HeaderValue>, Bytes) {
        let request = Request::post(&self.url)
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::CONTENT_TYPE, "application/json")
            .header("mcp-protocol-version", "2025-11-25")
            .header("mcp-session-id", &self.session)
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let response = self.http.request(request).await.expect("an answer");
        assert!(response.status().is_success(), "{}", response.status());
        let session = response.headers().get("mcp-session-id").cloned();
        (session, response.into_body().collect().await.expect("a body").to_bytes())
    }
}

async fn send(backend: Channel, points: Arc<ExportMetricsServiceRequest>) {
    let mut grpc = tonic::client::Grpc::new(backend);
    grpc.ready().await.expect("a connection");
    let path = PathAndQuery::from_static("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
    grpc.unary(tonic::Request::new(points), path, Shared).await.expect("they are taken");
}

/// Encodes what is shared, without a copy.
#[derive(Clone, Copy)]
struct Shared;

impl Codec for Shared {
    type Encode = Arc<ExportMetricsServiceRequest>;
    type Decode = ExportMetricsServiceResponse;
    type Encoder = Self;
    type Decoder = tonic_prost::ProstDecoder<ExportMetricsServiceResponse>;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self::Decoder::default()
    }
}

impl Encoder for Shared {
    type Item = Arc<ExportMetricsServiceRequest>;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(out).map_err(|error| Status::internal(error.to_string()))
    }
}
