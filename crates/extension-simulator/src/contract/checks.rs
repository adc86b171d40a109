//! What is looked at before a message is: what it says of itself must hold, and agree.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, StatusCode, header};
use rmcp::model::{ErrorData, ProtocolVersion};
use serde_json::Value;

use super::{
    PROTOCOL_VERSION,
    message::{Message, Request},
    refusal::Refusal,
};
use crate::asked::text;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The media types of a POST.
pub(super) fn media(headers: &HeaderMap) -> Result<(), Refusal> {
    if !(takes(headers, JSON) && takes(headers, EVENTS)) {
        let words = "Not Acceptable: Client must accept both application/json and text/event-stream";
        return Err(Refusal::Words(StatusCode::NOT_ACCEPTABLE, words.into()));
    }
    if !text(headers, header::CONTENT_TYPE.as_str()).is_some_and(|value| essence(value).eq_ignore_ascii_case(JSON)) {
        let words = "Unsupported Media Type: Content-Type must be application/json";
        return Err(Refusal::Words(StatusCode::UNSUPPORTED_MEDIA_TYPE, words.into()));
    }
    Ok(())
}

/// The media type of a GET.
pub(super) fn takes_events(headers: &HeaderMap) -> Result<(), Refusal> {
    let words = "Not Acceptable: Client must accept text/event-stream";
    if takes(headers, EVENTS) { Ok(()) } else { Err(Refusal::Words(StatusCode::NOT_ACCEPTABLE, words.into())) }
}

/// Whether a media type is accepted by its name, and not weighed with nothing.
fn takes(headers: &HeaderMap, wanted: &str) -> bool {
    let weighs_nothing = |parameter: &str| {
        let quality = parameter.trim().split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        quality.is_some_and(|(_, value)| value.trim().parse() == Ok(0.0))
    };
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|one| essence(one).eq_ignore_ascii_case(wanted) && !one.split(';').skip(1).any(weighs_nothing))
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// Whether the headers alone say that there are no sessions.
pub(super) fn is_newest(headers: &HeaderMap) -> bool {
    text(headers, PROTOCOL_VERSION) >= Some(ProtocolVersion::NO_INITIALIZE.as_str())
}

/// What header and message say of the version.
pub(super) fn version(headers: &HeaderMap, request: Option<&Request>) -> Result<(), Refusal> {
    let told = text(headers, PROTOCOL_VERSION);
    let in_meta = request.and_then(Request::version);
    let is_known = |told| ProtocolVersion::KNOWN_VERSIONS.iter().any(|version| version.as_str() == told);
    if let Some(told) = told
        && in_meta.is_none()
        && !is_known(told)
    {
        let words = format!("Bad Request: Unsupported MCP-Protocol-Version: {told}");
        return Err(Refusal::Words(StatusCode::BAD_REQUEST, words.into()));
    }
    let Some(request) = request else { return Ok(()) };
    if request.method == "initialize" {
        let wanted = request.params.get("protocolVersion").and_then(Value::as_str);
        return match (told, wanted) {
            (Some(told), Some(wanted)) if told != wanted => Err(Refusal::Error(ErrorData::invalid_request(
                format!(
                    "Invalid Request: MCP-Protocol-Version header ({told}) does not match initialize params.protocolVersion ({wanted})"
                ),
                None,
            ))),
            _ => Ok(()),
        };
    }
    match (in_meta, told) {
        (None, _) if request.method == "server/discover" || is_newest(headers) => {
            Err(Refusal::Error(ErrorData::invalid_params(format!("Invalid params: {}", lacking(request)), None)))
        }
        (Some(_), None) => Err(Refusal::mismatch("request _meta protocolVersion requires MCP-Protocol-Version header")),
        (Some(version), Some(told)) if version.as_str() != told => Err(Refusal::mismatch(format!(
            "MCP-Protocol-Version header ({told}) does not match request _meta protocolVersion ({version})"
        ))),
        _ => Ok(()),
    }
}

/// What is missing in `_meta`, as it is told.
pub(super) fn lacking(request: &Request) -> String {
    format!("request _meta is missing or has malformed required fields: {}", request.lacks().join(", "))
}

/// Whether the request is of a version with sessions. One whose `_meta` says all that the version without wants needs none, whatever its version.
pub(super) fn has_sessions(headers: &HeaderMap, request: Option<&Request>) -> bool {
    let Some(request) = request else { return !is_newest(headers) };
    if request.method == "initialize" {
        return true;
    }
    let older = request.version().map_or_else(|| !is_newest(headers), |version| version.has_initialize());
    older && !request.lacks().is_empty()
}

/// From 2026-07-28 on, headers repeat what stands in the message, for what passes it on without reading it (SEP-2243).
pub(super) fn standard_headers(headers: &HeaderMap, message: &Message) -> Result<(), Refusal> {
    if !is_newest(headers) {
        return Ok(());
    }
    let (method, params) = match message {
        // Who initializes does not know yet that they are wanted.
        Message::Request(request) if request.method == "initialize" && !headers.contains_key(METHOD) => return Ok(()),
        Message::Request(request) => (&request.method, &request.params),
        Message::Notification(notification) => (&notification.method, &notification.params),
        Message::Reply => return Ok(()),
    };
    match sole(headers, METHOD)? {
        None => return Err(Refusal::mismatch(format!("missing required {METHOD} header"))),
        Some(told) if told != method => {
            let why = format!("{METHOD} header `{told}` does not match body method `{method}`");
            return Err(Refusal::mismatch(why));
        }
        Some(_) => {}
    }
    let Some(name) = named(method).and_then(|key| params.get(key)?.as_str()) else { return Ok(()) };
    let Some(told) = sole(headers, NAME)? else {
        return Err(Refusal::mismatch(format!("missing required {NAME} header for `{method}`")));
    };
    let told = decoded(told).ok_or_else(|| Refusal::mismatch(format!("{NAME} header is not valid Base64")))?;
    if told == name {
        Ok(())
    } else {
        Err(Refusal::mismatch(format!("{NAME} header `{told}` does not match body value `{name}`")))
    }
}

const METHOD: &str = "Mcp-Method";
const NAME: &str = "Mcp-Name";

/// The parameter that `Mcp-Name` repeats.
fn named(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

/// A header that may stand there once.
fn sole<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::mismatch(format!("duplicate {name} header")));
    }
    let invalid = |_| Refusal::mismatch(format!("{name} header contains invalid characters"));
    first.map(|value| value.to_str().map_err(invalid)).transpose()
}

/// A header's value: in Base64 where it could not stand there by itself.
fn decoded(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|inner| inner.strip_suffix("?=")) {
        Some(inner) => String::from_utf8(BASE64_STANDARD.decode(inner).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}
