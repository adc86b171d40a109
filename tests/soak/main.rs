//! Runs the real program for minutes while everything around it goes wrong by a seed, and prints what it holds: resident memory, file
//! descriptors, threads, tasks, and the books. Exit 0 where all of it is flat after the warm-up and the books balance. Run it by `tests/soak/run`.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod judge;
mod minicol;
mod world;

use std::{process::ExitCode, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use judge::{Sample, flat};
use minicol::Minicol;
use world::World;

/// How long it runs, and by which seed.
struct Arguments {
    lasting: Duration,
    seed: u64,
}

const USAGE: &str = "usage: tests/soak/run [--minutes N | --seconds N] [--seed N]";
/// Something else goes wrong after so long.
const TURN: Duration = Duration::from_millis(1_500);
/// How long everything has, at the end and with nothing going wrong any more, to be delivered.
const QUIET: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Some(Arguments { lasting, seed }) = arguments() else {
        println!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    println!("soak: {} s, seed {seed}", lasting.as_secs());
    let mut world = World::start(seed).await;
    let mut minicol = Minicol::start(|folder| world.configuration(folder), lasting / 3).await?;
    world.send();
    let samples = endure(&mut world, &mut minicol, lasting).await?;
    println!("nothing goes wrong any more: what is queued is delivered");
    world.calm().await;
    minicol.thaw().await;
    let books = minicol.quiet(QUIET).await?;
    let mut wrong = flat(&samples);
    println!("{books}");
    wrong.extend(books.wrong());
    let output = minicol.stop().await;
    wrong.extend(world.wrong(&books));
    if output.code != 0 || output.stderr.contains("panicked") {
        wrong.push(format!("exit code {}; the last it said:\n{}", output.code, tail(&output.stderr)));
    }
    for what in &wrong {
        println!("WRONG: {what}");
    }
    println!("{}", if wrong.is_empty() { "flat, and every item is accounted for" } else { "not as it should be" });
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets things go wrong until the time is over.
async fn endure(world: &mut World, minicol: &mut Minicol, lasting: Duration) -> anyhow::Result<Vec<Sample>> {
    let began = Instant::now();
    let mut turns = interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Duration::ZERO;
    let mut samples = Vec::new();
    while began.elapsed() < lasting {
        turns.tick().await;
        let what = world.turn(minicol).await?;
        let Some(sample) = minicol.sample(began.elapsed()).await? else { continue };
        if told <= began.elapsed() {
            println!("{sample}; {what}");
            told = began.elapsed() + (lasting / 60).max(Duration::from_secs(1));
        }
        samples.push(sample);
    }
    Ok(samples)
}

fn arguments() -> Option<Arguments> {
    let mut arguments = Arguments { lasting: Duration::from_secs(60), seed: 1 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let number: u64 = given.next()?.parse().ok()?;
        match name.as_str() {
            "--minutes" => arguments.lasting = Duration::from_secs(number * 60),
            "--seconds" => arguments.lasting = Duration::from_secs(number),
            "--seed" => arguments.seed = number,
            _ => return None,
        }
    }
    Some(arguments)
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
