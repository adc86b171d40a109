//! Components that do as their configuration says, and tell what happens to them as notices.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use minicol_host::Registry;
use minicol_pdata::{
    Attributes, Batch, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint, Observation, Observations,
    Signal, Source, Timestamp,
};
use minicol_plugin::{
    ComponentError, Converted, Delivered, Entry, EnvironmentOverrides, ExportError, Exporter, Extension, Factory, Flow,
    Level, Next, OtlpProtocol, Processor, Receiver, Rejected, Scope, Stability, Status, async_trait,
    config::{ComponentConfig, GoDuration, NoConfig, Problems, Secret},
    storage::Storage,
    testing::MemoryStorage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) const REGISTRY: Registry = Registry {
    receivers: &[Entry::of::<Ticker>(), Entry::of::<LogSource>()],
    processors: &[Entry::of::<ToMetrics>(), Entry::of::<Keeper>()],
    exporters: &[Entry::of::<Sink>(), Entry::of::<LogSink>(), Entry::of::<OtlpSink>()],
    extensions: &[Entry::of::<Page>(), Entry::of::<Simulator>(), Entry::of::<Shelf>()],
};

macro_rules! factory {
    ($name:ident: $product:ty, $config:ty, $type:literal, $flows:expr, $build:expr
        $(, $const:ident: $ty:ty = $value:expr)*) => {
        pub(crate) struct $name;
        impl Factory for $name {
            type Product = $product;
            type Config = $config;
            const TYPE: &'static str = $type;
            const DESCRIPTION: &'static str = "for tests";
            const STABILITY: Stability = Stability::Development;
            const VERSION: &'static str = "0";
            const FLOWS: &'static [Flow] = $flows;
            const EXAMPLE: &'static str = "";
            $(const $const: $ty = $value;)*

            fn build(config: $config, scope: &Scope) -> Result<Box<$product>, ComponentError> {
                let build: fn($config, Scope) -> Result<Box<$product>, ComponentError> = $build;
                build(config, scope.clone())
            }
        }
    };
}

factory!(
    Ticker: dyn Receiver, TickerConfig, "ticker", &[Flow::from_receiver(Signal::Observations)],
    |config, _| match config.fails.as_str() {
        "build" => Err(ComponentError::caused("cannot be built", std::io::Error::other("no disk"))),
        _ => Ok(Box::new(TickerReceiver(config))),
    },
    TRANSPORT: Option<&'static str> = Some("http"),
    ENVIRONMENT: Option<EnvironmentOverrides> = Some(EnvironmentOverrides { prefix: "TICKER__", id: "ticker" })
);
factory!(
    LogSource: dyn Receiver, NoConfig, "log_source", &[Flow::from_receiver(Signal::Logs)],
    |_, _| Ok(Box::new(LogSourceReceiver))
);
factory!(
    ToMetrics: dyn Processor, ToMetricsConfig, "to_metrics", &[Flow::through(Signal::Observations, Signal::Metrics)],
    |config, scope| Ok(Box::new(ToMetricsProcessor { fails: config.fails, made: Mutex::default(), scope }))
);
factory!(
    Keeper: dyn Processor, KeeperConfig, "keeper",
    &[
        Flow::through(Signal::Observations, Signal::Observations),
        Flow::through(Signal::Metrics, Signal::Metrics),
    ],
    |config, scope| Ok(Box::new(KeeperProcessor { holds: config.holds, held: Mutex::default(), scope }))
);
factory!(
    Sink: dyn Exporter, SinkConfig, "sink",
    &[Flow::into_exporter(Signal::Observations), Flow::into_exporter(Signal::Metrics)],
    |config, scope| Ok(Box::new(SinkExporter(config, scope))),
    OTLP_PROTOCOL: Option<OtlpProtocol> = Some(OtlpProtocol::Grpc),
    ALIASES: &'static [&'static str] = &["drain"]
);
factory!(
    LogSink: dyn Exporter, NoConfig, "log_sink", &[Flow::into_exporter(Signal::Logs)],
    |_, _| Ok(Box::new(LogSinkExporter)),
    QUEUED: bool = false
);
factory!(
    OtlpSink: dyn Exporter, NoConfig, "otlp_sink",
    &[
        Flow::into_exporter(Signal::Metrics),
        Flow::into_exporter(Signal::Logs),
        Flow::into_exporter(Signal::Traces),
    ],
    |_, _| Ok(Box::new(LogSinkExporter))
);
factory!(Page: dyn Extension, PageConfig, "page", &[], |config, _| Ok(Box::new(PageExtension(config))));
factory!(
    Simulator: dyn Extension, PageConfig, "simulator", &[],
    |config, _| Ok(Box::new(PageExtension(config))),
    SERVES_POLL: bool = true
);

factory!(
    Shelf: dyn Extension, ShelfConfig, "shelf", &[],
    |config, _| Ok(Box::new(ShelfExtension(config))),
    OFFERS_STORAGE: bool = true
);

/// Stores queues.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ShelfConfig {
    /// How long it takes to store a batch.
    takes: GoDuration,
}

impl ComponentConfig for ShelfConfig {}

struct ShelfExtension(ShelfConfig);

#[async_trait]
impl Extension for ShelfExtension {
    fn storage(&self) -> Option<Arc<dyn Storage>> {
        let storage = MemoryStorage::new();
        storage.slow(self.0.takes.0);
        Some(Arc::new(storage))
    }

    async fn run(self: Box<Self>, scope: Scope) -> Result<(), ComponentError> {
        scope.ready();
        scope.stopping().await;
        Ok(())
    }
}

/// Emits one observation per interval.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TickerConfig {
    interval: GoDuration,
    token: Secret,
    /// With `remembers`, how the one before stood holds for it.
    tags: Vec<String>,
    /// One of: "", start, build, run, panic, trouble, pause, fatal, end, busy.
    fails: String,
    never_ready: bool,
    /// Reacts to neither.
    deaf: bool,
    /// Goes on for so long after it was told to stop.
    lingers: GoDuration,
    polls: bool,
}

impl Default for TickerConfig {
    fn default() -> Self {
        Self {
            interval: GoDuration::from_secs(1),
            token: Secret::default(),
            tags: Vec::new(),
            fails: String::new(),
            never_ready: false,
            deaf: false,
            lingers: GoDuration::default(),
            polls: true,
        }
    }
}

impl ComponentConfig for TickerConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.interval.0.is_zero() {
            problems.error("interval", "must be longer than 0s").help("1s is the default");
        }
        if self.tags.iter().any(|tag| tag == "old") {
            problems.warning("tags", "`old` is going to go away");
        }
    }
}

struct TickerReceiver(TickerConfig);

#[async_trait]
impl Receiver for TickerReceiver {
    async fn run(self: Box<Self>, next: Next, scope: Scope) -> Result<(), ComponentError> {
        let config = self.0;
        tell(&scope, "begins");
        if config.fails == "start" {
            return Err(ComponentError::new("the port is taken"));
        }
        if config.never_ready {
            scope.stopping().await;
            return Ok(());
        }
        if config.tags.iter().any(|tag| tag == "remembers") {
            scope.carries_on();
        }
        scope.ready();
        let mut ticks = tokio::time::interval(config.interval.0);
        loop {
            tokio::select! {
                biased;
                () = scope.stopping(), if !config.deaf => break,
                _ = ticks.tick() => {}
            }
            match config.fails.as_str() {
                "run" => return Err(ComponentError::new("the socket broke")),
                "panic" => panic!("index out of range"),
                "trouble" => scope.report(Status::RecoverableError, "nobody listens there"),
                "pause" => scope.report(Status::Paused, ""),
                "fatal" => scope.report(Status::FatalError, "the disk is gone"),
                "end" => return Ok(()),
                "busy" => {
                    next.passed_over(Signal::Observations, 1, "busy");
                    continue;
                }
                _ => {}
            }
            let _ = next.consume(observations(&scope)).await;
        }
        tokio::select! {
            () = tokio::time::sleep(config.lingers.0) => tell(&scope, "ends"),
            () = scope.abandoned() => tell(&scope, "drops what it does"),
        }
        Ok(())
    }

    async fn poll_once(self: Box<Self>, next: Next, scope: Scope) -> Result<bool, ComponentError> {
        match self.0.fails.as_str() {
            "panic" => panic!("index out of range"),
            "run" => return Err(ComponentError::new("the socket broke")),
            _ => {}
        }
        if self.0.polls {
            next.consume(observations(&scope)).await.map_err(|error| ComponentError::caused("refused", error))?;
        }
        Ok(self.0.polls)
    }
}

/// Emits what no test needs: it is there for its signal.
struct LogSourceReceiver;

#[async_trait]
impl Receiver for LogSourceReceiver {
    async fn run(self: Box<Self>, _: Next, scope: Scope) -> Result<(), ComponentError> {
        scope.ready();
        scope.stopping().await;
        Ok(())
    }
}

/// Makes one point of each observation.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ToMetricsConfig {
    /// One of: "", panic, refuse, flush, forget.
    fails: String,
}

impl ComponentConfig for ToMetricsConfig {}

struct ToMetricsProcessor {
    fails: String,
    made: Mutex<Converted>,
    scope: Scope,
}

#[async_trait]
impl Processor for ToMetricsProcessor {
    async fn process(&self, batch: Batch, next: &Next) -> Result<(), Rejected> {
        match self.fails.as_str() {
            "panic" => panic!("attempt to subtract with overflow"),
            "refuse" => return Err(Rejected::permanent("invalid", "not to be mapped")),
            "forget" => return Ok(()),
            _ => {}
        }
        let items = batch.items() as u64;
        let mut builder = MetricsBuilder::new();
        let descriptor = MetricDescriptor {
            name: "value".into(),
            description: "".into(),
            unit: "1".into(),
            kind: MetricKind::Gauge,
        };
        let mut metric = builder.metric(&descriptor);
        let time = self.scope.now().wall;
        for number in 0..i64::try_from(batch.items()).unwrap() {
            let point = NumberPoint { start: Timestamp::UNSET, time, value: Some(Number::Int(number)) };
            metric.number(&Attributes::new(), &point);
        }
        next.consume(builder.build().into()).await?;
        self.made.lock().unwrap().converted += items;
        Ok(())
    }

    fn converted(&self) -> Option<Converted> {
        Some(*self.made.lock().unwrap())
    }

    async fn flush(&self, _: &Next) -> Result<(), Rejected> {
        match self.fails.as_str() {
            "flush" => Err(Rejected::permanent("invalid", "what it held is broken")),
            _ => Ok(()),
        }
    }
}

/// Keeps batches until it is flushed, where told so.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KeeperConfig {
    holds: bool,
}

impl ComponentConfig for KeeperConfig {}

struct KeeperProcessor {
    holds: bool,
    held: Mutex<Vec<Batch>>,
    scope: Scope,
}

#[async_trait]
impl Processor for KeeperProcessor {
    async fn process(&self, batch: Batch, next: &Next) -> Result<(), Rejected> {
        *self.scope.state("seen", || Mutex::new(0)).lock().unwrap() += 1;
        if self.holds {
            self.held.lock().unwrap().push(batch);
            return Ok(());
        }
        next.consume(batch).await
    }

    async fn flush(&self, next: &Next) -> Result<(), Rejected> {
        let seen = *self.scope.state("seen", || Mutex::new(0)).lock().unwrap();
        self.scope.notice(Level::Info, "flushes", format!("after {seen}"));
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        for batch in held {
            next.consume(batch).await?;
        }
        Ok(())
    }
}

/// Tells what it is given.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SinkConfig {
    endpoint: String,
    /// One of: "", never, later, shutdown.
    fails: String,
    /// How long a delivery takes.
    takes: GoDuration,
}

impl ComponentConfig for SinkConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.endpoint.starts_with("gopher") {
            problems.error("endpoint", "gopher is not spoken here");
        }
    }
}

struct SinkExporter(SinkConfig, Scope);

#[async_trait]
impl Exporter for SinkExporter {
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError> {
        tokio::time::sleep(self.0.takes.0).await;
        match self.0.fails.as_str() {
            "never" => Err(ExportError::permanent("protocol", "it does not want this")),
            "later" => Err(ExportError::retryable("unavailable", "nobody listens there")),
            _ => {
                self.1.notice(Level::Info, "exports", format!("{} {}", batch.items(), batch.signal().items()));
                Ok(Delivered::default())
            }
        }
    }

    async fn shutdown(&self) -> Result<(), ComponentError> {
        tell(&self.1, "closes");
        if self.0.fails == "shutdown" { Err(ComponentError::new("the file cannot be closed")) } else { Ok(()) }
    }
}

/// There for its signal.
struct LogSinkExporter;

#[async_trait]
impl Exporter for LogSinkExporter {
    async fn export(&self, _: Batch) -> Result<Delivered, ExportError> {
        Ok(Delivered::default())
    }
}

/// Serves nothing.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PageConfig {
    /// One of: "", start, end, panic.
    fails: String,
    deaf: bool,
    /// For a reload, after a second.
    asks: bool,
}

impl ComponentConfig for PageConfig {}

struct PageExtension(PageConfig);

#[async_trait]
impl Extension for PageExtension {
    async fn run(self: Box<Self>, scope: Scope) -> Result<(), ComponentError> {
        tell(&scope, "begins");
        if self.0.fails == "start" {
            return Err(ComponentError::new("the port is taken"));
        }
        let shown = scope.id().to_string();
        scope.show(move || serde_json::json!({ "page": shown }));
        scope.ready();
        match self.0.fails.as_str() {
            "end" => return Ok(()),
            "panic" => panic!("out of paper"),
            _ => {}
        }
        if self.0.asks {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let reload = scope.host().reload().expect("it can be reloaded").await;
            scope.notice(Level::Info, "was answered", reload.outcome.name());
        }
        if self.0.deaf {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
        scope.stopping().await;
        tell(&scope, "ends");
        Ok(())
    }
}

fn tell(scope: &Scope, what: &'static str) {
    scope.notice(Level::Info, what, "");
}

fn observations(scope: &Scope) -> Batch {
    let source =
        Source { resource: Attributes::new(), receiver: scope.id().to_string(), interval: Duration::from_secs(1) };
    let observation = Observation {
        source: source.into(),
        tool: "tick".into(),
        arguments: None,
        arrival: scope.now(),
        took: Duration::ZERO,
        document: serde_json::json!({ "n": 1 }).into(),
        cut: None,
    };
    Observations::from(vec![observation]).into()
}
