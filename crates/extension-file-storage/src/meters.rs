use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

use crate::salvage::Counted;

/// The extension's instruments.
pub(crate) struct Meters {
    size: Gauge<u64>,
    used: Gauge<u64>,
    limit: Gauge<u64>,
    records: Gauge<u64>,
    quarantined: Counter<u64>,
    moved_aside: Counter<u64>,
    moved_aside_items: Counter<u64>,
    unclaimed: Gauge<u64>,
    commit: Histogram<f64>,
    extension: [KeyValue; 1],
}

/// From what a fast disk needs to what a sick one does.
const COMMIT_BUCKETS: [f64; 11] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

impl Meters {
    pub(crate) fn new(meter: &Meter, extension: &str) -> Self {
        let gauge = |name: &'static str, description: &'static str, unit: &'static str| {
            meter.u64_gauge(name).with_description(description).with_unit(unit).build()
        };
        let meters = Self {
            size: gauge("minicol_storage_size", "What the store takes on disk", "By"),
            used: gauge("minicol_storage_used", "What the stored records take of the limit", "By"),
            limit: gauge("minicol_storage_limit", "What the stored records may take", "By"),
            records: gauge("minicol_storage_records", "Number of stored records", "{record}"),
            quarantined: meter
                .u64_counter("minicol_storage_quarantined_records")
                .with_description("Number of records that could not be read and were put aside")
                .with_unit("{record}")
                .build(),
            moved_aside: meter
                .u64_counter("minicol_storage_moved_aside_stores")
                .with_description("Number of stores that were damaged and put aside; what they held may be lost")
                .with_unit("{store}")
                .build(),
            moved_aside_items: meter
                .u64_counter("minicol_storage_moved_aside_items")
                .with_description("Number of items in stores that were damaged and put aside, as far as it is known")
                .with_unit("{item}")
                .build(),
            unclaimed: gauge(
                "minicol_storage_unclaimed_items",
                "Number of items in queues that no exporter keeps here any more",
                "{item}",
            ),
            commit: meter
                .f64_histogram("minicol_storage_commit_duration")
                .with_description("How long it took to make what several senders stored durable, fsync included")
                .with_unit("s")
                .with_boundaries(COMMIT_BUCKETS.to_vec())
                .build(),
            extension: [KeyValue::new("extension", extension.to_owned())],
        };
        meters.quarantined.add(0, &meters.extension);
        for known in [true, false] {
            meters.moved_aside.add(0, &meters.contents(known));
        }
        meters.moved_aside_items.add(0, &meters.extension);
        meters.unclaimed(0);
        meters
    }

    pub(crate) fn limit(&self, bytes: u64) {
        self.limit.record(bytes, &self.extension);
    }

    pub(crate) fn sizes(&self, size: u64, used: u64, records: u64) {
        self.size.record(size, &self.extension);
        self.used.record(used, &self.extension);
        self.records.record(records, &self.extension);
    }

    pub(crate) fn quarantined(&self) {
        self.quarantined.add(1, &self.extension);
    }

    pub(crate) fn moved_aside(&self, counted: &Counted) {
        self.moved_aside.add(1, &self.contents(counted.complete));
        self.moved_aside_items.add(counted.items(), &self.extension);
    }

    pub(crate) fn unclaimed(&self, items: u64) {
        self.unclaimed.record(items, &self.extension);
    }

    fn contents(&self, known: bool) -> [KeyValue; 2] {
        [self.extension[0].clone(), KeyValue::new("contents", if known { "known" } else { "unknown" })]
    }

    pub(crate) fn committed(&self, seconds: f64) {
        self.commit.record(seconds, &self.extension);
    }
}
