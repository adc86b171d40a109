//! Running the tests of a file.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use minicol_config::{Path, Problem, Problems, nearest};
use minicol_host::{Host, Program, Replay};
use minicol_pdata::{POLL_REPORT, Timestamp};
use minicol_plugin::{
    Clock, ComponentId, Environment, Event, Level, SeededRandom, async_trait,
    net::{BoxIo, Listener, Network},
    text::foreign,
};
use serde_json::Map;

use crate::{
    compare::{Difference, differences},
    file::{Case, Step},
    input,
    load::{Loaded, pipeline, polled},
    series::{Series, series},
};

/// What became of one test.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseResult {
    /// Step by step.
    pub steps: Vec<StepResult>,
    /// What the components warned of meanwhile.
    pub warnings: Vec<String>,
    /// Answers that nothing is made of, each with its place: told also where the test holds.
    pub unread: Vec<String>,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// Every point that came since the step before.
    pub came: Vec<Series>,
    /// In what it is not what was expected.
    pub differences: Vec<Difference>,
    /// Why the pipeline did not take what was given.
    pub refused: Option<String>,
}

impl CaseResult {
    /// Whether everything is as it was expected.
    pub fn holds(&self) -> bool {
        self.steps.iter().all(StepResult::holds)
    }
}

impl StepResult {
    /// Whether everything is as it was expected.
    pub fn holds(&self) -> bool {
        self.differences.is_empty() && self.refused.is_none()
    }
}

/// Runs every test of a file, each with a pipeline of its own and a clock that stands still while it works.
///
/// # Errors
/// Where a step gives what nothing can be made of, or a component cannot be built.
pub fn run(loaded: &Loaded) -> Result<Vec<CaseResult>, Problems> {
    // On a thread of its own, so that whoever calls may be in a runtime.
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime.map_err(|error| Problem::error(format!("the runtime does not start: {error}")))?;
            let tests = 0..loaded.file.tests.len();
            tests.map(|index| runtime.block_on(case(loaded, index))).collect()
        });
        running
            .join()
            .unwrap_or_else(|_| Err(Problem::error("the test broke off: this is a mistake in minicol").into()))
    })
}

async fn case(loaded: &Loaded, index: usize) -> Result<CaseResult, Problems> {
    let (case, at) = (&loaded.file.tests[index], Path::keys(["tests"]).join(index));
    let wrong = |what: String| Problems::from(Problem::error(what).at_value(&loaded.root, &at));
    let clock = Arc::new(SteppedClock { start: case.start.0, passed: AtomicU64::new(0) });
    let environment = Environment {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        random: Arc::new(SeededRandom::from_seed(1)),
        network: Arc::new(NoNetwork),
    };
    let host = Host::new(Program { name: "minicol", version: env!("CARGO_PKG_VERSION") }, environment);
    let named = pipeline(case, &loaded.plan).unwrap_or_default();
    let replay = host.replay(&loaded.plan, &named).map_err(|error| wrong(error.to_string()))?;
    let replay = replay.ok_or_else(|| wrong(format!("there is no pipeline `{named}`")))?;
    let receivers: Vec<&ComponentId> = replay.receivers().collect();
    let mut steps = Vec::with_capacity(case.steps.len());
    for (nth, step) in case.steps.iter().enumerate() {
        let here = at.join("steps").join(nth);
        let placed = |problem: Problem| {
            let path = here.join_all(&problem.path.clone());
            Problems::from(problem.at_value(&loaded.root, &path))
        };
        clock.set(step.at.0);
        let mut refused = None;
        if polled(step) || step.otlp.is_some() {
            let receiver = receiver(step, &receivers).map_err(placed)?;
            let batch = input::batch(step, case, &receiver.to_string(), replay.polls(receiver)).map_err(placed)?;
            refused = replay.give(receiver, batch).await.err().map(|error| error.to_string());
        }
        if nth + 1 == case.steps.len() {
            let flushed = replay.flush().await;
            refused = refused.or_else(|| flushed.err().map(|error| error.to_string()));
        }
        let got = series(&replay.take(), case.start);
        // `expect:` without a body: `--update` fills it.
        let is_there = step.expect.is_some() || loaded.root.find(&here.join("expect")).is_some();
        let expected = step.expect.as_deref().unwrap_or_default();
        let differences = if is_there { differences(case, expected, &got) } else { Vec::new() };
        steps.push(StepResult { came: got, differences, refused });
    }
    let unread = match host.replay(&loaded.plan, &named) {
        Ok(Some(probe)) => unread(loaded, case, &at, &probe).await,
        _ => Vec::new(),
    };
    Ok(CaseResult { steps, warnings: warnings(&replay.events()), unread })
}

/// The tools of answers that nobody reads, each once: mostly a name that is written wrong. Where a rule reads the poll's report, that the receiver polls
/// the tool is enough: the report tells of it.
async fn unread(loaded: &Loaded, case: &Case, at: &Path, probe: &Replay) -> Vec<String> {
    let receivers: Vec<&ComponentId> = probe.receivers().collect();
    let (mut known, mut told): (BTreeSet<(&ComponentId, &str)>, Vec<String>) = (BTreeSet::new(), Vec::new());
    for (nth, step) in case.steps.iter().enumerate() {
        let Ok(receiver) = receiver(step, &receivers) else { continue };
        let polled = probe.polls(receiver).map(|polls| &polls.tools[..]).unwrap_or_default();
        for tool in step.answers.iter().flat_map(Map::keys) {
            if !known.insert((receiver, tool)) || is_read(step, case, tool, receiver, probe).await {
                continue;
            }
            let is_polled = polled.iter().any(|polled| **polled == **tool);
            if is_polled && is_read(step, case, POLL_REPORT, receiver, probe).await {
                continue;
            }
            let place = loaded.root.mark_of_key(&at.join("steps").join(nth).join("answers").join(&**tool));
            let meant = nearest(tool, polled.iter().map(|polled| &**polled).filter(|polled| polled != tool));
            let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
            told.push(format!("{place}: no rule of the pipeline is for `{}`{meant}", foreign(tool)));
        }
    }
    told
}

/// Whether anything in the pipeline reads what this tool answers.
async fn is_read(step: &Step, case: &Case, tool: &str, receiver: &ComponentId, probe: &Replay) -> bool {
    let batch = input::only(step, case, tool, &receiver.to_string(), probe.polls(receiver));
    let (Some(batch), before) = (batch, probe.unused()) else { return true };
    // What is refused is told where the test gives it.
    let _ = probe.give(receiver, batch).await;
    probe.unused() == before
}

/// The receiver in whose place a step gives.
fn receiver<'a>(step: &Step, all: &[&'a ComponentId]) -> Result<&'a ComponentId, Problem> {
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    match (&step.receiver, all) {
        (Some(wanted), all) => {
            let found = all.iter().find(|id| id.to_string() == *wanted).copied();
            found.ok_or_else(|| {
                let problem = Problem::error(format!("the pipeline has no receiver `{wanted}`"));
                problem.in_path(&Path::keys(["receiver"])).with_help(format!("it has: {}", names.join(", ")))
            })
        }
        (None, [only]) => Ok(only),
        (None, _) => {
            let problem = Problem::error("the pipeline has several receivers").in_path(&Path::root());
            Err(problem.with_help(format!("write `receiver:` and one of {}", names.join(", "))))
        }
    }
}

/// What the user should know, each once.
fn warnings(events: &[Event]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for event in events {
        let Event::Notice(notice) = event else { continue };
        let told = format!("{} {}: {}", notice.kind, notice.component, notice.message);
        if notice.level >= Level::Warn && !all.contains(&told) {
            all.push(told);
        }
    }
    all
}

/// Stands still but from step to step.
#[derive(Debug)]
struct SteppedClock {
    start: Timestamp,
    /// In nanoseconds.
    passed: AtomicU64,
}

impl SteppedClock {
    fn set(&self, passed: Duration) {
        self.passed.store(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for SteppedClock {
    fn wall(&self) -> Timestamp {
        self.start + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.passed.load(Ordering::Relaxed))
    }
}

/// Of a test nothing gets out.
#[derive(Debug)]
struct NoNetwork;

#[async_trait]
impl Network for NoNetwork {
    async fn connect(&self, _: &str, _: u16) -> io::Result<BoxIo> {
        Err(io::Error::new(io::ErrorKind::NetworkUnreachable, "a test of a pipeline has no network"))
    }

    async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::Error::new(io::ErrorKind::NetworkUnreachable, "a test of a pipeline has no network"))
    }
}

/// The steps of a test that are told in one line: `3 steps, 12 points`.
impl std::fmt::Display for CaseResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = |count: usize, of: &str| if count == 1 { format!("1 {of}") } else { format!("{count} {of}s") };
        let points = self.steps.iter().map(|step| step.came.len()).sum();
        write!(f, "{}, {}", counted(self.steps.len(), "step"), counted(points, "point"))
    }
}
