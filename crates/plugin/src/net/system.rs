use std::{io, net::SocketAddr};

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::{BoxIo, Listener, Network, ProxyVariables};

/// TCP as the machine has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNetwork;

#[async_trait]
impl Network for SystemNetwork {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        #[allow(clippy::disallowed_methods)] // this is the one place
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
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
