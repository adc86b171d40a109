//! What both protocols do with a request: read it, unpack it, decode it, and hand it to the pipeline.

use std::{fmt::Display, future::Future, time::Duration};

use bytes::Bytes;
use minicol_pdata::{Batch, Logs, Metrics, Signal, Traces};
use minicol_plugin::{Next, Scope, text};
use opentelemetry::{KeyValue, metrics::Counter};

use crate::{
    body::{Budget, Held, read},
    refusal::{Encoding, Kind, Refusal},
    unpack::Packing,
};

/// The way into the pipeline, with the bounds of one protocol.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) next: Next,
    pub(crate) budget: Budget,
    pub(crate) limit: usize,
    pub(crate) read_timeout: Duration,
    pub(crate) refusals: Refusals,
}

/// Counts what is not taken.
#[derive(Clone)]
pub(crate) struct Refusals {
    counter: Counter<u64>,
    receiver: KeyValue,
    transport: KeyValue,
}

impl Refusals {
    pub(crate) fn new(scope: &Scope, transport: &'static str) -> Self {
        let counter = scope
            .meter()
            .u64_counter("minicol_otlp_receiver_refused_requests")
            .with_description("Number of requests that were not taken, by reason")
            .with_unit("{request}")
            .build();
        let receiver = KeyValue::new("receiver", scope.id().to_string());
        Self { counter, receiver, transport: KeyValue::new("transport", transport) }
    }

    pub(crate) fn count(&self, refusal: &Refusal) {
        let reason = KeyValue::new("reason", refusal.kind().name());
        self.counter.add(1, &[self.receiver.clone(), self.transport.clone(), reason]);
    }
}

/// A request that is read, and what it holds of the memory.
pub(crate) struct Decoded {
    batch: Batch,
    _held: Held,
}

/// A message above this is decoded on a thread that may be blocked: decoding has no pauses.
const LARGE: usize = 256 * 1024;

impl Intake {
    /// Reads a body as it arrives, with room for `more` bytes than a message may have.
    pub(crate) async fn read(
        &self,
        body: hyper::body::Incoming,
        more: usize,
        held: &mut Held,
    ) -> Result<Bytes, Refusal> {
        read(body, self.limit, more, held).await
    }

    /// Unpacks.
    pub(crate) async fn unpack(&self, packing: Packing, packed: Bytes, held: &mut Held) -> Result<Bytes, Refusal> {
        packing.unpack(packed, self.limit, held).await
    }

    /// Decodes a message.
    pub(crate) async fn decode(
        &self,
        signal: Signal,
        encoding: Encoding,
        message: Bytes,
        mut held: Held,
    ) -> Result<Decoded, Refusal> {
        let large = message.len() > LARGE;
        let decode = move || {
            held.grow_by_weight(weigh(signal, encoding, &message))?;
            Ok(Decoded { batch: decode(signal, encoding, message)?, _held: held })
        };
        if !large {
            return decode();
        }
        let ended = || Refusal::new(Kind::Unavailable, "the request was not decoded: the program ends");
        tokio::task::spawn_blocking(decode).await.map_err(|_| ended())?
    }

    /// Hands a request to the pipeline. `Ok` means that the pipeline answers for all of it.
    pub(crate) async fn take(&self, request: Decoded) -> Result<(), Refusal> {
        let Decoded { batch, _held } = request;
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.next.consume(batch).await?)
    }

    /// Bounds how long a request may take until it is decoded.
    pub(crate) async fn in_time<T>(&self, reading: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let late = |_| {
            let why = format!("the request did not arrive and unpack within {:?} (read_timeout)", self.read_timeout);
            Refusal::new(Kind::TooSlow, why)
        };
        tokio::time::timeout(self.read_timeout, reading).await.map_err(late)?
    }
}

fn weigh(signal: Signal, encoding: Encoding, message: &[u8]) -> usize {
    match (encoding, signal) {
        (Encoding::Json, _) => Metrics::weigh_json(message),
        (Encoding::Protobuf, Signal::Logs) => Logs::weigh(message),
        (Encoding::Protobuf, Signal::Traces) => Traces::weigh(message),
        (Encoding::Protobuf, Signal::Metrics | Signal::Observations) => Metrics::weigh(message),
    }
}

fn decode(signal: Signal, encoding: Encoding, message: Bytes) -> Result<Batch, Refusal> {
    Ok(match (signal, encoding) {
        (Signal::Logs, Encoding::Protobuf) => Logs::decode(message).map_err(invalid)?.into(),
        (Signal::Logs, Encoding::Json) => Logs::from_json(&message).map_err(invalid)?.into(),
        (Signal::Traces, Encoding::Protobuf) => Traces::decode(message).map_err(invalid)?.into(),
        (Signal::Traces, Encoding::Json) => Traces::from_json(&message).map_err(invalid)?.into(),
        (Signal::Metrics | Signal::Observations, Encoding::Protobuf) => {
            Metrics::decode(message).map_err(invalid)?.into()
        }
        (Signal::Metrics | Signal::Observations, Encoding::Json) => {
            Metrics::from_json(&message).map_err(invalid)?.into()
        }
    })
}

fn invalid(error: impl Display) -> Refusal {
    Refusal::new(Kind::Invalid, text::foreign(&error.to_string()))
}
