//! Promise: it polls at its interval whatever the server does, says what went wrong, and stops when told. Under a paused clock; the network is in the process.

use std::time::Duration;

use minicol_pdata::{Batch, Observation};
use minicol_plugin::{
    Rejected, Status,
    testing::{Answer, Harness, check, golden, problems},
};

use super::*;

const YAML: &str = "{endpoint: 'http://source:8080/document?key=hunter2', interval: 10s, timeout: 2s}";

#[test]
fn its_configuration_is_read_printed_and_refused_as_users_expect() {
    check::configuration(&ENTRY);
}

#[tokio::test(start_paused = true)]
async fn it_starts_and_stops_when_told() {
    check::life(&ENTRY, YAML).await;
}

#[test]
fn a_wrong_configuration_is_told_with_its_path() {
    let required = "endpoint: is required: write it like http://localhost:13133/status";
    assert_eq!(problems(&ENTRY, ""), [required]);
    for (yaml, wrong) in [
        ("endpoint: source", "endpoint: must begin with http:// or https:// and name a host"),
        ("endpoint: ftp://source", "endpoint: must begin with http:// or https:// and name a host"),
        ("endpoint: http://me:secret@source", "endpoint: must hold no user and no password"),
        ("interval: 0s", "interval: must be between 1s and 24h, but is 0s"),
        ("interval: 30", "interval: `30` is no duration: it has no unit; write it like 300ms, 5s or 1h30m"),
        ("timeout: 1ms", "timeout: must be at least 100ms, but is 1ms"),
        ("max_document_size: 1", "max_document_size: must be between 1024 and 67108864, but is 1"),
        ("tls: {ca: x}", "tls::ca: unknown key `ca`"),
    ] {
        let told = problems(&ENTRY, yaml);
        assert!(told.iter().any(|one| one.starts_with(wrong)), "{yaml}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_brings_the_document_and_its_report() {
    let harness = Harness::default();
    let server = harness.serve("source:8080", Answer::ok(r#"{"temperature": 21.5}"#)).await;
    let running = harness.run_receiver(&ENTRY, YAML).await.unwrap();
    running.sink.wait_for(1).await;
    insta::assert_snapshot!("one_poll", golden::text(&running.sink.take()));
    assert_eq!(server.asked(), ["GET /document?key=hunter2"]);
    let answers = "http://source:8080/document answers";
    assert_eq!(harness.statuses(), [(Status::Ok, answers.to_owned())], "the query is not shown");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_polls_at_its_interval_and_says_what_went_wrong_once() {
    let harness = Harness::default();
    let running = harness.run_receiver(&ENTRY, YAML).await.unwrap();
    let far = "http://source:8080/document";
    tokio::time::sleep(Duration::from_secs(25)).await;
    let server = harness.serve("source:8080", Answer::ok("[]")).await;
    let mut said = vec![(Status::RecoverableError, format!("{far} is not reachable: connection refused"))];
    for (answer, status, told) in [
        (Answer::ok("[]"), Status::Ok, "answers"),
        (Answer::of(503, ""), Status::RecoverableError, "answered with 503 Service Unavailable"),
        (Answer::ok("<html>"), Status::RecoverableError, "sent no JSON: expected value at line 1 column 1"),
        (Answer::ok("[]").after(Duration::from_secs(3)), Status::RecoverableError, "has not answered within 2s"),
        (
            Answer::ok(vec![b' '; (4 << 20) + 1]),
            Status::RecoverableError,
            "sent a document larger than 4194304 bytes: raise max_document_size",
        ),
        (Answer::ok("[]"), Status::Ok, "answers"),
    ] {
        server.answer(answer);
        tokio::time::sleep(Duration::from_secs(10)).await;
        said.push((status, format!("{far} {told}")));
    }
    assert_eq!(harness.statuses(), said);
    assert_eq!((server.asked().len(), running.sink.batches().len()), (6, 9), "three polls before the server was there");
    let up = |batch: &Batch| match batch {
        Batch::Observations(list) => list.iter().find_map(Observation::report).and_then(|report| report.up),
        _ => None,
    };
    let ups: Vec<_> = running.sink.batches().iter().filter_map(up).collect();
    assert_eq!(ups, [0, 0, 0, 1, 0, 0, 0, 0, 1]);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_poll_under_way_ends_before_it_stops() {
    let harness = Harness::default();
    let _server = harness.serve("source:8080", Answer::ok("{}").after(Duration::from_secs(1))).await;
    let running = harness.run_receiver(&ENTRY, YAML).await.unwrap();
    let sink = running.sink.clone();
    tokio::time::sleep(Duration::from_millis(500)).await;
    running.stop().await.unwrap();
    assert_eq!(sink.batches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_said_and_polling_goes_on() {
    let harness = Harness::default();
    let _server = harness.serve("source:8080", Answer::ok("{}")).await;
    let running = harness.run_receiver(&ENTRY, YAML).await.unwrap();
    // Between two polls from here on.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for refused in [Some(Rejected::retryable("queue_full", "the queue is full")), None] {
        running.sink.refuse(refused);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let said: Vec<_> = harness.statuses().into_iter().map(|(_, message)| message).collect();
    let answers = "http://source:8080/document answers";
    assert_eq!(said, [answers, "what was polled is lost: the queue is full", answers]);
    running.stop().await.unwrap();
}
