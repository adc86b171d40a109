//! What is old ends: replaced instances at once, what is gone in the direction in which the data flows.

use std::sync::Arc;

use futures::future::join_all;
use minicol_delivery::Predecessor;
use minicol_plugin::{ComponentId, ComponentKind, Level, Status, StopReason};
use tracing::{info, warn};

use super::reason;
use crate::{
    deadline::Deadline,
    gone::InUse,
    graph::{ExporterNode, ReceiverNode, receiver_owner},
    life::Life,
    stage::{Stage, Worker},
    workshop::Workshop,
};

/// What a reload ends.
#[derive(Default)]
pub(super) struct Retiring {
    pub(super) receivers: Vec<(Life, StopReason)>,
    /// The places of receivers that are gone.
    pub(super) nodes: Vec<(ComponentId, ReceiverNode)>,
    /// Processors that others took the place of.
    pub(super) workers: Vec<(Arc<Stage>, Arc<Worker>)>,
    /// Places of processors that are gone, in the direction in which the data flows.
    pub(super) stages: Vec<Arc<Stage>>,
    pub(super) predecessors: Vec<(ComponentId, Predecessor)>,
    /// Exporters whose queue ends with them, and whether another of the same id goes on.
    pub(super) exporters: Vec<(ComponentId, ExporterNode, bool)>,
    pub(super) extensions: Vec<(Life, StopReason)>,
    before: Option<InUse>,
    pub(super) now: Option<InUse>,
}

impl Retiring {
    pub(super) fn new(before: InUse) -> Self {
        Self { before: Some(before), ..Self::default() }
    }

    /// Ends everything until `deadline`; what has not ended then is broken off, and counted.
    pub(super) async fn end(self, workshop: &Workshop, deadline: &Deadline) {
        let Self { receivers, nodes, workers, stages, predecessors, exporters, extensions, before, now } = self;
        let (Some(before), Some(now)) = (before, now) else { return };
        let workers =
            join_all(workers.iter().map(|(stage, worker)| finish(stage, worker, reason(true), workshop, deadline)));
        let predecessors = join_all(predecessors.into_iter().map(async |(id, before)| {
            if let Some(Err(error)) = deadline.cut(before.end(deadline.now_at())).await {
                warn!(exporter = %id, why = %error, "the exporter before did not shut down");
            }
        }));
        let rest = async {
            let stops = receivers.into_iter().map(|(life, reason)| life.stop(reason, deadline.clone()));
            for why in join_all(stops).await.into_iter().filter_map(Result::err) {
                warn!(why, "not stopped as it should be");
            }
            for (id, _) in &nodes {
                workshop.view.close_accounts(&receiver_owner(id));
            }
            for stage in &stages {
                finish(stage, &stage.worker(), reason(false), workshop, deadline).await;
                workshop.view.close_accounts(&stage.owner());
            }
            join_all(exporters.into_iter().map(|(id, node, replaced)| drain(id, node, replaced, workshop, deadline)))
                .await;
            for (life, reason) in extensions.into_iter().rev() {
                if let Err(why) = life.stop(reason, deadline.clone()).await {
                    warn!(why, "not stopped as it should be");
                }
            }
        };
        futures::join!(workers, predecessors, rest);
        forget(&stages, &before, &now, workshop);
    }
}

async fn finish(stage: &Stage, worker: &Worker, reason: StopReason, workshop: &Workshop, deadline: &Deadline) {
    if let Err(why) = stage.finish(worker, reason, deadline).await {
        workshop.events.notice(ComponentKind::Processor, &stage.id, Level::Error, "flush_failed", why);
    }
}

/// Delivers what is queued.
async fn drain(id: ComponentId, node: ExporterNode, replaced: bool, workshop: &Workshop, deadline: &Deadline) {
    let ExporterNode { governed, delivery, .. } = &node;
    if !replaced {
        governed.voice.report(Status::Stopping, "");
    }
    governed.tell_to_stop(reason(replaced));
    let drain = delivery.drain(deadline.now_at());
    tokio::pin!(drain);
    let report = if let Some(report) = deadline.cut(&mut drain).await {
        report
    } else {
        governed.abandoned.cancel();
        drain.await
    };
    delivery.let_go();
    let (sent, lost, kept) = (report.sent, report.lost, report.kept);
    info!(exporter = %id, sent_while_draining = sent, lost_while_draining = lost, kept_in_storage = kept, "the old queue is closed");
    workshop.view.close_accounts(&node.owner(&id));
}

/// What there is no more is not shown, and does not remember. Its books are in the totals.
fn forget(stages: &[Arc<Stage>], before: &InUse, now: &InUse, workshop: &Workshop) {
    for stage in stages {
        workshop.forget_in_pipeline(&stage.id, &stage.place.pipeline);
    }
    for (kind, id) in before.components.iter().filter(|one| !now.components.contains(one)) {
        workshop.view.remove(*kind, id);
        workshop.forget(*kind, id);
    }
    let gone = workshop.view.gone().unwrap_or_default();
    workshop.view.set_gone(gone.since(before, now));
}
