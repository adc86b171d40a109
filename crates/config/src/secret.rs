//! Which keys and variables look as if they held a secret.

use crate::path::{Path, Segment};

/// Words that, in a key's or a variable's name, say that the value is a secret.
const WORDS: [&str; 10] = [
    "authorization",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "api_key",
    "apikey",
    "credential",
    "private_key",
];

/// Keys under which every value is taken as a secret.
const CONTAINERS: [&str; 2] = ["headers", "cookies"];

/// Whether a key or a variable of this name looks as if it held a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name: String = name.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect();
    WORDS.iter().any(|word| name.contains(word)) || name == "cookie" || name == "set_cookie"
}

/// Whether what is under a key of this name are secrets, each under a name of its own.
pub(crate) fn is_secret_container(name: &str) -> bool {
    CONTAINERS.iter().any(|container| name.eq_ignore_ascii_case(container))
}

/// Whether the value at this path looks like a secret.
pub(crate) fn is_secret_path(path: &Path) -> bool {
    path.segments().iter().any(|segment| match segment {
        Segment::Key(key) => is_secret_name(key) || is_secret_container(key),
        Segment::Index(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in ["Authorization", "x-api-key", "BUDDY_TOKEN", "client_secret", "db_password"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["endpoint", "allow_insecure_auth", "headers", "author"] {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(is_secret_path(&Path::keys(["exporters", "otlp", "headers", "x-team"])));
        assert!(!is_secret_path(&Path::keys(["exporters", "otlp", "endpoint"])));
    }
}
