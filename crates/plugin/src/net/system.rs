use std::{error::Error, io, net::SocketAddr};

use async_trait::async_trait;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::{TcpListener, lookup_host};
use tower::Service;

use super::{BoxIo, Listener, Network, ProxyVariables};

/// TCP as the machine has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNetwork;

#[async_trait]
impl Network for SystemNetwork {
    /// Where a name has addresses of both families, one that leads nowhere does not keep the other waiting (RFC 8305).
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let address = Uri::builder().scheme("http").authority(authority).path_and_query("/").build();
        let address = address.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let stream = connector.call(address).await.map_err(|error| what_the_machine_said(&error))?;
        Ok(Box::new(stream.into_inner()))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        // A name such as `localhost` has several addresses: the IPv4 one first, as users of the collector expect.
        let mut addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        Ok(Box::new(TcpListener::bind(&addresses[..]).await?))
    }

    fn host_name(&self) -> String {
        gethostname::gethostname().to_string_lossy().into_owned()
    }

    fn proxy_variables(&self) -> ProxyVariables {
        let of = |names: [&str; 2]| {
            names.into_iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
        };
        ProxyVariables {
            http: of(["http_proxy", "HTTP_PROXY"]),
            https: of(["https_proxy", "HTTPS_PROXY"]),
            all: of(["all_proxy", "ALL_PROXY"]),
            no: of(["no_proxy", "NO_PROXY"]),
        }
    }
}

/// The machine's own error under the words of the library.
fn what_the_machine_said(error: &(dyn Error + 'static)) -> io::Error {
    let mut inner = Some(error);
    while let Some(one) = inner {
        if let Some(said) = one.downcast_ref::<io::Error>() {
            let plain = said.raw_os_error().map(io::Error::from_raw_os_error);
            return plain.unwrap_or_else(|| io::Error::new(said.kind(), said.to_string()));
        }
        inner = one.source();
    }
    io::Error::other(error.to_string())
}

#[async_trait]
impl Listener for TcpListener {
    fn local_address(&self) -> String {
        self.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
    }

    async fn accept(&mut self) -> io::Result<(BoxIo, String)> {
        let (stream, peer) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), peer.to_string()))
    }
}
