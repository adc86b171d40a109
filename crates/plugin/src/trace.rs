//! Spans of the program's own traces. [`Tracer`] makes them, [`Span::around`] makes one current while a future runs, and [`SpanIds`] tells
//! which one is current: what logs, and requests to others, carry. Where tracing is off, a span is nothing and costs a branch.

use std::{borrow::Cow, fmt, future::Future, sync::Arc, time::Duration};

use minicol_pdata::Arrival;
use opentelemetry::{
    Context, KeyValue,
    global::BoxedTracer,
    trace::{FutureExt as _, SpanBuilder, SpanId, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _},
};

use crate::Clock;

/// Makes spans. The default makes none.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Source>>);

struct Source {
    tracer: BoxedTracer,
    clock: Arc<dyn Clock>,
}

/// One span; nothing where tracing is off. It ends when it is dropped.
#[derive(Default)]
pub struct Span(Option<Begun>);

struct Begun {
    /// With the span as the current one.
    context: Context,
    source: Arc<Source>,
    began: Arrival,
}

/// The span that is current here and now, as logs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanIds {
    /// 16 bytes; shown as 32 hexadecimal digits.
    pub trace: TraceId,
    /// 8 bytes; shown as 16 hexadecimal digits.
    pub span: SpanId,
}

impl Tracer {
    /// Spans of `tracer`, timed by `clock`.
    pub fn new(tracer: BoxedTracer, clock: Arc<dyn Clock>) -> Self {
        Self(Some(Arc::new(Source { tracer, clock })))
    }

    /// Whether there are spans at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span below the current one. `name` is asked only where there will be a span; it has to be one of a small set.
    pub fn span(&self, kind: SpanKind, name: impl FnOnce() -> Cow<'static, str>) -> Span {
        let Some(source) = &self.0 else { return Span(None) };
        let began = source.clock.now();
        let at = std::time::UNIX_EPOCH + Duration::from_nanos(began.wall.as_nanos());
        let parent = Context::current();
        let builder = SpanBuilder::from_name(name()).with_kind(kind).with_start_time(at);
        let context = parent.with_span(source.tracer.build_with_context(builder, &parent));
        Span(Some(Begun { context, source: Arc::clone(source), began }))
    }
}

impl Span {
    /// Adds attributes, where somebody will see them.
    pub fn set<I: IntoIterator<Item = KeyValue>>(&self, attributes: impl FnOnce() -> I) {
        if let Some(Begun { context, .. }) = self.0.as_ref().filter(|begun| begun.context.span().is_recording()) {
            context.span().set_attributes(attributes());
        }
    }

    /// Marks it as failed: `error.type`, one of a small set, and why, for a person.
    pub fn fail(&self, error_type: impl Into<Cow<'static, str>>, why: impl FnOnce() -> String) {
        if let Some(Begun { context, .. }) = self.0.as_ref().filter(|begun| begun.context.span().is_recording()) {
            context.span().set_attribute(KeyValue::new("error.type", error_type.into()));
            context.span().set_status(Status::error(why()));
        }
    }

    /// Runs `work` with this span as the current one.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _current = self.0.as_ref().map(|begun| begun.context.clone().attach());
        work()
    }

    /// Runs `work` with this span as the current one, whenever it is polled: spans begun in it are below this one, and log lines carry its ids. It need not outlive
    /// the span.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let context = self.0.as_ref().map(|begun| begun.context.clone());
        async move {
            match context {
                Some(context) => work.with_context(context).await,
                None => work.await,
            }
        }
    }
}

impl Drop for Begun {
    /// The end is the start and what passed on the monotonic clock: a wall clock that is set meanwhile does not change how long it took.
    fn drop(&mut self) {
        let took = self.source.clock.monotonic().saturating_sub(self.began.monotonic);
        let at = std::time::UNIX_EPOCH + Duration::from_nanos(self.began.wall.as_nanos()) + took;
        self.context.span().end_with_timestamp(at);
    }
}

/// Adds attributes to the current span, where there is one that somebody will see.
pub fn set_on_current<I: IntoIterator<Item = KeyValue>>(attributes: impl FnOnce() -> I) {
    Context::map_current(|context| {
        if context.has_active_span() && context.span().is_recording() {
            context.span().set_attributes(attributes());
        }
    });
}

/// The current span as W3C Trace Context names it in `traceparent` and `tracestate` (empty where there is none); `None` where no span is
/// current.
pub fn current_trace_context() -> Option<(String, String)> {
    Context::map_current(|context| {
        if !context.has_active_span() {
            return None;
        }
        let span = context.span();
        let of = span.span_context();
        let flags = of.trace_flags().to_u8() & 1; // of those that a later version may define we know nothing
        of.is_valid().then(|| (format!("00-{}-{}-{flags:02x}", of.trace_id(), of.span_id()), of.trace_state().header()))
    })
}

impl SpanIds {
    /// Of the current span, where there is one that is sampled: one that is not, nobody will find.
    pub fn current() -> Option<Self> {
        Context::map_current(|context| {
            if !context.has_active_span() {
                return None;
            }
            let span = context.span();
            let of = span.span_context();
            of.is_sampled().then(|| Self { trace: of.trace_id(), span: of.span_id() })
        })
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Tracer(on)" } else { "Tracer(off)" })
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(begun) => write!(f, "Span({})", begun.context.span().span_context().span_id()),
            None => f.write_str("Span(off)"),
        }
    }
}
