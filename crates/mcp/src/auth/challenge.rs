use http::{HeaderMap, header};

/// What a server said with its 401: the parameters of `WWW-Authenticate` that matter to a client (RFC 9728, 5.1; RFC 6750, 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Where the server's protected-resource metadata is.
    pub resource_metadata: Option<String>,
    /// The scopes that the request needs, apart by spaces.
    pub scope: Option<String>,
}

impl Challenge {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for value in headers.get_all(header::WWW_AUTHENTICATE) {
            for (name, value) in parameters(&String::from_utf8_lossy(value.as_bytes())) {
                match name.to_ascii_lowercase().as_str() {
                    "resource_metadata" => found.resource_metadata = Some(value),
                    "scope" => found.scope = Some(value),
                    _ => {}
                }
            }
        }
        found
    }
}

/// The `name=value` and `name="value"` of a challenge, of whatever scheme.
fn parameters(mut rest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((before, after)) = rest.split_once('=') {
        let name = before.rsplit([' ', ',', '\t']).find(|word| !word.is_empty()).unwrap_or_default();
        let (value, next) = if let Some(quoted) = after.trim_start().strip_prefix('"') {
            quoted_string(quoted)
        } else {
            let (value, next) = after.split_once(',').unwrap_or((after, ""));
            (value.trim().to_owned(), next)
        };
        found.push((name.to_owned(), value));
        rest = next;
    }
    found
}

/// Reads up to the closing quote; gives the text and what follows.
fn quoted_string(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &text[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_challenge_is_read_however_it_is_written() {
        let of = |values: &[&'static str]| {
            let headers = values.iter().map(|value| (header::WWW_AUTHENTICATE, HeaderValue::from_static(value)));
            let Challenge { resource_metadata, scope } = Challenge::of(&headers.collect());
            (resource_metadata.unwrap_or_default(), scope.unwrap_or_default())
        };
        for (values, metadata, scope) in [
            (&["Bearer"][..], "", ""),
            (&[][..], "", ""),
            (&["Bearer resource_metadata=\"http://a/b?c=d\", scope=\"x y\""], "http://a/b?c=d", "x y"),
            (&["Bearer error=\"invalid_token\", Scope = x ,resource_metadata=http://a/b"], "http://a/b", "x"),
            (&["Basic realm=\"a \\\" scope=z\"", "Bearer scope=\"x\""], "", "x"),
            (&["Bearer scope=\"never closed"], "", "never closed"),
            (&["===", "\"", "a=\""], "", ""),
        ] {
            assert_eq!(of(values), (metadata.to_owned(), scope.to_owned()), "{values:?}");
        }
    }
}
