use rmcp::model::{JsonObject, ProtocolVersion, RequestId, RequestMetaObject};
use serde_json::Value;

/// What a client may send.
pub(super) enum Message {
    Request(Request),
    /// What it tells, by its method.
    Notification(Request<()>),
    /// A reply, though it was asked nothing.
    Reply,
}

/// A request, or a notification, which has no id.
pub(super) struct Request<Id = RequestId> {
    pub(super) id: Id,
    pub(super) method: String,
    pub(super) params: Value,
}

impl Message {
    /// Reads a message of JSON-RPC; `None` where it is none.
    pub(super) fn of(value: Value) -> Option<Self> {
        let Value::Object(mut members) = value else { return None };
        if members.get("jsonrpc")? != "2.0" {
            return None;
        }
        let is_reply = members.contains_key("result") || members.contains_key("error");
        match (members.remove("method"), is_reply) {
            (Some(Value::String(method)), false) => {
                let params = members.remove("params").unwrap_or_default();
                if !(is_map(Some(&params)) && is_map(params.get("_meta"))) {
                    return None;
                }
                Some(match members.remove("id") {
                    Some(id) => Self::Request(Request { id: serde_json::from_value(id).ok()?, method, params }),
                    None => Self::Notification(Request { id: (), method, params }),
                })
            }
            (None, true) => Some(Self::Reply),
            _ => None,
        }
    }

    pub(super) fn request(&self) -> Option<&Request> {
        match self {
            Self::Request(request) => Some(request),
            Self::Notification(_) | Self::Reply => None,
        }
    }
}

/// A map, or nothing.
fn is_map(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_object() || value.is_null())
}

impl Request {
    /// The version that its `_meta` names.
    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        serde_json::from_value(self.meta()?.get(VERSION_KEY)?.clone()).ok()
    }

    /// What the version without sessions wants in `_meta` and is not there.
    pub(super) fn lacks(&self) -> Vec<&'static str> {
        let there = |key: &str| match self.meta().and_then(|meta| meta.get(key)) {
            Some(value) if key == VERSION_KEY => value.is_string(),
            value => value.is_some_and(Value::is_object),
        };
        RequestMetaObject::DRAFT_REQUIRED_KEYS.into_iter().filter(|key| !there(key)).collect()
    }

    fn meta(&self) -> Option<&JsonObject> {
        self.params.get("_meta")?.as_object()
    }
}

const VERSION_KEY: &str = RequestMetaObject::DRAFT_REQUIRED_KEYS[0];
