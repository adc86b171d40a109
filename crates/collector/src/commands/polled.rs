//! What a poll brought, for those that show it.

use minicol_host::PolledReceiver;
use minicol_pdata::{Batch, MetricView, Observation, PollReport};

/// The report of a receiver's cycle.
pub(super) fn report(receiver: &PolledReceiver) -> Option<PollReport> {
    receiver.batches.iter().rev().find_map(|batch| match batch {
        Batch::Observations(observations) => observations.iter().rev().find_map(Observation::report),
        _ => None,
    })
}

/// Every metric of a batch.
pub(super) fn metrics(batches: &[Batch]) -> impl Iterator<Item = MetricView<'_>> {
    batches
        .iter()
        .filter_map(|batch| if let Batch::Metrics(metrics) = batch { Some(metrics.iter()) } else { None })
        .flatten()
}
