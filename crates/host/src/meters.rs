//! What passes the arrows, in the program's own metrics, under the names that dashboards for the collector are built on; those that begin with
//! `minicol_` are our own.

use std::{collections::BTreeMap, sync::Arc};

use minicol_pdata::Signal;
use minicol_plugin::ReloadOutcome;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Meter},
};

use crate::view::View;

/// Every instrument of the host, made once.
pub(crate) struct Instruments {
    received: BTreeMap<Signal, (Counter<u64>, Counter<u64>)>,
    incoming: Counter<u64>,
    outgoing: Counter<u64>,
}

/// What a receiver hands over.
pub(crate) struct ReceiverMeters {
    by_signal: BTreeMap<Signal, (Counter<u64>, Counter<u64>)>,
    attributes: Vec<KeyValue>,
}

/// What enters or leaves a processor.
#[derive(Clone)]
pub(crate) struct ProcessorMeter {
    counter: Counter<u64>,
    processor: KeyValue,
}

/// Puts the reloads into the program's own metrics. The start counts as one that went well, so that an alert has something to look at.
pub(crate) fn reloads(meter: &Meter, view: &Arc<View>) {
    const OUTCOMES: [ReloadOutcome; 4] =
        [ReloadOutcome::Success, ReloadOutcome::Unchanged, ReloadOutcome::Invalid, ReloadOutcome::Failed];
    let weak = Arc::downgrade(view);
    meter
        .u64_observable_counter("minicol_config_reload_total")
        .with_description("Number of times that the configuration was to be reloaded, by outcome")
        .with_unit("{reload}")
        .with_callback(move |observer| {
            let Some(view) = weak.upgrade() else { return };
            let status = view.reloads();
            for outcome in OUTCOMES {
                let count = status.outcomes.get(&outcome).copied().unwrap_or_default();
                observer.observe(count, &[KeyValue::new("outcome", outcome.name())]);
            }
        })
        .build();
    let weak = Arc::downgrade(view);
    meter
        .u64_observable_gauge("minicol_config_last_reload_successful")
        .with_description("Whether what was last read of the configuration runs (1), or an older one does (0)")
        .with_callback(move |observer| {
            let Some(view) = weak.upgrade() else { return };
            let good = view.reloads().last.is_none_or(|last| last.outcome.is_success());
            observer.observe(u64::from(good), &[]);
        })
        .build();
    let weak = Arc::downgrade(view);
    meter
        .f64_observable_gauge("minicol_config_last_reload_success_timestamp_seconds")
        .with_description("When the configuration was last read and found to hold, in seconds since the epoch")
        .with_unit("s")
        .with_callback(move |observer| {
            let Some(view) = weak.upgrade() else { return };
            observer.observe(view.holds_since().as_seconds(), &[]);
        })
        .build();
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name: String, description: String, unit: &'static str| {
            meter.u64_counter(name).with_description(description).with_unit(unit).build()
        };
        let received = Signal::ALL.into_iter().map(|signal| {
            let (items, unit) = (signal.items(), unit(signal));
            let words = items.replace('_', " ");
            let accepted = counter(
                format!("otelcol_receiver_accepted_{items}"),
                format!("Number of {words} successfully pushed into the pipeline"),
                unit,
            );
            let refused = counter(
                format!("otelcol_receiver_refused_{items}"),
                format!("Number of {words} that could not be pushed into the pipeline"),
                unit,
            );
            (signal, (accepted, refused))
        });
        Self {
            received: received.collect(),
            incoming: counter(
                "otelcol_processor_incoming_items".to_owned(),
                "Number of items passed to the processor".to_owned(),
                "{item}",
            ),
            outgoing: counter(
                "otelcol_processor_outgoing_items".to_owned(),
                "Number of items emitted from the processor".to_owned(),
                "{item}",
            ),
        }
    }

    /// For a receiver that can emit `signals`; what it has not done yet shows as zero.
    pub(crate) fn receiver(&self, id: &str, transport: Option<&'static str>, signals: &[Signal]) -> ReceiverMeters {
        let transport = transport.map(|transport| KeyValue::new("transport", transport));
        let attributes: Vec<_> = std::iter::once(KeyValue::new("receiver", id.to_owned())).chain(transport).collect();
        let counters = |signal: &Signal| Some((*signal, self.received.get(signal)?.clone()));
        let by_signal: BTreeMap<_, _> = signals.iter().filter_map(counters).collect();
        for (accepted, refused) in by_signal.values() {
            accepted.add(0, &attributes);
            refused.add(0, &attributes);
        }
        ReceiverMeters { by_signal, attributes }
    }

    pub(crate) fn incoming(&self, processor: &str) -> ProcessorMeter {
        ProcessorMeter { counter: self.incoming.clone(), processor: KeyValue::new("processor", processor.to_owned()) }
    }

    pub(crate) fn outgoing(&self, processor: &str) -> ProcessorMeter {
        ProcessorMeter { counter: self.outgoing.clone(), processor: KeyValue::new("processor", processor.to_owned()) }
    }
}

impl ReceiverMeters {
    pub(crate) fn count(&self, signal: Signal, items: u64, accepted: bool) {
        if let Some((taken, refused)) = self.by_signal.get(&signal) {
            let counter = if accepted { taken } else { refused };
            counter.add(items, &self.attributes);
        }
    }
}

impl ProcessorMeter {
    pub(crate) fn count(&self, signal: Signal, items: u64) {
        self.counter.add(items, &[self.processor.clone(), KeyValue::new("otel.signal", signal.name())]);
    }
}

const fn unit(signal: Signal) -> &'static str {
    match signal {
        Signal::Observations => "{observation}",
        Signal::Metrics => "{metric_point}",
        Signal::Logs => "{log_record}",
        Signal::Traces => "{span}",
    }
}
