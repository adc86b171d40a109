//! Responses made by hand: whole, cut off, or without an end.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Frame};
use serde_json::Value;

pub(crate) type Answer = UnsyncBoxBody<Bytes, io::Error>;

/// A body of unknown length, as a stream of events is.
pub(crate) struct Stream {
    chunks: VecDeque<Bytes>,
    end: End,
}

enum End {
    /// As it should be.
    Whole,
    /// The connection breaks; first what was said is sent, so that the other end has a head and half a body.
    Cut { sent: bool },
    /// Not before this is over.
    Open(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Stream {
    pub(crate) fn whole(text: String) -> Answer {
        Self { chunks: VecDeque::from([text.into()]), end: End::Whole }.boxed_unsync()
    }

    pub(crate) fn cut(text: &'static str) -> Answer {
        Self { chunks: VecDeque::from([text.into()]), end: End::Cut { sent: false } }.boxed_unsync()
    }

    pub(crate) fn open(first: &'static str, until: impl Future<Output = ()> + Send + 'static) -> Answer {
        let chunks = Some(first).filter(|first| !first.is_empty()).map(Bytes::from);
        Self { chunks: chunks.into_iter().collect(), end: End::Open(Box::pin(until)) }.boxed_unsync()
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &mut self.end {
            End::Whole => Poll::Ready(None),
            End::Cut { sent: true } => Poll::Ready(Some(Err(io::Error::other("cut off, as told")))),
            End::Cut { sent } => {
                *sent = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Open(end) => end.as_mut().poll(context).map(|()| None),
        }
    }
}

/// A response with a body of known length.
pub(crate) fn plain(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    if !content_type.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// A reply as the released server writes it: one event, with CRLF, then the end of the stream.
pub(crate) fn event(id: &Value, member: &str, json: &str) -> Response<Answer> {
    let text = format!("event: message\r\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":{json}}}\r\n\r\n");
    stream(Stream::whole(text))
}

/// The head of a stream of events.
pub(crate) fn stream(body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
