//! Log lines: what they look like, what is left out, and that nothing in them can deceive.

use futures::FutureExt;
use minicol_plugin::testing::Harness;
use minicol_telemetry::{
    LogsConfig,
    logs::{Surroundings, subscriber},
};
use opentelemetry::trace::SpanKind;
use serde_json::json;
use tracing::{debug, error, info, warn};

use crate::support::{Paper, telemetry};

fn written(config: serde_json::Value, surroundings: &Surroundings, say: impl FnOnce()) -> String {
    let config: LogsConfig = serde_json::from_value(config).unwrap();
    let paper = Paper::default();
    let dispatch = subscriber(&config, surroundings, Harness::default().clock, paper.clone()).unwrap();
    tracing::dispatcher::with_default(&dispatch, say);
    paper.text()
}

fn say_everything() {
    debug!("a detail");
    info!(target = %"laptop", attempt = 3, up = true, "polled");
    warn!(text = "two words", "odd");
    error!(error = ?"x", "broken");
}

#[tokio::test(start_paused = true)]
async fn a_line_for_a_person_has_time_level_message_and_fields() {
    let text = written(json!({}), &Surroundings::default(), say_everything);
    insta::assert_snapshot!(text);
}

#[tokio::test(start_paused = true)]
async fn a_line_for_a_machine_is_one_object() {
    let text = written(json!({"encoding": "json", "level": "debug"}), &Surroundings::default(), say_everything);
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[1]["timestamp"], "2026-01-01T00:00:00.000Z");
    assert_eq!((&lines[1]["level"], &lines[1]["message"]), (&json!("INFO"), &json!("polled")));
    assert_eq!((&lines[1]["attempt"], &lines[1]["up"]), (&json!(3), &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn a_line_carries_the_ids_of_the_span_that_is_current_where_it_is_made() {
    let harness = Harness::default();
    let traces = json!({"processors": [{"batch": {"exporter": {"otlp": {"endpoint": "http://backend:4317"}}}}]});
    let own = telemetry(&harness, json!({"traces": traces}));
    let say = |config| {
        written(config, &Surroundings::default(), || {
            let span = own.tracer().span(SpanKind::Internal, || "poll".into());
            span.around(async { info!(attempt = 3, "inside") }).now_or_never();
            drop(span);
            info!("outside");
        })
    };
    let text = say(json!({}));
    let lines: Vec<_> = text.lines().collect();
    let (trace, span) = lines[0].split_once("attempt=3 trace_id=").unwrap().1.split_once(" span_id=").unwrap();
    assert!(trace.len() == 32 && span.len() == 16 && !lines[1].contains("trace_id"), "{text}");

    let text = say(json!({"encoding": "json"}));
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["message"], &lines[0]["attempt"]), (&json!("inside"), &json!(3)));
    assert_eq!(lines[0]["trace_id"].as_str().map(str::len), Some(32));
    assert_eq!(lines[0]["span_id"].as_str().map(str::len), Some(16));
    assert!(lines[1].get("trace_id").is_none(), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_level_decides_and_rust_log_overrides_it() {
    let count = |level: &str, directives: Option<&str>| {
        let surroundings = Surroundings { directives: directives.map(str::to_owned), ..Surroundings::default() };
        written(json!({"level": level}), &surroundings, say_everything).lines().count()
    };
    assert_eq!(["debug", "info", "warn", "error"].map(|level| count(level, None)), [4, 3, 2, 1]);
    assert_eq!((count("error", Some("debug")), count("debug", Some("off")), count("info", Some(" "))), (4, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn directives_that_cannot_be_read_are_an_error_that_names_the_variable() {
    let surroundings = Surroundings { directives: Some("a=b=c".to_owned()), ..Surroundings::default() };
    let error =
        subscriber(&LogsConfig::default(), &surroundings, Harness::default().clock, Paper::default()).unwrap_err();
    assert!(error.to_string().starts_with("RUST_LOG is no list of directives"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn crates_of_others_are_quiet() {
    let text = written(json!({"level": "debug"}), &Surroundings::default(), || {
        debug!(target: "hyper::proto", "frame");
        info!(target: "rmcp::service", "service");
        warn!(target: "rmcp::service", "odd");
        debug!(target: "minicol_mcp", "ours");
    });
    assert!(
        !text.contains("frame") && !text.contains("service") && text.contains("odd") && text.contains("ours"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_foreign_can_move_the_cursor_or_forge_a_line() {
    let evil = "\u{1b}[2Jx\r\n2026-01-01T00:00:00Z ERROR forged\u{202e}";
    let text = written(json!({}), &Surroundings::default(), || {
        info!(display = %evil, debug = ?evil, plain = evil, "message {evil}");
        let span = tracing::info_span!("span", of = %evil);
        let _entered = span.enter();
        info!("inside");
    });
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_field_is_cut() {
    let text = written(json!({}), &Surroundings::default(), || info!(long = %"x".repeat(100_000), "m"));
    assert!(text.len() < 3_000 && text.contains('…'), "{}", text.len());
}

#[tokio::test(start_paused = true)]
async fn colour_is_for_terminals() {
    let coloured = Surroundings { colour: true, ..Surroundings::default() };
    assert!(written(json!({}), &coloured, || info!("m")).contains('\u{1b}'));
    assert!(!written(json!({}), &Surroundings::default(), || info!("m")).contains('\u{1b}'));
}
