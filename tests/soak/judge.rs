//! What is flat. The first third of a run is its warm-up. Of the rest the second half must not hold more than the first: its median of resident
//! memory not more than 5 % and 4 MiB above the other's, its highest count of descriptors, threads and tasks not more than 10 % and 10 above the other's.

use std::{fmt, time::Duration};

/// What the program held at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    pub(crate) tasks: u64,
    pub(crate) queued: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, rss_kib, descriptors, threads, tasks, queued } = self;
        let (seconds, rss) = (at.as_secs(), *rss_kib as f64 / 1024.0);
        write!(
            f,
            "{seconds:5} s  rss {rss:6.1} MiB  fds {descriptors:4}  threads {threads:3}  tasks {tasks:4}  queued {queued:3}"
        )
    }
}

/// One of the counts of a sample.
type Count = fn(&Sample) -> u64;

/// Everything that grew.
pub(crate) fn flat(samples: &[Sample]) -> Vec<String> {
    let third = samples.len() / 3;
    if third == 0 {
        return vec![format!("{} samples tell nothing", samples.len())];
    }
    let (before, after) = (&samples[third..2 * third], &samples[2 * third..]);
    let mut grown = Vec::new();
    let (was, is) = (median(before), median(after));
    println!("median rss: {was} KiB in the second third, {is} KiB in the last");
    if is > was + was / 20 + 4 * 1024 {
        grown.push(format!("resident memory grew from {was} KiB to {is} KiB"));
    }
    let counts: [(&str, Count); 3] =
        [("descriptors", |one| one.descriptors), ("threads", |one| one.threads), ("tasks", |one| one.tasks)];
    for (name, of) in counts {
        let most = |samples: &[Sample]| samples.iter().map(of).max().unwrap_or_default();
        let (was, is) = (most(before), most(after));
        println!("most {name}: {was} in the second third, {is} in the last");
        if is > was + was / 10 + 10 {
            grown.push(format!("{name} grew from {was} to {is}"));
        }
    }
    grown
}

fn median(samples: &[Sample]) -> u64 {
    let mut all: Vec<u64> = samples.iter().map(|one| one.rss_kib).collect();
    all.sort_unstable();
    all[all.len() / 2]
}
