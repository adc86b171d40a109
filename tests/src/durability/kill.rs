use std::{
    collections::HashSet,
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
    /// What the last life said at its end.
    pub last_words: String,
    /// How long it took.
    pub took: Duration,
}

impl KillReport {
    /// Whether everything that was taken arrived, and no more twice than was in flight.
    pub fn holds(&self) -> bool {
        self.lost.is_empty() && self.duplicates <= self.duplicates_allowed && self.aside == 0 && self.accepted > 0
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

/// Kills a relay under load again and again while its backend fails at random, then lets it deliver what is left.
pub async fn kill(run: Kills) -> KillReport {
    let began = Instant::now();
    let backend = Backend::start(Mood::Moody, run.seed).await;
    let settings = format!("num_consumers: {}, queue_size: 1000000", run.consumers);
    let relay = Relay::new(&backend.url, Queue::Stored, &settings);
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
    backend.set(Mood::Takes);
    let missing = || {
        let arrived = backend.arrived();
        accepted.iter().filter(|number| !arrived.contains_key(number)).count()
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
    let mut arrived = backend.arrived();
    // What asked whether the relay takes requests.
    arrived.remove(&0);
    KillReport {
        kills: run.kills,
        while_starting,
        accepted: accepted.len(),
        delivered: accepted.iter().filter(|number| arrived.contains_key(number)).count(),
        unanswered: arrived.keys().filter(|number| !accepted.contains(number)).count(),
        duplicates: arrived.values().map(|times| times - 1).sum(),
        duplicates_allowed: u64::from(run.kills) * run.consumers as u64,
        lost: accepted.into_iter().filter(|number| !arrived.contains_key(number)).collect(),
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
