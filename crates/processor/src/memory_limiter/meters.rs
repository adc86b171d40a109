use std::{collections::BTreeMap, sync::Arc};

use minicol_pdata::Signal;
use minicol_plugin::Scope;
use opentelemetry::{KeyValue, metrics::Counter};

use super::{Limits, account::Account, gate::Refusal};

/// Instruments in the program's own telemetry. Each has the attribute `processor`.
pub(crate) struct Meters {
    by_signal: BTreeMap<Signal, (Counter<u64>, Counter<u64>)>,
    refusals: Counter<u64>,
    processor: KeyValue,
}

impl Meters {
    pub(crate) fn new(scope: &Scope, account: &Arc<Account>, limits: Limits) -> Self {
        let (meter, processor) = (scope.meter(), KeyValue::new("processor", scope.id().to_string()));
        let of_signal = |signal: Signal| {
            let items = signal.items();
            let words = items.replace('_', " ");
            let counter = |what: &str| {
                meter
                    .u64_counter(format!("otelcol_processor_{what}_{items}"))
                    .with_description(format!("Number of {words} {what} by the processor"))
                    .with_unit(format!("{{{}}}", items.trim_end_matches('s')))
                    .build()
            };
            (signal, (counter("accepted"), counter("refused")))
        };
        let (in_flight, of) = (Arc::downgrade(account), processor.clone());
        meter
            .u64_observable_gauge("minicol_memory_limiter_in_flight_bytes")
            .with_description("Memory of the batches that are in flight, of all memory limiters together")
            .with_unit("By")
            .with_callback(move |observer| {
                let bytes = in_flight.upgrade().map_or(0, |account| account.in_flight());
                observer.observe(bytes, std::slice::from_ref(&of));
            })
            .build();
        let limit = meter
            .u64_gauge("minicol_memory_limiter_limit_bytes")
            .with_description("The limits: soft of what is in flight, hard of what the process takes")
            .with_unit("By")
            .build();
        for (name, bytes) in [("soft", limits.soft), ("hard", limits.hard)] {
            limit.record(bytes, &[processor.clone(), KeyValue::new("limit", name)]);
        }
        let refusals = meter
            .u64_counter("minicol_memory_limiter_refused_batches")
            .with_description("Batches that were refused, by limit: soft, received, hard, too_large")
            .with_unit("{batch}")
            .build();
        Self { by_signal: Signal::ALL.into_iter().map(of_signal).collect(), refusals, processor }
    }

    pub(crate) fn accepted(&self, signal: Signal, items: u64) {
        if let Some((accepted, _)) = self.by_signal.get(&signal) {
            accepted.add(items, std::slice::from_ref(&self.processor));
        }
    }

    pub(crate) fn refused(&self, signal: Signal, items: u64, refusal: Refusal) {
        if let Some((_, refused)) = self.by_signal.get(&signal) {
            refused.add(items, std::slice::from_ref(&self.processor));
        }
        let limit = match refusal {
            Refusal::TooLarge(_) => "too_large",
            Refusal::Soft => "soft",
            Refusal::Received => "received",
            Refusal::Hard => "hard",
        };
        self.refusals.add(1, &[self.processor.clone(), KeyValue::new("limit", limit)]);
    }
}
