//! What changed is built and started beside what runs.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use futures::future::join_all;
use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    CancellationToken, ComponentId, Consumer, Next, Processor, Rejected, StopReason, async_trait, storage::Storage,
};
use tokio::time::Instant;

use super::{Core, Diff};
use crate::{
    Plan, StartError,
    deadline::Deadline,
    graph::{self, BuiltExporter, Graph},
    host::started,
    life::Life,
    workshop::Governed,
};

/// What is ready to take the place of what runs.
pub(super) struct Prepared {
    pub(super) extensions: Vec<Life>,
    pub(super) storages: HashMap<ComponentId, Arc<dyn Storage>>,
    pub(super) exporters: Vec<BuiltExporter>,
    /// By pipeline and id.
    pub(super) processors: HashMap<(usize, ComponentId), (Box<dyn Processor>, Governed)>,
    pub(super) receivers: Vec<(Life, Outlet)>,
}

/// Where a receiver's batches will go.
#[derive(Clone, Default)]
pub(super) struct Outlet(Arc<OnceLock<Next>>);

/// The arrow out of a receiver that is not part of what runs yet: what it gives waits.
struct Held {
    outlet: Outlet,
    live: CancellationToken,
    stopping: CancellationToken,
}

impl Core {
    pub(super) async fn prepare(&self, graph: &Graph, plan: &Plan, diff: &Diff) -> Result<Prepared, StartError> {
        let built = graph::build(plan, &diff.build, &graph.storages, &self.workshop)?;
        self.workshop.handover.begin(diff.leaving.iter().copied());
        let keys = diff.build.processors.iter().flat_map(|(index, ids)| ids.iter().map(|id| (*index, id.clone())));
        let mut prepared = Prepared {
            extensions: Vec::new(),
            storages: built.storages,
            exporters: built.exporters,
            processors: keys.zip(built.processors.into_iter().flatten()).collect(),
            receivers: Vec::new(),
        };
        let begun = async {
            for (extension, governed) in built.extensions {
                let run = extension.run(governed.scope.clone());
                prepared.extensions.push(Life::begin(&governed, run));
                if let Some(life) = prepared.extensions.last_mut() {
                    started(life, self.host.limits().start).await?;
                }
            }
            for (receiver, governed) in built.receivers {
                if !plan.receivers.get(governed.scope.id()).is_some_and(|component| component.beside.0) {
                    continue;
                }
                let outlet = Outlet::default();
                let (live, stopping) = (governed.live().clone(), governed.stopping.clone());
                let next = Next::new(Held { outlet: outlet.clone(), live, stopping });
                let run = receiver.run(next, governed.scope.clone());
                prepared.receivers.push((Life::begin(&governed, run), outlet));
            }
            for (life, _) in &mut prepared.receivers {
                started(life, self.host.limits().start).await?;
            }
            Ok(())
        };
        match begun.await {
            Ok(()) => Ok(prepared),
            Err(error) => {
                let deadline = Deadline::at(Instant::now() + self.host.limits().undo);
                let lives = prepared.receivers.into_iter().map(|(life, _)| life).chain(prepared.extensions);
                join_all(lives.map(|life| life.stop(StopReason::Replaced, deadline.clone()))).await;
                Err(error)
            }
        }
    }
}

impl Outlet {
    pub(super) fn lead_to(&self, next: Next) {
        // Set once, by the swap.
        let _ = self.0.set(next);
    }
}

#[async_trait]
impl Consumer for Held {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        tokio::select! {
            biased;
            () = self.live.cancelled() => {}
            () = self.stopping.cancelled() => {
                return Err(Rejected::retryable("shutdown", "the configuration that it belongs to could not be started"));
            }
        }
        match self.outlet.0.get() {
            Some(next) => next.consume(batch).await,
            None => Err(Rejected::retryable("not_started", "the pipeline has not started")),
        }
    }

    fn passed_over(&self, signal: Signal, items: u64, reason: &'static str) {
        if let Some(next) = self.outlet.0.get() {
            next.passed_over(signal, items, reason);
        }
    }
}
