use std::borrow::Cow;

use http::{HeaderValue, Response, StatusCode, header};
use rmcp::model::{ErrorCode, ErrorData, JsonRpcError, RequestId};

use crate::reply::{Answer, plain};

/// Why there is no answer.
pub(super) enum Refusal {
    /// The request is none of MCP, or not of this server: told in words.
    Words(StatusCode, Cow<'static, str>),
    /// Only these methods of HTTP are taken here.
    Method(&'static str),
    /// An error of JSON-RPC.
    Error(ErrorData),
}

impl Refusal {
    pub(super) const MISSING_SESSION: Self =
        Self::Words(StatusCode::BAD_REQUEST, Cow::Borrowed("Bad Request: Session ID is required"));
    pub(super) const UNKNOWN_SESSION: Self =
        Self::Words(StatusCode::NOT_FOUND, Cow::Borrowed("Not Found: Session not found"));

    /// A body that is no message.
    pub(super) fn unread(why: &str) -> Self {
        Self::Words(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("fail to deserialize request body {why}").into())
    }

    /// Headers that say something else than the message.
    pub(super) fn mismatch(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Error(ErrorData::header_mismatch(why, None))
    }

    /// The response to the request `id`, where there is one.
    pub(super) fn response(self, id: Option<RequestId>) -> Response<Answer> {
        match self {
            Self::Words(status, words) => plain(status, "", words.into_owned()),
            Self::Method(allowed) => {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "", "Method Not Allowed");
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
                response
            }
            Self::Error(error) => {
                let status = match error.code {
                    ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
                    ErrorCode::INTERNAL_ERROR => StatusCode::INTERNAL_SERVER_ERROR,
                    _ => StatusCode::BAD_REQUEST,
                };
                plain(status, "application/json", message(id, error))
            }
        }
    }
}

/// An error as a message.
pub(super) fn message(id: Option<RequestId>, error: ErrorData) -> String {
    // Nothing in it cannot be written.
    serde_json::to_string(&JsonRpcError::new(id, error)).unwrap_or_default()
}
