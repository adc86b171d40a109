//! Promise: things start and stop in the order in which data flows, a failed start leaves nothing behind, and no component takes the program down
//! silently.

use std::time::Duration;

use minicol_host::{Limits, Started};
use minicol_plugin::{ComponentKind, Phase, Status, testing::Harness};

use tokio::time::Instant;

use crate::support::{GOOD, PROGRAM, TEN_SECONDS, host, notices, of, pass, plan, start, status, story};

const ALL: &str = "
extensions: {page: , page/2: }
receivers: {ticker: {interval: 10s}}
processors: {to_metrics: , keeper: }
exporters: {sink: }
service:
  extensions: [page/2, page]
  pipelines:
    metrics: {receivers: [ticker], processors: [keeper, to_metrics], exporters: [sink]}
";

#[tokio::test(start_paused = true)]
async fn what_receives_starts_last_and_stops_first() {
    let running = start(ALL).await;
    pass(0.1).await;
    let events = running.events().clone();
    assert_eq!(running.snapshot().phase, Phase::Running);
    // What flows already is of no matter here.
    let told: Vec<_> = story(&events).into_iter().filter(|one| !one.starts_with("sink exports")).collect();
    assert_eq!(
        told,
        [
            "page Starting",
            "page/2 Starting",
            "sink Starting",
            "keeper Starting",
            "to_metrics Starting",
            "ticker Starting",
            "page/2 begins",
            "page/2 OK",
            "page begins",
            "page OK",
            "sink OK",
            "keeper OK",
            "to_metrics OK",
            "ticker begins",
            "ticker OK",
        ]
    );
    let before = events.recent().len();
    let report = running.shutdown(TEN_SECONDS).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        story(&events)[before..],
        [
            "ticker Stopping",
            "ticker ends",
            "ticker Stopped",
            "keeper Stopping",
            "keeper flushes: after 1",
            "to_metrics Stopping",
            "keeper Stopped",
            "to_metrics Stopped",
            "sink Stopping",
            "sink closes",
            "sink Stopped: 1 items sent, 0 failed, 0 dropped",
            "page Stopping",
            "page ends",
            "page Stopped",
            "page/2 Stopping",
            "page/2 ends",
            "page/2 Stopped",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_undoes_what_had_started_and_says_why() {
    let failing = ALL.replace("ticker: {interval: 10s}", "ticker: {fails: start}");
    let network = Harness::default();
    let host = minicol_host::Host::new(PROGRAM, network.environment());
    let error = host.start(&plan(&failing)).await.unwrap_err();
    assert_eq!(error.to_string(), "receiver `ticker` could not start: the port is taken");
    // Nothing holds a port any more: the same can be started where the page of metrics listened.
    let running = host.start(&plan(ALL)).await.unwrap();
    assert_eq!(running.telemetry().pages().count(), 1);
    running.shutdown(TEN_SECONDS).await;
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_cannot_start_keeps_the_rest_from_starting() {
    let failing = ALL.replace("page: ,", "page: {fails: start},");
    let error = host().start(&plan(&failing)).await.unwrap_err();
    assert_eq!(error.to_string(), "extension `page` could not start: the port is taken");
}

#[tokio::test(start_paused = true)]
async fn a_component_that_never_gets_ready_fails_the_start() {
    let failing = GOOD.replace("ticker: }", "ticker: {never_ready: true}}");
    let limits = Limits { start: Duration::from_secs(3), ..Limits::default() };
    let error = host().with_limits(limits).start(&plan(&failing)).await.unwrap_err();
    assert_eq!(error.to_string(), "receiver `ticker` could not start: did not become ready within 3s");
}

#[tokio::test(start_paused = true)]
async fn what_had_started_is_drained_and_told_where_the_program_is_to_stop_before_the_rest_has() {
    let half = GOOD
        .replace("ticker: }", "ticker: , ticker/late: {never_ready: true}}")
        .replace("[ticker]", "[ticker, ticker/late]");
    let half = half.replace("sink: }", "sink: {takes: 1500ms}}");
    let stop = async {
        pass(2.5).await;
        (Instant::now(), TEN_SECONDS)
    };
    let Started::Stopped(report) = host().start_unless(&plan(&half), stop).await.unwrap() else { panic!("it started") };
    assert!(report.is_clean(), "{report:?}");
    report.books.check_at_end().unwrap();
    let sink = report.books.accounts.iter().find(|one| one.component.to_string() == "sink").unwrap();
    assert_eq!((sink.taken, sink.out), (3, 3), "what was queued is delivered");
}

#[tokio::test(start_paused = true)]
async fn a_component_that_cannot_be_built_is_told_before_anything_starts() {
    let failing = GOOD.replace("ticker: }", "ticker: {fails: build}}");
    let plan = plan(&failing);
    let told = "receiver `ticker` could not be built: cannot be built: no disk";
    assert_eq!(host().check(&plan).unwrap_err().to_string(), told);
    assert_eq!(host().start(&plan).await.unwrap_err().to_string(), told);
    assert!(host().check(&crate::support::plan(GOOD)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_receiver_is_a_permanent_error_and_the_rest_goes_on() {
    let running = start(
        "
receivers: {ticker/bad: {fails: panic}, ticker/good: }
exporters: {sink: }
service: {pipelines: {observations: {receivers: [ticker/bad, ticker/good], exporters: [sink]}}}",
    )
    .await;
    pass(2.5).await;
    let (is, why) = status(&running, ComponentKind::Receiver, "ticker/bad");
    assert_eq!((is, why.as_str()), (Status::PermanentError, "panicked, which is a bug: index out of range"));
    assert_eq!(status(&running, ComponentKind::Receiver, "ticker/good").0, Status::Ok);
    assert!(notices(running.events()).len() > 3);
    let report = running.shutdown(TEN_SECONDS).await;
    assert_eq!(report.broken, ["receiver `ticker/bad`"]);
    assert!(report.errors.is_empty() && !report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_ends_by_itself_is_told() {
    let running = start(
        "
extensions: {page: {fails: end}, page/bad: {fails: panic}}
receivers: {ticker: {fails: run}, ticker/done: {fails: end}}
exporters: {sink: }
service:
  extensions: [page, page/bad]
  pipelines: {observations: {receivers: [ticker, ticker/done], exporters: [sink]}}",
    )
    .await;
    pass(0.1).await;
    let of = |kind, id| status(&running, kind, id);
    assert_eq!(of(ComponentKind::Extension, "page"), (Status::Stopped, "ended by itself".to_owned()));
    assert_eq!(of(ComponentKind::Extension, "page/bad").0, Status::PermanentError);
    assert_eq!(of(ComponentKind::Receiver, "ticker"), (Status::PermanentError, "the socket broke".to_owned()));
    assert_eq!(of(ComponentKind::Receiver, "ticker/done"), (Status::Stopped, "ended by itself".to_owned()));
    let report = running.shutdown(TEN_SECONDS).await;
    assert_eq!(report.broken, ["extension `page/bad`", "receiver `ticker`"]);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_is_told_to_whoever_waits_for_it() {
    let running = start(&GOOD.replace("ticker: }", "ticker: {fails: fatal}}")).await;
    let change = running.wait_fatal().await;
    assert_eq!((change.component.to_string().as_str(), change.message.as_str()), ("ticker", "the disk is gone"));
    let report = running.shutdown(TEN_SECONDS).await;
    assert_eq!(report.broken, ["receiver `ticker`"]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_switched_off_is_built_but_not_started_and_that_is_said_once() {
    let yaml = GOOD.replace("ticker: }", "ticker: {enabled: false}}");
    let running = start(&yaml).await;
    pass(5.0).await;
    let events = running.events().clone();
    assert_eq!(
        status(&running, ComponentKind::Receiver, "ticker"),
        (Status::Stopped, "not started, because `enabled` is false".to_owned())
    );
    assert!(notices(&events).is_empty());
    assert!(running.shutdown(TEN_SECONDS).await.is_clean());
    let told = story(&events).into_iter().filter(|one| one.starts_with("ticker")).collect::<Vec<_>>();
    assert_eq!(told, ["ticker Starting", "ticker Stopped: not started, because `enabled` is false"]);
    // It is built all the same: what cannot be built is told.
    let yaml = GOOD.replace("ticker: }", "ticker: {enabled: false, fails: build}}");
    assert!(host().start(&plan(&yaml)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn extensions_see_every_component_with_its_pipelines_and_details() {
    let running = start(ALL).await;
    pass(0.1).await;
    let snapshot = running.snapshot();
    let seen: Vec<String> =
        snapshot.components.iter().map(|one| format!("{} {} {:?}", one.kind, one.id, one.pipelines)).collect();
    assert_eq!(
        seen,
        [
            "extension page []",
            "extension page/2 []",
            "exporter sink [\"metrics\"]",
            "processor keeper [\"metrics\"]",
            "processor to_metrics [\"metrics\"]",
            "receiver ticker [\"metrics\"]",
        ]
    );
    assert_eq!(snapshot.components[1].details, Some(serde_json::json!({ "page": "page/2" })));
    let arrows: Vec<String> =
        snapshot.books.edges.iter().map(|one| format!("{} -{}-> {}", one.from, one.signal, one.to)).collect();
    assert_eq!(
        arrows,
        ["to_metrics -metrics-> sink", "keeper -observations-> to_metrics", "ticker -observations-> keeper"]
    );
    assert!(!snapshot.up_since.is_unset());
    running.shutdown(TEN_SECONDS).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_program_breaks_everything_off() {
    let running = start(GOOD).await;
    let events = running.events().clone();
    pass(1.5).await;
    drop(running);
    let told = events.recent().len();
    pass(10.0).await;
    assert_eq!(events.recent().len(), told);
    assert_eq!(of(&events.statuses(), ComponentKind::Receiver, "ticker").0, Status::Ok);
}
