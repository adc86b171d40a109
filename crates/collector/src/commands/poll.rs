use std::process::ExitCode;

use minicol_host::{PollOutcome, PollResult};
use minicol_pdata::{Attributes, MetricKind, MetricView, Number, Outcome, PointValue, PointView};
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
        "resource": attributes_as_json(&metric.resource()),
        "points": metric.points().iter().map(point_as_json).collect::<Vec<_>>(),
    })
}

fn point_as_json(point: &PointView<'_>) -> Value {
    let mut told =
        json!({ "attributes": attributes_as_json(&point.attributes()), "time_unix_nano": point.time.as_nanos() });
    if !point.start.is_unset() {
        told["start_time_unix_nano"] = point.start.as_nanos().into();
    }
    match &point.value {
        PointValue::None => told["no_recorded_value"] = true.into(),
        PointValue::Number(Number::Int(value)) => told["value"] = (*value).into(),
        PointValue::Number(Number::Double(value)) => told["value"] = (*value).into(),
        PointValue::Histogram { count, sum, min, max, bounds, buckets } => {
            told["count"] = (*count).into();
            told["sum"] = (*sum).into();
            told["min"] = (*min).into();
            told["max"] = (*max).into();
            told["explicit_bounds"] = (*bounds).into();
            told["bucket_counts"] = (*buckets).into();
        }
        PointValue::ExponentialHistogram {
            count,
            sum,
            min,
            max,
            scale,
            zero_count,
            positive_offset,
            positive,
            negative_offset,
            negative,
        } => {
            told["count"] = (*count).into();
            told["sum"] = (*sum).into();
            told["min"] = (*min).into();
            told["max"] = (*max).into();
            told["scale"] = (*scale).into();
            told["zero_count"] = (*zero_count).into();
            told["positive"] = json!({ "offset": positive_offset, "bucket_counts": positive });
            told["negative"] = json!({ "offset": negative_offset, "bucket_counts": negative });
        }
        PointValue::Summary { count, sum, quantiles } => {
            told["count"] = (*count).into();
            told["sum"] = (*sum).into();
            told["quantiles"] = json!(quantiles);
        }
    }
    told
}

fn attributes_as_json(attributes: &Attributes) -> Value {
    let told: Map<String, Value> = attributes
        .iter()
        .map(|(name, value)| {
            use minicol_pdata::AttributeValue as V;
            let value = match value {
                V::Bool(value) => (*value).into(),
                V::Int(value) => (*value).into(),
                V::Double(value) => (*value).into(),
                V::String(text) | V::Other(text) => Value::from(text.as_ref()),
            };
            (name.to_owned(), value)
        })
        .collect();
    told.into()
}
