//! How connections are made and taken: [`Network`] is the machine's ([`SystemNetwork`]) or a test's own; [`HttpConnector`] puts TLS on
//! top and serves any hyper or tonic client.

mod connector;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod server;
mod system;
mod tls;

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

pub use connector::{ConnectError, HttpConnector, HttpStream};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryNetwork;
pub use server::{HostGuard, HttpServer, is_loopback};
pub use system::SystemNetwork;
pub use tls::{ClientTls, TlsError};

/// A connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A connection of any kind.
pub type BoxIo = Box<dyn Io>;

/// How connections are made and taken.
#[async_trait]
pub trait Network: Send + Sync {
    /// Connects to a host (a name or an address) and port.
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo>;

    /// Listens on `host:port`; port 0 takes a free one.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;

    /// What this machine calls itself: part of what tells one collector from another.
    fn host_name(&self) -> String {
        "localhost".to_owned()
    }
}

/// Takes connections.
#[async_trait]
pub trait Listener: Send {
    /// Where it listens, as `address:port`.
    fn local_address(&self) -> String;

    /// The next connection and where it comes from.
    async fn accept(&mut self) -> io::Result<(BoxIo, String)>;
}
