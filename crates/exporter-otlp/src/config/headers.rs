use std::{collections::BTreeMap, path::PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use minicol_plugin::{
    ExportError,
    config::{Problems, Secret},
    files,
};
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

/// The headers of every request.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    fixed: HeaderMap,
    files: Vec<(HeaderName, PathBuf)>,
}

impl Headers {
    /// With a `User-Agent` where none is written.
    pub(crate) fn new(
        headers: &BTreeMap<String, Secret>,
        files: &BTreeMap<String, PathBuf>,
    ) -> Result<Self, HeaderError> {
        let mut fixed = HeaderMap::new();
        for (written, value) in headers {
            let name = parse_name(written)?;
            let value = parse_value(&name, value.expose())?;
            if fixed.contains_key(&name) {
                return Err(HeaderError::Twice(name.to_string()));
            }
            // It fails beyond 32,768 headers only.
            fixed.try_insert(name.clone(), value).map_err(|_| HeaderError::Name(name.to_string()))?;
        }
        let name = |(name, path): (&String, &PathBuf)| Ok((parse_name(name)?, path.clone()));
        let files = files.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        if !files.iter().any(|(name, _)| *name == header::USER_AGENT) {
            fixed.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        }
        Ok(Self { fixed, files })
    }

    #[cfg(test)]
    pub(super) fn fixed(&self) -> &HeaderMap {
        &self.fixed
    }

    /// As they are now: files are read again, for tokens are renewed. A file that is not there may be there soon.
    pub(crate) async fn now(&self) -> Result<HeaderMap, ExportError> {
        let mut map = self.fixed.clone();
        for (name, path) in &self.files {
            let failed = |why: &dyn std::fmt::Display| {
                let message = format!("the header `{name}` cannot be read from {}: {why}", path.display());
                ExportError::retryable("header_file", message)
            };
            let text = files::read_secret(path).await.map_err(|error| failed(&error))?;
            let value = parse_value(name, &text).map_err(|error| failed(&error))?;
            map.try_insert(name.clone(), value).map_err(|error| failed(&error))?;
        }
        Ok(map)
    }
}

/// Adds everything that is wrong with them.
pub(super) fn validate(headers: &BTreeMap<String, Secret>, files: &BTreeMap<String, PathBuf>, problems: &mut Problems) {
    let mut seen = Vec::new();
    problems.within("headers", |problems| {
        for (written, value) in headers {
            let checked = check_name(written, &mut seen).and_then(|name| parse_value(&name, value.expose()).map(drop));
            tell(written, checked, problems);
        }
    });
    problems.within("header_files", |problems| {
        for (written, path) in files {
            tell(written, check_name(written, &mut seen).map(drop), problems);
            if let Err(error) = files::read(path, files::MAX_SECRET) {
                problems
                    .warning(written, format!("{} cannot be read: {error}", path.display()))
                    .help("nothing is delivered until it is there");
            }
        }
    });
}

fn check_name(written: &str, seen: &mut Vec<HeaderName>) -> Result<HeaderName, HeaderError> {
    let name = parse_name(written)?;
    if seen.contains(&name) {
        return Err(HeaderError::Twice(written.to_owned()));
    }
    seen.push(name.clone());
    Ok(name)
}

fn tell(written: &str, checked: Result<(), HeaderError>, problems: &mut Problems) {
    let Err(error) = checked else { return };
    let help = match &error {
        HeaderError::Name(_) => "write a name such as Authorization or x-api-key",
        HeaderError::Reserved(_) | HeaderError::Twice(_) => "leave it away",
        HeaderError::Value(_) => "does it come from a file or a variable that ends in a line break?",
    };
    problems.error(written, error.to_string()).help(help);
}

fn parse_name(written: &str) -> Result<HeaderName, HeaderError> {
    let name = HeaderName::try_from(written).map_err(|_| HeaderError::Name(written.to_owned()))?;
    if RESERVED.contains(&name) || name.as_str().starts_with("grpc-") {
        return Err(HeaderError::Reserved(written.to_owned()));
    }
    Ok(name)
}

fn parse_value(name: &HeaderName, value: &str) -> Result<HeaderValue, HeaderError> {
    let mut value = match binary(name, value) {
        Some(value) => value,
        None => HeaderValue::from_str(value).map_err(|_| HeaderError::Value(name.to_string()))?,
    };
    value.set_sensitive(true);
    Ok(value)
}

/// gRPC metadata whose name ends in `-bin` travels as base64.
fn binary(name: &HeaderName, value: &str) -> Option<HeaderValue> {
    let key = BinaryMetadataKey::from_bytes(name.as_str().as_bytes()).ok()?;
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(key, BinaryMetadataValue::from_bytes(value.as_bytes()));
    metadata.into_headers().remove(name)
}
