//! Whether the server is there, speaks MCP, lets the poller in and offers the wanted tools: the set-up of a cycle, without its calls.

use minicol_mcp::{Class, CyclePlan, Failure, Step};
use minicol_plugin::{CancellationToken, Checkup, text};
use tokio::time::Instant;

use crate::{SessionBuddyConfig, config::with_get, poller::target};

const TLS: &str = "TLS";
const HANDSHAKE: &str = "MCP handshake";
const TOOLS: &str = "tools";

pub(crate) async fn diagnose(mut config: SessionBuddyConfig, checkup: Checkup) {
    // One look; the person who asks can ask again.
    config.max_retries = 0;
    let target = match target(&config, checkup.scope()) {
        Ok(target) => target,
        Err(error) => return checkup.failed("configuration", error.to_string()),
    };
    let tick = Instant::now();
    let plan = CyclePlan {
        tick,
        deadline: tick + 2 * config.timeout_seconds.duration(),
        tools: Vec::new(),
        cancel: CancellationToken::new(),
        insists: true,
    };
    let outcome = target.cycle(&plan).await;
    let secure = config.endpoint.trim_start().to_ascii_lowercase().starts_with("https:");
    let known = target.snapshot();
    match &outcome.setup {
        Some(failure) if *failure.step() == Step::Initialize => not_set_up(failure, secure, &checkup),
        setup => {
            if secure {
                checkup.passed(TLS, "the certificate is trusted");
            }
            let server = known.server.unwrap_or_else(|| "a server without a name".to_owned());
            let version = known.protocol_version.unwrap_or_else(|| "unknown".to_owned());
            checkup.passed(HANDSHAKE, format!("{server}, protocol {version}"));
            match setup {
                Some(failure) => checkup.failed(TOOLS, failure.cause().to_string()),
                None => tools(&config, outcome.offered.as_deref().unwrap_or_default(), &checkup),
            }
        }
    }
    target.close().await;
}

fn not_set_up(failure: &Failure, secure: bool, checkup: &Checkup) {
    let why = failure.cause().to_string();
    match failure.class() {
        Class::Tls => {
            checkup.failed(TLS, why);
            checkup.skipped(HANDSHAKE, "not reached");
        }
        Class::Auth => {
            checkup.failed("credentials", why);
            checkup.skipped(HANDSHAKE, "not let in");
        }
        class => {
            if secure && !matches!(class, Class::Unavailable | Class::Timeout) {
                checkup.passed(TLS, "the certificate is trusted");
            }
            checkup.failed(HANDSHAKE, why);
        }
    }
    checkup.skipped(TOOLS, "not reached");
}

/// As the poller resolves their names. The tools that are wanted unless the user says which are those of more than one version of the server: it offers
/// some of them.
fn tools(config: &SessionBuddyConfig, offered: &[std::sync::Arc<str>], checkup: &Checkup) {
    let offers = |name: &str| offered.iter().any(|tool| **tool == *name);
    let wanted = &config.metrics_to_collect;
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !offers(name) && !offers(&with_get(name)))
        .map(|name| format!("`{}`", text::foreign(&with_get(name))))
        .collect();
    let counted = format!("{} of {} that are wanted are offered", wanted.len() - missing.len(), wanted.len());
    let by_default = *wanted == SessionBuddyConfig::default().metrics_to_collect;
    let names = missing.join(", ");
    if missing.is_empty() {
        checkup.passed(TOOLS, counted);
    } else if by_default && missing.len() < wanted.len() {
        checkup.passed(TOOLS, format!("{counted}; not offered, and not polled: {names}"));
    } else if by_default {
        let cure =
            "Is a Session-Buddy at this endpoint? Which tools of another server are polled metrics_to_collect says";
        checkup.failed(TOOLS, format!("{counted}; missing: {names}. {cure}"));
    } else {
        let cure = "Take them out of metrics_to_collect, or use a server that has them";
        checkup.failed(TOOLS, format!("{counted}; missing: {names}. {cure}"));
    }
}
