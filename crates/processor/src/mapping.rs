//! The processor itself: rules and data model put together, and what it tells about itself.

use std::sync::{Arc, Mutex, Once, PoisonError};

use minicol_pdata::{Arrival, Batch, Metrics, MetricsBuilder, Observations, POLL_REPORT, Signal, Source};
use minicol_plugin::{
    ComponentError, Converted, Factory, Flow, Next, Processor, Rejected, Scope, Stability, async_trait,
    config::Problems,
};
use serde_json::json;

use crate::{
    compile::{self, Ruleset},
    config::MappingConfig,
    extract::{self, Extracted, Texts},
    report::{Complaints, OwnMetrics},
    sample::Cycle,
    series::SeriesStore,
};

/// The factory of the processor `mapping`.
#[derive(Debug)]
pub struct MappingFactory;

/// The name of the instrumentation scope of every metric that this processor makes.
pub const SCOPE_NAME: &str = "minicol.mapping";

/// Turns observations into metrics. What must outlive it (the life of each series, what was told) lies in a slot of its scope.
struct Mapping {
    rules: Arc<Ruleset>,
    texts: Texts,
    state: Arc<Mutex<State>>,
    /// Another instance may be at work with the state until this one is.
    adopted: Once,
    own: OwnMetrics,
    /// What became of the answers that it took.
    made: Mutex<Converted>,
    scope: Scope,
}

/// What outlives an instance, such as over a reload.
struct State {
    series: SeriesStore,
    complaints: Complaints,
    /// Series that live, of all sources.
    live: usize,
}

impl Factory for MappingFactory {
    type Product = dyn Processor;
    type Config = MappingConfig;
    const TYPE: &'static str = "mapping";
    const DESCRIPTION: &'static str = "Turns observations (JSON documents) into metrics, by rules";
    const STABILITY: Stability = Stability::Beta;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[Flow::through(Signal::Observations, Signal::Metrics)];
    const EXAMPLE: &'static str = include_str!("../examples/mapping.yaml");

    fn build(config: MappingConfig, scope: &Scope) -> Result<Box<dyn Processor>, ComponentError> {
        let mut problems = Problems::default();
        let rules = Arc::new(compile::compile(&config, &mut problems));
        if let Some(wrong) = problems.into_vec().into_iter().find(|problem| !problem.warning) {
            return Err(ComponentError::new(wrong.message));
        }
        let limits = rules.limits;
        let state = scope.state("series", || {
            Mutex::new(State {
                series: SeriesStore::new(limits, scope.now()),
                complaints: Complaints::default(),
                live: 0,
            })
        });
        let own = OwnMetrics::new(scope);
        let (shown, count) = (Arc::clone(&state), rules.rules.len());
        scope.show(move || {
            let state = lock(&shown);
            json!({ "rules": count, "live_series": state.live, "unusable": state.complaints.to_json() })
        });
        Ok(Box::new(Mapping {
            rules,
            texts: Texts::default(),
            state,
            adopted: Once::new(),
            own,
            made: Mutex::default(),
            scope: scope.clone(),
        }))
    }
}

#[async_trait]
impl Processor for Mapping {
    async fn process(&self, batch: Batch, next: &Next) -> Result<(), Rejected> {
        let Batch::Observations(observations) = batch else {
            let message = format!("mapping takes observations, and was given {}", batch.signal());
            return Err(Rejected::permanent("invalid", message));
        };
        self.adopted.call_once(|| {
            let mut kept = lock(&self.state);
            kept.series.set_limits(self.rules.limits);
            kept.complaints.keep(&self.rules);
        });
        let (metrics, made) = self.map(&observations);
        let mut metrics = Batch::from(metrics);
        if !metrics.is_empty() {
            // A limit of memory before this counts what stands in the place of what it let through.
            metrics.hold_as(&observations.into());
            next.consume(metrics).await?;
        }
        let mut all = lock(&self.made);
        all.converted += made.converted;
        all.unused += made.unused;
        Ok(())
    }

    fn converted(&self) -> Option<Converted> {
        Some(*lock(&self.made))
    }
}

impl Mapping {
    /// One batch: a cycle of each source in it.
    fn map(&self, observations: &Observations) -> (Metrics, Converted) {
        let (mut out, mut made) = (MetricsBuilder::new(), Converted::default());
        for source in sources(observations) {
            self.cycle(&source, observations, &mut out, &mut made);
        }
        (out.build(), made)
    }

    fn cycle(&self, source: &Arc<Source>, observations: &Observations, out: &mut MetricsBuilder, made: &mut Converted) {
        let of_source = observations.iter().filter(|one| one.source == *source);
        // A tool that no rule is for still shows what time it is.
        let Some(now) = of_source.clone().map(|one| one.arrival).reduce(later) else { return };
        made.unused += of_source.clone().filter(|one| !self.rules.tools.contains_key(&one.tool)).count() as u64;
        let report = of_source.clone().find(|one| &*one.tool == POLL_REPORT).map(|one| one.arrival);
        let extracted: Vec<Extracted> =
            of_source.filter_map(|observation| extract::extract(&self.rules, &self.texts, observation)).collect();
        let mut state = lock(&self.state);
        for one in &extracted {
            self.own.unusable(&self.rules, &one.unusable);
            state.complaints.hear(&self.rules, source, one, now, &self.scope);
        }
        let (mut answers, mut told) = (Vec::with_capacity(extracted.len()), Vec::new());
        for one in extracted {
            made.converted += 1;
            answers.push(one.answer);
            told.extend(one.told);
        }
        self.own.usable(answers.iter().map(|answer| answer.samples.len() as u64).sum());
        out.resource(&source.resource, SCOPE_NAME, env!("CARGO_PKG_VERSION"));
        let cycle = Cycle { source: Arc::clone(source), now: report.unwrap_or(now), answers, told };
        let tally = state.series.apply(cycle, &self.rules.instruments, out);
        state.live = tally.live;
        state.complaints.tally(source, &tally, now, &self.scope);
        self.own.tally(&tally);
    }
}

/// The sources of a batch, each once, in the order of their first observation. A batch is a cycle of one receiver: there is one, mostly.
fn sources(observations: &Observations) -> Vec<Arc<Source>> {
    let mut sources: Vec<Arc<Source>> = Vec::new();
    for observation in observations {
        if !sources.contains(&observation.source) {
            sources.push(Arc::clone(&observation.source));
        }
    }
    sources
}

fn later(one: Arrival, other: Arrival) -> Arrival {
    if other.monotonic > one.monotonic { other } else { one }
}

fn lock<T>(state: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
