//! The two requests of OAuth: metadata by GET, a token by POST. Bounded, and no redirect is followed.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use minicol_plugin::{hidden, text::foreign};
use serde::{Deserialize, de::DeserializeOwned};
use url::{Url, form_urlencoded};

use super::bearer;
use crate::{Cause, Endpoint, HttpClient, endpoint::shown, transport::wire};

/// No metadata and no token is larger.
const MAX_BODY: usize = 64 * 1024;

/// Asks an authorization server.
pub(super) struct Fetch {
    pub(super) http: HttpClient,
    /// What is at the endpoint's own origin is asked through this one, like the endpoint.
    pub(super) own: (url::Origin, HttpClient),
    /// Whether secrets may go over plain `http://` to another machine.
    pub(super) allow_insecure: bool,
}

/// Why there is no token.
pub(super) struct NotGranted {
    pub(super) cause: Cause,
    /// Set where the server may not have understood who asked: what it said (`http 401, invalid_client`).
    pub(super) of_client: Option<String>,
}

impl From<Cause> for NotGranted {
    fn from(cause: Cause) -> Self {
        Self { cause, of_client: None }
    }
}

/// A token, and how long it holds.
pub(super) struct Granted {
    pub(super) header: HeaderValue,
    pub(super) expires_in: Option<Duration>,
}

#[derive(Deserialize)]
struct Grant {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

impl Fetch {
    /// What stands at `url`; `None` where the server has nothing there, or something else.
    pub(super) async fn json<T: DeserializeOwned>(&self, url: &Url) -> Result<Option<T>, Cause> {
        let mut request = request(url, Method::GET, Bytes::new())?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let response = self.send(url, request).await?;
        if response.status() != StatusCode::OK {
            return Ok(None);
        }
        Ok(serde_json::from_slice(&body(response, url).await?).ok())
    }

    /// Asks for a token with `form`, and `authorization` as its header.
    pub(super) async fn token(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        authorization: Option<HeaderValue>,
    ) -> Result<Granted, NotGranted> {
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = request(url, Method::POST, encoded.into())?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let response = self.send(url, request).await?;
        let status = response.status();
        let bytes = body(response, url).await?;
        if !status.is_success() {
            return Err(not_granted(url, status, &bytes));
        }
        let no_token = || Cause::NoToken(format!("the token endpoint {} answered without a bearer token", shown(url)));
        let grant: Grant = serde_json::from_slice(&bytes).map_err(|_| no_token())?;
        if grant.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(no_token().into());
        }
        // Some servers give the number as text.
        let seconds = grant.expires_in.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        hidden::learn(url.as_str(), &grant.access_token);
        let header = bearer(&grant.access_token).ok_or_else(no_token)?;
        Ok(Granted { header, expires_in: seconds.map(Duration::from_secs) })
    }

    async fn send(&self, url: &Url, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Cause> {
        let (origin, own) = &self.own;
        let elsewhere = url.origin() != *origin;
        let http = if elsewhere { &self.http } else { own };
        let place = url.as_str().parse::<Endpoint>();
        let place = place.map_err(|error| Cause::NoToken(format!("{} {error}", shown(url))))?;
        if let Some(way) = http.plain_text_way(&place)
            && !self.allow_insecure
        {
            let cure = "use https, or set allow_insecure_auth where the network is trusted";
            return Err(Cause::NoToken(format!("{} would be asked {way}: {cure}", shown(url))));
        }
        http.request(request).await.map_err(|error| match lost(wire::cause_of(&error), url) {
            Cause::Tls(what) if elsewhere => Cause::Tls(format!("{what} (see oauth2.tls)")),
            cause => cause,
        })
    }
}

fn request(url: &Url, method: Method, body: Bytes) -> Result<Request<Full<Bytes>>, Cause> {
    let wrong = |_| Cause::NoToken(format!("{} cannot stand in a request", shown(url)));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url.as_str().parse::<Uri>().map_err(wrong)?;
    Ok(request)
}

async fn body(response: Response<Incoming>, url: &Url) -> Result<Bytes, Cause> {
    let read = Limited::new(response.into_body(), MAX_BODY).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| lost(wire::cause_of(&*error), url))
}

/// A failure that names the place: it is not the target's own.
fn lost(cause: Cause, url: &Url) -> Cause {
    let at = |what: String| format!("the authorization server at {}: {what}", shown(url));
    match cause {
        // It is not the target's connection that was lost.
        Cause::Unreachable(what) | Cause::Lost(what) => Cause::Unreachable(at(what)),
        Cause::Proxy(what) => Cause::Proxy(at(what)),
        Cause::ProxyAuth(what) => Cause::ProxyAuth(at(what)),
        Cause::Tls(what) => Cause::Tls(at(what)),
        Cause::ClientCertificate(alert) => Cause::ClientCertificate(at(alert)),
        Cause::Malformed(what) => Cause::NoToken(at(what)),
        other => other,
    }
}

fn not_granted(url: &Url, status: StatusCode, body: &[u8]) -> NotGranted {
    let (place, code) = (shown(url), status.as_u16());
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Cause::ProxyAuth(format!("a proxy before the token endpoint {place} answered http 407")).into();
    }
    if status.is_server_error() {
        return Cause::Unreachable(format!("the token endpoint {place} answered http {code}")).into();
    }
    let refusal = serde_json::from_slice::<Refusal>(body).ok();
    // RFC 6749, 5.2: what may become of a client that is named where the server does not look.
    let of_client = refusal.as_ref().is_none_or(|refusal| {
        matches!(refusal.error.as_str(), "invalid_client" | "invalid_request" | "unauthorized_client")
    });
    let why = match refusal {
        Some(Refusal { error, error_description: None }) => foreign(&error),
        Some(Refusal { error, error_description: Some(more) }) => format!("{}: {}", foreign(&error), foreign(&more)),
        None => "without a reason".to_owned(),
    };
    let said = format!("http {code}, {why}");
    NotGranted {
        cause: Cause::NoToken(format!("the token endpoint {place} refused ({said})")),
        of_client: (of_client && status.is_client_error()).then_some(said),
    }
}
