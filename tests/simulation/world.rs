//! One simulation: servers, minicol and backends on one thread, under a clock that nobody waits for.

use std::{cell::RefCell, sync::Arc, time::Duration};

use minicol_host::{Host, Plan, Program, Registry, ShutdownReport};
use minicol_pdata::Timestamp;
use minicol_plugin::{
    ComponentError, Entry, Environment, Event, Exporter, Extension, Factory, Flow, HostView, Processor, Receiver,
    Scope, SeededRandom, SimulatedClock, Stability, async_trait,
    net::{FaultyNetwork, MemoryNetwork, Network},
};
use minicol_tests::{FaultyBackend, Received};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    buddy::Buddy,
    scenario::{Run, Scenario},
};

/// What a simulation left to be judged.
pub(crate) struct Story {
    pub(crate) runs: Vec<RunStory>,
    /// What each backend took.
    pub(crate) received: Vec<Vec<Received>>,
    /// How often the network struck at the way to each backend.
    pub(crate) struck: Vec<u64>,
    pub(crate) buddies: Vec<Arc<Buddy>>,
    /// Requests that servers and backends saw after minicol had ended.
    pub(crate) after_the_end: u64,
    /// Tasks that were left when everything had ended.
    pub(crate) tasks_left: usize,
    pub(crate) start: Timestamp,
}

/// How one life of minicol went.
pub(crate) struct RunStory {
    /// None where the shutdown was broken off.
    pub(crate) report: Option<ShutdownReport>,
    /// What did not hold in the books at some moment of it.
    pub(crate) unbalanced: Vec<String>,
    pub(crate) events: Vec<Event>,
}

pub(crate) const START: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);
/// The books are looked at so often.
const LOOK: Duration = Duration::from_millis(1_300);
pub(crate) const PROGRAM: Program = Program { name: "minicol", version: "0" };
pub(crate) const REGISTRY: Registry = Registry {
    receivers: &[
        Entry::<dyn Receiver>::of::<minicol_receiver_session_buddy::SessionBuddyFactory>(),
        minicol_receiver_otlp::ENTRY,
    ],
    processors: &[Entry::<dyn Processor>::of::<minicol_processor::MappingFactory>()],
    exporters: EXPORTERS,
    extensions: &[Entry::<dyn Extension>::of::<Spy>()],
};
const EXPORTERS: &[Entry<dyn Exporter>] = &[minicol_exporter_otlp::OTLP, minicol_exporter_otlp::OTLP_HTTP];

pub(crate) async fn live(scenario: &Scenario) -> Story {
    let memory: Arc<dyn Network> = Arc::new(MemoryNetwork::new());
    let faulty = FaultyNetwork::new(Arc::clone(&memory), scenario.seed);
    let clock = Arc::new(SimulatedClock::starting_at(START));
    let environment = Environment {
        clock: clock.clone(),
        random: Arc::new(SeededRandom::from_seed(scenario.seed)),
        network: Arc::new(faulty.clone()),
    };
    let mut timeline = Vec::new();
    let mut buddies = Vec::new();
    for plan in &scenario.targets {
        faulty.set(&plan.address, plan.network.clone());
        let buddy = Arc::new(Buddy::start(&environment, plan, scenario.seed).await);
        for (from, until) in &plan.deaths {
            let (dies, lives) = (Arc::clone(&buddy), Arc::clone(&buddy));
            timeline.push(tokio::spawn(dies_and_lives(*from, *until, move || dies.kill(), async move {
                lives.start_again().await;
            })));
        }
        buddies.push(buddy);
    }
    let mut backends = Vec::new();
    for plan in &scenario.exporters {
        faulty.set(&plan.address, plan.network.clone());
        let seed = scenario.seed ^ plan.address.len() as u64;
        let backend = Arc::new(FaultyBackend::start(&*memory, &plan.address, seed, plan.trouble).await);
        for (from, until) in &plan.deaths {
            let (dies, lives, network) = (Arc::clone(&backend), Arc::clone(&backend), Arc::clone(&memory));
            timeline.push(tokio::spawn(dies_and_lives(*from, *until, move || dies.kill(), async move {
                lives.start_again(&*network).await;
            })));
        }
        backends.push(backend);
    }
    for (at, by) in scenario.steps.clone() {
        let clock = clock.clone();
        timeline.push(tokio::spawn(async move {
            sleep(at).await;
            clock.step(by);
        }));
    }
    let plan = plan(scenario);
    let mut runs = Vec::new();
    for run in &scenario.runs {
        runs.push(one_run(&plan, &environment, *run).await);
        sleep(Duration::from_secs(1)).await;
    }
    drop(plan);
    timeline.iter().for_each(tokio::task::JoinHandle::abort);
    // What still came in on the way is past; from now on nobody may ask anything.
    sleep(Duration::from_secs(10)).await;
    let requests = || {
        buddies.iter().map(|buddy| buddy.requests()).sum::<u64>()
            + backends.iter().map(|backend| backend.arrivals().len() as u64).sum::<u64>()
    };
    let before = requests();
    sleep(Duration::from_secs(300)).await;
    let after_the_end = requests() - before;
    for buddy in &buddies {
        buddy.end();
    }
    for backend in &backends {
        backend.kill();
    }
    // By then the machine has given up what fell silent.
    sleep(Duration::from_secs(1_000)).await;
    Story {
        runs,
        received: backends.iter().map(|backend| backend.received()).collect(),
        struck: scenario.exporters.iter().map(|plan| faulty.struck(&plan.address)).collect(),
        buddies,
        after_the_end,
        tasks_left: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        start: START,
    }
}

fn plan(scenario: &Scenario) -> Plan {
    let request = minicol_config::Request {
        configs: vec![format!("yaml:{}", scenario.configuration())],
        environment: minicol_config::Environment::default(),
        ..minicol_config::Request::default()
    };
    Plan::load(request, REGISTRY).unwrap_or_else(|problems| panic!("{problems}"))
}

async fn dies_and_lives(from: Duration, until: Duration, die: impl FnOnce(), live: impl Future<Output = ()>) {
    let began = Instant::now();
    sleep_until(began + from).await;
    die();
    sleep_until(began + until).await;
    live.await;
}

async fn one_run(plan: &Plan, environment: &Environment, run: Run) -> RunStory {
    let running = Host::new(PROGRAM, environment.clone()).start(plan).await.unwrap_or_else(|error| panic!("{error}"));
    let host = SEEN.take().expect("the spy has started");
    let events = Arc::clone(running.events());
    let mut unbalanced = Vec::new();
    let end = Instant::now() + run.lasting;
    while Instant::now() < end {
        sleep_until(end.min(Instant::now() + LOOK)).await;
        unbalanced.extend(running.books().check().err().map(|wrong| wrong.to_string()));
    }
    let shutdown = running.shutdown(run.shutdown);
    let report = match run.cancelled {
        None => Some(shutdown.await),
        // Dropped where it is.
        Some(after) => tokio::time::timeout(after, shutdown).await.ok(),
    };
    // Also where the shutdown was broken off, they balance to the last.
    unbalanced.extend(host.snapshot().books.check().err().map(|wrong| wrong.to_string()));
    RunStory { report, unbalanced, events: events.recent() }
}

thread_local! {
    /// The host that runs on this thread.
    static SEEN: RefCell<Option<Arc<dyn HostView>>> = const { RefCell::new(None) };
}

/// An extension that hands out what extensions see of the host, also after its end.
struct Spy;

impl Factory for Spy {
    type Product = dyn Extension;
    type Config = minicol_plugin::config::NoConfig;
    const TYPE: &'static str = "spy";
    const DESCRIPTION: &'static str = "shows the host to the simulation";
    const STABILITY: Stability = Stability::Development;
    const VERSION: &'static str = "0";
    const FLOWS: &'static [Flow] = &[];
    const EXAMPLE: &'static str = "";

    fn build(_: Self::Config, _: &Scope) -> Result<Box<dyn Extension>, ComponentError> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl Extension for Spy {
    async fn run(self: Box<Self>, scope: Scope) -> Result<(), ComponentError> {
        SEEN.set(Some(Arc::clone(scope.host())));
        scope.ready();
        scope.stopping().await;
        Ok(())
    }
}
