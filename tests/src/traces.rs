use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response as HttpResponse},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::{Span as ProtoSpan, span::SpanKind},
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::server::TcpIncoming};

/// One span as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// The trace, in hexadecimal digits.
    pub trace: String,
    /// The span, in hexadecimal digits.
    pub id: String,
    /// The span above it; empty where there is none.
    pub parent: String,
    /// What it says of itself.
    pub attributes: BTreeMap<String, String>,
    /// Where it comes from.
    pub resource: BTreeMap<String, String>,
    /// Why it failed, where it did.
    pub error: Option<String>,
    /// When it began and ended, in nanoseconds.
    pub times: (u64, u64),
}

/// A backend that takes traces, over gRPC, on a port of the loopback.
#[derive(Debug)]
pub struct TraceSink {
    /// `127.0.0.1:PORT`.
    pub grpc: SocketAddr,
    received: Arc<Mutex<Vec<Span>>>,
    stop: CancellationToken,
}

impl TraceSink {
    /// Serves on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let grpc = listener.local_addr().expect("an address");
        let (received, stop) = (Arc::default(), CancellationToken::new());
        let service =
            TraceServiceServer::new(Service(Arc::clone(&received))).accept_compressed(CompressionEncoding::Gzip);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming_shutdown(TcpIncoming::from(listener), stop.clone().cancelled_owned()));
        Self { grpc, received, stop }
    }

    /// Every span so far, in the order of arrival.
    pub fn spans(&self) -> Vec<Span> {
        self.received.lock().unwrap().clone()
    }

    /// The spans of one name so far.
    pub fn named(&self, name: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }

    /// The spans below `parent`, in the order in which they began.
    pub fn below(&self, parent: &Span) -> Vec<Span> {
        let below = |span: &Span| span.trace == parent.trace && span.parent == parent.id;
        let mut spans: Vec<_> = self.spans().into_iter().filter(below).collect();
        spans.sort_by_key(|span| span.times);
        spans
    }
}

impl Drop for TraceSink {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Service(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource_spans in request.into_inner().resource_spans {
            let resource = text(resource_spans.resource.unwrap_or_default().attributes);
            let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| read(span, &resource)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(span: ProtoSpan, resource: &BTreeMap<String, String>) -> Span {
    let status = span.status.clone().unwrap_or_default();
    Span {
        kind: span.kind(),
        trace: digits(&span.trace_id),
        id: digits(&span.span_id),
        parent: digits(&span.parent_span_id),
        attributes: text(span.attributes),
        resource: resource.clone(),
        error: (status.code == 2).then_some(status.message),
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
        name: span.name,
    }
}

fn digits(id: &[u8]) -> String {
    id.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn text(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let value = |any: Option<AnyValue>| match any.and_then(|any| any.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

/// Stands before an MCP server, and notes what it is asked.
#[derive(Debug)]
pub struct Tap {
    /// Where it serves.
    pub endpoint: String,
    asked: Arc<Mutex<Vec<Value>>>,
    stop: CancellationToken,
}

struct Behind {
    url: String,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Tap {
    /// Before the server at `url`.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let (asked, stop) = (Arc::default(), CancellationToken::new());
        let client = Client::builder(TokioExecutor::new()).build_http();
        let behind = Arc::new(Behind { url: url.to_owned(), client, asked: Arc::clone(&asked) });
        let router = Router::new().fallback(pass_on).with_state(behind);
        let until = stop.clone();
        tokio::spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(until.cancelled_owned()).await.expect("it serves");
        });
        Self { endpoint, asked, stop }
    }

    /// The messages that it was sent, in the order of arrival.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn pass_on(
    State(behind): State<Arc<Behind>>,
    method: Method,
    _: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> HttpResponse {
    if let Ok(message) = serde_json::from_slice(&body) {
        behind.asked.lock().unwrap().push(message);
    }
    let mut request = hyper::Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = behind.url.parse().expect("a URL");
    *request.headers_mut() = headers;
    request.headers_mut().remove(header::HOST);
    match behind.client.request(request).await {
        Ok(response) => response.map(|body| axum::body::Body::new(body.map_err(axum::Error::new))).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
