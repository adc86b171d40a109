//! OTLP over HTTP, in protobuf or JSON.

use std::{error::Error, io::Write};

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    ComponentError, Delivered, ExportError, Exporter, Factory, Flow, OtlpProtocol, Scope, Stability, async_trait, text,
};
use prost::Message;

use crate::{
    MAX_ANSWER_BYTES,
    config::{Compression, Encoding, Headers, OtlpHttpConfig},
    failure::Peer,
    outcome::{Request, delivered, delivered_json, http_cure, http_retry, unreadable},
    parts::{Failed, Sizes},
    transport::{Bounded, Transport, read_bounded},
};

/// The exporter `otlphttp`, and its factory.
pub struct OtlpHttp {
    transport: Transport<Full<Bytes>>,
    metrics: Option<Target>,
    logs: Option<Target>,
    traces: Option<Target>,
    headers: Headers,
    compression: Compression,
    encoding: Encoding,
    sizes: Sizes,
    scope: Scope,
}

/// Where one signal goes.
struct Target {
    uri: Uri,
    peer: Peer,
}

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Factory for OtlpHttp {
    type Product = dyn Exporter;
    type Config = OtlpHttpConfig;
    const TYPE: &'static str = "otlphttp";
    const ALIASES: &'static [&'static str] = &["otlp_http"];
    const DESCRIPTION: &'static str = "delivers metrics, logs and traces by OTLP over HTTP, in protobuf or JSON";
    const STABILITY: Stability = Stability::Beta;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] =
        &[Flow::into_exporter(Signal::Metrics), Flow::into_exporter(Signal::Logs), Flow::into_exporter(Signal::Traces)];
    const EXAMPLE: &'static str = include_str!("../examples/otlphttp.yaml");
    const OTLP_PROTOCOL: Option<OtlpProtocol> = Some(OtlpProtocol::HttpProtobuf);

    fn build(config: OtlpHttpConfig, scope: &Scope) -> Result<Box<dyn Exporter>, ComponentError> {
        let fault = |error: Box<dyn Error + Send + Sync>| ComponentError::caused(error.to_string(), error);
        let uri = |signal| config.target(signal).map_err(|error| fault(error.into()));
        let (metrics, logs, traces) = (uri(Signal::Metrics)?, uri(Signal::Logs)?, uri(Signal::Traces)?);
        let secure = [&metrics, &logs, &traces].into_iter().flatten().any(|uri| uri.scheme_str() == Some("https"));
        let transport = Transport::new(scope, &config.tls, secure, OtlpProtocol::HttpProtobuf, None)
            .map_err(|error| fault(error.into()))?;
        let target = |uri: Uri| Target { peer: Peer::new(&uri, OtlpProtocol::HttpProtobuf, transport.ears()), uri };
        let (metrics, logs, traces) = (metrics.map(target), logs.map(target), traces.map(target));
        let headers = Headers::new(&config.headers, &config.header_files).map_err(|error| fault(error.into()))?;
        Ok(Box::new(Self {
            transport,
            metrics,
            logs,
            traces,
            headers,
            compression: config.compression,
            encoding: config.encoding,
            sizes: Sizes::new(config.encoding, config.max_send_bytes()),
            scope: scope.clone(),
        }))
    }
}

#[async_trait]
impl Exporter for OtlpHttp {
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError> {
        self.sizes.deliver(batch, |request| self.send(request)).await
    }

    async fn shutdown(&self) -> Result<(), ComponentError> {
        self.transport.close();
        Ok(())
    }
}

/// An answer with as much of its body as is worth reading.
struct Answer {
    status: http::StatusCode,
    headers: HeaderMap,
    body: Bounded,
}

async fn read(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = match read_bounded(body, MAX_ANSWER_BYTES).await {
        Ok(body) => body,
        // The server has said that it took the batch, or that it did not: to lose the rest of its words changes nothing.
        Err(_) => Bounded { bytes: Bytes::new(), cut: true },
    };
    Answer { status: parts.status, headers: parts.headers, body }
}

impl OtlpHttp {
    async fn send(&self, Request { signal, body }: Request) -> Result<Delivered, Failed> {
        let target = self.target(signal)?;
        let request = self.request(target, self.headers.now().await?, &body)?;
        let exchange = self.transport.begin();
        let answer = match exchange.client().request(request).await {
            Ok(response) => Ok(read(response).await),
            Err(error) => Err(target.peer.failed(&error)),
        };
        exchange.over();
        let answer = answer?;
        match answer.status {
            status if status.is_success() => Ok(answer.delivered(signal)),
            StatusCode::PAYLOAD_TOO_LARGE => Err(Failed::TooLarge(self.refused(target, &answer))),
            _ => Err(Failed::Otherwise(self.refused(target, &answer))),
        }
    }

    fn target(&self, signal: Signal) -> Result<&Target, ExportError> {
        let target = match signal {
            Signal::Metrics | Signal::Observations => &self.metrics,
            Signal::Logs => &self.logs,
            Signal::Traces => &self.traces,
        };
        target.as_ref().ok_or_else(|| {
            ExportError::permanent(
                "endpoint",
                format!("there is no endpoint for {signal}: set endpoint or {signal}_endpoint"),
            )
        })
    }

    fn request(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: &Bytes,
    ) -> Result<http::Request<Full<Bytes>>, ExportError> {
        let mut request = http::Request::new(Full::default());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri.clone();
        *request.headers_mut() = headers;
        let kind = match self.encoding {
            Encoding::Proto => PROTOBUF,
            Encoding::Json => JSON,
        };
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        let mut packed = |name, bytes: Vec<u8>| {
            request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
            Full::from(bytes)
        };
        *request.body_mut() = match self.compression {
            Compression::None => body.clone().into(),
            Compression::Gzip => packed("gzip", gzip(body)?),
            Compression::Zstd => {
                packed("zstd", zstd::encode_all(&body[..], 0).map_err(|error| not_compressed(&error))?)
            }
        };
        Ok(request)
    }

    fn refused(&self, target: &Target, answer: &Answer) -> ExportError {
        let status = answer.status;
        let said = answer.said().map(|said| format!(": {}", text::foreign(&said))).unwrap_or_default();
        let cure = if status.is_redirection() {
            let to =
                answer.headers.get(header::LOCATION).map(|to| text::foreign(&String::from_utf8_lossy(to.as_bytes())));
            format!(
                "; redirects are not followed: write the address it leads to ({}) as endpoint",
                to.unwrap_or_default()
            )
        } else {
            http_cure(status).to_owned()
        };
        ExportError {
            retry: http_retry(status, &answer.headers, self.scope.clock().wall()),
            error_type: status.as_str().to_owned(),
            message: format!("{} answered HTTP {status}{said}{cure}", target.peer.name()),
        }
    }
}

impl Answer {
    fn delivered(&self, signal: Signal) -> Delivered {
        match self.kind() {
            _ if self.body.cut => unreadable("it is too long or broke off"),
            _ if self.body.bytes.is_empty() => Delivered::default(),
            Some(kind) if kind == "application/json" => delivered_json(signal, &self.body.bytes),
            Some(kind) if kind != "application/x-protobuf" => unreadable(&format!("its content type is {kind}")),
            _ => delivered(signal, &self.body.bytes),
        }
    }

    /// What the server says of a failure: a `google.rpc.Status` in protobuf (OTLP's way) or JSON, or plain text. A page of HTML says nothing.
    fn said(&self) -> Option<String> {
        let body = &self.body.bytes;
        let said = match self.kind()?.as_str() {
            "application/x-protobuf" => tonic_types::pb::Status::decode(body.clone()).ok()?.message,
            "application/json" => {
                let json: serde_json::Value = serde_json::from_slice(body).ok()?;
                json.get("message").or_else(|| json.get("error"))?.as_str()?.to_owned()
            }
            "text/plain" => String::from_utf8_lossy(body).into_owned(),
            _ => return None,
        };
        (!said.trim().is_empty()).then_some(said)
    }

    /// The content type without parameters.
    fn kind(&self) -> Option<String> {
        let kind = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        Some(kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

fn gzip(body: &Bytes) -> Result<Vec<u8>, ExportError> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Level::default());
    encoder.write_all(body).and_then(|()| encoder.finish()).map_err(|error| not_compressed(&error))
}

fn not_compressed(error: &std::io::Error) -> ExportError {
    ExportError::permanent("compression", format!("the batch cannot be compressed: {error}"))
}

impl std::fmt::Debug for OtlpHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtlpHttp").finish_non_exhaustive()
    }
}
