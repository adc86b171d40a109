//! The first bytes of a connection, read before it is served: they tell the version of HTTP, and whether the client says anything at all.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::BoxIo;

/// What every HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose client has begun to speak. What it said is read again.
pub(super) struct Begun {
    said: Vec<u8>,
    read: usize,
    inner: BoxIo,
}

impl Begun {
    /// Reads until it is clear whether this is HTTP/2. An error where the client ends before.
    pub(super) async fn of(mut inner: BoxIo) -> io::Result<Self> {
        let mut said = Vec::with_capacity(PREFACE.len());
        loop {
            let mut buffer = [0; PREFACE.len()];
            let room = PREFACE.len() - said.len();
            let count = inner.read(&mut buffer[..room]).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            said.extend_from_slice(&buffer[..count]);
            if said.len() == PREFACE.len() || !PREFACE.starts_with(&said) {
                return Ok(Self { said, read: 0, inner });
            }
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        self.said == PREFACE
    }
}

impl AsyncRead for Begun {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read < self.said.len() {
            let count = buffer.remaining().min(self.said.len() - self.read);
            buffer.put_slice(&self.said[self.read..self.read + count]);
            self.read += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
