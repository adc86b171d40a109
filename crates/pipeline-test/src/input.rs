//! What a receiver would have given.

use std::sync::Arc;

use minicol_config::{Path, Problem};
use minicol_pdata::{
    Arrival, Batch, Logs, Metrics, Observation, Observations, Outcome, POLL_REPORT, PollReport, Source, ToolOutcome,
    Traces,
};
use minicol_plugin::{Polls, config::GoDuration};
use serde_json::{Map, Value};

use crate::file::{Case, Down, FailedTool, NotAnswered, Step, attributes};

/// The batch of a step; where it makes none, which key says why.
pub(crate) fn batch(step: &Step, case: &Case, receiver: &str, polls: Option<&Polls>) -> Result<Batch, Problem> {
    match &step.otlp {
        Some(request) => otlp(request),
        None => observations(step, case, receiver, polls).map(Batch::from),
    }
}

fn otlp(request: &Map<String, Value>) -> Result<Batch, Problem> {
    let text = Value::from(request.clone()).to_string();
    let wrong = |error: minicol_pdata::DecodeError| {
        Problem::error(format!("this is no OTLP/JSON: {error}")).in_path(&Path::keys(["otlp"]))
    };
    let bytes = text.as_bytes();
    let keys: Vec<&str> = request.keys().map(String::as_str).collect();
    match keys[..] {
        ["resourceMetrics"] => Metrics::from_json(bytes).map(Batch::from).map_err(wrong),
        ["resourceLogs"] => Logs::from_json(bytes).map(Batch::from).map_err(wrong),
        ["resourceSpans"] => Traces::from_json(bytes).map(Batch::from).map_err(wrong),
        _ => {
            let problem = Problem::error(
                "one of resourceMetrics, resourceLogs and resourceSpans must be there, and nothing else",
            );
            Err(problem.in_path(&Path::keys(["otlp"])))
        }
    }
}

/// One cycle of a poller: an observation per answer, and the report.
fn observations(step: &Step, case: &Case, receiver: &str, polls: Option<&Polls>) -> Result<Observations, Problem> {
    let source = source(step, receiver, polls).ok_or_else(|| {
        let told = format!("receiver `{receiver}` does not poll, so nothing tells of which target these answers are");
        Problem::error(told)
            .in_path(&Path::root())
            .with_help("give `otlp` in the place of `answers`, or write `resource`")
    })?;
    let arrival = Arrival { wall: case.start.0 + step.at.0, monotonic: step.at.0 };
    let answers = step.answers.iter().flatten();
    let one = |tool: &str, took: GoDuration, document: Value| Observation {
        source: Arc::clone(&source),
        tool: tool.into(),
        arguments: None,
        arrival,
        took: took.0,
        document: Arc::new(document),
        cut: None,
    };
    let took = |tool: &str| step.took.get(tool).copied().unwrap_or_default();
    let mut list: Vec<Observation> = answers.map(|(tool, document)| one(tool, took(tool), document.clone())).collect();
    let report = report(step, polls.map(|polls| &polls.tools[..]).unwrap_or_default());
    list.push(one(POLL_REPORT, step.duration, report.to_document()));
    Ok(list.into())
}

/// One answer of a step alone, or its report (`@poll`), where nothing but the tool matters.
pub(crate) fn only(step: &Step, case: &Case, tool: &str, receiver: &str, polls: Option<&Polls>) -> Option<Batch> {
    let source = source(step, receiver, polls)?;
    let arrival = Arrival { wall: case.start.0 + step.at.0, monotonic: step.at.0 };
    let document = Arc::new(match tool {
        POLL_REPORT => report(step, &[]).to_document(),
        _ => step.answers.as_ref()?.get(tool)?.clone(),
    });
    let one = Observation {
        source,
        tool: tool.into(),
        arguments: None,
        arrival,
        took: std::time::Duration::ZERO,
        document,
        cut: None,
    };
    Some(Observations::from(vec![one]).into())
}

fn source(step: &Step, receiver: &str, polls: Option<&Polls>) -> Option<Arc<Source>> {
    match (&step.resource, polls) {
        (None, polls) => polls.map(|polls| Arc::clone(&polls.source)),
        (Some(resource), polls) => Some(Arc::new(Source {
            resource: attributes(resource),
            receiver: receiver.to_owned(),
            interval: polls.map(|polls| polls.source.interval).unwrap_or_default(),
        })),
    }
}

fn report(step: &Step, wanted: &[Arc<str>]) -> PollReport {
    let mut tools: std::collections::BTreeMap<String, ToolOutcome> = std::collections::BTreeMap::new();
    if let Some(Down { error_type, .. }) = &step.down {
        let failed = || ToolOutcome { error_type: error_type.clone(), ..ToolOutcome::of(Outcome::Failed) };
        tools.extend(wanted.iter().map(|tool| (tool.to_string(), failed())));
    }
    for tool in step.answers.iter().flat_map(Map::keys) {
        let took = step.took.get(tool).copied().unwrap_or_default().0.as_secs_f64();
        tools.insert(tool.clone(), ToolOutcome { duration_seconds: Some(took), ..ToolOutcome::of(Outcome::Answered) });
    }
    for (tool, failed) in &step.failures {
        let FailedTool { outcome, error_type, message } = failed;
        let outcome = match outcome {
            NotAnswered::Failed => Outcome::Failed,
            NotAnswered::NotOffered => Outcome::NotOffered,
            NotAnswered::BreakerOpen => Outcome::BreakerOpen,
        };
        let took = step.took.get(tool).map(|took| took.0.as_secs_f64());
        tools.insert(
            tool.clone(),
            ToolOutcome {
                error_type: error_type.clone(),
                message: message.clone(),
                duration_seconds: took,
                ..ToolOutcome::of(outcome)
            },
        );
    }
    PollReport {
        up: Some(u8::from(step.down.is_none())),
        duration_seconds: step.duration.0.as_secs_f64(),
        missed_ticks: step.missed_ticks,
        setup_error: step.down.as_ref().map(|down| ToolOutcome {
            error_type: down.error_type.clone(),
            message: down.message.clone(),
            ..ToolOutcome::of(Outcome::Failed)
        }),
        tools,
    }
}
