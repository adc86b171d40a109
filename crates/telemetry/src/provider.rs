use std::sync::{Arc, Weak};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        Aggregation, Instrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
        data::ResourceMetrics, reader::MetricReader,
    },
};

use crate::MetricsLevel;

/// One reader, for the SDK and for us.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedReader(Arc<ManualReader>);

/// Series of one instrument, beyond which the SDK adds up into one with `otel.metric.overflow`: at least its own default, more where there are many components. The
/// SDK makes room for all of them at once, so that a limit that nobody reaches costs memory, too.
fn max_series(name: &str, components: usize) -> usize {
    const FLOOR: usize = 2_000;
    let each = if OF_TOOLS.contains(&name) { 20 } else { 2 };
    FLOOR + each * components
}

/// Instruments with a series for each tool of a target, and for each way in which a call of it failed.
const OF_TOOLS: [&str; 3] = [
    "mcp.client.operation.duration",
    "session_buddy_poller.circuit_breaker_state",
    "session_buddy_poller.poll_errors_total",
];

/// What begins so is minicol's own; everything else is a name that dashboards are built on.
const OWN: &str = "minicol_";
/// Counts per arrow.
const EDGES: &str = "minicol_edge_";

/// A provider that leaves out what `level` leaves out, with room for the series of so many components. The SDK's own resource stays empty: ours is put in where metrics are read.
pub(crate) fn provider(level: MetricsLevel, components: usize, reader: SharedReader) -> SdkMeterProvider {
    SdkMeterProvider::builder()
        .with_resource(Resource::builder_empty().build())
        .with_reader(reader)
        .with_view(move |instrument: &Instrument| {
            let stream = Stream::builder().with_cardinality_limit(max_series(instrument.name(), components));
            let stream = if is_measured(level, instrument.name(), instrument.kind()) {
                stream
            } else {
                stream.with_aggregation(Aggregation::Drop)
            };
            stream.build().ok()
        })
        .build()
}

/// Whether `level` measures an instrument.
fn is_measured(level: MetricsLevel, name: &str, kind: InstrumentKind) -> bool {
    let histogram = kind == InstrumentKind::Histogram;
    match level {
        MetricsLevel::None => false,
        MetricsLevel::Basic => !histogram && !name.starts_with(OWN),
        MetricsLevel::Normal if name.starts_with(EDGES) => false,
        MetricsLevel::Normal => !histogram || !name.starts_with(OWN),
        MetricsLevel::Detailed => true,
    }
}

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, into: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(into)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_measures_more_than_the_one_before() {
        use InstrumentKind::{Counter, Gauge, Histogram};
        let instruments = [
            ("otelcol_exporter_sent_metric_points", Counter),
            ("otelcol_exporter_queue_size", Gauge),
            ("session_buddy_poller.poll_cycles_total", Counter),
            ("mcp.client.operation.duration", Histogram),
            ("minicol_exporter_lost_items", Counter),
            ("minicol_exporter_attempt_duration", Histogram),
            ("minicol_edge_items", Counter),
        ];
        let measured = |level| instruments.iter().filter(|(name, kind)| is_measured(level, name, *kind)).count();
        let counts =
            [MetricsLevel::None, MetricsLevel::Basic, MetricsLevel::Normal, MetricsLevel::Detailed].map(measured);
        assert_eq!(counts, [0, 3, 5, 7]);
    }
}
