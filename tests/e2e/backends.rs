//! Promise: whatever a backend answers, or does not answer, each item arrives, waits, or is counted as lost under a reason and named in the log.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use minicol_plugin::net::{NetworkFaults, SystemNetwork};
use minicol_tests::{Fate, FaultyBackend, FaultyProxy, free_port, repeated, wait_until};
use tonic::Code;

use crate::common::{Relay, account};

const BOTH: [&str; 2] = ["otlp", "otlphttp"];

async fn backend() -> (Arc<FaultyBackend>, String) {
    let address = format!("127.0.0.1:{}", free_port());
    (Arc::new(FaultyBackend::start(&SystemNetwork, &address, 1, 0.0).await), address)
}

/// An exporter that tries again at once, and sends one batch after the other.
fn exporter(id: &str, address: &str) -> String {
    format!(
        "{id}: {{endpoint: \"http://{address}\", timeout: 1s, retry_on_failure: {{initial_interval: 10ms, max_interval: 20ms}}, sending_queue: {{num_consumers: 1}}}}"
    )
}

/// Both exporters, each to a backend of its own.
async fn both() -> ([Arc<FaultyBackend>; 2], Relay) {
    let ((grpc, at), (http, there)) = (backend().await, backend().await);
    let relay = Relay::start(&[exporter(BOTH[0], &at), exporter(BOTH[1], &there)]).await;
    ([grpc, http], relay)
}

#[tokio::test]
async fn each_answer_leads_to_another_attempt_or_to_a_loss_with_its_reason() {
    let grpc = [
        (Code::Cancelled, true),
        (Code::Unknown, false),
        (Code::InvalidArgument, false),
        (Code::DeadlineExceeded, true),
        (Code::NotFound, false),
        (Code::AlreadyExists, false),
        (Code::PermissionDenied, false),
        (Code::ResourceExhausted, false),
        (Code::FailedPrecondition, false),
        (Code::Aborted, true),
        (Code::OutOfRange, true),
        (Code::Unimplemented, false),
        (Code::Internal, false),
        (Code::Unavailable, true),
        (Code::DataLoss, true),
        (Code::Unauthenticated, false),
    ];
    let http = [400, 401, 403, 404, 405, 409, 411, 415, 422, 429, 500, 501, 502, 503, 504, 507].map(|status| {
        let again = [429, 502, 503, 504].contains(&status);
        (status, again)
    });
    let ([by_grpc, by_http], relay) = both().await;
    by_grpc.script(grpc.iter().flat_map(|(code, again)| refusal(Fate::Refuse(*code, 200, None), *again)));
    by_http.script(http.iter().flat_map(|(status, again)| refusal(Fate::Refuse(Code::Ok, *status, None), *again)));
    for nth in 0..grpc.len() {
        relay.send(nth, 1).await;
    }
    let books = relay.settled().await;
    let output = relay.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    for (id, backend, kept) in [
        ("otlp", by_grpc, grpc.iter().filter(|(_, again)| *again).count()),
        ("otlphttp", by_http, http.iter().filter(|(_, again)| *again).count()),
    ] {
        let account = account(&books, id);
        let lost = grpc.len() - kept;
        assert_eq!(account.out, kept as u64, "{account:?}");
        assert_eq!(account.failed.len(), lost, "each loss has the reason of its answer: {account:?}");
        assert!(account.failed.values().all(|items| *items == 1), "{account:?}");
        assert_eq!(backend.received().len(), kept);
        let named: BTreeSet<_> =
            account.failed.keys().filter(|reason| output.stderr.contains(&format!("reason {reason}"))).collect();
        assert_eq!(named.len(), lost, "each reason is named in the log: {:?}\n{}", account.failed, output.stderr);
    }
}

/// A refusal and, where the batch comes again, what becomes of it then.
fn refusal(fate: Fate, again: bool) -> Vec<Fate> {
    if again { vec![fate, Fate::Take] } else { vec![fate] }
}

#[tokio::test]
async fn a_backend_that_names_a_time_is_left_alone_until_then() {
    let (backends, relay) = both().await;
    for backend in &backends {
        backend.script([Fate::Refuse(Code::ResourceExhausted, 429, Some(2)), Fate::Take]);
    }
    relay.send(0, 1).await;
    let books = relay.settled().await;
    for (id, backend) in BOTH.iter().zip(&backends) {
        assert_eq!(account(&books, id).out, 1, "{books:?}");
        let arrivals = backend.arrivals();
        assert_eq!(arrivals.len(), 2, "it is not asked meanwhile");
        assert!(arrivals[1] >= arrivals[0] + Duration::from_secs(2), "{arrivals:?}");
    }
    assert_eq!(relay.stop().await.code, 0);
}

#[tokio::test]
async fn what_a_backend_took_in_part_is_delivered_in_part_and_the_rest_is_named() {
    let (backends, relay) = both().await;
    for backend in &backends {
        backend.script([Fate::Partial(2)]);
    }
    relay.send(0, 5).await;
    let books = relay.settled().await;
    for (id, backend) in BOTH.iter().zip(&backends) {
        let account = account(&books, id);
        assert_eq!((account.out, account.failed.get("partial_success")), (3, Some(&2)), "{account:?}");
        assert_eq!(backend.received()[0].points.len(), 3);
    }
    let output = relay.stop().await;
    assert!(output.stderr.contains("2 metric points lost, reason partial_success: not these"), "{}", output.stderr);
}

#[tokio::test]
async fn an_answer_that_drips_never_comes_or_breaks_off_costs_a_repetition_and_no_item() {
    let (backends, relay) = both().await;
    let fates = [Fate::Drip, Fate::TakeAndHang, Fate::Break, Fate::TakeAndBreak, Fate::Garble];
    for backend in &backends {
        backend.script(fates.iter().flat_map(|fate| match fate {
            // What was taken is not sent again only because nobody understands the answer.
            Fate::Garble => vec![*fate],
            fate => vec![*fate, Fate::Take],
        }));
    }
    for nth in 0..fates.len() {
        relay.send(nth, 1).await;
    }
    let books = relay.settled().await;
    for (id, backend) in BOTH.iter().zip(&backends) {
        assert_eq!(account(&books, id).out, fates.len() as u64, "{books:?}");
        let points: Vec<_> = backend.received().into_iter().flat_map(|one| one.points).collect();
        assert_eq!(points.len() - repeated(&points), fates.len(), "all of them arrived: {points:?}");
    }
    assert_eq!(relay.stop().await.code, 0);
}

#[tokio::test]
async fn connections_that_are_reset_in_mid_body_lose_nothing() {
    let ((grpc, at), (http, there)) = (backend().await, backend().await);
    let proxies = [FaultyProxy::start(&at, 1).await, FaultyProxy::start(&there, 2).await];
    let bad = NetworkFaults { reset: 1.0, within: 400, piece: 50, ..NetworkFaults::default() };
    for proxy in &proxies {
        proxy.set(bad.clone());
    }
    let exporters = [exporter(BOTH[0], &proxies[0].address), exporter(BOTH[1], &proxies[1].address)];
    let relay = Relay::start(&exporters).await;
    for nth in 0..3 {
        relay.send(nth, 20).await;
    }
    wait_until("five resets each", || proxies.iter().all(|proxy| proxy.struck() >= 5)).await;
    for proxy in &proxies {
        proxy.set(NetworkFaults::default());
    }
    let books = relay.settled().await;
    for (id, backend) in BOTH.iter().zip([grpc, http]) {
        assert_eq!(account(&books, id).out, 60, "{books:?}");
        let points: Vec<_> = backend.received().into_iter().flat_map(|one| one.points).collect();
        assert_eq!(points.len() - repeated(&points), 60);
    }
    assert_eq!(relay.stop().await.code, 0);
}

#[tokio::test]
async fn a_backend_whose_name_does_not_resolve_is_told_and_what_waited_for_it_is_counted() {
    let relay = Relay::start(&BOTH.map(|id| exporter(id, "no-such-host.invalid:4317"))).await;
    relay.send(0, 4).await;
    let said = |id: &str| format!("\"component\":\"{id}\"");
    wait_until("both to say so", || {
        let log = relay.program.stderr();
        BOTH.iter().all(|id| log.lines().any(|line| line.contains(&said(id)) && line.contains("RecoverableError")))
    })
    .await;
    for id in BOTH {
        let (status, message) = relay.status(id).await;
        assert_eq!(status, "RecoverableError", "{message}");
        assert!(message.contains("no-such-host.invalid") && message.contains("resolve"), "{message}");
    }
    let output = relay.stop().await;
    assert_eq!(output.code, 0, "a backend that was never there is no failure of the program: {}", output.stderr);
    assert_eq!(output.stderr.matches("4 metric points lost, reason shutdown").count(), 2, "{}", output.stderr);
}

#[cfg(unix)]
#[tokio::test]
async fn a_backend_that_is_frozen_and_thaws_gets_everything() {
    // The far end is minicol, too: a real process that can be stopped.
    let far = Relay::start(&["debug: {verbosity: basic}".to_owned()]).await;
    let relay = Relay::start(&[exporter("otlphttp", &far.address())]).await;
    relay.send(0, 1).await;
    relay.settled().await;
    far.program.signal("STOP").await;
    for nth in 1..4 {
        relay.send(nth, 1).await;
    }
    wait_until("it to notice", || relay.program.stderr().contains("no answer within 1s")).await;
    assert_eq!(relay.status("otlphttp").await.0, "RecoverableError");
    far.program.signal("CONT").await;
    let books = relay.settled().await;
    assert_eq!(account(&books, "otlphttp").out, 4, "{books:?}");
    assert_eq!(relay.status("otlphttp").await.0, "OK");
    // A request that was on its way when the far end stood still may have come twice.
    assert!(account(&far.settled().await, "debug").out >= 4);
    assert_eq!((relay.stop().await.code, far.stop().await.code), (0, 0));
}
