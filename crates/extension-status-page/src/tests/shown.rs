//! What is on the page, and under `/api/v1`.

use minicol_plugin::{Reload, ReloadChanges, ReloadOutcome};

use super::*;

#[tokio::test(start_paused = true)]
async fn the_page_draws_every_component_and_arrow_and_what_is_wrong() {
    let running = Running::with(snapshot(100)).await;
    let page = running.text("/").await;
    for told in [
        "2 components do not work.",
        "; 4 items lost since the start<",
        "session_buddy",
        "PermanentError",
        "since 2025-12-31T23:56:48Z",
        "5 queued",
        "4 (timeout)",
        "soft limit bytes",
        "down",
        "since 2025-12-31T23:58:30Z",
        "○ not offered",
        "✗ open, <time data-age=\"until\" datetime=\"2026-01-01T00:00:21Z\">until 2026-01-01T00:00:21Z</time></td>",
        "last 3 polls, at most 500 ms",
        "session_buddy</a>, <time data-age=\"for\" datetime=\"2025-12-31T23:58:30Z\">since",
    ] {
        assert!(page.contains(told), "{told}\n{page}");
    }
    let order: Vec<_> =
        ["memory_limiter", "mapping", "debug"].map(|id| page.find(&format!("</span> {id}&nbsp;<a")).unwrap()).into();
    assert!(order.is_sorted(), "processors stand in the order of the arrows: {order:?}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_is_shown_as_text_and_nothing_from_elsewhere_runs() {
    let running = Running::with(snapshot(100)).await;
    let page = running.text("/").await;
    assert!(page.contains("&#60;script&#62;no") && !page.contains("<script>no"), "{page}");
    assert!(page.contains("&#60;b&#62;refused") && !page.contains("<b>refused</b>"), "{page}");
    let response = running.response("/").await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.contains("style=") && !page.contains("onclick"), "nothing inline, or the policy would forbid it");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_is_told_as_json() {
    let running = Running::with(snapshot(100)).await;
    let status = running.json("/api/v1/status").await;
    assert_eq!((&status["mood"], &status["lost"], &status["phase"]), (&json!("bad"), &json!(4), &json!("running")));
    let pipelines = running.json("/api/v1/pipelines").await;
    let nodes: Vec<_> =
        pipelines[0]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["session_buddy", "otlp", "memory_limiter", "mapping", "debug", "otlp/far away"]);
    assert_eq!(pipelines[0]["arrows"].as_array().unwrap().len(), 5);
    let targets = running.json("/api/v1/targets").await;
    assert_eq!((targets.as_array().unwrap().len(), &targets[0]["up"]), (1, &json!(false)));
    assert_eq!(targets[0]["tools"]["gone"]["outcome"], "not_offered");
    assert_eq!(targets[0]["breakers"]["get_workflow_metrics"]["open_until"], json!(NOW as f64 + 21.4));
    assert_eq!(targets[0]["polls"], json!([0.5, 0.125, 0.25]), "as the poller tells it, whoever looked");
    assert_eq!(running.json("/api/v1/extensions").await[0]["id"], "status_page");
    let events = running.json("/api/v1/events").await;
    assert_eq!((&events[0]["what"], &events[0]["id"]), (&json!("OK"), &json!("status_page")));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_processor_every_arrow_is_drawn_and_every_component_once() {
    let mut direct = snapshot(100);
    direct.components.retain(|component| component.kind != ComponentKind::Processor);
    let (metrics, pairs) = (Signal::Metrics, [("session_buddy", "debug"), ("session_buddy", "otlp/far away")]);
    direct.books.edges = pairs.map(|(from, to)| edge(from, to, metrics, 1)).into();
    direct.books.edges.extend(pairs.map(|(_, to)| edge("otlp", to, metrics, 1)));
    let running = Running::with(direct).await;
    let page = running.text("/").await;
    let drawn = |id: &str| page.matches(&format!("id=\"{id}\"")).count();
    for id in ["node-metrics-receiver-otlp", "node-metrics-exporter-debug", "arrow-metrics-otlp-debug-metrics"] {
        assert_eq!(drawn(id), 1, "{id}: {page}");
    }
    assert!(page.contains("as above"), "{page}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_looks_is_told_what_changed_and_only_that() {
    let running = Running::with(snapshot(100)).await;
    let mut body = running.response("/live").await.into_body();
    let mut next = async || {
        let mut told = String::new();
        // A large event comes in several frames.
        while !told.ends_with("\n\n") {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            told.push_str(std::str::from_utf8(&frame).unwrap());
            if told.starts_with(':') {
                told.clear();
            }
        }
        serde_json::from_str::<Value>(told.trim().strip_prefix("data: ").unwrap()).unwrap()
    };
    let first = next().await;
    assert_eq!(first["changed"].as_array().unwrap().len(), 16, "all there is: {first}");
    assert_eq!(first["now"], json!(NOW as f64));
    let mut healed = snapshot(100);
    healed.components[5].status = Status::Ok;
    running.harness.set_snapshot(healed);
    let second = next().await;
    let ids: Vec<_> = second["changed"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"banner") && ids.contains(&"node-metrics-exporter-otlp.2f.far.20.away"), "{ids:?}");
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_eq!(second["layout"], first["layout"]);
    let mut grown = snapshot(100);
    grown.components[5].status = Status::Ok;
    grown.components.push(component(ComponentKind::Extension, "health_check", Status::Ok));
    running.harness.set_snapshot(grown);
    let third = next().await;
    assert_ne!(third["layout"], first["layout"], "there is one more");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_has_its_own_shape_is_no_target_and_no_error() {
    let mut odd = snapshot(100);
    odd.components[0].details = Some(json!({"poll_cycles": "many", "endpoint": 7}));
    odd.components[1].details = Some(json!(["a", "list"]));
    let running = Running::with(odd).await;
    assert_eq!(running.json("/api/v1/targets").await, json!([]));
    assert!(running.text("/").await.contains("poll cycles"), "it is shown as it is");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_an_error_that_names_the_cure_and_other_machines_are_warned_of() {
    let harness = Harness::default();
    let _taken = harness.network.listen("localhost:55679").await.unwrap();
    let scope = harness.scope(ComponentKind::Extension, "status_page");
    let error = Box::new(StatusPage { config: StatusPageConfig::default() }).run(scope).await.unwrap_err();
    assert!(error.to_string().contains("set endpoint to a free one"), "{error}");

    let harness = Harness::default();
    let (ready, scope) = harness.scope_with_ready(ComponentKind::Extension, "status_page");
    let config = StatusPageConfig { endpoint: "0.0.0.0:55679".into(), ..StatusPageConfig::default() };
    let task = tokio::spawn(Box::new(StatusPage { config }).run(scope));
    ready.cancelled().await;
    assert!(harness.notices().contains(&"open_to_network"));
    harness.stopping.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_target_is_neither_up_nor_down() {
    let mut paused = snapshot(100);
    paused.components[0].status = Status::Paused;
    paused.components[0].details.as_mut().unwrap()["paused"] = json!(true);
    paused.components[5].status = Status::Ok;
    let running = Running::with(paused).await;
    let page = running.text("/").await;
    assert!(page.contains("1 component paused. Everything else works."), "{page}");
    assert!(page.contains("paused <span class=\"quiet\">(was down)</span>"), "{page}");
    assert_eq!(running.json("/api/v1/targets").await[0]["mood"], "paused");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_failed_is_told_at_the_top() {
    let mut after = snapshot(100);
    after.components.retain(|component| component.status == Status::Ok);
    after.books.accounts.clear();
    let (at, errors) = (after.now, vec!["a.yaml:3:5: <unknown> key".to_owned()]);
    let (outcome, changes) = (ReloadOutcome::Invalid, ReloadChanges::default());
    after.reload.last = Some(Reload { at, outcome, errors, warnings: Vec::new(), changes });
    let running = Running::with(after).await;
    let status = running.json("/api/v1/status").await;
    let told = "The last reload failed: what ran before goes on. Everything else works.";
    assert_eq!((&status["mood"], &status["summary"]), (&json!("warn"), &json!(told)));
    assert!(serde_json::from_value::<api::Program>(status).is_ok(), "it can be read as it was written");
    let page = running.text("/").await;
    let banner = page.split("id=\"pipelines\"").next().unwrap();
    assert!(banner.contains("a.yaml:3:5: &#60;unknown&#62; key"), "{banner}");
    running.end().await;
}
