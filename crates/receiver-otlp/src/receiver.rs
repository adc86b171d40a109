use std::time::Duration;

use minicol_pdata::Signal;
use minicol_plugin::{
    ComponentError, Factory, Flow, Next, Receiver, Scope, SharedMemory, Stability, Status, async_trait,
    net::{self, HttpServer, HttpVersions, ServerTls, ServerTlsFiles},
};
use tower::service_fn;

use crate::{
    body::Budget,
    config::OtlpReceiverConfig,
    grpc, http,
    intake::{Intake, Refusals},
};

/// The receiver `otlp`, and its factory.
#[derive(Debug)]
pub struct OtlpReceiver {
    config: OtlpReceiverConfig,
}

/// How long a connection of HTTP/1 may be idle. Senders keep theirs for half a minute to a minute and a half.
const IDLE: Duration = Duration::from_secs(100);

impl Factory for OtlpReceiver {
    type Product = dyn Receiver;
    type Config = OtlpReceiverConfig;
    const TYPE: &'static str = "otlp";
    const DESCRIPTION: &'static str = "takes metrics, logs and traces by OTLP over gRPC and over HTTP";
    const STABILITY: Stability = Stability::Beta;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] =
        &[Flow::from_receiver(Signal::Metrics), Flow::from_receiver(Signal::Logs), Flow::from_receiver(Signal::Traces)];
    const EXAMPLE: &'static str = include_str!("../examples/otlp.yaml");

    fn build(config: OtlpReceiverConfig, _: &Scope) -> Result<Box<dyn Receiver>, ComponentError> {
        Ok(Box::new(Self { config }))
    }
}

#[async_trait]
impl Receiver for OtlpReceiver {
    async fn run(self: Box<Self>, next: Next, scope: Scope) -> Result<(), ComponentError> {
        let budget = Budget::of_mib(self.config.max_in_flight_mib, SharedMemory::of(&scope));
        let intake = |limit, read_timeout, transport| {
            let refusals = Refusals::new(&scope, transport);
            Intake { next: next.clone(), budget: budget.clone(), limit, read_timeout, refusals }
        };
        let (mut serving, mut told) = (Vec::new(), Vec::new());
        // Both are bound before either is served.
        if let Some(config) = &self.config.protocols.grpc {
            let server = listen(&scope, "grpc", &config.endpoint, config.tls.as_ref(), &[b"h2"]).await?;
            let server = server
                .speaks(HttpVersions::Http2)
                .max_streams(config.max_concurrent_streams)
                .ping(config.keepalive.server_parameters.time.0, config.keepalive.server_parameters.timeout.0)
                .max_connections(config.max_connections as usize);
            told.push(format!("grpc on {}", server.local_address()));
            let intake = intake(config.limit(), config.read_timeout.0, "grpc");
            let service = service_fn(move |request| {
                let answer = grpc::answer(request, intake.clone());
                async move { Ok(answer.await) }
            });
            serving.push(futures::future::Either::Left(server.serve(service, scope.stopping_token().clone())));
        }
        if let Some(config) = &self.config.protocols.http {
            let server = listen(&scope, "http", &config.endpoint, config.tls.as_ref(), &[b"h2", b"http/1.1"]).await?;
            let server =
                server.speaks(HttpVersions::Both).head_timeout(IDLE).max_connections(config.max_connections as usize);
            told.push(format!("http on {}", server.local_address()));
            let intake = intake(config.max_request_body_size as usize, config.read_timeout.0, "http");
            let service = service_fn(move |request| http::answer(request, intake.clone()));
            serving.push(futures::future::Either::Right(server.serve(service, scope.stopping_token().clone())));
        }
        scope.report(Status::Ok, format!("serves {}", told.join(", ")));
        scope.ready();
        // Requests that are on their way are answered; what is left at the deadline is dropped with its connection.
        let _ = scope.abandoned_token().run_until_cancelled(futures::future::join_all(serving)).await;
        Ok(())
    }
}

async fn listen(
    scope: &Scope,
    transport: &'static str,
    endpoint: &str,
    tls: Option<&ServerTls>,
    alpn: &'static [&'static [u8]],
) -> Result<HttpServer, ComponentError> {
    let asks_for_certificates = tls.is_some_and(|tls| tls.client_ca_file.is_some());
    let tls = tls.map(|tls| ServerTlsFiles::new(tls.clone(), alpn)).transpose();
    let tls = tls.map_err(|error| ComponentError::caused(error.to_string(), error))?;
    let listener = net::listen(&**scope.network(), endpoint).await?;
    if !asks_for_certificates {
        net::warn_of_exposure(scope, &listener.local_address());
    }
    let whose = [("receiver", scope.id().to_string()), ("transport", transport.to_owned())];
    Ok(HttpServer::new(listener).tls(tls).counted(scope.meter(), whose))
}
