use std::fmt::Write;

use minicol_plugin::{Level, Status};

/// The kinds of failure. [`Class::policy`] is the one place that says what follows from each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The server, or the way to it, is down.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// TLS was refused.
    Tls,
    /// The server asks to be asked less often.
    Throttled,
    /// The session is gone.
    Session,
    /// Not allowed in.
    Auth,
    /// What came is not MCP, or says that the request was wrong.
    Protocol,
    /// The tool itself failed.
    Tool,
    /// The server does not have the tool.
    NotOffered,
    /// Cancelled at shutdown.
    Cancelled,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether the same is tried again within the cycle.
    pub retry: RetryRule,
    /// Whether it counts for the circuit breaker of its tool (a failed set-up: of each tool).
    pub counts_for_breaker: bool,
    /// How the receiver stands while this is so; `None` leaves its status as it is.
    pub status: Option<Status>,
    /// How loud it is said, once per change; `None` where there is nothing to say.
    pub level: Option<Level>,
    /// The row's first column: what belongs to the class.
    what: &'static str,
    /// What `error.type` says.
    error_type: &'static str,
}

/// Whether the same is tried again within the cycle. A wait that would end after the cycle is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryRule {
    /// Not in this cycle.
    No,
    /// After the backoff: the first delay, doubled each time, jittered.
    Backoff,
    /// After as long as the server said, or the backoff where that is longer; not in this cycle where it said nothing.
    After,
    /// At once, on a new session, once per cycle.
    NewSession,
}

impl Class {
    /// Every class, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::Unavailable,
        Self::Timeout,
        Self::Tls,
        Self::Throttled,
        Self::Session,
        Self::Auth,
        Self::Protocol,
        Self::Tool,
        Self::NotOffered,
        Self::Cancelled,
    ];

    /// The table.
    pub const fn policy(self) -> Policy {
        use Level::{Error, Warn};
        use RetryRule::{After, Backoff, NewSession, No};
        const DOWN: Option<Status> = Some(Status::RecoverableError);
        match self {
            Self::Unavailable => row(
                "refused, reset, a name that does not resolve, a proxy that is not there, the end of the stream without a reply, 502, 503, 504",
                (Backoff, true, DOWN, Some(Warn)),
                "`unavailable` or the HTTP status",
            ),
            Self::Timeout => {
                row("no answer in time, or a call cut at the cycle's end", (No, true, DOWN, Some(Warn)), "`timeout`")
            }
            Self::Tls => row("TLS handshake or certificate refused", (No, true, DOWN, Some(Error)), "`tls`"),
            Self::Throttled => row("429; 503 with Retry-After", (After, false, DOWN, Some(Warn)), "the HTTP status"),
            Self::Session => row(
                "400, 401 or 404 to a request that carried a session id; 400, 404 or 422 to one without where an earlier cycle's went so",
                (NewSession, false, None, None),
                "only if it repeats on the new session: then as without a session id",
            ),
            Self::Auth => row(
                "401, 403; 407 of a proxy; no token to send",
                (No, true, DOWN, Some(Error)),
                "the HTTP status, or `no_token`",
            ),
            Self::Protocol => row(
                "other 4xx and 5xx, a redirect that is not followed, bad JSON, wrong content type, wrong id, too large, \
                 a JSON-RPC error, a protocol version that is not known, 202 or an empty body to a request, a tool whose `x-mcp-header` break the rules",
                (No, true, DOWN, Some(Error)),
                "the HTTP status, the JSON-RPC code (`rpc_error` outside the reserved range), `invalid_response` or \
                 `response_too_large`",
            ),
            Self::Tool => row(
                "isError, `success: false`, text that begins with ❌, a result without content",
                (No, true, DOWN, Some(Warn)),
                "`tool_error`",
            ),
            Self::NotOffered => row("a tool that is not in tools/list", (No, false, None, Some(Warn)), "`not_offered`"),
            Self::Cancelled => row("cancelled at shutdown", (No, false, None, None), "`cancelled`"),
        }
    }

    /// The class in a word or two.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Throttled => "throttled",
            Self::Session => "session",
            Self::Auth => "auth",
            Self::Protocol => "protocol",
            Self::Tool => "tool",
            Self::NotOffered => "not offered",
            Self::Cancelled => "cancelled",
        }
    }
}

const fn row(
    what: &'static str,
    (retry, counts_for_breaker, status, level): (RetryRule, bool, Option<Status>, Option<Level>),
    error_type: &'static str,
) -> Policy {
    Policy { retry, counts_for_breaker, status, level, what, error_type }
}

/// The table as markdown, one row per class; `docs/failures.md` holds it.
pub fn failure_table() -> String {
    let mut out = String::from(
        "| what | class | tried again in the cycle | counts for the tool's breaker | receiver's status | log | `error.type` |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for class in Class::ALL {
        let Policy { retry, counts_for_breaker, status, level, what, error_type } = class.policy();
        let retry = match retry {
            RetryRule::No => "no",
            RetryRule::Backoff => "after the backoff",
            RetryRule::After => "when the server says, but after the backoff at the earliest; else no",
            RetryRule::NewSession => "on a new session, once per cycle",
        };
        let counts = if counts_for_breaker { "yes" } else { "no" };
        let status = status.map_or_else(|| "unchanged".to_owned(), |status| status.to_string());
        let level = level.map_or_else(|| "nothing".to_owned(), |level| format!("{level:?}").to_lowercase());
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {what} | {} | {retry} | {counts} | {status} | {level} | {error_type} |", class.name());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_holds_the_table() {
        let page = include_str!("../../../docs/failures.md");
        assert!(page.contains(&failure_table()), "docs/failures.md must contain exactly:\n{}", failure_table());
    }
}
