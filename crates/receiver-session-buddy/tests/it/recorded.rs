use std::{sync::Arc, time::Duration};

use minicol_pdata::{Batch, Observations, Outcome};
use minicol_plugin::{
    ComponentKind, Factory,
    testing::{Harness, Sink},
};
use minicol_receiver_session_buddy::{SessionBuddyConfig, SessionBuddyFactory};
use serde_json::{Value, json};

use crate::buddy::{asked, document, recorded};

fn observations(sink: &Sink) -> Observations {
    match &sink.take()[..] {
        [Batch::Observations(list)] => list.clone(),
        other => panic!("{other:?}"),
    }
}

/// Promise: what Session-Buddy 0.23.0 really answers becomes observations, exactly.
#[tokio::test(start_paused = true)]
async fn the_recorded_answers_of_the_release_become_these_observations() {
    let (harness, sink) = (Harness::default(), Sink::new());
    let buddy = recorded(&harness).await;
    let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
    let before = scope.now();
    let receiver = SessionBuddyFactory::build(SessionBuddyConfig::default(), &scope).unwrap();
    assert!(receiver.poll_once(sink.next(), scope.clone()).await.unwrap());

    let list = observations(&sink);
    let told: Vec<_> =
        list.iter().map(|one| (&*one.tool, one.arguments.as_deref().cloned().map(Value::Object))).collect();
    let limit = json!({"limit": 24, "sort_by": "duration"});
    assert_eq!(
        told,
        [
            ("get_activity_summary", None),
            ("get_workflow_metrics", None),
            ("get_session_analytics", Some(limit)),
            ("get_metrics_summary", None),
            ("get_liveness", None),
            ("get_prometheus_metrics", None),
            ("@poll", None),
        ]
    );
    for one in list.iter().filter(|one| &*one.tool != "@poll") {
        assert_eq!(*one.document, document(&one.tool), "{}", one.tool);
        assert!(one.arrival.monotonic >= before.monotonic && one.cut.is_none());
    }
    // Not read from the fixture: what a person sees in it.
    let of = |tool: &str| list.iter().find(|one| &*one.tool == tool).unwrap().document.clone();
    let liveness = json!({"status": "ok", "service": "mcp-server", "version": "0.0.0", "uptime_seconds": 0.69});
    assert_eq!(*of("get_liveness"), liveness);
    assert!(of("get_activity_summary").as_str().unwrap().starts_with("📊 Activity Summary - Last 2 Hours\n"));
    assert!(of("get_prometheus_metrics").as_str().unwrap().contains("process_resident_memory_bytes "));
    assert_eq!(of("get_session_analytics")["sessions"].as_array().unwrap().len(), 24);

    let source = &list.iter().next().unwrap().source;
    assert!(list.iter().all(|one| Arc::ptr_eq(&one.source, source)));
    let resource: Vec<_> = source.resource.iter().map(|(name, value)| (name, value.to_string())).collect();
    let expected = [
        ("server.address", "localhost"),
        ("server.port", "8678"),
        ("service.instance.id", "57357c16-96d8-546f-b87d-b950858f68ce"),
        ("service.name", "session-buddy"),
        ("url.scheme", "http"),
    ];
    assert_eq!(resource, expected.map(|(name, value)| (name, value.to_owned())));

    let report = list.iter().last().unwrap().report().unwrap();
    assert_eq!((report.up, report.setup_error.as_ref(), report.tools.len()), (Some(1), None, 7));
    assert_eq!(report.tools["get_performance_metrics"].outcome, Outcome::NotOffered);
    assert_eq!(report.tools.values().filter(|tool| tool.outcome == Outcome::Answered).count(), 6);

    assert_eq!((buddy.count("initialize"), buddy.count("DELETE")), (1, 1), "a single poll ends its session");
    let asked = buddy.requests().into_iter().filter(|seen| seen.kind() == "tools/call get_session_analytics");
    let limits: Vec<_> = asked.map(|seen| seen.arguments()["limit"].as_u64().unwrap()).collect();
    assert_eq!(limits, [500, 1, 24]);
}

/// Promise: what is missing and what is left out is said once; the limit that answers is remembered.
#[tokio::test(start_paused = true)]
async fn the_second_cycle_asks_for_what_the_first_one_learned() {
    let (harness, sink) = (Harness::default(), Sink::new());
    let buddy = recorded(&harness).await;
    let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
    let receiver = SessionBuddyFactory::build(SessionBuddyConfig::default(), &scope).unwrap();
    let running = tokio::spawn(receiver.run(sink.next(), scope));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sink.take().len(), 1);
    buddy.forget_requests();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(observations(&sink).len(), 7);
    let six = [
        "get_activity_summary",
        "get_liveness",
        "get_metrics_summary",
        "get_prometheus_metrics",
        "get_session_analytics",
        "get_workflow_metrics",
    ];
    let calls = six.map(|tool| format!("tools/call {tool}"));
    assert_eq!(asked(&buddy), calls, "one call of each tool, on the same session");
    assert_eq!(harness.notices(), ["tools_not_offered", "answer_cut"]);
    let details = harness.details().unwrap();
    assert_eq!(details["missing"], json!(["get_performance_metrics"]));
    assert_eq!(details["offered"], json!(six));
    assert_eq!(details["breakers"]["get_liveness"]["state"], "closed");
    assert_eq!(details["breakers"].as_object().unwrap().len(), 6, "a tool that is not offered has none");
    harness.stopping.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(asked(&buddy), ["DELETE"]);
}
