//! Answers of an MCP server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use minicol_mcp::{
    CyclePlan, HttpClient, PollTarget, Target, TargetSettings, TargetState, ToolPlan, ToolResult,
    testing::{FaultServer, Reply},
};
use minicol_plugin::{CancellationToken, ComponentKind, net::HttpConnector, testing::Harness};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{MIB, measured_async};

/// The document, or what the failure says.
type Outcome = Result<Value, String>;

/// What becomes of a call that is answered so, where `limit` bytes are read.
async fn call(reply: impl Fn(&Value) -> Reply + Send + Sync + 'static, limit: usize) -> Outcome {
    let harness = Harness::default();
    let server = FaultServer::start(&*harness.network, "buddy:8678").await;
    server.tool("get_a", Reply::structured(json!({"a": 1})));
    server.always_with("tools/call get_a", move |seen| reply(&seen.id()));
    let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
    let mut settings = TargetSettings::new(server.url().parse().unwrap());
    settings.max_response_bytes = limit;
    let http = HttpClient::new(HttpConnector::new(Arc::clone(scope.network()), None));
    let target = Target::new(settings, http, Arc::new(TargetState::default()), &scope);
    let tick = Instant::now();
    let deadline = tick + Duration::from_secs(30);
    let tools = vec![ToolPlan::named("get_a")];
    let outcome =
        target.cycle(&CyclePlan { tick, deadline, tools, cancel: CancellationToken::new(), insists: false }).await;
    match outcome.tools.into_iter().next().expect("one tool").1 {
        ToolResult::Answered(answer) => Ok(answer.document),
        ToolResult::Failed { failure, .. } => Err(failure.to_string()),
        other => Err(format!("{other:?}")),
    }
}

fn json_body(result: &[u8], id: &Value) -> Vec<u8> {
    [b"{\"jsonrpc\":\"2.0\",\"id\":", id.to_string().as_bytes(), b",\"result\":", result, b"}"].concat()
}

/// A result of this text, as JSON.
fn answered(result: impl Into<Vec<u8>>, limit: usize) -> (Outcome, usize) {
    let result = result.into();
    measured_async(|| {
        call(
            move |id| Reply::status(200).header("content-type", "application/json").chunk(json_body(&result, id)),
            limit,
        )
    })
}

#[test]
fn a_body_in_chunks_of_one_byte_takes_a_few_times_its_size() {
    let _alone = crate::alone();
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{{\"structuredContent\":{{\"a\":\"{}\"}}}}}}",
        "x".repeat(MIB)
    );
    let chunks: Vec<u8> = body.bytes().flat_map(|byte| [b'1', b'\r', b'\n', byte, b'\r', b'\n']).collect();
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let raw = Bytes::from([&head[..], &chunks, b"0\r\n\r\n"].concat());
    let (_, peak) = measured_async(|| call(move |_| Reply::raw(raw.clone()), 4 * MIB));
    assert!(peak < 8 * MIB, "a body of 1 MiB took {} KiB", peak / 1024);
}

#[test]
fn what_nests_too_deep_is_a_failure() {
    let _alone = crate::alone();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
        let (outcome, peak) = answered(format!("{{\"structuredContent\":{deep}}}"), 4 * MIB);
        let told = outcome.unwrap_err();
        assert!(told.contains("recursion limit") && told.len() < 1000, "{told}");
        assert!(peak < 16 * MIB, "{} KiB", peak / 1024);
        // In a text it is a text.
        let text = serde_json::to_string(&deep).unwrap();
        let (outcome, peak) = answered(format!("{{\"content\":[{{\"type\":\"text\",\"text\":{text}}}]}}"), 4 * MIB);
        assert!(outcome.unwrap().is_string());
        assert!(peak < 24 * MIB, "{} KiB", peak / 1024);
    }
}

#[test]
fn ten_mebibytes_of_text_are_too_much_or_one_document() {
    let _alone = crate::alone();
    let result = format!("{{\"structuredContent\":{{\"a\":\"{}\"}}}}", "x".repeat(10 * MIB));
    let (outcome, peak) = answered(result.clone(), 4 * MIB);
    assert!(outcome.unwrap_err().contains("4194304"), "the bound is named");
    assert!(peak < 48 * MIB, "{} KiB", peak / 1024);
    let (outcome, peak) = answered(result, 16 * MIB);
    assert_eq!(outcome.unwrap()["a"].as_str().map(str::len), Some(10 * MIB));
    assert!(peak < 96 * MIB, "{} KiB", peak / 1024);
}

#[test]
fn a_hundred_thousand_members_are_one_document() {
    let _alone = crate::alone();
    let members: Vec<String> = (0..100_000).map(|number| format!("\"k{number}\":{number}")).collect();
    let (outcome, peak) = answered(format!("{{\"structuredContent\":{{{}}}}}", members.join(",")), 4 * MIB);
    assert_eq!(outcome.unwrap().as_object().map(serde_json::Map::len), Some(100_000));
    assert!(peak < 64 * MIB, "{} KiB", peak / 1024);
}

#[test]
fn numbers_beyond_every_type_are_numbers_or_a_failure_but_never_infinite() {
    let _alone = crate::alone();
    for (number, finite) in
        [("1e308", true), ("-1e308", true), ("18446744073709551616", true), ("1e-999", true), ("1e309", false)]
    {
        let (outcome, _) = answered(format!("{{\"structuredContent\":{{\"a\":{number}}}}}"), MIB);
        match outcome {
            Ok(document) => {
                assert!(finite && document["a"].as_f64().is_some_and(f64::is_finite), "{number}: {document}");
            }
            Err(told) => assert!(!finite && told.contains("out of range"), "{number}: {told}"),
        }
    }
    let digits = "9".repeat(MIB);
    let (outcome, peak) = answered(format!("{{\"structuredContent\":{{\"a\":{digits}}}}}"), 4 * MIB);
    assert!(outcome.is_err(), "a number of a million digits");
    // The server's side of four attempts is in it.
    assert!(peak < 64 * MIB, "{} KiB", peak / 1024);
    assert!(answered("{\"structuredContent\":{\"a\":NaN}}", MIB).0.is_err());
}

#[test]
fn what_is_no_utf_8_is_a_failure_that_can_be_printed() {
    let _alone = crate::alone();
    for result in [
        &b"{\"structuredContent\":{\"a\":\"\xff\xfe\"}}"[..],
        b"{\"structuredContent\":{\"a\":\"\\ud800\"}}",
        b"\xc0\x80",
    ] {
        let told = answered(result, MIB).0.unwrap_err();
        assert!(!told.chars().any(char::is_control), "{told:?}");
    }
}

#[test]
fn an_event_that_never_ends_and_one_in_a_million_lines_are_bounded() {
    let _alone = crate::alone();
    for line in ["data: x", ": comment\n", "data: \n", "id: 1\n\n", "\n"] {
        let stream = Bytes::from(line.repeat(8 * MIB / line.len()));
        let (outcome, peak) = measured_async(|| call(move |_| Reply::events().chunk(stream.clone()), MIB));
        outcome.unwrap_err();
        assert!(peak < 24 * MIB, "{line:?} took {} KiB", peak / 1024);
    }
}
