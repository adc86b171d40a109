//! OTLP over gRPC.

mod channel;
mod codec;

use std::{error::Error, sync::Arc};

use http::{Uri, uri::PathAndQuery};
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    Checkup, Clock, ComponentError, Delivered, Diagnosis, EnvironmentDefault, ExportError, Exporter, Factory, Flow,
    OtlpProtocol, Scope, Stability, async_trait, text,
};
use tonic::{Code, Status, body::Body, client::Grpc, codec::CompressionEncoding};
use tonic_types::StatusExt;

use crate::{
    MAX_ANSWER_BYTES,
    config::{Compression, Encoding, Headers, OtlpGrpcConfig},
    environment,
    failure::Peer,
    lanes::Lanes,
    outcome::{Request, delivered, grpc_cure, grpc_name, grpc_retry, grpc_too_large, unreadable},
    parts::{Failed, Sizes},
    transport::Transport,
};
use channel::{Channel, Verdict};
use codec::Encoded;

/// The exporter `otlp`, and its factory.
pub struct OtlpGrpc {
    lanes: Lanes<Lane>,
}

/// How a signal is delivered.
struct Lane {
    transport: Transport<Body>,
    origin: Uri,
    peer: Arc<Peer>,
    clock: Arc<dyn Clock>,
    headers: Headers,
    sizes: Sizes,
    compression: Compression,
}

impl Factory for OtlpGrpc {
    type Product = dyn Exporter;
    type Config = OtlpGrpcConfig;
    const TYPE: &'static str = "otlp";
    const ALIASES: &'static [&'static str] = &["otlp_grpc"];
    const DESCRIPTION: &'static str = "delivers metrics, logs and traces by OTLP over gRPC";
    const STABILITY: Stability = Stability::Beta;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] =
        &[Flow::into_exporter(Signal::Metrics), Flow::into_exporter(Signal::Logs), Flow::into_exporter(Signal::Traces)];
    const EXAMPLE: &'static str = include_str!("../examples/otlp.yaml");
    const OTLP_PROTOCOL: Option<OtlpProtocol> = Some(OtlpProtocol::Grpc);

    fn environment_defaults() -> Vec<EnvironmentDefault> {
        environment::of_grpc()
    }

    fn build(config: OtlpGrpcConfig, scope: &Scope) -> Result<Box<dyn Exporter>, ComponentError> {
        let of = |signal| Ok(Some(config.of(signal)).filter(|own| !own.endpoint.is_empty()));
        Ok(Box::new(Self { lanes: Lanes::build(of, |config| Lane::build(config, scope))? }))
    }

    fn diagnose(config: OtlpGrpcConfig, checkup: Checkup) -> Option<Diagnosis> {
        let built = Self::build(config.clone(), checkup.scope());
        let secure = move |signal| config.of(signal).target().is_ok_and(|uri| uri.scheme_str() == Some("https"));
        Some(Box::pin(crate::diagnose::exporter(built, secure, checkup)))
    }
}

#[async_trait]
impl Exporter for OtlpGrpc {
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError> {
        let lane = self.lanes.of(batch.signal())?;
        lane.sizes.deliver(batch, |request| lane.send(request)).await
    }

    async fn shutdown(&self) -> Result<(), ComponentError> {
        self.lanes.all().for_each(|lane| lane.transport.close());
        Ok(())
    }
}

impl Lane {
    fn build(config: &OtlpGrpcConfig, scope: &Scope) -> Result<Self, ComponentError> {
        let fault = |error: Box<dyn Error + Send + Sync>| ComponentError::caused(error.to_string(), error);
        let origin = config.target().map_err(|error| fault(error.into()))?;
        let headers = Headers::new(&config.headers, &config.header_files).map_err(|error| fault(error.into()))?;
        let secure = origin.scheme_str() == Some("https");
        let transport = Transport::new(scope, &config.tls, secure, OtlpProtocol::Grpc, config.keepalive)
            .map_err(|error| fault(error.into()))?;
        let peer = Peer::new(&origin, OtlpProtocol::Grpc, transport.ears());
        Ok(Self {
            sizes: Sizes::new(Encoding::Proto, config.max_send_bytes(), peer.name(), scope),
            peer: Arc::new(peer),
            clock: Arc::clone(scope.clock()),
            origin,
            headers,
            compression: config.compression,
            transport,
        })
    }

    async fn send(&self, request: Request) -> Result<Delivered, Failed> {
        let headers = Arc::new(self.headers.now().await?);
        let exchange = self.transport.begin();
        let channel = Channel::new(exchange.client().clone(), headers, Arc::clone(&self.peer), Arc::clone(&self.clock));
        let verdict = channel.verdict();
        // A Go server answers compressed where the request was, asked for or not.
        let mut grpc = Grpc::with_origin(channel, self.origin.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
            .accept_compressed(CompressionEncoding::Gzip);
        match self.compression {
            Compression::None => {}
            Compression::Gzip => grpc = grpc.send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => {
                grpc = grpc.send_compressed(CompressionEncoding::Zstd).accept_compressed(CompressionEncoding::Zstd);
            }
        }
        grpc.ready().await?;
        let answer = grpc.unary(tonic::Request::new(request.body), path(request.signal), Encoded).await;
        exchange.over();
        match answer {
            Ok(answer) => Ok(delivered(request.signal, answer.get_ref())),
            Err(status) => self.failed(&status, &verdict).map_err(|error| {
                let at_once = status.get_details_retry_info().is_none() && verdict.given().is_some();
                if verdict.is_too_large_a_body() || at_once && grpc_too_large(status.code(), status.message()) {
                    Failed::TooLarge(error)
                } else {
                    Failed::Otherwise(error)
                }
            }),
        }
    }

    /// What a status means: a failure of our own that tonic wrapped, the server's verdict, or an answer that tonic could not read.
    fn failed(&self, status: &Status, verdict: &Verdict) -> Result<Delivered, ExportError> {
        if let Some(failure) = verdict.http() {
            return Err(failure.clone());
        }
        if let Some(failure) = status.source().and_then(|source| source.downcast_ref::<ExportError>()) {
            return Err(failure.clone());
        }
        match (verdict.given(), status.code()) {
            // Another attempt would deliver twice.
            (Some(0), _) => Ok(unreadable(status.message())),
            (Some(_), _) => Err(self.refused(status)),
            (None, Code::Unknown | Code::Internal) => Err(ExportError::retryable(
                "connection_lost",
                format!("the answer of {} broke off: {}", self.peer.name(), text::foreign(status.message())),
            )),
            // Too long, or compressed in a way that nobody asked for: the next one would be the same.
            (None, _) => Err(ExportError::permanent(
                "protocol",
                format!("the answer of {} cannot be read: {}", self.peer.name(), text::foreign(status.message())),
            )),
        }
    }

    /// The server did not take the batch.
    fn refused(&self, status: &Status) -> ExportError {
        let (code, name) = (status.code(), grpc_name(status.code()));
        let asked = status.get_details_retry_info().map(|info| info.retry_delay.unwrap_or_default());
        let said = match status.message() {
            "" => String::new(),
            message => format!(": {}", text::foreign(message)),
        };
        ExportError {
            retry: grpc_retry(code, asked),
            error_type: name.to_owned(),
            message: format!("{} answered {name}{said}{}", self.peer.name(), grpc_cure(code)),
        }
    }
}

fn path(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics | Signal::Observations => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    })
}

impl std::fmt::Debug for OtlpGrpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let peers: Vec<&str> = self.lanes.all().map(|lane| lane.peer.name()).collect();
        f.debug_struct("OtlpGrpc").field("peers", &peers).finish_non_exhaustive()
    }
}
