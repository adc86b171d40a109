//! Answers to what a server asks while its reply is waited for: a ping is answered, everything else is unknown here.

use std::{slice, time::Duration};

use serde_json::{Value, json};

use super::{Heads, Link};

/// How many requests of the server are answered while one reply of its is waited for.
const MAX_ANSWERS: usize = 16;
/// A longer id is not sent back.
const MAX_ID: usize = 256;
/// How long an answer may take: it is the server that waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// JSON-RPC: the method is not known.
const METHOD_NOT_FOUND: i32 = -32601;

/// Those to the requests of one stream.
pub(super) struct Answers {
    link: Link,
    heads: Heads,
    left: usize,
}

impl Answers {
    pub(super) fn new(link: &Link, heads: Heads) -> Self {
        Self { link: link.clone(), heads, left: MAX_ANSWERS }
    }

    /// Answers what `message` asks, in the background. Where that fails the server's own patience decides.
    pub(super) fn to(&mut self, message: &Value) {
        let batch = if let Value::Array(batch) = message { batch } else { slice::from_ref(message) };
        for answer in batch.iter().filter_map(answer) {
            let Some(left) = self.left.checked_sub(1) else { return };
            self.left = left;
            let (link, heads) = (self.link.clone(), self.heads.clone());
            tokio::spawn(tokio::time::timeout(ANSWER_TIMEOUT, async move {
                link.tell(answer.to_string().into(), &heads).await
            }));
        }
    }
}

/// The answer to `message`, where it is a request.
fn answer(message: &Value) -> Option<Value> {
    let method = message.get("method")?.as_str()?;
    let id = message.get("id").filter(|id| id.is_number() || id.as_str().is_some_and(|id| id.len() <= MAX_ID))?;
    Some(if method == "ping" {
        json!({"jsonrpc": "2.0", "id": id, "result": {}})
    } else {
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": METHOD_NOT_FOUND, "message": "Method not found"}})
    })
}
