use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use minicol_plugin::text::foreign;
use rmcp::model::ErrorCode;

use crate::Class;

/// Why one step of a cycle brought nothing: at which target, in which step, and the cause. What follows from it stands in
/// [`Class::policy`], and nowhere else.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    target: Arc<str>,
    step: Step,
    cause: Cause,
}

/// What was being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connecting and `initialize`.
    Initialize,
    /// `tools/list`.
    ListTools,
    /// `ping`.
    Ping,
    /// `tools/call` of the named tool.
    Call(Arc<str>),
}

/// What went wrong. Text of the server or the network in it is escaped and shortened.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// No connection: refused, a name that does not resolve.
    #[error("{0}: is the server running, and is the endpoint right?")]
    Unreachable(String),
    /// A connection that ended before the reply did: reset, the end of the stream without a reply.
    #[error("{0}: is the server running, and is the endpoint right?")]
    Lost(String),
    /// The proxy before the server: not there, or it makes no tunnel.
    #[error(
        "{0}: is the proxy running, and does it lead there? see proxy_url, or else https_proxy, http_proxy and no_proxy in the environment"
    )]
    Proxy(String),
    /// 407: the proxy before the server wants a user and a password, or others.
    #[error(
        "{0}: write its user and password into proxy_url (http://user:password@host:port), or into the environment's variable"
    )]
    ProxyAuth(String),
    /// A gateway that does not reach the server: 502, 503 or 504.
    #[error("http {0}: the server, or what stands behind it, is not available: start it, or wait until it is back")]
    Gateway(u16),
    /// No answer within the time of one attempt.
    #[error("no answer within {}: is the server stuck, or does a firewall drop what is sent? raise timeout_seconds if it only needs longer", seconds(.0))]
    TimedOut(Duration),
    /// No answer when the cycle ended.
    #[error("no answer when the cycle ended: the next one begins; raise interval_seconds if the server needs longer")]
    CutAtCycleEnd,
    /// The handshake or the certificate was refused.
    #[error("{0}: is the certificate signed by an authority that this machine trusts, for this name?")]
    Tls(String),
    /// The server does not speak TLS. Holds what came of it, and the cure.
    #[error("{0}")]
    PlainText(String),
    /// The server did not take the poller's certificate, or wants one. Holds its alert.
    #[error(
        "the server refused the tls connection ({0}): it wants a client certificate that it trusts; check cert_file and key_file under tls"
    )]
    ClientCertificate(String),
    /// 429, or 503 with `Retry-After`.
    #[error("http {status}: the server asks to be asked less often{}; raise interval_seconds", after(.retry_after.as_ref()))]
    Throttled {
        /// The HTTP status.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// 400, 401 or 404 to a request that carried a session id, 400, 404 or 422 to one that went without as in earlier cycles. Holds what it is where a new session does not help.
    #[error("the session is lost ({0})")]
    SessionLost(Box<Cause>),
    /// 401 or 403.
    #[error(
        "http {0}: not allowed in; check the Authorization header in headers, header_files, bearer_token_file or oauth2"
    )]
    Refused(u16),
    /// No token to send: a file that cannot be read, an authorization server that gives none.
    #[error("{0}; check header_files, bearer_token_file or oauth2")]
    NoToken(String),
    /// Another HTTP status that is no success.
    #[error("http {status}{}: {}", said(.text), cure_of(*.status))]
    Status {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// A redirect that is not followed.
    #[error("http {status} to {location}: {reason}; set the endpoint to where the server is")]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// Where to, without query and user.
        location: String,
        /// Why it is not followed.
        reason: &'static str,
    },
    /// A JSON-RPC error.
    #[error("json-rpc error {code}{}; check the tool's arguments, and the server's log", said(.message))]
    Rpc {
        /// The code.
        code: i32,
        /// The server's message.
        message: String,
    },
    /// The server answers `initialize` with a protocol version that is not known, or has no `initialize`. Holds that version.
    #[error(
        "the server answers initialize with protocol version {0}, which minicol does not speak: it speaks 2024-11-05 to 2025-11-25 so; update the server, or minicol"
    )]
    Version(String),
    /// A reply that is not what the protocol says: bad JSON, another content type, another id, 202 or nothing at all.
    #[error("{0}: is this the endpoint of an MCP server (often .../mcp)?")]
    Malformed(String),
    /// A body that is larger than allowed.
    #[error("the reply is larger than {0} bytes: raise max_response_bytes, or ask for less with arguments")]
    TooLarge(usize),
    /// A body of very many small parts, each of which takes far more memory than its text has bytes.
    #[error(
        "the reply has so many parts that it would take more than {0} bytes of memory: ask for less with arguments"
    )]
    TooDense(usize),
    /// The tool itself says that it failed: `isError`, `success: false`, text that begins with ❌, or a result without content.
    #[error("the tool failed{}; the server's log may say more", said(.0))]
    Tool(String),
    /// The tool's input schema breaks a rule of the protocol, which lets no client call it then. Holds what is wrong with it.
    #[error("the tool cannot be called, for its input schema {0}: the server's author has to correct that")]
    Unusable(&'static str),
    /// The server does not offer the tool.
    #[error("the server does not offer this tool: take it out of metrics_to_collect, or use a server that has it")]
    NotOffered,
    /// Cancelled at shutdown.
    #[error("cancelled at shutdown")]
    Cancelled,
}

impl Failure {
    /// A failure of `step` at `target`.
    pub fn new(target: impl Into<Arc<str>>, step: Step, cause: Cause) -> Self {
        Self { target: target.into(), step, cause }
    }

    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        self.cause.class()
    }

    /// What went wrong.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// What was being done.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// The tool that was called, where one was.
    pub fn tool(&self) -> Option<&Arc<str>> {
        if let Step::Call(tool) = &self.step { Some(tool) } else { None }
    }

    /// The target's name, as it was given.
    pub fn target(&self) -> &Arc<str> {
        &self.target
    }

    /// The attribute `error.type`.
    pub fn error_type(&self) -> Cow<'static, str> {
        self.cause.error_type()
    }

    /// What it is where a new session does not help.
    pub(crate) fn without_session(self) -> Self {
        Self { cause: self.cause.without_session(), ..self }
    }
}

impl Cause {
    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        match self {
            Self::Unreachable(_) | Self::Lost(_) | Self::Proxy(_) | Self::Gateway(_) => Class::Unavailable,
            Self::TimedOut(_) | Self::CutAtCycleEnd => Class::Timeout,
            Self::Tls(_) | Self::PlainText(_) | Self::ClientCertificate(_) => Class::Tls,
            Self::Throttled { .. } => Class::Throttled,
            Self::SessionLost(_) => Class::Session,
            Self::Refused(_) | Self::ProxyAuth(_) | Self::NoToken(_) => Class::Auth,
            Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Rpc { .. }
            | Self::Version(_)
            | Self::Malformed(_)
            | Self::TooLarge(_)
            | Self::TooDense(_)
            | Self::Unusable(_) => Class::Protocol,
            Self::Tool(_) => Class::Tool,
            Self::NotOffered => Class::NotOffered,
            Self::Cancelled => Class::Cancelled,
        }
    }

    /// The attribute `error.type`: one of a small set, whatever the server says.
    pub fn error_type(&self) -> Cow<'static, str> {
        match self {
            Self::Gateway(status)
            | Self::Refused(status)
            | Self::Throttled { status, .. }
            | Self::Status { status, .. }
            | Self::Redirect { status, .. } => status.to_string().into(),
            Self::Rpc { .. } => self.reserved_code().map_or("rpc_error".into(), |code| code.to_string().into()),
            Self::ProxyAuth(_) => "407".into(),
            Self::SessionLost(then) => then.error_type(),
            Self::TooLarge(_) | Self::TooDense(_) => "response_too_large".into(),
            Self::Version(_) | Self::Malformed(_) | Self::Unusable(_) => "invalid_response".into(),
            Self::Tool(_) => "tool_error".into(),
            Self::Unreachable(_) | Self::Lost(_) | Self::Proxy(_) => "unavailable".into(),
            Self::TimedOut(_) | Self::CutAtCycleEnd => "timeout".into(),
            Self::Tls(_) | Self::PlainText(_) | Self::ClientCertificate(_) => "tls".into(),
            Self::NoToken(_) => "no_token".into(),
            Self::NotOffered => "not_offered".into(),
            Self::Cancelled => "cancelled".into(),
        }
    }

    /// The code of a JSON-RPC error, in the range that JSON-RPC reserves: a server may make up any other, again and again.
    pub(crate) fn reserved_code(&self) -> Option<i32> {
        if let Self::Rpc { code, .. } = self {
            Some(*code).filter(|code| (-32_768..=-32_000).contains(code))
        } else {
            None
        }
    }

    /// How long the server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        if let Self::Throttled { retry_after, .. } = self { *retry_after } else { None }
    }

    /// Whether the server said anything at all.
    pub(crate) fn is_reply(&self) -> bool {
        !matches!(self.class(), Class::Unavailable | Class::Timeout | Class::Tls | Class::Cancelled)
            && !matches!(self, Self::ProxyAuth(_))
    }

    /// Whether the server spoke MCP, if only to say no.
    pub(crate) fn is_mcp(&self) -> bool {
        matches!(self, Self::Tool(_) | Self::Rpc { .. })
    }

    /// What it is of a session without an id that was made in an earlier cycle: the server may be of another kind by now, which wants a session
    /// (400, 404; 422 of older servers on rmcp) or another protocol version (400). A 401 is about the token there, and a JSON-RPC error to the very
    /// request about that, but for the one that names versions.
    pub(crate) fn of_another_kind(self) -> Self {
        match self {
            Self::Status { status: 400 | 404 | 422, .. } => Self::SessionLost(Box::new(self)),
            Self::Rpc { code, .. } if code == ErrorCode::UNSUPPORTED_PROTOCOL_VERSION.0 => {
                Self::SessionLost(Box::new(self))
            }
            other => other,
        }
    }

    /// Whether the server has forgotten the session that is lost, as MCP says it (404). Other refusals may be of something else.
    pub(crate) fn is_forgotten_session(&self) -> bool {
        matches!(self, Self::SessionLost(then) if matches!(**then, Self::Status { status: 404, .. } | Self::Rpc { .. }))
    }

    /// What it is where a new session does not help.
    pub(crate) fn without_session(self) -> Self {
        if let Self::SessionLost(then) = self { *then } else { self }
    }

    pub(crate) fn at(self, target: &Arc<str>, step: &Step) -> Failure {
        Failure { target: Arc::clone(target), step: step.clone(), cause: self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.target, self.step, self.cause)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        None // the cause is in the message already
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initialize => f.write_str("initialize"),
            Self::ListTools => f.write_str("tools/list"),
            Self::Ping => f.write_str("ping"),
            Self::Call(tool) => f.write_str(&foreign(tool)),
        }
    }
}

fn seconds(of: &Duration) -> String {
    format!("{} s", of.as_secs_f64())
}

fn after(retry_after: Option<&Duration>) -> String {
    retry_after.map(|wait| format!(", again in {} s", wait.as_secs())).unwrap_or_default()
}

fn cure_of(status: u16) -> &'static str {
    if status >= 500 {
        "the server failed: its log has the reason"
    } else {
        "is this the endpoint of an MCP server (often .../mcp)?"
    }
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
