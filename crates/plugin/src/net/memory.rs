use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use super::{BoxIo, Listener, Network};

type Listeners = HashMap<String, mpsc::Sender<DuplexStream>>;

/// A network inside the process: what listens on `host:port` is reached by exactly that name. Deterministic under a paused clock.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork(Arc<Mutex<Listeners>>);

#[derive(Debug)]
struct MemoryListener {
    address: String,
    incoming: mpsc::Receiver<DuplexStream>,
}

impl MemoryNetwork {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Network for MemoryNetwork {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        let listener = self.listeners().get(&format!("{host}:{port}")).cloned().ok_or_else(refused)?;
        let (near, far) = duplex(64 * 1024);
        listener.send(far).await.map_err(|_| refused())?;
        Ok(Box::new(near))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let (sender, incoming) = mpsc::channel(64);
        let mut listeners = self.listeners();
        let address = match address.strip_suffix(":0") {
            Some(host) => format!("{host}:{}", 40_000 + listeners.len()),
            None => address.to_owned(),
        };
        if listeners.get(&address).is_some_and(|taken| !taken.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        listeners.insert(address.clone(), sender);
        Ok(Box::new(MemoryListener { address, incoming }))
    }
}

#[async_trait]
impl Listener for MemoryListener {
    fn local_address(&self) -> String {
        self.address.clone()
    }

    async fn accept(&mut self) -> io::Result<(BoxIo, String)> {
        let stream = self.incoming.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok((Box::new(stream), "memory".to_owned()))
    }
}
