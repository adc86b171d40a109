use http::Uri;

use super::is_loopback;

/// What a header's name holds where its value lets somebody in.
const WORDS: [&str; 9] =
    ["auth", "cookie", "token", "secret", "password", "apikey", "credential", "license", "honeycomb-team"];
/// The same as a word behind a dash.
const LAST: [&str; 3] = ["key", "dsn", "signature"];

/// Whether a header of this name lets its sender in: `Authorization`, `Cookie`, `X-API-Key`, `X-Honeycomb-Team` and the like. Where a name does not tell, the value is
/// taken for harmless: what must not travel in plain text needs `https`.
pub fn is_credential(header: &str) -> bool {
    let name = header.to_ascii_lowercase().replace('_', "-");
    WORDS.iter().any(|word| name.contains(word)) || name.split('-').skip(1).any(|part| LAST.contains(&part))
}

/// Whether what is sent to `uri` leaves this machine in plain text.
pub fn is_plain_text_beyond_here(uri: &Uri) -> bool {
    uri.scheme_str() == Some("http") && !uri.host().is_some_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_in_is_known_by_its_name() {
        for name in [
            "Authorization",
            "proxy-authorization",
            "X-API-Key",
            "DD_API_KEY",
            "cookie",
            "x-access-token",
            "X-Auth-Key",
            "x-honeycomb-team",
            "X-License-Key",
            "signoz-ingestion-key",
            "uptrace-dsn",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in ["X-Scope-OrgID", "User-Agent", "traceparent", "x-team", "keyspace", "key", "x-monkey"] {
            assert!(!is_credential(name), "{name}");
        }
    }

    #[test]
    fn plain_text_on_this_machine_is_seen_by_nobody_else() {
        for uri in ["http://otel:4318/v1/metrics", "http://10.0.0.1:4317", "http://localhost.example"] {
            assert!(is_plain_text_beyond_here(&uri.parse().unwrap()), "{uri}");
        }
        for uri in ["https://otel:4318", "http://localhost:4318", "http://[::1]:4317", "http://127.0.0.1"] {
            assert!(!is_plain_text_beyond_here(&uri.parse().unwrap()), "{uri}");
        }
    }
}
