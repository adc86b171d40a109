//! What a server says first. A server that speaks another protocol often closes the connection at once, and the error that reaches us tells of a
//! broken pipe and nothing more; its first bytes tell what it is, so that the message can say what to write instead.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use minicol_plugin::{
    async_trait,
    net::{BoxIo, Listener, Network},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a server seems to speak, by the first bytes of the last connection on which it said anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has said nothing.
    #[default]
    Nothing,
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
    /// TLS, and it refuses what is none.
    TlsAlert,
    /// Something else, such as TLS that goes well.
    Other,
}

/// A network whose connections remember what the server said first.
#[derive(Clone)]
pub(crate) struct Ears {
    network: Arc<dyn Network>,
    /// By host and port: an exporter has three at most.
    heard: Arc<Mutex<HashMap<(String, u16), Heard>>>,
}

/// Enough to tell an HTTP/2 frame: three bytes of length, type, flags, and one more for `HTTP/1`.
const FIRST: usize = 6;

struct Connection {
    inner: BoxIo,
    first: Vec<u8>,
    ears: Ears,
    server: (String, u16),
}

impl Ears {
    pub(crate) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, heard: Arc::default() }
    }

    /// What `host:port` said first, the last time it said anything.
    pub(crate) fn heard(&self, host: &str, port: u16) -> Heard {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&(host.to_owned(), port)).copied().unwrap_or_default()
    }

    fn set(&self, server: (String, u16), what: Heard) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(server, what);
    }
}

impl Heard {
    fn of(first: &[u8]) -> Self {
        match first {
            [] => Self::Nothing,
            [b'H', b'T', b'T', b'P', b'/', b'1', ..] => Self::Http1,
            // Every HTTP/2 server begins with SETTINGS (type 4), which are short; one that refuses may send GOAWAY (type 7) alone.
            [0, 0, _, 4 | 7, ..] => Self::Http2,
            // An alert (21) of any version of TLS.
            [21, 3, ..] => Self::TlsAlert,
            _ => Self::Other,
        }
    }
}

#[async_trait]
impl Network for Ears {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        let inner = self.network.connect(host, port).await?;
        let server = (host.to_owned(), port);
        Ok(Box::new(Connection { inner, first: Vec::new(), ears: self.clone(), server }))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.network.listen(address).await
    }

    fn host_name(&self) -> String {
        self.network.host_name()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let room = FIRST - self.first.len();
        if room > 0 {
            let new = &buffer.filled()[before..];
            if !new.is_empty() {
                self.first.extend_from_slice(&new[..new.len().min(room)]);
                self.ears.set(self.server.clone(), Heard::of(&self.first));
            }
        }
        polled
    }
}

impl AsyncWrite for Connection {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_known_by_its_first_bytes() {
        for (first, heard) in [
            (&b""[..], Heard::Nothing),
            (b"HTTP/1.1 400 Bad Request", Heard::Http1),
            (b"HTTP/1", Heard::Http1),
            (&[0, 0, 18, 4, 0, 0], Heard::Http2),
            (&[0, 0, 8, 7, 0, 0], Heard::Http2),
            (&[21, 3, 3, 0, 2, 2], Heard::TlsAlert),
            (&[22, 3, 3, 0, 2, 2], Heard::Other),
            (b"SSH-2.", Heard::Other),
            (b"HT", Heard::Other),
        ] {
            assert_eq!(Heard::of(first), heard, "{first:?}");
        }
    }
}
