//! OTLP over HTTP, in protobuf or JSON.

use std::{error::Error, io::Write, sync::Arc};

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header, uri::Scheme};
use http_body_util::Full;
use hyper::body::Incoming;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    Checkup, ComponentError, Delivered, Diagnosis, EnvironmentDefault, ExportError, Exporter, Factory, Flow,
    OtlpProtocol, Scope, Stability, async_trait, text,
};
use prost::Message;

use crate::{
    MAX_ANSWER_BYTES,
    config::{Compression, Encoding, Headers, OtlpHttpConfig},
    environment,
    failure::Peer,
    lanes::Lanes,
    outcome::{Request, delivered, delivered_json, http_cure, http_retry, unreadable},
    parts::{Failed, Sizes},
    transport::{Bounded, Transport, read_bounded},
};

/// The exporter `otlphttp`, and its factory.
pub struct OtlpHttp {
    lanes: Lanes<Lane>,
}

/// How a signal is delivered.
struct Lane {
    transport: Arc<Transport<Full<Bytes>>>,
    uri: Uri,
    peer: Peer,
    headers: Headers,
    compression: Compression,
    encoding: Encoding,
    sizes: Sizes,
    scope: Scope,
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

    fn environment_defaults() -> Vec<EnvironmentDefault> {
        environment::of_http()
    }

    fn build(config: OtlpHttpConfig, scope: &Scope) -> Result<Box<dyn Exporter>, ComponentError> {
        let of = |signal| {
            let own = config.of(signal);
            Ok(own.target(signal).map_err(fault)?.map(|uri| (signal, own, uri)))
        };
        // Signals to one server share its connections, though each has a path of its own.
        let transports = Lanes::build(
            |signal| Ok(of(signal)?.map(|(_, own, uri)| (own.tls, uri.scheme().cloned()))),
            |(tls, scheme)| {
                let secure = *scheme == Some(Scheme::HTTPS);
                Transport::new(scope, tls, secure, OtlpProtocol::HttpProtobuf, None).map(Arc::new).map_err(fault)
            },
        )?;
        let lanes = Lanes::build(of, |(signal, config, uri)| {
            let transport = transports.of(*signal).map_err(fault)?;
            Lane::build(config, uri.clone(), Arc::clone(transport), scope)
        })?;
        Ok(Box::new(Self { lanes }))
    }

    fn diagnose(config: OtlpHttpConfig, checkup: Checkup) -> Option<Diagnosis> {
        let built = Self::build(config.clone(), checkup.scope());
        let secure = move |signal| {
            config.target(signal).is_ok_and(|uri| uri.is_some_and(|uri| uri.scheme_str() == Some("https")))
        };
        Some(Box::pin(crate::diagnose::exporter(built, secure, checkup)))
    }
}

#[async_trait]
impl Exporter for OtlpHttp {
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError> {
        let lane = self.lanes.of(batch.signal())?;
        lane.sizes.deliver(batch, |request| lane.send(request)).await
    }

    async fn shutdown(&self) -> Result<(), ComponentError> {
        self.lanes.all().for_each(|lane| lane.transport.close());
        Ok(())
    }
}

fn fault(error: impl Error + Send + Sync + 'static) -> ComponentError {
    ComponentError::caused(error.to_string(), error)
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

impl Lane {
    fn build(
        config: &OtlpHttpConfig,
        uri: Uri,
        transport: Arc<Transport<Full<Bytes>>>,
        scope: &Scope,
    ) -> Result<Self, ComponentError> {
        let peer = Peer::new(&uri, OtlpProtocol::HttpProtobuf, transport.ears());
        Ok(Self {
            sizes: Sizes::new(config.encoding, config.max_send_bytes(), peer.name(), scope),
            peer,
            headers: Headers::new(&config.headers, &config.header_files).map_err(fault)?,
            compression: config.compression,
            encoding: config.encoding,
            scope: scope.clone(),
            transport,
            uri,
        })
    }

    async fn send(&self, Request { signal, body }: Request) -> Result<Delivered, Failed> {
        let request = self.request(self.headers.now().await?, &body)?;
        let exchange = self.transport.begin();
        let answer = match exchange.client().request(request).await {
            Ok(response) => Ok(read(response).await),
            Err(error) => Err(self.peer.failed(&error)),
        };
        exchange.over();
        let answer = answer?;
        match answer.status {
            status if status.is_success() => Ok(answer.delivered(signal)),
            StatusCode::PAYLOAD_TOO_LARGE => Err(Failed::TooLarge(self.refused(&answer))),
            _ => Err(Failed::Otherwise(self.refused(&answer))),
        }
    }

    fn request(&self, headers: HeaderMap, body: &Bytes) -> Result<http::Request<Full<Bytes>>, ExportError> {
        let mut request = http::Request::new(Full::default());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
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

    fn refused(&self, answer: &Answer) -> ExportError {
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
            message: format!("{} answered HTTP {status}{said}{cure}", self.peer.name()),
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
