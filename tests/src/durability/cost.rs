use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Backend, Mood, Queue, Relay, typical, unlike};

/// Points per second through a relay, its queue in memory and on disk, in the same run.
#[derive(Clone, Debug)]
pub struct Cost {
    /// With the queue in memory, round by round.
    pub memory: Vec<f64>,
    /// With it on disk and `fsync: always`.
    pub stored: Vec<f64>,
}

/// Requests in flight to the relay, and the points of each.
const IN_FLIGHT: usize = 16;
const POINTS: usize = 1_000;

impl Cost {
    /// What of the throughput is left with storage.
    pub fn ratio(&self) -> f64 {
        median(&self.stored) / median(&self.memory)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = |all: &[f64]| all.iter().map(|one| format!("{one:.0}")).collect::<Vec<_>>().join(" ");
        writeln!(
            f,
            "queue in memory          {:>9.0} points/s (rounds: {})",
            median(&self.memory),
            rounds(&self.memory)
        )?;
        writeln!(
            f,
            "storage, fsync: always   {:>9.0} points/s (rounds: {})",
            median(&self.stored),
            rounds(&self.stored)
        )?;
        write!(f, "ratio                    {:>9.2}", self.ratio())
    }
}

/// Measures round about: `rounds` of each, `seconds` long; with points as applications send them, or `unlike` ones, of which packing leaves most.
pub async fn cost(rounds: usize, seconds: u64, of_unlike: bool) -> Cost {
    let requests = 4 * IN_FLIGHT as u64;
    let bodies = if of_unlike { unlike(requests, POINTS, 1) } else { typical(requests, POINTS, 1) };
    let mut cost = Cost { memory: Vec::new(), stored: Vec::new() };
    for _ in 0..rounds {
        cost.memory.push(throughput(Queue::Memory, seconds, &bodies).await);
        cost.stored.push(throughput(Queue::Stored, seconds, &bodies).await);
    }
    cost
}

async fn throughput(queue: Queue, seconds: u64, bodies: &[Bytes]) -> f64 {
    let backend = Backend::start(Mood::Counts, 1).await;
    // Senders wait for room: what is measured is what goes through, not what piles up.
    let relay = Relay::new(&backend.url, queue, "queue_size: 200, block_on_overflow: true");
    let (program, sender) = relay.started().await;
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..IN_FLIGHT)
        .map(|nth| {
            let (sender, stop, bodies) = (sender.clone(), Arc::clone(&stop), bodies.to_vec());
            tokio::spawn(async move {
                for body in bodies.iter().cycle().skip(nth) {
                    if stop.load(Relaxed) {
                        break;
                    }
                    sender.send(body.clone()).await;
                }
            })
        })
        .collect();
    sleep(Duration::from_secs(1)).await;
    let (began, before) = (Instant::now(), backend.taken().0);
    sleep(Duration::from_secs(seconds)).await;
    let (after, took) = (backend.taken().0, began.elapsed());
    stop.store(true, Relaxed);
    for sender in senders {
        sender.await.expect("a sender ends");
    }
    program.stop().await;
    (after - before) as f64 * POINTS as f64 / took.as_secs_f64()
}

fn median(all: &[f64]) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
