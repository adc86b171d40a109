//! Promise: what a cycle allocates stays what it was. Not a timed test: it counts, and fails where a change makes it more.
//!
//! The figures are those of this test itself (`cargo test -p minicol-bench -- --nocapture` prints them) with a margin of a tenth or so. Where a
//! change needs more and is worth it, raise them; where one needs less, lower them.

#![allow(clippy::print_stdout)] // the counts, for who wants to lower a limit

use std::{alloc::System, sync::Arc};

use minicol_bench::{Mapper, poll};
use minicol_plugin::trace::{SpanIds, Tracer, current_trace_context, set_on_current};
use opentelemetry::{KeyValue, trace::SpanKind};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The counter counts the whole process: one test at a time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Allocations, growing ones included, of what `work` does.
async fn counted<T>(work: impl Future<Output = T>) -> (usize, T) {
    let region = Region::new(ALLOCATOR);
    let done = work.await;
    let change = region.change();
    (change.allocations + change.reallocations, done)
}

#[track_caller]
fn at_most(what: &str, count: usize, most: usize) {
    println!("{what}: {count} allocations, at most {most}");
    assert!(count <= most, "{what}: {count} allocations, but at most {most} are wanted");
}

#[tokio::test]
async fn a_cycles_answers_are_mapped_with_few_allocations() {
    let _turn = TURN.lock().await;
    let mut mapper = Mapper::new(1);
    for _ in 0..10 {
        mapper.mapped().await;
    }
    let answers = mapper.answers();
    let (count, ()) = counted(mapper.map(answers)).await;
    at_most("mapping a cycle of 17 points", count, MAPPING);
}

#[tokio::test]
async fn an_unchanged_series_costs_no_allocation_beyond_its_point() {
    let _turn = TURN.lock().await;
    let mut counts = Vec::new();
    for series in [100, 200] {
        let mut mapper = Mapper::of_series(series);
        for _ in 0..10 {
            assert_eq!(mapper.mapped().await.items(), series + Mapper::POINTS_OF_A_POLL);
        }
        let answers = mapper.answers();
        counts.push(counted(mapper.map(answers)).await.0);
    }
    // Its attributes as the point carries them: a list, a name, a value.
    let each = (counts[1] - counts[0]) as f64 / 100.0;
    println!("{each} allocations for each unchanged series of one attribute");
    assert!(each <= 3.1, "{each} allocations for each unchanged series");
}

#[tokio::test]
async fn a_poll_is_made_with_few_allocations() {
    let _turn = TURN.lock().await;
    let world = Arc::new(poll::World::start().await);
    for _ in 0..10 {
        world.cycle().await;
    }
    let before = world.served();
    let (count, ()) = counted(async {
        for _ in 0..10 {
            world.cycle().await;
        }
    })
    .await;
    assert_eq!(world.served() - before, 40, "four calls each");
    at_most("a poll of four calls, server and mapping included", count / 10, POLL);
}

/// What a call does for tracing, with tracing off: the tracer has no clock that it could read, nothing that a span would show is asked for, and
/// nothing is allocated.
#[tokio::test]
async fn tracing_that_is_off_allocates_nothing_and_asks_for_nothing() {
    let _turn = TURN.lock().await;
    let tracer = Tracer::default();
    let calls = async |number: usize| {
        for _ in 0..number {
            let span = tracer.span(SpanKind::Client, || unreachable!("a name"));
            span.set(|| -> [KeyValue; 0] { unreachable!("attributes") });
            set_on_current(|| -> [KeyValue; 0] { unreachable!("attributes of the current span") });
            assert!(current_trace_context().is_none() && SpanIds::current().is_none());
            assert_eq!((span.around(async { 1 }).await, span.run(|| 2)), (1, 2));
            span.fail("timeout", || unreachable!("why"));
        }
    };
    // What a thread makes once.
    calls(1).await;
    let (count, ()) = counted(calls(1_000)).await;
    // The count is of the whole process: what the tests' own harness may do meanwhile is no thousandth of it.
    assert!(count < 10 && !tracer.is_on(), "{count} allocations in 1,000 calls");
}

/// What passes an arrow at which nobody looks, or looks any more, allocates what it did before there were taps.
#[tokio::test]
async fn a_tap_that_nobody_uses_allocates_nothing() {
    let _turn = TURN.lock().await;
    let yaml = "yaml:{receivers: {session_buddy: }, processors: {mapping: {presets: [session_buddy]}}, exporters: {otlp: {endpoint: 'http://localhost:4317'}}, service: {pipelines: {metrics: {receivers: [session_buddy], processors: [mapping], exporters: [otlp]}}}}";
    let request = minicol_config::Request { configs: vec![yaml.to_owned()], ..minicol_config::Request::default() };
    let plan = minicol_host::Plan::load(request, REGISTRY).unwrap_or_else(|problems| panic!("{problems}"));
    let program = minicol_host::Program { name: "minicol", version: "0" };
    let host = minicol_host::Host::new(program, minicol_plugin::testing::Harness::default().environment());
    let replay = host.replay(&plan, "metrics").unwrap().unwrap();
    let (id, edges) = (replay.receivers().next().unwrap().clone(), replay.edges());
    // What no rule is for: all that is counted is the way there.
    let source = std::sync::Arc::clone(&replay.polls(&id).unwrap().source);
    let one = minicol_pdata::Observation {
        source,
        tool: "none".into(),
        arguments: None,
        arrival: minicol_pdata::Arrival::default(),
        took: std::time::Duration::ZERO,
        document: Arc::new(serde_json::Value::Null),
        cut: None,
    };
    let batch = minicol_pdata::Batch::from(minicol_pdata::Observations::from(vec![one]));
    let pass = async |number: usize| {
        for _ in 0..number {
            replay.give(&id, batch.clone()).await.unwrap();
        }
    };
    pass(100).await;
    let (never, ()) = counted(pass(1_000)).await;
    let taps: Vec<_> = edges.iter().map(|edge| replay.tap(edge).unwrap()).collect();
    let (looked_at, ()) = counted(pass(10)).await;
    drop(taps);
    let (no_more, ()) = counted(pass(1_000)).await;
    println!(
        "1,000 batches over an arrow: {never} allocations, {no_more} after somebody looked; 10 looked at: {looked_at}"
    );
    // The count is of the whole process: what the tests' own harness may do meanwhile is no thousandth of it.
    assert!(never <= ARROW * 1_000 + 10, "{never} allocations in 1,000 batches");
    assert!(never.abs_diff(no_more) < 10 && looked_at * 100 > never, "{never} {no_more} {looked_at}");
}

/// What the pipeline above names.
const REGISTRY: minicol_host::Registry = minicol_host::Registry {
    receivers: &[minicol_plugin::Entry::of::<minicol_receiver_session_buddy::SessionBuddyFactory>()],
    processors: &[minicol_plugin::Entry::of::<minicol_processor::MappingFactory>()],
    exporters: &[minicol_exporter_otlp::OTLP],
    extensions: &[],
};

/// Of one batch, on its way from a receiver to the rules of the mapping, none of which is for it.
const ARROW: usize = 25;
const MAPPING: usize = 150;
const POLL: usize = 940;
