//! A scripted MCP server for tests. It speaks real HTTP over any [`Network`], answers as it is told, fails as it is told, and remembers
//! what it was asked.
//!
//! ```
//! use minicol_mcp::testing::{FaultServer, Reply};
//! use minicol_plugin::{ComponentKind, testing::Harness};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let harness = Harness::default();
//! let server = FaultServer::start(&*harness.network, "buddy:8678").await;
//! server.tool("get_liveness", Reply::structured(serde_json::json!({"uptime_seconds": 7})));
//! server.once("tools/call get_liveness", Reply::status(503));
//! # }
//! ```

mod http;
mod reply;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::http::{HeaderMap, Method};
use minicol_plugin::{
    CancellationToken,
    net::{Listener, Network},
};
use serde_json::{Map, Value, json};

pub use reply::Reply;

/// A scripted MCP server. Clones are the same server.
#[derive(Clone)]
pub struct FaultServer(Arc<Mutex<State>>);

/// How the server wraps its replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// One server-sent event with CRLF, as Session-Buddy does.
    #[default]
    Events,
    /// Plain JSON.
    Json,
}

/// One request that the server saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The HTTP method.
    pub http_method: Method,
    /// The path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, where it is JSON.
    pub body: Value,
    /// The body as text.
    pub text: String,
}

type Answer = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;
type Guard = Arc<dyn Fn(&Seen) -> Option<Reply> + Send + Sync>;

struct State {
    address: String,
    style: Style,
    stateless: bool,
    page_size: usize,
    tools: BTreeMap<String, Value>,
    guard: Option<Guard>,
    answers: HashMap<String, Answer>,
    once: HashMap<String, VecDeque<Answer>>,
    sessions: HashSet<String>,
    session_count: usize,
    requests: Vec<Seen>,
    probes: usize,
    running: CancellationToken,
}

impl FaultServer {
    /// A server without tools that listens on `address` (`host:port`).
    ///
    /// # Panics
    /// Where it cannot listen there.
    pub async fn start(network: &dyn Network, address: &str) -> Self {
        let server = Self(Arc::new(Mutex::new(State {
            address: address.to_owned(),
            style: Style::default(),
            stateless: false,
            page_size: 100,
            tools: BTreeMap::new(),
            guard: None,
            answers: HashMap::new(),
            once: HashMap::new(),
            sessions: HashSet::new(),
            session_count: 0,
            requests: Vec::new(),
            probes: 0,
            running: CancellationToken::new(),
        })));
        server.start_again(network).await;
        server
    }

    /// Listens again after [`FaultServer::stop`]. Sessions from before are unknown.
    ///
    /// # Panics
    /// Where it cannot listen there.
    #[allow(clippy::expect_used)] // a test's own mistake
    pub async fn start_again(&self, network: &dyn Network) {
        let running = CancellationToken::new();
        let address = {
            let mut state = self.state();
            state.running = running.clone();
            state.sessions.clear();
            state.address.clone()
        };
        let listener: Box<dyn Listener> = network.listen(&address).await.expect("the address is free");
        self.state().address = listener.local_address();
        tokio::spawn(http::accept(self.clone(), listener, running));
    }

    /// Stops listening and cuts every connection, as a killed process does.
    pub fn stop(&self) {
        self.state().running.cancel();
    }

    /// The URL of its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.state().address)
    }

    /// Replies are wrapped so from now on.
    pub fn style(&self, style: Style) {
        self.state().style = style;
    }

    /// Hands out no session ids from now on, and asks for none.
    pub fn stateless(&self) {
        self.state().stateless = true;
    }

    /// Hands out session ids from now on, and asks for them, as at first.
    pub fn stateful(&self) {
        self.state().stateless = false;
    }

    /// So many tools stand on a page of `tools/list`.
    pub fn page_size(&self, tools: usize) {
        self.state().page_size = tools.max(1);
    }

    /// Offers a tool that takes any argument and answers so.
    pub fn tool(&self, name: &str, answer: Reply) {
        self.tool_with_schema(name, json!({"type": "object", "additionalProperties": true}), move |_| answer.clone());
    }

    /// Offers a tool with an input schema, whose answer depends on its arguments.
    pub fn tool_with_schema(
        &self,
        name: &str,
        schema: Value,
        answer: impl Fn(&Map<String, Value>) -> Reply + Send + Sync + 'static,
    ) {
        self.state().tools.insert(name.to_owned(), schema);
        self.always_with(&format!("tools/call {name}"), move |seen| answer(&seen.arguments()));
    }

    /// Offers the tool no more.
    pub fn remove_tool(&self, name: &str) {
        let mut state = self.state();
        state.tools.remove(name);
        state.answers.remove(&format!("tools/call {name}"));
    }

    /// The next request of `kind` that has no answer of this kind yet is answered so. The kind is what [`Seen::kind`] says, or the first
    /// word of it.
    pub fn once(&self, kind: &str, reply: Reply) {
        self.once_with(kind, move |_| reply.clone());
    }

    /// The same, answered by `answer`.
    pub fn once_with(&self, kind: &str, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        self.state().once.entry(kind.to_owned()).or_default().push_back(Arc::new(answer));
    }

    /// Requests of `kind` are answered so from now on.
    pub fn always(&self, kind: &str, reply: Reply) {
        self.always_with(kind, move |_| reply.clone());
    }

    /// Requests of `kind` are answered by `answer` from now on.
    pub fn always_with(&self, kind: &str, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        self.state().answers.insert(kind.to_owned(), Arc::new(answer));
    }

    /// What `guard` answers goes before everything else.
    pub fn guard(&self, guard: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) {
        self.state().guard = Some(Arc::new(guard));
    }

    /// Requests of `kind` are answered as at first.
    pub fn clear(&self, kind: &str) {
        let mut state = self.state();
        state.answers.remove(kind);
        state.once.remove(kind);
    }

    /// Knows a session that an answer of the script's made.
    pub fn know_session(&self, id: &str) {
        self.state().sessions.insert(id.to_owned());
    }

    /// Forgets every session, as a deploy does.
    pub fn forget_sessions(&self) {
        self.state().sessions.clear();
    }

    /// How often it was asked whether it speaks without sessions (`server/discover`), which no other list or count of requests holds.
    pub fn probes(&self) -> usize {
        self.state().probes
    }

    /// Every request so far, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.state().requests.clone()
    }

    /// The kinds of every request so far, oldest first.
    pub fn kinds(&self) -> Vec<String> {
        self.state().requests.iter().map(Seen::kind).collect()
    }

    /// How many requests were of `kind`, whole or by its first word.
    pub fn count(&self, kind: &str) -> usize {
        self.kinds().iter().filter(|seen| *seen == kind || first_word(seen) == kind).count()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.state().requests.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to answer, by the script, else as a well-behaved server.
    fn answer(&self, seen: &Seen) -> Reply {
        let mut state = self.state();
        let kind = seen.kind();
        if kind == "server/discover" {
            state.probes += 1;
        } else {
            state.requests.push(seen.clone());
        }
        let guard = state.guard.clone();
        drop(state);
        if let Some(answer) = guard.and_then(|guard| guard(seen)) {
            return answer;
        }
        let mut state = self.state();
        let queued =
            [kind.as_str(), first_word(&kind)].into_iter().find_map(|key| state.once.get_mut(key)?.pop_front());
        if let Some(answer) = queued {
            drop(state);
            return answer(seen);
        }
        if let Some(refusal) = state.check_session(seen) {
            return refusal;
        }
        let scripted = state.answers.get(&kind).or_else(|| state.answers.get(first_word(&kind))).cloned();
        if let Some(answer) = scripted {
            drop(state);
            return answer(seen);
        }
        state.default_answer(seen, &kind)
    }
}

impl State {
    fn check_session(&self, seen: &Seen) -> Option<Reply> {
        if self.stateless || seen.kind() == "initialize" {
            return None;
        }
        match seen.session() {
            None => Some(Reply::transport_error(400, "Bad Request: Missing session ID")),
            Some(id) if !self.sessions.contains(id) => Some(Reply::transport_error(404, "Session not found")),
            Some(_) => None,
        }
    }

    fn default_answer(&mut self, seen: &Seen, kind: &str) -> Reply {
        match kind {
            "initialize" => self.initialize(seen),
            "tools/list" => self.page(seen),
            "DELETE" => {
                if let Some(id) = seen.session() {
                    self.sessions.remove(id);
                }
                Reply::status(200)
            }
            "GET" => Reply::status(405),
            kind if kind.starts_with("notifications/") => Reply::status(202),
            kind if kind.starts_with("tools/call ") => {
                let name = kind.trim_start_matches("tools/call ");
                Reply::tool_error(&format!("Unknown tool: '{name}'"))
            }
            _ => Reply::error(-32602, "Invalid request parameters"),
        }
    }

    fn initialize(&mut self, seen: &Seen) -> Reply {
        let reply = Reply::result(json!({
            "protocolVersion": seen.body.pointer("/params/protocolVersion"),
            "capabilities": {"tools": {"listChanged": true}},
            "serverInfo": {"name": "fault-server", "version": "0"},
        }));
        if self.stateless {
            return reply;
        }
        self.session_count += 1;
        let id = format!("session-{}", self.session_count);
        self.sessions.insert(id.clone());
        reply.header("mcp-session-id", &id)
    }

    fn page(&self, seen: &Seen) -> Reply {
        let cursor = seen.body.pointer("/params/cursor").and_then(Value::as_str);
        let from = cursor.and_then(|cursor| cursor.parse::<usize>().ok()).unwrap_or_default();
        let tools = self.tools.iter().skip(from).take(self.page_size);
        let tools: Vec<_> = tools.map(|(name, schema)| json!({"name": name, "inputSchema": schema})).collect();
        let next = from + tools.len();
        let mut page = json!({"tools": tools});
        if next < self.tools.len() {
            page["nextCursor"] = json!(next.to_string());
        }
        Reply::result(page)
    }
}

impl Seen {
    /// What was asked: `initialize`, `tools/list`, `tools/call get_x`, `notifications/initialized`, or `GET`, `DELETE`.
    pub fn kind(&self) -> String {
        let method = self.body.get("method").and_then(Value::as_str);
        match (method, self.body.pointer("/params/name").and_then(Value::as_str)) {
            (Some("tools/call"), Some(tool)) => format!("tools/call {tool}"),
            (Some(method), _) => method.to_owned(),
            (None, _) => self.http_method.to_string(),
        }
    }

    /// The id of the request.
    pub fn id(&self) -> Value {
        self.body.get("id").cloned().unwrap_or_default()
    }

    /// The arguments of a call.
    pub fn arguments(&self) -> Map<String, Value> {
        self.body.pointer("/params/arguments").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// The session id it carried.
    pub fn session(&self) -> Option<&str> {
        self.header("mcp-session-id")
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn first_word(kind: &str) -> &str {
    kind.split(' ').next().unwrap_or(kind)
}
