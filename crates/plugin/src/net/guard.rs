use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Uri, header};

/// Which `Host` and `Origin` a server answers to, against web pages that make a browser talk to it (DNS rebinding, cross-site requests).
///
/// Bound to a loopback address it answers loopback names only: a page that made its own name resolve to 127.0.0.1 is told apart by the name.
/// Bound to any other address it cannot know by which names it is called, so every `Host` is answered; but a request that a page sends (it has an
/// `Origin`) is answered only where that page came from this server, by an address: a name may have been made to resolve here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostGuard {
    loopback_only: bool,
}

impl HostGuard {
    /// The guard of a server that is bound to `address` (`IP:PORT` or `NAME:PORT`).
    pub fn bound_to(address: &str) -> Self {
        Self { loopback_only: is_loopback(host_of(address)) }
    }

    /// Whether a request with these may be answered.
    pub fn allows(self, uri: &Uri, headers: &HeaderMap) -> bool {
        // HTTP/2 has the host in its URI; where both are there, both count.
        let mut hosts =
            uri.authority().map(http::uri::Authority::as_str).into_iter().chain(texts(headers, header::HOST));
        let mut origins =
            texts(headers, header::ORIGIN).map(|origin| origin.split_once("://").map_or("", |(_, rest)| rest));
        if self.loopback_only {
            let is_ours = |authority: &str| is_loopback(host_of(authority));
            return hosts.next().is_some_and(is_ours) && hosts.all(is_ours) && origins.all(is_ours);
        }
        let host = hosts.next().unwrap_or_default();
        origins.all(|origin| origin.eq_ignore_ascii_case(host) && is_address(host_of(origin)))
    }
}

/// What a server that is bound to `address`, and that lets in whoever comes, has to tell its operator; `None` where only this machine reaches it.
pub fn exposure(address: &str) -> Option<String> {
    let advice = "listen on localhost, or let a firewall or a proxy decide who gets here";
    let open = || {
        format!("listens on {address}: every machine that reaches this one is let in, without authentication; {advice}")
    };
    (!HostGuard::bound_to(address).loopback_only).then(open)
}

/// A header's values; what is no text is no host's name.
fn texts(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("?"))
}

/// The host of `host:port`, `host`, `[v6]:port` or `[v6]`.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.contains(':') => host,
        _ => authority,
    }
}

/// Nobody else's page can have it: `localhost`, or an address.
fn is_address(host: &str) -> bool {
    is_loopback(host) || host.parse::<IpAddr>().is_ok()
}

/// Whether a host (a name or an address, without port) is this machine's own loopback: `localhost`, a name below it, or a loopback address.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let by_name = host == "localhost" || host.ends_with(".localhost");
    by_name || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(bound_to: &str, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        HostGuard::bound_to(bound_to).allows(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn a_loopback_server_answers_loopback_names_only() {
        for host in [
            "localhost",
            "localhost:8888",
            "LOCALHOST:1",
            "a.localhost.:1",
            "127.0.0.1:8888",
            "127.8.9.1",
            "[::1]:8888",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(allows("127.0.0.1:8888", host, None), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8888", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""]
        {
            assert!(!allows("127.0.0.1:8888", host, None), "{host}");
            assert!(!allows("[::1]:8888", host, None), "{host}");
        }
    }

    #[test]
    fn a_host_in_the_uri_counts_as_one_in_the_header() {
        let guard = HostGuard::bound_to("127.0.0.1:1");
        let mut headers = HeaderMap::new();
        assert!(!guard.allows(&Uri::from_static("/"), &headers));
        assert!(guard.allows(&Uri::from_static("http://localhost:1/"), &headers));
        assert!(!guard.allows(&Uri::from_static("http://evil.example/"), &headers));
        headers.insert(header::HOST, "localhost:1".parse().unwrap());
        assert!(!guard.allows(&Uri::from_static("http://evil.example/"), &headers));
        headers.append(header::HOST, "evil.example".parse().unwrap());
        assert!(!guard.allows(&Uri::from_static("/"), &headers));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        assert!(allows("127.0.0.1:1", "localhost:1", Some("http://localhost:3000")));
        for origin in ["http://evil.example", "null", "https://localhost.evil.example"] {
            assert!(!allows("127.0.0.1:1", "localhost:1", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_server_bound_to_the_world_answers_every_name_but_no_other_page() {
        let open = |host, origin| allows("0.0.0.0:8888", host, origin);
        assert!(open("buddy.example:8888", None));
        assert!(open("10.0.0.1:8888", Some("http://10.0.0.1:8888")));
        assert!(open("[fd00::1]:8888", Some("http://[fd00::1]:8888")));
        // The second may be a name that its owner made resolve to this machine.
        for (host, origin) in [
            ("10.0.0.1:8888", "http://evil.example"),
            ("evil.example:8888", "http://evil.example:8888"),
            ("10.0.0.1:8888", "http://10.0.0.1:3000"),
            ("10.0.0.1:8888", "null"),
        ] {
            assert!(!open(host, Some(origin)), "{host} {origin}");
        }
    }

    #[test]
    fn a_server_that_others_reach_says_so() {
        for closed in ["127.0.0.1:1", "localhost:1", "[::1]:1"] {
            assert_eq!(exposure(closed), None, "{closed}");
        }
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "buddy.example:1"] {
            assert!(exposure(open).is_some_and(|said| said.starts_with(&format!("listens on {open}: "))), "{open}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for host in ["localhost", "a.localhost.", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "notlocalhost", "10.0.0.1", "fe80::1", "0.0.0.0", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
