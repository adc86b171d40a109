//! One HTTP request and its answer: headers, redirects, and what a status means.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use minicol_plugin::{Clock, text::foreign};
use rmcp::model::RequestId;
use serde_json::Value;
use url::Url;

use super::{Heads, Link, media_type, reply::error_to, wire};
use crate::{Cause, Challenge, endpoint::shown};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const MAX_REDIRECTS: usize = 3;
/// How much of an error's body is read, and for how long: it serves a message.
const MAX_ERROR_BODY: usize = 4096;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest wait that a server can ask for.
const MAX_RETRY_AFTER: u64 = 24 * 3600;

/// A request before it has an address.
pub(super) struct Outgoing<'a> {
    method: Method,
    body: Bytes,
    heads: &'a Heads,
    /// Of a request that wants a reply.
    id: Option<&'a RequestId>,
    last_event_id: Option<&'a str>,
}

impl<'a> Outgoing<'a> {
    /// A request of this id.
    pub(super) fn ask(id: &'a RequestId, body: Bytes, heads: &'a Heads) -> Self {
        Self { id: Some(id), ..Self::tell(body, heads) }
    }

    /// A notification, or an answer.
    pub(super) fn tell(body: Bytes, heads: &'a Heads) -> Self {
        Self { method: Method::POST, body, heads, id: None, last_event_id: None }
    }

    /// The end of a session.
    pub(super) fn delete(heads: &'a Heads) -> Self {
        Self { method: Method::DELETE, ..Self::tell(Bytes::new(), heads) }
    }

    /// The rest of a stream that broke off after the event `id`.
    pub(super) fn resume(id: &'a str, heads: &'a Heads) -> Self {
        Self { method: Method::GET, last_event_id: Some(id), ..Self::tell(Bytes::new(), heads) }
    }

    fn request(&self, uri: Uri) -> Result<Request<Full<Bytes>>, Cause> {
        let wrong = |error: &dyn std::fmt::Display| Cause::Malformed(format!("the request cannot be made: {error}"));
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.heads.all().clone();
        if self.method != Method::POST {
            request.headers_mut().remove(header::CONTENT_TYPE);
        }
        if let Some(id) = self.last_event_id {
            let id = HeaderValue::from_str(id).map_err(|error| wrong(&error))?;
            request.headers_mut().insert(LAST_EVENT_ID, id);
        }
        Ok(request)
    }
}

impl Link {
    /// Sends it, follows redirects, and gives the answer where its status is a success.
    pub(super) async fn send(&self, outgoing: Outgoing<'_>) -> Result<Response<Incoming>, Cause> {
        let server = &*self.0.server;
        let mut uri = self.0.uri.clone()?;
        let mut redirected = None;
        let mut hops = 0;
        let mut authorization = match &server.authorize {
            Some(authorize) => authorize.header().await?,
            None => None,
        };
        let mut may_renew = server.authorize.as_ref();
        let files = server.header_files.as_ref();
        let mut from_files = match files {
            Some(files) => files.headers().await?,
            None => HeaderMap::new(),
        };
        let mut may_read_again = files;
        loop {
            let mut request = outgoing.request(uri.clone())?;
            for (name, value) in &from_files {
                request.headers_mut().insert(name.clone(), value.clone());
            }
            if let Some(authorization) = &authorization {
                request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
            }
            let answered = server.http.request(request).await;
            let response = answered.map_err(|error| wire::cause_of_request(&error, &uri))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED
                && let Some(authorize) = may_renew.take()
            {
                let other = authorize.renew(authorization.as_ref(), &Challenge::of(response.headers())).await?;
                if other.is_some() {
                    authorization = other;
                    continue;
                }
            }
            if matches!(status.as_u16(), 401 | 403)
                && let Some(files) = may_read_again.take()
                && let Some(other) = files.renew(&from_files).await?
            {
                from_files = other;
                continue;
            }
            if !status.is_redirection() {
                return Err(self.refusal(response, &outgoing).await);
            }
            let from = redirected.as_ref().unwrap_or_else(|| server.endpoint.url());
            let to = next_hop(from, status, response.headers(), hops)?;
            uri = to
                .as_str()
                .parse()
                .map_err(|error| Cause::Malformed(format!("the request cannot be made: {error}")))?;
            redirected = Some(to);
            hops += 1;
        }
    }

    async fn refusal(&self, response: Response<Incoming>, outgoing: &Outgoing<'_>) -> Cause {
        let status = response.status();
        let retry_after = retry_after(response.headers(), &*self.0.server.clock);
        let cause = match (status.as_u16(), retry_after) {
            (401 | 403, _) => Cause::Refused(status.as_u16()),
            (407, _) => Cause::ProxyAuth(match self.0.server.http.proxy_before(&self.0.server.endpoint) {
                Some(proxy) => format!("the proxy {proxy} answered http 407"),
                None => "a proxy answered http 407".to_owned(),
            }),
            (429, retry_after) => Cause::Throttled { status: 429, retry_after },
            (503, Some(wait)) => Cause::Throttled { status: 503, retry_after: Some(wait) },
            (502..=504, _) => Cause::Gateway(status.as_u16()),
            (status, _) => error_of(status, response, outgoing.id).await,
        };
        // Current servers say 404 where the session is unknown; older ones say 400 or 401.
        let may_be_lost = match (status.as_u16(), &cause) {
            (404 | 401, _) => true,
            // An answer to the very request, unless it speaks of the session.
            (400, Cause::Rpc { message, .. }) => message.to_lowercase().contains("session"),
            (status, _) => status == 400,
        };
        if outgoing.heads.in_session() && may_be_lost { Cause::SessionLost(Box::new(cause)) } else { cause }
    }
}

/// Where a redirect leads, if it is one to follow: 307 or 308, on the same origin (another one must never see the headers), not too often.
fn next_hop(from: &Url, status: StatusCode, headers: &HeaderMap, hops: usize) -> Result<Url, Cause> {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let to = location.and_then(|location| from.join(location).ok());
    let refused = |reason: &'static str| Cause::Redirect {
        status: status.as_u16(),
        location: to.as_ref().map_or_else(|| "nowhere".to_owned(), |to| foreign(&shown(to))),
        reason,
    };
    let Some(to) = &to else { return Err(refused("it names no place")) };
    if !matches!(status.as_u16(), 307 | 308) {
        return Err(refused("only 307 and 308 keep a request as it is"));
    }
    if to.origin() != from.origin() || !to.username().is_empty() || to.password().is_some() {
        return Err(refused("it leads to another origin"));
    }
    if hops >= MAX_REDIRECTS {
        return Err(refused("it is one redirect too many"));
    }
    Ok(to.clone())
}

/// How long the server asks to wait: seconds, or a date by our wall clock (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
    }
    let at = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_nanos(clock.wall().as_nanos());
    Some(at.saturating_sub(now).min(Duration::from_secs(MAX_RETRY_AFTER)))
}

/// What an error says: the JSON-RPC error to the request `id`, as servers without sessions answer; else the status, with the message of another
/// JSON-RPC error, or with plain text. Pages for a browser say nothing to us.
async fn error_of(status: u16, response: Response<Incoming>, id: Option<&RequestId>) -> Cause {
    if media_type(response.headers()) == "text/html" {
        return Cause::Status { status, text: String::new() };
    }
    let read = async {
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(data) = frame.data_ref() {
                bytes.extend_from_slice(&data[..data.len().min(MAX_ERROR_BODY - bytes.len())]);
            }
            if bytes.len() == MAX_ERROR_BODY {
                break;
            }
        }
        bytes
    };
    let bytes = tokio::time::timeout(ERROR_BODY_TIMEOUT, read).await.unwrap_or_default();
    let Ok(message) = serde_json::from_slice::<Value>(&bytes) else {
        return Cause::Status { status, text: foreign(&String::from_utf8_lossy(&bytes)) };
    };
    if let Some(cause) = id.and_then(|id| error_to(&message, id)) {
        return cause;
    }
    let text = match message.pointer("/error/message").and_then(Value::as_str) {
        Some(said) => foreign(said),
        None => foreign(&String::from_utf8_lossy(&bytes)),
    };
    Cause::Status { status, text }
}
