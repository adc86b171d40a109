use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use minicol_plugin::config::{Problems, Secret};
use tonic::metadata::{BinaryMetadataKey, BinaryMetadataValue, MetadataMap};

use crate::USER_AGENT;

/// A header that cannot be sent. The value is a secret and is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// A name that HTTP does not know.
    #[error("`{0}` is no header name: it may hold letters, digits and -_.!#$%&'*+^`|~ only")]
    Name(String),
    /// A header that the exporter sets.
    #[error("the header `{0}` is the exporter's own")]
    Reserved(String),
    /// The same header twice, in other letters.
    #[error("the header `{0}` is there twice: upper and lower case are the same")]
    Twice(String),
    /// A value that HTTP cannot carry.
    #[error("the value of the header `{0}` holds a line break or another character that no header can carry")]
    Value(String),
}

/// What the protocols set, or what would break them.
const RESERVED: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];

/// The headers of every request, with a `User-Agent` where none is written.
pub(crate) fn header_map(headers: &BTreeMap<String, Secret>) -> Result<HeaderMap, HeaderError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let (name, value) = parse(name, value)?;
        if map.contains_key(&name) {
            return Err(HeaderError::Twice(name.to_string()));
        }
        // It fails beyond 32,768 headers only.
        map.try_insert(name.clone(), value).map_err(|_| HeaderError::Name(name.to_string()))?;
    }
    map.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    Ok(map)
}

/// Adds everything that is wrong with them.
pub(super) fn validate(headers: &BTreeMap<String, Secret>, problems: &mut Problems) {
    problems.within("headers", |problems| {
        let mut seen = Vec::new();
        for (written, value) in headers {
            let error = match parse(written, value) {
                Ok((name, _)) if seen.contains(&name) => HeaderError::Twice(written.clone()),
                Ok((name, _)) => {
                    seen.push(name);
                    continue;
                }
                Err(error) => error,
            };
            let help = match &error {
                HeaderError::Name(_) => "write a name such as Authorization or x-api-key",
                HeaderError::Reserved(_) | HeaderError::Twice(_) => "leave it away",
                HeaderError::Value(_) => "does it come from a file or a variable that ends in a line break?",
            };
            problems.error(written, error.to_string()).help(help);
        }
    });
}

fn parse(written: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), HeaderError> {
    let name = HeaderName::try_from(written).map_err(|_| HeaderError::Name(written.to_owned()))?;
    if RESERVED.contains(&name) || name.as_str().starts_with("grpc-") {
        return Err(HeaderError::Reserved(written.to_owned()));
    }
    let mut value = match binary(&name, value) {
        Some(value) => value,
        None => HeaderValue::from_str(value.expose()).map_err(|_| HeaderError::Value(written.to_owned()))?,
    };
    value.set_sensitive(true);
    Ok((name, value))
}

/// gRPC metadata whose name ends in `-bin` travels as base64.
fn binary(name: &HeaderName, value: &Secret) -> Option<HeaderValue> {
    let key = BinaryMetadataKey::from_bytes(name.as_str().as_bytes()).ok()?;
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(key, BinaryMetadataValue::from_bytes(value.expose().as_bytes()));
    metadata.into_headers().remove(name)
}
