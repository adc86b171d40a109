//! Promise: every item that was offered is somewhere: passed on, refused, lost under a reason, or still there. At every moment, at the end,
//! on `/status` and in the metrics.

use std::time::Duration;

use minicol_plugin::{Account, Books, ComponentKind, Converted, sum};

use crate::support::{GOOD, TEN_SECONDS, pass, start};

/// Pipelines in which everything happens that can: what is refused, fails, is dropped, hangs, panics, is held.
const TROUBLE: [&str; 9] = [
    GOOD,
    "
receivers: {ticker: }
processors: {to_metrics: }
exporters: {sink/down: {fails: later}, sink/never: {fails: never}, sink/hangs: {takes: 1h, timeout: 0s}, sink/good: }
service:
  pipelines:
    metrics: {receivers: [ticker], processors: [to_metrics], exporters: [sink/hangs, sink/down, sink/never, sink/good]}
    observations: {receivers: [ticker], exporters: [sink/hangs, sink/good]}",
    "
receivers: {ticker: }
exporters: {sink: {takes: 1h, timeout: 0s, sending_queue: {queue_size: 2, num_consumers: 1}}}
service: {pipelines: {observations: {receivers: [ticker], exporters: [sink]}}}",
    "
receivers: {ticker: }
exporters: {sink/slow: {takes: 2.5s, sending_queue: {queue_size: 1, num_consumers: 1}}, sink: }
service: {pipelines: {observations: {receivers: [ticker], exporters: [sink/slow, sink]}}}",
    "
receivers: {ticker: }
exporters: {sink: {takes: 1h, timeout: 0s, sending_queue: {queue_size: 1, num_consumers: 1, block_on_overflow: true}}}
service: {pipelines: {observations: {receivers: [ticker], exporters: [sink]}}}",
    "
receivers: {ticker: {deaf: true}}
processors: {keeper: }
exporters: {sink: {takes: 1h, timeout: 0s, sending_queue: {enabled: false}}, sink/2: {fails: never, sending_queue: {enabled: false}}}
service: {pipelines: {observations: {receivers: [ticker], processors: [keeper], exporters: [sink, sink/2]}}}",
    "
receivers: {ticker: }
processors: {to_metrics: {fails: panic}, keeper: }
exporters: {sink: }
service:
  pipelines:
    metrics: {receivers: [ticker], processors: [to_metrics, keeper], exporters: [sink]}
    observations: {receivers: [ticker], processors: [keeper], exporters: [sink]}",
    "
receivers: {ticker: }
processors: {keeper: {holds: true}}
exporters: {sink: {takes: 1s}}
service: {pipelines: {observations: {receivers: [ticker], processors: [keeper], exporters: [sink]}}}",
    "
receivers: {ticker: }
processors: {keeper: {holds: true}}
exporters: {sink: {fails: never, retry_on_failure: {enabled: false}, sending_queue: {enabled: false}}}
service: {pipelines: {observations: {receivers: [ticker], processors: [keeper], exporters: [sink]}}}",
];

#[tokio::test(start_paused = true)]
async fn the_books_balance_at_every_moment_and_at_the_end_whatever_happens() {
    for yaml in TROUBLE {
        for within in [TEN_SECONDS, Duration::ZERO] {
            let running = start(yaml).await;
            for _ in 0..40 {
                pass(0.25).await;
                running.books().check().unwrap_or_else(|error| panic!("{error}\n{yaml}"));
            }
            let report = running.shutdown(within).await;
            report.books.check_at_end().unwrap_or_else(|error| panic!("{error}\n{yaml}\n{report:?}"));
        }
    }
}

fn account(books: &Books, kind: ComponentKind, id: &str) -> Account {
    let found = books.accounts.iter().find(|one| one.kind == kind && one.component.to_string() == id);
    found.unwrap_or_else(|| panic!("no {kind} {id}: {books:?}")).clone()
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_stands_where_it_was_lost_and_why() {
    // Ticks at 0, 1, 2, 3 s; a delivery takes longer than that.
    let running = start(TROUBLE[3]).await;
    pass(3.5).await;
    let books = running.books();
    assert_eq!(account(&books, ComponentKind::Receiver, "ticker").taken, 4);
    let slow = account(&books, ComponentKind::Exporter, "sink/slow");
    assert_eq!((slow.offered, slow.taken, slow.out, slow.queued), (4, 2, 1, 1));
    assert_eq!(slow.refused["queue_full"], 2);
    let torn = books.edges.iter().find(|edge| edge.to == "sink/slow").unwrap();
    assert_eq!((torn.offered, torn.accepted, sum(&torn.refused), torn.lost), (4, 2, 2, 2));
    assert_eq!(books.lost(), 2);
    running.shutdown(TEN_SECONDS).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_processor_could_not_pass_on_at_the_end_is_dropped_and_named() {
    let running = start(TROUBLE[8]).await;
    pass(3.5).await;
    assert_eq!(account(&running.books(), ComponentKind::Processor, "keeper").queued, 4);
    let report = running.shutdown(TEN_SECONDS).await;
    let keeper = account(&report.books, ComponentKind::Processor, "keeper");
    assert_eq!((keeper.taken, keeper.out, keeper.queued, keeper.dropped["flush_failed"]), (4, 0, 0, 4));
    assert_eq!(
        account(&report.books, ComponentKind::Exporter, "sink").refused["send_failed"],
        1,
        "the first broke it off"
    );
    assert!(!report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_observations_is_in_the_books_and_one_that_is_forgotten_breaks_them() {
    let running = start(GOOD).await;
    pass(2.5).await;
    let mapped = account(&running.books(), ComponentKind::Processor, "to_metrics");
    assert_eq!((mapped.taken, mapped.converted, mapped.queued), (3, Some(Converted { converted: 3, unused: 0 }), 0));
    let page = running.telemetry().page();
    let line = r#"minicol_books_converted_items{component="to_metrics",kind="processor",otel_signal="observations",pipeline="metrics"} 3"#;
    assert!(page.lines().any(|one| one == line), "{page}");
    running.shutdown(TEN_SECONDS).await.books.check_at_end().unwrap();

    let running = start(&GOOD.replace("to_metrics: }", "to_metrics: {fails: forget}}")).await;
    pass(2.5).await;
    let unbalanced = running.shutdown(TEN_SECONDS).await.books.check_at_end().unwrap_err();
    assert_eq!(unbalanced.0, ["processor `to_metrics` in metrics (observations): 3 items are left in it"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_has_and_cannot_even_offer_is_in_the_books() {
    let running = start(
        "
receivers: {ticker: {fails: busy}}
exporters: {sink: , sink/two: }
service: {pipelines: {observations: {receivers: [ticker], exporters: [sink, sink/two]}}}",
    )
    .await;
    pass(2.5).await;
    let ticker = account(&running.books(), ComponentKind::Receiver, "ticker");
    assert_eq!((ticker.offered, ticker.taken, ticker.refused["busy"]), (3, 0, 3));
    let page = running.telemetry().page();
    assert!(page.contains(r#"otelcol_receiver_refused_observations{receiver="ticker",transport="http"} 3"#), "{page}");
    running.shutdown(TEN_SECONDS).await.books.check_at_end().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_is_aborted_while_it_waits_has_its_items_refused() {
    let running = start(TROUBLE[5]).await;
    pass(0.5).await;
    let waits = running.books();
    assert_eq!(account(&waits, ComponentKind::Receiver, "ticker").waiting, 1);
    let report = running.shutdown(TEN_SECONDS).await;
    let ticker = account(&report.books, ComponentKind::Receiver, "ticker");
    assert_eq!((ticker.offered, ticker.taken, ticker.refused["cancelled"], ticker.waiting), (1, 0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_metrics_say_the_same() {
    let running = start(&TROUBLE[3].replace("service: {", "service: {telemetry: {metrics: {level: detailed}}, ")).await;
    pass(3.5).await;
    let page = running.telemetry().page();
    for line in [
        r#"minicol_books_in_items{component="ticker",kind="receiver",otel_signal="observations"} 4"#,
        r#"minicol_books_offered_items{component="sink/slow",kind="exporter",otel_signal="observations"} 4"#,
        r#"minicol_books_refused_items{component="sink/slow",kind="exporter",otel_signal="observations",reason="queue_full"} 2"#,
        r#"minicol_books_out_items{component="sink/slow",kind="exporter",otel_signal="observations"} 1"#,
        r#"minicol_books_queued_items{component="sink/slow",kind="exporter",otel_signal="observations"} 1"#,
        r#"minicol_edge_offered_items{from="ticker",pipeline="observations",to="sink/slow"} 4"#,
        r#"minicol_edge_lost_items{from="ticker",pipeline="observations",to="sink/slow"} 2"#,
        r#"minicol_edge_waiting_items{from="ticker",pipeline="observations",to="sink"} 0"#,
    ] {
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
    running.shutdown(TEN_SECONDS).await;
}
