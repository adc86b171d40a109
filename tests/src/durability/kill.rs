use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use minicol_plugin::{Random, SeededRandom};
use tokio::time::{Instant, sleep};

use super::{Backend, Mood, Queue, Relay, Sender, batch};

/// What a run of kills is.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    /// How often the program is killed.
    pub kills: u32,
    /// Moments, sizes and the backend's moods come from it.
    pub seed: u64,
    /// Requests in flight to the relay.
    pub senders: usize,
    /// Batches that the relay delivers at once.
    pub consumers: usize,
    /// What stands beside the stored exporter.
    pub beside: Beside,
}

/// What stands beside the stored exporter of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// An exporter `debug`, which takes at once.
    Debug,
    /// A second stored one, with a backend of its own that fails at other moments. What is taken must arrive at both.
    Stored,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct KillReport {
    /// How often it was killed.
    pub kills: u32,
    /// Kills before it took its first request.
    pub while_starting: u32,
    /// Batches that the relay said it took.
    pub accepted: usize,
    /// Of these, those that arrived.
    pub delivered: usize,
    /// Batches that arrived although the relay never said that it took them: its answer was lost with it.
    pub unanswered: usize,
    /// Arrivals beyond the first of each batch.
    pub duplicates: u64,
    /// As many as could have been in flight at the kills.
    pub duplicates_allowed: u64,
    /// Batches that were taken and did not arrive.
    pub lost: Vec<u64>,
    /// Damaged stores or records that were put aside.
    pub aside: usize,
    /// What it said last.
    pub last_words: String,
    /// How long it took.
    pub took: Duration,
}

impl KillReport {
    /// Whether everything that was taken arrived, and no more twice than was in flight. That the books balance at the end is held by [`Program::stop`](crate::Program::stop).
    pub fn holds(&self) -> bool {
        let arrived = self.lost.is_empty() && self.duplicates <= self.duplicates_allowed && self.accepted > 0;
        arrived && self.aside == 0
    }
}

impl fmt::Display for KillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kills        {} ({} of them before it took a request)", self.kills, self.while_starting)?;
        writeln!(f, "accepted     {} batches", self.accepted)?;
        writeln!(f, "delivered    {}", self.delivered)?;
        writeln!(f, "unanswered   {} arrived though their answer was lost", self.unanswered)?;
        writeln!(f, "duplicates   {} (in flight at the kills: at most {})", self.duplicates, self.duplicates_allowed)?;
        writeln!(f, "lost         {}", self.lost.len())?;
        writeln!(f, "put aside    {}", self.aside)?;
        write!(f, "took         {} s", self.took.as_secs())
    }
}

/// Kills a relay under load again and again while its backends fail at random, then lets it deliver what is left.
///
/// # Panics
/// Where the program does not start, or its books do not balance at the end.
pub async fn kill(run: Kills) -> KillReport {
    let began = Instant::now();
    let mut backends = vec![Backend::start(Mood::Moody, run.seed).await];
    if run.beside == Beside::Stored {
        backends.push(Backend::start(Mood::Moody, run.seed ^ 2).await);
    }
    let urls: Vec<&str> = backends.iter().map(|backend| backend.url.as_str()).collect();
    let settings = format!("num_consumers: {}, queue_size: 1000000", run.consumers);
    let relay = Relay::several(&urls, run.beside == Beside::Debug, Queue::Stored, &settings);
    let load = Load::start(&relay, run);
    let random = SeededRandom::from_seed(run.seed);
    let mut while_starting = 0;
    for _ in 0..run.kills {
        let before = load.accepted();
        let program = relay.start();
        // One in eight is killed while it starts, the others at work.
        if !random.next_u64().is_multiple_of(8) {
            for _ in 0..3_000 {
                if load.accepted() > before {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        sleep(Duration::from_millis(random.next_u64() % 400)).await;
        program.signal("KILL").await;
        program.ended(Duration::from_secs(30)).await;
        while_starting += u32::from(load.accepted() == before);
    }
    let (program, _) = relay.started().await;
    load.stop.store(true, Relaxed);
    for sender in load.senders {
        sender.await.expect("a sender ends");
    }
    let accepted: HashSet<u64> = load.accepted.lock().unwrap().clone();
    for backend in &backends {
        backend.set(Mood::Takes);
    }
    // What asked whether the relay takes requests has the number 0.
    let arrived = || -> Vec<HashMap<u64, u64>> {
        let all = backends.iter().map(Backend::arrived);
        all.map(|mut one| (one.remove(&0), one).1).collect()
    };
    let everywhere = |number: &u64, arrived: &[HashMap<u64, u64>]| arrived.iter().all(|one| one.contains_key(number));
    let missing = || {
        let arrived = arrived();
        accepted.iter().filter(|number| !everywhere(number, &arrived)).count()
    };
    // As long as it goes on, it is waited for.
    let (mut left, mut waited) = (missing(), 0);
    while left > 0 && waited < 30 {
        sleep(Duration::from_secs(1)).await;
        let now = missing();
        waited = if now < left { 0 } else { waited + 1 };
        left = now;
    }
    let output = program.stop().await;
    let arrived = arrived();
    let seen: HashSet<u64> = arrived.iter().flat_map(|one| one.keys().copied()).collect();
    KillReport {
        kills: run.kills,
        while_starting,
        accepted: accepted.len(),
        delivered: accepted.iter().filter(|number| everywhere(number, &arrived)).count(),
        unanswered: seen.difference(&accepted).count(),
        duplicates: arrived.iter().flat_map(HashMap::values).map(|times| times - 1).sum(),
        duplicates_allowed: u64::from(run.kills) * (run.consumers * backends.len()) as u64,
        lost: accepted.into_iter().filter(|number| !everywhere(number, &arrived)).collect(),
        aside: relay.aside(),
        last_words: output.stderr.lines().last().unwrap_or_default().to_owned(),
        took: began.elapsed(),
    }
}

/// Senders that go on whatever happens to the relay.
struct Load {
    accepted: Arc<Mutex<HashSet<u64>>>,
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// How many batches the relay said it took.
    fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    fn start(relay: &Relay, run: Kills) -> Self {
        let (accepted, stop) = (Arc::<Mutex<HashSet<u64>>>::default(), Arc::<AtomicBool>::default());
        let next = Arc::new(AtomicU64::new(1));
        let random = Arc::new(SeededRandom::from_seed(run.seed ^ 1));
        let sender = |_| {
            let (accepted, stop, next) = (Arc::clone(&accepted), Arc::clone(&stop), Arc::clone(&next));
            let (sender, random) = (Sender::new(relay.port), Arc::clone(&random));
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    let number = next.fetch_add(1, Relaxed);
                    let points = 1 + usize::try_from(random.next_u64() % 300).unwrap_or_default();
                    if sender.send(batch(number, points)).await {
                        accepted.lock().unwrap().insert(number);
                    } else {
                        sleep(Duration::from_millis(5)).await;
                    }
                }
            })
        };
        let senders = (0..run.senders).map(sender).collect();
        Self { accepted, stop, senders }
    }
}
