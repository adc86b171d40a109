//! Promise: whatever goes wrong between targets, minicol and backends, and in whatever order, the books balance, no value is invented, no series
//! breaks the data model, no cycle overlaps another, everything ends in time, and nothing panics.
//!
//! The whole pipeline runs on one thread under tokio's paused clock: the real host and components, over a network in memory. One number, the seed,
//! says who is there and what goes wrong when. `MINICOL_SEED=7` runs one seed and tells what happened; `MINICOL_SEEDS=100000` runs more of them.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod buddy;
mod checks;
mod intake;
mod reloads;
mod sabotage;
mod scenario;
mod world;

use std::{
    cell::Cell,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use minicol_plugin::Event;

use sabotage::Sabotage;
use scenario::Scenario;
use world::Story;

/// How many seeds are run where nobody says otherwise.
const SEEDS: u64 = 2_000;
/// How many of them are run twice.
const TWICE: usize = 40;
/// How many are tried for a planted bug.
const PLANTED: u64 = 200;
/// No simulation lasts longer, in simulated time.
const NEVER: Duration = Duration::from_secs(3 * 3600);

/// What a seed led to.
struct Outcome {
    wrong: Vec<String>,
    trace: Vec<String>,
    met: Seen,
}

/// What happened at all: a simulation in which nothing of it happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    crashes: u64,
    acknowledged: u64,
    refused: u64,
    out_of_memory: u64,
    restored: u64,
}

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

fn run(seed: u64, planted: Option<Sabotage>) -> Outcome {
    count_panics();
    let scenario = Scenario::of(seed, planted);
    let before = PANICS.get();
    let story = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async { tokio::time::timeout(NEVER, world::live(&scenario)).await })
    }));
    let mut wrong = Vec::new();
    if PANICS.get() > before {
        wrong.push("it panicked; what it said stands above".to_owned());
    }
    let Ok(Ok(story)) = story else {
        if story.is_ok() {
            wrong.push(format!("it has not ended after {NEVER:?}"));
        }
        return Outcome { wrong, trace: Vec::new(), met: Seen::default() };
    };
    wrong.extend(checks::judge(&scenario, &story));
    let crashes = scenario.runs.iter().filter(|run| run.crashes).count() as u64;
    let mut met = Seen { crashes, ..Seen::default() };
    for run in &story.runs {
        met.out_of_memory += run.out_of_memory;
        met.restored += run.restored;
    }
    for told in story.intake.iter().flat_map(|intake| &intake.told) {
        *if told.taken { &mut met.acknowledged } else { &mut met.refused } += 1;
    }
    Outcome { wrong, trace: trace(&story), met }
}

impl Seen {
    fn add(&mut self, more: Self) {
        self.crashes += more.crashes;
        self.acknowledged += more.acknowledged;
        self.refused += more.refused;
        self.out_of_memory += more.out_of_memory;
        self.restored += more.restored;
    }
}

/// What happened, in an order that does not depend on which of two things at one moment came first.
fn trace(story: &Story) -> Vec<String> {
    let mut trace = Vec::new();
    for (nth, received) in story.received.iter().enumerate() {
        trace.extend(received.iter().map(|one| {
            let mut hasher = DefaultHasher::new();
            format!("{:?}", one.points).hash(&mut hasher);
            let (points, hash) = (one.points.len(), hasher.finish());
            format!(
                "{:012.3} backend {nth} took {points}, refused {} ({hash:016x})",
                one.at.as_secs_f64(),
                one.rejected
            )
        }));
    }
    for one in story.intake.iter().flat_map(|intake| &intake.received) {
        trace.push(format!("{:012.3} keeper took {:?}", one.at.as_secs_f64(), one.items));
    }
    for event in story.runs.iter().flat_map(|run| &run.events) {
        let since =
            |at: minicol_pdata::Timestamp| Duration::from_nanos(at.as_nanos().saturating_sub(story.start.as_nanos()));
        let (at, what) = match event {
            Event::Status(one) => (since(one.at), format!("{} {}: {}", one.component, one.status, one.message)),
            Event::Notice(one) => (since(one.at), format!("{} {}: {}", one.component, one.name, one.message)),
            Event::Program(one) => (since(one.at), format!("{}: {}", one.name, one.message)),
        };
        trace.push(format!("{:012.3} {what}", at.as_secs_f64()));
    }
    trace.sort();
    trace
}

/// Panics in tasks are caught by the runtime: they are counted where they begin.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}

/// The seeds to run: the one of `MINICOL_SEED`, else those from `MINICOL_FIRST_SEED` (0) and below `MINICOL_SEEDS`.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    match number("MINICOL_SEED") {
        Some(seed) => seed..seed + 1,
        None => number("MINICOL_FIRST_SEED").unwrap_or(0)..number("MINICOL_SEEDS").unwrap_or(SEEDS),
    }
}

#[test]
fn whatever_goes_wrong_everything_is_accounted_for() {
    let seeds = seeds();
    let alone = seeds.end - seeds.start == 1;
    let (next, failed, met) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()), Mutex::new(Seen::default()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = run(seed, None);
                    met.lock().unwrap().add(outcome.met);
                    if alone {
                        println!("{:#?}\n{}", Scenario::of(seed, None), outcome.trace.join("\n"));
                    }
                    if !outcome.wrong.is_empty() {
                        failed.lock().unwrap().push((seed, outcome.wrong));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    for (seed, wrong) in &failed {
        println!("seed {seed}:");
        wrong.iter().take(if alone { usize::MAX } else { 5 }).for_each(|what| println!("  {what}"));
        println!("  MINICOL_SEED={seed} cargo test -p minicol-tests --test simulation -- --nocapture whatever");
    }
    assert!(failed.is_empty(), "{} of {} seeds failed", failed.len(), seeds.end - seeds.start);
    let met = met.into_inner().unwrap();
    println!("{met:?}");
    let Seen { crashes, acknowledged, refused, out_of_memory, restored } = met;
    if seeds.end - seeds.start >= SEEDS {
        let all = [crashes, acknowledged, refused, out_of_memory, restored];
        assert!(all.iter().all(|times| *times > 50), "something hardly ever happens: {met:?}");
    }
}

/// Each of the checks above finds what it is there for: bugs are planted, one at a time, and each is found by what it is.
#[test]
fn every_planted_bug_is_found() {
    for (bug, complaint) in sabotage::ALL {
        let found = (0..PLANTED).find(|seed| run(*seed, Some(bug)).wrong.iter().any(|what| what.contains(complaint)));
        let found =
            found.unwrap_or_else(|| panic!("{bug:?} was planted, and no seed below {PLANTED} says `{complaint}`"));
        println!("{bug:?}: found by seed {found}");
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    // Where other programs send, too, more meets in one millisecond, and either of two things may come first.
    let mut other = Vec::new();
    for seed in (0..).filter(|seed| Scenario::of(*seed, None).intake.is_none()).take(TWICE) {
        let (one, two) = (run(seed, None).trace, run(seed, None).trace);
        if one != two {
            other.push(format!("seed {seed} went another way: {:?}", differ(&one, &two)));
        }
    }
    assert!(other.is_empty(), "{} of {TWICE}:\n{}", other.len(), other.join("\n"));
}

fn differ<'a>(one: &'a [String], other: &'a [String]) -> Option<(&'a String, &'a String)> {
    one.iter().zip(other).find(|(one, other)| one != other)
}
