//! The headers of a session's requests, made once.

use std::iter;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Link;
use crate::param_heads;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What goes with each request of a session: the user's headers, and over them what the protocol needs.
#[derive(Clone, Debug)]
pub(crate) struct Heads(HeaderMap);

impl Link {
    /// Those of a session, or of none yet; `protocol` names the version, where one is agreed on.
    pub(super) fn heads(&self, protocol: Option<(HeaderName, HeaderValue)>, session: Option<HeaderValue>) -> Heads {
        let mut headers = self.0.server.headers.clone();
        headers.remove(header::CONTENT_LENGTH); // the client knows it better
        headers.remove(header::TRANSFER_ENCODING);
        headers.extend(protocol);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(session) = session {
            headers.insert(SESSION_ID, session);
        }
        Heads(headers)
    }
}

impl Heads {
    /// Whether there is a session.
    pub(crate) fn in_session(&self) -> bool {
        self.0.contains_key(SESSION_ID)
    }

    /// What the server calls it.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session_value()?.to_str().ok()
    }

    pub(super) fn session_value(&self) -> Option<&HeaderValue> {
        self.0.get(SESSION_ID)
    }

    /// The same for one request, with the headers that say what it is (SEP-2243, from 2026-07-28 on).
    pub(crate) fn naming(&self, method: &str, name: Option<&str>, params: Vec<(HeaderName, String)>) -> Self {
        let mut headers = self.0.clone();
        let named = name.map(|name| (NAME, name.to_owned()));
        for (header, text) in iter::once((METHOD, method.to_owned())).chain(named).chain(params) {
            if let Ok(value) = HeaderValue::from_str(&as_header(&text)) {
                headers.insert(header, value);
            }
        }
        Self(headers)
    }

    /// The same for answers to what the server asks within its reply, which has the headers `reply`: they name no method, and belong to the session
    /// that the reply makes.
    pub(super) fn of_answers(&self, reply: &HeaderMap) -> Self {
        let mut headers = self.0.clone();
        let of_request = |header: &&HeaderName| [METHOD, NAME].contains(*header) || param_heads::is_one(header);
        for header in self.0.keys().filter(of_request) {
            headers.remove(header);
        }
        if let Some(session) = reply.get(SESSION_ID) {
            headers.insert(SESSION_ID, session.clone());
        }
        Self(headers)
    }

    pub(super) fn all(&self) -> &HeaderMap {
        &self.0
    }
}

/// As SEP-2243 writes what no header can carry as it is.
fn as_header(value: &str) -> String {
    let plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && value.trim() == value;
    if plain && !value.starts_with("=?base64?") {
        value.to_owned()
    } else {
        format!("=?base64?{}?=", BASE64_STANDARD.encode(value))
    }
}

#[cfg(test)]
mod tests {
    use super::as_header;

    #[test]
    fn a_name_that_no_header_can_carry_is_wrapped() {
        for (name, header) in [("get_a", "get_a"), (" a", "=?base64?IGE=?="), ("\u{e4}", "=?base64?w6Q=?=")] {
            assert_eq!(as_header(name), header);
        }
    }
}
