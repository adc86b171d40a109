//! One simulation: servers, minicol and backends on one thread, under a clock that nobody waits for.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use minicol_host::{Host, Plan, Program, Registry, ShutdownReport};
use minicol_pdata::Timestamp;
use minicol_plugin::{
    ComponentError, Entry, Environment, Event, Exporter, Extension, Factory, Flow, HostView, Processor, Receiver,
    Scope, SeededRandom, SimulatedClock, Stability, async_trait,
    net::{FaultyNetwork, MemoryNetwork, Network, NetworkFaults},
    storage::{Storage, StorageError},
};
use minicol_processor::{MemoryLimiterConfig, MemoryLimiterFactory};
use minicol_tests::{Chance, FaultyBackend, Received};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    buddy::Buddy,
    intake::{Senders, Told, post},
    sabotage::{self, Bend, Sabotage, disk, is_planted, plant, storage},
    scenario::{IntakePlan, Run, Scenario},
};

/// What a simulation left to be judged.
pub(crate) struct Story {
    pub(crate) runs: Vec<RunStory>,
    /// What each backend took.
    pub(crate) received: Vec<Vec<Received>>,
    /// How often the network struck at the way to each backend.
    pub(crate) struck: Vec<u64>,
    /// What was sent by others, and what the backend took of it.
    pub(crate) intake: Option<IntakeStory>,
    pub(crate) buddies: Vec<Arc<Buddy>>,
    /// Requests that servers and backends saw after minicol had ended.
    pub(crate) after_the_end: u64,
    /// Tasks that were left when everything had ended.
    pub(crate) tasks_left: usize,
    pub(crate) start: Timestamp,
}

/// How it went with what others sent.
pub(crate) struct IntakeStory {
    pub(crate) told: Vec<Told>,
    pub(crate) received: Vec<Received>,
    pub(crate) struck: u64,
    /// How long the lives before the last one took.
    pub(crate) mended_at: Duration,
    pub(crate) left_on_disk: usize,
}

/// How one life of minicol went.
pub(crate) struct RunStory {
    /// None where the shutdown was broken off, or where there was none.
    pub(crate) report: Option<ShutdownReport>,
    /// How long the shutdown took, by a clock of our own.
    pub(crate) took: Duration,
    /// Items that the memory limiter refused.
    pub(crate) out_of_memory: u64,
    /// Items of earlier lives that were found on disk.
    pub(crate) restored: u64,
    /// What did not hold in the books at some moment of it.
    pub(crate) unbalanced: Vec<String>,
    pub(crate) events: Vec<Event>,
}

pub(crate) const START: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);
/// And so often during a shutdown.
const LOOK_AT_SHUTDOWN: Duration = Duration::from_millis(230);
/// So long before the end senders begin no more.
const LAST_CALL: Duration = Duration::from_secs(5);
/// The books are looked at so often.
const LOOK: Duration = Duration::from_millis(1_300);
pub(crate) const PROGRAM: Program = Program { name: "minicol", version: "0" };
pub(crate) const REGISTRY: Registry = Registry {
    receivers: &[
        Entry::<dyn Receiver>::of::<minicol_receiver_session_buddy::SessionBuddyFactory>(),
        minicol_receiver_otlp::ENTRY,
    ],
    processors: PROCESSORS,
    exporters: EXPORTERS,
    extensions: &[Entry::<dyn Extension>::of::<Spy>(), Entry::<dyn Extension>::of::<Disk>()],
};
const PROCESSORS: &[Entry<dyn Processor>] = &[
    Entry::<dyn Processor>::of::<minicol_processor::MappingFactory>(),
    Entry::<dyn Processor>::of::<Limiter>(),
    Entry::<dyn Processor>::of::<Bend>(),
];
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
    plant(scenario.planted);
    RESIDENT.set(AT_REST);
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
    let began = Instant::now();
    let intake = match &scenario.intake {
        Some(plan) => Some(Intake::start(plan, scenario.seed, &memory, &faulty, &mut timeline).await),
        None => None,
    };
    let plan = plan(scenario);
    let mut runs = Vec::new();
    let mut mended_at = Duration::ZERO;
    for (nth, run) in scenario.runs.iter().enumerate() {
        if run.mended {
            timeline.drain(..).for_each(|task| task.abort());
            mended_at = began.elapsed();
            if let Some(intake) = &intake {
                intake.mend(&memory, &faulty).await;
            }
        }
        let senders = intake.as_ref().filter(|_| nth + 1 == scenario.runs.len()).map(|intake| &intake.senders);
        runs.push(one_run(&plan, &environment, *run, senders).await);
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
    for backend in backends.iter().chain(intake.iter().map(|intake| &intake.backend)) {
        backend.kill();
    }
    let intake = intake.map(|intake| IntakeStory {
        told: intake.senders.told(),
        received: intake.backend.received(),
        struck: faulty.struck(&intake.address),
        mended_at,
        left_on_disk: intake.left_on_disk(),
    });
    // By then the machine has given up what fell silent.
    sleep(Duration::from_secs(1_000)).await;
    Story {
        runs,
        received: backends.iter().map(|backend| backend.received()).collect(),
        struck: scenario.exporters.iter().map(|plan| faulty.struck(&plan.address)).collect(),
        intake,
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
    let bent = Registry { exporters: sabotage::EXPORTERS, ..REGISTRY };
    let registry = if scenario.planted.is_some() { bent } else { REGISTRY };
    Plan::load(request, registry).unwrap_or_else(|problems| panic!("{problems}"))
}

async fn dies_and_lives(from: Duration, until: Duration, die: impl FnOnce(), live: impl Future<Output = ()>) {
    let began = Instant::now();
    sleep_until(began + from).await;
    die();
    sleep_until(began + until).await;
    live.await;
}

/// Where logs and traces come from and go to.
struct Intake {
    senders: Senders,
    backend: Arc<FaultyBackend>,
    address: String,
    exporter: String,
}

impl Intake {
    async fn start(
        plan: &IntakePlan,
        seed: u64,
        memory: &Arc<dyn Network>,
        faulty: &FaultyNetwork,
        timeline: &mut Vec<JoinHandle<()>>,
    ) -> Self {
        let exporter = &plan.exporter;
        faulty.set(&exporter.address, exporter.network.clone());
        let backend = Arc::new(FaultyBackend::start(&**memory, &exporter.address, seed, exporter.trouble).await);
        backend.forgive();
        for (from, until) in &exporter.deaths {
            let (dies, lives, network) = (Arc::clone(&backend), Arc::clone(&backend), Arc::clone(memory));
            timeline.push(tokio::spawn(dies_and_lives(*from, *until, move || dies.kill(), async move {
                lives.start_again(&*network).await;
            })));
        }
        if plan.bad_disk || plan.hungry {
            timeline.push(tokio::spawn(troubles(seed, plan.bad_disk, plan.hungry)));
        }
        let senders = Senders::start(memory, seed, plan.senders);
        Self { senders, backend, address: exporter.address.clone(), exporter: exporter.id.clone() }
    }

    /// Whatever was wrong is over.
    async fn mend(&self, memory: &Arc<dyn Network>, faulty: &FaultyNetwork) {
        faulty.set(&self.address, NetworkFaults::default());
        self.backend.trouble(0.0);
        self.backend.kill();
        self.backend.start_again(&**memory).await;
        disk().fail(None);
        RESIDENT.set(AT_REST);
    }

    fn left_on_disk(&self) -> usize {
        ["logs", "traces"].iter().map(|signal| disk().ids(&format!("{}/{signal}", self.exporter)).len()).sum()
    }
}

/// What the process takes when it is at rest, and the limits of the limiter around it: soft 0.8, hard 1 MiB.
const AT_REST: u64 = 512 * 1024;

/// A disk that fails and is full, a process that takes too much memory: now and then.
async fn troubles(seed: u64, bad_disk: bool, hungry: bool) {
    let chance = Chance::of(seed, "troubles", 0);
    loop {
        sleep(chance.millis(300, 6_000)).await;
        if bad_disk {
            let fault = match chance.below(4) {
                0 => Some(StorageError::Full("the disk is full".to_owned())),
                1 => Some(StorageError::Unavailable("the disk does not answer".to_owned())),
                _ => None,
            };
            disk().fail(fault);
        }
        if hungry {
            RESIDENT.set(chance.pick(&[AT_REST, AT_REST, 2 << 20, 3 << 20]));
        }
    }
}

async fn one_run(plan: &Plan, environment: &Environment, run: Run, senders: Option<&Senders>) -> RunStory {
    let running = Host::new(PROGRAM, environment.clone()).start(plan).await.unwrap_or_else(|error| panic!("{error}"));
    let host = SEEN.take().expect("the spy has started");
    let events = Arc::clone(running.events());
    let mut unbalanced = Vec::new();
    let end = Instant::now() + run.lasting;
    // What they have begun is answered before the end.
    let last_call = end.checked_sub(LAST_CALL).unwrap_or(end);
    while Instant::now() < end {
        if let Some(senders) = senders.filter(|_| Instant::now() >= last_call) {
            senders.stop().await;
        }
        sleep_until(end.min(Instant::now() + LOOK)).await;
        unbalanced.extend(running.books().check().err().map(|wrong| wrong.to_string()));
    }
    let books = running.books();
    unbalanced.extend(books.check().err().map(|wrong| wrong.to_string()));
    let out_of_memory = books.edges.iter().filter_map(|edge| edge.refused.get("memory")).sum();
    let restored = books.accounts.iter().map(|account| account.restored).sum();
    let began = Instant::now();
    let report = if run.crashes {
        drop(running);
        None
    } else {
        let shutdown = async {
            let report = running.shutdown(run.shutdown).await;
            if is_planted(Sabotage::EndsLate) {
                sleep(run.shutdown + Duration::from_secs(2)).await;
            }
            report
        };
        // What is broken off balances until then: afterwards nobody holds its accounts any more.
        let watch = async {
            loop {
                unbalanced.extend(host.snapshot().books.check().err().map(|wrong| wrong.to_string()));
                sleep(LOOK_AT_SHUTDOWN).await;
            }
        };
        let watched = async {
            tokio::select! {
                biased;
                report = shutdown => report,
                () = watch => unreachable!("it looks for ever"),
            }
        };
        match run.cancelled {
            None => Some(watched.await),
            // Dropped where it is.
            Some(after) => tokio::time::timeout(after, watched).await.ok(),
        }
    };
    let took = began.elapsed();
    // The arrows outlive it all.
    unbalanced.extend(host.snapshot().books.check().err().map(|wrong| wrong.to_string()));
    RunStory { report, took, out_of_memory, restored, unbalanced, events: events.recent() }
}

thread_local! {
    /// How much memory the process is said to take.
    static RESIDENT: Cell<u64> = const { Cell::new(AT_REST) };
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
        if is_planted(Sabotage::LeavesATask) {
            tokio::spawn(std::future::pending::<()>());
        }
        if is_planted(Sabotage::AsksAfterTheEnd) {
            let network = Arc::clone(scope.network());
            tokio::spawn(async move {
                loop {
                    sleep(Duration::from_secs(40)).await;
                    post(&*network, ("backend0", 4317), "/v1/metrics", Bytes::new()).await;
                }
            });
        }
        scope.ready();
        scope.stopping().await;
        Ok(())
    }
}

/// The extension that keeps queues on the simulation's disk.
struct Disk;

impl Factory for Disk {
    type Product = dyn Extension;
    type Config = minicol_plugin::config::NoConfig;
    const TYPE: &'static str = "disk";
    const DESCRIPTION: &'static str = "a disk in memory";
    const STABILITY: Stability = Stability::Development;
    const VERSION: &'static str = "0";
    const FLOWS: &'static [Flow] = &[];
    const EXAMPLE: &'static str = "";
    const OFFERS_STORAGE: bool = true;

    fn build(_: Self::Config, _: &Scope) -> Result<Box<dyn Extension>, ComponentError> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl Extension for Disk {
    fn storage(&self) -> Option<Arc<dyn Storage>> {
        Some(storage())
    }

    async fn run(self: Box<Self>, scope: Scope) -> Result<(), ComponentError> {
        scope.ready();
        scope.stopping().await;
        Ok(())
    }
}

/// The real memory limiter, in a process whose memory is told.
struct Limiter;

impl Factory for Limiter {
    type Product = dyn Processor;
    type Config = MemoryLimiterConfig;
    const TYPE: &'static str = MemoryLimiterFactory::TYPE;
    const DESCRIPTION: &'static str = MemoryLimiterFactory::DESCRIPTION;
    const STABILITY: Stability = MemoryLimiterFactory::STABILITY;
    const VERSION: &'static str = MemoryLimiterFactory::VERSION;
    const FLOWS: &'static [Flow] = MemoryLimiterFactory::FLOWS;
    const EXAMPLE: &'static str = MemoryLimiterFactory::EXAMPLE;

    fn build(config: MemoryLimiterConfig, scope: &Scope) -> Result<Box<dyn Processor>, ComponentError> {
        MemoryLimiterFactory::over(&config, || Some(RESIDENT.get()), scope)
    }
}
