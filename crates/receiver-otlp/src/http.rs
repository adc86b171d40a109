//! OTLP over HTTP: a POST per signal, in Protobuf or JSON.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use minicol_pdata::Signal;
use tracing::debug;

use crate::{
    intake::Intake,
    refusal::{Encoding, Kind, Refusal},
    unpack::{PACKINGS, Packing},
};

/// Answers one request.
pub(crate) async fn answer(request: Request<Incoming>, intake: Intake) -> Result<Response<Full<Bytes>>, Infallible> {
    let encoding = encoding(request.headers());
    let told = encoding.unwrap_or(Encoding::Protobuf);
    let response = if signal(request.uri().path()).is_some() && request.method() != Method::POST {
        let mut response = told.response(Bytes::new());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        response
    } else {
        match take(request, encoding, &intake).await {
            // All of it is taken: an answer without a partial success.
            Ok(Encoding::Json) => Encoding::Json.response(Bytes::from_static(b"{}")),
            Ok(Encoding::Protobuf) => Encoding::Protobuf.response(Bytes::new()),
            Err(refusal) => {
                intake.refusals.count(&refusal);
                debug!(kind = ?refusal.kind(), why = refusal.message(), "an otlp request is refused");
                let mut response = refusal.response(told);
                if refusal.kind() == Kind::Unsupported {
                    response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(PACKINGS));
                }
                response
            }
        }
    };
    Ok(response.map(Full::new))
}

async fn take(request: Request<Incoming>, encoding: Option<Encoding>, intake: &Intake) -> Result<Encoding, Refusal> {
    let (parts, body) = request.into_parts();
    let signal = signal(parts.uri.path()).ok_or_else(|| {
        Refusal::new(Kind::NotServed, "nothing is served here: OTLP is taken at /v1/metrics, /v1/logs and /v1/traces")
    })?;
    let encoding = encoding.ok_or_else(|| {
        Refusal::new(
            Kind::Unsupported,
            "the content type is not understood: use application/x-protobuf or application/json",
        )
    })?;
    let packing = Packing::named(parts.headers.get(header::CONTENT_ENCODING))?;
    let mut held = intake.budget.hold();
    let reading = async {
        let packed = intake.read(body, 0, &mut held).await?;
        let message = intake.unpack(packing, packed, &mut held).await?;
        intake.decode(signal, encoding, message, held).await
    };
    let request = intake.in_time(reading).await?;
    intake.take(request).await?;
    Ok(encoding)
}

fn signal(path: &str) -> Option<Signal> {
    match path {
        "/v1/metrics" => Some(Signal::Metrics),
        "/v1/logs" => Some(Signal::Logs),
        "/v1/traces" => Some(Signal::Traces),
        _ => None,
    }
}

/// The content type without parameters.
fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Some(Encoding::Protobuf),
        "application/json" => Some(Encoding::Json),
        _ => None,
    }
}
