//! What an answer means: delivered, delivered in part, to be tried again, or lost. The rules are OTLP's
//! (<https://opentelemetry.io/docs/specs/otlp/>), read as the OpenTelemetry Collector reads them.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use minicol_pdata::{Batch, Signal, Timestamp};
use minicol_plugin::{Delivered, ExportError, Retry, text};
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
    trace::v1::ExportTraceServiceResponse,
};
use prost::Message;
use tonic::Code;

use crate::config::Encoding;

/// An OTLP request as it stands in the batch.
pub(crate) struct Request {
    pub(crate) signal: Signal,
    pub(crate) body: bytes::Bytes,
}

impl Request {
    /// The bytes of a batch; observations are no OTLP.
    pub(crate) fn of(batch: &Batch, encoding: Encoding) -> Result<Self, ExportError> {
        let body = match (batch, encoding) {
            (Batch::Metrics(batch), Encoding::Proto) => batch.encode(),
            (Batch::Metrics(batch), Encoding::Json) => batch.to_json(),
            (Batch::Logs(batch), Encoding::Proto) => batch.encode(),
            (Batch::Logs(batch), Encoding::Json) => batch.to_json(),
            (Batch::Traces(batch), Encoding::Proto) => batch.encode(),
            (Batch::Traces(batch), Encoding::Json) => batch.to_json(),
            (Batch::Observations(_), _) => {
                return Err(ExportError::permanent(
                    "signal",
                    "OTLP carries metrics, logs and traces, but no observations: put `mapping` before the exporter",
                ));
            }
        };
        Ok(Self { signal: batch.signal(), body })
    }
}

/// The same in JSON.
pub(crate) fn delivered_json(signal: Signal, answer: &[u8]) -> Delivered {
    let answer: serde_json::Value = match serde_json::from_slice(answer) {
        Ok(answer) => answer,
        Err(error) => return unreadable(&error.to_string()),
    };
    let Some(partial) = answer.get("partialSuccess") else { return Delivered::default() };
    let field = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Traces => "rejectedSpans",
        Signal::Metrics | Signal::Observations => "rejectedDataPoints",
    };
    // 64-bit numbers are text in Protobuf's JSON, and numbers with some servers.
    let rejected = partial.get(field).and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    let message = partial.get("errorMessage").and_then(|message| message.as_str()).filter(|text| !text.is_empty());
    Delivered { rejected: rejected.unwrap_or(0), message: message.map(text::foreign), rest: Vec::new() }
}

/// Whether a refusal means that the message was too large: each library says so in words of its own, for there is no code for it.
pub(crate) fn grpc_too_large(code: Code, message: &str) -> bool {
    matches!(code, Code::ResourceExhausted | Code::OutOfRange) && TOO_LARGE.iter().any(|words| message.contains(words))
}

/// grpc-go, the C core (Python, Ruby, PHP, Node.js) and tonic; minicol and gateways; grpc-java; .NET.
const TOO_LARGE: [&str; 4] =
    ["larger than", "too large", "exceeds maximum size", "exceeds the maximum configured message size"];

/// What an OTLP answer says: everything taken, or a part refused. An answer that is none came from a server that took the batch all the
/// same: that is a warning, for another attempt would deliver twice.
pub(crate) fn delivered(signal: Signal, answer: &[u8]) -> Delivered {
    match partial_success(signal, answer) {
        Ok(None) => Delivered::default(),
        Ok(Some((rejected, message))) => Delivered {
            // A negative count is a server's mistake.
            rejected: u64::try_from(rejected).unwrap_or(0),
            message: (!message.is_empty()).then(|| text::foreign(&message)),
            rest: Vec::new(),
        },
        Err(error) => unreadable(&error.to_string()),
    }
}

/// Delivered, but the answer cannot be read.
pub(crate) fn unreadable(why: &str) -> Delivered {
    let message = format!("the server took the batch, but its answer is no OTLP answer: {}", text::foreign(why));
    Delivered { message: Some(message), ..Delivered::default() }
}

fn partial_success(signal: Signal, answer: &[u8]) -> Result<Option<(i64, String)>, prost::DecodeError> {
    Ok(match signal {
        Signal::Logs => ExportLogsServiceResponse::decode(answer)?
            .partial_success
            .map(|partial| (partial.rejected_log_records, partial.error_message)),
        Signal::Traces => ExportTraceServiceResponse::decode(answer)?
            .partial_success
            .map(|partial| (partial.rejected_spans, partial.error_message)),
        Signal::Metrics | Signal::Observations => ExportMetricsServiceResponse::decode(answer)?
            .partial_success
            .map(|partial| (partial.rejected_data_points, partial.error_message)),
    })
}

/// Whether a gRPC code is worth another attempt. `asked` is the delay of a `RetryInfo`, where the server sent one.
pub(crate) fn grpc_retry(code: Code, asked: Option<Duration>) -> Retry {
    let again = match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        // Without RetryInfo the server will not recover by waiting: a message too large, a quota used up.
        Code::ResourceExhausted => asked.is_some(),
        _ => false,
    };
    match asked {
        _ if !again => Retry::Never,
        Some(delay) if !delay.is_zero() => Retry::After(delay),
        _ => Retry::Backoff,
    }
}

/// A gRPC code's name, as the specification writes it.
pub(crate) const fn grpc_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What a person can do about a gRPC code.
pub(crate) const fn grpc_cure(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => {
            "; check the exporter's headers: does the server want a token?"
        }
        Code::Unimplemented => {
            "; the server does not serve this signal: is it an OTLP receiver, with a pipeline for it?"
        }
        Code::ResourceExhausted => "; is the batch larger than the server takes, or a quota used up?",
        _ => "",
    }
}

/// Whether an HTTP status is worth another attempt, and when. `now` is the wall clock, for a `Retry-After` that is a date.
pub(crate) fn http_retry(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Retry {
    let throttles = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    match status {
        _ if throttles => match retry_after(headers, now) {
            Some(delay) if !delay.is_zero() => Retry::After(delay),
            _ => Retry::Backoff,
        },
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Retry::Backoff,
        _ => Retry::Never,
    }
}

/// What a person can do about an HTTP status.
pub(crate) const fn http_cure(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "; check the exporter's headers: does the server want a token?",
        404 | 405 => {
            "; is OTLP over HTTP served under this path? `endpoint` is the base, to which /v1/metrics and the like are added"
        }
        413 => "; a single item is larger than the server takes",
        415 => "; the server does not take this encoding or compression: is it OTLP over HTTP?",
        _ => "",
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some((Timestamp::UNSET + date).since(now))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// 2026-01-01T00:00:00Z, a Thursday.
    const NOW: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, retry) in [
            ("7", Retry::After(Duration::from_secs(7))),
            ("0", Retry::Backoff),
            ("Thu, 01 Jan 2026 00:01:30 GMT", Retry::After(Duration::from_secs(90))),
            ("Wed, 31 Dec 2025 23:59:00 GMT", Retry::Backoff),
            ("soon", Retry::Backoff),
            ("-1", Retry::Backoff),
            ("99999999999999999999", Retry::Backoff),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(http_retry(StatusCode::SERVICE_UNAVAILABLE, &headers, NOW), retry, "{text}");
            assert_eq!(http_retry(StatusCode::TOO_MANY_REQUESTS, &headers, NOW), retry, "{text}");
            assert_eq!(http_retry(StatusCode::BAD_GATEWAY, &headers, NOW), Retry::Backoff, "{text}");
            assert_eq!(http_retry(StatusCode::BAD_REQUEST, &headers, NOW), Retry::Never, "{text}");
        }
    }

    #[test]
    fn every_http_status_but_four_is_final() {
        for status in (100..600).filter_map(|code| StatusCode::from_u16(code).ok()) {
            let expected = if matches!(status.as_u16(), 429 | 502 | 503 | 504) { Retry::Backoff } else { Retry::Never };
            assert_eq!(http_retry(status, &HeaderMap::new(), NOW), expected, "{status}");
        }
    }

    #[test]
    fn every_grpc_code_is_classified_as_the_collector_does() {
        let retried = [1, 4, 10, 11, 14, 15];
        let second = Duration::from_secs(1);
        for number in 0..=16 {
            let code = Code::from(number);
            let alone = if retried.contains(&number) { Retry::Backoff } else { Retry::Never };
            assert_eq!(grpc_retry(code, None), alone, "{code:?}");
            let asked = if retried.contains(&number) || number == 8 { Retry::After(second) } else { Retry::Never };
            assert_eq!(grpc_retry(code, Some(second)), asked, "{code:?}");
        }
        assert_eq!(grpc_retry(Code::ResourceExhausted, Some(Duration::ZERO)), Retry::Backoff);
    }

    #[test]
    fn a_refusal_for_size_is_known_in_the_words_of_each_library() {
        for (code, message) in [
            (Code::ResourceExhausted, "grpc: received message larger than max (5118829 vs. 4194304)"),
            (Code::ResourceExhausted, "grpc: received message after decompression larger than max 4194304"),
            (Code::ResourceExhausted, "Received message larger than max (17777780 vs. 4194304)"),
            (Code::ResourceExhausted, "gRPC message exceeds maximum size 4194304: 5118829"),
            (Code::ResourceExhausted, "Received message exceeds the maximum configured message size."),
            (
                Code::OutOfRange,
                "Error, decoded message length too large: found 5118829 bytes, the limit is: 4194304 bytes",
            ),
            (Code::ResourceExhausted, "the request is too large: a batch of 9 items never fits the sending queue (5)"),
        ] {
            assert!(grpc_too_large(code, message), "{message}");
            assert!(!grpc_too_large(Code::InvalidArgument, message));
        }
        assert!(!grpc_too_large(Code::ResourceExhausted, "quota of the day"));
    }

    #[test]
    fn an_answer_that_is_no_protobuf_is_a_delivery_with_a_warning() {
        let told = delivered(Signal::Metrics, b"<html>\x1b[31m");
        assert_eq!(told.rejected, 0);
        assert!(told.message.is_some_and(|said| said.starts_with("the server took the batch")));
        assert_eq!(delivered(Signal::Metrics, b""), Delivered::default());
    }
}
