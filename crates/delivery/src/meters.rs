use minicol_pdata::Signal;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

/// The instruments of one exporter and signal. Names and attributes are those that dashboards for the collector are built on;
/// those that begin with `minicol_` are our own.
pub(crate) struct Meters {
    sent: Counter<u64>,
    send_failed: Counter<u64>,
    enqueue_failed: Counter<u64>,
    lost: Counter<u64>,
    waits: Counter<u64>,
    queue_size: Gauge<u64>,
    queue_capacity: Gauge<u64>,
    attempt: Histogram<f64>,
    exporter: KeyValue,
    data_type: KeyValue,
}

/// From a millisecond to the longest usual timeout.
const ATTEMPT_BUCKETS: [f64; 13] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

impl Meters {
    pub(crate) fn new(meter: &Meter, exporter: &str, signal: Signal) -> Self {
        let items = signal.items();
        let words = items.replace('_', " ");
        let unit = format!("{{{}}}", words.trim_end_matches('s').replace(' ', "_"));
        let counter = |name: String, description: String, unit: &str| {
            meter.u64_counter(name).with_description(description).with_unit(unit.to_owned()).build()
        };
        let meters = Self {
            sent: counter(
                format!("otelcol_exporter_sent_{items}"),
                format!("Number of {words} successfully sent to destination"),
                &unit,
            ),
            send_failed: counter(
                format!("otelcol_exporter_send_failed_{items}"),
                format!("Number of {words} that were not sent and are lost"),
                &unit,
            ),
            enqueue_failed: counter(
                format!("otelcol_exporter_enqueue_failed_{items}"),
                format!("Number of {words} that were not added to the sending queue"),
                &unit,
            ),
            lost: counter(
                "minicol_exporter_lost_items".to_owned(),
                "Number of items that an exporter lost, by reason".to_owned(),
                "{item}",
            ),
            waits: counter(
                "minicol_exporter_queue_waits".to_owned(),
                "Number of batches that had to wait for room in the sending queue".to_owned(),
                "{batch}",
            ),
            queue_size: meter
                .u64_gauge("otelcol_exporter_queue_size")
                .with_description("Current size of the sending queue, in what its sizer counts")
                .build(),
            queue_capacity: meter
                .u64_gauge("otelcol_exporter_queue_capacity")
                .with_description("Fixed capacity of the sending queue, in what its sizer counts")
                .build(),
            attempt: meter
                .f64_histogram("minicol_exporter_attempt_duration")
                .with_description("How long one attempt to send took")
                .with_unit("s")
                .with_boundaries(ATTEMPT_BUCKETS.to_vec())
                .build(),
            exporter: KeyValue::new("exporter", exporter.to_owned()),
            data_type: KeyValue::new("data_type", signal.name()),
        };
        meters.begin();
        meters
    }

    /// A counter that shows from the start can be told from one that is not there.
    fn begin(&self) {
        let attributes = std::slice::from_ref(&self.exporter);
        for counter in [&self.sent, &self.send_failed, &self.enqueue_failed] {
            counter.add(0, attributes);
        }
    }

    pub(crate) fn sent(&self, items: u64) {
        self.sent.add(items, std::slice::from_ref(&self.exporter));
    }

    pub(crate) fn lost(&self, items: u64, reason: &str) {
        self.send_failed(items);
        let reason = KeyValue::new("reason", reason.to_owned());
        self.lost.add(items, &[self.exporter.clone(), self.data_type.clone(), reason]);
    }

    pub(crate) fn send_failed(&self, items: u64) {
        self.send_failed.add(items, std::slice::from_ref(&self.exporter));
    }

    pub(crate) fn refused(&self, items: u64) {
        self.enqueue_failed.add(items, std::slice::from_ref(&self.exporter));
    }

    pub(crate) fn waited(&self) {
        self.waits.add(1, &[self.exporter.clone(), self.data_type.clone()]);
    }

    pub(crate) fn queue_size(&self, size: usize) {
        self.queue_size.record(size as u64, &[self.exporter.clone(), self.data_type.clone()]);
    }

    pub(crate) fn queue_capacity(&self, capacity: usize) {
        self.queue_capacity.record(capacity as u64, &[self.exporter.clone(), self.data_type.clone()]);
    }

    /// `error_type` is empty for an attempt that succeeded.
    pub(crate) fn attempt(&self, seconds: f64, error_type: Option<&str>) {
        let mut attributes = vec![self.exporter.clone()];
        attributes.extend(error_type.map(|kind| KeyValue::new("error.type", kind.to_owned())));
        self.attempt.record(seconds, &attributes);
    }
}
