//! Promise: who looks at an arrow sees what passes it, before and after a processor, also over a reload; nobody who looks, or looks and is slow,
//! changes what passes.

use minicol_pdata::Signal;
use minicol_plugin::{EdgeName, Tap};

use crate::{
    reload::World,
    support::{GOOD, edge, pass, start},
};

fn name(from: &str, to: &str, signal: Signal) -> EdgeName {
    EdgeName { pipeline: "metrics".into(), from: from.into(), to: to.into(), signal }
}

fn before() -> EdgeName {
    name("ticker", "to_metrics", Signal::Observations)
}

fn after() -> EdgeName {
    name("to_metrics", "sink", Signal::Metrics)
}

async fn sees(tap: &mut Tap, signal: Signal) {
    let seen = tap.next().await.unwrap();
    assert_eq!((seen.batch.signal(), seen.outcome), (signal, Ok(())));
}

#[tokio::test(start_paused = true)]
async fn both_sides_of_a_processor_are_seen() {
    let running = start(GOOD).await;
    assert_eq!(running.edges(), [after(), before()]);
    let (mut in_front, mut behind) = (running.tap(&before()).unwrap(), running.tap(&after()).unwrap());
    for _ in 0..3 {
        sees(&mut in_front, Signal::Observations).await;
        sees(&mut behind, Signal::Metrics).await;
    }
    assert!(running.tap(&name("ticker", "sink", Signal::Metrics)).is_none());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_take_what_they_see_misses_it_and_all_of_it_passes() {
    let running = start(GOOD).await;
    let tap = running.tap(&before()).unwrap();
    let offered = edge(&running, "ticker", "to_metrics").offered;
    pass(100.0).await;
    let passed = edge(&running, "ticker", "to_metrics");
    assert!(passed.offered > offered + 50 && passed.accepted == passed.offered, "{passed:?}");
    let missed = tap.take_missed();
    assert!(missed > 0 && missed < passed.offered, "{missed} of {passed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tap_stays_over_a_reload_and_ends_with_its_arrow() {
    let world = World::start(GOOD).await;
    let (mut stays, mut goes) = (world.running.tap(&before()).unwrap(), world.running.tap(&after()).unwrap());
    let elsewhere = GOOD.replace("{sink: }", "{sink/other: }").replace("[sink]", "[sink/other]");
    world.becomes(&elsewhere).await;
    while goes.next().await.is_some() {}
    assert!(world.running.tap(&after()).is_none());
    sees(&mut stays, Signal::Observations).await;
    world.becomes(GOOD).await;
    sees(&mut world.running.tap(&after()).unwrap(), Signal::Metrics).await;
    world.ends_balanced().await;
}
