//! Listeners that pass from one instance of a component to the next without being closed.

use std::{
    collections::HashSet,
    future::pending,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use minicol_plugin::{
    async_trait,
    net::{BoxIo, Listener, Network, ProxyVariables},
};
use tokio::sync::{Mutex as AsyncMutex, watch};

/// Who listens where. An instance is known by its number.
#[derive(Default)]
pub(crate) struct Handover(Mutex<Table>);

#[derive(Default)]
struct Table {
    places: Vec<Weak<Place>>,
    /// Instances whose places others may take.
    leaving: HashSet<u64>,
    /// Places that were closed because another address on their port was wanted.
    closed: Vec<Arc<Place>>,
}

/// One address that is listened on, as long as somebody has it.
struct Place {
    asked: String,
    local: String,
    /// None while it is closed.
    listener: AsyncMutex<Option<Box<dyn Listener>>>,
    /// Whose connections come in now.
    owner: watch::Sender<u64>,
    /// Who takes it over.
    heir: Mutex<Option<u64>>,
    closing: watch::Sender<bool>,
}

/// The network of one instance.
pub(crate) struct OwnNetwork {
    pub(crate) inner: Arc<dyn Network>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) number: u64,
}

/// A place in the hands of one instance.
struct Handle {
    place: Arc<Place>,
    number: u64,
}

impl Handover {
    /// From now on others may listen where these instances do; connections go on coming in at the old ones.
    pub(crate) fn begin(&self, leaving: impl IntoIterator<Item = u64>) {
        self.table().leaving = leaving.into_iter().collect();
    }

    /// New connections come in at who asked for them last.
    pub(crate) fn pass(&self) {
        let mut table = self.table();
        table.leaving.clear();
        table.closed.clear();
        table.places.retain(|place| place.strong_count() > 0);
        for place in table.places.iter().filter_map(Weak::upgrade) {
            if let Some(heir) = lock(&place.heir).take() {
                place.owner.send_replace(heir);
            }
        }
    }

    /// Everything stays with the old ones: what was closed is opened again. Who had asked must be gone. What could not be opened.
    pub(crate) async fn call_off(&self, network: &dyn Network) -> Vec<String> {
        let closed = {
            let mut table = self.table();
            table.leaving.clear();
            table.places.iter().filter_map(Weak::upgrade).for_each(|place| *lock(&place.heir) = None);
            std::mem::take(&mut table.closed)
        };
        let mut failed = Vec::new();
        for place in closed {
            if let Err(error) = place.open(network).await {
                failed.push(format!("cannot listen on {} again: {error}", place.asked));
            }
        }
        failed
    }

    /// A place that an instance which leaves has, and that is like this.
    fn vacant(&self, like: impl Fn(&Place) -> bool) -> Option<Arc<Place>> {
        let table = self.table();
        let vacant = |place: &Arc<Place>| table.leaving.contains(&place.owner.borrow()) && lock(&place.heir).is_none();
        table.places.iter().filter_map(Weak::upgrade).find(|place| vacant(place) && like(place))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}

impl Place {
    fn new(asked: &str, listener: Box<dyn Listener>, owner: u64) -> Arc<Self> {
        Arc::new(Self {
            asked: asked.to_owned(),
            local: listener.local_address(),
            listener: AsyncMutex::new(Some(listener)),
            owner: watch::Sender::new(owner),
            heir: Mutex::default(),
            closing: watch::Sender::new(false),
        })
    }

    async fn accept(&self) -> io::Result<(BoxIo, String)> {
        let mut closing = self.closing.subscribe();
        let accepted = async {
            match &mut *self.listener.lock().await {
                Some(listener) => listener.accept().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => {}
            accepted = accepted => return accepted,
        }
        let _ = closing.wait_for(|closing| !*closing).await;
        Err(io::ErrorKind::Interrupted.into())
    }

    async fn close(&self) {
        self.closing.send_replace(true);
        drop(self.listener.lock().await.take());
    }

    async fn open(&self, network: &dyn Network) -> io::Result<()> {
        let listener = network.listen(&self.asked).await?;
        *self.listener.lock().await = Some(listener);
        self.closing.send_replace(false);
        Ok(())
    }
}

#[async_trait]
impl Network for OwnNetwork {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        self.inner.connect(host, port).await
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let port = port(address);
        if port != "0"
            && let Some(place) = self.handover.vacant(|place| place.asked == address)
        {
            *lock(&place.heir) = Some(self.number);
            return Ok(Box::new(Handle { place, number: self.number }));
        }
        let listener = match self.inner.listen(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                // Another address on a port that is going to be free: it has to be closed first.
                let Some(place) = self.handover.vacant(|place| self::port(&place.local) == port) else {
                    return Err(error);
                };
                place.close().await;
                match self.inner.listen(address).await {
                    Ok(listener) => {
                        self.handover.table().closed.push(place);
                        listener
                    }
                    Err(error) => {
                        place.open(&*self.inner).await?;
                        return Err(error);
                    }
                }
            }
            other => other?,
        };
        let place = Place::new(address, listener, self.number);
        self.handover.table().places.push(Arc::downgrade(&place));
        Ok(Box::new(Handle { place, number: self.number }))
    }

    fn host_name(&self) -> String {
        self.inner.host_name()
    }

    fn proxy_variables(&self) -> ProxyVariables {
        self.inner.proxy_variables()
    }
}

#[async_trait]
impl Listener for Handle {
    fn local_address(&self) -> String {
        self.place.local.clone()
    }

    async fn accept(&mut self) -> io::Result<(BoxIo, String)> {
        let mut owner = self.place.owner.subscribe();
        loop {
            if owner.wait_for(|owner| *owner == self.number).await.is_err() {
                // The sender is the place's, which is here.
                return pending().await;
            }
            tokio::select! {
                biased;
                _ = owner.changed() => {}
                accepted = self.place.accept() => return accepted,
            }
        }
    }
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use minicol_plugin::net::MemoryNetwork;

    use super::*;

    struct World {
        network: Arc<dyn Network>,
        handover: Arc<Handover>,
    }

    impl World {
        fn new() -> Self {
            Self { network: Arc::new(MemoryNetwork::new()), handover: Arc::default() }
        }

        fn of(&self, number: u64) -> OwnNetwork {
            OwnNetwork { inner: Arc::clone(&self.network), handover: Arc::clone(&self.handover), number }
        }

        async fn connects(&self, address: &str) -> bool {
            let (host, port) = address.rsplit_once(':').unwrap();
            self.network.connect(host, port.parse().unwrap()).await.is_ok()
        }
    }

    async fn gets_one(listener: &mut Box<dyn Listener>) -> bool {
        tokio::time::timeout(std::time::Duration::from_secs(1), listener.accept()).await.is_ok_and(|one| one.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_passes_to_the_next_when_told_and_is_never_closed() {
        let world = World::new();
        let mut old = world.of(1).listen("here:80").await.unwrap();
        assert!(world.of(2).listen("here:80").await.is_err(), "nobody leaves");
        world.handover.begin([1]);
        let mut new = world.of(2).listen("here:80").await.unwrap();
        assert!(world.of(3).listen("here:80").await.is_err(), "it is taken");
        assert!(world.connects("here:80").await);
        assert!(!gets_one(&mut new).await && gets_one(&mut old).await);
        world.handover.pass();
        assert!(world.connects("here:80").await);
        assert!(!gets_one(&mut old).await && gets_one(&mut new).await);
        drop(old);
        assert!(world.connects("here:80").await);
        drop(new);
        assert!(!world.connects("here:80").await, "nobody has it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_stays_where_it_is_when_the_handover_is_called_off() {
        let world = World::new();
        let mut old = world.of(1).listen("here:80").await.unwrap();
        world.handover.begin([1]);
        drop(world.of(2).listen("here:80").await.unwrap());
        assert!(world.handover.call_off(&*world.network).await.is_empty());
        assert!(world.connects("here:80").await && gets_one(&mut old).await);
        assert!(world.of(3).listen("here:80").await.is_err(), "nobody leaves any more");
        world.handover.begin([1]);
        let mut new = world.of(4).listen("here:80").await.unwrap();
        world.handover.pass();
        assert!(world.connects("here:80").await && gets_one(&mut new).await);
    }

    /// A machine where two addresses share a port.
    struct OnePort(MemoryNetwork);

    #[async_trait]
    impl Network for OnePort {
        async fn connect(&self, _: &str, port: u16) -> io::Result<BoxIo> {
            self.0.connect("any", port).await
        }

        async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
            self.0.listen(&format!("any:{}", port(address))).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_address_on_the_port_is_opened_after_the_old_one_is_closed() {
        let world = World { network: Arc::new(OnePort(MemoryNetwork::new())), handover: Arc::default() };
        let mut old = world.of(1).listen("localhost:80").await.unwrap();
        world.handover.begin([1]);
        let mut new = world.of(2).listen("0.0.0.0:80").await.unwrap();
        assert!(world.connects("x:80").await);
        assert!(!gets_one(&mut old).await && gets_one(&mut new).await);
        drop(new);
        assert!(world.handover.call_off(&*world.network).await.is_empty());
        assert!(world.connects("x:80").await && gets_one(&mut old).await, "it is open again");
    }
}
