//! Promise: the preset makes of each recorded answer of Session-Buddy 0.23.0, and of a server that keeps the contract, exactly these points.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::world::{World, document, lines};

const PRESET: &str = "presets: [session_buddy]";

/// Each recording of the release, by file name: the tool, and the document.
pub(crate) fn recordings() -> BTreeMap<String, (String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/session-buddy-0.23.0");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let tool = name.split('.').next().unwrap().to_owned();
            let result = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            (name, (tool, document(&result)))
        })
        .collect()
}

/// Answers of a server that keeps the contract.
pub(crate) fn contract() -> Vec<(&'static str, Value)> {
    vec![
        (
            "get_activity_summary",
            json!({"active_sessions": 3, "total_sessions": 120, "recent_activity": [{"session": "s1"}, {"session": "s2"}]}),
        ),
        ("get_workflow_metrics", json!({"workflows_completed": 45, "workflows_failed": 2, "avg_duration": 12.5})),
        (
            "get_session_analytics",
            json!({"total_checkpoints": 480, "avg_checkpoint_size": 20_480, "session_duration": 1834.5}),
        ),
        ("get_performance_metrics", json!({"cpu_usage": 12.5, "memory_usage": 256.0, "response_time": 45})),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_recorded_answer_of_the_release_becomes_exactly_these_points() {
    let recordings = recordings();
    assert!(recordings.len() >= 18, "{:?}", recordings.keys());
    let mut out = Vec::new();
    for (name, (tool, document)) in recordings {
        let mut world = World::new(PRESET);
        let metrics = world.cycle(&[(&tool, document)]).await;
        // The report's own points are the same for each.
        let points = lines(&metrics);
        let own = |line: &&str| {
            !["session_buddy.up ", "session_buddy.tool.up ", "session_buddy.poll."]
                .iter()
                .any(|name| line.starts_with(name))
        };
        let points: Vec<_> = points.lines().filter(own).collect();
        let points = if points.is_empty() { "(nothing)".to_owned() } else { points.join("\n") };
        out.push(format!("== {name}\n{points}\n"));
        assert_eq!(world.harness.notices(), [""; 0], "{name}: guards are silent");
    }
    snapshot("release_each", &out.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_release_as_a_whole_told_twice() {
    let recordings = recordings();
    let answer = |name: &str| {
        let (tool, document) = &recordings[name];
        (tool.as_str(), document.clone())
    };
    let cycle = [
        answer("get_activity_summary.seeded"),
        answer("get_liveness.seeded"),
        answer("get_metrics_summary.afterlive"),
        answer("get_prometheus_metrics.afterlive"),
        answer("get_session_analytics.seeded"),
        answer("get_workflow_metrics.seeded"),
    ];
    let mut world = World::new(PRESET);
    let first = lines(&world.cycle(&cycle).await);
    let second = lines(&world.cycle(&cycle).await);
    snapshot("release_twice", &format!("== first\n{first}\n\n== second, 30 s later\n{second}\n"));
    assert_eq!(world.harness.notices(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_contract_becomes_table_one() {
    let mut world = World::new(PRESET);
    let first = lines(&world.cycle(&contract()).await);
    let mut later = contract();
    later[0].1["total_sessions"] = json!(123);
    later[1].1["avg_duration"] = json!(13.5);
    let second = lines(&world.cycle(&later).await);
    snapshot(
        "contract",
        &format!("== first\n{first}\n\n== second, 30 s later: 3 sessions more, another average\n{second}\n"),
    );
    assert_eq!(world.harness.notices(), [""; 0], "`recent_activity` is deliberately no metric");
}

#[tokio::test(start_paused = true)]
async fn a_field_of_the_contract_that_vanishes_is_told_and_the_others_stay() {
    let mut world = World::new(PRESET);
    world.cycle(&contract()).await;
    let mut answers = contract();
    answers[1].1 = json!({"workflows_completed": 46, "workflows_failed": null});
    let points = lines(&world.cycle(&answers).await);
    assert!(points.contains("session_buddy.workflows.completed counter {workflow} {} +1s..+31s 46"), "{points}");
    assert!(
        points.contains("session_buddy.workflows.failed counter {workflow} {} +1s..+31s no recorded value"),
        "{points}"
    );
    assert_eq!(world.harness.notices(), ["values_unusable"; 2]);
    world.cycle(&answers).await;
    assert_eq!(world.harness.notices(), ["values_unusable"; 2], "told once");
    world.cycle(&contract()).await;
    assert_eq!(world.harness.notices()[2..], ["values_usable"; 2]);
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

/// The example of the reference is a rule that the preset has, too.
#[tokio::test(start_paused = true)]
async fn a_users_rule_beside_the_presets_own_counts_each_item_once() {
    let (tool, document) = &recordings()["get_session_analytics.seeded"];
    let duration = |points: String| -> Vec<String> {
        points.lines().filter(|line| line.starts_with("session_buddy.session.duration")).map(str::to_owned).collect()
    };
    let mut alone = World::new(PRESET);
    let mut both = World::new(include_str!("../../examples/mapping.yaml"));
    for _ in 0..2 {
        let cycle = [(tool.as_str(), document.clone())];
        let expected = duration(lines(&alone.cycle(&cycle).await));
        assert_eq!(expected.len(), 12);
        assert_eq!(duration(lines(&both.cycle(&cycle).await)), expected);
    }
    assert_eq!(both.harness.notices(), [""; 0]);
}
