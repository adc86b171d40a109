//! Promise: every query of the dashboards and the alerts asks for what minicol makes, under the names that Prometheus has for it.

use std::collections::{BTreeMap, BTreeSet};

use minicol_tests::{Program, free_port, http_get, prometheus, wait_until};
use serde_json::Value;

use crate::{
    common::File,
    queries::{Known, Series, check, labels},
};

/// `promtool test rules` runs them where it is; that each alert is shown to fire, and not to, is held here.
#[test]
fn each_alert_has_a_test_of_when_it_fires_and_when_it_does_not() {
    let read = |name: &str| -> Value { serde_yaml::from_str(&read(&format!("packaging/prometheus/{name}"))).unwrap() };
    let (rules, tests) = (read("minicol.rules.yaml"), read("minicol.rules.tests.yaml"));
    let alerts = list(&rules["groups"]).iter().flat_map(|group| list(&group["rules"]));
    let mut count = 0;
    for alert in alerts.map(|rule| text(&rule["alert"])) {
        let asks = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        let all = list(&tests["tests"]).iter().flat_map(|test| list(&test["promql_expr_test"]));
        let of: Vec<bool> = all
            .filter(|one| text(&one["expr"]).contains(&asks))
            .map(|one| list(&one["exp_samples"]).is_empty())
            .collect();
        assert!(of.contains(&true) && of.contains(&false), "{alert}: {of:?}");
        count += 1;
    }
    assert!(count >= 19, "{count}");
}

const DASHBOARDS: [&str; 2] = ["session-buddy", "minicol"];
const PAGE: &str = include_str!("../../docs/own-telemetry.md");

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn dashboard(name: &str) -> Value {
    serde_json::from_str(&read(&format!("packaging/grafana/{name}.json"))).expect("a dashboard is JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What the preset makes, as Prometheus names it when it comes over OTLP.
fn polled() -> Known {
    let preset: Value = serde_yaml::from_str(&read("crates/processor/presets/session_buddy.yaml")).unwrap();
    let mut known = Known::new();
    for rule in list(&preset["rules"]) {
        for metric in list(&rule["metrics"]) {
            let attributes =
                [&rule["attributes"], &metric["attributes"]].into_iter().filter_map(Value::as_object).flatten();
            let attributes: Vec<String> = attributes.map(|(name, _)| prometheus::label_name(name)).collect();
            add(&mut known, text(&metric["name"]), text(&metric["unit"]), text(&metric["type"]), &attributes);
        }
    }
    // What Prometheus makes of the resource of a target.
    let of_target = labels(["server_address", "server_port", "url_scheme"]);
    known.insert("target_info".to_owned(), Series { labels: of_target, counts: false });
    known
}

fn add(known: &mut Known, name: &str, unit: &str, kind: &str, attributes: &[String]) {
    for name in prometheus::series(name, unit, kind) {
        let le = name.ends_with("_bucket").then(|| "le".to_owned());
        let counts = matches!(kind, "counter" | "histogram");
        let series = known.entry(name).or_insert(Series { labels: BTreeSet::new(), counts });
        series.labels.extend(attributes.iter().cloned().chain(le));
    }
}

/// What stands on minicol's own page, as `docs/own-telemetry.md` lists it; `crates/collector/tests/it.rs` holds that list against the page.
fn own() -> Known {
    let mut known = Known::from([("up".to_owned(), Series { labels: BTreeSet::new(), counts: false })]);
    let mut before: Vec<String> = Vec::new();
    for line in PAGE.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind @ ("counter" | "gauge" | "histogram"), _, attributes, _, _] = cells[..] else { continue };
        let name = name.trim_start_matches('`').split('`').next().unwrap();
        let more = attributes.split(", ").map(|one| one.trim_start_matches("and ")).filter(|one| !one.is_empty());
        let (same, more): (Vec<&str>, Vec<&str>) = more.partition(|one| *one == "the same");
        let own: Vec<String> = more.into_iter().map(prometheus::label_name).collect();
        let all = if same.is_empty() { own } else { before.iter().cloned().chain(own).collect() };
        if same.is_empty() {
            before.clone_from(&all);
        }
        // On the page names stand verbatim: no unit and no type is added.
        let names = match name.split_once("<items>") {
            None => vec![name.to_owned()],
            Some((head, _)) => {
                ["observations", "metric_points", "log_records", "spans"].map(|items| format!("{head}{items}")).into()
            }
        };
        for name in names {
            let name = prometheus::label_name(&name);
            let parts = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
            for part in parts {
                let le = (*part == "_bucket").then(|| "le".to_owned());
                let labels = all.iter().cloned().chain(le).collect();
                known.insert(format!("{name}{part}"), Series { labels, counts: kind != "gauge" });
            }
        }
    }
    assert!(known.len() > 60, "{:?}", known.keys());
    known
}

fn everything() -> Known {
    polled().into_iter().chain(own()).collect()
}

/// The labels that a text of Grafana shows: `{{label}}`.
fn shown(text: &str) -> Vec<&str> {
    text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label.trim()).collect()
}

#[test]
fn every_query_of_a_dashboard_asks_for_what_there_is() {
    for (name, known) in [("session-buddy", polled()), ("minicol", own())] {
        let dashboard = dashboard(name);
        let (mut queries, mut wrong) = (0, Vec::new());
        let mut look = |of: &str, query: &str, texts: &[&str]| {
            queries += 1;
            match check(query, &known) {
                Err(told) => wrong.push(format!("{of}: {told}\n   {query}")),
                Ok(labels) => {
                    for label in texts.iter().flat_map(|text| shown(text)).filter(|label| !labels.contains(*label)) {
                        wrong.push(format!("{of}: it shows {label}, which {query} has not"));
                    }
                }
            }
        };
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                look(text(&panel["title"]), text(&target["expr"]), &[text(&target["legendFormat"])]);
            }
        }
        for annotation in list(&dashboard["annotations"]["list"]).iter().filter(|one| one["builtIn"].is_null()) {
            let texts = [text(&annotation["titleFormat"]), text(&annotation["textFormat"])];
            look(text(&annotation["name"]), text(&annotation["expr"]), &texts);
        }
        for variable in list(&dashboard["templating"]["list"]).iter().filter(|one| one["type"] == "query") {
            let query = text(&variable["query"]["query"]);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).expect(query);
            let (series, label) = inner.rsplit_once(", ").expect(query);
            look(text(&variable["name"]), series, &[&format!("{{{{{label}}}}}")]);
        }
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
        assert!(queries > 40, "{name}: {queries}");
    }
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let all: String = DASHBOARDS.iter().map(|name| dashboard(name).to_string()).collect();
    // Arrows are for who debugs a pipeline (level detailed), and stand on the status page; the rest is told by another metric that is shown.
    let left_out = |name: &str| {
        name.starts_with("minicol_edge_")
            || [
                "books_offered",
                "books_in_",
                "books_out_",
                "books_converted",
                "books_unused",
                "books_restored",
                "books_kept",
            ]
            .iter()
            .any(|part| name.contains(part))
            || [
                "_attempt_duration",
                "_commit_duration",
                "lost_spans",
                "storage_records",
                "scraper_",
                "receiver_refused_",
            ]
            .iter()
            .any(|part| name.contains(part))
            || ["expired_series", "usable_values", "processor_accepted", "processor_refused", "skill_duration"]
                .iter()
                .any(|part| name.contains(part))
    };
    let named = |name: &str| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        all.contains(family)
    };
    let missing: Vec<_> = everything().into_keys().filter(|name| !left_out(name) && !named(name)).collect();
    assert!(missing.is_empty(), "on no dashboard: {missing:?}");
}

#[test]
fn a_dashboard_can_be_imported_and_read() {
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        assert!(dashboard["schemaVersion"].as_u64() >= Some(39), "{name}");
        assert!(dashboard["id"].is_null() && !text(&dashboard["uid"]).is_empty(), "an import gives the id: {name}");
        let variables: BTreeSet<&str> =
            list(&dashboard["templating"]["list"]).iter().map(|one| text(&one["name"])).collect();
        assert!(["datasource", "job", "instance"].iter().all(|one| variables.contains(one)), "{name}: {variables:?}");
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeMap::new());
        for panel in list(&dashboard["panels"]) {
            let title = text(&panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().expect(title)), "{title}: its id is taken");
            let at = |key: &str| panel["gridPos"][key].as_u64().expect(title);
            for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(cell.0 < 24, "{title} is wider than the page");
                assert_eq!(taken.insert(cell, title), None, "{title} lies over another panel");
            }
            if panel["type"] == "row" {
                continue;
            }
            assert!(!title.is_empty() && text(&panel["description"]).len() > 10, "{title} needs a description");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            let bare = matches!(text(&panel["type"]), "state-timeline" | "heatmap");
            assert!(bare || !text(unit).is_empty(), "{title} needs a unit");
            for target in list(&panel["targets"]) {
                let query = text(&target["expr"]);
                assert!(query.contains("$job") && query.contains("$instance"), "{title} shows all targets: {query}");
                for used in query.split('$').skip(1) {
                    let word = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                    assert!(word.starts_with("__") || variables.contains(word), "{title}: there is no variable {word}");
                }
            }
        }
    }
}

#[test]
fn every_alert_asks_for_what_there_is_and_tells_the_cure() {
    let known = everything();
    let rules: Value = serde_yaml::from_str(&read("packaging/prometheus/minicol.rules.yaml")).unwrap();
    let mut names = BTreeSet::new();
    for rule in list(&rules["groups"]).iter().flat_map(|group| list(&group["rules"])) {
        let name = text(&rule["alert"]);
        assert!(names.insert(name), "{name} is there twice");
        let labels = check(text(&rule["expr"]), &known).unwrap_or_else(|told| panic!("{name}: {told}"));
        assert!(rule["for"].is_string(), "{name} needs `for`");
        assert!(
            ["info", "warning", "critical"].contains(&text(&rule["labels"]["severity"])),
            "{name} needs a severity"
        );
        let told = ["summary", "description"].map(|key| text(&rule["annotations"][key]));
        assert!(told.iter().all(|told| told.len() > 20), "{name} needs a summary, and a description with the cure");
        for used in told.iter().flat_map(|told| told.split("$labels.").skip(1)) {
            let label = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            assert!(labels.contains(label), "{name} tells {label}, which its expression has not: {labels:?}");
        }
        let page = text(&rule["annotations"]["docs"]);
        assert!(page.starts_with("docs/") && !read(page).is_empty(), "{name} names the page {page}");
    }
    assert!(names.len() >= 15, "{names:?}");
}

#[tokio::test]
async fn what_the_preset_makes_of_both_servers_has_the_names_of_the_dashboard() {
    let known = polled();
    let mut seen = BTreeSet::new();
    for (profile, tools) in [
        ("contract", "[activity_summary, workflow_metrics, session_analytics, performance_metrics]"),
        (
            "release",
            "[liveness, metrics_summary, prometheus_metrics, session_analytics, workflow_metrics, real_time_metrics]",
        ),
    ] {
        let port = free_port();
        let file = File::new(&format!(
            "extensions: {{session_buddy_simulator: {{endpoint: \"127.0.0.1:{port}\", profile: {profile}}}}}
receivers: {{session_buddy: {{endpoint: \"http://127.0.0.1:{port}/mcp\", metrics_to_collect: {tools}}}}}
processors: {{mapping: {{presets: [session_buddy]}}}}
exporters: {{debug: }}
service:
  extensions: [session_buddy_simulator]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [session_buddy], processors: [mapping], exporters: [debug]}}}}
"
        ));
        let output = Program::run(&["poll", "--config", file.path(), "--output", "json"], &[]).await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        let told: Value = serde_json::from_str(&output.stdout).unwrap();
        for metric in list(&told["metrics"]) {
            for name in prometheus::series(text(&metric["name"]), text(&metric["unit"]), text(&metric["type"])) {
                let series = known.get(&name).unwrap_or_else(|| panic!("{profile}: {name} is not in the preset"));
                for point in list(&metric["points"]) {
                    for (attribute, _) in point["attributes"].as_object().unwrap() {
                        assert!(series.labels.contains(&prometheus::label_name(attribute)), "{name}: {attribute}");
                    }
                }
                seen.insert(name);
            }
            let resource: BTreeSet<String> = metric["resource"]
                .as_object()
                .unwrap()
                .keys()
                .map(|name| prometheus::label_name(name))
                .filter(|name| !name.starts_with("service_"))
                .collect();
            assert_eq!(
                resource, known["target_info"].labels,
                "service.name and service.instance.id are job and instance"
            );
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
}

#[tokio::test]
async fn the_real_page_has_the_labels_of_the_dashboard() {
    let (known, page, buddy) = (own(), free_port(), free_port());
    let file = File::new(&format!(
        "extensions: {{session_buddy_simulator: {{endpoint: \"127.0.0.1:{buddy}\", faults: {{tools: {{get_workflow_metrics: {{kind: is_error, rate: 1}}}}}}}}}}
receivers: {{session_buddy: {{endpoint: \"http://127.0.0.1:{buddy}/mcp\", interval_seconds: 1, max_retries: 0, metrics_to_collect: [workflow_metrics, activity_summary]}}}}
processors: {{memory_limiter: {{limit_mib: 512}}, mapping: {{presets: [session_buddy]}}}}
exporters: {{debug: {{verbosity: basic, sending_queue: {{enabled: true}}}}}}
service:
  extensions: [session_buddy_simulator]
  telemetry: {{metrics: {{level: detailed, readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {page}}}}}}}}}]}}}}
  pipelines: {{metrics: {{receivers: [session_buddy], processors: [memory_limiter, mapping], exporters: [debug]}}}}
"
    ));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("it delivers", || program.stdout().lines().count() > 2).await;
    let (_, told) = http_get(&format!("127.0.0.1:{page}"), "/metrics").await.expect("the page answers");
    let mut seen = BTreeSet::new();
    for line in told.lines().filter(|line| !line.starts_with('#') && !line.starts_with("target_info")) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let series = known.get(name).unwrap_or_else(|| panic!("{name} is not in docs/own-telemetry.md"));
        let named = rest.rsplit_once('}').map_or("", |(labels, _)| labels);
        for label in named.split("\",").filter_map(|one| one.split_once("=\"")).map(|(label, _)| label) {
            assert!(
                series.labels.contains(label),
                "{name} has the label {label}, docs/own-telemetry.md: {:?}",
                series.labels
            );
        }
        seen.insert(name);
    }
    assert!(seen.len() > 40 && seen.contains("session_buddy_poller_poll_errors_total"), "{seen:?}");
    program.stop().await;
}
