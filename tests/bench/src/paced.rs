//! minicol's own host and components in this process, but for the ticks: the shortest interval that the receiver allows is a second.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use minicol_config::{Environment as Variables, Request, Style};
use minicol_host::{Host, Plan, Program, Registry};
use minicol_pdata::Signal;
use minicol_plugin::{
    ComponentError, Entry, Environment, Exporter, Extension, Factory, Flow, Next, Processor, Receiver, Scope,
    SeededRandom, Stability, SystemClock, async_trait, net::SystemNetwork,
};
use minicol_receiver_session_buddy::{SessionBuddyConfig, SessionBuddyPoller};

use crate::pace::Pace;

#[derive(Args)]
pub(crate) struct Options {
    /// The pipeline file.
    #[arg(long)]
    config: PathBuf,
    /// Milliseconds from one cycle to the next.
    #[arg(long)]
    every: u64,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let config = options.config.display().to_string();
    let request = Request { configs: vec![config], environment: Variables::default(), ..Request::default() };
    let plan = Plan::load(request, REGISTRY).map_err(|problems| anyhow::anyhow!(problems.render(Style::PLAIN)))?;
    let environment = Environment {
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SeededRandom::from_machine()),
        network: Arc::new(SystemNetwork),
    };
    EVERY.set(options.every).expect("set once");
    let host = Host::new(Program { name: "minicol", version: env!("CARGO_PKG_VERSION") }, environment);
    let running = host.start(&plan).await?;
    running.wait_fatal().await;
    Ok(())
}

const REGISTRY: Registry =
    Registry { receivers: RECEIVERS, processors: PROCESSORS, exporters: EXPORTERS, extensions: EXTENSIONS };
const RECEIVERS: &[Entry<dyn Receiver>] = &[Entry::of::<Paced>()];
const PROCESSORS: &[Entry<dyn Processor>] = &[Entry::of::<minicol_processor::MappingFactory>()];
const EXPORTERS: &[Entry<dyn Exporter>] = &[minicol_exporter_otlp::OTLP];
const EXTENSIONS: &[Entry<dyn Extension>] = &[minicol_extension_health::ENTRY];

/// The configuration has no room for it.
static EVERY: std::sync::OnceLock<u64> = std::sync::OnceLock::new();

/// The receiver `session_buddy` at another pace.
struct Paced(SessionBuddyConfig);

impl Factory for Paced {
    type Product = dyn Receiver;
    type Config = SessionBuddyConfig;
    const TYPE: &'static str = "session_buddy";
    const DESCRIPTION: &'static str = "polls faster than an interval allows";
    const STABILITY: Stability = Stability::Alpha;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[Flow::from_receiver(Signal::Observations)];
    const EXAMPLE: &'static str = "";

    fn build(config: SessionBuddyConfig, _: &Scope) -> Result<Box<dyn Receiver>, ComponentError> {
        Ok(Box::new(Self(config)))
    }
}

#[async_trait]
impl Receiver for Paced {
    async fn run(self: Box<Self>, next: Next, scope: Scope) -> Result<(), ComponentError> {
        let poller = SessionBuddyPoller::new(&self.0, next, scope.clone())?;
        scope.ready();
        let mut ticks = Pace { every: EVERY.get().copied().unwrap_or(1000), targets: 1 }.ticks(0);
        loop {
            ticks.tick().await;
            poller.poll_once().await?;
        }
    }
}
