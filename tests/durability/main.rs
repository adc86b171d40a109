//! Holds what `file_storage` promises against the real program, longer than a test may take:
//!
//!     cargo run --release -p minicol-tests --bin durability -- kill --kills 200 --seed 1
//!     cargo run --release -p minicol-tests --bin durability -- kill --kills 200 --seed 1 --beside debug
//!     cargo run --release -p minicol-tests --bin durability -- kill --kills 200 --seed 1 --beside stored
//!     cargo run --release -p minicol-tests --bin durability -- cost [--unlike]
//!     cargo run --release -p minicol-tests --bin durability -- backlog
//!
//! Each prints its figures, and ends with 1 where a promise does not hold.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use anyhow::{Context, bail};
use minicol_tests::durability::{Beside, Kills, backlog, cost, kill};

/// What of the memory queue's throughput storage must leave.
const FLOOR: f64 = 0.40;
/// How much the resident memory may grow, in MiB, while the last nine tenths of the backlog build up and all of it drains.
/// That is the store's cache (32 MiB), and a few.
const GROWTH_MIB: u64 = 40;
/// What the store must take on disk at least, as a share of what the backlog has when it is packed: else it was no backlog of that size.
const ON_DISK: f64 = 0.8;
/// What must be left of the backlog when it is packed.
const PACKED: f64 = 0.7;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| -> anyhow::Result<u64> {
        let Some(at) = arguments.iter().position(|one| one == name) else { return Ok(default) };
        let value = arguments.get(at + 1).with_context(|| format!("{name} needs a number"))?;
        value.parse().with_context(|| format!("{name} {value} is no number"))
    };
    let holds = match arguments.first().map(String::as_str) {
        Some("kill") => {
            let (kills, seed) = (u32::try_from(number("--kills", 200)?)?, number("--seed", 1)?);
            let beside = match arguments.iter().position(|one| one == "--beside").map(|at| arguments.get(at + 1)) {
                None => Beside::Nothing,
                Some(Some(what)) if what == "debug" => Beside::Debug,
                Some(Some(what)) if what == "stored" => Beside::Stored,
                Some(_) => bail!("--beside needs `debug` or `stored`"),
            };
            let report = kill(Kills { kills, seed, senders: 8, consumers: 4, beside }).await;
            println!("{report}\nseed         {seed}\nlast words   {}", report.last_words);
            report.holds()
        }
        Some("cost") => {
            let unlike = arguments.iter().any(|one| one == "--unlike");
            let cost = cost(usize::try_from(number("--rounds", 3)?)?, number("--seconds", 8)?, unlike).await;
            println!("{cost} (floor {FLOOR}, for points as applications send them)");
            unlike || cost.ratio() >= FLOOR
        }
        Some("backlog") => {
            let run = backlog(number("--mib", 1024)?).await;
            println!("{run} (at most {GROWTH_MIB} MiB more than early, at least {ON_DISK} of what is packed on disk)");
            run.missing == 0
                && run.peak_mib() <= run.early_mib() + GROWTH_MIB
                && run.packed_mib as f64 >= run.largest_mib as f64 * PACKED
                && run.largest_disk_mib() as f64 >= run.packed_mib as f64 * ON_DISK
        }
        _ => bail!("say kill, cost or backlog"),
    };
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
