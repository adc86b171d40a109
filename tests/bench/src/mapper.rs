use std::{sync::Arc, time::Duration};

use minicol_pdata::{
    Arrival, Batch, Observation, Observations, Outcome, POLL_REPORT, PollReport, Source, Timestamp, ToolOutcome,
};
use minicol_plugin::{
    ComponentKind, Consumer, Factory, Next, Processor, Rejected, async_trait,
    testing::{Harness, Sink},
};
use minicol_processor::{MappingConfig, MappingFactory};
use serde_json::{Value, json};

use crate::contract;

/// The processor `mapping` with the preset for Session-Buddy, and parsed answers to give it.
pub struct Mapper {
    processor: Box<dyn Processor>,
    source: Arc<Source>,
    documents: Vec<[Arc<Value>; 4]>,
    report: Arc<Value>,
    tools: [Arc<str>; 4],
    report_tool: Arc<str>,
    nowhere: Next,
    sink: Sink,
    elapsed: Duration,
    cycle: usize,
}

const INTERVAL: Duration = Duration::from_secs(30);
/// 2026-11-23.
const BEGINNING: Timestamp = Timestamp::from_nanos(1_795_392_000_000_000_000);

/// Takes everything and keeps nothing.
struct Nowhere;

#[async_trait]
impl Consumer for Nowhere {
    async fn consume(&self, _: Batch) -> Result<(), Rejected> {
        Ok(())
    }
}

/// The processor `mapping` with the preset for Session-Buddy.
pub(crate) fn processor(harness: &Harness) -> Box<dyn Processor> {
    let config: MappingConfig = serde_yaml::from_str("presets: [session_buddy]").expect("a configuration");
    MappingFactory::build(config, &harness.scope(ComponentKind::Processor, "mapping")).expect("a processor")
}

/// An arrow to what takes everything and keeps nothing.
pub(crate) fn nowhere() -> Next {
    Next::new(Nowhere)
}

impl Mapper {
    /// The poll itself, and whether each tool answered.
    pub const POINTS_OF_A_POLL: usize = 6;

    /// With the answers of so many cycles, which come again and again; where there is one, no series ever changes.
    pub fn new(cycles: usize) -> Self {
        Self::over(contract::documents(cycles), contract::TOOLS)
    }

    /// With one answer that never changes: as many series of one metric, each with an attribute.
    pub fn of_series(series: usize) -> Self {
        let scores: serde_json::Map<_, _> = (0..series).map(|n| (format!("component-{n}"), n.into())).collect();
        let document = json!({ "quality_scores": scores });
        let tools = ["get_metrics_summary", "get_none_a", "get_none_b", "get_none_c"];
        Self::over(vec![[document, json!({}), json!({}), json!({})]], tools)
    }

    fn over(documents: Vec<[Value; 4]>, tools: [&str; 4]) -> Self {
        let resource = [
            ("service.name", "session-buddy"),
            ("service.instance.id", "4d63009a-8d0f-11ee-aad7-4c796ed8e320"),
            ("server.address", "127.0.0.1"),
            ("url.scheme", "http"),
        ];
        let resource = resource.into_iter().collect();
        let answered = |tool: &&str| ((*tool).to_owned(), ToolOutcome::of(Outcome::Answered));
        let outcomes = tools.iter().map(answered).collect();
        let report =
            PollReport { up: Some(1), duration_seconds: 0.25, missed_ticks: 0, setup_error: None, tools: outcomes };
        Self {
            processor: processor(&Harness::default()),
            source: Arc::new(Source { resource, receiver: "session_buddy".into(), interval: INTERVAL }),
            documents: documents.into_iter().map(|cycle| cycle.map(Arc::new)).collect(),
            report: Arc::new(report.to_document()),
            tools: tools.map(Arc::from),
            report_tool: POLL_REPORT.into(),
            nowhere: nowhere(),
            sink: Sink::new(),
            elapsed: Duration::from_secs(1),
            cycle: 0,
        }
    }

    /// The next cycle's answers, as the receiver gives them.
    pub fn answers(&mut self) -> Batch {
        self.elapsed += INTERVAL;
        self.cycle += 1;
        let documents = &self.documents[self.cycle % self.documents.len()];
        let answers = self.tools.iter().zip(documents).chain([(&self.report_tool, &self.report)]);
        let observation = |(tool, document): (&Arc<str>, &Arc<Value>)| Observation {
            source: Arc::clone(&self.source),
            tool: Arc::clone(tool),
            arguments: None,
            arrival: Arrival { wall: BEGINNING + self.elapsed, monotonic: self.elapsed },
            took: Duration::from_millis(5),
            document: Arc::clone(document),
            cut: None,
        };
        Observations::from(answers.map(observation).collect::<Vec<_>>()).into()
    }

    /// Maps them.
    pub async fn map(&self, answers: Batch) {
        self.processor.process(answers, &self.nowhere).await.expect("they are taken");
    }

    /// Maps the next cycle's answers, and gives what became of them.
    pub async fn mapped(&mut self) -> Batch {
        let answers = self.answers();
        self.processor.process(answers, &self.sink.next()).await.expect("they are taken");
        self.sink.take().pop().expect("points")
    }
}
