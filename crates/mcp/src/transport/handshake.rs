//! The messages that make a session, measured and traced one by one. rmcp sends them from a task of its own, so what they belong to is remembered here.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use minicol_plugin::{
    text::foreign,
    trace::{Span, current_trace_context},
};
use opentelemetry::{Context, KeyValue};
use rmcp::{
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, GetMeta, MetaObject, ProtocolVersion,
        ServerJsonRpcMessage, ServerResult,
    },
    transport::streamable_http_client::StreamableHttpPostResponse,
};
use tokio::time::Instant;

use crate::{
    Cause,
    telemetry::{Operations, failed},
};

/// One handshake. Its messages go one after the other, so one at most is open. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Handshake(Arc<Inner>);

struct Inner {
    operations: Operations,
    /// What was current where the handshake began; nothing where tracing is off.
    parent: Option<Context>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A message was sent, or was about to be.
    began: bool,
    open: Option<Open>,
}

/// A message that nothing is known of yet.
struct Open {
    method: &'static str,
    since: Instant,
    span: Span,
}

impl Handshake {
    /// Below the current span.
    pub(crate) fn of(operations: &Operations) -> Self {
        let parent = operations.traces().then(Context::current);
        Self(Arc::new(Inner { operations: operations.clone(), parent, state: Mutex::default() }))
    }

    /// Begins to measure `message`, where it is one of a handshake, and its span; gives the message, with the span's context.
    pub(super) fn begun<'a>(&self, message: &'a ClientJsonRpcMessage) -> Cow<'a, ClientJsonRpcMessage> {
        let Some(method) = method(message) else { return Cow::Borrowed(message) };
        let inner = &*self.0;
        let (message, span) = match &inner.parent {
            None => (Cow::Borrowed(message), Span::default()),
            Some(parent) => {
                let (message, span) = inner.traced(parent, method, message.clone());
                (Cow::Owned(message), span)
            }
        };
        let mut state = self.state();
        state.began = true;
        state.open = Some(Open { method, since: Instant::now(), span });
        message
    }

    /// Ends what is open, if something is.
    pub(crate) fn ended(&self, how: Result<&StreamableHttpPostResponse, &Cause>) {
        let Some(Open { method, since, span }) = self.state().open.take() else { return };
        let (mut cause, mut version) = (None, None);
        match how {
            Err(failure) => cause = Some(Cow::Borrowed(failure)),
            Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(error), _)) => {
                let error = &error.error;
                cause = Some(Cow::Owned(Cause::Rpc { code: error.code.0, message: foreign(&error.message) }));
            }
            Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Response(response), _)) => {
                let spoken = match &response.result {
                    ServerResult::InitializeResult(result) => Some(&result.protocol_version),
                    ServerResult::DiscoverResult(found) => {
                        found.supported_versions.iter().find(|version| **version == ProtocolVersion::NO_INITIALIZE)
                    }
                    _ => None,
                };
                version = spoken.map(|version| known(Some(version)));
                span.set(|| version.clone().map(|version| KeyValue::new("mcp.protocol.version", version)));
            }
            Ok(_) => {}
        }
        if let Some(cause) = &cause {
            failed(&span, cause);
        }
        self.0.operations.record_method(method, None, since.elapsed(), cause.as_deref(), version.as_deref());
    }

    /// Whether a message was measured, or is being.
    pub(crate) fn began(&self) -> bool {
        self.state().began
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn traced(
        &self,
        parent: &Context,
        method: &'static str,
        mut message: ClientJsonRpcMessage,
    ) -> (ClientJsonRpcMessage, Span) {
        let span = {
            let _parent = parent.clone().attach();
            self.operations.span(|| method.into())
        };
        span.set(|| [KeyValue::new("mcp.method.name", method)]);
        let context = span.run(current_trace_context);
        match &mut message {
            ClientJsonRpcMessage::Request(request) => {
                span.set(|| [KeyValue::new("jsonrpc.request.id", request.id.to_string())]);
                if let Some(context) = &context {
                    carry(context, request.request.get_meta_mut());
                }
            }
            ClientJsonRpcMessage::Notification(notification) => {
                if let Some(context) = &context {
                    carry(context, notification.notification.get_meta_mut());
                }
            }
            _ => {}
        }
        (message, span)
    }
}

/// The method of a message of a handshake.
fn method(message: &ClientJsonRpcMessage) -> Option<&'static str> {
    match message {
        ClientJsonRpcMessage::Request(request) => match request.request {
            ClientRequest::InitializeRequest(_) => Some("initialize"),
            ClientRequest::DiscoverRequest(_) => Some("server/discover"),
            _ => None,
        },
        ClientJsonRpcMessage::Notification(notification) => match notification.notification {
            ClientNotification::InitializedNotification(_) => Some("notifications/initialized"),
            _ => None,
        },
        _ => None,
    }
}

/// The protocol version as telemetry has it: one that is known, or `other`.
pub(crate) fn known(version: Option<&ProtocolVersion>) -> String {
    let version = version.filter(|version| ProtocolVersion::KNOWN_VERSIONS.contains(version));
    version.map_or_else(|| "other".to_owned(), ToString::to_string)
}

/// Puts a trace context into a message's `_meta`, under the names that MCP reserves for it (SEP-414).
pub(crate) fn carry((traceparent, tracestate): &(String, String), meta: &mut MetaObject) {
    meta.set_traceparent(traceparent);
    if !tracestate.is_empty() {
        meta.set_tracestate(tracestate);
    }
}
