use std::collections::{BTreeMap, HashMap};

use http::{HeaderName, HeaderValue};
use minicol_mcp::Endpoint;
use minicol_pdata::POLL_REPORT;
use minicol_plugin::{
    config::{ComponentConfig, Problems},
    files,
    text::foreign,
};

use super::{SessionBuddyConfig, with_get};

/// As many tools as one receiver polls; Session-Buddy's full server has 199.
const MAX_TOOLS: usize = 256;
/// Longer names are no tool's: the MCP specification ends them at 128 characters.
const MAX_NAME: usize = 128;

/// Headers that the transport itself sets, and what for.
const RESERVED_HEADERS: [&str; 9] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
    "upgrade",
];

impl ComponentConfig for SessionBuddyConfig {
    fn validate(&self, problems: &mut Problems) {
        self.check_bounds(problems);
        let endpoint = self.check_endpoint(problems);
        self.check_tools(problems);
        self.check_headers(problems);
        self.check_reach(endpoint.as_ref(), problems);
        self.check_resource(problems);
    }
}

impl SessionBuddyConfig {
    fn check_bounds(&self, problems: &mut Problems) {
        problems.range("interval_seconds", self.interval_seconds.0, 1.0, 3600.0);
        problems.range("timeout_seconds", self.timeout_seconds.0, 0.1, 300.0);
        problems.range("max_retries", f64::from(self.max_retries), 0.0, 10.0);
        problems.range("retry_delay_seconds", self.retry_delay_seconds.0, 0.0, 300.0);
        problems.range("circuit_breaker_threshold", f64::from(self.circuit_breaker_threshold), 1.0, 100.0);
        if let Some(cooldown) = self.circuit_breaker_cooldown_seconds {
            problems.range("circuit_breaker_cooldown_seconds", cooldown.0, 0.0, 86_400.0);
        }
        problems.range("discovery_interval_seconds", self.discovery_interval_seconds.0, 1.0, 86_400.0);
        problems.range("max_response_bytes", self.max_response_bytes as f64, 1024.0, 268_435_456.0);
    }

    fn check_endpoint(&self, problems: &mut Problems) -> Option<Endpoint> {
        match self.endpoint.parse::<Endpoint>() {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                let help = "write it like http://localhost:8678/mcp or https://buddy.example.com/mcp";
                problems.error("endpoint", error.to_string()).help(help);
                None
            }
        }
    }

    fn check_tools(&self, problems: &mut Problems) {
        let count = self.metrics_to_collect.len();
        if count == 0 {
            let help = "name at least one tool, or leave the key out for the default; `enabled: false` switches the receiver off";
            problems.error("metrics_to_collect", "names no tool: there would be nothing to poll").help(help);
        }
        if count > MAX_TOOLS {
            problems.error("metrics_to_collect", format!("names {count} tools; at most {MAX_TOOLS} can be polled"));
        }
        let mut known = BTreeMap::new();
        problems.within("metrics_to_collect", |problems| {
            for (index, name) in self.metrics_to_collect.iter().enumerate() {
                problems.item(index, |problems| {
                    check_name(name, problems);
                    if let Some(earlier) = known.insert(with_get(name), name) {
                        let (name, earlier) = (foreign(name), foreign(earlier));
                        problems
                            .error("", format!("`{name}` names the same tool as `{earlier}` above"))
                            .help("take one of the two away: `get_` before a name makes no difference");
                    }
                });
            }
        });
        problems.within("tools", |problems| self.check_tool_table(&known, problems));
    }

    fn check_tool_table(&self, wanted: &BTreeMap<String, &String>, problems: &mut Problems) {
        let mut known = BTreeMap::new();
        for (name, options) in self.tools.iter() {
            if let Some(timeout) = options.timeout_seconds {
                problems.within(name, |problems| problems.range("timeout_seconds", timeout.0, 0.1, 300.0));
            }
            if let Some(earlier) = known.insert(with_get(name), name) {
                problems.error(name, format!("names the same tool as `{}`", foreign(earlier))).help("write it once");
            }
            if !wanted.contains_key(&with_get(name)) && !self.tools.is_built_in(name) {
                problems
                    .warning(name, "this tool is not polled: `metrics_to_collect` does not name it")
                    .help("add it to `metrics_to_collect`, or take this away");
            }
        }
    }

    fn check_headers(&self, problems: &mut Problems) {
        let mut known = HashMap::new();
        problems.within("headers", |problems| {
            for (name, value) in &self.headers {
                check_header_name(name, &mut known, problems);
                if HeaderValue::from_str(value.expose()).is_err() {
                    problems
                        .error(name, "its value cannot stand in a header: it holds a line break or a control character")
                        .help("a secret that was read from a file often ends in a line break");
                }
            }
        });
        problems.within("header_files", |problems| {
            for (name, path) in &self.header_files {
                check_header_name(name, &mut known, problems);
                if let Err(error) = files::read(path, files::MAX_SECRET) {
                    problems
                        .warning(name, format!("{} cannot be read: {error}", path.display()))
                        .help("nothing is polled until it is there");
                }
            }
        });
    }

    fn check_resource(&self, problems: &mut Problems) {
        problems.within("resource_attributes", |problems| {
            for name in self.resource_attributes.keys() {
                if name.trim().is_empty() {
                    problems.error(name, "an attribute must have a name");
                }
            }
        });
    }
}

fn check_header_name<'a>(name: &'a str, known: &mut HashMap<HeaderName, &'a str>, problems: &mut Problems) {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        problems.error(name, "is no HTTP header's name: it may hold letters, digits and `-` only");
        return;
    };
    if RESERVED_HEADERS.contains(&parsed.as_str()) {
        problems.error(name, "this header is set by the MCP transport itself").help("take it away");
    }
    if let Some(earlier) = known.insert(parsed, name) {
        problems.error(name, format!("is the same header as `{earlier}`")).help("write it once");
    }
}

fn check_name(name: &str, problems: &mut Problems) {
    let message = if name.is_empty() {
        "is empty: name a tool".to_owned()
    } else if name == POLL_REPORT || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@') {
        format!("`{}` is no tool's name: no tool is called with `@`, spaces or control characters in it", foreign(name))
    } else if name.chars().count() > MAX_NAME {
        format!("is longer than {MAX_NAME} characters, as long as a tool's name may be")
    } else {
        return;
    };
    problems.error("", message);
}

#[cfg(test)]
mod tests {
    use minicol_plugin::{Entry, testing};
    use serde_json::{Value, json};

    use super::*;
    use crate::SessionBuddyFactory;

    /// Every problem as `path: message`, warnings marked.
    #[allow(clippy::needless_pass_by_value)] // it is called with json!
    fn problems(config: Value) -> Vec<String> {
        testing::problems(&Entry::of::<SessionBuddyFactory>(), &config.to_string())
    }

    #[test]
    fn the_default_and_the_documented_example_hold() {
        assert_eq!(problems(json!({})), Vec::<String>::new());
        assert_eq!(problems(json!({"metrics_to_collect": ["liveness"]})), Vec::<String>::new());
    }

    #[test]
    fn every_bound_is_held_and_all_are_told_at_once() {
        let told = problems(json!({
            "interval_seconds": 0.5, "timeout_seconds": 301, "max_retries": 11, "retry_delay_seconds": -1,
            "circuit_breaker_threshold": 0, "circuit_breaker_cooldown_seconds": 86_401,
            "discovery_interval_seconds": 0, "max_response_bytes": 10, "metrics_to_collect": [],
            "tools": {"get_session_analytics": {"timeout_seconds": 0}},
        }));
        assert_eq!(
            told,
            [
                "interval_seconds: must be between 1 and 3600, but is 0.5",
                "timeout_seconds: must be between 0.1 and 300, but is 301",
                "max_retries: must be between 0 and 10, but is 11",
                "retry_delay_seconds: must be between 0 and 300, but is -1",
                "circuit_breaker_threshold: must be between 1 and 100, but is 0",
                "circuit_breaker_cooldown_seconds: must be between 0 and 86400, but is 86401",
                "discovery_interval_seconds: must be between 1 and 86400, but is 0",
                "max_response_bytes: must be between 1024 and 268435456, but is 10",
                "metrics_to_collect: names no tool: there would be nothing to poll",
                "tools::get_session_analytics::timeout_seconds: must be between 0.1 and 300, but is 0",
                "warning tools::get_session_analytics: this tool is not polled: `metrics_to_collect` does not name it",
            ]
        );
    }

    #[test]
    fn bounds_that_add_up_to_more_than_the_interval_are_legal() {
        let long =
            json!({"interval_seconds": 1, "timeout_seconds": 300, "max_retries": 10, "retry_delay_seconds": 300});
        assert_eq!(problems(long), Vec::<String>::new());
    }

    #[test]
    fn an_endpoint_needs_a_scheme_and_a_host() {
        for wrong in ["localhost:8678", "ftp://x/mcp", "http://", "", "http:///mcp", "not a url"] {
            let told = problems(json!({"endpoint": wrong}));
            assert!(told.len() == 1 && told[0].starts_with("endpoint: "), "{wrong}: {told:?}");
        }
        for good in ["http://localhost:8678/mcp", "https://buddy.example.com/mcp", "http://[::1]:8678/mcp"] {
            assert_eq!(problems(json!({"endpoint": good})), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn a_token_is_not_sent_unencrypted_to_another_machine() {
        let with = |endpoint: &str, allow: bool| {
            problems(
                json!({"endpoint": endpoint, "allow_insecure_auth": allow, "headers": {"authorization": "Bearer x"}}),
            )
        };
        for (endpoint, allow) in [
            ("http://localhost:8678/mcp", false),
            ("http://127.0.0.1:8678/mcp", false),
            ("http://[::1]/mcp", false),
            ("https://buddy.example.com/mcp", false),
            ("http://buddy.example.com/mcp", true),
        ] {
            assert_eq!(with(endpoint, allow), Vec::<String>::new(), "{endpoint}");
        }
        let told = with("http://buddy.example.com/mcp", false);
        let expected =
            "headers::authorization: would be sent to `buddy.example.com` unencrypted: the endpoint is http://";
        assert_eq!(told, [expected]);
    }

    #[test]
    fn header_files_are_checked_like_headers_and_must_be_small_files() {
        let told = problems(json!({"headers": {"x-a": "1"}, "header_files":
            {"X-A": "Cargo.toml", "Accept": "Cargo.toml", "x-endless": "/dev/zero", "x-late": "is-not-there-yet"}}));
        let why = "it is a pipe, a socket or a device, where a regular file is wanted";
        assert_eq!(
            told[..2],
            [
                "header_files::Accept: this header is set by the MCP transport itself".to_owned(),
                "header_files::X-A: is the same header as `x-a`".to_owned(),
            ]
        );
        assert_eq!(told[2], format!("warning header_files::x-endless: /dev/zero cannot be read: {why}"));
        assert!(
            told[3].starts_with("warning header_files::x-late: is-not-there-yet cannot be read: No such file"),
            "{told:?}"
        );
    }

    #[test]
    fn headers_are_checked_and_their_values_never_told() {
        let told = problems(json!({"headers":
            {"X Y": "1", "Accept": "*/*", "X-Token": "hunter2\n", "A": "1", "a": "2", "Mcp-Session-Id": "1"}}));
        assert_eq!(
            told,
            [
                "headers::Accept: this header is set by the MCP transport itself",
                "headers::Mcp-Session-Id: this header is set by the MCP transport itself",
                "headers::X Y: is no HTTP header's name: it may hold letters, digits and `-` only",
                "headers::X-Token: its value cannot stand in a header: it holds a line break or a control character",
                "headers::a: is the same header as `A`",
            ]
        );
    }

    #[test]
    fn tools_are_named_once_and_as_tools_are_called() {
        let told = problems(json!({
            "metrics_to_collect": ["liveness", "get_liveness", "", "@poll", "a b"],
            "tools": {"readiness": {}, "get_readiness": {}, "liveness": {"timeout_seconds": 1}},
            "resource_attributes": {" ": 1},
        }));
        assert_eq!(
            told,
            [
                "metrics_to_collect[1]: `get_liveness` names the same tool as `liveness` above",
                "metrics_to_collect[2]: is empty: name a tool",
                "metrics_to_collect[3]: `@poll` is no tool's name: no tool is called with `@`, spaces or control characters in it",
                "metrics_to_collect[4]: `a b` is no tool's name: no tool is called with `@`, spaces or control characters in it",
                "warning tools::get_readiness: this tool is not polled: `metrics_to_collect` does not name it",
                "tools::readiness: names the same tool as `get_readiness`",
                "warning tools::readiness: this tool is not polled: `metrics_to_collect` does not name it",
                "resource_attributes:: : an attribute must have a name",
            ]
        );
    }

    #[test]
    fn unknown_keys_are_errors_and_secrets_are_not_printed() {
        for wrong in
            [json!({"intervall_seconds": 3}), json!({"tools": {"x": {"timeout": 3}}}), json!({"enabled": true})]
        {
            assert!(serde_json::from_value::<SessionBuddyConfig>(wrong).is_err());
        }
        let config = json!({"headers": {"Authorization": "Bearer hunter2"}});
        let config: SessionBuddyConfig = serde_json::from_value(config).unwrap();
        assert!(!format!("{config:?}{}", serde_json::to_string(&config).unwrap()).contains("hunter2"));
    }
}
