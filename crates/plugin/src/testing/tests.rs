//! The checks find what they are there to find: a receiver that can be told to be wrong in each way.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use minicol_pdata::{Batch, Observation, Observations, Signal, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{check, golden, *};
use crate::{
    ComponentError, Entry, Factory, Flow, Level, Next, Receiver, Rejected, Stability,
    config::{ComponentConfig, Problems},
    net::MemoryNetwork,
};

/// What is wrong with a [`Ticker`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Fault {
    #[default]
    None,
    /// It does not listen when it is told to stop.
    Deaf,
    /// It waits for what comes next whatever it is told.
    Stubborn,
    /// It acts before it is part of what runs.
    Eager,
    /// It never says that it is ready.
    Silent,
    /// It ends with an error before it is ready.
    Broken,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct TickerConfig {
    /// What is wrong with it.
    fault: Fault,
    /// Documents per second.
    inner: Inner,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Inner {
    /// How many.
    count: u32,
}

impl Default for Inner {
    fn default() -> Self {
        Self { count: 1 }
    }
}

impl ComponentConfig for TickerConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.within("inner", |problems| problems.range("count", self.inner.count.into(), 1.0, 9.0));
    }
}

struct Ticker(TickerConfig);

const TICKER: Entry<dyn Receiver> = Entry::of::<Ticker>();

impl Factory for Ticker {
    type Product = dyn Receiver;
    type Config = TickerConfig;
    const TYPE: &'static str = "ticker";
    const DESCRIPTION: &'static str = "ticks";
    const STABILITY: Stability = Stability::Development;
    const VERSION: &'static str = "0";
    const FLOWS: &'static [Flow] = &[Flow::from_receiver(Signal::Observations)];
    const EXAMPLE: &'static str = "inner: {count: 2}";

    fn build(config: TickerConfig, _: &Scope) -> Result<Box<dyn Receiver>, ComponentError> {
        Ok(Box::new(Self(config)))
    }
}

#[async_trait]
impl Receiver for Ticker {
    async fn run(self: Box<Self>, next: Next, scope: Scope) -> Result<(), ComponentError> {
        let fault = self.0.fault;
        match fault {
            Fault::Silent => std::future::pending().await,
            Fault::Broken => return Err(ComponentError::new("the port is taken")),
            _ => scope.ready(),
        }
        if fault != Fault::Eager {
            tokio::select! { biased; () = scope.stopping() => return Ok(()), () = scope.live() => {} }
        }
        let source = Arc::new(Source {
            resource: [("service.name", "ticker")].into_iter().collect(),
            receiver: scope.id().to_string(),
            interval: Duration::from_secs(1),
        });
        loop {
            if fault == Fault::Deaf {
                tokio::time::sleep(Duration::from_secs(1)).await;
            } else {
                tokio::select! {
                    biased;
                    () = scope.stopping() => return Ok(()),
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
            let one = Observation {
                source: Arc::clone(&source),
                tool: "tick".into(),
                arguments: None,
                arrival: scope.now(),
                took: Duration::from_millis(2),
                document: Arc::new(serde_json::json!({"b": 1, "a": {"d": 2, "c": 3}})),
                cut: None,
            };
            let given = next.consume(Observations::from(vec![one]).into());
            if fault == Fault::Stubborn {
                let _ = given.await;
            } else {
                tokio::select! { _ = given => {}, () = scope.abandoned() => return Ok(()) }
            }
        }
    }
}

#[test]
fn the_configuration_of_a_good_component_passes() {
    check::configuration(&TICKER);
}

#[test]
fn problems_are_told_with_their_paths() {
    assert_eq!(problems(&TICKER, ""), [""; 0]);
    assert_eq!(problems(&TICKER, "inner: {count: 11}"), ["inner::count: must be between 1 and 9, but is 11"]);
    let one = |yaml| problems(&TICKER, yaml).concat();
    assert!(
        one("inner: {count: many}")
            .starts_with("inner::count: expected a whole number from 0 to 4294967295, found the text `many`"),
        "{}",
        one("inner: {count: many}")
    );
    assert!(
        one("inner: {counts: 1}").starts_with("inner::counts: unknown key `counts`"),
        "{}",
        one("inner: {counts: 1}")
    );
}

#[tokio::test(start_paused = true)]
async fn a_good_component_passes_its_life() {
    check::life(&TICKER, "").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "it was told to stop, and goes on after 10s")]
async fn one_that_does_not_listen_is_found() {
    check::life(&TICKER, "fault: deaf").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "it was told to drop what is in flight, and goes on after 10s")]
async fn one_that_waits_for_ever_is_found() {
    check::life(&TICKER, "fault: stubborn").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "it acted before it was part of what runs")]
async fn one_that_acts_too_early_is_found() {
    check::life(&TICKER, "fault: eager").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "ticker has not said within 10s that it is ready")]
async fn one_that_never_says_that_it_is_ready_is_found() {
    check::life(&TICKER, "fault: silent").await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_is_an_error() {
    let error = Harness::default().run_receiver(&TICKER, "fault: broken").await.err().unwrap();
    assert_eq!(error.to_string(), "the port is taken");
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_on_is_compared_as_text() {
    let running = Harness::default().run_receiver(&TICKER, "").await.unwrap();
    running.sink.wait_for(1).await;
    let expected =
        "observations:\ntick of ticker {service.name=ticker} +1s in 2ms\n  {\"a\":{\"c\":3,\"d\":2},\"b\":1}\n";
    assert_eq!(golden::text(&running.sink.take()), expected);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sink_refuses_and_holds() {
    let (sink, batch) = (Sink::new(), || Batch::from(Observations::default()));
    sink.refuse(Some(Rejected::retryable("queue_full", "no room")));
    assert_eq!(sink.next().consume(batch()).await.unwrap_err().reason, "queue_full");
    sink.refuse(None);
    sink.hold(true);
    let next = sink.next();
    let waiting = tokio::spawn(async move { next.consume(batch()).await });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished() && sink.batches().is_empty());
    sink.hold(false);
    waiting.await.unwrap().unwrap();
    assert_eq!(sink.batches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_as_it_is_told_until_it_is_gone() {
    use http_body_util::{BodyExt, Empty};
    let harness = Harness::default();
    let server = harness.serve("far:80", Answer::of(503, "later").after(Duration::from_secs(3))).await;
    let stream = hyper_util::rt::TokioIo::new(harness.network.connect("far", 80).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = || http::Request::get("/a?b").header("host", "far").body(Empty::<bytes::Bytes>::new()).unwrap();
    let before = tokio::time::Instant::now();
    let response = client.send_request(request()).await.unwrap();
    assert_eq!((response.status().as_u16(), before.elapsed().as_secs()), (503, 3));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "later");
    server.answer(Answer::ok("{}"));
    assert_eq!(client.send_request(request()).await.unwrap().status(), 200);
    assert_eq!(server.asked(), ["GET /a?b", "GET /a?b"]);
    assert_eq!((server.sent("host"), server.sent("x")), (vec!["far".to_owned(); 2], vec![String::new(); 2]));
    drop(server);
    tokio::task::yield_now().await;
    assert!(harness.network.connect("far", 80).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_simulated_day_takes_no_time() {
    let harness = Harness::default();
    let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
    let before = scope.now();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let after = scope.now();
    assert_eq!(after.wall.since(before.wall), Duration::from_secs(86_400));
    harness.clock.step(-3.0);
    assert_eq!(scope.now().wall.since(before.wall), Duration::from_secs(86_397));
    assert_eq!(scope.now().monotonic, after.monotonic);
}

#[tokio::test]
async fn an_arrow_can_be_pointed_elsewhere_while_clones_of_it_are_in_use() {
    let (first, second) = (Sink::new(), Sink::new());
    let next = first.next();
    let clone = next.clone();
    clone.consume(Batch::Metrics(minicol_pdata::Metrics::default())).await.unwrap();
    next.point_to(second.clone());
    clone.consume(Batch::Metrics(minicol_pdata::Metrics::default())).await.unwrap();
    assert_eq!((first.batches().len(), second.batches().len()), (1, 1));
}

#[test]
fn events_are_recorded_in_order() {
    let harness = Harness::default();
    let scope = harness.scope(ComponentKind::Receiver, "x/y");
    scope.report(Status::RecoverableError, "down");
    scope.notice(Level::Warn, "tools_not_offered", "one");
    assert!(matches!(&harness.events()[0], Event::Status(change) if change.message == "down"));
    assert_eq!(harness.notices(), ["tools_not_offered"]);
}

#[tokio::test]
async fn the_in_memory_network_carries_bytes_and_refuses_where_nobody_listens() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let network = MemoryNetwork::new();
    assert!(network.connect("buddy", 8678).await.is_err());
    let mut listener = network.listen("buddy:8678").await.unwrap();
    let mut near = network.connect("buddy", 8678).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    near.write_all(b"hello").await.unwrap();
    let mut buffer = [0; 5];
    far.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello");
    drop(listener);
    assert!(network.connect("buddy", 8678).await.is_err());
}
