//! Why a request is not taken, and how that is told in gRPC and in HTTP, so that a sender of OTLP does the right thing.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use minicol_plugin::{Rejected, Retry};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// A request that is not taken.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    kind: Kind,
    message: String,
    /// Not before.
    after: Option<Duration>,
}

/// What the sender shall make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is no OTLP, or the pipeline cannot use it: the same again would fare the same.
    Invalid,
    /// It is larger than is taken. Smaller parts would fare better.
    TooLarge,
    /// It comes in a form that is not understood.
    Unsupported,
    /// Nothing is served there.
    NotServed,
    /// It took too long to arrive.
    TooSlow,
    /// Not now.
    Unavailable,
    /// Too much at once: later.
    Exhausted,
}

/// How a request is answered in HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

/// What a sender is asked to wait where nobody knows better: sending queues drain within seconds.
const WHEN_FULL: Duration = Duration::from_secs(1);

impl Kind {
    /// As the metric's `reason` names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::NotServed => "not_served",
            Self::TooSlow => "too_slow",
            Self::Unavailable => "unavailable",
            Self::Exhausted => "exhausted",
        }
    }
}

impl Refusal {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let after = (kind == Kind::Exhausted).then_some(WHEN_FULL);
        Self { kind, message: message.into(), after }
    }

    /// Its place in the table, for logs.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Why, for a person.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// As gRPC tells it. `RESOURCE_EXHAUSTED` carries `RetryInfo` where waiting helps, and none where it does not.
    pub(crate) fn status(&self) -> Status {
        let code = match self.kind {
            Kind::Invalid => Code::InvalidArgument,
            Kind::TooLarge | Kind::Exhausted => Code::ResourceExhausted,
            Kind::Unsupported | Kind::NotServed => Code::Unimplemented,
            Kind::TooSlow => Code::DeadlineExceeded,
            Kind::Unavailable => Code::Unavailable,
        };
        match self.after {
            None => Status::new(code, self.message.clone()),
            Some(after) => {
                Status::with_error_details(code, self.message.clone(), ErrorDetails::with_retry_info(Some(after)))
            }
        }
    }

    /// As HTTP tells it: with a `google.rpc.Status` as body, encoded as the request was.
    pub(crate) fn response(&self, encoding: Encoding) -> Response<Bytes> {
        let status = match self.kind {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::NotServed => StatusCode::NOT_FOUND,
            // 408 would be final for a sender of OTLP.
            Kind::TooSlow | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        };
        let code = self.status().code() as i32;
        let mut response = match encoding {
            Encoding::Protobuf => {
                let status = tonic_types::pb::Status { code, message: self.message.clone(), details: Vec::new() };
                encoding.response(status.encode_to_vec().into())
            }
            Encoding::Json => {
                let status = serde_json::json!({"code": code, "message": self.message});
                encoding.response(status.to_string().into())
            }
        };
        *response.status_mut() = status;
        if let Some(after) = self.after {
            // Whole seconds, and never earlier than meant.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl Encoding {
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }

    pub(crate) fn response(self, body: Bytes) -> Response<Bytes> {
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, self.content_type());
        response
    }
}

impl From<Rejected> for Refusal {
    /// What the pipeline said. A full queue asks the sender to wait; all else that may pass is `UNAVAILABLE`.
    fn from(rejected: Rejected) -> Self {
        let kind = match (rejected.retry, rejected.reason) {
            (_, "no_pipeline") => Kind::NotServed,
            // More than a sending queue holds: in smaller parts it is taken.
            (Retry::Never, "too_large") => Kind::TooLarge,
            (Retry::Never, _) => Kind::Invalid,
            (_, "queue_full" | "storage_full" | "memory") => Kind::Exhausted,
            _ => Kind::Unavailable,
        };
        let message = match kind {
            // gRPC has no code for it: senders know it by the words.
            Kind::TooLarge => format!("the request is too large: {}", rejected.message),
            _ => rejected.message,
        };
        let refusal = Self::new(kind, message);
        match rejected.retry {
            Retry::After(after) => Self { after: Some(after), ..refusal },
            _ => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pipeline_says_is_told_as_otlp_wants_it() {
        let long = Duration::from_millis(2500);
        for (rejected, code, status, after) in [
            (Rejected::permanent("invalid", "no"), Code::InvalidArgument, 400, None),
            (Rejected::retryable("busy", "no"), Code::Unavailable, 503, None),
            (Rejected::retryable("shutdown", "no"), Code::Unavailable, 503, None),
            (Rejected::retry_after("busy", long, "no"), Code::Unavailable, 503, Some((long, "3"))),
            (Rejected::retryable("queue_full", "no"), Code::ResourceExhausted, 429, Some((WHEN_FULL, "1"))),
            (Rejected::retryable("storage_full", "no"), Code::ResourceExhausted, 429, Some((WHEN_FULL, "1"))),
            (Rejected::retryable("storage_failed", "no"), Code::Unavailable, 503, None),
            (Rejected::retry_after("memory", long, "no"), Code::ResourceExhausted, 429, Some((long, "3"))),
            // A batch that the queue can never hold.
            (Rejected::permanent("too_large", "no"), Code::ResourceExhausted, 413, None),
            (Rejected::permanent("no_pipeline", "no"), Code::Unimplemented, 404, None),
        ] {
            let refusal = Refusal::from(rejected.clone());
            let grpc = refusal.status();
            let said = if status == 413 { "the request is too large: no" } else { "no" };
            assert_eq!((grpc.code(), grpc.message()), (code, said), "{rejected:?}");
            let asked = grpc.get_details_retry_info().and_then(|info| info.retry_delay);
            assert_eq!(asked, after.map(|(after, _)| after), "{rejected:?}");
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                let http = refusal.response(encoding);
                assert_eq!(http.status(), status, "{rejected:?}");
                let header = http.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
                assert_eq!(header, after.map(|(_, seconds)| seconds), "{rejected:?}");
            }
        }
    }

    #[test]
    fn a_request_that_is_too_large_is_not_asked_to_come_again() {
        let status = Refusal::new(Kind::TooLarge, "too large").status();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.get_details_retry_info().is_none());
    }
}
