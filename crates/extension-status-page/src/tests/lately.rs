//! What happened within the last minute, and what long ago.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_lost_within_the_last_minute_stands_out_and_old_losses_do_not() {
    let all_is_well = |lost: u64| {
        let mut snapshot = snapshot(100);
        snapshot.components.iter_mut().for_each(|component| component.status = Status::Ok);
        let edge = edge("mapping", "debug", Signal::Metrics, 100);
        let refused = [("busy".to_owned(), lost)].into();
        snapshot.books.accounts.clear();
        snapshot.books.edges = vec![EdgeSnapshot { offered: 100 + lost, refused, lost, ..edge }];
        snapshot.books.check().unwrap();
        snapshot.components.retain(|one| one.id.to_string() == "mapping" || one.kind == ComponentKind::Exporter);
        snapshot
    };
    let running = Running::with(all_is_well(4)).await;
    let status = running.json("/api/v1/status").await;
    assert_eq!((&status["mood"], &status["last_lost"]), (&json!("good"), &Value::Null), "lost before anybody looked");
    tokio::time::sleep(Duration::from_secs(20)).await;
    running.harness.set_snapshot(all_is_well(9));
    let status = running.json("/api/v1/status").await;
    assert_eq!(status["mood"], json!("warn"));
    assert!(
        status["summary"].as_str().unwrap().starts_with("Items are being lost: 5 within the last minute."),
        "{status}"
    );
    assert_eq!(status["troubles"][0]["message"], "5 items lost within the last minute");
    let arrow = running.json("/api/v1/pipelines").await[0]["arrows"][0].clone();
    assert_eq!((&arrow["mood"], &arrow["lost"], &arrow["lost_lately"]), (&json!("bad"), &json!(9), &json!(5)));
    let page = running.text("/").await;
    assert!(page.contains("class=\"arrow bad\"") && page.contains("5 lost within the last minute"), "{page}");

    tokio::time::sleep(Duration::from_secs(120)).await;
    let status = running.json("/api/v1/status").await;
    assert_eq!((&status["mood"], &status["troubles"]), (&json!("good"), &json!([])));
    assert_eq!((&status["lost"], &status["last_lost"]), (&json!(9), &json!(NOW as f64)), "it is told still, and when");
    let page = running.text("/").await;
    assert!(page.contains("class=\"arrow good\"") && page.contains("; lost since the start: 9 (busy)"), "{page}");
    assert!(page.contains("9 items lost since the start, the last <time data-age=\"ago\""), "{page}");
    assert!(!page.contains("class=\"trouble\"") && !page.contains("class=\"warned\""), "quietly: {page}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_over_the_last_minute() {
    let running = Running::with(snapshot(100)).await;
    let rate = |pipelines: Value| pipelines[0]["arrows"][0]["rate"].clone();
    assert_eq!(rate(running.json("/api/v1/pipelines").await), Value::Null, "nothing to compare with");
    tokio::time::sleep(Duration::from_secs(20)).await;
    running.harness.set_snapshot(snapshot(300));
    let per_second = rate(running.json("/api/v1/pipelines").await).as_f64().unwrap();
    assert!((per_second - 10.0).abs() < 0.6, "{per_second}");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(rate(running.json("/api/v1/pipelines").await), json!(0.0));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_exporter_lost_or_refused_long_ago_is_told_and_is_no_trouble_any_more() {
    let with = |failed: u64, refused: u64| {
        let mut snapshot = snapshot(100);
        snapshot.components.iter_mut().for_each(|component| component.status = Status::Ok);
        snapshot.components.retain(|component| component.kind != ComponentKind::Receiver);
        let account = &mut snapshot.books.accounts[0];
        (account.failed, account.refused) = (Reasons::new(), Reasons::new());
        account.failed.insert("timeout".to_owned(), failed);
        account.refused.insert("queue_full".to_owned(), refused);
        (account.out, account.queued, account.offered) = (100 - failed, 0, 100 + refused);
        snapshot
    };
    let running = Running::with(with(0, 0)).await;
    let exporter = async || running.json("/api/v1/pipelines").await[0]["nodes"][3].clone();
    tokio::time::sleep(Duration::from_secs(10)).await;
    running.harness.set_snapshot(with(4, 2));
    let node = exporter().await;
    assert_eq!(
        (&node["id"], &node["mood"], &node["lost_lately"], &node["refused_lately"]),
        (&json!("otlp/far away"), &json!("warn"), &json!(4), &json!(2))
    );
    let status = running.json("/api/v1/status").await;
    assert_eq!(status["troubles"][0]["anchor"], "node-metrics-exporter-otlp.2f.far.20.away");
    tokio::time::sleep(Duration::from_secs(120)).await;
    let node = exporter().await;
    assert_eq!((&node["mood"], &node["lost_lately"], &node["refused_lately"]), (&json!("good"), &json!(0), &json!(0)));
    let page = running.text("/").await;
    for quiet in [
        "<p class=\"quiet\">lost since the start: 4 (timeout)",
        "<p class=\"quiet\">refused since the start: 2 (queue_full)",
    ] {
        assert!(page.contains(quiet), "{quiet}: {page}");
    }
    running.end().await;
}
