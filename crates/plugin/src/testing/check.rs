//! What every component promises, whatever it does: call these for each entry that a crate has.
//!
//! They hold the shape of a component, not its work: that a configuration is read, said and refused as users expect it, and that it starts and stops when told.

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Harness, Sink, configured::problems, running::SOON};
use crate::{Entry, Exporter, Extension, Processor, Product, Receiver};

/// Its example holds; so does what it prints of its defaults; each option is described; a key that nobody knows is refused by its name.
///
/// # Panics
/// Where one of these does not hold.
#[allow(clippy::expect_used)] // a check that cannot go on has failed
pub fn configuration<P: Product + ?Sized>(entry: &Entry<P>) {
    let name = entry.component_type;
    assert!(!entry.description.is_empty(), "{name} has no description");
    assert!(!entry.example.trim().is_empty(), "{name} has no example");
    assert_eq!(problems(entry, entry.example), [""; 0], "the example of {name} does not hold");

    let printed = (entry.default)().to_json();
    assert!(printed.is_object(), "the configuration of {name} is no mapping: {printed}");
    let again = entry.decode_text(&printed.to_string()).expect("what is printed of the defaults can be read");
    assert_eq!(again.to_json(), printed, "the defaults of {name} do not come back as they were printed");

    let refused = problems(entry, "no_such_option: 1");
    assert!(refused.iter().any(|one| one.contains("no_such_option")), "{name} takes a key that it does not know");

    let schema = (entry.schema)().to_value();
    assert_eq!(schema["additionalProperties"], false, "{name}: its configuration needs #[serde(deny_unknown_fields)]");
    let shapes = schema["$defs"].as_object().into_iter().flatten().map(|(_, shape)| shape);
    for (option, shape) in
        shapes.chain([&schema]).flat_map(|shape| shape["properties"].as_object().into_iter().flatten())
    {
        assert!(is_described(shape), "{name}: `{option}` needs a doc comment, which becomes its description");
    }
}

fn is_described(shape: &Value) -> bool {
    shape["description"].as_str().is_some_and(|text| !text.is_empty()) || shape.get("$ref").is_some()
}

/// A kind of component whose life can be tried.
#[async_trait]
pub trait Lives: Product {
    /// See [`life`].
    async fn live(entry: &'static Entry<Self>, yaml: &'static str);
}

/// It starts, and stops when told to. A receiver also before it is part of what runs, and at the deadline while what comes next does not answer; a processor
/// hands on what it holds when it is flushed; an exporter lets go. `yaml` is a body with which it can start in an empty harness. Call it under a paused clock.
///
/// # Panics
/// Where it does not.
pub async fn life<P: Lives + ?Sized>(entry: &'static Entry<P>, yaml: &'static str) {
    P::live(entry, yaml).await;
}

const STARTS: &str = "it starts";
const STOPS: &str = "it stops without an error";

#[async_trait]
#[allow(clippy::expect_used)] // a check that cannot go on has failed
impl Lives for dyn Receiver {
    async fn live(entry: &'static Entry<Self>, yaml: &'static str) {
        let running = Harness::default().run_receiver(entry, yaml).await.expect(STARTS);
        running.stop().await.expect(STOPS);

        // A reload started it beside what runs, and then was given up.
        let harness = Harness { live: CancellationToken::new(), ..Harness::default() };
        let running = harness.run_receiver(entry, yaml).await.expect(STARTS);
        tokio::time::sleep(SOON).await;
        assert!(running.sink.batches().is_empty(), "it acted before it was part of what runs: wait for Scope::live");
        running.stop().await.expect(STOPS);

        let running = Harness::default().run_receiver(entry, yaml).await.expect(STARTS);
        running.sink.hold(true);
        tokio::time::sleep(SOON).await;
        running.abandon().await.expect(STOPS);
    }
}

#[async_trait]
#[allow(clippy::expect_used)] // a check that cannot go on has failed
impl Lives for dyn Extension {
    async fn live(entry: &'static Entry<Self>, yaml: &'static str) {
        let running = Harness::default().run_extension(entry, yaml).await.expect(STARTS);
        assert!(!running.is_over(), "it ended by itself");
        running.stop().await.expect(STOPS);
        let running = Harness::default().run_extension(entry, yaml).await.expect(STARTS);
        running.abandon().await.expect(STOPS);
    }
}

#[async_trait]
#[allow(clippy::expect_used)] // a check that cannot go on has failed
impl Lives for dyn Processor {
    async fn live(entry: &'static Entry<Self>, yaml: &'static str) {
        let (processor, sink) = (Harness::default().build(entry, yaml), Sink::new());
        timeout(SOON, processor.flush(&sink.next())).await.expect("flush ends").expect("flush hands on");
        assert!(sink.batches().iter().all(|batch| batch.items() > 0), "it hands on what it was never given");
    }
}

#[async_trait]
#[allow(clippy::expect_used)] // a check that cannot go on has failed
impl Lives for dyn Exporter {
    async fn live(entry: &'static Entry<Self>, yaml: &'static str) {
        let exporter = Harness::default().build(entry, yaml);
        timeout(SOON, exporter.shutdown()).await.expect("shutdown ends").expect(STOPS);
    }
}
