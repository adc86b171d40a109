//! The spans of the messages that make a session. rmcp sends them from a task of its own, so what they belong to is remembered here.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
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

use crate::{
    Cause,
    telemetry::{Operations, failed},
};

/// One handshake. Its messages go one after the other, so one span at most is open. Nothing where tracing is off; clones are the same one.
#[derive(Clone)]
pub(crate) struct Handshake(Option<Arc<Inner>>);

struct Inner {
    operations: Operations,
    /// What was current where the handshake began.
    parent: Context,
    open: Mutex<Option<Span>>,
}

impl Handshake {
    /// Below the current span.
    pub(crate) fn of(operations: &Operations) -> Self {
        Self(operations.traces().then(|| {
            let open = Mutex::default();
            Arc::new(Inner { operations: operations.clone(), parent: Context::current(), open })
        }))
    }

    /// Begins the span of `message`, where it is one of a handshake; gives the message, with the span's context where it can carry it.
    pub(super) fn begun<'a>(&self, message: &'a ClientJsonRpcMessage) -> Cow<'a, ClientJsonRpcMessage> {
        let (Some(inner), Some(method)) = (&self.0, method(message)) else { return Cow::Borrowed(message) };
        let span = {
            let _parent = inner.parent.clone().attach();
            inner.operations.span(|| method.into())
        };
        span.set(|| [KeyValue::new("mcp.method.name", method)]);
        let mut message = message.clone();
        if let ClientJsonRpcMessage::Request(request) = &mut message {
            span.set(|| [KeyValue::new("jsonrpc.request.id", request.id.to_string())]);
            if let Some(context) = span.run(current_trace_context) {
                carry(&context, request.request.get_meta_mut());
            }
        }
        *inner.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(span);
        Cow::Owned(message)
    }

    /// Ends the span that is open, if one is.
    pub(crate) fn ended(&self, how: Result<&StreamableHttpPostResponse, &Cause>) {
        let open = |inner: &Arc<Inner>| inner.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(span) = self.0.as_ref().and_then(open) else { return };
        match how {
            Err(cause) => failed(&span, cause),
            Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(error), _)) => {
                let error = &error.error;
                failed(&span, &Cause::Rpc { code: error.code.0, message: foreign(&error.message) });
            }
            Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Response(response), _)) => {
                let spoken = match &response.result {
                    ServerResult::InitializeResult(result) => Some(&result.protocol_version),
                    ServerResult::DiscoverResult(found) => {
                        found.supported_versions.iter().find(|version| **version == ProtocolVersion::NO_INITIALIZE)
                    }
                    _ => None,
                };
                span.set(|| spoken.map(|version| KeyValue::new("mcp.protocol.version", known(Some(version)))));
            }
            Ok(_) => {}
        }
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

/// Puts a trace context into a request's `_meta`, under the names that MCP reserves for it (SEP-414).
pub(crate) fn carry((traceparent, tracestate): &(String, String), meta: &mut MetaObject) {
    meta.set_traceparent(traceparent);
    if !tracestate.is_empty() {
        meta.set_tracestate(tracestate);
    }
}
