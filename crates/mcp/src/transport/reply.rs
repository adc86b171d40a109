//! One reply: a JSON body, or the one message of an event stream, with the id of its request.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use minicol_pdata::weigh_json;
use minicol_plugin::{
    net::Gathered,
    text::{foreign, foreign_within},
};
use rmcp::model::RequestId;
use serde_json::Value;

use super::{Heads, Link, answers::Answers, events::Events, exchange::Outgoing, media_type, wire};
use crate::Cause;

/// How long the rest of a stream is read after its reply, so that the connection can be used again.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(50);
/// How much of a body that nobody needs is read, for the same reason.
const MAX_FORGOTTEN: usize = 16 * 1024;
/// How long to wait before a broken stream is resumed, where the server names no time; and at least.
const DEFAULT_RESUME_WAIT: Duration = Duration::from_secs(1);
const MIN_RESUME_WAIT: Duration = Duration::from_millis(50);

/// What a reply says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Envelope {
    Result(Value),
    Error { code: i32, message: String },
}

impl Envelope {
    /// The result, or the server's own error.
    pub(crate) fn result(self) -> Result<Value, Cause> {
        match self {
            Self::Result(result) => Ok(result),
            Self::Error { code, message } => Err(Cause::Rpc { code, message }),
        }
    }
}

/// How far a stream was read.
struct Progress {
    last_id: Option<String>,
    retry: Option<Duration>,
    /// To what the server asks meanwhile.
    answers: Answers,
}

impl Link {
    /// The reply to the request `id`.
    pub(super) async fn read_reply(
        &self,
        response: Response<Incoming>,
        id: &RequestId,
        heads: &Heads,
    ) -> Result<Envelope, Cause> {
        if matches!(response.status(), StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Err(Cause::Malformed(format!("http {} instead of a reply", response.status().as_u16())));
        }
        match media_type(response.headers()).as_str() {
            "application/json" => {
                let bytes = self.read_whole(response.into_body()).await?;
                if bytes.is_empty() {
                    return Err(Cause::Malformed("an empty body instead of a reply".to_owned()));
                }
                envelope(parse(&bytes)?, id)?.ok_or_else(|| Cause::Malformed("a message that is no reply".to_owned()))
            }
            "text/event-stream" => self.read_stream(response, id, heads).await,
            "" if response.body().is_end_stream() => {
                Err(Cause::Malformed("an empty body instead of a reply".to_owned()))
            }
            other => Err(Cause::Malformed(format!(
                "content type {:?} instead of application/json or text/event-stream",
                foreign(other)
            ))),
        }
    }

    /// Reads a body that nobody needs, in the background.
    pub(super) fn read_and_forget(&self, response: Response<Incoming>) {
        let body = response.into_body();
        if !body.is_end_stream() {
            let cut = self.0.cut.clone();
            tokio::spawn(async move {
                let read = tokio::time::timeout(DRAIN_TIMEOUT, Limited::new(body, MAX_FORGOTTEN).collect());
                tokio::select! { biased; () = cut.cancelled() => {}, _ = read => {} }
            });
        }
    }

    async fn read_whole(&self, body: Incoming) -> Result<Bytes, Cause> {
        let limit = self.0.server.max_response_bytes;
        if body.size_hint().lower() > limit as u64 {
            return Err(Cause::TooLarge(limit));
        }
        let (mut body, mut gathered) = (Limited::new(body, limit), Gathered::default());
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => gathered.push(frame.into_data().unwrap_or_default()),
                Err(error) if error.is::<LengthLimitError>() => return Err(Cause::TooLarge(limit)),
                Err(error) => return Err(wire::cause_of(&*error)),
            }
        }
        Ok(gathered.into_bytes())
    }

    /// Reads until the reply. A stream that ends after an event id goes on elsewhere (priming events, SEP-1699); the caller's timeout
    /// bounds how often.
    async fn read_stream(
        &self,
        mut response: Response<Incoming>,
        id: &RequestId,
        heads: &Heads,
    ) -> Result<Envelope, Cause> {
        let answers = Answers::new(self, heads.of_answers(response.headers()));
        let mut progress = Progress { last_id: None, retry: None, answers };
        loop {
            if let Some(reply) = self.read_events(response.into_body(), id, &mut progress).await? {
                return Ok(reply);
            }
            let Some(last) = &progress.last_id else {
                return Err(Cause::Lost("the stream ended without a reply".to_owned()));
            };
            tokio::time::sleep(progress.retry.unwrap_or(DEFAULT_RESUME_WAIT).max(MIN_RESUME_WAIT)).await;
            response = self.send(Outgoing::resume(last, heads)).await.map_err(not_resumable)?;
            if media_type(response.headers()) != "text/event-stream" {
                return Err(Cause::Lost("the stream ended without a reply, and cannot be resumed".to_owned()));
            }
        }
    }

    /// Reads one connection's share of a stream; `None` where it ended without the reply.
    async fn read_events(
        &self,
        body: Incoming,
        id: &RequestId,
        progress: &mut Progress,
    ) -> Result<Option<Envelope>, Cause> {
        let limit = self.0.server.max_response_bytes;
        let (mut body, mut events, mut any) = (Limited::new(body, limit), Events::default(), false);
        while let Some(frame) = body.frame().await {
            let mut bytes = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) if error.is::<LengthLimitError>() => return Err(Cause::TooLarge(limit)),
                Err(error) => {
                    let cause = wire::cause_of(&*error);
                    // A connection that broke is a stream that ended.
                    let resumable = progress.last_id.is_some() && matches!(cause, Cause::Lost(_));
                    return if resumable { Ok(None) } else { Err(cause) };
                }
            };
            while let Some(event) = events.read(&mut bytes) {
                any = true;
                if let Some(id) = event.id {
                    // An empty one takes the last one back.
                    progress.last_id = Some(id).filter(|id| !id.is_empty());
                }
                progress.retry = event.retry.or(progress.retry);
                let data = event.data.unwrap_or_default();
                let is_message = event.name.is_none_or(|name| matches!(name.as_str(), "" | "message"));
                if !is_message || data.trim_ascii().is_empty() {
                    continue; // an event of another kind, as proxies send to keep a stream open, or a priming event
                }
                let message = parse(&data)?;
                progress.answers.to(&message);
                if let Some(reply) = envelope(message, id)? {
                    // The end of the stream has come with the reply, mostly.
                    if !matches!(body.frame().now_or_never(), Some(None)) {
                        tokio::spawn(tokio::time::timeout(DRAIN_TIMEOUT, async move {
                            while let Some(Ok(_)) = body.frame().await {}
                        }));
                    }
                    return Ok(Some(reply));
                }
            }
        }
        match events.odd() {
            Some(line) if !any => {
                let line = foreign_within(line, 60);
                Err(Cause::Malformed(format!("what came is no event stream: {line}")))
            }
            _ => Ok(None),
        }
    }
}

/// A server that does not resume streams is no protocol failure: the reply is lost with its connection.
fn not_resumable(cause: Cause) -> Cause {
    match cause {
        Cause::Status { status, .. } | Cause::Redirect { status, .. } => {
            Cause::Lost(format!("the stream ended without a reply, and cannot be resumed (http {status})"))
        }
        // The call went out; what the session is worth, the next request will tell.
        Cause::SessionLost(then) if matches!(*then, Cause::Status { .. }) => not_resumable(*then),
        other => other,
    }
}

/// How much of what is no JSON is looked at. A longer secret is hidden where it breaks off.
const MAX_SECRET: usize = 64 * 1024;
/// How much memory one reply may take once it is read, as it is reckoned: four bytes can ask for a value of a hundred.
const MAX_MEMORY: usize = 64 * 1024 * 1024;

fn parse(bytes: &[u8]) -> Result<Value, Cause> {
    // What stands in a text as JSON counts as well: it is read later.
    if weigh_json(bytes) > MAX_MEMORY {
        return Err(Cause::TooDense(MAX_MEMORY));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        // Enough that a secret which is repeated there is not cut.
        let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SECRET)]);
        Cause::Malformed(format!("what came is not JSON ({error}): {}", foreign_within(&beginning, 60)))
    })
}

/// The reply to `id`; `None` where the message is none (a notification, a request of the server). A server of 2025-03-26 may send several as an array.
fn envelope(message: Value, id: &RequestId) -> Result<Option<Envelope>, Cause> {
    let Value::Array(mut batch) = message else { return envelope_of_one(message, id) };
    // An error without an id of ours may be ours; what has our id is.
    batch.sort_by_key(|one| !one.get("id").is_some_and(|theirs| same_id(theirs, id)));
    let mut none = None;
    for one in batch {
        match envelope_of_one(one, id) {
            Ok(None) => none = Some(Ok(None)),
            Err(cause) => none = none.or(Some(Err(cause))),
            reply => return reply,
        }
    }
    none.unwrap_or_else(|| Err(Cause::Malformed("an empty JSON array".to_owned())))
}

fn envelope_of_one(message: Value, id: &RequestId) -> Result<Option<Envelope>, Cause> {
    let Value::Object(mut message) = message else {
        return Err(Cause::Malformed("a JSON value that is no JSON-RPC message".to_owned()));
    };
    if message.get("method").is_some_and(|method| !method.is_null()) {
        return Ok(None);
    }
    // Some servers write null for what is not there.
    if let Some(error) = message.get("error").filter(|error| !error.is_null()) {
        // Where the server could not read the request's id it says null, or as Python servers do "server-error". A number is another request's.
        if message.get("id").and_then(number).is_some_and(|theirs| *id != RequestId::Number(theirs)) {
            return Ok(None);
        }
        let (code, message) = said(error);
        return Ok(Some(Envelope::Error { code, message }));
    }
    let Some(result) = message.remove("result") else {
        return Err(Cause::Malformed("a JSON object that is no JSON-RPC message".to_owned()));
    };
    if !message.get("id").is_some_and(|theirs| same_id(theirs, id)) {
        return Err(Cause::Malformed("a reply to another request".to_owned()));
    }
    Ok(Some(Envelope::Result(result)))
}

/// The error to the request `id` and to no other, in the body of a status that is no success.
pub(super) fn error_to(message: &Value, id: &RequestId) -> Option<Cause> {
    let error = message.get("error").filter(|error| error.is_object())?;
    let (code, message) = message.get("id").filter(|theirs| same_id(theirs, id)).map(|_| said(error))?;
    Some(Cause::Rpc { code, message })
}

/// Code and message of a JSON-RPC error.
fn said(error: &Value) -> (i32, String) {
    let code = error.get("code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok());
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    (code.unwrap_or_default(), foreign(message))
}

fn same_id(theirs: &Value, ours: &RequestId) -> bool {
    match ours {
        RequestId::Number(ours) => number(theirs) == Some(*ours),
        RequestId::String(ours) => theirs.as_str() == Some(&**ours),
    }
}

/// Some servers give a number back as text.
fn number(id: &Value) -> Option<i64> {
    id.as_i64().or_else(|| id.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reply_is_known_by_its_id_and_an_error_is_ours_unless_its_id_is_another_number() {
        let id = RequestId::Number(7);
        let result =
            |id: Value| envelope(json!({"jsonrpc": "2.0", "id": id, "result": {"a": 1}}), &RequestId::Number(7));
        assert_eq!(result(json!(7)), Ok(Some(Envelope::Result(json!({"a": 1})))));
        assert_eq!(result(json!("7")), Ok(Some(Envelope::Result(json!({"a": 1})))));
        assert!(matches!(result(json!(8)), Err(Cause::Malformed(_))));
        assert!(matches!(result(Value::Null), Err(Cause::Malformed(_))));
        let error = |theirs: Value| {
            envelope(json!({"jsonrpc": "2.0", "id": theirs, "error": {"code": -32600, "message": "no\u{1b}"}}), &id)
        };
        let expected = Envelope::Error { code: -32600, message: "no\\u{1b}".to_owned() };
        for ours in [json!(7), json!("7"), json!("server-error"), Value::Null] {
            assert_eq!(error(ours), Ok(Some(expected.clone())));
        }
        for anothers in [json!(6), json!("6")] {
            assert_eq!(error(anothers), Ok(None), "another request's");
        }
        assert_eq!(envelope(json!({"jsonrpc": "2.0", "method": "ping", "id": 7}), &id), Ok(None));
        for wrong in [json!([]), json!([1]), json!(1), json!({}), json!({"id": 7}), json!({"id": 7, "error": null})] {
            assert!(matches!(envelope(wrong, &id), Err(Cause::Malformed(_))));
        }
    }

    #[test]
    fn what_would_take_far_more_memory_than_it_has_bytes_is_not_read() {
        let dense = format!("[{}0]", "{\"\":0},".repeat(500_000));
        assert!(dense.len() < 4 << 20, "it is no large body");
        let inside = json!({ "result": { "text": dense } }).to_string();
        for body in [&dense, &inside] {
            assert_eq!(parse(body.as_bytes()), Err(Cause::TooDense(MAX_MEMORY)));
        }
        let prose = json!({ "text": "all is well, and so on. ".repeat(150_000) }).to_string();
        assert!(parse(prose.as_bytes()).is_ok());
    }

    #[test]
    fn an_array_holds_the_reply_wherever_it_stands() {
        let id = RequestId::Number(7);
        let reply = |id: i64| json!({"jsonrpc": "2.0", "id": id, "result": {"of": id}, "error": null});
        let ours = Ok(Some(Envelope::Result(json!({"of": 7}))));
        let told = json!({"jsonrpc": "2.0", "method": "notifications/message"});
        let unnamed = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "?"}});
        for batch in [json!([reply(7)]), json!([1, told, reply(6), reply(7)]), json!([unnamed, reply(7), reply(8)])] {
            assert_eq!(envelope(batch, &id), ours);
        }
        let error = Envelope::Error { code: -32700, message: "?".to_owned() };
        assert_eq!(envelope(json!([told, unnamed]), &id), Ok(Some(error)));
        for none in [json!([told]), json!([1, told]), json!([told, reply(6)])] {
            assert_eq!(envelope(none, &id), Ok(None));
        }
        assert!(matches!(envelope(json!([reply(6)]), &id), Err(Cause::Malformed(_))));
    }
}
