//! Whether what a plan names can be reached: what `minicol doctor` asks.

mod watched;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::join_all};
use minicol_pdata::Signal;
use minicol_plugin::{
    Buildable, Check, Checkup, ComponentId, ComponentKind, Diagnosis, Environment, Product, StopReason, Verdict,
    trace::Tracer,
};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::{
    Host, Plan, StartError,
    deadline::Deadline,
    graph::{self, Selection},
    host::started,
    life::{Life, panic_message},
    own,
    workshop::Workshop,
};
use watched::Watched;

/// How one component is.
#[derive(Clone, Debug, Serialize)]
pub struct Examined {
    /// Which kind of component.
    pub kind: ComponentKind,
    /// Which component, as a person finds it in the file.
    pub name: String,
    /// What was looked at, in order. Empty where it needs nothing from outside.
    pub checks: Vec<Check>,
}

/// How long a simulator gets to stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

impl Host {
    /// Looks whether every receiver and exporter that takes part reaches what it needs, all at once, each within `limit`. They go by their own code,
    /// each with connections of its own. Of the extensions, only the simulators that the service lists are started.
    pub async fn diagnose(&self, plan: &Plan, limit: Duration) -> Result<Vec<Examined>, StartError> {
        let workshop = self.silent_workshop();
        let serves = |id: &&ComponentId| plan.extensions.get(*id).is_some_and(|component| component.entry.serves_poll);
        let extensions = plan.started_extensions.iter().filter(serves).cloned().collect();
        let selection = Selection { extensions, ..Selection::default() };
        let mut simulators = Vec::new();
        let built = graph::build(plan, &selection, &HashMap::new(), &workshop)?;
        built.announce(plan, &workshop);
        for (extension, governed) in built.extensions {
            let mut life = Life::begin(&governed, extension.run(governed.scope.clone()));
            started(&mut life, self.limits().start).await?;
            simulators.push(life);
        }
        let examined = join_all(self.patients(plan).into_iter().map(|patient| patient.examined(limit))).await;
        for life in simulators.into_iter().rev() {
            let _ = life.stop(StopReason::Shutdown, Deadline::at(Instant::now() + STOP_WITHIN)).await;
        }
        Ok(examined)
    }

    fn patients(&self, plan: &Plan) -> Vec<Patient> {
        let environment = self.environment();
        let receivers = plan.receivers.iter().filter(|(id, _)| plan.uses_receiver(id)).map(|(id, component)| {
            if component.beside.0 {
                Patient::new(id.to_string(), id, component.config.as_ref(), Vec::new(), environment)
            } else {
                Patient::off(id)
            }
        });
        let exporters = plan.exporters.iter().filter_map(|(id, component)| {
            let users = plan.pipelines.iter().filter(|pipeline| pipeline.exporters.contains(id));
            let mut signals: Vec<Signal> = users.filter_map(|pipeline| pipeline.carries.last().copied()).collect();
            signals.sort_unstable();
            signals.dedup();
            let patient = || Patient::new(id.to_string(), id, component.config.as_ref(), signals.clone(), environment);
            (!signals.is_empty()).then(patient)
        });
        // Where the program's own telemetry goes; that it is well configured was checked with the file.
        let own = own::pushes(plan.telemetry()).filter_map(|(path, push)| {
            let (entry, config) = own::configured(plan.registry, push).ok()?;
            let id: ComponentId = entry.component_type.parse().ok()?;
            let name = format!("service::telemetry::{path}");
            let signal = if name.contains("::traces::") { Signal::Traces } else { Signal::Metrics };
            Some(Patient::new(name, &id, config.as_ref(), vec![signal], environment))
        });
        receivers.chain(exporters).chain(own).collect()
    }
}

/// A component that is looked at.
struct Patient {
    kind: ComponentKind,
    name: String,
    checkup: Option<(Checkup, Arc<Watched>)>,
    diagnosis: Option<Diagnosis>,
    /// Where it is not looked at: why.
    off: Option<&'static str>,
}

impl Patient {
    fn new<P: Product + ?Sized>(
        name: String,
        id: &ComponentId,
        config: &dyn Buildable<P>,
        signals: Vec<Signal>,
        environment: &Environment,
    ) -> Self {
        let network = Watched::over(Arc::clone(&environment.network));
        let environment = Environment { network: Arc::clone(&network) as _, ..environment.clone() };
        let meter = NoopMeterProvider::new().meter("minicol");
        // Its own, so that nobody's connections are another's.
        let scope = Workshop::new(environment, meter, Tracer::default()).scope(P::KIND, id).scope;
        let checkup = Checkup::new(scope, signals);
        let diagnosis = config.diagnose(checkup.clone());
        Self { kind: P::KIND, name, checkup: Some((checkup, network)), diagnosis, off: None }
    }

    fn off(id: &ComponentId) -> Self {
        let off = Some("`enabled` is false");
        Self { kind: ComponentKind::Receiver, name: id.to_string(), checkup: None, diagnosis: None, off }
    }

    async fn examined(self, limit: Duration) -> Examined {
        let Self { kind, name, checkup, diagnosis, off } = self;
        let mut checks = Vec::new();
        if let Some(why) = off {
            checks.push(Check { step: "enabled".into(), verdict: Verdict::Skipped, detail: why.to_owned() });
        }
        if let (Some((checkup, network)), Some(diagnosis)) = (checkup, diagnosis) {
            let ended = timeout(limit, AssertUnwindSafe(diagnosis).catch_unwind()).await;
            checks = network.checks();
            let reached = checks.iter().all(|check| check.verdict == Verdict::Passed);
            checks.extend(checkup.checks().into_iter().map(|check| if reached { check } else { beyond(check) }));
            match ended {
                Ok(Err(panic)) => checks.push(failed("look", format!("it broke off: {}", panic_message(&*panic)))),
                Err(_) if reached => checks.push(failed(
                    "answer",
                    format!("none within {limit:?}: is the server stuck? raise --timeout if it only needs longer"),
                )),
                // It came to its end; or what is not reached has been told.
                Ok(Ok(())) | Err(_) => {}
            }
        }
        Examined { kind, name, checks }
    }
}

/// What lies behind a place that was not reached was not looked at.
fn beyond(check: Check) -> Check {
    if check.verdict == Verdict::Failed {
        Check { verdict: Verdict::Skipped, detail: "not reached".to_owned(), ..check }
    } else {
        check
    }
}

fn failed(step: &'static str, detail: String) -> Check {
    Check { step: step.into(), verdict: Verdict::Failed, detail }
}
