use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use minicol_extension_file_storage::testing::write_record;
use tokio::time::{Instant, sleep};

use super::{Backend, Mood, Queue, Relay, unlike};

/// A relay's memory while a backlog builds up on disk and drains.
#[derive(Clone, Debug)]
pub struct Backlog {
    /// Moments of the run.
    pub samples: Vec<Sample>,
    /// The backlog at its largest, in MiB of requests.
    pub largest_mib: u64,
    /// The same when the store has packed it.
    pub packed_mib: u64,
    /// The requests that were taken and did not arrive.
    pub missing: u64,
}

/// One moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the start.
    pub at: Duration,
    /// Requests that are stored, in MiB.
    pub backlog_mib: u64,
    /// The resident memory of the program, in MiB.
    pub rss_mib: u64,
    /// What the store takes on disk, in MiB.
    pub disk_mib: u64,
}

impl Backlog {
    /// The resident memory at its largest, in MiB.
    pub fn peak_mib(&self) -> u64 {
        self.samples.iter().map(|one| one.rss_mib).max().unwrap_or_default()
    }

    /// What the store took on disk at its largest, in MiB.
    pub fn largest_disk_mib(&self) -> u64 {
        self.samples.iter().map(|one| one.disk_mib).max().unwrap_or_default()
    }

    /// It, once the first tenth of the backlog was there.
    pub fn early_mib(&self) -> u64 {
        let early = self.samples.iter().take_while(|one| one.backlog_mib <= self.largest_mib / 10);
        early.map(|one| one.rss_mib).max().unwrap_or_default()
    }
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seconds  backlog MiB  RSS MiB  disk MiB")?;
        let step = (self.samples.len() / 24).max(1);
        for one in self.samples.iter().step_by(step).chain(self.samples.last()) {
            writeln!(f, "{:>7}  {:>11}  {:>7}  {:>8}", one.at.as_secs(), one.backlog_mib, one.rss_mib, one.disk_mib)?;
        }
        let (early, peak) = (self.early_mib(), self.peak_mib());
        writeln!(f, "RSS: at most {early} MiB while the first tenth built up, at most {peak} MiB over the whole run")?;
        writeln!(
            f,
            "disk: at most {} MiB, where the backlog's {} MiB are {} MiB packed",
            self.largest_disk_mib(),
            self.largest_mib,
            self.packed_mib
        )?;
        write!(f, "missing: {}", self.missing)
    }
}

/// Lets a backlog of `mib` MiB build up before a backend that refuses, then lets it drain.
pub async fn backlog(mib: u64) -> Backlog {
    let backend = Backend::start(Mood::Refuses, 1).await;
    let relay = Relay::new(&backend.url, Queue::Stored, "queue_size: 1000000000");
    let (program, sender) = relay.started().await;
    let (began, accepted, stop) = (Instant::now(), Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
    let bodies = unlike(256, 1_000, 1);
    let raw: usize = bodies.iter().map(Bytes::len).sum();
    // Close to each other: the average stands for each.
    let size = (raw / bodies.len()) as u64;
    let packed: usize = bodies.iter().map(|body| write_record("q", 1, 1_000, body).len()).sum();
    let packed = (packed / bodies.len()) as u64;
    let senders: Vec<_> = (0..16)
        .map(|nth| {
            let (sender, stop, bodies, accepted) =
                (sender.clone(), Arc::clone(&stop), bodies.clone(), Arc::clone(&accepted));
            tokio::spawn(async move {
                for body in bodies.iter().cycle().skip(nth * 16) {
                    if stop.load(Relaxed) || accepted.load(Relaxed) * size >= mib << 20 {
                        break;
                    }
                    if sender.send(body.clone()).await {
                        accepted.fetch_add(1, Relaxed);
                    }
                }
            })
        })
        .collect();
    let mut all = Backlog { samples: Vec::new(), largest_mib: 0, packed_mib: 0, missing: 0 };
    let (mut draining, mut stuck, mut last) = (false, 0, 0);
    loop {
        let (arrived, _) = backend.taken();
        let left = accepted.load(Relaxed).saturating_sub(arrived);
        let sample = Sample {
            at: began.elapsed(),
            backlog_mib: (left * size) >> 20,
            rss_mib: rss_mib(program.pid()),
            disk_mib: disk_mib(&relay),
        };
        all.largest_mib = all.largest_mib.max(sample.backlog_mib);
        all.packed_mib = all.packed_mib.max((left * packed) >> 20);
        all.samples.push(sample);
        if !draining && senders.iter().all(tokio::task::JoinHandle::is_finished) {
            draining = true;
            backend.set(Mood::Counts);
        }
        stuck = if arrived == last { stuck + 1 } else { 0 };
        last = arrived;
        if draining && (left == 0 || stuck > 120) {
            all.missing = left;
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    stop.store(true, Relaxed);
    // The store gives its room back.
    sleep(Duration::from_secs(7)).await;
    let (rss_mib, disk_mib) = (rss_mib(program.pid()), disk_mib(&relay));
    all.samples.push(Sample { at: began.elapsed(), backlog_mib: 0, rss_mib, disk_mib });
    program.stop().await;
    all
}

fn rss_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

fn disk_mib(relay: &Relay) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(relay.store().join("store.redb")).map_or(0, |file| (file.blocks() * 512) >> 20)
}
