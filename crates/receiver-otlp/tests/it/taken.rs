//! What is taken goes on as it came.

use std::time::Duration;

use minicol_plugin::Next;
use minicol_receiver_otlp::ENTRY;

use crate::bench::{GRPC, Gate, HTTP, PROTOBUF, batch, encoded, framed, gzip, requests, run, zstd};

#[tokio::test]
async fn each_signal_goes_on_byte_for_byte_over_grpc() {
    let receiver = run("").await;
    for (signal, (message, _)) in requests().iter().enumerate() {
        for (encoding, body) in [
            ("", framed(0, message)),
            ("identity", framed(0, message)),
            ("gzip", framed(1, &gzip(message))),
            ("gzip", framed(0, message)),
            ("zstd", framed(1, &zstd(message))),
        ] {
            let answer = receiver.call(GRPC[signal], &[("grpc-encoding", encoding)], body).await;
            assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("0")), "{encoding}");
            assert_eq!(answer.body, [0; 5][..], "an empty message");
            let taken = receiver.sink.take();
            assert_eq!((taken.len(), &encoded(&taken[0])[..]), (1, &message[..]), "{encoding}");
            assert_eq!(taken[0].signal(), batch(signal, message).signal());
        }
    }
}

#[tokio::test]
async fn each_signal_goes_on_over_http_in_protobuf_and_in_json() {
    let receiver = run("").await;
    for (signal, (message, json)) in requests().iter().enumerate() {
        for (kind, plain, empty) in
            [("application/x-protobuf", message, &b""[..]), ("application/json; charset=utf-8", json, b"{}")]
        {
            for (encoding, body) in
                [("", plain.clone()), ("identity", plain.clone()), ("gzip", gzip(plain)), ("zstd", zstd(plain))]
            {
                let headers = [("content-type", kind), ("content-encoding", encoding)];
                let answer = receiver.post(HTTP[signal], &headers, body).await;
                assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, empty), "{kind} {encoding}");
                assert!(kind.starts_with(answer.header("content-type").unwrap()));
                let taken = receiver.sink.take();
                assert_eq!((taken.len(), &encoded(&taken[0])[..]), (1, &message[..]), "{kind} {encoding}");
            }
        }
    }
}

#[tokio::test]
async fn json_is_read_as_senders_write_it() {
    let receiver = run("").await;
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C",
        "spanId":"eee19b7ec3c1b174","name":"n","kind":2,"startTimeUnixNano":1544712660000000000,
        "endTimeUnixNano":"1544712661000000000","somethingNew":{"x":[1]}}]}]}]}"#;
    let answer = receiver.post("/v1/traces", &[("content-type", "application/json")], &json[..]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(receiver.sink.take()[0].items(), 1);
}

#[tokio::test]
async fn a_request_with_nothing_in_it_is_a_success_and_goes_nowhere() {
    let receiver = run("").await;
    assert_eq!(receiver.call(GRPC[0], &[], framed(0, b"")).await.header("grpc-status"), Some("0"));
    assert_eq!(receiver.post(HTTP[0], &[PROTOBUF], "").await.status, 200);
    assert_eq!(receiver.post(HTTP[1], &[("content-type", "application/json")], "{}").await.status, 200);
    assert!(receiver.sink.take().is_empty());
}

#[tokio::test]
async fn a_protocol_that_is_not_named_is_not_served() {
    let receiver = run("protocols: {grpc: }").await;
    assert!(receiver.harness.network.connect("localhost", 4318).await.is_err());
    let receiver_http = run("protocols: {http: {endpoint: 'localhost:4318'}}").await;
    assert!(receiver_http.harness.network.connect("localhost", 4317).await.is_err());
    let (message, _) = &requests()[0];
    assert_eq!(receiver.call(GRPC[0], &[], framed(0, message)).await.header("grpc-status"), Some("0"));
    assert_eq!(receiver_http.post(HTTP[0], &[PROTOBUF], message.clone()).await.status, 200);
}

#[tokio::test]
async fn what_is_on_its_way_is_answered_when_it_stops() {
    let (gate, receiver) = (Gate::default(), run("").await);
    // Its arrow leads to one who takes his time.
    let harness = &receiver.harness;
    let slow = harness.build(&ENTRY, "protocols: {grpc: {endpoint: 'localhost:1'}, http: {endpoint: 'localhost:2'}}");
    let scope = harness.scope(minicol_plugin::ComponentKind::Receiver, "otlp/slow");
    let task = tokio::spawn(slow.run(Next::new(gate.clone()), scope));
    while harness.events().len() < 2 {
        tokio::task::yield_now().await;
    }
    let stream = harness.network.connect("localhost", 1).await.unwrap();
    let (message, _) = requests()[0].clone();
    let call = tokio::spawn(async move { crate::bench::call(stream, GRPC[0], &[], framed(0, &message)).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let harness = harness.clone();
    receiver.stop().await.unwrap();
    assert!(!task.is_finished(), "it waits for the call");
    gate.0.notify_one();
    assert_eq!(call.await.unwrap().header("grpc-status"), Some("0"));
    tokio::time::timeout(Duration::from_secs(5), task).await.expect("it ends").unwrap().unwrap();
    assert!(harness.network.connect("localhost", 1).await.is_err());
}

/// A message of this size is decoded on a thread that may be blocked.
#[tokio::test]
async fn a_large_message_is_taken_whole() {
    let receiver = run("").await;
    let large = requests()[0].0.repeat(5000);
    assert!(large.len() > 256 * 1024);
    for (headers, body) in [(&[PROTOBUF][..], large.clone()), (&[PROTOBUF, ("content-encoding", "gzip")], gzip(&large))]
    {
        assert_eq!(receiver.post(HTTP[0], headers, body).await.status, 200);
    }
    let taken = receiver.sink.batches();
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(|one| *one == batch(0, &large)));
    let told = receiver.post(HTTP[0], &[PROTOBUF], [&large[..], b"\xff"].concat()).await;
    assert_eq!(told.status, 400, "what is wrong with a large one is told as with a small one");
}
