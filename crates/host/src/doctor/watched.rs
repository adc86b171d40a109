//! A network that remembers what became of each connection.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use minicol_plugin::{
    Check, Verdict, async_trait,
    net::{BoxIo, Listener, Network, ProxyVariables, does_not_resolve},
    text,
};

/// Tells of each place that was connected to.
pub(super) struct Watched {
    network: Arc<dyn Network>,
    seen: Mutex<Vec<Seen>>,
}

/// A place, and what became of the latest connection to it; `None` while it is being made.
struct Seen {
    host: String,
    port: u16,
    result: Option<Result<(), io::Error>>,
}

impl Watched {
    pub(super) fn over(network: Arc<dyn Network>) -> Arc<Self> {
        Arc::new(Self { network, seen: Mutex::default() })
    }

    /// Two steps for each place: its name, and a connection.
    pub(super) fn checks(&self) -> Vec<Check> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().flat_map(Seen::checks).collect()
    }

    fn note(&self, host: &str, port: u16, result: Option<Result<(), io::Error>>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.iter_mut().find(|one| one.host == host && one.port == port) {
            Some(known) => known.result = result,
            None => seen.push(Seen { host: host.to_owned(), port, result }),
        }
    }
}

impl Seen {
    fn checks(&self) -> [Check; 2] {
        let host = text::foreign(&self.host);
        let place = format!("{host}:{}", self.port);
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let check = |step: &'static str, verdict, detail| Check { step: step.into(), verdict, detail };
        let name = if bare.parse::<IpAddr>().is_ok() {
            check("name", Verdict::Passed, format!("{host} is an address"))
        } else {
            check("name", Verdict::Passed, format!("{host} resolves"))
        };
        match &self.result {
            Some(Ok(())) => [name, check("connect", Verdict::Passed, place)],
            Some(Err(error)) if does_not_resolve(error) => [
                check(
                    "name",
                    Verdict::Failed,
                    format!(
                        "{host} does not resolve ({}): check its spelling, and this machine's DNS",
                        text::foreign(&error.to_string())
                    ),
                ),
                check("connect", Verdict::Skipped, "not reached".to_owned()),
            ],
            Some(Err(error)) => [name, check("connect", Verdict::Failed, format!("{place}: {}", cure(error)))],
            None => [
                name,
                check(
                    "connect",
                    Verdict::Failed,
                    format!("{place}: nothing answers: is the host up, and does a firewall let this through?"),
                ),
            ],
        }
    }
}

fn cure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused: nothing listens there; start the server, or correct the port".to_owned()
        }
        io::ErrorKind::TimedOut => "nothing answers: is the host up, and does a firewall let this through?".to_owned(),
        _ => format!("{}: is the address right, and is there a route to it?", text::foreign(&error.to_string())),
    }
}

#[async_trait]
impl Network for Watched {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        self.note(host, port, None);
        let result = self.network.connect(host, port).await;
        let noted = match &result {
            Ok(_) => Ok(()),
            Err(error) => Err(error
                .raw_os_error()
                .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)),
        };
        self.note(host, port, Some(noted));
        result
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.network.listen(address).await
    }

    fn host_name(&self) -> String {
        self.network.host_name()
    }

    fn proxy_variables(&self) -> ProxyVariables {
        self.network.proxy_variables()
    }
}
