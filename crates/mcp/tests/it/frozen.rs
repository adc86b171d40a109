//! A server that stands still in mid-reply, as a process does that is stopped or swapped out: over real sockets, on a real clock.
#![cfg(unix)]

use std::{process::Stdio, sync::Arc, time::Duration};

use minicol_mcp::{
    Class, CyclePlan, HttpClient, PollTarget, Target, TargetSettings, TargetState, ToolPlan,
    testing::{FaultServer, Reply, Style},
};
use minicol_plugin::{
    CancellationToken, ComponentKind,
    net::{HttpConnector, SystemNetwork},
    testing::Harness,
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::Instant,
};

use crate::world::{answer, failure};

const ATTEMPT: Duration = Duration::from_millis(500);

/// The other process of the test below, which starts it and ends it. It says its URL, then each call.
#[tokio::test]
#[ignore = "a server for the test below, which never ends"]
async fn serve() {
    let server = FaultServer::start(&SystemNetwork, "127.0.0.1:0").await;
    server.style(Style::Json);
    server.tool("get_a", Reply::structured(json!({})));
    server.always_with("tools/call get_a", |seen| {
        println!("\ncalled");
        let body = json!({"jsonrpc": "2.0", "id": seen.id(), "result": {"structuredContent": {"a": 1}}}).to_string();
        let (first, second) = body.split_at(10);
        Reply::json(first).wait(Duration::from_millis(100)).chunk(second.to_owned())
    });
    println!("\n{}", server.url());
    std::future::pending::<()>().await;
}

async fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}

#[tokio::test]
async fn a_server_frozen_in_mid_reply_times_out_and_answers_again_when_it_thaws() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["frozen::serve", "--exact", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async |wanted: &str| loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.contains(wanted) {
            return line;
        }
    };
    let url = next("http://").await;

    let mut harness = Harness::default();
    harness.network = Arc::new(SystemNetwork);
    let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
    let http = HttpClient::new(HttpConnector::new(Arc::clone(scope.network()), None));
    let settings = TargetSettings { timeout: ATTEMPT, max_retries: 0, ..TargetSettings::new(url.parse().unwrap()) };
    let target = Target::new(settings, http, Arc::new(TargetState::default()), &scope);
    let cycle = || async {
        let tick = Instant::now();
        let tools = vec![ToolPlan::named("a")];
        let deadline = tick + Duration::from_secs(20);
        target.cycle(&CyclePlan { tick, deadline, tools, cancel: CancellationToken::new(), insists: false }).await
    };

    let freeze = async {
        next("called").await;
        signal(&child, "-STOP").await;
        Instant::now()
    };
    let (outcome, frozen) = tokio::join!(cycle(), freeze);
    let failed = failure(&outcome, "get_a");
    assert_eq!((failed.class(), &*failed.error_type()), (Class::Timeout, "timeout"), "{failed}");
    assert!(failed.to_string().ends_with("raise timeout_seconds if it only needs longer"), "{failed}");
    assert!(frozen.elapsed() < ATTEMPT + Duration::from_secs(1), "{:?}", frozen.elapsed());

    signal(&child, "-CONT").await;
    assert_eq!(answer(&cycle().await, "get_a").document, json!({"a": 1}));
}
