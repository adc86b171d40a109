use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Signal, json,
    memory::{Heap, Held},
    one_of,
};

/// Bytes that are no OTLP request of the signal they were said to be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not an OTLP {signal} request: {reason}")]
pub struct DecodeError {
    signal: Signal,
    reason: String,
}

/// One OTLP export request of one signal, its representation hidden: the bytes it came in, the decoded form, or both. Each is made
/// from the other when first asked for. Clones share both.
pub struct Otlp<S: Kind> {
    request: Arc<S::Request>,
    encoded: OnceLock<Bytes>,
    pub(crate) held: Held,
    signal: PhantomData<S>,
}

/// OTLP log records.
pub type Logs = Otlp<kind::Logs>;
/// OTLP spans.
pub type Traces = Otlp<kind::Traces>;

/// What differs between the three OTLP signals. Sealed: the module is private.
pub trait Kind: 'static {
    /// The protobuf message of an export request.
    #[allow(private_bounds)] // the trait is sealed
    type Request: Message + Default + Clone + PartialEq + Serialize + DeserializeOwned + Heap;
    /// Which signal it is.
    const SIGNAL: Signal;
    /// Counts data points, log records or spans.
    fn items(request: &Self::Request) -> usize;
    /// Moves everything of `more` to the end of `request`.
    fn append(request: &mut Self::Request, more: Self::Request);
    /// About how many bytes of memory a message of it takes once it is decoded.
    fn weigh(message: &[u8]) -> usize;
    /// Moves everything after the first `keep` items out of `request`.
    fn split(request: &mut Self::Request, keep: usize) -> Self::Request;
}

pub(crate) mod kind {
    use super::{ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest, Kind, Signal};
    use crate::{metrics::points, split, weight};

    #[derive(Clone, Copy, Debug)]
    pub enum Metrics {}
    #[derive(Clone, Copy, Debug)]
    pub enum Logs {}
    #[derive(Clone, Copy, Debug)]
    pub enum Traces {}

    impl Kind for Metrics {
        type Request = ExportMetricsServiceRequest;
        const SIGNAL: Signal = Signal::Metrics;
        fn items(request: &Self::Request) -> usize {
            request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics).map(points).sum()
        }
        fn weigh(message: &[u8]) -> usize {
            weight::METRICS.weigh(message)
        }
        fn append(request: &mut Self::Request, more: Self::Request) {
            request.resource_metrics.extend(more.resource_metrics);
        }
        fn split(request: &mut Self::Request, keep: usize) -> Self::Request {
            Self::Request { resource_metrics: split::metrics(&mut request.resource_metrics, keep) }
        }
    }

    impl Kind for Logs {
        type Request = ExportLogsServiceRequest;
        const SIGNAL: Signal = Signal::Logs;
        fn items(request: &Self::Request) -> usize {
            request.resource_logs.iter().flat_map(|r| &r.scope_logs).map(|s| s.log_records.len()).sum()
        }
        fn weigh(message: &[u8]) -> usize {
            weight::LOGS.weigh(message)
        }
        fn append(request: &mut Self::Request, more: Self::Request) {
            request.resource_logs.extend(more.resource_logs);
        }
        fn split(request: &mut Self::Request, keep: usize) -> Self::Request {
            Self::Request { resource_logs: split::logs(&mut request.resource_logs, keep) }
        }
    }

    impl Kind for Traces {
        type Request = ExportTraceServiceRequest;
        const SIGNAL: Signal = Signal::Traces;
        fn items(request: &Self::Request) -> usize {
            request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum()
        }
        fn weigh(message: &[u8]) -> usize {
            weight::TRACES.weigh(message)
        }
        fn append(request: &mut Self::Request, more: Self::Request) {
            request.resource_spans.extend(more.resource_spans);
        }
        fn split(request: &mut Self::Request, keep: usize) -> Self::Request {
            Self::Request { resource_spans: split::traces(&mut request.resource_spans, keep) }
        }
    }
}

impl<S: Kind> Otlp<S> {
    /// From the protobuf encoding of an export request. The bytes are kept: encoding it again is free.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let request = S::Request::decode(bytes.clone())
            .map_err(|error| DecodeError { signal: S::SIGNAL, reason: error.to_string() })?;
        Ok(Self { encoded: OnceLock::from(bytes), ..Self::new(request) })
    }

    /// About how many bytes of memory [`Otlp::decode`] would take for this message: more than the message has, and much more where it consists of
    /// parts that are all but empty. Nothing is decoded.
    pub fn weigh(message: &[u8]) -> usize {
        S::weigh(message)
    }

    /// The same for [`Otlp::from_json`].
    pub fn weigh_json(text: &[u8]) -> usize {
        crate::weight::weigh_json(text)
    }

    /// The protobuf encoding of the export request; made once, then shared.
    pub fn encode(&self) -> Bytes {
        self.encoded.get_or_init(|| self.request.encode_to_vec().into()).clone()
    }

    /// From the JSON encoding of an export request (OTLP/JSON: hexadecimal ids, 64-bit numbers and doubles as text or number, `null` for what is not
    /// set).
    pub fn from_json(text: &[u8]) -> Result<Self, DecodeError> {
        let wrong = |reason: String| DecodeError { signal: S::SIGNAL, reason };
        let request: S::Request = json::read(text).map_err(wrong)?;
        let count = |text: &[u8]| one_of::count(text).map_err(|error| wrong(error.to_string()));
        if count(&json::write(&request))? < count(text)? {
            return Err(wrong("a number, a value or the data of a metric in it is not understood".to_owned()));
        }
        Ok(Self::new(request))
    }

    /// The JSON encoding of the export request. A double that is no finite number is written as `"NaN"`, `"Infinity"` or `"-Infinity"`.
    pub fn to_json(&self) -> Bytes {
        json::write(&*self.request)
    }

    /// In two: the first `keep` items, and the others. What describes them (resource, scope, metric) stands in both.
    #[must_use]
    pub fn split_at(mut self, keep: usize) -> (Self, Self) {
        let rest = S::split(self.edit(), keep);
        let rest = Self { held: self.held.clone(), ..Self::new(rest) };
        (self, rest)
    }

    /// How many data points, log records or spans it holds.
    pub fn items(&self) -> usize {
        S::items(&self.request)
    }

    /// The size of its protobuf encoding in bytes.
    pub fn bytes(&self) -> usize {
        self.encoded.get().map_or_else(|| self.request.encoded_len(), Bytes::len)
    }

    /// About how many bytes of memory it takes, the bytes it came in included.
    pub fn memory(&self) -> usize {
        size_of::<S::Request>() + self.request.heap() + self.encoded.get().map_or(0, Bytes::len)
    }

    /// True where nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.items() == 0
    }

    /// Adds everything that `more` holds.
    pub fn append(&mut self, more: Self) {
        self.held.add(&more.held);
        let more = Arc::try_unwrap(more.request).unwrap_or_else(|shared| (*shared).clone());
        S::append(self.edit(), more);
    }

    pub(crate) fn new(request: S::Request) -> Self {
        Self { request: Arc::new(request), encoded: OnceLock::new(), held: Held::default(), signal: PhantomData }
    }

    pub(crate) fn request(&self) -> &S::Request {
        &self.request
    }

    /// For writing: what is shared is copied, and the old encoding is forgotten.
    pub(crate) fn edit(&mut self) -> &mut S::Request {
        self.encoded = OnceLock::new();
        Arc::make_mut(&mut self.request)
    }
}

impl<S: Kind> Clone for Otlp<S> {
    fn clone(&self) -> Self {
        let (request, encoded) = (Arc::clone(&self.request), self.encoded.clone());
        Self { request, encoded, held: self.held.clone(), signal: PhantomData }
    }
}

impl<S: Kind> Default for Otlp<S> {
    fn default() -> Self {
        Self::new(S::Request::default())
    }
}

impl<S: Kind> PartialEq for Otlp<S> {
    fn eq(&self, other: &Self) -> bool {
        self.request == other.request
    }
}

impl<S: Kind> fmt::Debug for Otlp<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("signal", &S::SIGNAL).field("items", &self.items()).finish_non_exhaustive()
    }
}
