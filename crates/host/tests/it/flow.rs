//! Promise: a batch reaches everyone who is to get it, whatever becomes of it elsewhere, and every arrow counts what passed.

use minicol_plugin::{ComponentKind, Status};

use crate::support::{GOOD, TEN_SECONDS, edge, notices, pass, start, status};

#[tokio::test(start_paused = true)]
async fn one_exporter_that_fails_or_hangs_keeps_nothing_from_the_others() {
    let running = start(
        "
receivers: {ticker: }
processors: {to_metrics: }
exporters: {sink/down: {fails: later}, sink/hangs: {takes: 1h, timeout: 0s}, sink/good: }
service:
  pipelines:
    metrics: {receivers: [ticker], processors: [to_metrics], exporters: [sink/hangs, sink/down, sink/good]}
    observations: {receivers: [ticker], exporters: [sink/hangs, sink/good]}",
    )
    .await;
    pass(2.5).await;
    let got = |what: &str| notices(running.events()).iter().filter(|one| *one == what).count();
    assert_eq!(got("sink/good exports: 1 metric_points"), 3);
    assert_eq!(got("sink/good exports: 1 observations"), 3);
    assert_eq!(status(&running, ComponentKind::Exporter, "sink/down").0, Status::RecoverableError);
    assert_eq!(status(&running, ComponentKind::Exporter, "sink/good").0, Status::Ok);
    running.shutdown(TEN_SECONDS).await;
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_refuses_does_not_take_from_another_and_its_arrow_says_why() {
    let running = start(
        "
receivers: {ticker: }
processors: {to_metrics: {fails: refuse}}
exporters: {sink: }
service:
  pipelines:
    metrics: {receivers: [ticker], processors: [to_metrics], exporters: [sink]}
    observations: {receivers: [ticker], exporters: [sink]}",
    )
    .await;
    pass(2.5).await;
    assert_eq!(edge(&running, "ticker", "sink").accepted, 3);
    let refusing = edge(&running, "ticker", "to_metrics");
    assert_eq!((refusing.accepted, refusing.refused.get("invalid")), (0, Some(&3)));
    let told: Vec<_> = notices(running.events()).into_iter().filter(|one| one.contains("dropped")).collect();
    let once = "to_metrics batches_dropped: what `ticker` gives in pipeline `metrics` is dropped, reason invalid: not to be mapped";
    assert_eq!(told, [once]);
    running.shutdown(TEN_SECONDS).await;
}

#[tokio::test(start_paused = true)]
async fn what_one_of_several_drops_is_told_when_it_begins_and_when_it_is_over() {
    let queue = "sending_queue: {queue_size: 1, num_consumers: 1}";
    let running = start(&format!(
        "
receivers: {{ticker: }}
exporters: {{sink/slow: {{takes: 2.5s, {queue}}}, sink: }}
service: {{pipelines: {{observations: {{receivers: [ticker], exporters: [sink/slow, sink]}}}}}}",
    ))
    .await;
    pass(4.5).await;
    let told: Vec<_> = notices(running.events()).into_iter().filter(|one| one.contains(" batches_")).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with("sink/slow batches_dropped: what `ticker` gives in pipeline `observations` is dropped")
    );
    assert!(told[1].ends_with("in pipeline `observations` again; 2 items were dropped"), "{}", told[1]);
    assert_eq!(edge(&running, "ticker", "sink").accepted, 5);
    let page = running.telemetry().page();
    // It is taken: by one of them.
    assert!(page.contains(r#"otelcol_receiver_accepted_observations{receiver="ticker",transport="http"} 5"#), "{page}");
    running.shutdown(TEN_SECONDS).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_processor_costs_the_batch_and_is_a_permanent_error() {
    let running = start(&GOOD.replace("to_metrics: }", "to_metrics: {fails: panic}}")).await;
    pass(1.5).await;
    assert_eq!(edge(&running, "ticker", "to_metrics").refused.get("panic"), Some(&2));
    let (is, why) = status(&running, ComponentKind::Processor, "to_metrics");
    assert_eq!(is, Status::PermanentError);
    assert!(why.contains("attempt to subtract with overflow"), "{why}");
    assert_eq!(status(&running, ComponentKind::Receiver, "ticker").0, Status::Ok);
    assert!(!running.shutdown(TEN_SECONDS).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_the_arrow_counts_it() {
    let running = start(
        "
receivers: {ticker: }
exporters: {sink: {takes: 1h, timeout: 0s, sending_queue: {queue_size: 2, num_consumers: 1}}}
service: {pipelines: {observations: {receivers: [ticker], exporters: [sink]}}}",
    )
    .await;
    pass(4.5).await;
    let arrow = edge(&running, "ticker", "sink");
    assert_eq!((arrow.accepted, arrow.refused.get("queue_full")), (2, Some(&3)));
    let page = running.telemetry().page();
    assert!(page.contains(r#"otelcol_receiver_refused_observations{receiver="ticker",transport="http"} 3"#), "{page}");
    running.shutdown(TEN_SECONDS).await;
}

#[tokio::test(start_paused = true)]
async fn one_receiver_and_one_exporter_are_shared_but_each_pipeline_has_its_own_processor() {
    let running = start(
        "
receivers: {ticker: , ticker/2: {interval: 100s}}
processors: {keeper: }
exporters: {sink: }
service:
  pipelines:
    observations: {receivers: [ticker], processors: [keeper], exporters: [sink]}
    observations/2: {receivers: [ticker, ticker/2], processors: [keeper], exporters: [sink]}",
    )
    .await;
    pass(2.5).await;
    let events = running.events().clone();
    let begun = |id: &str| notices(&events).iter().filter(|one| **one == format!("{id} begins")).count();
    assert_eq!((begun("ticker"), begun("ticker/2")), (1, 1));
    running.shutdown(TEN_SECONDS).await;
    let told = notices(&events);
    assert_eq!(told.iter().filter(|one| *one == "sink closes").count(), 1);
    // Neither instance knows what the other saw.
    let flushes: Vec<_> = told.iter().filter(|one| one.starts_with("keeper flushes")).collect();
    assert_eq!(flushes, ["keeper flushes: after 3", "keeper flushes: after 4"]);
}

#[tokio::test(start_paused = true)]
async fn what_flows_stands_on_the_page_under_the_names_that_dashboards_know() {
    let level = "\n  telemetry: {metrics: {level: detailed}}";
    let running = start(&format!("{}{level}", GOOD.trim_end())).await;
    pass(2.5).await;
    let page = running.telemetry().page();
    for line in [
        r#"otelcol_receiver_accepted_observations{receiver="ticker",transport="http"} 3"#,
        r#"otelcol_receiver_refused_observations{receiver="ticker",transport="http"} 0"#,
        r#"otelcol_processor_incoming_items{otel_signal="observations",processor="to_metrics"} 3"#,
        r#"otelcol_processor_outgoing_items{otel_signal="metrics",processor="to_metrics"} 3"#,
        r#"otelcol_exporter_sent_metric_points{exporter="sink"} 3"#,
        r#"minicol_edge_accepted_items{from="ticker",pipeline="metrics",to="to_metrics"} 3"#,
    ] {
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
    running.shutdown(TEN_SECONDS).await;
}

/// When the sink named so got something, in tenths of a second since the start.
fn arrivals(events: &minicol_host::Events, id: &str) -> Vec<u64> {
    let start = minicol_plugin::testing::Harness::default().environment().clock.wall();
    let exports = |event: &minicol_plugin::Event| match event {
        minicol_plugin::Event::Notice(notice) if notice.component.to_string() == id && notice.name == "exports" => {
            Some(u64::try_from(notice.at.since(start).as_millis() / 100).unwrap())
        }
        _ => None,
    };
    events.recent().iter().filter_map(exports).collect()
}

/// Whatever stands beside it, each batch is at the good sinks when it would be without: also where the dead one makes its sender wait. Of
/// the first batch, the sender waits a second for the dead one; never again.
#[tokio::test(start_paused = true)]
async fn a_dead_exporter_that_makes_senders_wait_delays_no_other() {
    let dead = [
        "takes: 1h, timeout: 0s, sending_queue: {enabled: false}",
        "fails: later, sending_queue: {enabled: false}, retry_on_failure: {max_elapsed_time: 0s}",
        "takes: 1h, sending_queue: {enabled: false}, retry_on_failure: {enabled: false}",
        "takes: 1h, timeout: 0s, sending_queue: {queue_size: 1, num_consumers: 1, block_on_overflow: true}",
    ];
    let same = "
receivers: {ticker: {interval: 1.5s}}
processors: {to_metrics: }
exporters: {sink/dead: {DEAD}, sink/one: , sink/two: {sending_queue: {enabled: false}}}
service:
  pipelines:
    metrics: {receivers: [ticker], processors: [to_metrics], exporters: [sink/one]}
    observations: {receivers: [ticker], exporters: [EXPORTERS]}";
    let apart = "
receivers: {ticker: {interval: 1.5s}}
processors: {to_metrics: }
exporters: {sink/dead: {DEAD}, sink/one: , sink/two: {sending_queue: {enabled: false}}}
service:
  pipelines:
    metrics: {receivers: [ticker], processors: [to_metrics], exporters: [sink/dead]}
    observations: {receivers: [ticker], exporters: [sink/one, sink/two]}";
    for pipelines in [same, apart] {
        for dead in dead {
            let yaml = pipelines.replace("DEAD", dead).replace("EXPORTERS", "sink/dead, sink/one, sink/two");
            let running = start(&yaml).await;
            pass(29.0).await;
            let events = running.events().clone();
            for sink in ["sink/one", "sink/two"] {
                let mut arrived = arrivals(&events, sink);
                // It is in both pipelines.
                arrived.dedup();
                assert_eq!(arrived, (0..20).map(|tick| tick * 15).collect::<Vec<_>>(), "{sink} {yaml}");
            }
            running.books().check().unwrap();
            let report = running.shutdown(TEN_SECONDS).await;
            report.books.check_at_end().unwrap_or_else(|error| panic!("{error}\n{yaml}"));
            assert!(report.books.lost() > 0 && report.took <= TEN_SECONDS, "{report:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_is_a_little_slow_gets_everything_and_one_that_was_late_is_waited_for_again() {
    let running = start(
        "
receivers: {ticker: {interval: 100ms}}
exporters: {sink/slow: {takes: 900ms, sending_queue: {enabled: false}}, sink: }
service: {pipelines: {observations: {receivers: [ticker], exporters: [sink/slow, sink]}}}",
    )
    .await;
    pass(20.0).await;
    let slow = edge(&running, "ticker", "sink/slow");
    assert_eq!(slow.offered, slow.accepted + slow.waiting, "{slow:?}");
    assert_eq!(edge(&running, "ticker", "sink").offered, slow.offered, "its sender goes at its pace");
    running.shutdown(TEN_SECONDS).await;
}

/// What is said to be taken is stored: one exporter that takes at once answers for none that has a disk, in one pipeline or in two.
#[tokio::test(start_paused = true)]
async fn a_slow_disk_is_waited_for_and_loses_nothing_whoever_else_took_the_batch() {
    let parts = "
receivers: {ticker: {interval: 100ms}}
processors: {to_metrics: }
exporters: {sink: , sink/stored: {sending_queue: {storage: shelf}}, sink/dead: {takes: 1h, timeout: 0s, sending_queue: {enabled: false}}}
extensions: {shelf: {takes: 2.5s}}
service:
  extensions: [shelf]
  pipelines:
    metrics: {receivers: [ticker], processors: [to_metrics], exporters: [sink/stored";
    for (rest, from) in [
        (", sink, sink/dead]}", "to_metrics"),
        ("]}\n    observations: {receivers: [ticker], exporters: [sink, sink/dead]}", "ticker"),
    ] {
        let running = start(&format!("{parts}{rest}")).await;
        pass(11.0).await;
        let stored = edge(&running, "to_metrics", "sink/stored");
        assert_eq!((stored.accepted, stored.waiting, stored.refused.len(), stored.lost), (4, 1, 0, 0), "{stored:?}");
        let sender = edge(&running, "ticker", "to_metrics");
        assert_eq!(
            (sender.accepted, sender.waiting),
            (4, 1),
            "its sender has the answer when it is stored: {sender:?}"
        );
        assert_eq!(edge(&running, from, "sink").accepted, 5, "who takes at once has it at once");
        assert_eq!(edge(&running, from, "sink/dead").refused.get("busy"), Some(&4), "for the dead one nobody waits");
        running.books().check().unwrap();
        let report = running.shutdown(TEN_SECONDS).await;
        report.books.check_at_end().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_disk_has_no_room_for_is_refused_to_the_sender_though_another_took_it() {
    let running = start(
        "
receivers: {ticker: }
processors: {to_metrics: }
exporters:
  sink:
  sink/stored: {takes: 1h, timeout: 0s, sending_queue: {storage: shelf, queue_size: 2}}
extensions: {shelf: }
service:
  extensions: [shelf]
  pipelines: {metrics: {receivers: [ticker], processors: [to_metrics], exporters: [sink/stored, sink]}}",
    )
    .await;
    pass(4.5).await;
    let (stored, sender) = (edge(&running, "to_metrics", "sink/stored"), edge(&running, "ticker", "to_metrics"));
    assert_eq!((stored.accepted, stored.refused.get("queue_full"), stored.lost), (2, Some(&3), 0));
    // It is the sender's to offer again, so it is no loss here.
    assert_eq!((sender.accepted, sender.refused.get("queue_full")), (2, Some(&3)));
    assert_eq!(edge(&running, "to_metrics", "sink").accepted, 5, "the other one gets everything all the same");
    assert!(!notices(running.events()).iter().any(|one| one.contains("batches_dropped")));
    running.shutdown(TEN_SECONDS).await;
}
