//! How connections are made and taken: [`Network`] is the machine's ([`SystemNetwork`]) or a test's own; [`HttpConnector`] puts TLS on
//! top and serves any hyper or tonic client.

mod begun;
mod connector;
mod credentials;
#[cfg(any(test, feature = "testing"))]
mod faulty;
mod gathered;
mod guard;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod owed;
mod server;
mod serving;
mod system;
mod tls;
mod tls_files;
mod unverified;

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

pub use connector::{ConnectError, HttpConnector, HttpStream};
pub use credentials::{is_credential, is_plain_text_beyond_here};
#[cfg(any(test, feature = "testing"))]
pub use faulty::{FaultyNetwork, NetworkFaults, Outage, OutageKind};
pub use gathered::Gathered;
pub use guard::{HostGuard, exposure, is_loopback};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryNetwork;
pub use server::{HttpServer, HttpVersions};
pub use serving::{listen, serve_while_it_runs, warn_of_exposure};
pub use system::SystemNetwork;
pub use tls::{ClientTls, ServerTls, TlsError, TlsVersion};
pub use tls_files::{ClientTlsFiles, ServerTlsFiles};

/// A connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A connection of any kind.
pub type BoxIo = Box<dyn Io>;

/// What the usual environment variables say about proxies. Passwords may stand in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    /// `http_proxy` or `HTTP_PROXY`: for servers with `http://`.
    pub http: Option<String>,
    /// `https_proxy` or `HTTPS_PROXY`: for servers with `https://`.
    pub https: Option<String>,
    /// `all_proxy` or `ALL_PROXY`: for servers of which neither says anything.
    pub all: Option<String>,
    /// `no_proxy` or `NO_PROXY`: names, domains and address ranges that are reached without a proxy.
    pub no: Option<String>,
}

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

    /// The proxies that this machine's environment names, for those who honour them.
    fn proxy_variables(&self) -> ProxyVariables {
        ProxyVariables::default()
    }
}

/// Whether a connection failed because the host's name has no address. The resolver's errors have no kind of their own.
pub fn does_not_resolve(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.to_string().contains("lookup")
}

/// Takes connections.
#[async_trait]
pub trait Listener: Send {
    /// Where it listens, as `address:port`.
    fn local_address(&self) -> String;

    /// The next connection and where it comes from.
    async fn accept(&mut self) -> io::Result<(BoxIo, String)>;
}
