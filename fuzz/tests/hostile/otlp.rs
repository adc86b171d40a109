//! Requests to the receiver `otlp`.

use std::io::Write;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use minicol_plugin::{
    ComponentKind,
    testing::{Harness, Sink},
};
use minicol_receiver_otlp::ENTRY;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{MIB, measured_async};

/// A receiver with its defaults, but for 64 MiB of requests at once; how many batches it passed on.
async fn with_receiver<T, F: Future<Output = T>>(ask: impl FnOnce(Harness) -> F) -> (T, usize) {
    let harness = Harness::default();
    let config = ENTRY.decode_text("max_in_flight_mib: 64").unwrap();
    let receiver = config.build(&harness.scope(ComponentKind::Receiver, "otlp")).unwrap();
    let (sink, before) = (Sink::new(), harness.events().len());
    let serving = tokio::spawn(receiver.run(sink.next(), harness.scope(ComponentKind::Receiver, "otlp")));
    while harness.events().len() == before {
        tokio::task::yield_now().await;
    }
    let result = ask(harness).await;
    serving.abort();
    (result, sink.batches().len())
}

/// The status that a request gets, whether it was passed on, and how much memory it took.
fn posted(kind: &'static str, packing: &'static str, body: impl Into<Bytes>) -> (u16, bool, usize) {
    let body = body.into();
    let ask = |harness: Harness| async move {
        let stream = harness.network.connect("localhost", 4318).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("/v1/metrics")
            .header("host", "localhost:4318")
            .header("content-type", kind)
            .header("content-encoding", packing)
            .body(Full::new(body))
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let told = response.into_body().collect().await.unwrap().to_bytes();
        assert!(told.len() < 4096, "an answer of {} bytes", told.len());
        status
    };
    let ((status, passed), peak) = measured_async(|| with_receiver(ask));
    (status, passed > 0, peak)
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A field of a message around another message.
fn field(number: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = inner.len();
    while length > 127 {
        out.push(u8::try_from(length & 127).unwrap() | 128);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
    out.extend_from_slice(inner);
    out
}

#[test]
fn what_unpacks_to_more_than_is_taken_is_refused_and_never_had() {
    let _alone = crate::alone();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut zstd = zstd::Encoder::new(Vec::new(), 3).unwrap();
    let mebibyte = vec![0; MIB];
    for _ in 0..512 {
        gzip.write_all(&mebibyte).unwrap();
        zstd.write_all(&mebibyte).unwrap();
    }
    let (gzip, zstd) = (gzip.finish().unwrap(), zstd.finish().unwrap());
    for (packing, packed) in [("gzip", gzip), ("zstd", zstd)] {
        assert!(packed.len() < MIB, "a bomb is small");
        let (status, passed, peak) = posted(PROTOBUF, packing, packed);
        assert_eq!((status, passed), (413, false), "{packing}");
        assert!(peak < 80 * MIB, "{packing} took {} MiB", peak / MIB);
    }
}

#[test]
fn millions_of_empty_parts_are_not_decoded_beyond_what_may_be_held() {
    let _alone = crate::alone();
    // Two bytes each on the wire; a structure of a hundred and more each once they are decoded.
    let empty = |number: u8| [number << 3 | 2, 0].repeat(5 * MIB);
    let point = |points: Vec<u8>| field(1, &field(2, &field(2, &field(5, &points))));
    for (what, message) in [
        ("resources", empty(1)),
        ("scopes", field(1, &empty(2))),
        ("metrics", field(1, &field(2, &empty(2)))),
        ("points", point(empty(1))),
        ("attributes", point(field(1, &empty(7)))),
        ("buckets", field(1, &field(2, &field(2, &field(10, &field(1, &field(8, &field(2, &vec![0; 10 * MIB])))))))),
    ] {
        let (status, passed, peak) = posted(PROTOBUF, "identity", message);
        assert_eq!((status, passed), (413, false), "{what}");
        assert!(peak < 96 * MIB, "{what} took {} MiB", peak / MIB);
    }
    let objects = format!("{{\"resourceMetrics\":[{}{{}}]}}", "{},".repeat(4 * MIB));
    let (status, passed, peak) = posted(JSON, "identity", objects);
    assert_eq!((status, passed), (413, false));
    assert!(peak < 96 * MIB, "JSON took {} MiB", peak / MIB);
}

#[test]
fn what_nests_too_deep_is_refused() {
    let _alone = crate::alone();
    let mut value = Vec::new();
    for _ in 0..20_000 {
        value = field(5, &field(1, &value));
    }
    let attribute = field(1, &field(1, &field(1, &field(2, &value))));
    let (status, passed, peak) = posted(PROTOBUF, "identity", attribute);
    assert_eq!((status, passed), (400, false));
    assert!(peak < 16 * MIB, "{} KiB", peak / 1024);
    for (open, close) in [("[", "]"), ("{\"resourceMetrics\":[", "]}"), ("{\"a\":", "}")] {
        let (status, passed, peak) =
            posted(JSON, "identity", format!("{}{}", open.repeat(100_000), close.repeat(100_000)));
        assert!(matches!(status, 400 | 413) && !passed, "{status}");
        assert!(peak < 64 * MIB, "{} KiB", peak / 1024);
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let _alone = crate::alone();
    for body in [&b"\xff"[..], b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05\x0a", b"\x0b", b"\x0a\x04\x12\x02\x0a\xff"] {
        let (status, passed, _) = posted(PROTOBUF, "identity", body);
        assert_eq!((status, passed), (400, false), "{body:?}");
    }
    for body in [
        &b"{\"resourceMetrics\":[{\"resource\":{\"attributes\":[{\"key\":\"\xff\"}]}}]}"[..],
        b"{\"resourceMetrics\":NaN}",
        b"{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"gauge\":{\"dataPoints\":[{\"timeUnixNano\":\"99999999999999999999\"}]}}]}]}]}",
        b"[]",
        b"\x00",
    ] {
        let (status, passed, _) = posted(JSON, "identity", body);
        assert_eq!((status, passed), (400, false), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn ten_mebibytes_of_text_pass_within_a_few_times_their_size() {
    let _alone = crate::alone();
    let name = field(1, &vec![b'x'; 10 * MIB]);
    let metric = field(1, &field(2, &field(2, &[name, field(5, &field(1, &[]))].concat())));
    let (status, passed, peak) = posted(PROTOBUF, "identity", metric);
    assert_eq!((status, passed), (200, true));
    assert!(peak < 64 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn a_request_in_chunks_of_one_byte_takes_a_few_times_its_size() {
    let _alone = crate::alone();
    let message = field(1, &field(2, &field(2, &field(1, &vec![b'x'; MIB]))));
    let chunks: Vec<u8> = message.iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']).collect();
    let head = "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let raw = [head.as_bytes(), &chunks, b"0\r\n\r\n"].concat();
    let ask = |harness: Harness| async move {
        let mut stream = harness.network.connect("localhost", 4318).await.unwrap();
        stream.write_all(&raw).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let ((answer, _), peak) = measured_async(|| with_receiver(ask));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(peak < 8 * MIB, "a request of 1 MiB took {} KiB", peak / 1024);
}
