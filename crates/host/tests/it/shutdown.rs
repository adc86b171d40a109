//! Promise: a shutdown keeps its deadline, does every step whatever goes wrong in another, and tells to the item what was lost.

use std::time::Duration;

use minicol_plugin::{ComponentKind, Status};
use tokio::time::Instant;

use crate::support::{GOOD, TEN_SECONDS, notices, of, pass, start};

#[tokio::test(start_paused = true)]
async fn what_a_processor_holds_is_flushed_and_what_is_queued_is_delivered() {
    let running = start(
        "
receivers: {ticker: }
processors: {keeper: {holds: true}}
exporters: {sink: {takes: 1s}}
service: {pipelines: {observations: {receivers: [ticker], processors: [keeper], exporters: [sink]}}}",
    )
    .await;
    pass(4.5).await;
    let events = running.events().clone();
    assert!(notices(&events).iter().all(|one| !one.contains("exports")));
    let report = running.shutdown(TEN_SECONDS).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(notices(&events).iter().filter(|one| *one == "sink exports: 1 observations").count(), 5);
    assert_eq!((report.exporters[0].drain.counts.sent, report.lost()), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_down_costs_its_items_but_is_no_failure_of_the_program() {
    let running = start(&GOOD.replace("sink: }", "sink: {fails: later}}")).await;
    pass(4.5).await;
    let begun = Instant::now();
    let report = running.shutdown(TEN_SECONDS).await;
    assert!(begun.elapsed() <= TEN_SECONDS);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.lost(), 5);
    assert_eq!(report.exporters[0].drain.counts.queued, 0);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_needs_longer_is_waited_for_then_told_to_drop_what_it_does() {
    for (lingers, ends) in [("4s", "ticker ends"), ("20s", "ticker drops what it does")] {
        let running = start(&GOOD.replace("ticker: }", &format!("ticker: {{lingers: {lingers}}}}}"))).await;
        pass(0.5).await;
        let events = running.events().clone();
        let begun = Instant::now();
        let report = running.shutdown(TEN_SECONDS).await;
        assert!(report.is_clean(), "{report:?}");
        assert!(notices(&events).iter().any(|one| one == ends), "{lingers}: {:?}", notices(&events));
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_react_is_aborted_and_the_rest_still_ends_well() {
    let running = start(
        "
extensions: {page: {deaf: true}, page/2: }
receivers: {ticker: {deaf: true}}
exporters: {sink: }
service:
  extensions: [page, page/2]
  pipelines: {observations: {receivers: [ticker], exporters: [sink]}}",
    )
    .await;
    pass(1.5).await;
    let events = running.events().clone();
    let begun = Instant::now();
    let report = running.shutdown(TEN_SECONDS).await;
    assert!(begun.elapsed() <= TEN_SECONDS, "{:?}", begun.elapsed());
    assert_eq!(
        report.errors,
        [
            "receiver `ticker` did not stop in time and was aborted",
            "extension `page` did not stop in time and was aborted"
        ]
    );
    assert!(!report.is_clean());
    assert_eq!(of(&events.statuses(), ComponentKind::Extension, "page/2").0, Status::Stopped);
    assert_eq!(of(&events.statuses(), ComponentKind::Exporter, "sink").0, Status::Stopped);
    let told = events.recent().len();
    pass(60.0).await;
    assert_eq!(events.recent().len(), told, "nothing runs any more");
}

/// Each has a moment to drop what it does, but not one after the other.
#[tokio::test(start_paused = true)]
async fn several_extensions_that_do_not_react_share_the_time_that_is_left() {
    let running = start(
        "
extensions: {page: , page/2: {deaf: true}, page/3: {deaf: true}, page/4: {deaf: true}}
receivers: {ticker: }
exporters: {sink: }
service:
  extensions: [page, page/2, page/3, page/4]
  pipelines: {observations: {receivers: [ticker], exporters: [sink]}}",
    )
    .await;
    let events = running.events().clone();
    let report = running.shutdown(TEN_SECONDS).await;
    assert!(report.took <= TEN_SECONDS, "{:?}", report.took);
    assert_eq!(report.errors.len(), 3, "{:?}", report.errors);
    assert!(notices(&events).iter().any(|one| one == "page ends"), "the one that reacts is given the time to");
}

#[tokio::test(start_paused = true)]
async fn errors_add_up_and_never_stop_the_sequence() {
    let running = start(
        "
receivers: {ticker: }
processors: {to_metrics: {fails: flush}}
exporters: {sink: {fails: shutdown}, sink/2: {fails: shutdown}}
service: {pipelines: {metrics: {receivers: [ticker], processors: [to_metrics], exporters: [sink, sink/2]}}}",
    )
    .await;
    pass(0.5).await;
    let report = running.shutdown(TEN_SECONDS).await;
    assert_eq!(
        report.errors,
        [
            "processor `to_metrics` in pipeline `metrics` could not be flushed: what it held is broken",
            "exporter `sink` did not shut down: the file cannot be closed",
            "exporter `sink/2` did not shut down: the file cannot be closed",
        ]
    );
    assert!(report.exporters.iter().all(|one| one.drain.counts.sent == 1));
}

#[tokio::test(start_paused = true)]
async fn no_time_at_all_still_ends_with_exact_books() {
    let running = start(&GOOD.replace("sink: }", "sink: {takes: 3s}}")).await;
    pass(4.5).await;
    let begun = Instant::now();
    let report = running.shutdown(Duration::ZERO).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let counts = &report.exporters[0].drain.counts;
    // Ticks at 0, 1, 2, 3, 4 s; those of 0 and 1 s were through by 4.5 s.
    assert_eq!((counts.accepted, counts.sent, counts.dropped.values().sum::<u64>(), counts.queued), (5, 2, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_delivered_in_time_is_kept_where_there_is_a_storage_and_said_with_its_number() {
    let with_shelf = GOOD
        .replace("sink: }", "sink: {fails: later, sending_queue: {storage: shelf}}}")
        .replace("service:", "extensions: {shelf: }\nservice:\n  extensions: [shelf]");
    let running = start(&with_shelf).await;
    pass(4.5).await;
    let events = running.events().clone();
    let report = running.shutdown(TEN_SECONDS).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.lost(), report.kept()), (0, 5));
    assert!(report.exporters[0].drain.counts.is_balanced());
    let (_, words) = of(&events.statuses(), ComponentKind::Exporter, "sink");
    assert_eq!(words, "0 items sent, 0 failed, 0 dropped; 5 items are kept in storage");
    let shelf_stops = crate::support::story(&events).iter().position(|one| one.starts_with("shelf Stopped")).unwrap();
    let sink_stops = crate::support::story(&events).iter().position(|one| one.starts_with("sink Stopped")).unwrap();
    assert!(sink_stops < shelf_stops, "a storage outlives those who store in it");
}
