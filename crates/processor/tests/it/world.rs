//! A processor with what is around it, and points as text.

use std::{sync::Arc, time::Duration};

use minicol_pdata::{
    Arrival, Batch, Metrics, Observation, Observations, Outcome, POLL_REPORT, PollReport, Source, Timestamp,
    ToolOutcome,
};
use minicol_plugin::{
    Entry, Processor, Rejected,
    testing::{Harness, Sink, golden},
};
use minicol_processor::MappingFactory;
use serde_json::Value;

/// 2026-11-23T00:00:00Z: after every session of the recordings, and when the processor is built.
pub(crate) const NOW: u64 = 1_795_392_000;
pub(crate) const INTERVAL: Duration = Duration::from_secs(30);

pub(crate) const MAPPING: Entry<dyn Processor> = Entry::of::<MappingFactory>();

pub(crate) struct World {
    pub(crate) harness: Harness,
    pub(crate) sink: Sink,
    processor: Box<dyn Processor>,
    source: Arc<Source>,
    /// Since the beginning.
    pub(crate) elapsed: Duration,
}

impl World {
    pub(crate) fn new(yaml: &str) -> Self {
        Self::within(Harness::default(), yaml)
    }

    pub(crate) fn within(harness: Harness, yaml: &str) -> Self {
        let resource = [("service.name", "session-buddy"), ("service.instance.id", "i")].into_iter().collect();
        let source = Arc::new(Source { resource, receiver: "session_buddy".into(), interval: INTERVAL });
        // The harness begins in the first second of 2026.
        harness.clock.step((NOW - 1_767_225_600) as f64);
        let processor = harness.build(&MAPPING, yaml);
        Self { harness, sink: Sink::new(), processor, source, elapsed: Duration::from_secs(1) }
    }

    /// The same with another configuration, as after a reload.
    pub(crate) fn reload(&mut self, yaml: &str) {
        self.processor = self.harness.build(&MAPPING, yaml);
    }

    pub(crate) fn now(&self) -> Arrival {
        Arrival { wall: Timestamp::from_nanos(NOW * 1_000_000_000) + self.elapsed, monotonic: self.elapsed }
    }

    pub(crate) fn observation(&self, tool: &str, document: Value) -> Observation {
        Observation {
            source: Arc::clone(&self.source),
            tool: tool.into(),
            arguments: None,
            arrival: self.now(),
            took: Duration::from_millis(5),
            document: Arc::new(document),
            cut: None,
        }
    }

    pub(crate) async fn offer(&self, observations: Vec<Observation>) -> Result<Option<Metrics>, Rejected> {
        let batch = Batch::Observations(Observations::from(observations));
        self.processor.process(batch, &self.sink.next()).await?;
        Ok(self
            .sink
            .take()
            .pop()
            .map(|batch| if let Batch::Metrics(metrics) = batch { metrics } else { panic!("{batch:?}") }))
    }

    /// One cycle: these answers, then the report. The next is an interval later.
    pub(crate) async fn cycle(&mut self, answers: &[(&str, Value)]) -> Metrics {
        let mut batch: Vec<_> =
            answers.iter().map(|(tool, document)| self.observation(tool, document.clone())).collect();
        batch.push(self.observation(POLL_REPORT, report(answers.iter().map(|(tool, _)| *tool))));
        let metrics = self.offer(batch).await.unwrap().unwrap_or_default();
        self.elapsed += INTERVAL;
        metrics
    }
}

fn report<'a>(tools: impl Iterator<Item = &'a str>) -> Value {
    let tools = tools.map(|tool| (tool.to_owned(), ToolOutcome::of(Outcome::Answered))).collect();
    PollReport { up: Some(1), duration_seconds: 0.25, missed_ticks: 0, setup_error: None, tools }.to_document()
}

/// What a `CallToolResult` holds, as the receiver gives it.
pub(crate) fn document(result: &Value) -> Value {
    let structured = &result["structuredContent"];
    match structured.as_object() {
        Some(map) if map.len() == 1 && map.contains_key("result") => map["result"].clone(),
        _ => structured.clone(),
    }
}

/// Points, a line each. Times are seconds from `NOW`.
pub(crate) fn lines(metrics: &Metrics) -> String {
    golden::points(metrics, Timestamp::from_nanos(NOW * 1_000_000_000))
}
