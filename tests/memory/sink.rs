//! A backend that notes which requests arrived, and when. It can go and come back on its port.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    common::v1::any_value::Value,
};
use tokio::{net::TcpListener, runtime::Runtime, time::Instant};
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::server::TcpIncoming};

use crate::load::NUMBER;

/// When each request arrived, once for each time.
pub(crate) type Arrived = Arc<Mutex<HashMap<u64, Vec<Instant>>>>;

/// A backend at work. Dropped, it is gone at once, its connections too.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    pub(crate) arrived: Arrived,
    runtime: Option<Runtime>,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        Self::start_on(([127, 0, 0, 1], 0).into(), Arrived::default()).await
    }

    /// Notes what arrives in `arrived`.
    pub(crate) async fn start_on(address: SocketAddr, arrived: Arrived) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let address = listener.local_addr().expect("an address");
        let listener = listener.into_std().expect("a socket");
        let service = MetricsServiceServer::new(Service(Arc::clone(&arrived)))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(64 << 20);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(TcpIncoming::from(listener)).await.expect("it serves");
        });
        Self { address, arrived, runtime: Some(runtime) }
    }

    /// It is gone, with its connections; what it noted stays.
    pub(crate) fn go(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.go();
    }
}

struct Service(Arrived);

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let now = Instant::now();
        let resources = request.into_inner().resource_metrics;
        let attributes = resources.iter().filter_map(|one| one.resource.as_ref()).flat_map(|one| &one.attributes);
        let mut arrived = self.0.lock().unwrap();
        for attribute in attributes.filter(|attribute| attribute.key == NUMBER) {
            if let Some(Value::IntValue(number)) = attribute.value.as_ref().and_then(|any| any.value.as_ref()) {
                arrived.entry(u64::try_from(*number).unwrap()).or_default().push(now);
            }
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
