//! One session's way to its server, over the HTTP client that targets share. Every request, those of the handshake included, is one exchange: a POST, and the
//! one reply to it.

mod answers;
mod events;
mod exchange;
mod handshake;
mod heads;
mod reply;
pub(crate) mod wire;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};
use minicol_plugin::Clock;
use rmcp::model::RequestId;
use tokio_util::sync::CancellationToken;

use self::exchange::Outgoing;
pub(crate) use self::{
    handshake::{Handshake, Met, carry, carrying, encoded_notification, encoded_request, introduction},
    heads::Heads,
    reply::Envelope,
};
use crate::{Authorize, Cause, Endpoint, HttpClient, auth::HeaderFiles};

/// How long the DELETE that ends a session may take: it is a courtesy.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What the links to one server have in common.
pub(crate) struct Server {
    pub(crate) http: HttpClient,
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: HeaderMap,
    pub(crate) header_files: Option<HeaderFiles>,
    pub(crate) authorize: Option<Arc<dyn Authorize>>,
    pub(crate) max_response_bytes: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

/// One session's way to its server. Clones are the same link; when [`Link::cut`], nothing but the farewell goes over it.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    server: Arc<Server>,
    uri: Result<Uri, Cause>,
    cut: CancellationToken,
    farewell: AtomicBool,
}

impl Link {
    pub(crate) fn new(server: &Arc<Server>) -> Self {
        let uri = server.endpoint.as_str().parse();
        Self(Arc::new(Inner {
            server: Arc::clone(server),
            uri: uri.map_err(|error| Cause::Malformed(format!("the request cannot be made: {error}"))),
            cut: CancellationToken::new(),
            farewell: AtomicBool::new(true),
        }))
    }

    /// Ends whatever is in flight.
    pub(crate) fn cut(&self) {
        self.0.cut.cancel();
    }

    /// Whether it was.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.cut.is_cancelled()
    }

    /// The server has forgotten the session already: no DELETE.
    pub(crate) fn without_farewell(&self) {
        self.0.farewell.store(false, Ordering::Relaxed);
    }

    /// Sends a request, `body`, and gives the reply to it.
    pub(crate) async fn ask(&self, id: &RequestId, body: Bytes, heads: &Heads) -> Result<Envelope, Cause> {
        let asked = Box::pin(async {
            let response = self.send(Outgoing::ask(id, body, heads)).await?;
            self.read_reply(response, id, heads).await
        });
        tokio::select! {
            biased;
            () = self.0.cut.cancelled() => Err(Cause::Unreachable("the session was closed".to_owned())),
            asked = asked => asked,
        }
    }

    /// The same, where another request will follow at once.
    pub(crate) async fn ask_first(&self, id: &RequestId, body: Bytes, heads: &Heads) -> Result<Envelope, Cause> {
        let asked = self.ask(id, body, heads).await;
        breathe().await;
        asked
    }

    /// The same, with the id of the session that the server made, where it did.
    async fn greet(
        &self,
        id: &RequestId,
        body: Bytes,
        heads: &Heads,
    ) -> Result<(Envelope, Option<HeaderValue>), Cause> {
        let greeted = async {
            let response = self.send(Outgoing::ask(id, body, heads)).await?;
            let session = response.headers().get(heads::SESSION_ID).cloned();
            Ok((self.read_reply(response, id, heads).await?, session))
        };
        let greeted = tokio::select! {
            biased;
            () = self.0.cut.cancelled() => Err(Cause::Cancelled),
            greeted = greeted => greeted,
        };
        breathe().await;
        greeted
    }

    /// Sends a notification, or an answer, `body`.
    pub(crate) async fn tell(&self, body: Bytes, heads: &Heads) -> Result<(), Cause> {
        let told =
            async { self.send(Outgoing::tell(body, heads)).await.map(|response| self.read_and_forget(response)) };
        tokio::select! {
            biased;
            () = self.0.cut.cancelled() => Err(Cause::Cancelled),
            told = told => told,
        }
    }

    /// Tells the server that its session is over, once, where there is one that it still knows. Never fails: there is nothing to do about it.
    pub(crate) async fn farewell(&self, heads: &Heads) {
        if heads.in_session() && self.0.farewell.swap(false, Ordering::Relaxed) {
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, self.send(Outgoing::delete(heads))).await;
        }
    }

    /// The same in the background.
    pub(crate) fn leave(&self, heads: &Heads) {
        if heads.in_session()
            && self.0.farewell.load(Ordering::Relaxed)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (link, heads) = (self.clone(), heads.clone());
            runtime.spawn(async move { link.farewell(&heads).await });
        }
    }
}

/// The end of a reply and the connection's way back to its pool are other tasks' work: they get their turn, so that what follows at once finds the
/// connection free.
pub(crate) async fn breathe() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

/// The media type without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.0.server.endpoint)
    }
}
