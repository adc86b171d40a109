use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use minicol_pdata::{Attributes, Metrics, Resource, Timestamp};
use minicol_plugin::{
    CancellationToken, Clock, ComponentError, Environment, Exporter, Random, net::exposure, trace::Tracer,
};
use opentelemetry::metrics::{Meter, MeterProvider, noop::NoopMeterProvider};
use opentelemetry_sdk::metrics::{SdkMeterProvider, data::ResourceMetrics, reader::MetricReader};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::{
    MetricsConfig, MetricsLevel, OtlpPush, Periodic, PrometheusPage, Pull, PullExporter, PushExporter, Reader,
    ResourceValue, TelemetryConfig,
    far_end::FarEnd,
    page, process,
    provider::{SharedReader, provider},
    push::Push,
    serve::serve,
    snapshot::{Times, to_metrics},
    traces::{self, Sender, Traces},
};

/// Who tells.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// `service.name`, unless the configuration names another.
    pub name: &'static str,
    /// `service.version`.
    pub version: &'static str,
}

/// The program's own metrics and traces: gathered from the moment this is made, served and sent from [`Telemetry::start`] on.
pub struct Telemetry {
    config: MetricsConfig,
    environment: Environment,
    source: Arc<Source>,
    traces: Traces,
    deadline: watch::Sender<Option<Instant>>,
    stop: CancellationToken,
    pages: Vec<(String, JoinHandle<()>)>,
    pushes: Vec<JoinHandle<Result<(), String>>>,
}

/// Telemetry that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The port that the user wrote cannot be had.
    #[error(
        "the metrics page cannot listen on {address}; another program may hold the port: choose another in \
         service.telemetry.metrics.readers"
    )]
    Page {
        /// Where it should listen.
        address: String,
        /// Why it cannot.
        #[source]
        source: std::io::Error,
    },
    /// The exporter of the program's own metrics or traces could not be built.
    #[error("own telemetry cannot be sent to {endpoint}")]
    Push {
        /// Where they should go.
        endpoint: String,
        /// Why not.
        #[source]
        source: ComponentError,
    },
}

/// Where metrics are read from.
struct Source {
    reader: SharedReader,
    provider: Option<SdkMeterProvider>,
    resource: Resource,
    clock: Arc<dyn Clock>,
    start: Timestamp,
    left_out: OnceLock<LeftOut>,
}

/// Says of a series, by its attributes, that it is not told any more.
pub(crate) type LeftOut = Box<dyn Fn(&dyn Fn(&str) -> Option<String>) -> bool + Send + Sync>;

/// Pushes keep the deadline themselves and tell what they could not do; this is for one that does not.
const GRACE: Duration = Duration::from_millis(100);

impl Telemetry {
    /// Gathers from now on, with room for the series of so many `components`; binds and sends nothing yet.
    pub fn new(config: &TelemetryConfig, program: Program, components: usize, environment: &Environment) -> Self {
        let reader = SharedReader::default();
        let level = config.metrics.level;
        let clock = Arc::clone(&environment.clock);
        let source = Source {
            provider: (level != MetricsLevel::None).then(|| provider(level, components, reader.clone())),
            reader,
            resource: resource(config, program, environment.random.as_ref()),
            start: clock.wall(),
            clock,
            left_out: OnceLock::new(),
        };
        let meter = source.meter();
        let telemetry = Self {
            config: config.metrics.clone(),
            environment: environment.clone(),
            traces: Traces::new(&config.traces, &meter, environment),
            source: Arc::new(source),
            deadline: watch::channel(None).0,
            stop: CancellationToken::new(),
            pages: Vec::new(),
            pushes: Vec::new(),
        };
        process::measure(&meter, Arc::clone(&environment.clock));
        telemetry
    }

    /// What instruments come from; every component's are made from the same one. At level `none` it measures nothing.
    pub fn meter(&self) -> Meter {
        self.source.meter()
    }

    /// What spans come from; every component's are made by the same one. Where no traces are sent it makes none.
    pub fn tracer(&self) -> &Tracer {
        &self.traces.tracer
    }

    /// Leaves series out for which `what` says so, given how an attribute reads: those of what is gone. They go on where they were once it no
    /// longer does. Called once.
    pub fn leave_out(&self, what: impl Fn(&dyn Fn(&str) -> Option<String>) -> bool + Send + Sync + 'static) {
        // The first one stays.
        let _ = self.source.left_out.set(Box::new(what));
    }

    /// What backends know this process by.
    pub fn resource(&self) -> &Resource {
        &self.source.resource
    }

    /// The metrics as they are now.
    pub fn snapshot(&self) -> Metrics {
        self.source.snapshot()
    }

    /// The Prometheus page as it is now.
    pub fn page(&self) -> String {
        self.source.page()
    }

    /// Where the pages listen, as `address:port`.
    pub fn pages(&self) -> impl Iterator<Item = &str> {
        self.pages.iter().map(|(address, _)| address.as_str())
    }

    /// Binds every page and begins to send metrics and traces. `build` makes an exporter of what is configured. After an error, whatever was bound is
    /// let go of when this is dropped or shut down.
    pub async fn start<B>(&mut self, mut build: B) -> Result<(), TelemetryError>
    where
        B: FnMut(&OtlpPush) -> Result<Arc<dyn Exporter>, ComponentError>,
    {
        for (batch, waiting) in std::mem::take(&mut self.traces.waiting) {
            let to = far_end("own traces", "spans", &batch.exporter, &mut build)?;
            let resource = traces::resource_of(self.resource());
            let sender = Sender::new(to, batch, resource, waiting);
            self.pushes.push(tokio::spawn(sender.run(self.deadline.subscribe())));
        }
        let readers = if self.source.provider.is_some() { self.config.readers.clone() } else { Vec::new() };
        for reader in readers {
            match reader {
                Reader::Pull(Pull { exporter: PullExporter::Prometheus(page) }) => self.open_page(&page).await?,
                Reader::Periodic(periodic) => self.begin_push(&periodic, &mut build)?,
            }
        }
        Ok(())
    }

    /// Sends everything once more, then lets go of pages and exporters, all before `deadline`. What did not work is told in words.
    pub async fn shutdown(mut self, deadline: Instant) -> Vec<String> {
        let mut errors = Vec::new();
        self.deadline.send_replace(Some(deadline));
        for mut push in std::mem::take(&mut self.pushes) {
            match timeout_at(deadline + GRACE, &mut push).await {
                Ok(Ok(result)) => errors.extend(result.err()),
                Ok(Err(_)) => errors.push("sending own telemetry broke off".to_owned()),
                Err(_) => {
                    push.abort();
                    errors.push("own telemetry was not sent before the deadline".to_owned());
                }
            }
        }
        self.stop.cancel();
        for (_, mut page) in std::mem::take(&mut self.pages) {
            if timeout_at(deadline, &mut page).await.is_err() {
                page.abort();
            }
        }
        errors
    }

    async fn open_page(&mut self, config: &PrometheusPage) -> Result<(), TelemetryError> {
        let address = config.address();
        let listener = match self.environment.network.listen(&address).await {
            Ok(listener) => listener,
            Err(error) if config.may_be_missing(error.kind()) => {
                warn!(%address, %error, "no metrics page: the default port cannot be had; set service.telemetry.metrics.readers");
                return Ok(());
            }
            Err(source) => return Err(TelemetryError::Page { address, source }),
        };
        let local = listener.local_address();
        let source = Arc::clone(&self.source);
        let (meter, stop) = (self.meter(), self.stop.clone());
        let task = tokio::spawn(async move { serve(listener, Arc::new(move || source.page()), &meter, stop).await });
        info!(url = %format_args!("http://{local}/metrics"), "metrics page");
        if let Some(exposure) = exposure(&local) {
            warn!(address = %local, "the metrics page {exposure}");
        }
        self.pages.push((local, task));
        Ok(())
    }

    fn begin_push<B>(&mut self, periodic: &Periodic, build: &mut B) -> Result<(), TelemetryError>
    where
        B: FnMut(&OtlpPush) -> Result<Arc<dyn Exporter>, ComponentError>,
    {
        let to = far_end("own metrics", "points", &periodic.exporter, build)?;
        let source = Arc::clone(&self.source);
        let push = Push { to, interval: periodic.interval.0, take: Arc::new(move || source.snapshot()) };
        self.pushes.push(tokio::spawn(push.run(self.deadline.subscribe())));
        Ok(())
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        for (_, page) in &self.pages {
            page.abort();
        }
        for push in &self.pushes {
            push.abort();
        }
    }
}

fn far_end<B>(
    what: &'static str,
    items: &'static str,
    exporter: &PushExporter,
    build: &mut B,
) -> Result<FarEnd, TelemetryError>
where
    B: FnMut(&OtlpPush) -> Result<Arc<dyn Exporter>, ComponentError>,
{
    let PushExporter::Otlp(push) = exporter;
    let exporter =
        build(push).map_err(|source| TelemetryError::Push { endpoint: push.shown_endpoint().to_owned(), source })?;
    Ok(FarEnd::new(what, items, push, exporter))
}

impl Source {
    fn meter(&self) -> Meter {
        match &self.provider {
            Some(provider) => provider.meter("minicol"),
            None => NoopMeterProvider::new().meter("minicol"),
        }
    }

    fn snapshot(&self) -> Metrics {
        let mut collected = ResourceMetrics::default();
        if self.provider.is_none() || self.reader.collect(&mut collected).is_err() {
            return Metrics::default();
        }
        // A wall clock that was set back must not end a total before it began.
        let times = Times { start: self.start, now: self.clock.wall().max(self.start) };
        to_metrics(&collected, &self.resource, times, self.left_out.get())
    }

    fn page(&self) -> String {
        page::render(&self.snapshot(), &self.resource)
    }
}

fn resource(config: &TelemetryConfig, program: Program, random: &dyn Random) -> Resource {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random.next_u64().to_be_bytes());
    id[8..].copy_from_slice(&random.next_u64().to_be_bytes());
    let id = uuid::Builder::from_random_bytes(id).into_uuid();
    let mut resource = Attributes::new()
        .with("service.name", program.name)
        .with("service.version", program.version)
        .with("service.instance.id", id.to_string());
    for (name, value) in &config.resource {
        match value {
            None => drop(resource.remove(name)),
            Some(ResourceValue::Bool(value)) => drop(resource.insert(name.as_str(), *value)),
            Some(ResourceValue::Int(value)) => drop(resource.insert(name.as_str(), *value)),
            Some(ResourceValue::Double(value)) => drop(resource.insert(name.as_str(), *value)),
            Some(ResourceValue::String(value)) => drop(resource.insert(name.as_str(), value.as_str())),
        }
    }
    resource
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("config", &self.config)
            .field("pages", &self.pages().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
