use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Seen, Style};

/// What the server answers: a status, headers, then pieces in order.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) before: Option<Before>,
    pub(super) message: Option<Value>,
    pub(super) pieces: Vec<Piece>,
}

/// What happens before the head of the answer.
#[derive(Clone, Debug)]
pub(super) enum Before {
    Wait(Duration),
    Hang,
    Cut,
    /// Bytes that are no HTTP, then the end of the connection.
    Raw(Bytes),
}

/// A piece of a body.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    Wait(Duration),
    Until(Arc<Notify>),
    Hang,
    Cut,
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), before: None, message: None, pieces: Vec::new() }
    }

    /// A JSON-RPC result, with the request's id, in the server's style.
    pub fn result(result: Value) -> Self {
        Self::message("result", result)
    }

    /// A JSON-RPC error, with the request's id, in the server's style.
    pub fn error(code: i32, message: &str) -> Self {
        Self::message("error", json!({"code": code, "message": message}))
    }

    /// The answer of a tool, as Session-Buddy gives it: structured, and the same as text.
    pub fn structured(document: Value) -> Self {
        let mut result = json!({"content": [{"type": "text", "text": document.to_string()}], "isError": false});
        result["structuredContent"] = document;
        Self::result(result)
    }

    /// The answer of a tool that gives text.
    pub fn text(text: &str) -> Self {
        Self::result(json!({"content": [{"type": "text", "text": text}], "isError": false}))
    }

    /// `isError: true`.
    pub fn tool_error(text: &str) -> Self {
        Self::result(json!({"content": [{"type": "text", "text": text}], "isError": true}))
    }

    /// An error of the transport as Python servers give it: an HTTP status and a JSON-RPC error with the id `server-error`.
    pub fn transport_error(status: u16, message: &str) -> Self {
        let error = json!({"jsonrpc": "2.0", "id": "server-error", "error": {"code": -32600, "message": message}});
        Self::status(status).header("content-type", "application/json").chunk(error.to_string())
    }

    /// The same with another HTTP status: as servers without sessions answer errors.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The head of an event stream.
    pub fn events() -> Self {
        Self::status(200).header("content-type", "text/event-stream")
    }

    /// A JSON body.
    pub fn json(body: &str) -> Self {
        Self::status(200).header("content-type", "application/json").chunk(body.to_owned())
    }

    /// Bytes that are no HTTP, then the end of the connection.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { before: Some(Before::Raw(bytes.into())), ..Self::status(200) }
    }

    /// Never anything, on an open connection.
    pub fn hang() -> Self {
        Self { before: Some(Before::Hang), ..Self::status(200) }
    }

    /// The end of the connection.
    pub fn cut() -> Self {
        Self { before: Some(Before::Cut), ..Self::status(200) }
    }

    /// The same, after a time.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { before: Some(Before::Wait(wait)), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds bytes to the body.
    #[must_use]
    pub fn chunk(mut self, bytes: impl Into<Bytes>) -> Self {
        self.pieces.push(Piece::Bytes(bytes.into()));
        self
    }

    /// Adds a wait to the body.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.pieces.push(Piece::Wait(wait));
        self
    }

    /// The body goes on when `told` is notified.
    #[must_use]
    pub fn until(mut self, told: &Arc<Notify>) -> Self {
        self.pieces.push(Piece::Until(Arc::clone(told)));
        self
    }

    /// The body never ends.
    #[must_use]
    pub fn then_hang(mut self) -> Self {
        self.pieces.push(Piece::Hang);
        self
    }

    /// The connection breaks in the middle of the body.
    #[must_use]
    pub fn then_cut(mut self) -> Self {
        self.pieces.push(Piece::Cut);
        self
    }

    fn message(member: &str, value: Value) -> Self {
        let mut message = json!({"jsonrpc": "2.0"});
        message[member] = value;
        Self { message: Some(message), ..Self::status(200) }
    }

    /// With the message of [`Reply::result`] and its like as bytes, with the id of `seen`, where it has none of its own.
    pub(super) fn complete(mut self, seen: &Seen, style: Style) -> Self {
        let Some(mut message) = self.message.take() else { return self };
        if message.get("id").is_none() {
            message["id"] = seen.id();
        }
        match style {
            // No server streams an error of the transport.
            _ if self.status >= 400 => self.header("content-type", "application/json").chunk(message.to_string()),
            Style::Json => self.header("content-type", "application/json").chunk(message.to_string()),
            Style::Events => self
                .header("content-type", "text/event-stream")
                .chunk(format!("event: message\r\ndata: {message}\r\n\r\n")),
        }
    }
}
