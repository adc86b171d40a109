use minicol_pdata::{Batch, DecodeError, Traces};
use minicol_plugin::{ExportError, Retry};
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{BatchProcessor, Waiting};
use crate::far_end::FarEnd;

/// Sends the program's own spans in batches. A batch that could not be sent and may be sent later is kept and offered again; meanwhile others
/// wait in the queue, and what finds no place there is lost. So memory is bounded, and a backend that restarts loses nothing.
pub(crate) struct Sender {
    to: FarEnd,
    config: BatchProcessor,
    resource: ResourceAttributesWithSchema,
    waiting: Waiting,
    /// The batch that is to be sent next.
    batch: Option<Traces>,
    /// How many had found the queue full when that was last looked at, and whether it has been told.
    overflow: (u64, bool),
}

impl Sender {
    pub(crate) fn new(
        to: FarEnd,
        config: BatchProcessor,
        resource: ResourceAttributesWithSchema,
        waiting: Waiting,
    ) -> Self {
        Self { to, config, resource, waiting, batch: None, overflow: (0, false) }
    }

    /// Sends until a deadline is told, then what is left before it. What could not be sent is the error.
    pub(crate) async fn run(mut self, mut deadline: watch::Receiver<Option<Instant>>) -> Result<(), String> {
        let delay = self.config.schedule_delay.0;
        let mut spans = Vec::new();
        let mut next = Instant::now() + delay;
        loop {
            tokio::select! {
                biased;
                _ = deadline.wait_for(Option::is_some) => break,
                () = self.due(&mut spans, next) => {}
            }
            if self.batch.is_none() && !spans.is_empty() {
                self.batch = self.made(std::mem::take(&mut spans));
            }
            let wait = match self.offer(&mut deadline).await {
                Some(Retry::After(wait)) => wait.max(delay),
                _ => delay,
            };
            next = Instant::now() + wait;
            self.tell_overflow();
        }
        let until = deadline.borrow().unwrap_or_else(Instant::now);
        if self.batch.is_none() && !spans.is_empty() {
            self.batch = self.made(std::mem::take(&mut spans));
        }
        self.drain(spans, &mut deadline).await;
        let shutdown = self.to.shutdown(until).await;
        match self.waiting.lost.all() {
            0 => shutdown,
            lost => Err(format!("{lost} spans of own traces were not delivered to {}", self.to.endpoint)),
        }
    }

    /// Waits until there is a whole batch, or it is time. While a batch is kept that was not taken, only the time counts.
    async fn due(&mut self, spans: &mut Vec<SpanData>, at: Instant) {
        let most = self.config.max_export_batch_size;
        let full = async {
            while self.batch.is_some() || spans.len() < most {
                let room = most - spans.len();
                if self.batch.is_some() || self.waiting.queue.recv_many(spans, room).await == 0 {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            biased;
            () = full => {}
            () = sleep_until(at) => {}
        }
    }

    /// Offers the batch once, and keeps it where it may be taken later: then, when.
    async fn offer(&mut self, deadline: &mut watch::Receiver<Option<Instant>>) -> Option<Retry> {
        let batch = self.batch.take()?;
        let spans = batch.items() as u64;
        let sent = tokio::select! {
            biased;
            sent = self.to.send(Batch::Traces(batch.clone()), self.config.export_timeout.0) => sent,
            () = passed(deadline) => Err(ExportError::retryable("timeout", "no answer before the program's end")),
        };
        match sent {
            Ok(refused) => {
                let error = refused.as_ref().map(|refused| refused.error(self.to.items));
                self.waiting.lost.add(refused.map_or(0, |refused| refused.count), "partial_success");
                self.to.tell(error.as_ref().map_or(Ok(()), Err));
                None
            }
            Err(error) => {
                self.to.tell(Err(&error));
                if error.retry == Retry::Never {
                    self.waiting.lost.add(spans, "send_failed");
                    return None;
                }
                self.batch = Some(batch);
                Some(error.retry)
            }
        }
    }

    /// Sends all that waits; the first batch that is not taken is lost, with all behind it.
    async fn drain(&mut self, mut spans: Vec<SpanData>, deadline: &mut watch::Receiver<Option<Instant>>) {
        self.waiting.queue.close();
        loop {
            if self.batch.is_none() {
                self.waiting.queue.recv_many(&mut spans, self.config.max_export_batch_size).await;
                if spans.is_empty() {
                    return;
                }
                self.batch = self.made(std::mem::take(&mut spans));
            }
            if self.offer(deadline).await.is_some() {
                break;
            }
        }
        let left = self.batch.take().map_or(0, |batch| batch.items());
        let behind = std::iter::from_fn(|| self.waiting.queue.try_recv().ok()).count();
        self.waiting.lost.add((left + spans.len() + behind) as u64, "send_failed");
    }

    fn made(&self, spans: Vec<SpanData>) -> Option<Traces> {
        let count = spans.len() as u64;
        let made = encoded(spans, &self.resource);
        if let Err(error) = &made {
            warn!(%error, "own spans cannot be encoded, which is a bug in minicol");
            self.waiting.lost.add(count, "encoding");
        }
        made.ok()
    }

    /// Once per time that the queue is full.
    fn tell_overflow(&mut self) {
        let (seen, told) = self.overflow;
        let now = self.waiting.lost.overflowed();
        if now > seen && !told {
            warn!(endpoint = %self.to.endpoint, "own spans are lost, because max_queue_size of them wait already");
        }
        self.overflow = (now, now > seen);
    }
}

/// Waits until the deadline, once there is one, has passed.
async fn passed(deadline: &mut watch::Receiver<Option<Instant>>) {
    let until = match deadline.wait_for(Option::is_some).await {
        Ok(until) => *until,
        // Whoever tells it is gone: so is the program.
        Err(_) => None,
    };
    if let Some(until) = until {
        sleep_until(until).await;
    }
}

fn encoded(spans: Vec<SpanData>, resource: &ResourceAttributesWithSchema) -> Result<Traces, DecodeError> {
    let resource_spans = group_spans_by_resource_and_scope(spans, resource);
    Traces::decode(ExportTraceServiceRequest { resource_spans }.encode_to_vec().into())
}
