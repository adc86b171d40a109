use std::process::ExitCode;

use minicol_host::{PollOutcome, PollResult};
use minicol_pdata::{MetricKind, MetricView, Outcome, PointView};
use minicol_pipeline_test::{scalars, values};
use minicol_plugin::{Event, Level};
use serde_json::{Map, Value, json};

use super::{
    host, load,
    polled::{metrics, report},
    print, table, tell_overrides,
};
use crate::{
    cli::{Output, Sources},
    tell,
};

/// Exactly one cycle of each polling receiver, mapped, shown, and not exported.
pub(crate) async fn poll(sources: Sources, output: Output, receiver: Option<&str>) -> anyhow::Result<ExitCode> {
    let plan = load(sources)?;
    tell_overrides(&plan);
    let outcome = host().0.poll(&plan, receiver).await?;
    match output {
        Output::Table => {
            print(&table::render(&outcome))?;
            for told in warnings(&outcome) {
                tell(&format!("{told}\n"));
            }
        }
        Output::Json => print(&(serde_json::to_string_pretty(&as_json(&outcome))? + "\n"))?,
    }
    Ok(if something_was_polled(&outcome) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// True where at least one tool of one target answered; a receiver that emits something else than polls counts, too.
fn something_was_polled(outcome: &PollOutcome) -> bool {
    outcome.receivers.iter().any(|receiver| match (&receiver.result, report(receiver)) {
        (PollResult::Polled, Some(report)) => report.tools.values().any(|tool| tool.outcome == Outcome::Answered),
        (PollResult::Polled, None) => receiver.batches.iter().any(|batch| !batch.is_empty()),
        _ => false,
    })
}

fn warnings(outcome: &PollOutcome) -> impl Iterator<Item = String> {
    outcome.events.iter().filter_map(|event| match event {
        Event::Notice(notice) if notice.level >= Level::Warn => Some(format!(
            "{}: {} {}: {}",
            if notice.level == Level::Warn { "warning" } else { "error" },
            notice.kind,
            notice.component,
            notice.message
        )),
        _ => None,
    })
}

fn as_json(outcome: &PollOutcome) -> Value {
    let receivers: Map<String, Value> = outcome
        .receivers
        .iter()
        .map(|receiver| {
            let told = match (&receiver.result, report(receiver)) {
                (PollResult::Polled, Some(report)) => report.to_document(),
                (PollResult::Polled, None) => json!({ "batches": receiver.batches.len() }),
                (PollResult::NotPolling, _) => json!({ "error": "this receiver does not poll" }),
                (PollResult::Disabled, _) => json!({ "error": "enabled is false" }),
                (PollResult::Failed(why), _) => json!({ "error": why }),
            };
            (receiver.id.to_string(), told)
        })
        .collect();
    let metrics: Vec<Value> = outcome
        .pipelines
        .iter()
        .flat_map(|pipeline| metrics(&pipeline.batches).map(|metric| metric_as_json(&pipeline.id, &metric)))
        .collect();
    json!({ "receivers": receivers, "metrics": metrics })
}

fn metric_as_json(pipeline: &str, metric: &MetricView<'_>) -> Value {
    json!({
        "pipeline": pipeline,
        "name": metric.name(),
        "type": metric.kind().map(MetricKind::name),
        "unit": metric.unit(),
        "description": metric.description(),
        "resource": scalars(&metric.resource()),
        "points": metric.points().iter().map(point_as_json).collect::<Vec<_>>(),
    })
}

/// In the words of a test file, but for the moments.
fn point_as_json(point: &PointView<'_>) -> Value {
    let mut told = json!(values(point));
    told["attributes"] = json!(scalars(&point.attributes()));
    told["time_unix_nano"] = point.time.as_nanos().into();
    if !point.start.is_unset() {
        told["start_time_unix_nano"] = point.start.as_nanos().into();
    }
    told
}
