use minicol_plugin::testing::Harness;

use super::*;

const RECORD: &[u8] = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"one"}}]}]}]}"#;

/// Takes everything and keeps nothing.
struct Nothing;

#[async_trait]
impl Consumer for Nothing {
    async fn consume(&self, _: Batch) -> Result<(), Rejected> {
        Ok(())
    }
}

/// [`Arrow::carry`] as it was before there were taps.
async fn without_a_tap(arrow: &Arrow, batch: Batch) -> Result<(), Rejected> {
    arrow.edge.gate.pass(batch.items() as u64, arrow.to.consume(batch), |_| ()).await
}

/// No test: a measurement, by `cargo test --release -p minicol-host --lib what_a_tap_costs -- --ignored --nocapture`. The same arrow with the tap
/// compiled in and unused, and without it, in turns, so that what the machine does meanwhile meets both alike.
#[tokio::test]
#[ignore = "measures; nothing is asserted"]
#[allow(clippy::print_stdout)]
async fn what_a_tap_costs() {
    const ROUNDS: usize = 1_000;
    const BATCHES: u32 = 5_000;
    let events = Events::new(Harness::default().environment().clock);
    let to =
        End { kind: ComponentKind::Exporter, id: "sink".parse().unwrap(), next: Next::new(Nothing), stores: false };
    let arrow = Arrow::new(Edge::new("p", "here", &to, Signal::Logs, events), &to);
    let batch = Batch::from(minicol_pdata::Logs::from_json(RECORD).unwrap());
    let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut took = [0.0; 2];
        // Whoever goes first finds the caches colder: that is either as often.
        for turn in 0..2 {
            let tapped = (round + turn) % 2 == 0;
            let begun = tokio::time::Instant::now();
            for _ in 0..BATCHES {
                let batch = std::hint::black_box(batch.clone());
                if tapped { arrow.carry(batch).await.unwrap() } else { without_a_tap(&arrow, batch).await.unwrap() }
            }
            took[usize::from(tapped)] = begun.elapsed().as_secs_f64() * 1e9 / f64::from(BATCHES);
        }
        without.push(took[0]);
        with.push(took[1]);
        ratios.push(took[0] / took[1]);
    }
    let quantile = |list: &mut Vec<f64>, percent: usize| {
        list.sort_by(f64::total_cmp);
        list[list.len() * percent / 100]
    };
    let (with, without) = (quantile(&mut with, 50), quantile(&mut without, 50));
    let [low, middle, high] = [25, 50, 75].map(|percent| quantile(&mut ratios, percent));
    println!(
        "an arrow, a batch each: {without:.1} ns without a tap, {with:.1} ns with one that nobody uses (medians of {ROUNDS})"
    );
    println!("throughput with / without: {middle:.4} (the middle half of the rounds: {low:.4} to {high:.4})");
}
