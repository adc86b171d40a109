//! The parts of a poll: `cargo bench -p minicol-bench`. Each tells the time and what is allocated.

#![allow(clippy::expect_used)] // a benchmark

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use minicol_bench::{Mapper, contract, poll};
use minicol_pdata::{Batch, Metrics};
use serde_json::Value;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// One cycle's parsed answers become points.
#[divan::bench(args = [1, 512])]
fn mapping(bencher: Bencher<'_, '_>, documents: usize) {
    let runtime = runtime();
    let mut mapper = Mapper::new(documents);
    let points = runtime.block_on(mapper.mapped()).items();
    let mapper = std::cell::RefCell::new(mapper);
    bencher
        .counter(ItemsCount::new(points))
        .with_inputs(|| mapper.borrow_mut().answers())
        .bench_local_values(|answers| runtime.block_on(mapper.borrow().map(answers)));
}

/// The text of one answer becomes a document.
#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let documents = contract::documents(1).remove(0);
    let text = contract::result(&documents[0]).to_string();
    bencher.bench(|| serde_json::from_str::<Value>(&text));
}

/// One cycle's points become the bytes that are sent.
#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let batch = runtime().block_on(Mapper::new(1).mapped());
    let Batch::Metrics(metrics) = batch else { unreachable!("the mapping makes metrics") };
    let bytes = metrics.encode();
    bencher
        .with_inputs(|| {
            let mut fresh = Metrics::decode(bytes.clone()).expect("metrics");
            fresh.append(Metrics::default()); // forgets the bytes
            fresh
        })
        .bench_values(|metrics| metrics.encode());
}

/// A cycle of four calls over connections inside the process, server and mapping included.
#[divan::bench]
fn cycle(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let world = runtime.block_on(async {
        let world = poll::World::start().await;
        world.cycle().await;
        world
    });
    bencher.bench_local(|| runtime.block_on(world.cycle()));
}
