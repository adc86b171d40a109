use std::sync::{Arc, Mutex, PoisonError};

use minicol_plugin::net::{FaultyNetwork, Network, NetworkFaults, SystemNetwork};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// A way to a server over real sockets on which things go wrong: late, in pieces, reset in mid-body, silent, refused. What it connects to the server
/// is a [`FaultyNetwork`]; a connection that breaks there is reset here.
#[derive(Debug)]
pub struct FaultyProxy {
    /// Where it listens, as `127.0.0.1:PORT`.
    pub address: String,
    network: Arc<Mutex<FaultyNetwork>>,
    to: String,
    serving: AbortHandle,
}

impl FaultyProxy {
    /// Listens on a free port of the loopback and leads to `to` (`host:port`). Nothing goes wrong until [`FaultyProxy::set`] says so.
    pub async fn start(to: &str, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let network = FaultyNetwork::new(Arc::new(SystemNetwork), seed);
        let (through, far) = (network.clone(), to.to_owned());
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(carry(near, through.clone(), far.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        let network = Arc::new(Mutex::new(network));
        Self { address, network, to: to.to_owned(), serving: serving.abort_handle() }
    }

    /// What goes wrong with connections that are made from now on.
    pub fn set(&self, faults: NetworkFaults) {
        self.network.lock().unwrap_or_else(PoisonError::into_inner).set(&self.to, faults);
    }

    /// How many connections have suffered.
    pub fn struck(&self) -> u64 {
        self.network.lock().unwrap_or_else(PoisonError::into_inner).struck(&self.to)
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn carry(mut near: TcpStream, network: FaultyNetwork, to: String) {
    let (host, port) = to.rsplit_once(':').expect("host:port");
    let carried = match network.connect(host, port.parse().expect("a port")).await {
        Ok(mut far) => tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop),
        Err(error) => Err(error),
    };
    if carried.is_err() {
        // Dropped so, the peer sees a reset and not an orderly end.
        let _ = near.set_zero_linger();
    }
}
