//! OTLP over gRPC: one unary call per signal. Frames are read here and not by tonic, so that a message stays the bytes that came, and that the
//! bound on its size holds before and after it is unpacked.

use std::convert::Infallible;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use minicol_pdata::Signal;
use tracing::debug;

use crate::{
    body::too_large,
    intake::Intake,
    refusal::{Encoding, Kind, Refusal},
    unpack::{PACKINGS, Packing},
};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A flag and a length stand before a message.
const PREFIX: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Answers one call.
pub(crate) async fn answer(request: Request<Incoming>, intake: Intake) -> Answer {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if request.method() != Method::POST || !kind.is_some_and(|kind| kind.starts_with(GRPC.as_bytes())) {
        let mut response = Response::new(Full::<Bytes>::default().boxed_unsync());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    match call(request, &intake).await {
        Ok(()) => taken(),
        Err(refusal) => {
            intake.refusals.count(&refusal);
            debug!(kind = ?refusal.kind(), why = refusal.message(), "an otlp call is refused");
            let mut response: Answer = refusal.status().into_http::<Full<Bytes>>().map(BodyExt::boxed_unsync);
            let packings = HeaderValue::from_static(PACKINGS);
            response.headers_mut().insert(HeaderName::from_static("grpc-accept-encoding"), packings);
            response
        }
    }
}

async fn call(request: Request<Incoming>, intake: &Intake) -> Result<(), Refusal> {
    let (parts, body) = request.into_parts();
    let signal = signal(parts.uri.path())?;
    let packing = Packing::named(parts.headers.get("grpc-encoding"))?;
    let mut held = intake.budget.hold();
    let reading = async {
        let framed = intake.read(body, PREFIX, &mut held).await?;
        let (packed, message) = unframe(framed, intake.limit)?;
        let packing = if packed { packing } else { Packing::None };
        let message = intake.unpack(packing, message, &mut held).await?;
        intake.decode(signal, Encoding::Protobuf, message, held).await
    };
    let request = intake.in_time(reading).await?;
    intake.take(request).await
}

fn signal(path: &str) -> Result<Signal, Refusal> {
    match path {
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Ok(Signal::Metrics),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Ok(Signal::Logs),
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Ok(Signal::Traces),
        _ => Err(Refusal::new(Kind::NotServed, "this method is not served here: it is an OTLP receiver")),
    }
}

/// The one message of a unary call, and whether it is packed.
fn unframe(mut framed: Bytes, limit: usize) -> Result<(bool, Bytes), Refusal> {
    let wrong = |why: &str| Refusal::new(Kind::Invalid, format!("not one gRPC message: {why}"));
    if framed.len() < PREFIX {
        return Err(wrong("it is cut off"));
    }
    let (flag, length) = (framed.get_u8(), framed.get_u32() as usize);
    if length > limit {
        return Err(too_large(limit));
    }
    match (flag, framed.len()) {
        (0 | 1, there) if there == length => Ok((flag == 1, framed)),
        (0 | 1, there) if there < length => Err(wrong("it is cut off")),
        (0 | 1, _) => Err(wrong("there is more than one")),
        _ => Err(wrong("its flag is unknown")),
    }
}

/// All of it is taken: an empty message, which has no partial success, and the status in the trailers.
fn taken() -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(&[0; PREFIX])).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_exactly_one_message() {
        let unframe = |bytes: &'static [u8]| unframe(Bytes::from_static(bytes), 10).map_err(|refusal| refusal.kind());
        assert_eq!(unframe(&[0, 0, 0, 0, 2, 7, 8]), Ok((false, Bytes::from_static(&[7, 8]))));
        assert_eq!(unframe(&[1, 0, 0, 0, 0]), Ok((true, Bytes::new())));
        for wrong in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 2, 7], &[0, 0, 0, 0, 1, 7, 8], &[2, 0, 0, 0, 0]] {
            assert_eq!(unframe(wrong), Err(Kind::Invalid), "{wrong:?}");
        }
        assert_eq!(unframe(&[0, 0, 0, 0, 11]), Err(Kind::TooLarge));
        assert_eq!(unframe(&[0, 255, 255, 255, 255]), Err(Kind::TooLarge));
    }
}
