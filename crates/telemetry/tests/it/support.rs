//! A telemetry with everything around it in memory.

use std::sync::{Arc, Mutex};

use minicol_plugin::{ComponentError, Exporter, testing::Harness};
use minicol_telemetry::{OtlpPush, Program, Telemetry, TelemetryConfig, TelemetryError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing_subscriber::fmt::MakeWriter;

pub(crate) const PROGRAM: Program = Program { name: "minicol", version: "9.9.9" };

pub(crate) fn telemetry(harness: &Harness, config: serde_json::Value) -> Telemetry {
    telemetry_of(harness, config, 4)
}

/// The telemetry of a program with so many components.
pub(crate) fn telemetry_of(harness: &Harness, config: serde_json::Value, components: usize) -> Telemetry {
    let config: TelemetryConfig = serde_json::from_value(config).unwrap();
    Telemetry::new(&config, PROGRAM, components, &harness.environment())
}

/// Starts it where no exporter is wanted.
pub(crate) async fn start(telemetry: &mut Telemetry) -> Result<(), TelemetryError> {
    telemetry.start(|_| Err(ComponentError::new("no exporter here"))).await
}

/// Builds the same exporter for everybody.
pub(crate) fn always(
    exporter: &Arc<impl Exporter + 'static>,
) -> impl FnMut(&OtlpPush) -> Result<Arc<dyn Exporter>, ComponentError> {
    let exporter = Arc::clone(exporter) as Arc<dyn Exporter>;
    move |_| Ok(Arc::clone(&exporter))
}

/// What a server answers to a raw request, until it closes the connection.
pub(crate) async fn ask(harness: &Harness, host: &str, port: u16, request: &str) -> String {
    let mut connection = harness.network.connect(host, port).await.unwrap();
    let mut answer = String::new();
    // The server may have heard enough before all is said.
    let _ = connection.write_all(request.as_bytes()).await;
    let _ = connection.read_to_string(&mut answer).await;
    answer
}

/// Keeps what is written to it.
#[derive(Clone, Default)]
pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Paper {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
