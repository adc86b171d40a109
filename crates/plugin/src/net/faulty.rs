use std::{
    collections::BTreeMap,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{BoxIo, Listener, Network};
use crate::{Random, SeededRandom};

/// A network on which things go wrong by a seed: what becomes of the nth connection to an address depends on the seed and on nothing else.
/// Faults strike at the end that connects. Under a paused clock everything that it does is deterministic.
#[derive(Clone)]
pub struct FaultyNetwork(Arc<Shared>);

/// How often things go wrong with the connections to one address, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkFaults {
    /// How long a piece may be on its way, at most.
    pub latency: Duration,
    /// How many bytes one read or write moves at most; 0: as many as there are.
    pub piece: usize,
    /// The share of connections that are refused.
    pub refused: f64,
    /// The share of connections that nobody answers, until the machine gives up.
    pub unanswered: f64,
    /// The share of connections that are reset after some bytes.
    pub reset: f64,
    /// The share of connections that fall silent after some bytes, until the machine gives up.
    pub frozen: f64,
    /// After how many bytes at most a reset or a silence strikes.
    pub within: u64,
    /// Times at which all connections suffer.
    pub outages: Vec<Outage>,
}

/// A time, counted from the making of the network, in which an address is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Its beginning.
    pub from: Duration,
    /// Its end.
    pub until: Duration,
    /// What it is like.
    pub kind: OutageKind,
}

/// What an outage is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageKind {
    /// What is open is reset, what is new is refused.
    Refused,
    /// Nothing moves; what was held up goes on afterwards.
    Frozen,
}

struct Shared {
    inner: Arc<dyn Network>,
    seed: u64,
    began: Instant,
    state: Mutex<BTreeMap<String, Address>>,
}

#[derive(Default)]
struct Address {
    faults: Arc<NetworkFaults>,
    connections: u64,
    struck: u64,
}

/// A connection and what becomes of it.
struct FaultyIo {
    /// None once it was reset.
    inner: Option<BoxIo>,
    network: FaultyNetwork,
    address: String,
    faults: Arc<NetworkFaults>,
    chance: SeededRandom,
    made: Instant,
    /// After how many bytes it ends, and whether by silence.
    fate: Option<(u64, bool)>,
    moved: u64,
    /// When the machine gives it up, where it has fallen silent.
    silent: Option<Instant>,
    /// Bytes that were written into the silence.
    swallowed: usize,
    held: Held,
    read: Wait,
    write: Wait,
}

/// What has come in and is still on its way.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    given: usize,
    ended: bool,
}

/// A wait that a poll comes back to.
#[derive(Default)]
struct Wait(Option<Pin<Box<Sleep>>>);

/// How much a machine takes for a far end that takes nothing.
const BUFFER: usize = 64 * 1024;
/// When a machine gives up a connection whose far end acknowledges nothing (Linux: `tcp_retries2`).
const GIVEN_UP: Duration = Duration::from_secs(924);
/// When a machine gives up a connection that nobody answers (Linux: `tcp_syn_retries`).
const UNANSWERED: Duration = Duration::from_secs(127);

impl FaultyNetwork {
    /// Over `inner`, with chance from `seed`. Nothing goes wrong until [`FaultyNetwork::set`] says so.
    pub fn new(inner: Arc<dyn Network>, seed: u64) -> Self {
        Self(Arc::new(Shared { inner, seed, began: Instant::now(), state: Mutex::default() }))
    }

    /// What goes wrong with connections to `address` (`host:port`) that are made from now on.
    pub fn set(&self, address: &str, faults: NetworkFaults) {
        self.state().entry(address.to_owned()).or_default().faults = Arc::new(faults);
    }

    /// How many connections to `address` were refused, reset, cut off by an outage, or fell silent.
    pub fn struck(&self, address: &str) -> u64 {
        self.state().get(address).map_or(0, |address| address.struck)
    }

    fn state(&self) -> MutexGuard<'_, BTreeMap<String, Address>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strike(&self, address: &str) {
        self.state().entry(address.to_owned()).or_default().struck += 1;
    }
}

impl NetworkFaults {
    /// The outage of this moment, and when it ends.
    fn outage(&self, began: Instant) -> Option<(OutageKind, Instant)> {
        let now = began.elapsed();
        let one = self.outages.iter().find(|one| (one.from..one.until).contains(&now))?;
        Some((one.kind, began + one.until))
    }

    /// When what is open now is cut off, where that lies ahead.
    fn next_cut(&self, began: Instant) -> Option<Instant> {
        let cuts = self.outages.iter().filter(|one| one.kind == OutageKind::Refused).map(|one| began + one.from);
        cuts.filter(|at| *at > Instant::now()).min()
    }
}

#[async_trait]
impl Network for FaultyNetwork {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        let address = format!("{host}:{port}");
        let (faults, number) = {
            let mut state = self.state();
            let one = state.entry(address.clone()).or_default();
            one.connections += 1;
            (Arc::clone(&one.faults), one.connections)
        };
        let began = self.0.began;
        let chance = SeededRandom::from_seed(self.0.seed ^ hash(&address) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        tokio::time::sleep(faults.latency.mul_f64(chance.next_f64())).await;
        while let Some((kind, until)) = faults.outage(began) {
            self.strike(&address);
            match kind {
                OutageKind::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                OutageKind::Frozen => sleep_until(until).await,
            }
        }
        let share = chance.next_f64();
        let mut below = faults.refused;
        if share < below {
            self.strike(&address);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        below += faults.unanswered;
        if share < below {
            self.strike(&address);
            tokio::time::sleep(UNANSWERED).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        below += faults.reset;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and `within`
        let after = (chance.next_f64() * faults.within as f64) as u64;
        let fate = if share < below { Some((after, false)) } else { None };
        let fate = fate.or_else(|| (share < below + faults.frozen).then_some((after, true)));
        let inner = self.0.inner.connect(host, port).await?;
        Ok(Box::new(FaultyIo {
            inner: Some(inner),
            network: self.clone(),
            address,
            faults,
            chance,
            made: Instant::now(),
            fate,
            moved: 0,
            silent: None,
            swallowed: 0,
            held: Held::default(),
            read: Wait::default(),
            write: Wait::default(),
        }))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.0.inner.listen(address).await
    }

    fn host_name(&self) -> String {
        self.0.inner.host_name()
    }
}

impl fmt::Debug for FaultyNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyNetwork")
    }
}

impl FaultyIo {
    /// Whether anything may move now. `wait` is what the caller comes back to where it may not.
    fn gate(&mut self, reads: bool, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let began = self.network.0.began;
        if self.inner.is_none() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if let Some(until) = self.silent {
            let wait = if reads { &mut self.read } else { &mut self.write };
            wait.until(until);
            ready!(wait.poll(cx));
            self.inner = None;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if let Some((after, silence)) = self.fate
            && self.moved >= after
        {
            self.network.strike(&self.address);
            if !silence {
                return Poll::Ready(Err(self.cut()));
            }
            self.silent = Some(Instant::now() + GIVEN_UP);
            return self.gate(reads, cx);
        }
        let cut = |one: &Outage| one.kind == OutageKind::Refused && began + one.from > self.made;
        if self.faults.outages.iter().any(|one| cut(one) && began + one.from <= Instant::now()) {
            self.network.strike(&self.address);
            return Poll::Ready(Err(self.cut()));
        }
        if let Some((OutageKind::Frozen, until)) = self.faults.outage(began) {
            let wait = if reads { &mut self.read } else { &mut self.write };
            wait.until(until);
            if wait.poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn cut(&mut self) -> io::Error {
        self.inner = None;
        self.held = Held::default();
        io::ErrorKind::ConnectionReset.into()
    }

    fn piece(&self, bytes: usize) -> usize {
        match self.faults.piece {
            0 => bytes,
            most => bytes.min(1 + usize::try_from(self.chance.next_u64() % most as u64).unwrap_or_default()),
        }
    }

    /// Takes in what has come.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())) };
        let mut room = [0; 4096];
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(inner).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                let bytes = buffer.filled().to_vec();
                self.held = Held { ended: bytes.is_empty(), bytes, given: 0 };
                if !self.faults.latency.is_zero() {
                    self.read.until(Instant::now() + self.faults.latency.mul_f64(self.chance.next_f64()));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                // What is open must be cut on time, also where nobody says anything.
                if let Some(at) = self.faults.next_cut(self.network.0.began) {
                    self.read.until(at);
                    let _ = self.read.poll(cx);
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for FaultyIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            ready!(this.gate(true, cx))?;
            if this.held.given < this.held.bytes.len() {
                ready!(this.read.poll(cx));
                let left = &this.held.bytes[this.held.given..];
                let count = this.piece(left.len()).min(buffer.remaining());
                buffer.put_slice(&this.held.bytes[this.held.given..this.held.given + count]);
                this.held.given += count;
                this.moved += count as u64;
                return Poll::Ready(Ok(()));
            }
            if this.held.ended {
                return Poll::Ready(Ok(()));
            }
            this.read = Wait::default();
            ready!(this.fill(cx))?;
        }
    }
}

impl AsyncWrite for FaultyIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.gate(false, cx) {
            Poll::Ready(open) => open?,
            // The machine takes what the far end does not until its buffer is full.
            Poll::Pending if this.silent.is_some() && this.swallowed < BUFFER => {
                this.swallowed += bytes.len();
                return Poll::Ready(Ok(bytes.len()));
            }
            Poll::Pending => return Poll::Pending,
        }
        let count = this.piece(bytes.len());
        let Some(inner) = &mut this.inner else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let written = ready!(Pin::new(inner).poll_write(cx, &bytes[..count]))?;
        this.moved += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_flush(cx),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let silent = self.silent.is_some();
        match &mut self.inner {
            Some(inner) if !silent => Pin::new(inner).poll_shutdown(cx),
            // To close never waits for the far end.
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Wait {
    fn until(&mut self, at: Instant) {
        match &mut self.0 {
            Some(sleep) if sleep.deadline() == at => {}
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.0 = Some(Box::pin(sleep_until(at))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.0 else { return Poll::Ready(()) };
        ready!(sleep.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(())
    }
}

/// FNV-1a: the same on every machine.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::MemoryNetwork;

    const SECOND: Duration = Duration::from_secs(1);

    /// A server that sends back what it gets, behind `faults`.
    async fn echo(seed: u64, faults: NetworkFaults) -> FaultyNetwork {
        let network = FaultyNetwork::new(Arc::new(MemoryNetwork::new()), seed);
        network.set("echo:1", faults);
        let mut listener = network.listen("echo:1").await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        network
    }

    /// Sends `bytes` and reads them back: how many came within 10 s, and what ended it.
    async fn talk(network: &FaultyNetwork, bytes: usize) -> (usize, String) {
        let within = |what: &str| what.to_owned();
        let made = tokio::time::timeout(10 * SECOND, network.connect("echo", 1)).await;
        let stream = match made {
            Err(_) => return (0, within("no connection")),
            Ok(Err(error)) => return (0, error.kind().to_string()),
            Ok(Ok(stream)) => stream,
        };
        let (mut reader, mut writer) = tokio::io::split(stream);
        let writing = tokio::spawn(async move {
            let _ = writer.write_all(&vec![7; bytes]).await;
            writer
        });
        let (mut got, mut buffer) = (0, [0; 64]);
        let end = loop {
            match tokio::time::timeout(10 * SECOND, reader.read(&mut buffer)).await {
                Err(_) => break within("silence"),
                Ok(Err(error)) => break error.kind().to_string(),
                Ok(Ok(0)) => break within("end"),
                Ok(Ok(count)) => got += count,
            }
            if got == bytes {
                break within("all");
            }
        };
        writing.abort();
        (got, end)
    }

    #[tokio::test(start_paused = true)]
    async fn without_faults_everything_comes_back_and_with_pieces_and_delays_too() {
        let faults = NetworkFaults { latency: SECOND, piece: 3, ..NetworkFaults::default() };
        for faults in [NetworkFaults::default(), faults] {
            let network = echo(1, faults).await;
            assert_eq!(talk(&network, 500).await, (500, "all".to_owned()));
            assert_eq!(network.struck("echo:1"), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_fault_is_what_it_says() {
        let always = |change: fn(&mut NetworkFaults)| {
            let mut faults = NetworkFaults { within: 100, ..NetworkFaults::default() };
            change(&mut faults);
            faults
        };
        for (faults, end) in [
            (always(|faults| faults.refused = 1.0), "connection refused"),
            (always(|faults| faults.unanswered = 1.0), "no connection"),
            (always(|faults| faults.reset = 1.0), "connection reset"),
            (always(|faults| faults.frozen = 1.0), "silence"),
        ] {
            let network = echo(1, faults).await;
            let (got, ended) = talk(&network, 500).await;
            assert!(got < 100 && ended == end, "{end}: {ended} after {got}");
            assert_eq!(network.struck("echo:1"), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_cuts_what_is_open_refuses_what_is_new_and_ends() {
        let outage = |kind| Outage { from: SECOND, until: 5 * SECOND, kind };
        let faults = NetworkFaults { outages: vec![outage(OutageKind::Refused)], ..NetworkFaults::default() };
        let network = echo(1, faults).await;
        let mut open = network.connect("echo", 1).await.unwrap();
        let begun = Instant::now();
        assert_eq!(open.read(&mut [0; 9]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(begun.elapsed(), SECOND, "it is cut on time although nobody said anything");
        assert_eq!(talk(&network, 5).await.1, "connection refused");
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(talk(&network, 5).await.1, "all");

        let faults = NetworkFaults { outages: vec![outage(OutageKind::Frozen)], ..NetworkFaults::default() };
        let network = echo(1, faults).await;
        tokio::time::sleep(2 * SECOND).await;
        let begun = Instant::now();
        assert_eq!(talk(&network, 5).await.1, "all");
        assert_eq!(begun.elapsed(), 3 * SECOND, "what was held up goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_fares_by_the_seed_whatever_becomes_of_others() {
        let faults = NetworkFaults { refused: 0.3, reset: 0.3, within: 400, ..NetworkFaults::default() };
        let fates = async |seed, other: bool| {
            let network = echo(seed, faults.clone()).await;
            let mut fates = Vec::new();
            for _ in 0..20 {
                if other {
                    assert!(network.connect("nobody", 1).await.is_err());
                }
                fates.push(talk(&network, 500).await);
            }
            fates
        };
        let (alone, beside, otherwise) = (fates(7, false).await, fates(7, true).await, fates(8, false).await);
        assert_eq!(alone, beside);
        assert_ne!(alone, otherwise);
    }
}
