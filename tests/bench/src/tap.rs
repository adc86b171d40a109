//! What a tap costs while nobody looks: the same arrow with the look at whether somebody does, and without it, which is the floor.

use std::hint::black_box;

use anyhow::ensure;
use clap::Args;
use minicol_host::Line;
use minicol_pdata::{Batch, Logs, Signal};
use minicol_plugin::{Consumer, Next, Rejected, async_trait, testing::Harness};
use tokio::time::Instant;

#[derive(Args)]
pub(crate) struct Options {
    /// How many rounds; in each, both carry as many batches, and they take turns in who goes first.
    #[arg(long, default_value_t = 1000)]
    rounds: u32,
    /// How many batches each carries in a round.
    #[arg(long, default_value_t = 5000)]
    batches: u32,
    /// Ends with 1 where the median of the rounds' ratios is below this.
    #[arg(long, default_value_t = 0.95)]
    least: f64,
}

const RECORD: &[u8] = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"one"}}]}]}]}"#;

/// Takes everything and keeps nothing, so that hardly more is measured than the arrow.
struct Nothing;

#[async_trait]
impl Consumer for Nothing {
    async fn consume(&self, _: Batch) -> Result<(), Rejected> {
        Ok(())
    }
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let Options { rounds, batches, least } = options;
    ensure!(rounds > 0 && batches > 0, "there is nothing to measure in {rounds} rounds of {batches} batches");
    let clock = Harness::default().environment().clock;
    let line = Line::new(Signal::Logs, Next::new(Nothing), "sink".parse()?, clock);
    let batch = Batch::from(Logs::from_json(RECORD)?);
    let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut took = [0.0; 2];
        // Whoever goes first finds the caches colder: that is either as often.
        for turn in 0..2 {
            let tapped = (round + turn) % 2 == 0;
            let begun = Instant::now();
            for _ in 0..batches {
                let batch = black_box(batch.clone());
                let carried = if tapped { line.carry(batch).await } else { line.carry_without_taps(batch).await };
                ensure!(carried.is_ok(), "the far end takes everything");
            }
            took[usize::from(tapped)] = begun.elapsed().as_secs_f64() * 1e9 / f64::from(batches);
        }
        without.push(took[0]);
        with.push(took[1]);
        ratios.push(took[0] / took[1]);
    }
    let [low, ratio, high] = [25, 50, 75].map(|percent| quantile(&mut ratios, percent));
    let (without, with) = (quantile(&mut without, 50), quantile(&mut with, 50));
    println!(
        "an arrow, for each batch: {without:.1} ns without taps, {with:.1} ns with one that nobody uses (medians of {rounds} rounds)"
    );
    println!("throughput with / without: {ratio:.4} (the middle half of the rounds: {low:.4} to {high:.4})");
    ensure!(ratio >= least, "an unused tap costs more than it may: {ratio:.4} is below {least}");
    Ok(())
}

fn quantile(list: &mut [f64], percent: usize) -> f64 {
    list.sort_by(f64::total_cmp);
    list[(list.len() - 1) * percent / 100]
}
