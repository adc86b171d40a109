use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue,
    metrics::{Counter, Meter},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Puts each span that ended where it waits to be sent. It never blocks: what finds no place is lost, and counted.
#[derive(Debug)]
pub(crate) struct Gatherer {
    queue: mpsc::Sender<SpanData>,
    lost: Lost,
}

/// The spans that wait, and what was lost of them.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) queue: mpsc::Receiver<SpanData>,
    pub(crate) lost: Lost,
}

/// Counts the spans that will not arrive.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    all: Arc<AtomicU64>,
    overflowed: Arc<AtomicU64>,
    counter: Counter<u64>,
}

pub(super) fn queue(size: usize, meter: &Meter) -> (Gatherer, Waiting) {
    let (sender, receiver) = mpsc::channel(size);
    let lost = Lost { all: Arc::default(), overflowed: Arc::default(), counter: counter(meter) };
    (Gatherer { queue: sender, lost: lost.clone() }, Waiting { queue: receiver, lost })
}

fn counter(meter: &Meter) -> Counter<u64> {
    let counter = meter.u64_counter("minicol_telemetry_lost_spans").with_unit("{span}");
    counter.with_description("Spans of the program's own that were not delivered").build()
}

impl Lost {
    pub(crate) fn add(&self, spans: u64, reason: &'static str) {
        if spans > 0 {
            self.all.fetch_add(spans, Ordering::Relaxed);
            self.counter.add(spans, &[KeyValue::new("reason", reason)]);
        }
    }

    /// Since the program's start.
    pub(crate) fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// Those that found the queue full.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }
}

impl SpanProcessor for Gatherer {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        match self.queue.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.overflowed.fetch_add(1, Ordering::Relaxed);
                self.lost.add(1, "queue_full");
            }
            Err(TrySendError::Closed(_)) => self.lost.add(1, "shutdown"),
        }
    }

    // Sending is the business of a task that knows the program's deadline.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
