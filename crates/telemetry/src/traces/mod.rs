//! The program's own traces: spans from the SDK, gathered and sent here. The SDK's own batch processor is not used: it sends from a thread
//! that blocks, its shutdown blocks too and knows no deadline that others share, and what it loses it does not tell.

mod config;
mod gather;
mod send;

use std::{fmt, sync::Arc};

use minicol_pdata::{AttributeValue, Resource};
use minicol_plugin::{Environment, Random, trace::Tracer};
use opentelemetry::{
    KeyValue,
    global::BoxedTracer,
    metrics::Meter,
    trace::{SpanId, TraceId, TracerProvider as _},
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::trace::{IdGenerator, SdkTracerProvider};

pub use config::{BatchProcessor, NoOptions, ParentBased, Ratio, Sampler, SpanProcessor, TracesConfig};
pub(crate) use gather::Waiting;
pub(crate) use send::Sender;

/// A tracer, and the spans that wait at each way out.
pub(crate) struct Traces {
    pub(crate) tracer: Tracer,
    pub(crate) waiting: Vec<(BatchProcessor, Waiting)>,
}

impl Traces {
    /// Spans wait from now on; nothing is sent yet.
    pub(crate) fn new(config: &TracesConfig, meter: &Meter, environment: &Environment) -> Self {
        if config.processors.is_empty() {
            return Self { tracer: Tracer::default(), waiting: Vec::new() };
        }
        let mut provider = SdkTracerProvider::builder()
            // Ours is put in where spans are sent.
            .with_resource(opentelemetry_sdk::Resource::builder_empty().build())
            .with_sampler(config.sampler.for_sdk())
            .with_id_generator(Ids(Arc::clone(&environment.random)));
        let mut waiting = Vec::new();
        for SpanProcessor::Batch(batch) in &config.processors {
            let (gatherer, at) = gather::queue(batch.max_queue_size, meter);
            provider = provider.with_span_processor(gatherer);
            waiting.push((batch.clone(), at));
        }
        let tracer = BoxedTracer::new(Box::new(provider.build().tracer("minicol")));
        Self { tracer: Tracer::new(tracer, Arc::clone(&environment.clock)), waiting }
    }
}

/// The program's resource, as the conversion of spans wants it.
pub(crate) fn resource_of(resource: &Resource) -> ResourceAttributesWithSchema {
    let pairs = resource.iter().map(|(name, value)| {
        let value = match value {
            AttributeValue::String(text) | AttributeValue::Other(text) => Arc::clone(text).into(),
            AttributeValue::Bool(value) => (*value).into(),
            AttributeValue::Int(value) => (*value).into(),
            AttributeValue::Double(value) => opentelemetry::Value::from(*value),
        };
        KeyValue::new(name.to_owned(), value)
    });
    (&opentelemetry_sdk::Resource::builder_empty().with_attributes(pairs).build()).into()
}

/// Ids from the environment's randomness.
struct Ids(Arc<dyn Random>);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        let [high, low] = [self.0.next_u64(), self.0.next_u64()].map(u128::from);
        // Zero is no id.
        TraceId::from(((high << 64) | low).max(1))
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from(self.0.next_u64().max(1))
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}
