use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use minicol_pdata::Timestamp;
use minicol_plugin::{
    Books, ComponentKind, ComponentSnapshot, Phase, ReloadStatus, Snapshot, Status,
    testing::{Harness, check, problems},
};

use super::*;

async fn get(harness: &Harness, method: &str, path: &str) -> (u16, String) {
    let stream = harness.network.connect("localhost", 13133).await.expect("it listens");
    let (mut client, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "localhost:13133");
    let response = client.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

fn snapshot(phase: Phase) -> Snapshot {
    let start = Timestamp::from_nanos(1_767_225_600_000_000_000);
    Snapshot {
        phase,
        up_since: start,
        now: start + Duration::from_secs(3_723),
        reload: ReloadStatus::default(),
        components: vec![ComponentSnapshot {
            kind: ComponentKind::Receiver,
            id: "session_buddy".parse().unwrap(),
            pipelines: vec!["metrics".into()],
            status: Status::RecoverableError,
            since: start,
            message: "http://localhost:8678/mcp is not reachable".into(),
            details: Some(serde_json::json!({ "poll_cycles": 3 })),
        }],
        books: Books::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_follows_the_programs_life() {
    let harness = Harness::default();
    let running = harness.run_extension(&ENTRY, "").await.unwrap();
    harness.set_snapshot(snapshot(Phase::Starting));
    let (code, body) = get(&harness, "GET", "/").await;
    assert_eq!((code, body.contains("Server not available")), (503, true));

    harness.set_snapshot(snapshot(Phase::Running));
    let (code, body) = get(&harness, "GET", "/").await;
    assert_eq!(code, 200);
    assert_eq!(body, r#"{"status":"Server available","upSince":"2026-01-01T00:00:00Z","uptime":"1h2m3s"}"#);
    assert_eq!(get(&harness, "HEAD", "/").await, (200, String::new()));
    assert_eq!(get(&harness, "POST", "/").await.0, 405);
    assert_eq!(get(&harness, "GET", "/elsewhere").await.0, 404);

    harness.set_snapshot(snapshot(Phase::Stopping));
    assert_eq!(get(&harness, "GET", "/").await.0, 503);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_status_page_tells_every_component_and_what_it_shows() {
    let harness = Harness::default();
    harness.set_snapshot(snapshot(Phase::Running));
    let running = harness.run_extension(&ENTRY, "").await.unwrap();
    let (code, body) = get(&harness, "GET", "/status").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(code, 200);
    let component = &body["components"][0];
    assert_eq!(component["id"], "session_buddy");
    assert_eq!(component["status"], "RecoverableError");
    assert_eq!(component["details"]["poll_cycles"], 3);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_warns_where_other_machines_reach_it() {
    for (endpoint, warns) in [("0.0.0.0:13133", true), ("127.0.0.1:13133", false)] {
        let harness = Harness::default();
        let running = harness.run_extension(&ENTRY, &format!("endpoint: {endpoint}")).await.unwrap();
        running.stop().await.unwrap();
        let warned = harness.notices().contains(&"open_to_network");
        assert_eq!(warned, warns, "{endpoint}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_an_error_that_names_the_cure() {
    let harness = Harness::default();
    let _taken = harness.network.listen("localhost:13133").await.unwrap();
    let error = harness.run_extension(&ENTRY, "").await.err().unwrap();
    assert!(error.to_string().contains("cannot listen on localhost:13133"), "{error}");
    assert!(error.to_string().contains("set endpoint to a free one"), "{error}");
}

#[test]
fn a_wrong_configuration_is_told_whole() {
    let told = [
        "endpoint: must be host:port, but is `13133`",
        "path: must begin with `/` and hold no pattern, but is `healthz`",
    ];
    assert_eq!(problems(&ENTRY, "{endpoint: '13133', path: healthz}"), told);
    assert_eq!(problems(&ENTRY, "path: /status"), ["path: is where the status of every component stands"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_as_every_component_has_to_be() {
    check::configuration(&ENTRY);
    check::life(&ENTRY, "").await;
}
